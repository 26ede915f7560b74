/* The chat template engine against Jinja2's own renderings (tests/golden/templates/make.py), its
 * limits, and every allocation failing once. */
#include "support/golden.h"
#include "support/support.h"

#include "base/alloc.h"
#include "text/template.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN "tests/golden/templates/"
#define NOW    1767616496

static char *fnv(const char *p, size_t n)
{
    static char out[20];
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * 0x100000001b3u;
    (void)snprintf(out, sizeof out, "%016" PRIx64, h);
    return out;
}

static void show(const char *label, const char *p, size_t n)
{
    json_t *s = json_stringn_nocheck(p, n);
    char *text = json_dumps(s, JSON_ENCODE_ANY);
    print_message("  %s %s\n", label, text ? text : "(not UTF-8)");
    free(text);
    json_decref(s);
}

/* Compare one rendering with what is expected: text, a digest of text, or an error. */
static bool matches(const json_t *want, tern_code rc, const tern_str *got, const tern_err *err)
{
    const char *text = tern_str_get(got);
    if (json_is_string(want))
        return rc == TERN_OK && got->len == json_string_length(want) &&
               memcmp(text, json_string_value(want), got->len) == 0;
    const json_t *fnv_want = json_object_get(want, "fnv");
    if (fnv_want)
        return rc == TERN_OK && strcmp(fnv(text, got->len), json_string_value(fnv_want)) == 0;
    const json_t *raised = json_object_get(want, "raise");
    if (raised)
        return rc == TERN_E_USAGE && strncmp(err->msg, json_string_value(raised), 200) == 0;
    if (json_object_get(want, "refuse"))
        return rc == TERN_E_UNSUPPORTED;
    return rc == TERN_E_FORMAT || rc == TERN_E_LIMIT;
}

static bool check(const char *what, const char *which, const json_t *want, tern_code rc,
                  const tern_str *got, const tern_err *err)
{
    if (matches(want, rc, got, err))
        return true;
    print_message("%s / %s:\n", what, which);
    char *w = json_dumps(want, JSON_ENCODE_ANY);
    print_message("  want %s\n", w);
    free(w);
    if (rc == TERN_OK)
        show("got ", tern_str_get(got), got->len);
    else
        print_message("  got  error %d: %s\n", (int)rc, err->msg);
    return false;
}

/* ---- models x conversations ------------------------------------------------------------------ */

static int check_template(const char *name, json_t *conversations, const json_t *tokens)
{
    char path[300];
    size_t n;
    int bad = 0;
    tern_err err = {0};
    tern_template *t;
    (void)snprintf(path, sizeof path, GOLDEN "models/%s.jinja", name);
    uint8_t *src = test_read_file(path, &n);
    assert_non_null(src);
    (void)snprintf(path, sizeof path, GOLDEN "expected/%s.json", name);
    json_t *expected = test_golden(path), *vars;
    if (tern_template_compile((const char *)src, n, &t, &err) != TERN_OK) {
        print_message("%s: %s\n", name, err.msg);
        bad = 1;
    }
    const json_t *pair = json_object_get(tokens, name);
    if (!pair)
        pair = json_object_get(tokens, "default");
    const char *key;
    json_object_foreach(conversations, key, vars)
    {
        if (!t)
            break;
        tern_str out;
        tern_str_init(&out, (size_t)1 << 24);
        json_t *all = json_copy(vars);
        json_object_set(all, "bos_token", json_array_get(pair, 0));
        json_object_set(all, "eos_token", json_array_get(pair, 1));
        tern_code rc = tern_template_render(t, all, NOW, NULL, &out, &err);
        bad += !check(name, key, json_object_get(expected, key), rc, &out, &err);
        json_decref(all);
        tern_str_done(&out);
    }
    tern_template_free(t);
    json_decref(expected);
    free(src);
    return bad;
}

static void test_models(void **state)
{
    (void)state;
    json_t *conversations = test_golden(GOLDEN "conversations.json");
    json_t *tokens = json_incref(json_object_get(conversations, "tokens"));
    json_object_del(conversations, "tokens");
    assert_true(json_object_size(conversations) >= 25);
    DIR *d = opendir(GOLDEN "models");
    assert_non_null(d);
    int n = 0, bad = 0;
    for (struct dirent *e; (e = readdir(d));) {
        char name[200];
        size_t len = strlen(e->d_name);
        if (len < 7 || len > 190 || strcmp(e->d_name + len - 6, ".jinja") != 0)
            continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)len - 6, e->d_name);
        bad += check_template(name, conversations, tokens);
        n++;
    }
    closedir(d);
    json_decref(tokens);
    json_decref(conversations);
    assert_true(n >= 40);
    assert_int_equal(bad, 0);
}

