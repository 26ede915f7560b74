/* Paths and queries taken apart, and routes found. */
#include "server/check.h"
#include "server/uri.h"
#include "support/support.h"

#include <string.h>

static void parses(const char *text, const char *path, const char *name, const char *value)
{
    uri u;
    tern_err err;
    assert_int_equal(uri_parse(text, strlen(text), &u, &err), TERN_OK);
    assert_string_equal(u.path, path);
    if (name && value)
        assert_string_equal(uri_query(&u, name), value);
    else if (name)
        assert_null(uri_query(&u, name));
    uri_done(&u);
}

static void refuses(const char *text, size_t n)
{
    uri u;
    tern_err err;
    assert_int_equal(uri_parse(text, n, &u, &err), TERN_E_USAGE);
    assert_null(u.text);
}

static void test_parse(void **state)
{
    (void)state;
    parses("/", "/", NULL, NULL);
    parses("/a/b", "/a/b", "x", NULL);
    parses("/a?x=1&y=2&x=3", "/a", "x", "1");
    parses("/a?x=1&y=2", "/a", "y", "2");
    parses("/a?x", "/a", "x", "");
    parses("/a?x=", "/a", "x", "");
    parses("/a?=x", "/a", "", "x");
    parses("/a?&&x=1&", "/a", "x", "1");
    parses("/a?x=a=b", "/a", "x", "a=b");
    parses("/a?x=%3D%26+%2B%0A", "/a", "x", "=& +\n");
    parses("/%61%C3%A4", "/a\xc3\xa4", NULL, NULL);
    parses("/a#b?c=d", "/a", "c", NULL);
    parses("/a?c=d#e", "/a", "c", "d");
    parses("http://host:1/a?x=1", "/a", "x", "1");
    parses("/a%2Fb", "/a\1b", NULL, NULL);
    static const char *const bad[] = {
        "",     "a",    "http://host", "https://h/", "*",         "/%",       "/%4",   "/%4g",
        "/%0",  "/a b", "/a\tb",       "/a%00",      "/%1f",      "/a%7f",    "/\xff", "/%ff",
        "/%c3", "/a?%", "/a?x=%zz",    "/a?x=%01",   "/a?x=\xc3", "/a?x=%ff", "/\x7f",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuses(bad[i], strlen(bad[i]));
    refuses("/a\0b", 4);
    char many[4 * URI_MAX_QUERY + 16] = "/?";
    for (int i = 0; i <= URI_MAX_QUERY; i++)
        memcpy(many + 2 + 4 * i, "x=1&", 5);
    refuses(many, strlen(many));
    parses("/?a=1", "/", "a", "1");
}

static void matches(const char *pattern, const char *path, const char *name, const char *value)
{
    uri_params p = {.n = 0};
    assert_true(uri_match(pattern, path, &p));
    assert_int_equal(p.n, name != NULL);
    if (name) {
        assert_string_equal(p.name[0], name);
        assert_string_equal(p.value[0], value);
    }
    uri_params_done(&p);
    assert_int_equal(p.n, 0);
}

static void test_match(void **state)
{
    (void)state;
    matches("/a", "/a", NULL, NULL);
    matches("/a/{id}", "/a/x", "id", "x");
    matches("/a/{id}", "/a/x\1y", "id", "x/y");
    matches("/a/{id}/b", "/a/x/b", "id", "x");
    matches("/a/{id*}", "/a/x/y", "id", "x/y");
    static const char *const bad[][2] = {
        {"/a", "/"},         {"/a", "/ab"},          {"/a", "/a/"},
        {"/a/{id}", "/a/"},  {"/a/{id}", "/a"},      {"/a/{id}", "/a/x/y"},
        {"/a/{id*}", "/a/"}, {"/a/{id}/b", "/a//b"}, {"/{x}", "/"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(uri_match(bad[i][0], bad[i][1], NULL));
    uri_params p = {.n = 0};
    assert_true(uri_match("/{a}/{b}", "/1/2", &p));
    assert_int_equal(p.n, 2);
    assert_string_equal(p.value[0], "1");
    assert_string_equal(p.value[1], "2");
    uri_params_done(&p);
}

static void test_routes(void **state)
{
    (void)state;
    uri_params p = {.n = 0};
    char allow[64];
    const route *get = route_find("GET", "/health", &p, allow, sizeof allow);
    assert_non_null(get);
    assert_ptr_equal(route_find("HEAD", "/health", &p, allow, sizeof allow), get);
    assert_null(route_find("POST", "/health", &p, allow, sizeof allow));
    assert_string_equal(allow, "GET, HEAD, OPTIONS");
    assert_null(route_find("GET", "/nothing", &p, allow, sizeof allow));
    assert_string_equal(allow, "");
    /* Each row can be reached: none stands behind another that takes its path. */
    for (size_t i = 0; i < n_route; i++) {
        char path[256];
        size_t n = 0;
        for (const char *s = routes[i].path; *s; s++)
            if (*s != '{' && *s != '}' && *s != '*')
                path[n++] = *s;
        path[n] = '\0';
        assert_ptr_equal(route_find(routes[i].method, path, &p, allow, sizeof allow), &routes[i]);
        uri_params_done(&p);
        /* Only what says nothing of anybody is open. */
        if (routes[i].flags & ROUTE_OPEN)
            assert_string_equal(routes[i].method, "GET");
        assert_false((routes[i].flags & ROUTE_BODY) && (routes[i].flags & ROUTE_QUICK));
    }
}

static void test_host(void **state)
{
    (void)state;
    static const char *const more[] = {"tern.example"};
    static const char *const good[] = {"localhost",    "localhost:1",  "LocalHost",
                                       "127.0.0.1:80", "127.9.9.9",    "[::1]",
                                       "[::1]:8376",   "tern.example", "TERN.example:1"};
    static const char *const bad[] = {
        "",         "evil",        "localhost.", "localhost:",   "localhost:a", "127.0.0.1.x",
        "127.evil", "x127.0.0.1",  "[::1",       "[::1]x",       "[::2]",       "::1",
        "0.0.0.0",  "tern.exampl", "128.0.0.1",  "localhost:-1", "a@localhost", "localhost/x"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(check_host_name(good[i], more, 1));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(check_host_name(bad[i], more, 1));
}

static void json_is(const char *text, tern_code want)
{
    json_t *v;
    tern_err err;
    assert_int_equal(exchange_parse_json(text, strlen(text), 3, &v, &err), want);
    assert_true((want == TERN_OK) == (v != NULL));
    if (want != TERN_OK) /* never what the client sent */
        assert_null(strstr(err.msg, "canary"));
    json_decref(v);
}

static void test_json(void **state)
{
    (void)state;
    json_is("{}", TERN_OK);
    json_is("{\"a\":[[1]]}", TERN_OK);
    json_is("{\"a\":\"[[[[[[\\\"[[[\"}", TERN_OK);
    json_is("{\"a\":[[[1]]]}", TERN_E_USAGE);
    json_is("", TERN_E_USAGE);
    json_is("[1]", TERN_E_USAGE);
    json_is("{\"canary\":canary}", TERN_E_USAGE);
    json_is("{\"canary\":1,\"canary\":2}", TERN_E_USAGE);
    json_is("{} x", TERN_E_USAGE);
    json_is("{\"a\":\"\xff\"}", TERN_E_USAGE);
    json_is("{\"a\":1e999}", TERN_E_USAGE);
    json_is("{\"a\":\"\\ud800\"}", TERN_E_USAGE);
}

static void test_limits(void **state)
{
    (void)state;
    server_limits l;
    tern_err err;
    server_limits_init(&l);
    assert_int_equal(l.line_bytes, 8192);
    assert_int_equal(l.headers, 100);
    assert_int_equal(l.header_bytes, 16384);
    assert_int_equal(l.body_bytes, 16 << 20);
    assert_int_equal(l.json_depth, 64);
    assert_int_equal(l.connections, 1024);
    assert_int_equal(l.header_s, 10);
    assert_int_equal(l.stall_s, 30);
    assert_int_equal(EXCHANGE_BACKLOG, 256 << 10);
    assert_int_equal(server_limits_set(&l, "json_depth=7", &err), TERN_OK);
    assert_int_equal(l.json_depth, 7);
    static const char *const bad[] = {"",
                                      "json_depth",
                                      "json_depth=",
                                      "json_depth=0",
                                      "json_depth=-1",
                                      "json_depth=1001",
                                      "json_dept=1",
                                      "json_depth=1 ",
                                      "json_depths=1",
                                      "json_depth=99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(server_limits_set(&l, bad[i], &err), TERN_E_USAGE);
    assert_int_equal(l.json_depth, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse), cmocka_unit_test(test_match), cmocka_unit_test(test_routes),
        cmocka_unit_test(test_host),  cmocka_unit_test(test_json),  cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
