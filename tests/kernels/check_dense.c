/* Matrices in file order: every variant against the reference bit for bit, the references against
 * double arithmetic on independently unpacked weights, and the expansions against the formats. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/rows.h"
#include "support/check.h"

/* Where a block holds halves: scales that must stay finite. */
static const struct {
    tern_dtype dt;
    int half[2]; /* byte offsets, -1: none */
} blocks[] = {
    {TERN_DT_Q4_0, {0, -1}},  {TERN_DT_Q4_1, {0, 2}},    {TERN_DT_Q5_0, {0, -1}},
    {TERN_DT_Q5_1, {0, 2}},   {TERN_DT_Q8_0, {0, -1}},   {TERN_DT_IQ4_NL, {0, -1}},
    {TERN_DT_Q2_K, {80, 82}}, {TERN_DT_Q3_K, {108, -1}}, {TERN_DT_Q4_K, {0, 2}},
    {TERN_DT_Q5_K, {0, 2}},   {TERN_DT_Q6_K, {208, -1}},
};
#define N_BLOCK (sizeof blocks / sizeof blocks[0])

/* ---- weights ------------------------------------------------------------------------------ */

static uint16_t some_half(check_fill f, uint32_t *seed)
{
    switch (f) {
    case CHECK_RANDOM: { /* one in eight any finite one, subnormals among them */
        uint16_t h = (uint16_t)(test_rand(seed) << 1 ^ test_rand(seed));
        if (test_rand(seed) % 8)
            h = (uint16_t)((h & 0x83ff) | 0x2c00);
        return (h & 0x7c00) == 0x7c00 ? (uint16_t)(h ^ 0x4000) : h;
    }
    case CHECK_MINUS:
        return 0xbc00;
    case CHECK_ZERO:
        return 0;
    case CHECK_MAX:
        return test_rand(seed) & 1 ? 0x7bff : 0xfbff;
    default:
        return 0x3c00;
    }
}

static void fill_blocks(uint8_t *w, size_t n_blk, size_t i, check_fill f, uint32_t *seed)
{
    size_t bytes = (size_t)tern_dtype_get(blocks[i].dt)->blk_bytes;
    for (size_t b = 0; b < n_blk; b++, w += bytes) {
        for (size_t j = 0; j < bytes; j++)
            w[j] = f == CHECK_RANDOM  ? (uint8_t)(test_rand(seed) >> 3)
                   : f == CHECK_MINUS ? 0x00
                   : f == CHECK_MAX   ? (j & 1 ? 0x80 : 0x7f)
                   : f == CHECK_LAST  ? (b + 1 == n_blk && j + 1 == bytes ? 0xff : 0)
                                      : 0xff;
        for (int j = 0; j < 2; j++)
            if (blocks[i].half[j] >= 0) {
                uint16_t h = some_half(f, seed);
                memcpy(w + blocks[i].half[j], &h, sizeof h);
            }
    }
}

static void fill_floats(uint8_t *w, size_t n, tern_dtype dt, check_fill f, uint32_t *seed)
{
    float *v = malloc(n * sizeof *v);
    assert_non_null(v);
    check_fill_f32(v, n, f, seed);
    for (size_t i = 0; i < n; i++) {
        uint16_t h = dt == TERN_DT_F16 ? tern_f32_to_f16(v[i]) : tern_f32_to_bf16(v[i]);
        if (dt == TERN_DT_F16 && (h & 0x7c00) == 0x7c00)
            h ^= 0x4000;
        if (dt == TERN_DT_F32)
            memcpy(w + i * 4, v + i, 4);
        else
            memcpy(w + i * 2, &h, 2);
    }
    free(v);
}

/* ---- one product -------------------------------------------------------------------------- */

typedef struct product {
    tern_mm k;
    check_buf w, q, d, sum, x, y, scratch;
} product;

static size_t row_bytes(tern_dtype dt, int cols)
{
    const tern_dtype_info *info = tern_dtype_get(dt);
    return (size_t)(cols / info->blk_elems) * (size_t)info->blk_bytes;
}

