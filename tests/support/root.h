/* A made-up tree of the files that a system shows, one at a time. */
#ifndef TEST_ROOT_H
#define TEST_ROOT_H

/* Setup and teardown of a test. */
int test_root_make(void **state);
int test_root_remove(void **state);
/* Its path. */
const char *test_root(void);
/* A file in it, with the folders it needs. */
void test_root_put(const char *path, const char *text);

#endif
