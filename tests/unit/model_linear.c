/* Every ternary format becomes the same products: repacked weights against plain sums over what the
 * format's own unpack gives. */
#include "base/cpu.h"
#include "base/num.h"
#include "model/linear.h"
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COLS 256
#define ROWS 37
#define TOKS 3

typedef struct bench {
    tern_pool *pool;
    tern_kernels k;
    float x[TOKS * COLS], y[TOKS * 64];
    void *scratch;
} bench;

static void set_up(bench *b)
{
    unsigned cpu;
    uint32_t rng = 9;
    assert_int_equal(tern_cpu_flags(&cpu, NULL), TERN_OK);
    assert_int_equal(tern_pool_new(2, &b->pool, NULL), TERN_OK);
    tern_kernels_select(cpu, &b->k);
    for (int i = 0; i < TOKS * COLS; i++)
        b->x[i] = ((float)(test_rand(&rng) % 2001) - 1000.0f) / 250.0f;
    b->scratch = aligned_alloc(64, tern_round_up(tern_mm_scratch_bytes(COLS, TOKS), 64) + 64);
}

static void tear_down(bench *b)
{
    free(b->scratch);
    tern_pool_free(b->pool);
}

/* y of all rows and tokens through the engine's path. */
static void apply(bench *b, const tern_linear *l)
{
    static _Alignas(64) int8_t q[TOKS * COLS];
    static float scale[TOKS * COLS / 32];
    static int32_t sum[TOKS * COLS / 16];
    tern_act8 act = {.q = q, .stride = COLS, .scale = scale, .sum = sum};
    tern_quant quant = {.x = b->x, .x_stride = COLS, .cols = COLS, .act = act};
    (l->form == TERN_FORM_A8T ? b->k.quant_a8t : b->k.quant_a8b)(&quant, 0, TOKS);
    tern_input in = {.x = b->x, .x_stride = COLS, .a8t = act, .a8b = act, .n_tok = TOKS};
    for (int row0 = 0; row0 < ROWS; row0 += l->grain)
        tern_linear_rows(l, &b->k, &in, b->y, 64, b->scratch, row0,
                         row0 + l->grain < ROWS ? row0 + l->grain : ROWS);
}

/* Trits times a scale, one per row (uniform) or one per 64 columns. */
static void make_weights(float *w, bool uniform)
{
    uint32_t rng = 4;
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLS; c++) {
            float scale = uniform ? 0.5f : 0.25f * (float)(1 + c / 64 % 3);
            w[r * COLS + c] = scale * (float)((int)(test_rand(&rng) % 3) - 1);
        }
    for (int c = 0; c < COLS; c++)
        w[5 * COLS + c] = 0.0f; /* a row without weights has no scale of its own */
}

static tern_tensor tensor_of(tern_dtype dt, const float *w)
{
    tern_tensor t = {.name = "w", .dtype = dt, .n_dim = 2, .ne = {COLS, ROWS, 1, 1}};
    assert_true(tern_dtype_bytes(dt, t.ne, &t.bytes));
    uint8_t *data = calloc(1, t.bytes);
    tern_dtype_get(dt)->pack(w, ROWS, COLS, NULL, data);
    t.data = data;
    return t;
}

/* int8 inputs: half a step of max/127 per element, at random signs over 256 terms of weight 0.75. */
#define INT8_BOUND (4.0 / 127.0 * 0.5 * 0.75 * 16.0)

