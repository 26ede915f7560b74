/* What users write to name models, and what may become a file's name. */
#include "store/spec.h"
#include "support/support.h"

#include <string.h>

#define HUB "https://huggingface.co"

static void check_hub(const char *text, const char *repo, const char *revision, const char *select)
{
    store_spec s;
    tern_err err;
    if (store_spec_parse(text, HUB, &s, &err) != TERN_OK)
        fail_msg("%s: %s", text, err.msg);
    assert_int_equal(s.kind, STORE_HUB);
    assert_string_equal(s.repo, repo);
    assert_string_equal(s.revision, revision);
    assert_string_equal(s.select, select);
}

static void test_repositories(void **state)
{
    (void)state;
    check_hub("hf:a/b", "a/b", "main", "");
    check_hub("a/b", "a/b", "main", "");
    check_hub("hf:a/b:Q4_K_M", "a/b", "main", "Q4_K_M");
    check_hub("hf:a/b.c-d_e:x y/z.gguf", "a/b.c-d_e", "main", "x y/z.gguf");
    check_hub("hf:a/b@v1.0", "a/b", "v1.0", "");
    check_hub("hf:a/b@refs/pr/1:I2_S", "a/b", "refs/pr/1", "I2_S");
    check_hub("hf:a/b:c@d:e", "a/b", "main", "c@d:e");
    check_hub(HUB "/a/b", "a/b", "main", "");
    check_hub(HUB "/a/b/", "a/b", "main", "");
    check_hub(HUB "/a/b/tree/dev", "a/b", "dev", "");
    check_hub(HUB "/a/b/resolve/main/x/y.gguf?download=true", "a/b", "main", "x/y.gguf");
    check_hub(HUB "/a/b/blob/main/y.gguf", "a/b", "main", "y.gguf");
}

static void test_addresses(void **state)
{
    (void)state;
    static const char *const urls[] = {"http://h/x.gguf", "https://h:8443/a/b?c=d#e",
                                       HUB "/a/b/discussions/1", HUB "/a/b.gguf",
                                       "https://huggingface.co.evil.org/a/b"};
    store_spec s;
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        assert_int_equal(store_spec_parse(urls[i], HUB, &s, NULL), TERN_OK);
        assert_int_equal(s.kind, STORE_URL);
        assert_string_equal(s.url, urls[i]);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "a",
                                      "hf:",
                                      "hf:a",
                                      "hf:/b",
                                      "hf:a/",
                                      "hf:a/b/c",
                                      "hf:../b",
                                      "hf:a/..",
                                      "hf:.a/b",
                                      "hf:a/-b",
                                      "hf:a/b@",
                                      "hf:a/b@..",
                                      "hf:a/b@x y",
                                      "hf:a/b@/x",
                                      "hf:a/b:",
                                      "hf:a/b:../c",
                                      "hf:a/b:/c",
                                      "hf:a/b:c//d",
                                      "hf:a/b:c\\d",
                                      "hf:a/b:c\nd",
                                      "hf:a b/c",
                                      "http://",
                                      "http:///x",
                                      "http://u@h/",
                                      "http://u:p@h/x",
                                      "http://h/a b",
                                      "ftp://h/x",
                                      "hf:a/b:\xff",
                                      "hf:a/b?c"};
    store_spec s;
    tern_err err;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (store_spec_parse(bad[i], HUB, &s, &err) != TERN_E_USAGE)
            fail_msg("'%s' is taken", bad[i]);
        assert_true(err.msg[0]);
    }
    char url[STORE_MAX_URL + 20] = "https://h/";
    memset(url + 10, 'x', STORE_MAX_URL);
    assert_int_equal(store_spec_parse(url, HUB, &s, NULL), TERN_E_USAGE);
    char repo[300] = "hf:a/";
    memset(repo + 5, 'x', 97);
    assert_int_equal(store_spec_parse(repo, HUB, &s, NULL), TERN_E_USAGE);
    repo[101] = '\0';
    assert_int_equal(store_spec_parse(repo, HUB, &s, NULL), TERN_OK);
}