/* ---- snippets -------------------------------------------------------------------------------- */

static tern_code run(const char *src, size_t n, const json_t *vars,
                     const tern_template_limits *limits, tern_str *out, tern_err *err)
{
    tern_template *t;
    tern_code rc = tern_template_compile(src, n, &t, err);
    if (rc == TERN_OK)
        rc = tern_template_render(t, vars, NOW, limits, out, err);
    tern_template_free(t);
    return rc;
}

static void test_snippets(void **state)
{
    (void)state;
    json_t *j = test_golden(GOLDEN "snippets.json"), *c;
    const json_t *vars = json_object_get(j, "vars"), *cases = json_object_get(j, "cases");
    size_t i;
    int bad = 0;
    assert_true(json_array_size(cases) >= 200);
    json_array_foreach(cases, i, c)
    {
        const json_t *src = json_array_get(c, 0);
        tern_err err = {0};
        tern_str out;
        tern_str_init(&out, (size_t)1 << 24);
        tern_code rc = run(json_string_value(src), json_string_length(src), vars, NULL, &out, &err);
        bad += !check("snippet", json_string_value(src), json_array_get(c, 1), rc, &out, &err);
        tern_str_done(&out);
    }
    json_decref(j);
    assert_int_equal(bad, 0);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static tern_code run_plain(const char *src, const tern_template_limits *limits, tern_err *err)
{
    tern_str out;
    tern_str_init(&out, SIZE_MAX / 4);
    tern_str_puts(&out, "before");
    tern_code rc = run(src, strlen(src), NULL, limits, &out, err);
    if (rc != TERN_OK)
        assert_string_equal(tern_str_get(&out), "before");
    tern_str_done(&out);
    return rc;
}

static char *repeated(const char *head, const char *part, size_t times, const char *tail)
{
    size_t n = strlen(part);
    char *s = malloc(strlen(head) + n * times + strlen(tail) + 1), *p = s;
    assert_non_null(s);
    p = stpcpy(p, head);
    for (size_t i = 0; i < times; i++)
        p = stpcpy(p, part);
    (void)stpcpy(p, tail);
    return s;
}

static void test_limits(void **state)
{
    (void)state;
    static const char *const hungry[] = {
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(x) %}{{ f(x) }}{{ f(x) }}{% endmacro %}{{ f(1) }}",
        "{% set ns = namespace(s='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}"
        "{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = ns.l + ns.l %}"
        "{% endfor %}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}"
        "{% endfor %}{{ ns.l }}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}"
        "{% endfor %}{{ ns.l == [ns.l] }}{{ ns.l | tojson }}",
        "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}",
        "{{ 'ab' * 1000000000 }}",
        "{{ [1] * 100000000000 }}",
        "{{ '%099999d' % 1 * 1000 }}",
        "{{ 'x'.center(1000000000) }}",
        "{{ 'x'|indent(1000000000, true) }}",
        "{{ [[]]|tojson(indent=1000000000) }}",
        "{{ 2 ** 100 }}",
        "{{ range(1000000) }}",
        "{{ [1,2]|batch(1000000000000, 0)|list }}",
        "{% set a = 'x' * 100000 %}{% for i in range(100000) %}{{ a.find('y') }}{% endfor %}",
        "{% set a = 'x' * 1000000 %}{% for i in range(100000) %}{% set b = a|upper %}{% endfor %}",
        "{% set a = 'é' * 100000 %}{% for i in range(100000) %}{% set b = a[-1] %}{% endfor %}",
        "{% set a = range(100000)|list %}{% for i in range(1000) %}{% set b = a|sort %}{% endfor "
        "%}",
        "{% set a = ('a ' * 100000).split() %}{% for i in range(100000) %}{{ a|join }}{% endfor %}",
        "{% set a = 'a' * 1000000 %}{{ a.rfind('a' * 500000 + 'b') }}",
        "{% set a = 'a' * 1000000 %}{{ a.rsplit('a' * 500000 + 'b') }}",
        "{% set a = 'a' * 1000000 %}{{ a.strip('b' * 1000000 + 'a') }}",
        "{% set l = range(90000)|list %}{% for x in l %}{% if -1 in l %}{% endif %}{% endfor %}",
        "{% for x in range(100000) if false %}{% endfor %}"
        "{% for a in range(100000) if false %}{% endfor %}{% for x in range(90000) if x %}"
        "{% for y in range(90000) if x is none %}{% endfor %}{% endfor %}",
    };
    tern_err err;
    for (size_t i = 0; i < sizeof hungry / sizeof *hungry; i++) {
        tern_code rc = run_plain(hungry[i], NULL, &err);
        if (rc != TERN_E_LIMIT)
            fail_msg("%s\ngives %d %s", hungry[i], (int)rc, err.msg);
    }
}

