/* Screening planes: packing, and products of every variant against the reference, bit for bit; the
 * references are held against plain sums written here. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"

static const int all_rows[] = {1, 5, 15, 16, 17, 33, 100};
static const int all_toks[] = {1, 2, 3, 4, 5, 7, 8, 14};
static const int all_cols[] = {1, 3, 4, 7, 8, 9, 63, 64, 65, 255, 256, 257, 576, 2560, 2624};
#define N(a) ((int)(sizeof(a) / sizeof(a)[0]))

typedef struct fixture {
    check_case c;
    uint8_t *codes; /* [rows][cols], owned */
    check_buf w, scale, hi, lo, x, x_scale, sum, row, want, got;
    tern_act12 act;
    size_t w_stride;
} fixture;

static size_t up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static int code_of(const fixture *f, int top, uint32_t *seed)
{
    switch (f->c.fill) {
    case CHECK_RANDOM:
        return (int)(test_rand(seed) % (uint32_t)(top + 1));
    case CHECK_MINUS:
    case CHECK_ZERO:
        return 0;
    default:
        return top;
    }
}

/* Where the low part of column c is, and what it is worth. */
static int low_of(int c)
{
    return c / 8 * 4 + c % 4;
}

/* Whether both columns that share it exist. */
static bool whole_low(int c, int cols)
{
    return c / 8 * 8 + 4 + c % 4 < cols;
}

static int worth_of(int c)
{
    return c / 4 % 2 ? 16 : 1;
}

static void fill_acts(fixture *f, uint32_t *seed)
{
    size_t stride = up((size_t)f->c.cols, 256), toks = (size_t)f->c.toks;
    f->hi = check_buf_new(toks * stride, 64);
    f->lo = check_buf_new(toks * stride, 64);
    f->x_scale = check_buf_new(toks * sizeof(float), 4);
    f->sum = check_buf_new(toks * 2 * sizeof(int32_t), 4);
    memset(f->hi.p, 0, f->hi.n);
    memset(f->lo.p, 0, f->lo.n);
    memset(f->sum.p, 0, f->sum.n);
    for (size_t t = 0; t < toks; t++) {
        int8_t *hi = (int8_t *)f->hi.p + t * stride, *lo = (int8_t *)f->lo.p + t * stride;
        for (int i = 0; i < f->c.cols; i++) {
            uint32_t r = test_rand(seed);
            bool extreme = f->c.fill != CHECK_RANDOM, minus = f->c.fill == CHECK_MINUS;
            hi[i] = (int8_t)(extreme ? minus ? -127 : 127 : (int)(r % 255) - 127);
            if (whole_low(i, f->c.cols))
                lo[low_of(i)] = (int8_t)(extreme ? minus ? -128 : 127 : (int)(r / 256 % 256) - 128);
            ((int32_t *)f->sum.p)[2 * t] += hi[i];
        }
        for (size_t i = 0; i < stride; i++)
            ((int32_t *)f->sum.p)[2 * t + 1] += lo[i] * 17;
        ((float *)f->x_scale.p)[t] = check_scale(seed);
    }
    size_t part = tern_n1_input_stride(f->c.cols);
    f->x = check_buf_new(8 * part, 64);
    memset(f->x.p, 0, f->x.n);
    for (int i = 0; i < f->c.cols; i++)
        ((int8_t *)f->x.p)[(size_t)(i % 8) * part + (size_t)i / 8] = ((int8_t *)f->hi.p)[i];
    f->act = (tern_act12){f->hi.p, f->lo.p, stride, f->x_scale.p, f->sum.p};
}

