/* What the writer writes: byte for byte what the gguf Python package writes for the same content
 * (tests/golden/gguf/make.py), and read back by our reader. */
#include "base/alloc.h"
#include "base/reader.h"
#include "file/gguf_write.h"
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/tern-write-XXXXXX", path[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return 1;
    (void)snprintf(path, sizeof path, "%s/x.gguf", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(folder); /* fails when anything else was left */
}

static tern_gguf_writer *writer(void)
{
    tern_gguf_writer *w;
    tern_err err;
    assert_int_equal(tern_gguf_writer_new(&w, &err), TERN_OK);
    return w;
}

/* The content of tests/golden/gguf/written.gguf. */
static void declare(tern_gguf_writer *w)
{
    static const tern_slice words[] = {{"a", 1}, {"", 0}, {"\xC3\xA4 b", 4}};
    static const int32_t types[] = {1, -2, 3};
    tern_gguf_key_str(w, "general.architecture", "llama");
    tern_gguf_key_u32(w, "llama.block_count", 4000000000u);
    tern_gguf_key_f32(w, "llama.epsilon", 1e-5f);
    tern_gguf_key_bool(w, "llama.causal", true);
    tern_gguf_key_strs(w, "tokenizer.ggml.tokens", words, 3);
    tern_gguf_key_numbers(w, "tokenizer.ggml.token_type", TERN_META_I32, types, 3);
    tern_gguf_tensor(w, "vector", TERN_DT_F32, 1, (const size_t[]){3});
    tern_gguf_tensor(w, "matrix", TERN_DT_F16, 2, (const size_t[]){5, 2});
    tern_gguf_tensor(w, "blocks", TERN_DT_Q8_0, 2, (const size_t[]){32, 3});
}

static const float vector[] = {1.5f, -2.0f, 0.25f};

static void fill(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(7 * i + 1);
}

static void test_bytes_equal(void **state)
{
    (void)state;
    tern_gguf_writer *w = writer();
    tern_err err;
    size_t n, n_want;
    uint8_t bytes[102];
    declare(w);
    uint64_t size = tern_gguf_writer_bytes(w);
    assert_int_equal(tern_gguf_writer_begin(w, path, TERN_OUTFILE_PASSING, &err), TERN_OK);
    assert_int_equal(tern_gguf_writer_data(w, vector, sizeof vector, &err), TERN_OK);
    fill(bytes, sizeof bytes);
    for (size_t i = 0; i < 20; i++) /* byte by byte is as good */
        assert_int_equal(tern_gguf_writer_data(w, bytes + i, 1, &err), TERN_OK);
    assert_int_equal(tern_gguf_writer_data(w, bytes, 102, &err), TERN_OK);
    assert_int_equal(access(path, F_OK), -1); /* not yet */
    assert_int_equal(tern_gguf_writer_end(w, &err), TERN_OK);
    tern_gguf_writer_free(w);

    uint8_t *got = test_read_file(path, &n);
    uint8_t *want = test_read_file("tests/golden/gguf/written.gguf", &n_want);
    assert_non_null(got);
    assert_non_null(want);
    assert_int_equal(n, n_want);
    assert_int_equal(n, size);
    assert_memory_equal(got, want, n);
    free(got);
    free(want);

    tern_dir *d;
    bool causal = false;
    uint32_t blocks = 0;
    assert_int_equal(tern_gguf_open(path, NULL, &d, &err), TERN_OK);
    assert_int_equal(tern_dir_get_u32(d, "llama.block_count", &blocks, NULL, &err), TERN_OK);
    assert_int_equal(blocks, 4000000000u);
    assert_int_equal(tern_dir_get_bool(d, "llama.causal", &causal, NULL, &err), TERN_OK);
    assert_true(causal);
    const tern_tensor *t = tern_dir_tensor_find(d, "vector");
    assert_non_null(t);
    assert_memory_equal(t->data, vector, sizeof vector);
    t = tern_dir_tensor_find(d, "blocks");
    assert_true(t && t->dtype == TERN_DT_Q8_0 && t->bytes == 102 && t->ne[1] == 3);
    assert_memory_equal(t->data, bytes, 102);
    tern_dir_close(d);
    assert_int_equal(unlink(path), 0);
}

