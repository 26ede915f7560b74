#include "base/alloc.h"
#include "base/str.h"
#include "support/support.h"

#include <string.h>

static bool refuse_all(void *ctx, const char *site, size_t size)
{
    (void)ctx, (void)site, (void)size;
    return true;
}

static void test_appends(void **state)
{
    (void)state;
    tern_str s;
    tern_str_init(&s, 1000);
    assert_string_equal(tern_str_get(&s), "");
    tern_str_puts(&s, "ab");
    tern_str_putc(&s, 'c');
    tern_str_put(&s, "d\0e", 3);
    tern_str_put(&s, NULL, 0);
    tern_str_printf(&s, "%d-%s", -7, "x");
    assert_int_equal(s.len, 10);
    assert_memory_equal(s.data, "abcd\0e-7-x", 11);
    tern_str_clear(&s);
    assert_string_equal(tern_str_get(&s), "");
    tern_str_printf(&s, "%s", "again");
    assert_string_equal(tern_str_get(&s), "again");
    tern_str_done(&s);
    assert_string_equal(tern_str_get(&s), "");
}

/* Exactly max bytes fit; one more fails and leaves what was there. */
static void test_the_maximum_is_sharp(void **state)
{
    (void)state;
    static const size_t limits[] = {0, 1, 62, 63, 64, 65, 127, 128, 5000};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        tern_str s;
        tern_str_init(&s, limits[i]);
        for (size_t k = 0; k < limits[i]; k++)
            tern_str_putc(&s, (char)('a' + k % 26));
        assert_false(s.failed);
        assert_int_equal(s.len, limits[i]);
        tern_str_putc(&s, '!');
        assert_true(s.failed);
        tern_str_puts(&s, "");
        tern_str_printf(&s, "%d", 1);
        assert_int_equal(s.len, limits[i]);
        assert_int_equal(strlen(tern_str_get(&s)), limits[i]);
        assert_null(tern_str_take(&s));
        tern_str_clear(&s);
        assert_false(s.failed);
        tern_str_done(&s);
    }
}

static void test_sizes_near_the_top_fail(void **state)
{
    (void)state;
    tern_str s;
    tern_str_init(&s, SIZE_MAX);
    tern_str_puts(&s, "x");
    tern_str_put(&s, "y", SIZE_MAX);
    assert_true(s.failed);
    assert_string_equal(tern_str_get(&s), "x");
    tern_str_clear(&s);
    tern_str_put(&s, "y", SIZE_MAX - 1);
    assert_true(s.failed);
    tern_str_done(&s);
    tern_str_put(&s, "y", SIZE_MAX);
    assert_true(s.failed);
    tern_str_done(&s);
}

static void test_take_hands_over(void **state)
{
    (void)state;
    tern_str s;
    tern_str_init(&s, 100);
    char *p = tern_str_take(&s);
    assert_string_equal(p, "");
    tern_free(p);
    tern_str_puts(&s, "mine");
    p = tern_str_take(&s);
    assert_string_equal(p, "mine");
    tern_free(p);
    assert_int_equal(s.len, 0);
    tern_str_puts(&s, "next");
    assert_string_equal(tern_str_get(&s), "next");
    tern_str_done(&s);
}

static void test_exhausted_memory_is_sticky(void **state)
{
    (void)state;
    tern_str s;
    char big[100];
    memset(big, 'b', sizeof big);
    tern_str_init(&s, 1000);
    tern_str_puts(&s, "kept");
    tern_alloc_hook_set(refuse_all, NULL);
    tern_str_put(&s, big, sizeof big);
    tern_alloc_hook_set(NULL, NULL);
    assert_true(s.failed);
    tern_str_puts(&s, "x");
    assert_string_equal(tern_str_get(&s), "kept");
    tern_str_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appends),
        cmocka_unit_test(test_the_maximum_is_sharp),
        cmocka_unit_test(test_sizes_near_the_top_fail),
        cmocka_unit_test(test_take_hands_over),
        cmocka_unit_test(test_exhausted_memory_is_sticky),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