static void fixture_init(fixture *f, const check_case *c, bool one, uint32_t *seed)
{
    size_t rows = (size_t)c->rows, cols = (size_t)c->cols, pad = up(rows, 16);
    *f = (fixture){.c = *c};
    f->codes = calloc(pad * cols, 1);
    for (size_t i = 0; i < rows * cols; i++)
        f->codes[i] = (uint8_t)code_of(f, one ? 1 : 15, seed);
    f->w =
        check_buf_new(one ? tern_n1_bytes(c->rows, c->cols) : tern_n4_bytes(c->rows, c->cols), 64);
    f->w_stride = one ? tern_n1_row_bytes(c->cols) : tern_n4_stripe_bytes(c->cols);
    uint8_t *w = f->w.p;
    if (one)
        for (size_t r = 0; r < rows; r++)
            tern_n1_pack_row(f->codes + r * cols, c->cols, w + r * f->w_stride);
    else
        for (size_t r = 0; r < rows; r += 16)
            tern_n4_pack_stripe(f->codes + r * cols, cols, c->cols, w + r / 16 * f->w_stride);
    f->scale = check_buf_new(pad * sizeof(float), 64);
    for (size_t i = 0; i < pad; i++)
        ((float *)f->scale.p)[i] = check_scale(seed);
    fill_acts(f, seed);
    size_t n_out = one ? 2 * rows : rows * (size_t)c->toks;
    f->row = check_buf_new(2 * rows * sizeof(int32_t), 4);
    for (size_t i = 0; i < 2 * rows; i++)
        ((int32_t *)f->row.p)[i] = (int32_t)(test_rand(seed) % rows);
    f->want = check_buf_new(n_out * sizeof(float), 4);
    f->got = check_buf_new(n_out * sizeof(float), 4);
}

static void fixture_done(fixture *f)
{
    check_buf *all[] = {&f->w,       &f->scale, &f->hi,  &f->lo,   &f->x,
                        &f->x_scale, &f->sum,   &f->row, &f->want, &f->got};
    for (int i = 0; i < N(all); i++)
        check_buf_free(all[i]);
    free(f->codes);
}

static void run(const fixture *f, tern_any_fn fn, bool one, const check_buf *y, int begin, int end)
{
    if (one) {
        tern_screen1 k = {.w = f->w.p,
                          .w_stride = f->w_stride,
                          .cols = f->c.cols,
                          .scale = f->scale.p,
                          .x = f->x.p,
                          .x_scale = f->act.scale[0],
                          .x_sum = f->act.sum[0],
                          .row = f->row.p,
                          .y = y->p};
        ((tern_screen1_fn)fn)(&k, begin, end);
    } else {
        tern_screen4 k = {f->w.p, f->w_stride, f->c.rows, f->c.cols,        f->scale.p,
                          f->act, f->c.toks,   y->p,      (size_t)f->c.rows};
        ((tern_screen4_fn)fn)(&k, begin, end);
    }
}

/* The products by other loops: codes kept apart, sums of 64 bits. */
static void hold_reference(const fixture *f, bool one)
{
    for (int t = 0; t < f->c.toks; t++)
        for (int i = 0; i < (one ? 2 * f->c.rows : f->c.rows); i++) {
            int r = one ? ((int32_t *)f->row.p)[i] : i;
            int64_t hi = 0, lo = 0;
            for (int c = 0; c < f->c.cols; c++) {
                int v = 2 * f->codes[r * f->c.cols + c] - (one ? 1 : 15);
                hi += v * f->act.hi[(size_t)t * f->act.stride + (size_t)c];
                lo += v * worth_of(c) * f->act.lo[t * (int)f->act.stride + low_of(c)];
            }
            float sum = one ? (float)hi : (float)hi * 256.0f + (float)lo;
            float want = sum * f->act.scale[t] * ((float *)f->scale.p)[r];
            assert_true(((float *)f->want.p)[t * f->c.rows + i] == want);
        }
}

