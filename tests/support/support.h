/* What tests share. cmocka's header needs these four before it, in this order. */
#ifndef TERN_TESTS_SUPPORT_H
#define TERN_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Whether a sanitizer is in the code: it takes many times the time, the memory and the stack. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_INSTRUMENTED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define TEST_INSTRUMENTED 1
#endif
#endif
#ifndef TEST_INSTRUMENTED
#define TEST_INSTRUMENTED 0
#endif

/* Whole file, NUL behind it; free() it. NULL when it cannot be read. Tests run in the source root. */
uint8_t *test_read_file(const char *path, size_t *n);
/* The generator of the format vectors: s = (1103515245 s + 12345) mod 2^31, gives s >> 16. */
uint32_t test_rand(uint32_t *state);
uint32_t test_crc32(const void *data, size_t n);

#endif