static void test_limits_settable(void **state)
{
    (void)state;
    static const char loop[] = "{% for i in range(1000) %}{{ i }}{% endfor %}";
    static const char deep[] =
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(20) }}";
    tern_template_limits l = TERN_TEMPLATE_LIMITS;
    tern_err err;
    assert_int_equal(run_plain(loop, &l, &err), TERN_OK);
    l.fuel = 500;
    assert_int_equal(run_plain(loop, &l, &err), TERN_E_LIMIT);
    l = (tern_template_limits)TERN_TEMPLATE_LIMITS;
    l.output_bytes = 2889; /* 10 + 2 * 90 + 3 * 900 = 2890 digits */
    assert_int_equal(run_plain(loop, &l, &err), TERN_E_LIMIT);
    l.output_bytes = 2890;
    assert_int_equal(run_plain(loop, &l, &err), TERN_OK);
    l.arena_bytes = 1000;
    assert_int_equal(run_plain(loop, &l, &err), TERN_E_LIMIT);
    l = (tern_template_limits)TERN_TEMPLATE_LIMITS;
    assert_int_equal(run_plain(deep, &l, &err), TERN_OK);
    l.depth = 20;
    assert_int_equal(run_plain(deep, &l, &err), TERN_E_LIMIT);
    assert_non_null(strstr(err.msg, "line 1"));
}

static void test_deep_source(void **state)
{
    (void)state;
    static const struct {
        const char *head, *part, *tail;
        size_t times;
        tern_code want;
    } t[] = {
        {"{{ ", "(", " }}", 100000, TERN_E_LIMIT},
        {"{{ ", "[", " }}", 100000, TERN_E_LIMIT},
        {"{{ ", "{1:", " }}", 100000, TERN_E_LIMIT},
        {"{{ x", "[x", " }}", 100000, TERN_E_LIMIT},
        {"{{ ", "- ", "1 }}", 100000, TERN_E_LIMIT},
        {"{{ ", "not ", "1 }}", 100000, TERN_E_LIMIT},
        {"{{ ", "1 if 1 else ", "1 }}", 100000, TERN_E_LIMIT},
        {"", "{% if 1 %}", "", 100000, TERN_E_LIMIT},
        {"", "{% for x in y %}", "", 100000, TERN_E_LIMIT},
        {"{{ ", "x(", " }}", 100000, TERN_E_LIMIT},
        {"{{ 1", " + 1", " }}", 100000, TERN_E_LIMIT},   /* when it runs */
        {"{{ ''", "|trim", " }}", 100000, TERN_E_LIMIT}, /* likewise */
        {"{{ 1", " + 1", " }}", 500, TERN_OK},
        {"{{ 1", " and 1", " }}", 100000, TERN_OK},
        {"{{ ''", " ~ 1", " }}", 100000, TERN_OK},
        {"{% if 0 %}", "{% elif 0 %}", "{% endif %}", 20000, TERN_OK},
        {"{{ [1", ", 1", "]|length }}", 100000, TERN_OK},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        tern_err err = {0};
        char *s = repeated(t[i].head, t[i].part, t[i].times, t[i].tail);
        tern_code rc = run_plain(s, NULL, &err);
        if (rc != t[i].want)
            fail_msg("'%s' %zu times gives %d %s", t[i].part, t[i].times, (int)rc, err.msg);
        free(s);
    }
}

