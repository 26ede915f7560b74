#include "base/str.h"
#include "support/support.h"

#include <string.h>

static void test_quote_shows_text_as_it_is(void **state)
{
    (void)state;
    char buf[64];
    static const char *const same[] = {"", "blk.0.attn_q.weight", "Gr\xc3\xbc\xc3\x9f\x65",
                                       "\xe4\xb8\x96\xe7\x95\x8c", "a'b\\"};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        assert_string_equal(tern_quote(buf, sizeof buf, same[i], strlen(same[i])), same[i]);
}

static void test_quote_hides_what_a_terminal_must_not_get(void **state)
{
    (void)state;
    char buf[64];
    static const char *const rows[][2] = {
        {"\x1b[2J", "\\x1b[2J"},
        {"a\nb\x7f", "a\\x0ab\\x7f"},
        {"\xc2\x9b", "\\xc2\\x9b"},          /* C1 control */
        {"\xe2\x80\xae", "\\xe2\\x80\\xae"}, /* right-to-left override */
        {"\xff\xc0\x80", "\\xff\\xc0\\x80"}, /* no UTF-8 */
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"}, /* surrogate */
        {"\xe4\xb8", "\\xe4\\xb8"},          /* cut */
        {"\xe2\x81\xa6\xef\xbb\xbf", "\\xe2\\x81\\xa6\\xef\\xbb\\xbf"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_string_equal(tern_quote(buf, sizeof buf, rows[i][0], strlen(rows[i][0])),
                            rows[i][1]);
    assert_string_equal(tern_quote(buf, sizeof buf, "a\0b", 3), "a\\x00b");
}

static void test_quote_cuts_the_middle(void **state)
{
    (void)state;
    char buf[24];
    const char *fits = "12345678901234567890123", *longer = "123456789012345678901234";
    assert_string_equal(tern_quote(buf, sizeof buf, fits, 23), fits);
    assert_string_equal(tern_quote(buf, sizeof buf, longer, 24), "123456...12345678901234");
    /* Characters stay whole: the result is shorter then, never longer. */
    for (size_t cap = 16; cap <= sizeof buf; cap++)
        for (size_t n = 0; n < 40; n++) {
            char src[120], out[24];
            for (size_t i = 0; i < n; i++)
                memcpy(src + i * 3,
                       i % 3 ? "\xe4\xb8\x96"
                             : "a\x01"
                               "b",
                       3);
            tern_quote(out, cap, src, n * 3);
            size_t len = strlen(out);
            assert_true(len < cap);
            for (size_t i = 0; i < len; i++)
                if (((unsigned char)out[i] & 0xF0) == 0xE0)
                    assert_memory_equal(out + i, "\xe4\xb8\x96", 3);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quote_shows_text_as_it_is),
        cmocka_unit_test(test_quote_hides_what_a_terminal_must_not_get),
        cmocka_unit_test(test_quote_cuts_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