static void compare(fixture *f, const tern_kernel *k, bool one)
{
    int end = one ? 2 * f->c.rows : f->c.rows;
    check_buf_reset(&f->got);
    run(f, k->fn, one, &f->got, 0, end);
    bool same = check_same(f->got.p, f->want.p, f->want.n / sizeof(float), sizeof(float), k, &f->c);
    if (same && end > 32) { /* a part leaves the others alone */
        static const uint8_t canary[4] = {0xc5, 0xc5, 0xc5, 0xc5};
        bool kept = true;
        check_buf_reset(&f->got);
        run(f, k->fn, one, &f->got, 16, end - 1);
        for (int t = 0; t < (one ? 1 : f->c.toks); t++)
            for (int i = 0; i < end; i++) {
                size_t at = ((size_t)t * (size_t)f->c.rows + (size_t)i) * 4;
                const uint8_t *want = (uint8_t *)f->want.p + at;
                kept = kept && memcmp((uint8_t *)f->got.p + at,
                                      i < 16 || i == end - 1 ? canary : want, 4) == 0;
            }
        check_report(kept, k, &f->c, "rows [row0, row1) are wrong or others were written");
    }
    check_report(check_buf_intact(&f->got), k, &f->c, "wrote outside its buffers");
}

static void each_case(tern_op op)
{
    bool one = op == TERN_OP_SCREEN1;
    const int n_shape = N(all_rows) * N(all_cols);
    for (int i = 0; i < n_shape * N(all_toks) * CHECK_FILL_COUNT; i++) {
        check_case c = {.rows = all_rows[i % N(all_rows)],
                        .cols = all_cols[i / N(all_rows) % N(all_cols)],
                        .toks = all_toks[i / n_shape % N(all_toks)],
                        .fill = (check_fill)(i / n_shape / N(all_toks))};
        if ((one && c.toks > 1) || c.rows * c.cols * c.toks > 400000 || !check_wanted(NULL, &c))
            continue;
        uint32_t seed = (uint32_t)i;
        fixture f;
        fixture_init(&f, &c, one, &seed);
        run(&f, check_ref(op)->fn, one, &f.want, 0, one ? 2 * c.rows : c.rows);
        hold_reference(&f, one);
        for (const tern_kernel *k = NULL; (k = check_next(op, k)) != NULL;)
            compare(&f, k, one);
        fixture_done(&f);
    }
    check_done();
}

static void screen4(void **state)
{
    (void)state;
    each_case(TERN_OP_SCREEN4);
}

static void screen1(void **state)
{
    (void)state;
    each_case(TERN_OP_SCREEN1);
}

/* The most columns there may be, all at their extremes: no sum wraps. */
static void largest_sums(void **state)
{
    (void)state;
    for (int one = 0; one < 2; one++)
        for (int fill = CHECK_MINUS; fill <= CHECK_PLUS; fill += CHECK_PLUS - CHECK_MINUS) {
            check_case c = {1, TERN_SCREEN_MAX_COLS, 1, (check_fill)fill};
            uint32_t seed = 5;
            fixture f;
            fixture_init(&f, &c, one, &seed);
            tern_op op = one ? TERN_OP_SCREEN1 : TERN_OP_SCREEN4;
            run(&f, check_ref(op)->fn, one, &f.want, 0, one ? 2 : 1);
            hold_reference(&f, one);
            for (const tern_kernel *k = NULL; (k = check_next(op, k)) != NULL;)
                compare(&f, k, one);
            fixture_done(&f);
        }
    check_done();
}

/* The pictures in kernel.h. */
static void pictures(void **state)
{
    (void)state;
    enum { COLS = 300 };
    static uint8_t codes[16][COLS], stripe[38 * 64], row[5 * 8];
    uint32_t seed = 9;
    assert_int_equal(tern_n4_stripe_bytes(COLS), sizeof stripe);
    assert_int_equal(tern_n1_row_bytes(COLS), sizeof row);
    assert_int_equal(tern_n4_bytes(17, COLS), 2 * sizeof stripe + 64);
    assert_int_equal(tern_n1_bytes(17, COLS), 17 * sizeof row + 64);
    for (int i = 0; i < 16 * COLS; i++)
        codes[i / COLS][i % COLS] = (uint8_t)(test_rand(&seed) % 16);
    tern_n4_pack_stripe(&codes[0][0], COLS, COLS, stripe);
    for (int r = 0; r < 16; r++)
        for (int b = 0; b < COLS / 8; b++)
            for (int j = 0; j < 4; j++) {
                assert_int_equal(stripe[64 * b + 4 * r + j] & 15, codes[r][8 * b + j]);
                assert_int_equal(stripe[64 * b + 4 * r + j] >> 4, codes[r][8 * b + 4 + j]);
            }
    for (int i = 0; i < COLS; i++)
        codes[0][i] &= 1;
    tern_n1_pack_row(codes[0], COLS, row);
    for (int i = 0; i < COLS; i++)
        assert_int_equal(row[i / 8] >> i % 8 & 1, codes[0][i]);
}

