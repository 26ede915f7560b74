/* The record of a model: what is written is read again, and no text of a stranger does harm. */
#include "base/alloc.h"
#include "store/manifest.h"
#include "support/support.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHA  "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\""
#define HEAD "{\"tern\": 1, \"name\": \"x\", \"source\": {\"repo\": \"a/b\"}, \"files\": "

static tern_code parse(const char *text, store_manifest *m, tern_err *err)
{
    return store_manifest_parse(text, strlen(text), "here", m, err);
}

static void test_round_trip(void **state)
{
    (void)state;
    store_manifest m, again;
    store_file *f;
    tern_err err;
    store_manifest_init(&m);
    assert_int_equal(store_spec_parse("hf:a/b@dev:Q4_0", "", &m.spec, &err), TERN_OK);
    assert_int_equal(store_manifest_set_name(&m, "my \"model\"", &err), TERN_OK);
    strcpy(m.hub, "https://h");
    strcpy(m.commit, "0123");
    strcpy(m.licence, "mit");
    assert_int_equal(store_manifest_add(&m, "d/x.gguf", 8, &f, &err), TERN_OK);
    f->size = 1000;
    f->sized = true;
    assert_true(store_spans_add(&f->have, 10, 20) && store_spans_add(&f->have, 500, 1000));
    strcpy(f->etag, "\"tag\"");
    assert_int_equal(store_manifest_add(&m, "y", 1, &f, &err), TERN_OK);
    f->size = 5;
    f->sized = f->done = true;
    memset(f->sha256, 'a', STORE_SHA256_HEX);
    assert_int_equal(store_manifest_add(&m, "z", 1, &f, &err), TERN_OK);
    assert_int_equal(store_manifest_bytes(&m), 1005);
    assert_int_equal(store_manifest_missing(&m), 490);
    char path[] = "/tmp/tern-manifest-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(store_manifest_save(&m, path, 0, &err), TERN_OK);
    assert_int_equal(store_manifest_load(path, &again, &err), TERN_OK);
    (void)unlink(path);
    assert_string_equal(again.name, "my \"model\"");
    assert_string_equal(again.spec.repo, "a/b");
    assert_string_equal(again.spec.revision, "dev");
    assert_string_equal(again.spec.select, "Q4_0");
    assert_string_equal(again.hub, "https://h");
    assert_string_equal(again.licence, "mit");
    assert_int_equal(again.n_file, 3);
    assert_memory_equal(&again.files[0].have.v, &m.files[0].have.v, 2 * sizeof(store_span));
    assert_string_equal(again.files[0].etag, "\"tag\"");
    assert_true(again.files[1].done && again.files[1].size == 5 && !again.files[2].sized);
    assert_string_equal(again.files[1].sha256, m.files[1].sha256);
    assert_int_equal(store_manifest_missing(&again), 490);
    store_manifest_done(&m);
    store_manifest_done(&again);
    assert_int_equal(store_manifest_load(path, &again, &err), TERN_E_NOT_FOUND);
}

