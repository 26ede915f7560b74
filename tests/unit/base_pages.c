#include "base/alloc.h"
#include "support/support.h"

#include <pthread.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

static bool is_all(const uint8_t *p, size_t n, uint8_t value)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != value)
            return false;
    return true;
}

static void test_blocks_are_zero_and_apart(void **state)
{
    (void)state;
    static const size_t sizes[] = {
        0, 1, 4095, 4096, 4097, 100000, MIB, 5 * MIB + 1, 16 * MIB, 16 * MIB + 1, 40 * MIB, 9 * MIB,
    };
    enum { N_SIZE = sizeof sizes / sizeof sizes[0] };
    uint8_t *p[N_SIZE];
    for (size_t i = 0; i < N_SIZE; i++) {
        p[i] = tern_pages_alloc(sizes[i]);
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % 4096, 0);
        assert_true(is_all(p[i], sizes[i], 0));
        memset(p[i], (int)i + 1, sizes[i]);
    }
    for (size_t i = 0; i < N_SIZE; i += 2)
        tern_pages_free(p[i], sizes[i]);
    for (size_t i = 1; i < N_SIZE; i += 2)
        assert_true(is_all(p[i], sizes[i], (uint8_t)(i + 1)));
    for (size_t i = 0; i < N_SIZE; i += 2) { /* again, and zero again */
        p[i] = tern_pages_alloc(sizes[i]);
        assert_non_null(p[i]);
        assert_true(is_all(p[i], sizes[i], 0));
        memset(p[i], (int)i + 1, sizes[i]);
    }
    for (size_t i = 0; i < N_SIZE; i++) {
        assert_true(is_all(p[i], sizes[i], (uint8_t)(i + 1)));
        tern_pages_free(p[i], sizes[i]);
    }
    tern_pages_free(NULL, 5);
}

static void test_large_blocks_begin_at_huge_pages(void **state)
{
    (void)state;
    uint8_t *p = tern_pages_alloc(17 * MIB);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % (2 * MIB), 0);
    tern_pages_free(p, 17 * MIB);
}

static void test_sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    assert_null(tern_pages_alloc(SIZE_MAX));
    assert_null(tern_pages_alloc(SIZE_MAX - 4096));
    assert_null(tern_pages_alloc(SIZE_MAX / 2));
}

static void test_lazy_buffers_are_zero(void **state)
{
    (void)state;
    for (size_t size = 0; size < 5 * MIB; size = size * 9 + 1) {
        uint8_t *p = tern_lazy_alloc(size);
        assert_non_null(p);
        assert_true(is_all(p, size, 0));
        memset(p, 1, size);
        tern_lazy_free(p, size);
    }
    assert_null(tern_lazy_alloc(SIZE_MAX - 4096));
    tern_lazy_free(NULL, 5);
}

/* Each thread keeps a window of blocks, so chunks fill, empty and mix. */
static void *churn(void *arg)
{
    uint8_t *held[8] = {0};
    uint8_t mark = *(uint8_t *)arg;
    size_t n_bad = 0;
    for (size_t i = 0; i < 400; i++) {
        size_t slot = i % 8, size = (i * 37 % 50 + 1) * 20000;
        size_t old = i < 8 ? 0 : ((i - 8) * 37 % 50 + 1) * 20000;
        if (held[slot]) {
            n_bad += held[slot][0] != mark || held[slot][old - 1] != mark;
            tern_pages_free(held[slot], old);
        }
        held[slot] = tern_pages_alloc(size);
        if (!held[slot])
            return arg;
        n_bad += held[slot][0] != 0 || held[slot][size - 1] != 0;
        held[slot][0] = held[slot][size - 1] = mark;
    }
    for (size_t i = 392; i < 400; i++)
        tern_pages_free(held[i % 8], (i * 37 % 50 + 1) * 20000);
    return n_bad ? arg : NULL;
}

static void test_threads_share_chunks(void **state)
{
    (void)state;
    pthread_t t[4];
    uint8_t marks[4] = {1, 2, 3, 4};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, churn, &marks[i]), 0);
    for (size_t i = 0; i < 4; i++) {
        void *bad;
        assert_int_equal(pthread_join(t[i], &bad), 0);
        assert_null(bad);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_zero_and_apart),
        cmocka_unit_test(test_large_blocks_begin_at_huge_pages),
        cmocka_unit_test(test_sizes_that_overflow_are_refused),
        cmocka_unit_test(test_lazy_buffers_are_zero),
        cmocka_unit_test(test_threads_share_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