static void test_large_ordinary(void **state)
{
    (void)state;
    static const char src[] =
        "{% set ns = namespace(text='', all=[]) %}{% for m in messages %}"
        "{% set ns.text = ns.text + '<' + m.role + '>' + m.content|trim + '\\n' %}"
        "{% set ns.all = ns.all + [m.content] %}{{ m.content[:3]|upper }}{% endfor %}{{ ns.text }}";
    json_t *messages = json_array(), *vars = json_object();
    char *text = repeated(" ", "tern ", 1000, " ");
    for (int i = 0; i < 1000; i++)
        json_array_append_new(messages, json_pack("{s:s,s:s}", "role", "user", "content", text));
    json_object_set_new(vars, "messages", messages);
    tern_str out;
    tern_err err = {0};
    tern_str_init(&out, (size_t)1 << 24);
    assert_int_equal(run(src, strlen(src), vars, NULL, &out, &err), TERN_OK);
    assert_int_equal(out.len, 1000 * (3 + 6 + 4999 + 1));
    tern_str_done(&out);
    json_decref(vars);
    free(text);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void test_messages(void **state)
{
    (void)state;
    static const struct {
        const char *src;
        tern_code code;
        const char *text;
    } t[] = {
        {"a\nb\n{% foo %}", TERN_E_FORMAT, "line 3"},
        {"a\n{{ x|nofilter }}", TERN_E_UNSUPPORTED, "line 2: filter 'nofilter'"},
        {"\n\n{{ x is notest }}", TERN_E_UNSUPPORTED, "line 3: test 'notest'"},
        {"{{ lipsum() }}", TERN_E_UNSUPPORTED, "function 'lipsum'"},
        {"\n{% include 'x' %}", TERN_E_UNSUPPORTED, "line 2: statement 'include'"},
        {"{{ 'a'.encode() }}", TERN_E_UNSUPPORTED, "method 'encode'"},
        {"{{ x|map('nofilter') }}", TERN_E_UNSUPPORTED, "filter 'nofilter'"},
        {"{{ x|selectattr('a', 'notest') }}", TERN_E_UNSUPPORTED, "test 'notest'"},
        {"{% for x in y recursive %}{% endfor %}", TERN_E_UNSUPPORTED, "recursive"},
        {"{{ 1 +\n\n }}", TERN_E_FORMAT, "line 3"},
        {"{{ a", TERN_E_FORMAT, "line 1"},
        {"\n{% if a %}", TERN_E_FORMAT, "end of template"},
        {"{{ '", TERN_E_FORMAT, "line 1"},
        {"\n\n{{ a.b.c }}", TERN_E_FORMAT, "line 3: 'a' is undefined"},
        {"{{ raise_exception('so be it') }}", TERN_E_USAGE, "so be it"},
        {"{{ 9223372036854775808 }}", TERN_E_UNSUPPORTED, "integer"},
        {"\xff", TERN_E_FORMAT, "UTF-8"},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        tern_err err = {0};
        tern_code rc = run_plain(t[i].src, NULL, &err);
        if (rc != t[i].code || !strstr(err.msg, t[i].text) || err.code != rc)
            fail_msg("%s\ngives %d %s", t[i].src, (int)rc, err.msg);
    }
}

/* ---- allocation failures --------------------------------------------------------------------- */

typedef struct failing {
    int left;
    bool onward;
} failing;

static bool fail_nth(void *ctx, const char *site, size_t size)
{
    failing *f = ctx;
    (void)site;
    (void)size;
    if (f->left > 0) {
        f->left--;
        return false;
    }
    bool fail = f->left == 0 || f->onward;
    f->left = -1;
    return fail;
}

static void test_no_memory(void **state)
{
    (void)state;
    static const char src[] =
        "{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}"
        "{% for i in range(3000) %}{% set s = ('x' * 100)|upper %}{{ {'a': [i, s]} }}{% endfor %}"
        "{% for k, v in x.items() %}{{ k ~ v|tojson }}{% endfor %}";
    json_t *vars = json_pack("{s:{s:[i,f,n],s:s}}", "x", "k", 1, 2.5, "l", "text");
    for (int onward = 0; onward < 2; onward++) {
        for (int n = 0;; n++) {
            failing f = {n, onward != 0};
            tern_str out;
            tern_err err = {0};
            tern_str_init(&out, (size_t)1 << 24);
            tern_alloc_hook_set(fail_nth, &f);
            tern_code rc = run(src, strlen(src), vars, NULL, &out, &err);
            tern_alloc_hook_set(NULL, NULL);
            if (rc == TERN_OK)
                assert_true(n > 10 && f.left >= 0);
            else
                assert_int_equal(rc, TERN_E_NOMEM);
            tern_str_done(&out);
            if (rc == TERN_OK)
                break;
        }
    }
    json_decref(vars);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models),      cmocka_unit_test(test_snippets),
        cmocka_unit_test(test_limits),      cmocka_unit_test(test_limits_settable),
        cmocka_unit_test(test_deep_source), cmocka_unit_test(test_large_ordinary),
        cmocka_unit_test(test_messages),    cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