static void test_mistakes(void **state)
{
    (void)state;
    static const struct {
        int what;
        const char *text;
    } cases[] = {{0, "key 'a' given twice"},
                 {1, "tensor 't' given twice"},
                 {2, "no I2_S of shape [130, 2, 1, 1]"},
                 {3, "no I2_S_ARM of shape"},
                 {4, "name of a key is empty"},
                 {5, "no array of numbers"},
                 {6, "no F32 of shape"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tern_gguf_writer *w = writer();
        tern_err err;
        const size_t ne[] = {130, 2, 1, 1, 1};
        tern_gguf_key_u32(w, "a", 1);
        tern_gguf_tensor(w, "t", TERN_DT_F32, 1, ne);
        switch (cases[i].what) {
        case 0:
            tern_gguf_key_bool(w, "a", true);
            break;
        case 1:
            tern_gguf_tensor(w, "t", TERN_DT_F32, 1, ne);
            break;
        case 2:
            tern_gguf_tensor(w, "u", TERN_DT_I2_S, 2, ne);
            break;
        case 3:
            tern_gguf_tensor(w, "u", TERN_DT_I2_S_ARM, 2, (const size_t[]){128, 2});
            break;
        case 4:
            tern_gguf_key_u32(w, "", 1);
            break;
        case 5:
            tern_gguf_key_numbers(w, "b", TERN_META_STRING, ne, 1);
            break;
        default:
            tern_gguf_tensor(w, "u", TERN_DT_F32, 5, ne);
        }
        tern_gguf_key_u32(w, "later", 1); /* the first mistake is the one that is told */
        assert_int_equal(tern_gguf_writer_begin(w, path, 0, &err), TERN_E_USAGE);
        assert_non_null(strstr(err.msg, cases[i].text));
        tern_gguf_writer_free(w);
        assert_int_equal(access(path, F_OK), -1);
    }
}

static void test_wrong_data(void **state)
{
    (void)state;
    tern_err err;
    uint8_t bytes[16] = {0};
    tern_gguf_writer *w = writer();
    tern_gguf_tensor(w, "t", TERN_DT_F32, 1, (const size_t[]){3});
    assert_int_equal(tern_gguf_writer_begin(w, path, 0, &err), TERN_OK);
    assert_int_equal(tern_gguf_writer_data(w, bytes, 16, &err), TERN_E_USAGE);
    assert_non_null(strstr(err.msg, "'t': 4 bytes too many"));
    assert_int_equal(tern_gguf_writer_data(w, bytes, 8, &err), TERN_OK);
    assert_int_equal(tern_gguf_writer_end(w, &err), TERN_E_USAGE);
    assert_non_null(strstr(err.msg, "'t': 8 of 12 bytes came"));
    tern_gguf_writer_free(w);
    assert_int_equal(access(path, F_OK), -1);

    w = writer(); /* given up half way */
    tern_gguf_tensor(w, "t", TERN_DT_F32, 1, (const size_t[]){3});
    assert_int_equal(tern_gguf_writer_begin(w, path, 0, &err), TERN_OK);
    assert_int_equal(tern_gguf_writer_data(w, bytes, 8, &err), TERN_OK);
    tern_gguf_writer_free(w);
    assert_int_equal(access(path, F_OK), -1);

    w = writer();
    assert_int_equal(tern_gguf_writer_begin(w, "/nowhere/x.gguf", 0, &err), TERN_E_IO);
    tern_gguf_writer_free(w);

    w = writer(); /* a full disk */
    tern_gguf_tensor(w, "t", TERN_DT_F32, 1, (const size_t[]){1 << 20});
    void *big = calloc(1, 4 << 20);
    assert_non_null(big);
    assert_int_equal(tern_gguf_writer_begin(w, "/dev/full", 0, &err), TERN_OK);
    assert_int_equal(tern_gguf_writer_data(w, big, 4 << 20, &err), TERN_E_IO);
    assert_non_null(strstr(err.msg, "/dev/full"));
    tern_gguf_writer_free(w);
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bytes_equal),
                                       cmocka_unit_test(test_mistakes),
                                       cmocka_unit_test(test_wrong_data)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
