/* Skipping what is exactly zero, and how many bits a weight takes, change no bit of any logit: one
 * hash over all logits of ten thousand tokens, each evaluated alone or in batches, with every setting. */
#include "base/alloc.h"
#include "support/model.h"
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N_CTX  500
#define N_TEXT 20 /* texts of N_CTX tokens: ten thousand in all */

typedef struct setting {
    tern_ffn_sparse sparse;
    tern_weight_bits bits;
    int32_t n_thread;
} setting;

/* FNV-1a over words. */
static void hash_logits(void *ctx, int row, const float *logits)
{
    uint64_t *h = ctx;
    (void)row;
    for (int i = 0; i < 4096; i++) {
        uint32_t u;
        memcpy(&u, &logits[i], sizeof u);
        *h = (*h ^ u) * 0x100000001b3u;
    }
}

/* rows: tokens a step takes; n_text texts of n_tok tokens each. */
static uint64_t hash_of(const setting *c, size_t rows, int n_text, size_t n_tok,
                        uint64_t *read_bytes)
{
    tern_model_opts o;
    tern_session_opts so;
    tern_model *m;
    tern_session *s;
    tern_err err = {0};
    uint64_t h = 0xcbf29ce484222325u;
    uint32_t rng = 5;
    tern_model_opts_init(&o);
    o.ffn_sparse = c->sparse;
    o.weight_bits = c->bits;
    o.n_thread = c->n_thread;
    if (tern_model_open("models/tern-stories.gguf", &o, &m, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    tern_session_opts_init(&so);
    so.n_ctx = N_CTX;
    assert_int_equal(tern_session_new(m, &so, &s, &err), TERN_OK);
    for (int t = 0; t < n_text; t++) {
        int32_t ids[N_CTX];
        for (size_t i = 0; i < n_tok; i++)
            ids[i] = (int32_t)(test_rand(&rng) % 4096);
        tern_session_rewind(s, 0);
        for (size_t i = 0; i < n_tok; i += rows)
            if (tern_session_eval_all(s, ids + i, n_tok - i < rows ? n_tok - i : rows, hash_logits,
                                      &h, &err) != TERN_OK)
                fail_msg("%s", err.msg);
    }
    tern_model_counters n = {.size = sizeof n};
    tern_model_counters_get(m, &n);
    assert_int_equal(n.n_row, (size_t)n_text * n_tok);
    *read_bytes = n.read_bytes;
    tern_session_free(s);
    tern_model_close(m);
    return h;
}

static void test_ten_thousand_tokens(void **state)
{
    (void)state;
    static const setting settings[] = {
        {TERN_FFN_SPARSE_ON, TERN_WEIGHT_BITS_2, 1},
        {TERN_FFN_SPARSE_ON, TERN_WEIGHT_BITS_1_6, 2},
    };
    const setting plain = {TERN_FFN_SPARSE_OFF, TERN_WEIGHT_BITS_2, 1};
    uint64_t dense, read, want = hash_of(&plain, 1, N_TEXT, N_CTX, &dense);
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        assert_int_equal(hash_of(&settings[i], 1, N_TEXT, N_CTX, &read), want);
        assert_true(read < dense * 9 / 10); /* it did leave something out */
    }
    /* Batches, of which each token skips for itself. */
    assert_int_equal(hash_of(&settings[0], 100, N_TEXT, N_CTX, &read), want);
    assert_int_equal(hash_of(&settings[1], 128, N_TEXT, N_CTX, &read), want);
}

/* Steps of several rows, and more threads than parts. */
static void test_steps_of_several_rows(void **state)
{
    (void)state;
    const setting plain = {TERN_FFN_SPARSE_OFF, TERN_WEIGHT_BITS_2, 1};
    uint64_t read, want = hash_of(&plain, 1, 1, 60, &read);
    for (int32_t n_thread = 1; n_thread <= 4; n_thread++)
        for (size_t rows = 1; rows <= 58; rows += rows < 5 ? 1 : rows < 13 ? 8 : 45)
            for (tern_weight_bits b = TERN_WEIGHT_BITS_2; b <= TERN_WEIGHT_BITS_1_6; b++) {
                setting c = {n_thread % 2 ? TERN_FFN_SPARSE_ON : TERN_FFN_SPARSE_AUTO, b, n_thread};
                assert_int_equal(hash_of(&c, rows, 1, 60, &read), want);
            }
}

static void test_counts(void **state)
{
    (void)state;
    tern_model *m;
    tern_session *s;
    tern_err err = {0};
    int32_t ids[100];
    for (int i = 0; i < 100; i++)
        ids[i] = 7 * i;
    tern_model_opts o;
    tern_model_opts_init(&o);
    o.ffn_sparse = TERN_FFN_SPARSE_ON;
    o.weight_bits = TERN_WEIGHT_BITS_2;
    assert_int_equal(tern_model_open("models/tern-stories.gguf", &o, &m, &err), TERN_OK);
    assert_int_equal(tern_session_new(m, NULL, &s, &err), TERN_OK);
    tern_ffn_stats batch = {.size = sizeof batch}, one = batch;
    tern_model_count_zeros(m, true);
    assert_int_equal(tern_session_eval(s, ids, 100, &err), TERN_OK);
    assert_int_equal(tern_model_ffn_stats_get(m, 2, &batch, &err), TERN_OK);
    assert_int_equal(batch.n_row, 100);
    assert_true(batch.gate_zero > 0 && batch.input_zero >= batch.gate_zero);
    assert_true(batch.input_zero < 100 * (uint64_t)batch.d_ff);
    assert_true(batch.up_row_bytes == 64 && batch.down_col_bytes == 128);
    /* One by one the same zeros, and the bytes that the counters of steps say were left out. */
    tern_model_count_zeros(m, true);
    tern_session_rewind(s, 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(tern_session_eval(s, &ids[i], 1, &err), TERN_OK);
    assert_int_equal(tern_model_ffn_stats_get(m, 2, &one, &err), TERN_OK);
    assert_int_equal(one.gate_zero, batch.gate_zero);
    assert_int_equal(one.input_zero, batch.input_zero);
    assert_int_equal(tern_model_ffn_stats_get(m, 6, &one, &err), TERN_E_USAGE);
    tern_session_free(s);
    tern_model_close(m);
}

/* Up rows that are infinite make 0 times them no number, which is not 0: such a model is not skipped
 * in. */
static void test_infinite_scales_are_not_skipped(void **state)
{
    (void)state;
    float got[2][TEST_MODEL_VOCAB];
    for (int pass = 0; pass < 2; pass++) {
        test_model tm;
        tern_model_opts o;
        tern_model *m;
        tern_session *s;
        tern_err err = {0};
        const int32_t ids[] = {5, 6, 7};
        test_model_init(&tm, &(test_shape){.arch = "bitnet-25",
                                           .n_layer = 1,
                                           .matrices = TERN_DT_I2_S,
                                           .d_model = 256,
                                           .d_ff = 256});
        test_tensor *up = test_model_tensor(&tm, "blk.0.ffn_up.weight");
        const float inf = INFINITY;
        memcpy(up->data.data + up->data.len - 32, &inf, sizeof inf);
        test_model_write(&tm);
        tern_model_opts_init(&o);
        o.ffn_sparse = pass ? TERN_FFN_SPARSE_ON : TERN_FFN_SPARSE_OFF;
        if (tern_model_open_memory(tm.file.data, tm.file.len, "inf", &o, &m, &err) != TERN_OK)
            fail_msg("%s", err.msg);
        assert_int_equal(tern_session_new(m, NULL, &s, &err), TERN_OK);
        for (int i = 0; i < 3; i++)
            assert_int_equal(tern_session_eval(s, &ids[i], 1, &err), TERN_OK);
        memcpy(got[pass], tern_session_logits(s), sizeof got[pass]);
        tern_session_free(s);
        tern_model_close(m);
        test_model_done(&tm);
    }
    assert_memory_equal(got[0], got[1], sizeof got[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ten_thousand_tokens),
        cmocka_unit_test(test_steps_of_several_rows),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_infinite_scales_are_not_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
