#include "base/alloc.h"
#include "base/arena.h"
#include "support/support.h"

#include <string.h>

static bool refuse_all(void *ctx, const char *site, size_t size)
{
    (void)ctx, (void)site, (void)size;
    return true;
}

static void test_blocks_are_aligned_and_apart(void **state)
{
    (void)state;
    enum { N = 400 };
    static const size_t sizes[] = {0, 1, 15, 16, 17, 1000, 65535, 65536, 65537, 200000};
    tern_arena a;
    uint8_t *p[N];
    tern_arena_init(&a, (size_t)64 << 20);
    for (size_t i = 0; i < N; i++) {
        size_t size = sizes[i % 10];
        p[i] = tern_arena_alloc(&a, size);
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        memset(p[i], (int)(i % 251), size);
    }
    for (size_t i = 0; i < N; i++) /* no later block wrote into an earlier one */
        for (size_t k = 0; k < sizes[i % 10]; k++)
            if (p[i][k] != i % 251)
                fail_msg("block %zu changed at %zu", i, k);
    tern_arena_done(&a);
    assert_int_equal(a.used, 0);
}

static void test_the_maximum_is_sharp(void **state)
{
    (void)state;
    tern_arena a;
    tern_arena_init(&a, 100);
    assert_non_null(tern_arena_alloc(&a, 80));
    assert_null(tern_arena_alloc(&a, 17)); /* 32 with padding */
    assert_non_null(tern_arena_alloc(&a, 16));
    assert_int_equal(a.used, 96);
    assert_null(tern_arena_alloc(&a, 0)); /* takes 16 too: blocks have distinct addresses */
    assert_null(tern_arena_alloc(&a, SIZE_MAX));
    assert_null(tern_arena_alloc(&a, SIZE_MAX - 15));
    assert_null(tern_arena_calloc(&a, (size_t)1 << 33, (size_t)1 << 33));
    tern_arena_reset(&a);
    assert_non_null(tern_arena_alloc(&a, 96));
    tern_arena_done(&a);
    assert_non_null(tern_arena_alloc(&a, 96)); /* and usable again */
    tern_arena_done(&a);
    tern_arena_init(&a, SIZE_MAX);
    assert_null(tern_arena_alloc(&a, SIZE_MAX - 20));
    tern_arena_done(&a);
}

static void test_reset_keeps_the_newest_block(void **state)
{
    (void)state;
    tern_arena a;
    tern_arena_init(&a, (size_t)1 << 20);
    tern_arena_reset(&a);
    (void)tern_arena_alloc(&a, 50000);
    void *newest = tern_arena_alloc(&a, 50000); /* does not fit the first block */
    tern_arena_reset(&a);
    tern_alloc_hook_set(refuse_all, NULL);
    assert_ptr_equal(tern_arena_alloc(&a, 50000), newest);
    assert_null(tern_arena_alloc(&a, 50000));
    assert_int_equal(a.used, 50000);
    tern_alloc_hook_set(NULL, NULL);
    tern_arena_done(&a);
}

static void test_calloc_and_strdup(void **state)
{
    (void)state;
    tern_arena a;
    tern_arena_init(&a, (size_t)1 << 20);
    memset(tern_arena_alloc(&a, 4096), 0xff, 4096);
    tern_arena_reset(&a);
    const uint8_t *z = tern_arena_calloc(&a, 64, 64);
    assert_non_null(z);
    for (size_t i = 0; i < 4096; i++)
        assert_int_equal(z[i], 0);
    assert_string_equal(tern_arena_strdup_n(&a, "abcdef", 3), "abc");
    assert_string_equal(tern_arena_strdup_n(&a, "", 0), "");
    assert_null(tern_arena_strdup_n(&a, "x", SIZE_MAX));
    tern_arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_aligned_and_apart),
        cmocka_unit_test(test_the_maximum_is_sharp),
        cmocka_unit_test(test_reset_keeps_the_newest_block),
        cmocka_unit_test(test_calloc_and_strdup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