static void check_format(bench *b, tern_dtype dt, tern_pack pack, bool token_act8, bool uniform,
                         tern_op want_op)
{
    static float w[ROWS * COLS], row[COLS];
    tern_err err = {0};
    tern_linear l;
    make_weights(w, uniform);
    tern_tensor t = tensor_of(dt, w);
    if (tern_linear_init(&l, &t, token_act8, pack, b->pool, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(l.op, want_op);
    apply(b, &l);
    for (int r = 0; r < ROWS; r++) {
        tern_dtype_get(dt)->unpack_row(&t, (size_t)r, row);
        for (int tok = 0; tok < TOKS; tok++) {
            double sum = 0.0;
            for (int c = 0; c < COLS; c++)
                sum += (double)row[c] * (double)b->x[tok * COLS + c];
            double bound = l.form == TERN_FORM_F32 ? 1e-4 : INT8_BOUND;
            if (fabs(sum - (double)b->y[tok * 64 + r]) > bound)
                fail_msg("%s row %d: %g, expected %g", tern_dtype_get(dt)->name, r,
                         (double)b->y[tok * 64 + r], sum);
        }
    }
    tern_linear_done(&l);
    free((void *)(uintptr_t)t.data);
}

static void test_formats_with_one_scale_take_the_exact_layout(void **state)
{
    (void)state;
    bench b;
    set_up(&b);
    check_format(&b, TERN_DT_I2_S, TERN_PACK_T2R16, false, true, TERN_OP_MM_T2R16);
    check_format(&b, TERN_DT_TQ1_0, TERN_PACK_T2R16, true, true, TERN_OP_MM_T2R16);
    check_format(&b, TERN_DT_TQ2_0, TERN_PACK_T2R16, true, true, TERN_OP_MM_T2R16);
    check_format(&b, TERN_DT_Q2_0, TERN_PACK_T2R16, true, true, TERN_OP_MM_T2R16);
    check_format(&b, TERN_DT_PTQ1_0, TERN_PACK_T2R16, true, true, TERN_OP_MM_T2R16);
    check_format(&b, TERN_DT_I2_S, TERN_PACK_T3R16, false, true, TERN_OP_MM_T3R16);
    check_format(&b, TERN_DT_TQ1_0, TERN_PACK_T2R1, true, true, TERN_OP_MM_T2R1);
    check_format(&b, TERN_DT_TQ2_0, TERN_PACK_T2C1, true, true, TERN_OP_MM_T2C1);
    check_format(&b, TERN_DT_TQ1_0, TERN_PACK_T3R1, true, true, TERN_OP_MM_T3R1);
    check_format(&b, TERN_DT_I2_S, TERN_PACK_T3C1, true, true, TERN_OP_MM_T3C1);
    tear_down(&b);
}

static void test_formats_with_several_scales_keep_them(void **state)
{
    (void)state;
    bench b;
    set_up(&b);
    check_format(&b, TERN_DT_Q2_0, TERN_PACK_T2R16, true, false, TERN_OP_MM_T2G);
    check_format(&b, TERN_DT_TQ2_0, TERN_PACK_T2R16, false, true, TERN_OP_MM_T2G);
    check_format(&b, TERN_DT_PQ2_0, TERN_PACK_T2R16, false, true, TERN_OP_MM_T2G);
    check_format(&b, TERN_DT_Q1_0, TERN_PACK_T2R16, false, true, TERN_OP_MM_T2G);
    for (tern_pack p = TERN_PACK_T2R16; p <= TERN_PACK_T3C1; p++)
        check_format(&b, TERN_DT_Q2_0, p, true, false, TERN_OP_MM_T2G);
    tear_down(&b);
}

static void test_other_classes_stay_in_the_file(void **state)
{
    (void)state;
    bench b;
    set_up(&b);
    check_format(&b, TERN_DT_F32, TERN_PACK_T2R16, false, false, TERN_OP_MM_F32);
    check_format(&b, TERN_DT_F16, TERN_PACK_T2R16, false, false, TERN_OP_MM_F16);
    check_format(&b, TERN_DT_BF16, TERN_PACK_T2R16, false, false, TERN_OP_MM_BF16);
    check_format(&b, TERN_DT_Q8_0, TERN_PACK_T2R16, false, false, TERN_OP_MM_BLOCK);
    check_format(&b, TERN_DT_Q4_1, TERN_PACK_T2R16, false, false, TERN_OP_MM_BLOCK);
    tear_down(&b);
}

/* W1.58A8 to the last bit: y = (float)acc / s * scale with exact sums, whatever the layout. */
static void check_exact(tern_pack pack)
{
    static float w[ROWS * COLS];
    bench b;
    tern_linear l;
    set_up(&b);
    make_weights(w, true);
    tern_tensor t = tensor_of(TERN_DT_I2_S, w);
    assert_int_equal(tern_linear_init(&l, &t, true, pack, b.pool, NULL), TERN_OK);
    assert_true(l.tame);
    apply(&b, &l);
    for (int tok = 0; tok < TOKS; tok++) {
        float m = 1e-5f;
        for (int c = 0; c < COLS; c++)
            m = fmaxf(m, fabsf(b.x[tok * COLS + c]));
        float s = 127.0f / m;
        for (int r = 0; r < ROWS; r++) {
            int32_t acc = 0;
            for (int c = 0; c < COLS; c++)
                acc += (int32_t)(w[r * COLS + c] / 0.5f) * (int32_t)rintf(b.x[tok * COLS + c] * s);
            float want = (float)acc / s * 0.5f;
            assert_memory_equal(&want, &b.y[tok * 64 + r], sizeof want);
        }
    }
    tern_linear_done(&l);
    free((void *)(uintptr_t)t.data);
    tear_down(&b);
}

static void test_token_int8_products_are_exact(void **state)
{
    (void)state;
    for (tern_pack p = TERN_PACK_T2R16; p <= TERN_PACK_T3C1; p++)
        check_exact(p);
}

/* Code 3 is +2, no trit: every layout that holds one scale a row gives way. */
static void test_code_three_is_kept(void **state)
{
    (void)state;
    static float w[ROWS * COLS];
    bench b;
    tern_linear l;
    set_up(&b);
    make_weights(w, true);
    tern_tensor t = tensor_of(TERN_DT_TQ2_0, w);
    memset((uint8_t *)(uintptr_t)t.data + 20, 0xff, 3);
    for (tern_pack p = TERN_PACK_T2R16; p <= TERN_PACK_T3C1; p++) {
        assert_int_equal(tern_linear_init(&l, &t, true, p, b.pool, NULL), TERN_OK);
        assert_int_equal(l.op, TERN_OP_MM_T2G);
        tern_linear_done(&l);
    }
    free((void *)(uintptr_t)t.data);
    tear_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats_with_one_scale_take_the_exact_layout),
        cmocka_unit_test(test_formats_with_several_scales_keep_them),
        cmocka_unit_test(test_other_classes_stay_in_the_file),
        cmocka_unit_test(test_token_int8_products_are_exact),
        cmocka_unit_test(test_code_three_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