static void fill_act(tern_mm *k, check_fill f, uint32_t *seed)
{
    size_t stride = k->act.stride, cols = (size_t)k->cols;
    memset(k->act.q, 0, (size_t)k->n_tok * stride);
    memset(k->act.sum, 0, (size_t)k->n_tok * stride / 16 * sizeof(int32_t));
    for (size_t t = 0; t < (size_t)k->n_tok; t++) {
        int8_t *q = k->act.q + t * stride;
        check_fill_i8(q, cols, f, seed);
        for (size_t i = 0; i < cols; i++) {
            if (q[i] < -127)
                q[i] = -127;
            k->act.sum[t * stride / 16 + i / 16] += q[i];
        }
        /* What stands beside absent blocks must not matter. */
        for (size_t b = 0; b < stride / 32; b++)
            k->act.scale[t * stride / 32 + b] = b < cols / 32 ? fabsf(check_scale(seed)) : NAN;
    }
}

/* Row w_gap bytes between rows; rows end at a guard page, wherever that puts them. */
static product product_new(tern_dtype dt, const check_case *c, size_t w_gap, uint32_t *seed)
{
    product p = {0};
    size_t stride = ((size_t)c->cols + 63) / 64 * 64, n_tok = (size_t)c->toks;
    size_t bytes = row_bytes(dt, c->cols), w_stride = bytes + w_gap;
    bool is_float = tern_dtype_get(dt)->cls == TERN_CLASS_FLOAT;
    p.w = check_buf_new(w_stride * (size_t)(c->rows - 1) + bytes, 1);
    p.y = check_buf_new(((n_tok - 1) * (size_t)(c->rows + 3) + (size_t)c->rows) * sizeof(float), 4);
    p.scratch = check_buf_new(tern_mm_scratch_bytes(c->cols, c->toks), 64);
    p.k = (tern_mm){.w = p.w.p,
                    .w_stride = w_stride,
                    .dtype = dt,
                    .rows = c->rows,
                    .cols = c->cols,
                    .n_tok = c->toks,
                    .y = p.y.p,
                    .y_stride = (size_t)c->rows + 3,
                    .scratch = p.scratch.p};
    if (is_float) {
        p.x = check_buf_new(n_tok * stride * sizeof(float), 64);
        memset(p.x.p, 0, p.x.n);
        for (size_t t = 0; t < n_tok; t++)
            check_fill_f32((float *)p.x.p + t * stride, (size_t)c->cols, c->fill, seed);
        p.k.x = p.x.p;
        p.k.x_stride = stride;
    } else {
        p.q = check_buf_new(n_tok * stride, 64);
        p.d = check_buf_new(n_tok * stride / 32 * sizeof(float), 4);
        p.sum = check_buf_new(n_tok * stride / 16 * sizeof(int32_t), 4);
        p.k.act = (tern_act8){.q = p.q.p, .stride = stride, .scale = p.d.p, .sum = p.sum.p};
        fill_act(&p.k, c->fill, seed);
    }
    return p;
}

static void product_free(product *p)
{
    check_buf_free(&p->w);
    check_buf_free(&p->q);
    check_buf_free(&p->d);
    check_buf_free(&p->sum);
    check_buf_free(&p->x);
    check_buf_free(&p->y);
    check_buf_free(&p->scratch);
}

static void fill_rows(product *p, tern_dtype dt, const check_case *c, uint32_t *seed)
{
    uint8_t *w = p->w.p;
    for (size_t r = 0; r < (size_t)c->rows; r++, w += p->k.w_stride) {
        if (tern_dtype_get(dt)->cls == TERN_CLASS_FLOAT)
            fill_floats(w, (size_t)c->cols, dt, c->fill, seed);
        else
            for (size_t i = 0; i < N_BLOCK; i++)
                if (blocks[i].dt == dt)
                    fill_blocks(w, (size_t)(c->cols / tern_dtype_get(dt)->blk_elems), i, c->fill,
                                seed);
    }
}

/* All variants of op on one case: in one call, and as two calls that split the rows. */
static void compare(tern_op op, tern_dtype dt, const check_case *c)
{
    if (!check_wanted(NULL, c))
        return;
    uint32_t seed = (uint32_t)(c->rows * 131 + c->cols * 7 + c->toks);
    product p = product_new(dt, c, (size_t)(c->rows % 3), &seed);
    fill_rows(&p, dt, c, &seed);
    ((tern_mm_fn)check_ref(op)->fn)(&p.k, 0, c->rows);
    float *want = malloc(p.y.n);
    assert_non_null(want);
    memcpy(want, p.y.p, p.y.n);
    for (const tern_kernel *k = NULL; (k = check_next(op, k));) {
        int split = c->rows > 16 ? 16 : 0;
        check_buf_reset(&p.y);
        check_buf_reset(&p.scratch);
        ((tern_mm_fn)k->fn)(&p.k, split, c->rows);
        if (split) {
            const uint8_t *untouched = p.y.p;
            check_report(untouched[0] == untouched[16 * 4 - 1], k, c, "row before row0 written");
            ((tern_mm_fn)k->fn)(&p.k, 0, split);
        }
        if (!check_same(p.y.p, want, p.y.n / sizeof *want, sizeof *want, k, c))
            fprintf(stderr, "  dtype %s\n", tern_dtype_get(dt)->name);
        check_report(check_buf_intact(&p.y) && check_buf_intact(&p.scratch), k, c,
                     "written outside its buffer");
    }
    free(want);
    product_free(&p);
}