/* ---- rows into codes ------------------------------------------------------------------------ */

typedef struct coded {
    check_buf v, codes, fine[TERN_SCREEN_MAX_FINE];
    tern_screen_row row;
} coded;

/* The row v with extra columns stored again (toks of them) in so many finer planes (rows). */
static void code_row(coded *c, tern_any_fn fn, const check_buf *v, const check_buf *mean,
                     const check_buf *keep, const check_buf *extra, const check_case *k)
{
    size_t n = (size_t)k->cols;
    c->v = check_buf_new(up(n, 8) * sizeof(float), 32);
    c->codes = check_buf_new(n + 2 * (size_t)k->toks, 1);
    c->row = (tern_screen_row){.v = c->v.p,
                               .mean = mean->p,
                               .keep = keep->p,
                               .n = k->cols,
                               .n_extra = k->toks,
                               .n_fine = k->rows,
                               .extra = extra->p,
                               .codes = c->codes.p};
    for (int i = 0; i < TERN_SCREEN_MAX_FINE; i++) {
        c->fine[i] = check_buf_new(tern_n1_row_bytes(k->cols), 1);
        c->row.fine[i] = c->fine[i].p;
    }
    memset(c->v.p, 0, c->v.n);
    memcpy(c->v.p, v->p, n * sizeof(float));
    ((tern_screen_row_fn)fn)(&c->row);
    /* Which bits a NaN has is nobody's promise. */
    c->row.norm = isnan(c->row.norm) ? -1.0f : c->row.norm;
    c->row.step = isnan(c->row.step) ? -1.0f : c->row.step;
    c->row.size = isnan(c->row.size) ? -1.0f : c->row.size;
    for (int i = 0; i <= k->rows; i++)
        c->row.radius[i] = isnan(c->row.radius[i]) ? -1.0f : c->row.radius[i];
}

static void coded_done(coded *c)
{
    check_buf_free(&c->v);
    check_buf_free(&c->codes);
    for (int i = 0; i < TERN_SCREEN_MAX_FINE; i++)
        check_buf_free(&c->fine[i]);
}

/* The coarse codes are the nearest, what they leave of the row is no larger than the radius says, and finer
 * planes leave less. */
static void hold_coded(const coded *c, const float *v, const float *mean, const check_case *k)
{
    double rest = 0, row = 0, step = (double)c->row.step;
    for (int i = 0; i < k->cols; i++) {
        int code = ((const uint8_t *)c->codes.p)[i];
        double left = (double)v[i] - (double)mean[i] - (code - 7.5) * step;
        if (code > 0 && code < 15 && fabs(left) > 0.501 * step)
            fail_msg("column %d of %d is %g steps off", i, k->cols, left / step);
        rest += left * left;
        row += (double)v[i] * (double)v[i];
    }
    assert_true(sqrt(row) <= (double)c->row.norm && (double)c->row.norm <= sqrt(row) * 1.01 + 1e-9);
    if (k->toks > 0)
        return;
    assert_true(sqrt(rest) <= (double)c->row.radius[0] * 1.0001 + 1e-6);
    for (int i = 0; k->cols > 500 && i < k->rows; i++)
        assert_true(c->row.radius[1 + i] < c->row.radius[i]);
}

