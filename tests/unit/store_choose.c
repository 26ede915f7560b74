/* Which files of a repository make a model, and what the hub's list may not do to us. */
#include "store/choose.h"
#include "store/hub.h"
#include "support/support.h"

#include <string.h>

/* The names, separated by blanks, that spec chooses of names; or the code. */
static tern_code choose(const char *spec, const char *names, tern_str *out)
{
    store_manifest m;
    store_file *f;
    tern_str choices;
    tern_err err;
    store_manifest_init(&m);
    tern_str_init(&choices, 10000);
    tern_str_init(out, 10000);
    assert_int_equal(store_spec_parse(spec, "", &m.spec, &err), TERN_OK);
    for (const char *at = names; *at;) {
        size_t n = strcspn(at, " ");
        assert_int_equal(store_manifest_add(&m, at, n, &f, &err), TERN_OK);
        at += n + (at[n] == ' ');
    }
    tern_code rc = store_choose(&m, &choices, &err);
    if (rc == TERN_OK)
        for (size_t i = 0; i < m.n_file; i++)
            tern_str_printf(out, "%s%s", i ? " " : "", m.files[i].name);
    else
        tern_str_puts(out, tern_str_get(&choices));
    tern_str_done(&choices);
    store_manifest_done(&m);
    return rc;
}

static void takes(const char *spec, const char *names, const char *want)
{
    tern_str got;
    assert_int_equal(choose(spec, names, &got), TERN_OK);
    assert_string_equal(tern_str_get(&got), want);
    tern_str_done(&got);
}

static void refuses(const char *spec, const char *names, tern_code code, const char *choices)
{
    tern_str got;
    assert_int_equal(choose(spec, names, &got), code);
    assert_string_equal(tern_str_get(&got), choices);
    tern_str_done(&got);
}

static void test_gguf(void **state)
{
    (void)state;
    takes("hf:a/b", "README.md x.gguf config.json", "x.gguf");
    takes("hf:a/b", "x.gguf mmproj-x.gguf x-imatrix.gguf", "x.gguf");
    takes("hf:a/b:mmproj-x.gguf", "x.gguf mmproj-x.gguf", "mmproj-x.gguf");
    takes("hf:a/b:q4_0", "x-Q4_0.gguf x-Q8_0.gguf x-IQ4_0.gguf", "x-Q4_0.gguf");
    takes("hf:a/b:x.gguf", "y/x.gguf x.gguf", "x.gguf");
    refuses("hf:a/b", "x.gguf y.gguf", TERN_E_USAGE, "a/b:x.gguf\na/b:y.gguf\n");
    refuses("hf:a/b:Q8_0", "p/m-Q8_0.gguf q/m-Q8_0.gguf", TERN_E_USAGE,
            "a/b:p/m-Q8_0.gguf\na/b:q/m-Q8_0.gguf\n");
    refuses("hf:a/b:Q2_K", "m-Q8_0.gguf", TERN_E_USAGE, "a/b:m-Q8_0.gguf\n");
    refuses("hf:a/b:README.md", "README.md m-Q8_0.gguf", TERN_E_USAGE, "");
    refuses("hf:a/b", "", TERN_E_USAGE, "");
}

static void test_split(void **state)
{
    (void)state;
    static const char three[] = "m-00003-of-00003.gguf m-00001-of-00003.gguf m-00002-of-00003.gguf";
    static const char sorted[] =
        "m-00001-of-00003.gguf m-00002-of-00003.gguf m-00003-of-00003.gguf";
    unsigned i, n;
    takes("hf:a/b", three, sorted);
    takes("hf:a/b:m-00002-of-00003.gguf", three, sorted);
    refuses("hf:a/b", "m-00001-of-00003.gguf m-00003-of-00003.gguf", TERN_E_FORMAT, "");
    refuses("hf:a/b", "m-00001-of-00002.gguf m-00002-of-00002.gguf m-00001-of-00001.gguf",
            TERN_E_USAGE, "a/b:m-00001-of-00002.gguf\na/b:m-00001-of-00001.gguf\n");
    assert_int_equal(store_shard("a/m-00010-of-00099.gguf", &i, &n), 3);
    assert_true(i == 10 && n == 99);
    static const char *const none[] = {"m-00000-of-00001.gguf",
                                       "m-00002-of-00001.gguf",
                                       "m-0001-of-00001.gguf",
                                       "-00001-of-00001.gguf",
                                       "m.gguf",
                                       "m-00001-of-0000x.gguf"};
    for (size_t k = 0; k < sizeof none / sizeof none[0]; k++)
        assert_int_equal(store_shard(none[k], &i, &n), 0);
}