static void test_known_names(void **state)
{
    (void)state;
    const store_known *k;
    store_spec s;
    size_t n = 0;
    for (; (k = store_known_get(n)) != NULL; n++) {
        assert_int_equal(store_spec_parse(k->name, HUB, &s, NULL), TERN_OK);
        assert_int_equal(s.kind, STORE_HUB);
        tern_str text;
        tern_str_init(&text, 1000);
        store_spec_text(&s, &text); /* and back */
        assert_string_equal(tern_str_get(&text), k->spec);
        tern_str_done(&text);
        assert_ptr_equal(store_known_find(k->name), k); /* no name twice */
    }
    assert_true(n >= 15);
    check_hub("bitnet-2b4t", "microsoft/bitnet-b1.58-2B-4T-gguf", "main", "ggml-model-i2_s.gguf");
    check_hub("BitNet-2B4T", "microsoft/bitnet-b1.58-2B-4T-gguf", "main", "ggml-model-i2_s.gguf");
    assert_null(store_known_find("hf:bitnet-2b4t"));
}

static void test_paths(void **state)
{
    (void)state;
    static const char *const good[] = {"a",  "a/b", ".a",       "a..b",      "...",
                                       "-a", "a b", "\xc3\xa4", "1_P/c.json"};
    static const char *const bad[] = {
        "",        "/",     "/a",   "a/",       "a//b",          ".",
        "..",      "./a",   "../a", "a/..",     "a/../b",        "a\\b",
        "a\nb",    "a\x7f", "\xff", "\xc0\xaf", "a\xe2\x80\xae", "1/2/3/4/5/6/7/8/9",
        "\xc2\x85"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(store_path_ok(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (store_path_ok(bad[i], strlen(bad[i])))
            fail_msg("'%s' is taken", bad[i]);
    assert_false(store_path_ok("a\0b", 3));
    char name[600];
    memset(name, 'x', sizeof name);
    assert_true(store_path_ok(name, 255));
    assert_false(store_path_ok(name, 256));
    name[255] = '/';
    assert_true(store_path_ok(name, 511));
    name[511 - 255] = '/';
    assert_false(store_path_ok(name, 511));
}

static void check_folder(const char *text, const char *want)
{
    tern_str s;
    tern_str_init(&s, 1000);
    store_folder_name(text, &s);
    if (want)
        assert_string_equal(tern_str_get(&s), want);
    assert_true(store_path_ok(tern_str_get(&s), s.len));
    assert_true(s.len <= 200 && tern_str_get(&s)[0] != '.' && !strchr(tern_str_get(&s), '/'));
    tern_str_done(&s);
}

static void test_folders(void **state)
{
    (void)state;
    check_folder("microsoft--bitnet-b1.58-2B-4T", "microsoft--bitnet-b1.58-2B-4T");
    check_folder("../../etc/passwd", NULL);
    check_folder("..", NULL);
    check_folder("", NULL);
    tern_str a, b;
    tern_str_init(&a, 1000);
    tern_str_init(&b, 1000);
    char text[500];
    memset(text, 'x', sizeof text);
    text[499] = '\0';
    store_folder_name(text, &a);
    text[498] = 'y';
    store_folder_name(text, &b);
    assert_string_not_equal(tern_str_get(&a), tern_str_get(&b));
    tern_str_done(&a);
    tern_str_done(&b);
}

static void test_words(void **state)
{
    (void)state;
    assert_true(store_has_word("ggml-model-i2_s.gguf", "I2_S"));
    assert_true(store_has_word("m-Q4_K_M-00001-of-00002.gguf", "q4_k_m"));
    assert_true(store_has_word("Q8_0/m.gguf", "Q8_0"));
    assert_true(store_has_word("x_Q4_0.gguf", "Q4_0"));
    assert_true(store_has_word("IQ4_NL-Q4_0.gguf", "Q4_0"));
    assert_false(store_has_word("m-Q4_K_M.gguf", "Q4_K"));
    assert_false(store_has_word("m-TQ2_0.gguf", "Q2_0"));
    assert_false(store_has_word("m-Q4_0_4_4.gguf", "Q4_0"));
    assert_false(store_has_word("m.gguf", ""));
    assert_false(store_has_word("m", "model"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_repositories), cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_known_names),
        cmocka_unit_test(test_paths),        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