static void test_accepted(void **state)
{
    (void)state;
    static const char *const good[] = {
        HEAD "[{\"name\": \"a\"}]}",
        HEAD "[{\"name\": \"a\", \"size\": 9223372036854775807, \"sha256\": " SHA "}]}",
        HEAD "[{\"name\": \"a\", \"size\": 10, \"have\": [[0, 5], [3, 10]], \"more\": null}]}",
        ("{\"tern\": 1, \"name\": \"x\", \"source\": {\"url\": \"http://h/x\"}, \"files\": "
         "[{\"name\": \"a\"}]}"),
    };
    store_manifest m;
    tern_err err;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (parse(good[i], &m, &err) != TERN_OK)
            fail_msg("%s: %s", good[i], err.msg);
        store_manifest_done(&m);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "null",
        "{}",
        "{\"tern\": 1}",
        HEAD "[]}",
        HEAD "{}}",
        HEAD "[1]}",
        HEAD "[{}]}",
        "{\"tern\": 2, \"name\": \"x\", \"source\": {\"repo\": \"a/b\"}, \"files\": [{\"name\": "
        "\"a\"}]}",
        "{\"tern\": 1, \"name\": \"\", \"source\": {\"repo\": \"a/b\"}, \"files\": [{\"name\": "
        "\"a\"}]}",
        "{\"tern\": 1, \"name\": 7, \"source\": {\"repo\": \"a/b\"}, \"files\": [{\"name\": "
        "\"a\"}]}",
        "{\"tern\": 1, \"name\": \"a\\nb\", \"source\": {\"repo\": \"a/b\"}, \"files\": "
        "[{\"name\": \"a\"}]}",
        "{\"tern\": 1, \"name\": \"x\", \"source\": {\"repo\": \"../b\"}, \"files\": [{\"name\": "
        "\"a\"}]}",
        "{\"tern\": 1, \"name\": \"x\", \"source\": {\"url\": \"file:///x\"}, \"files\": "
        "[{\"name\": \"a\"}]}",
        "{\"tern\": 1, \"name\": \"x\", \"source\": {\"url\": \"bitnet-2b4t\"}, \"files\": "
        "[{\"name\": \"a\"}]}",
        "{\"tern\": 1, \"name\": \"x\", \"source\": [], \"files\": [{\"name\": \"a\"}]}",
        HEAD "[{\"name\": \"../a\"}]}",
        HEAD "[{\"name\": \"/a\"}]}",
        HEAD "[{\"name\": \"a\\u0000b\"}]}",
        HEAD "[{\"name\": \"a\"}, {\"name\": \"a\"}]}",
        HEAD "[{\"name\": \"a\", \"name\": \"b\"}]}",
        HEAD "[{\"name\": \"a\", \"size\": -1}]}",
        HEAD "[{\"name\": \"a\", \"size\": 1.5}]}",
        HEAD "[{\"name\": \"a\", \"size\": 1e300}]}",
        HEAD "[{\"name\": \"a\", \"size\": 99999999999999999999}]}",
        HEAD "[{\"name\": \"a\", \"sha256\": \"0123\"}]}",
        HEAD "[{\"name\": \"a\", \"sha256\": [" SHA "]}]}",
        HEAD "[{\"name\": \"a\", \"done\": true}]}",
        HEAD "[{\"name\": \"a\", \"have\": [[0, 1]]}]}",
        HEAD "[{\"name\": \"a\", \"size\": 9, \"have\": [[0, 10]]}]}",
        HEAD "[{\"name\": \"a\", \"size\": 9, \"have\": [[5, 5]]}]}",
        HEAD "[{\"name\": \"a\", \"size\": 9, \"have\": [[5, 4]]}]}",
        HEAD "[{\"name\": \"a\", \"size\": 9, \"have\": [[-1, 4]]}]}",
        HEAD "[{\"name\": \"a\", \"size\": 9, \"have\": [[1, 2, 3]]}]}",
        HEAD "[{\"name\": \"a\", \"size\": 9, \"have\": {\"a\": 1}}]}",
        HEAD "[{\"name\": \"a\", \"etag\": \"x\\ny\"}]}",
    };
    store_manifest m;
    tern_err err;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (parse(bad[i], &m, &err) != TERN_E_FORMAT)
            fail_msg("%s is taken", bad[i]);
        assert_null(m.files);
        assert_null(m.name);
    }
}

static void test_limits(void **state)
{
    (void)state;
    store_manifest m;
    tern_err err;
    size_t n = STORE_MAX_JSON + 1;
    char *text = malloc(n + 1);
    assert_non_null(text);
    memset(text, ' ', n);
    text[n] = '\0';
    assert_int_equal(store_manifest_parse(text, n, "here", &m, &err), TERN_E_FORMAT);
    memset(text, '[', 1000000); /* deep */
    assert_int_equal(store_manifest_parse(text, 1000000, "here", &m, &err), TERN_E_FORMAT);
    /* One file more than may be. */
    size_t at = (size_t)snprintf(text, n, "%s[", HEAD);
    for (int i = 0; i <= STORE_MAX_FILES; i++)
        at += (size_t)snprintf(text + at, n - at, "%s{\"name\":\"%d\"}", i ? "," : "", i);
    (void)snprintf(text + at, n - at, "]}");
    assert_int_equal(parse(text, &m, &err), TERN_E_LIMIT);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
