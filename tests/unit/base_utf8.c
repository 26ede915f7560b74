#include "base/utf8.h"
#include "support/support.h"

#include <string.h>

static void test_decode_refuses_what_rfc3629_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {"\x80",
                                      "\xC0\x80",
                                      "\xC1\xBF",
                                      "\xE0\x9F\xBF",
                                      "\xED\xA0\x80",
                                      "\xF0\x8F\xBF\xBF",
                                      "\xF4\x90\x80\x80",
                                      "\xF5\x80\x80\x80",
                                      "\xE2\x82",
                                      "\xFF"};
    uint32_t cp;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(tern_utf8_decode(bad[i], strlen(bad[i]), &cp), 0);
}

static void test_every_code_point_round_trips(void **state)
{
    (void)state;
    for (uint32_t cp = 0; cp <= 0x110000; cp++) {
        char b[4];
        uint32_t back;
        int n = tern_utf8_encode(cp, b);
        if (cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF)) {
            assert_int_equal(n, 0);
            continue;
        }
        assert_int_equal(tern_utf8_decode(b, (size_t)n, &back), n);
        assert_int_equal(back, cp);
        for (int cut = 1; cut < n; cut++)
            assert_int_equal(tern_utf8_partial_tail(b, (size_t)cut), cut);
        assert_int_equal(tern_utf8_partial_tail(b, (size_t)n), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode_refuses_what_rfc3629_refuses),
        cmocka_unit_test(test_every_code_point_round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