static void sweep(tern_op op, tern_dtype dt, const int *cols, size_t n_cols)
{
    static const int rows[] = {1, 2, 3, 4, 5, 16, 23}, toks[] = {1, 2, 3, 4, 5, 6, 7, 9};
    check_case c;
    for (size_t i = 0; i < n_cols; i++) {
        c.cols = cols[i];
        for (int j = 0; j < 8; j++) {
            c.toks = toks[j];
            c.rows = rows[(i + (size_t)j) % 7];
            for (c.fill = 0; c.fill < CHECK_FILL_COUNT; c.fill++)
                compare(op, dt, &c);
        }
    }
    c = (check_case){.rows = 23, .cols = cols[n_cols - 1], .toks = 67, .fill = CHECK_RANDOM};
    compare(op, dt, &c);
}

static void blocks_equal_reference(void **state)
{
    (void)state;
    static const int by_32[] = {32, 64, 96, 480, 512, 544, 2560}, by_256[] = {256, 512, 768, 2560};
    for (size_t i = 0; i < N_BLOCK; i++) {
        bool small = tern_dtype_get(blocks[i].dt)->blk_elems == 32;
        sweep(TERN_OP_MM_BLOCK, blocks[i].dt, small ? by_32 : by_256, small ? 7 : 4);
    }
    check_done();
}

static void floats_equal_reference(void **state)
{
    (void)state;
    static const int cols[] = {1, 7, 8, 15, 16, 17, 31, 33, 48, 64, 100, 576, 1543};
    sweep(TERN_OP_MM_F32, TERN_DT_F32, cols, sizeof cols / sizeof cols[0]);
    sweep(TERN_OP_MM_F16, TERN_DT_F16, cols, sizeof cols / sizeof cols[0]);
    sweep(TERN_OP_MM_BF16, TERN_DT_BF16, cols, sizeof cols / sizeof cols[0]);
    check_done();
}

/* NaN in a row or a token reaches exactly that row or token. */
static void nan_stays(void **state)
{
    (void)state;
    check_case c = {.rows = 5, .cols = 40, .toks = 5, .fill = CHECK_PLUS};
    uint32_t seed = 1;
    product p = product_new(TERN_DT_F32, &c, 0, &seed);
    fill_rows(&p, TERN_DT_F32, &c, &seed);
    const float nan = NAN;
    memcpy((uint8_t *)p.w.p + p.k.w_stride * 2 + 37 * 4, &nan, 4);
    ((float *)p.x.p)[p.k.x_stride * 3 + 5] = NAN;
    for (const tern_kernel *k = NULL; (k = check_next(TERN_OP_MM_F32, k));) {
        ((tern_mm_fn)k->fn)(&p.k, 0, c.rows);
        for (int t = 0; t < c.toks; t++)
            for (int r = 0; r < c.rows; r++)
                assert_true(isnan(p.k.y[(size_t)t * p.k.y_stride + (size_t)r]) ==
                            (r == 2 || t == 3));
    }
    product_free(&p);
}

/* ---- expansions ----------------------------------------------------------------------------- */

typedef struct expanded {
    check_buf v, scale16, min16;
} expanded;

static expanded expanded_new(int cols)
{
    size_t n16 = (size_t)cols / 16 * sizeof(float);
    return (expanded){check_buf_new((size_t)cols, 64), check_buf_new(n16, 64),
                      check_buf_new(n16, 64)};
}

static void expanded_free(expanded *e)
{
    check_buf_free(&e->v);
    check_buf_free(&e->scale16);
    check_buf_free(&e->min16);
}

