/* Key files, and what keys may use. */
#include "server/keys.h"
#include "support/support.h"

#include <string.h>

#define SECOND UINT64_C(1000000000)

static key_table *table(const char *text, key_table *old)
{
    key_table *t;
    tern_err err;
    if (keys_parse("keys", text, strlen(text), NULL, 0, old, &t, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return t;
}

static void refuses(const char *text, const char *said)
{
    key_table *t;
    tern_err err;
    assert_int_equal(keys_parse("keys", text, strlen(text), NULL, 0, NULL, &t, &err), TERN_E_USAGE);
    assert_null(t);
    if (!strstr(err.msg, said))
        fail_msg("'%s' lacks '%s'", err.msg, said);
    assert_null(strstr(err.msg, "secret")); /* never the key */
}

static bool find(key_table *t, const char *secret, int64_t now, key_ref *k)
{
    return keys_find(t, secret, strlen(secret), now, k);
}

static void test_file(void **state)
{
    (void)state;
    key_ref k, same;
    key_table *t = table("# comment\n\n\t secret-one name=one rpm=1\r\nsecret-two\n"
                         "  # secret-no1\nsecret-three expires=2001-09-09 tpm=5 parallel=2",
                         NULL);
    assert_int_equal(keys_count(t), 3);
    assert_true(find(t, "secret-one", 0, &k));
    assert_string_equal(key_name(&k), "one");
    uint64_t owner = key_owner(&k);
    assert_true(owner != 0);
    key_unref(&k);
    assert_string_equal(key_name(&k), "-");
    assert_int_equal(key_owner(&k), 0);
    assert_true(find(t, "secret-two", 0, &k));
    assert_string_equal(key_name(&k), "key2");
    assert_true(key_owner(&k) != owner);
    key_unref(&k);
    assert_false(find(t, "secret-no1", 0, &k));
    assert_false(find(t, "secret-on", 0, &k));
    assert_false(find(t, "secret-one ", 0, &k));
    assert_false(find(t, "", 0, &k));
    /* 2001-09-09 begins 6400 s before the second 10^9. */
    assert_true(find(t, "secret-three", 1000000000 - 6401, &k));
    key_unref(&k);
    assert_false(find(t, "secret-three", 1000000000 - 6400, &k));
    /* An owner is made of the key alone: another table, another place, another name. */
    key_table *u = table("secret-two\nsecret-one name=other\n", NULL);
    assert_true(find(u, "secret-one", 0, &same));
    assert_int_equal(key_owner(&same), owner);
    key_unref(&same);
    keys_unref(u);
    keys_unref(t);
}

static void test_bad_files(void **state)
{
    (void)state;
    refuses("secret7", "line 1: a key has 8");
    refuses("\n\nsecret-one nmae=x", "line 3: behind the key");
    refuses("secret-one name=", "line 1");
    refuses("secret-one name=a/b", "line 1");
    refuses("secret-one rpm=0", "line 1");
    refuses("secret-one rpm=-1", "line 1");
    refuses("secret-one rpm", "line 1");
    refuses("secret-one rpm=99999999999999999999999", "line 1");
    refuses("secret-one expires=2026-13-01", "line 1");
    refuses("secret-one expires=2026-1-01", "line 1");
    refuses("secret-one expires=20260101", "line 1");
    refuses("secret-\xc3\xa4-key", "printable ASCII");
    refuses("secret-one\nsecret-one", "line 2: this key stands there twice");
    char longer[600];
    memset(longer, 'k', sizeof longer);
    longer[513] = '\0';
    refuses(longer, "line 1: a key has 8");
}

static void test_rates(void **state)
{
    (void)state;
    key_ref k;
    unsigned retry = 0;
    const char *which;
    uint64_t now = 100 * SECOND;
    key_table *t = table("secret-one rpm=3 parallel=2\nsecret-two tpm=60\nsecret-three", NULL);
    assert_true(find(t, "secret-one", 0, &k));
    assert_true(key_begin(&k, now, &retry, &which));
    assert_true(key_begin(&k, now, &retry, &which));
    assert_false(key_begin(&k, now, &retry, &which));
    assert_string_equal(which, "requests at a time");
    key_end(&k, now, 1000);
    assert_true(key_begin(&k, now, &retry, &which));
    key_end(&k, now, 0);
    assert_false(key_begin(&k, now, &retry, &which));
    assert_string_equal(which, "requests per minute");
    assert_true(retry >= 19 && retry <= 21); /* three a minute: one in 20 s */
    assert_false(key_begin(&k, now + 19 * SECOND, &retry, &which));
    assert_true(key_begin(&k, now + 21 * SECOND, &retry, &which));
    key_end(&k, now, 0);
    key_end(&k, now, 0);
    /* Reading the file again gives nobody more. */
    key_table *u = table("secret-one rpm=3\n", t);
    key_ref again;
    assert_true(find(u, "secret-one", 0, &again));
    assert_false(key_begin(&again, now + 21 * SECOND, &retry, &which));
    key_unref(&again);
    keys_unref(u);
    key_unref(&k);

    assert_true(find(t, "secret-two", 0, &k));
    assert_true(key_begin(&k, now, &retry, &which));
    key_end(&k, now, 90); /* known afterwards: 30 too many */
    assert_false(key_begin(&k, now, &retry, &which));
    assert_string_equal(which, "tokens per minute");
    assert_true(retry >= 31 && retry <= 33);
    assert_true(key_begin(&k, now + 32 * SECOND, &retry, &which));
    key_end(&k, now + 32 * SECOND, 0);
    key_unref(&k);

    assert_true(find(t, "secret-three", 0, &k));
    for (int i = 0; i < 1000; i++)
        assert_true(key_begin(&k, now, &retry, &which));
    key_unref(&k);
    key_ref none = {NULL, NULL};
    assert_true(key_begin(&none, now, &retry, &which));
    key_end(&none, now, 5);
    keys_unref(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
