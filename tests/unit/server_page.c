/* What a request for the page says of it: encodings and tags, as RFC 9110 writes them. */
#include "server/page.h"
#include "support/support.h"

static void test_encodings(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        bool gzip;
    } row[] = {
        {NULL, false},
        {"", false},
        {"gzip", true},
        {"GZIP", true},
        {"gzip, deflate, br, zstd", true},
        {"br;q=1.0, gzip;q=0.8, *;q=0.1", true},
        {"gzip;q=0", false},
        {"gzip; q=0.000", false},
        {"gzip;q=0.001", true},
        {"deflate", false},
        {"*", true},
        {"*;q=0", false},
        {"gzip;q=0, *", false},
        {"*;q=0, gzip", true},
        {"identity", false},
        {"x-gzip-like", false},
        {"gzipped", false},
        {" ,, \tgzip\t,", true},
        {";q=0", false},
        {"=", false},
        {"gzip;q=", true},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
        if (page_takes_gzip(row[i].accept) != row[i].gzip)
            fail_msg("%s", row[i].accept ? row[i].accept : "none");
}

static void test_tags(void **state)
{
    (void)state;
    const char *tag = "\"abc\"";
    assert_false(page_has_tag(NULL, tag));
    assert_false(page_has_tag("", tag));
    assert_true(page_has_tag("\"abc\"", tag));
    assert_true(page_has_tag("W/\"abc\"", tag));
    assert_true(page_has_tag("*", tag));
    assert_true(page_has_tag("\"x\", \"y\" , W/\"abc\"", tag));
    assert_false(page_has_tag("abc", tag));
    assert_false(page_has_tag("\"abc", tag));
    assert_false(page_has_tag("\"abcd\"", tag));
    assert_false(page_has_tag("\"ab\"", tag));
    assert_false(page_has_tag("W/", tag));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_tags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