static float expanded_value(const expanded *e, size_t i, bool has_min)
{
    float v = ((const float *)e->scale16.p)[i / 16] * (float)((const int8_t *)e->v.p)[i];
    return has_min ? v + ((const float *)e->min16.p)[i / 16] : v;
}

/* Sum of the magnitudes of what is added for one element: with minima two parts, which may cancel. */
static double parts(const expanded *e, bool has_min, int i)
{
    double v =
        fabs((double)((const float *)e->scale16.p)[i / 16]) * abs(((const int8_t *)e->v.p)[i]);
    return has_min ? v + fabs((double)((const float *)e->min16.p)[i / 16]) : v;
}

/* The sums in double over independently unpacked weights. Bound: each product and each product of scales
 * is rounded once, a lane adds at most cols / 16 terms, then four folds and the minima's sum, so
 * (cols / 16 + 10) half units of the last place of the sum of magnitudes. */
static void near_double(tern_op op, tern_dtype dt, const check_case *c)
{
    uint32_t seed = 99;
    bool has_min = tern_expand_has_min(dt);
    product p = product_new(dt, c, 0, &seed);
    fill_rows(&p, dt, c, &seed);
    ((tern_mm_fn)check_ref(op)->fn)(&p.k, 0, c->rows);
    tern_tensor w = {.dtype = dt,
                     .n_dim = 2,
                     .ne = {(size_t)c->cols, (size_t)c->rows, 1, 1},
                     .data = p.w.p,
                     .bytes = p.w.n};
    float *row = malloc((size_t)c->cols * sizeof *row);
    assert_non_null(row);
    expanded e = expanded_new(c->cols);
    for (int r = 0; r < c->rows; r++) {
        tern_dtype_get(dt)->unpack_row(&w, (size_t)r, row);
        if (!p.k.x)
            tern_expand_ref(dt)(p.k.w + (size_t)r * p.k.w_stride, c->cols, e.v.p, e.scale16.p,
                                e.min16.p);
        for (int t = 0; t < c->toks; t++) {
            double sum = 0, mag = 0;
            for (int i = 0; i < c->cols; i++) {
                size_t at = (size_t)t * (p.k.x ? p.k.x_stride : p.k.act.stride) + (size_t)i;
                double x = p.k.x ? (double)p.k.x[at]
                                 : (double)p.k.act.q[at] * (double)p.k.act.scale[at / 32];
                sum += (double)row[i] * x;
                mag += fabs(x) * (p.k.x ? fabs((double)row[i]) : parts(&e, has_min, i));
            }
            double got = (double)p.k.y[(size_t)t * p.k.y_stride + (size_t)r];
            double bound = (c->cols / 16 + 10) * (double)FLT_EPSILON / 2 * mag + 1e-37;
            if (!(fabs(got - sum) <= bound))
                fail_msg("%s: row %d token %d is %g, not %g", tern_dtype_get(dt)->name, r, t, got,
                         sum);
        }
    }
    expanded_free(&e);
    free(row);
    product_free(&p);
}

static void references_are_near_double(void **state)
{
    (void)state;
    check_case c = {.rows = 5, .cols = 768, .toks = 3, .fill = CHECK_RANDOM};
    for (size_t i = 0; i < N_BLOCK; i++)
        near_double(TERN_OP_MM_BLOCK, blocks[i].dt, &c);
    near_double(TERN_OP_MM_F32, TERN_DT_F32, &c);
    near_double(TERN_OP_MM_F16, TERN_DT_F16, &c);
    near_double(TERN_OP_MM_BF16, TERN_DT_BF16, &c);
}

