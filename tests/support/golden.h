/* Expected values from files of JSON. */
#ifndef TERN_TESTS_GOLDEN_H
#define TERN_TESTS_GOLDEN_H

#include <jansson.h>

/* The file's value; fails the test when there is none. The path is seen from the source root. */
json_t *test_golden(const char *path);

#endif