static void test_folder(void **state)
{
    (void)state;
    takes("hf:a/b", "README.md config.json model.safetensors tokenizer.model x.bin merges.txt",
          "config.json merges.txt model.safetensors tokenizer.model");
    takes("hf:a/b",
          "config.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors "
          "consolidated.safetensors model.safetensors.index.json onnx/config.json",
          "config.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors "
          "model.safetensors.index.json");
    takes("hf:a/b", "config.json w.safetensors tern-manifest.json", "config.json w.safetensors");
    refuses("hf:a/b", "config.json pytorch_model.bin", TERN_E_USAGE, "");
    refuses("hf:a/b", "model.safetensors", TERN_E_USAGE, "");
}

static tern_code read_list(const char *text, store_manifest *m, tern_err *err)
{
    store_manifest_init(m);
    return store_hub_read(text, strlen(text), m, err);
}

static void test_hub_list(void **state)
{
    (void)state;
    store_manifest m;
    tern_err err;
    static const char good[] =
        "{\"sha\":\"c0ffee\",\"cardData\":{\"license\":[\"mit\"]},\"siblings\":["
        "{\"rfilename\":\"a.json\",\"size\":3,\"blobId\":"
        "\"0967ef424bce6791893e9a57bb952f80fd536e93\"},"
        "{\"rfilename\":\"b.gguf\",\"size\":7,\"blobId\":"
        "\"0967ef424bce6791893e9a57bb952f80fd536e93\","
        "\"lfs\":{\"size\":7,\"sha256\":"
        "\"ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356\"}},"
        "{\"rfilename\":\"c\"}]}";
    assert_int_equal(read_list(good, &m, &err), TERN_OK);
    assert_string_equal(m.commit, "c0ffee");
    assert_string_equal(m.licence, "mit");
    assert_int_equal(m.n_file, 3);
    assert_true(m.files[0].sized && m.files[0].size == 3 && m.files[0].git[0] == '0');
    assert_true(m.files[1].size == 7 && m.files[1].sha256[0] == 'c' && !m.files[1].git[0]);
    assert_true(!m.files[2].sized);
    store_manifest_done(&m);
    static const char *const bad[] = {
        "",
        "[]",
        "{\"siblings\":{}}",
        "{\"siblings\":[1]}",
        "{\"siblings\":[{\"rfilename\":\"../x\"}]}",
        "{\"siblings\":[{\"rfilename\":\"a\"},{\"rfilename\":\"a\"}]}",
        "{\"siblings\":[{\"rfilename\":null}]}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(read_list(bad[i], &m, &err), TERN_E_FORMAT);
        store_manifest_done(&m);
    }
    /* What makes no sense is not taken over. */
    static const char odd[] =
        "{\"sha\":\"../../"
        "x\",\"tags\":[1,\"license:a\\nb\"],\"siblings\":[{\"rfilename\":\"a\",\"size\":-5,"
        "\"lfs\":{\"sha256\":\"zz\",\"size\":\"7\"}}]}";
    assert_int_equal(read_list(odd, &m, &err), TERN_OK);
    assert_string_equal(m.commit, "");
    assert_string_equal(m.licence, "");
    assert_true(!m.files[0].sized && !m.files[0].sha256[0]);
    store_manifest_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gguf),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_folder),
        cmocka_unit_test(test_hub_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