/* The three expansions of one row: equal bits, equal values as unpacked, no byte too many. */
static void check_expand(size_t i, int cols, check_fill f)
{
    tern_dtype dt = blocks[i].dt;
    bool has_min = tern_expand_has_min(dt);
    const tern_expand_fn fn[] = {
        tern_expand_ref(dt),
#if defined(__x86_64__)
        tern_cpu_detect() & TERN_CPU_AVX2 ? tern_expand_avx2(dt) : NULL,
#endif
    };
    uint32_t seed = (uint32_t)cols;
    check_buf w = check_buf_new(row_bytes(dt, cols), 1);
    fill_blocks(w.p, (size_t)(cols / tern_dtype_get(dt)->blk_elems), i, f, &seed);
    tern_tensor t = {
        .dtype = dt, .n_dim = 1, .ne = {(size_t)cols, 1, 1, 1}, .data = w.p, .bytes = w.n};
    float *row = malloc((size_t)cols * sizeof *row);
    assert_non_null(row);
    tern_dtype_get(dt)->unpack_row(&t, 0, row);
    expanded want = expanded_new(cols);
    for (size_t j = 0; j < sizeof fn / sizeof fn[0]; j++) {
        if (!fn[j])
            continue;
        expanded e = expanded_new(cols);
        fn[j](w.p, cols, e.v.p, e.scale16.p, e.min16.p);
        if (j == 0)
            fn[j](w.p, cols, want.v.p, want.scale16.p, want.min16.p);
        assert_memory_equal(e.v.p, want.v.p, want.v.n);
        assert_memory_equal(e.scale16.p, want.scale16.p, want.scale16.n);
        if (has_min)
            assert_memory_equal(e.min16.p, want.min16.p, want.min16.n);
        for (size_t k = 0; k < (size_t)cols; k++)
            if (expanded_value(&e, k, has_min) != row[k])
                fail_msg("%s expansion %zu: element %zu is %g, not %g", tern_dtype_get(dt)->name, j,
                         k, (double)expanded_value(&e, k, has_min), (double)row[k]);
        assert_true(check_buf_intact(&e.v) && check_buf_intact(&e.scale16) &&
                    check_buf_intact(&e.min16));
        expanded_free(&e);
    }
    expanded_free(&want);
    free(row);
    check_buf_free(&w);
}

static void expansions_are_the_formats(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_BLOCK; i++) {
        int blk = tern_dtype_get(blocks[i].dt)->blk_elems;
        for (int n = 1; n <= 9; n++)
            for (check_fill f = 0; f < CHECK_FILL_COUNT; f++)
                check_expand(i, n * blk, f);
    }
    for (int dt = 0; dt < TERN_DT_COUNT; dt++)
        assert_true((tern_expand_ref((tern_dtype)dt) != NULL) ==
                    (tern_dtype_get((tern_dtype)dt)->cls == TERN_CLASS_BLOCK));
}

/* One block of each format, and the CRC of its 32-bit floats (-0 made 0), as other software decodes
 * it: docs of the formats, dense block decoders. */
static void expansions_match_vectors(void **state)
{
    (void)state;
    static const uint32_t crc[N_BLOCK] = {0x1aaee7e2, 0xd65e9d5a, 0xa3a756a6, 0x6f43def4,
                                          0x5987394b, 0x42fcc578, 0xb2f36b5e, 0x778cfca2,
                                          0x247b3904, 0xa617f156, 0x653e9801};
    for (size_t i = 0; i < N_BLOCK; i++) {
        const tern_dtype_info *info = tern_dtype_get(blocks[i].dt);
        uint8_t blk[256];
        uint32_t seed = 1;
        for (int j = 0; j < info->blk_bytes; j++)
            blk[j] = (uint8_t)(test_rand(&seed) >> 3);
        static const uint16_t half[2] = {0x2400, 0x2800};
        for (int j = 0; j < 2; j++)
            if (blocks[i].half[j] >= 0)
                memcpy(blk + blocks[i].half[j], &half[j], sizeof half[j]);
        expanded e = expanded_new(info->blk_elems);
        tern_expand_ref(blocks[i].dt)(blk, info->blk_elems, e.v.p, e.scale16.p, e.min16.p);
        float out[256];
        for (size_t k = 0; k < (size_t)info->blk_elems; k++)
            out[k] = expanded_value(&e, k, tern_expand_has_min(blocks[i].dt)) + 0.0f;
        uint32_t got = test_crc32(out, (size_t)info->blk_elems * sizeof out[0]);
        if (got != crc[i])
            fail_msg("%s: crc %08x, not %08x", info->name, got, crc[i]);
        expanded_free(&e);
    }
}

static void scratch_holds_the_tile(void **state)
{
    (void)state;
    for (int cols = 1; cols < 20000; cols += 31)
        assert_true(tern_mm_scratch_bytes(cols, 1) >= TERN_ROW_TILE * tern_row_slot_bytes(cols));
}

int main(int argc, char **argv)
{
    check_args(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_equal_reference),     cmocka_unit_test(floats_equal_reference),
        cmocka_unit_test(references_are_near_double), cmocka_unit_test(nan_stays),
        cmocka_unit_test(expansions_are_the_formats), cmocka_unit_test(expansions_match_vectors),
        cmocka_unit_test(scratch_holds_the_tile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