static void compare_coded(const coded *got, const coded *want, const tern_kernel *fn,
                          const check_case *k)
{
    check_same(got->codes.p, want->codes.p, got->codes.n, 1, fn, k);
    check_same(&got->row.norm, &want->row.norm, 1, sizeof(float), fn, k);
    check_same(&got->row.step, &want->row.step, 1, sizeof(float), fn, k);
    check_same(&got->row.size, &want->row.size, 1, sizeof(float), fn, k);
    check_same(got->row.radius, want->row.radius, 1 + (size_t)k->rows, sizeof(float), fn, k);
    for (int i = 0; i < k->rows; i++)
        check_same(got->fine[i].p, want->fine[i].p, got->fine[i].n, 1, fn, k);
    check_report(check_buf_intact(&got->codes) && check_buf_intact(&got->v) &&
                     check_buf_intact(&got->fine[0]) && check_buf_intact(&got->fine[1]),
                 fn, k, "wrote outside its buffers");
}

static void code_case(const check_case *k, float odd, uint32_t *seed)
{
    size_t n = (size_t)k->cols;
    check_buf v = check_buf_new(n * sizeof(float), 4), mean = check_buf_new(up(n, 8) * 4, 4);
    check_buf keep = check_buf_new(up(n, 8) * 4, 4);
    check_buf extra = check_buf_new((size_t)k->toks * 4 + 4, 4);
    float *values = v.p;
    memset(mean.p, 0, mean.n);
    memset(keep.p, 0, keep.n);
    coded want, got;
    for (size_t i = 0; i < n; i++) {
        values[i] = ((float)(test_rand(seed) % 4001) - 2000.0f) * 1e-4f;
        ((float *)mean.p)[i] = ((float)(test_rand(seed) % 201) - 100.0f) * 1e-4f;
        ((int32_t *)keep.p)[i] = -1;
    }
    for (size_t i = 0; i < (size_t)k->toks; i++) {
        size_t column = i * n / (size_t)k->toks;
        ((int32_t *)extra.p)[i] = (int32_t)column;
        ((int32_t *)keep.p)[column] = 0;
    }
    if (odd != 0)
        values[test_rand(seed) % n] = odd;
    code_row(&want, check_ref(TERN_OP_SCREEN_ROW)->fn, &v, &mean, &keep, &extra, k);
    if (odd == 0)
        hold_coded(&want, v.p, mean.p, k);
    for (const tern_kernel *fn = NULL; (fn = check_next(TERN_OP_SCREEN_ROW, fn)) != NULL;) {
        code_row(&got, fn->fn, &v, &mean, &keep, &extra, k);
        compare_coded(&got, &want, fn, k);
        coded_done(&got);
    }
    coded_done(&want);
    check_buf_free(&v);
    check_buf_free(&mean);
    check_buf_free(&keep);
    check_buf_free(&extra);
}

static void screen_row(void **state)
{
    (void)state;
    static const int cols[] = {1, 7, 8, 9, 63, 64, 100, 576, 1029, 2560}, extra[] = {0, 1, 5, 128};
    static const float odd[] = {0, 1e3f, -1e30f, 3e38f, -INFINITY, NAN};
    uint32_t seed = 3;
    for (int i = 0; i < N(cols) * N(extra) * N(odd) * (TERN_SCREEN_MAX_FINE + 1); i++) {
        check_case k = {.rows = i / (N(cols) * N(extra) * N(odd)),
                        .cols = cols[i % N(cols)],
                        .toks = extra[i / N(cols) % N(extra)]};
        if (k.toks <= k.cols)
            code_case(&k, odd[i / (N(cols) * N(extra)) % N(odd)], &seed);
    }
    check_done();
}

int main(int argc, char **argv)
{
    check_args(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures),   cmocka_unit_test(screen4),      cmocka_unit_test(screen1),
        cmocka_unit_test(screen_row), cmocka_unit_test(largest_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
