/* Screening planes: packing, and products of every variant against the reference, bit for bit; the
 * references are held against plain sums written here. */
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

int main(int argc, char **argv)
{
    check_args(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures),
        cmocka_unit_test(screen4),
        cmocka_unit_test(screen1),
        cmocka_unit_test(largest_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
