/* Headers, addresses and secrets; requests are tested from outside (tests/e2e/test_pull.sh). */
#include "net/http.h"
#include "net/retry.h"
#include "support/support.h"

#include <stdio.h>
#include <string.h>

static net_response with(const char *headers)
{
    net_response r = {.status = 200};
    tern_str_init(&r.headers, 10000);
    tern_str_puts(&r.headers, headers);
    return r;
}

static void test_headers(void **state)
{
    (void)state;
    char buf[16];
    uint64_t n;
    net_response r =
        with("Content-Length: 12\r\nX: \t a b \r\nETagged: no\r\netag: \"x\"\r\nempty:\r\nlong: "
             "0123456789abcdef\r\n");
    assert_true(net_content_length(&r, &n) && n == 12);
    assert_true(net_header(&r, "x", buf, sizeof buf));
    assert_string_equal(buf, "a b");
    assert_true(net_header(&r, "ETag", buf, sizeof buf));
    assert_string_equal(buf, "\"x\"");
    assert_true(net_header(&r, "Empty", buf, sizeof buf));
    assert_string_equal(buf, "");
    assert_false(net_header(&r, "long", buf, sizeof buf));
    assert_false(net_header(&r, "none", buf, sizeof buf));
    net_validator(&r, buf, sizeof buf);
    assert_string_equal(buf, "\"x\"");
    tern_str_done(&r.headers);
}

static void test_ranges(void **state)
{
    (void)state;
    static const char *const bad[] = {"bytes 0-9/*",
                                      "bytes */10",
                                      "bytes 5-4/10",
                                      "bytes 0-10/10",
                                      "0-9/10",
                                      "bytes -1-9/10",
                                      "bytes 0-9",
                                      "bytes 0-99999999999999999999/10",
                                      ""};
    uint64_t a, b, n;
    char line[100];
    net_response r = with("Content-Range: bytes 0-9/10\r\n");
    assert_true(net_content_range(&r, &a, &b, &n) && a == 0 && b == 10 && n == 10);
    tern_str_done(&r.headers);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        (void)snprintf(line, sizeof line, "Content-Range: %s\r\n", bad[i]);
        r = with(line);
        if (net_content_range(&r, &a, &b, &n))
            fail_msg("'%s' is taken", bad[i]);
        tern_str_done(&r.headers);
    }
}

static void test_addresses(void **state)
{
    (void)state;
    char buf[64];
    if (!net_library())
        skip();
    assert_true(net_origin("HTTPS://Host.Example/x?y", buf, sizeof buf));
    assert_string_equal(buf, "https://host.example:443");
    assert_true(net_origin("http://h:81", buf, sizeof buf));
    assert_string_equal(buf, "http://h:81");
    static const char *const bad[] = {
        "",        "h", "file:///x", "ftp://h/x", "https://u@h/", "https://u:p@h/", "https://:p@h/",
        "https://"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (net_origin(bad[i], buf, sizeof buf))
            fail_msg("'%s' has an origin", bad[i]);
    assert_true(net_is_private("https://h/"));
    assert_true(net_is_private("http://127.0.0.1:80/"));
    assert_true(net_is_private("http://localhost/"));
    assert_true(net_is_private("http://[::1]/"));
    assert_false(net_is_private("http://h/"));
    assert_false(net_is_private("http://localhost.evil.org/"));
    assert_string_equal(net_shown(buf, sizeof buf, "http://h/x?secret"), "http://h/x");
}

static void test_secrets(void **state)
{
    (void)state;
    char text[5000];
    memset(text, 'x', sizeof text);
    net_secret *s = net_secret_new(" hf_abc\n", 8);
    assert_non_null(s);
    net_secret_free(s);
    net_secret_free(NULL);
    assert_null(net_secret_new("", 0));
    assert_null(net_secret_new(" \n", 2));
    assert_null(net_secret_new("a\r\nEvil: b", 10));
    assert_null(net_secret_new("a b", 3));
    assert_null(net_secret_new(text, sizeof text));
}

static void test_waiting(void **state)
{
    (void)state;
    assert_in_range(net_backoff_ms(1, 0), 500, 625);
    assert_in_range(net_backoff_ms(3, 0), 2000, 2500);
    assert_in_range(net_backoff_ms(1000, 0), 30000, 37500);
    assert_int_equal(net_backoff_ms(1, 7), 7000);
    assert_int_equal(net_backoff_ms(1, 1000000), NET_MAX_WAIT_S * 1000);
    assert_true(net_status_transient(429) && net_status_transient(503));
    assert_false(net_status_transient(404) || net_status_transient(200) ||
                 net_status_transient(501));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),   cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_addresses), cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
