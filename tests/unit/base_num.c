#include "base/num.h"
#include "support/support.h"

#include <math.h>
#include <string.h>

static void test_sizes_report_overflow(void **state)
{
    (void)state;
    const size_t top = SIZE_MAX;
    size_t n = 5;
    assert_true(tern_add_size(top - 1, 1, &n) && n == top);
    assert_true(tern_mul_size(top / 2, 2, &n) && n == top - 1);
    assert_true(tern_mul_size(0, top, &n) && n == 0);
    assert_true(tern_align_size(0, 32, &n) && n == 0);
    assert_true(tern_align_size(33, 32, &n) && n == 64);
    assert_true(tern_align_size(64, 32, &n) && n == 64);
    assert_true(tern_align_size(top - 31, 32, &n) && n == top - 31);
    n = 5;
    assert_false(tern_add_size(top, 1, &n));
    assert_false(tern_mul_size(top / 2 + 1, 2, &n));
    assert_false(tern_mul_size((size_t)1 << 32, (size_t)1 << 32, &n));
    assert_false(tern_align_size(top - 30, 32, &n));
    assert_int_equal(n, 5);
    assert_int_equal(tern_round_up(0, 6), 0);
    assert_int_equal(tern_round_up(7, 6), 12);
    assert_int_equal(tern_round_up(12, 6), 12);
}

static void test_u64(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1_0",
                                      "0x1",
                                      "1.",
                                      "18446744073709551616",
                                      "99999999999999999999"};
    uint64_t v = 9;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(tern_parse_u64(bad[i], strlen(bad[i]), &v));
    assert_int_equal(v, 9);
    assert_true(tern_parse_u64("18446744073709551615", 20, &v) && v == UINT64_MAX);
    assert_true(tern_parse_u64("0007", 4, &v) && v == 7);
    assert_true(tern_parse_u64("123456", 3, &v) && v == 123); /* the length rules, not the NUL */
    assert_false(tern_parse_u64("1\0002", 3, &v));
}

static void test_i64(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "-", "--1", "+1", "- 1", "1-", "9223372036854775808", "-9223372036854775809"};
    int64_t v = 9;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(tern_parse_i64(bad[i], strlen(bad[i]), &v));
    assert_int_equal(v, 9);
    assert_true(tern_parse_i64("9223372036854775807", 19, &v) && v == INT64_MAX);
    assert_true(tern_parse_i64("-9223372036854775808", 20, &v) && v == INT64_MIN);
    assert_true(tern_parse_i64("-0", 2, &v) && v == 0);
}

static void test_f64(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value;
    } good[] = {
        {"0", 0.0},
        {"1.5", 1.5},
        {"-2.25", -2.25},
        {".5", 0.5},
        {"3.", 3.0},
        {"1e3", 1000.0},
        {"1E+3", 1000.0},
        {"25e-2", 0.25},
        {"0.1", 0.1},
        {"3.14159265358979", 3.14159265358979},
        {"1e22", 1e22},
        {"123456789012345e-22", 123456789012345e-22},
        {"1e-5000", 0.0},
        {"0e9999", 0.0},
        {"18446744073709551616", 18446744073709551616.0},
        {"100000000000000000000000", 1e23},
    };
    static const char *const bad[] = {"",    "-",     ".",     "-.",    "e5",     "1e",      "1e+",
                                      "1e-", "1e+-5", "1e--5", "1.2.3", "+1",     " 1",      "1 ",
                                      "nan", "inf",   "0x10",  "1e309", "1e9999", "1e10000", "1,5"};
    double v = 9;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (tern_parse_f64(bad[i], strlen(bad[i]), &v))
            fail_msg("'%s' was read as %g", bad[i], v);
    assert_true(v == 9);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        v = 9;
        assert_true(tern_parse_f64(good[i].text, strlen(good[i].text), &v));
        double ulp = fabs(nextafter(good[i].value, (double)INFINITY) - good[i].value);
        size_t digits = strlen(good[i].text);
        if (digits <= 20 ? v != good[i].value : fabs(v - good[i].value) > ulp)
            fail_msg("'%s' was read as %.17g", good[i].text, v);
    }
    assert_true(tern_parse_f64("-0", 2, &v) && v == 0 && signbit(v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_report_overflow),
        cmocka_unit_test(test_u64),
        cmocka_unit_test(test_i64),
        cmocka_unit_test(test_f64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
