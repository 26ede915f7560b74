/* Weights of any bits: NaN, infinities, codes that mean nothing. The model loads and runs; what it
 * generates is nonsense, but ids and text are as promised and no number is converted that has no
 * integer. */
#include "support/model.h"
#include "support/support.h"
#include "tensor/half.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of f32 and, read as halves or bytes, of the formats that have f16 scales: what is extreme. */
static const uint32_t patterns[] = {
    0xffffffff, /* NaN; every code is its largest */
    0x7fc00000, /* NaN */
    0x7f800000, /* inf */
    0xff800000, /* -inf */
    0x7f7fffff, /* FLT_MAX */
    0x00000001, /* the smallest */
    0x7c007c00, /* f16 inf */
    0xfc00fc00, /* f16 -inf */
    0x7e007e00, /* f16 NaN */
    0x7bff7bff, /* f16 max */
    0x7f807f80, /* bf16 inf */
};
#define N_PATTERN (sizeof patterns / sizeof patterns[0])

static void poison(test_tensor *t, uint32_t pattern, size_t from, size_t step)
{
    for (size_t i = from; i + 4 <= t->data.len; i += step)
        memcpy(t->data.data + i, &pattern, 4);
}

static void run(test_model *m)
{
    tern_err err = {0};
    tern_model *opened;
    if (test_model_open(m, &opened, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    test_model_use(opened);
    tern_model_close(opened);
}

static bool is_matrix(const test_tensor *t)
{
    return t->n_dim == 2;
}

/* Each tensor of a float model alone: all of it, and its last element. */
static void test_any_float_anywhere(void **state)
{
    (void)state;
    static const char *const archs[] = {"bitnet", "qwen3"};
    for (size_t a = 0; a < 2; a++)
        for (size_t p = 0; p < 6; p++) {
            size_t n = 1;
            for (size_t i = 0; i < n; i++) {
                test_model m;
                test_model_init(&m, &(test_shape){.arch = archs[a], .n_layer = 1, .n_kv_head = 2});
                n = m.n_tensor;
                test_tensor *t = &m.tensors[i];
                poison(t, patterns[p], p % 2 ? t->data.len - 4 : 0, 4);
                run(&m);
                test_model_done(&m);
            }
        }
}

/* Matrices and embedding of every format: whole, and so that some blocks are sound. */
static void test_any_bits_in_every_format(void **state)
{
    (void)state;
    for (int dt = 0; dt < TERN_DT_COUNT; dt++) {
        const tern_dtype_info *info = tern_dtype_get((tern_dtype)dt);
        if (info->cls == TERN_CLASS_OTHER || info->file_id == UINT32_MAX)
            continue;
        for (size_t p = 0; p < N_PATTERN; p++) {
            test_model m;
            test_model_init(&m, &(test_shape){.arch = dt % 2 ? "llama" : "bitnet",
                                              .n_layer = 1,
                                              .d_model = 256,
                                              .d_ff = 256,
                                              .matrices = (tern_dtype)dt,
                                              .embed = (tern_dtype)dt});
            for (size_t i = 0; i < m.n_tensor; i++)
                if (is_matrix(&m.tensors[i]))
                    poison(&m.tensors[i], patterns[p], 0, p % 2 ? 36 : 4);
            run(&m);
            test_model_done(&m);
        }
    }
}

/* One NaN in the embedding of one token is met by that token only. */
static void test_a_nan_stays_with_its_token(void **state)
{
    (void)state;
    test_model m;
    tern_model *opened;
    tern_session *s;
    tern_err err;
    const int32_t sound[] = {5, 6}, broken[] = {7};
    test_model_init(&m, &(test_shape){.head = true});
    poison(test_model_tensor(&m, "token_embd.weight"), 0x7fc00000, 7 * 64 * 4, (size_t)1 << 30);
    assert_int_equal(test_model_open(&m, &opened, &err), TERN_OK);
    assert_int_equal(tern_session_new(opened, NULL, &s, &err), TERN_OK);
    assert_int_equal(tern_session_eval(s, sound, 2, &err), TERN_OK);
    for (int i = 0; i < TEST_MODEL_VOCAB; i++)
        assert_true(isfinite(tern_session_logits(s)[i]));
    assert_int_equal(tern_session_eval(s, broken, 1, &err), TERN_OK);
    assert_true(isnan(tern_session_logits(s)[0]));
    tern_session_rewind(s, 2);
    assert_int_equal(tern_session_eval(s, sound, 1, &err), TERN_OK);
    for (int i = 0; i < TEST_MODEL_VOCAB; i++)
        assert_true(isfinite(tern_session_logits(s)[i]));
    tern_session_free(s);
    tern_model_close(opened);
    test_model_done(&m);
}

static void warned(void *ctx, const char *line)
{
    (void)line;
    ++*(int *)ctx;
}

/* The self check compares kernels, not weights: a NaN is no disagreement. */
static void test_the_self_check_is_not_fooled_by_a_nan(void **state)
{
    (void)state;
    for (size_t p = 0; p < N_PATTERN; p++) {
        test_model m;
        tern_model *opened;
        tern_err err = {0};
        int n_warning = 0;
        tern_model_opts o;
        tern_model_opts_init(&o);
        o.n_thread = 1;
        o.strict = true;
        o.warn = warned;
        o.ctx = &n_warning;
        test_model_init(&m, &(test_shape){.n_layer = 1});
        for (size_t i = 0; i < m.n_tensor; i++)
            poison(&m.tensors[i], patterns[p], 0, 8);
        test_model_write(&m);
        if (tern_model_open_memory(m.file.data, m.file.len, "nan", &o, &opened, &err) != TERN_OK)
            fail_msg("%s", err.msg);
        assert_int_equal(n_warning, 0);
        tern_model_close(opened);
        test_model_done(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_float_anywhere),
        cmocka_unit_test(test_any_bits_in_every_format),
        cmocka_unit_test(test_a_nan_stays_with_its_token),
        cmocka_unit_test(test_the_self_check_is_not_fooled_by_a_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
