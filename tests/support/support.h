/* What tests share. cmocka's header needs these four before it, in this order. */
#ifndef TERN_TESTS_SUPPORT_H
#define TERN_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Whole file, NUL behind it; free() it. NULL when it cannot be read. Tests run in the source root. */
uint8_t *test_read_file(const char *path, size_t *n);
/* The generator of the format vectors: s = (1103515245 s + 12345) mod 2^31, gives s >> 16. */
uint32_t test_rand(uint32_t *state);
uint32_t test_crc32(const void *data, size_t n);

#endif
