/* Ternary matrix products, activation quantisers and the stripe layout. Every variant must equal its
 * reference bit for bit; the references themselves are held against plain sums written here. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"

static const int all_rows[] = {1, 5, 15, 16, 17, 33, 64, 100};
static const int all_cols[] = {1,  7,   16,  31,  32,  33,  63,   64,   65,
                               96, 100, 128, 160, 256, 640, 1030, 2560, 6912};
static const int all_toks[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 33};
#define N(a) ((int)(sizeof(a) / sizeof(a)[0]))

static size_t up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* ---- one matrix with activations ---------------------------------------------------------- */

typedef struct fixture {
    tern_mm mm;
    int8_t *codes; /* [rows padded][cols padded], owned */
    check_buf w, scale, gscale, q, act_scale, sum, scratch, want, got;
} fixture;

static void fill_weights(fixture *f, const check_case *c, bool t2g, uint32_t *seed)
{
    size_t pad_rows = up((size_t)c->rows, 16), pad_cols = up((size_t)c->cols, 64);
    size_t stripe = tern_t2_stripe_bytes(c->cols);
    f->w = check_buf_new(tern_t2_bytes(c->rows, c->cols), 64);
    uint8_t *codes = malloc(16 * pad_cols);
    for (size_t r = 0; r < pad_rows; r += 16) {
        memset(codes, 1, 16 * pad_cols);
        for (size_t i = 0; i < 16 && r + i < (size_t)c->rows; i++)
            check_fill_codes(codes + i * pad_cols, (size_t)c->cols, c->fill, t2g, seed);
        tern_t2_pack_stripe(codes, pad_cols, c->cols, (uint8_t *)f->w.p + r / 16 * stripe);
    }
    free(codes);
    f->scale = check_buf_new(pad_rows * sizeof(float), 64);
    for (size_t i = 0; i < pad_rows; i++)
        ((float *)f->scale.p)[i] = check_scale(seed);
    f->mm.w = f->w.p;
    f->mm.w_stride = stripe;
    f->mm.scale = f->scale.p;
}

static void fill_group_scales(fixture *f, const check_case *c, uint32_t *seed)
{
    size_t n = up((size_t)c->rows, 16) * (size_t)((c->cols + f->mm.group - 1) / f->mm.group);
    f->gscale = check_buf_new(n * sizeof(float), 64);
    for (size_t i = 0; i < n; i++)
        ((float *)f->gscale.p)[i] = check_scale(seed);
    f->mm.gscale = f->gscale.p;
}

static void fill_acts(fixture *f, const check_case *c, bool t2g, uint32_t *seed)
{
    size_t stride = up((size_t)c->cols, 64), toks = (size_t)c->toks;
    f->q = check_buf_new(toks * stride, 64);
    f->act_scale = check_buf_new(toks * (t2g ? stride / 32 : 1) * sizeof(float), 4);
    f->sum = check_buf_new(toks * (t2g ? stride / 16 : 1) * sizeof(int32_t), 4);
    memset(f->q.p, 0, f->q.n);
    memset(f->act_scale.p, 0, f->act_scale.n);
    memset(f->sum.p, 0, f->sum.n);
    for (size_t t = 0; t < toks; t++) {
        int8_t *q = (int8_t *)f->q.p + t * stride;
        check_fill_i8(q, (size_t)c->cols, c->fill, seed);
        int32_t *sum = (int32_t *)f->sum.p + t * (t2g ? stride / 16 : 1);
        for (int i = 0; i < c->cols; i++)
            sum[t2g ? i / 16 : 0] += q[i];
        float *s = (float *)f->act_scale.p + t * (t2g ? stride / 32 : 1);
        for (int b = 0; b < (t2g ? (c->cols + 31) / 32 : 1); b++)
            s[b] = check_scale(seed);
    }
    f->mm.act = (tern_act8){f->q.p, stride, f->act_scale.p, f->sum.p};
}

static void fixture_init(fixture *f, const check_case *c, int group, uint32_t *seed)
{
    *f = (fixture){.mm = {.rows = c->rows, .cols = c->cols, .group = group, .n_tok = c->toks}};
    f->mm.y_stride = (size_t)c->rows;
    fill_weights(f, c, group != 0, seed);
    if (group)
        fill_group_scales(f, c, seed);
    fill_acts(f, c, group != 0, seed);
    f->scratch = check_buf_new(tern_mm_scratch_bytes(c->cols, c->toks), 64);
    f->want = check_buf_new((size_t)c->rows * (size_t)c->toks * sizeof(float), 4);
    f->got = check_buf_new((size_t)c->rows * (size_t)c->toks * sizeof(float), 4);
    f->mm.scratch = f->scratch.p;
}

static void fixture_done(fixture *f)
{
    check_buf *all[] = {&f->w,   &f->scale, &f->gscale,  &f->q,  &f->act_scale,
                        &f->sum, &f->want,  &f->scratch, &f->got};
    for (int i = 0; i < N(all); i++)
        check_buf_free(all[i]);
}

static void run(const fixture *f, const tern_kernel *kernel, const check_buf *y, int row0, int row1)
{
    tern_mm k = f->mm;
    k.y = y->p;
    ((tern_mm_fn)kernel->fn)(&k, row0, row1);
}

/* The whole matrix at once, then in two parts into a buffer that was wiped in between, in which rows
 * nobody asked for must stay as they were. */
static void compare(fixture *f, const tern_kernel *k, const check_case *c)
{
    size_t n = (size_t)c->rows * (size_t)c->toks;
    check_buf_reset(&f->got);
    run(f, k, &f->got, 0, c->rows);
    bool same = check_same(f->got.p, f->want.p, n, sizeof(float), k, c);
    if (same && c->rows > 16 && c->fill == CHECK_RANDOM) {
        int mid = c->rows / 2 / 16 * 16, end = c->rows - 1;
        check_buf_reset(&f->got);
        run(f, k, &f->got, mid, end);
        bool kept = true;
        for (int t = 0; t < c->toks; t++)
            for (int r = 0; r < c->rows; r++) {
                size_t at = ((size_t)t * (size_t)c->rows + (size_t)r) * sizeof(float);
                const uint8_t *got = (uint8_t *)f->got.p + at, *want = (uint8_t *)f->want.p + at;
                static const uint8_t canary[4] = {0xc5, 0xc5, 0xc5, 0xc5};
                kept = kept && memcmp(got, r < mid || r >= end ? canary : want, 4) == 0;
            }
        check_report(kept, k, c, "rows [row0, row1) are wrong or others were written");
    }
    check_report(check_buf_intact(&f->got) && check_buf_intact(&f->scratch), k, c,
                 "wrote outside its buffers");
}

/* Every size of each dimension meets small ones of the others; large products are few. */
static bool left_out(const check_case *c)
{
    long macs = (long)c->rows * c->cols * c->toks;
    if (macs > 60000 && !(c->rows == 33 && c->toks <= 5) && !(c->rows == 100 && c->toks == 13))
        return true;
    return c->fill != CHECK_RANDOM && (c->rows == 15 || c->rows == 16 || c->rows == 64 ||
                                       c->cols % 32 == 31 || c->toks == 3 || c->toks > 5);
}

static void each_case(tern_op op)
{
    static const int groups[] = {32, 64, 128, 256};
    const tern_kernel *ref = check_ref(op);
    check_case c;
    for (int i = 0; i < N(all_rows) * N(all_cols) * N(all_toks) * CHECK_FILL_COUNT; i++) {
        c.rows = all_rows[i % N(all_rows)];
        c.cols = all_cols[i / N(all_rows) % N(all_cols)];
        c.toks = all_toks[i / (N(all_rows) * N(all_cols)) % N(all_toks)];
        c.fill = (check_fill)(i / (N(all_rows) * N(all_cols) * N(all_toks)));
        if (left_out(&c) || !check_wanted(NULL, &c))
            continue;
        uint32_t s = (uint32_t)i;
        fixture f;
        int g = i + i / N(all_rows) + i / (N(all_rows) * N(all_cols));
        fixture_init(&f, &c, op == TERN_OP_MM_T2G ? groups[g % N(groups)] : 0, &s);
        run(&f, ref, &f.want, 0, c.rows);
        for (const tern_kernel *k = NULL; (k = check_next(op, k)) != NULL;)
            compare(&f, k, &c);
        fixture_done(&f);
    }
}

static void mm_t2r16(void **state)
{
    (void)state;
    each_case(TERN_OP_MM_T2R16);
    check_done();
}

static void mm_t2g(void **state)
{
    (void)state;
    each_case(TERN_OP_MM_T2G);
    check_done();
}

/* ---- the sums themselves ------------------------------------------------------------------ */

/* All weights +1 against the largest activation of either sign: where a 16-bit sum would wrap. */
static void largest_sums(void **state)
{
    (void)state;
    static const int8_t extremes[] = {127, -128};
    for (int e = 0; e < 2; e++)
        for (int toks = 1; toks <= 13; toks += 4) {
            check_case c = {.rows = 17, .cols = 6912, .toks = toks, .fill = CHECK_PLUS};
            uint32_t seed = 1;
            fixture f;
            fixture_init(&f, &c, 0, &seed);
            memset(f.q.p, extremes[e], f.q.n);
            for (int t = 0; t < toks; t++)
                f.mm.act.sum[t] = 6912 * extremes[e];
            for (int i = 0; i < 17 * toks; i++) {
                float exact = (float)(6912 * extremes[e]);
                ((float *)f.want.p)[i] =
                    exact / f.mm.act.scale[i / 17] * ((float *)f.scale.p)[i % 17];
            }
            const tern_kernel *ref = check_ref(TERN_OP_MM_T2R16);
            compare(&f, ref, &c);
            for (const tern_kernel *k = NULL; (k = check_next(TERN_OP_MM_T2R16, k)) != NULL;)
                compare(&f, k, &c);
            fixture_done(&f);
        }
    check_done();
}

/* A row of one token equals the same row inside a batch. */
static void batch_equals_one(void **state)
{
    (void)state;
    static const tern_op ops[] = {TERN_OP_MM_T2R16, TERN_OP_MM_T2G};
    for (int o = 0; o < 2; o++) {
        check_case c = {.rows = 33, .cols = 640, .toks = 33, .fill = CHECK_RANDOM};
        uint32_t seed = 7;
        fixture f;
        fixture_init(&f, &c, o ? 64 : 0, &seed);
        size_t n_scale = o ? f.mm.act.stride / 32 : 1, n_sum = o ? f.mm.act.stride / 16 : 1;
        for (const tern_kernel *k = NULL; (k = check_next(ops[o], k)) != NULL;) {
            run(&f, k, &f.want, 0, c.rows);
            for (int t = 0; t < c.toks; t++) {
                fixture one = f;
                one.mm.n_tok = 1;
                one.mm.act.q += (size_t)t * f.mm.act.stride;
                one.mm.act.scale += (size_t)t * n_scale;
                one.mm.act.sum += (size_t)t * n_sum;
                run(&one, k, &f.got, 0, c.rows);
                check_same(f.got.p, (float *)f.want.p + t * c.rows, (size_t)c.rows, sizeof(float),
                           k, &c);
            }
        }
        fixture_done(&f);
    }
    check_done();
}

/* The references, by other loops: codes kept apart, sums in double. */
static void references(void **state)
{
    (void)state;
    enum { ROWS = 19, COLS = 100, PAD = 128, TOKS = 2 };
    static uint8_t codes[32][PAD];
    static uint8_t w[2 * PAD * 4 + 64];
    static int8_t q[TOKS][PAD];
    static float d[TOKS][PAD / 32], gscale[2][4][16], scale[32], s[TOKS] = {3.5f, 0.125f};
    static int32_t bsum[TOKS][PAD / 16], sum[TOKS];
    uint32_t seed = 3;
    memset(codes, 1, sizeof codes);
    for (int r = 0; r < ROWS; r++)
        for (int k = 0; k < COLS; k++)
            codes[r][k] = (uint8_t)(test_rand(&seed) % 4);
    for (int i = 0; i < 2; i++)
        tern_t2_pack_stripe(codes[16 * i], PAD, COLS, w + (size_t)i * PAD * 4);
    for (int r = 0; r < 32; r++) {
        scale[r] = check_scale(&seed);
        for (int g = 0; g < 4; g++)
            gscale[r / 16][g][r % 16] = check_scale(&seed);
    }
    for (int t = 0; t < TOKS; t++)
        for (int k = 0; k < COLS; k++) {
            q[t][k] = (int8_t)((int)(test_rand(&seed) % 255) - 127);
            bsum[t][k / 16] += q[t][k];
            sum[t] += q[t][k];
            d[t][k / 32] = 0.25f;
        }
    float y[TOKS][ROWS];
    tern_mm mm = {.w = w,
                  .w_stride = PAD * 4,
                  .rows = ROWS,
                  .cols = COLS,
                  .group = 32,
                  .scale = scale,
                  .gscale = &gscale[0][0][0],
                  .n_tok = TOKS,
                  .y = &y[0][0],
                  .y_stride = ROWS};
    mm.act = (tern_act8){&q[0][0], PAD, s, sum};
    tern_mm_t2r16_ref(&mm, 0, ROWS);
    for (int t = 0; t < TOKS; t++)
        for (int r = 0; r < ROWS; r++) {
            int acc = 0;
            for (int k = 0; k < COLS; k++)
                acc += (codes[r][k] - 1) * q[t][k];
            assert_true(y[t][r] == (float)acc / s[t] * scale[r]);
        }
    mm.act = (tern_act8){&q[0][0], PAD, &d[0][0], &bsum[0][0]};
    tern_mm_t2g_ref(&mm, 0, ROWS);
    for (int t = 0; t < TOKS; t++)
        for (int r = 0; r < ROWS; r++) {
            double want = 0, size = 0;
            for (int k = 0; k < COLS; k++) {
                double term =
                    (codes[r][k] - 1) * q[t][k] * 0.25 * (double)gscale[r / 16][k / 32][r % 16];
                want += term;
                size += fabs(term);
            }
            /* Four groups: at most eight roundings of a partial sum. */
            assert_true(fabs((double)y[t][r] - want) <= 8 * 0x1p-24 * size);
        }
}

/* ---- stripes ------------------------------------------------------------------------------ */

static void stripes(void **state)
{
    (void)state;
    for (int i = 0; i < N(all_cols); i++) {
        size_t pad = up((size_t)all_cols[i], 64);
        uint32_t seed = (uint32_t)i;
        check_buf codes = check_buf_new(16 * pad, 64), back = check_buf_new(16 * pad, 64);
        check_buf stripe = check_buf_new(tern_t2_stripe_bytes(all_cols[i]), 64);
        check_fill_codes(codes.p, codes.n, CHECK_RANDOM, true, &seed);
        assert_int_equal(stripe.n, pad * 4);
        tern_t2_pack_stripe(codes.p, pad, all_cols[i], stripe.p);
        const uint8_t *c = codes.p, *s = stripe.p;
        for (size_t r = 0; r < 16; r++)
            for (size_t k = 0; k < pad; k++) /* the picture in kernel.h */
                assert_int_equal(s[k / 16 * 64 + 4 * r + k % 4] >> (2 * (k / 4 % 4)) & 3,
                                 c[r * pad + k]);
        tern_t2_unpack_stripe(stripe.p, all_cols[i], back.p, pad);
        assert_memory_equal(back.p, codes.p, codes.n);
        assert_true(check_buf_intact(&back) && check_buf_intact(&stripe));
        check_buf_free(&codes);
        check_buf_free(&back);
        check_buf_free(&stripe);
    }
    assert_int_equal(tern_t2_bytes(17, 65), 2 * 128 * 4 + 64);
}

/* ---- quantisers --------------------------------------------------------------------------- */

static void quant_case(tern_op op, const check_case *c, uint32_t seed)
{
    bool blocks = op == TERN_OP_QUANT_A8B;
    size_t pad = up((size_t)c->cols, 64), stride = pad + 64, toks = (size_t)c->toks;
    size_t n_scale = blocks ? stride / 32 : 1, n_sum = blocks ? stride / 16 : 1;
    check_buf x = check_buf_new(toks * pad * sizeof(float), 64);
    memset(x.p, 0, x.n);
    for (size_t t = 0; t < toks; t++)
        check_fill_f32((float *)x.p + t * pad, (size_t)c->cols, c->fill, &seed);
    check_buf q[2], d[2], sum[2];
    for (int i = 0; i < 2; i++) {
        q[i] = check_buf_new(toks * stride, 64);
        d[i] = check_buf_new(toks * n_scale * sizeof(float), 4);
        sum[i] = check_buf_new(toks * n_sum * sizeof(int32_t), 4);
    }
    tern_quant job = {.x = x.p, .x_stride = pad, .cols = c->cols};
    job.act = (tern_act8){q[0].p, stride, d[0].p, sum[0].p};
    ((tern_quant_fn)check_ref(op)->fn)(&job, 0, c->toks);
    job.act = (tern_act8){q[1].p, stride, d[1].p, sum[1].p};
    for (const tern_kernel *k = NULL; (k = check_next(op, k)) != NULL;) {
        check_buf_reset(&q[1]);
        check_buf_reset(&d[1]);
        check_buf_reset(&sum[1]);
        int mid = c->toks / 2;
        ((tern_quant_fn)k->fn)(&job, mid, c->toks);
        ((tern_quant_fn)k->fn)(&job, 0, mid);
        (void)(check_same(q[1].p, q[0].p, q[0].n, 1, k, c) &&
               check_same(d[1].p, d[0].p, d[0].n / 4, 4, k, c) &&
               check_same(sum[1].p, sum[0].p, sum[0].n / 4, 4, k, c));
        check_report(check_buf_intact(&q[1]) && check_buf_intact(&d[1]) &&
                         check_buf_intact(&sum[1]),
                     k, c, "wrote outside its buffers");
    }
    check_buf_free(&x);
    for (int i = 0; i < 2; i++) {
        check_buf_free(&q[i]);
        check_buf_free(&d[i]);
        check_buf_free(&sum[i]);
    }
}

static void quantisers(void **state)
{
    (void)state;
    static const tern_op ops[] = {TERN_OP_QUANT_A8T, TERN_OP_QUANT_A8B};
    for (int o = 0; o < 2; o++)
        for (int i = 0; i < N(all_cols); i++)
            for (int toks = 1; toks <= 3; toks++)
                for (int f = 0; f < CHECK_FILL_COUNT; f++) {
                    check_case c = {.cols = all_cols[i], .toks = toks, .fill = (check_fill)f};
                    if (check_wanted(NULL, &c))
                        quant_case(ops[o], &c, (uint32_t)(i + f));
                }
    check_done();
}

/* Not a number, infinities, values whose inverse overflows, ties: what kernel.h says of them. */
static void quantise_odd_values(void **state)
{
    (void)state;
    static const struct {
        float x[4];
        int8_t a8t[4], a8b[4];
    } odd[] = {
        {{NAN, 1, -1, 0.5f}, {-127, 127, -127, 64}, {-127, 127, -127, 64}},
        {{INFINITY, 1, 0, -INFINITY}, {-127, 0, 0, -127}, {-127, 0, 0, -127}},
        {{1e-37f, -1e-37f, 0, 1e-40f}, {0, 0, 0, 0}, {0, 0, 0, 0}},
        {{127, 0.5f, 1.5f, -2.5f}, {127, 0, 2, -2}, {127, 0, 2, -2}},
        {{1e-5f, -1e-5f, 2e-6f, 0}, {127, -127, 25, 0}, {127, -127, 25, 0}},
        {{1e-6f, 0, 0, 0}, {13, 0, 0, 0}, {127, 0, 0, 0}},
        {{3e38f, -3e38f, 1, 0}, {127, -127, 0, 0}, {127, -127, 0, 0}},
    };
    size_t n;
    const tern_kernel *all = tern_kernel_all(&n);
    for (const tern_kernel *k = all; k < all + n; k++) {
        bool blocks = k->op == TERN_OP_QUANT_A8B;
        if ((!blocks && k->op != TERN_OP_QUANT_A8T) || k->needs & ~tern_cpu_detect())
            continue;
        for (int i = 0; i < N(odd); i++) {
            _Alignas(64) float x[64] = {0};
            _Alignas(64) int8_t q[64];
            float d[2];
            int32_t sum[4];
            memcpy(x, odd[i].x, sizeof odd[i].x);
            tern_quant job = {.x = x, .x_stride = 64, .cols = 4, .act = {q, 64, d, sum}};
            ((tern_quant_fn)k->fn)(&job, 0, 1);
            assert_memory_equal(q, blocks ? odd[i].a8b : odd[i].a8t, 4);
            for (int j = 4; j < 64; j++)
                assert_int_equal(q[j], 0);
        }
    }
}

/* The vectors of the format specification, made by other software. */
static void quantise_vectors(void **state)
{
    (void)state;
    static const struct {
        int n;
        float x[8];
        uint32_t s; /* bits */
        int8_t q[8];
    } v[] = {
        {8,
         {127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -127, 3.49f},
         0x3f800000,
         {127, 0, 2, 2, 0, -2, -127, 3}},
        {4, {0, 0, 0, 0}, 0x4b41c960, {0, 0, 0, 0}},
        {4, {1e-6f, -1e-6f, 5e-6f, 0}, 0x4b41c960, {13, -13, 64, 0}},
        {4, {0.1f, -0.2f, 0.3f, -0.4f}, 0x439ec000, {32, -64, 95, -127}},
    };
    for (int i = 0; i < N(v); i++) {
        _Alignas(64) float x[64] = {0};
        _Alignas(64) int8_t q[64];
        float s;
        uint32_t bits;
        int32_t sum;
        memcpy(x, v[i].x, sizeof v[i].x);
        tern_quant job = {.x = x, .x_stride = 64, .cols = v[i].n, .act = {q, 64, &s, &sum}};
        tern_quant_a8t_ref(&job, 0, 1);
        memcpy(&bits, &s, sizeof bits);
        assert_int_equal(bits, v[i].s);
        assert_memory_equal(q, v[i].q, sizeof v[i].q);
    }
}

/* x = 128 values, W = 2 rows of 128 trits, w_scale 0.5: from floats to y. */
static void linear_vector(void **state)
{
    (void)state;
    static const uint32_t want[2] = {0x3f4b6310, 0xbe21193d};
    _Alignas(64) float x[128], y[2], scale[16] = {0.5f, 0.5f}, s;
    _Alignas(64) int8_t q[128];
    _Alignas(64) uint8_t w[128 * 4 + 64];
    static uint8_t codes[16][128];
    int32_t sum;
    uint32_t seed = 7, bits;
    for (int i = 0; i < 128; i++)
        x[i] = (float)((int)(test_rand(&seed) % 2001) - 1000) / 1000;
    seed = 1;
    memset(codes, 1, sizeof codes);
    for (int i = 0; i < 256; i++)
        codes[i / 128][i % 128] = (uint8_t)(test_rand(&seed) % 3);
    tern_t2_pack_stripe(codes[0], 128, 128, w);
    tern_quant job = {.x = x, .x_stride = 128, .cols = 128, .act = {q, 128, &s, &sum}};
    tern_mm mm = {.w = w,
                  .w_stride = 512,
                  .rows = 2,
                  .cols = 128,
                  .scale = scale,
                  .act = job.act,
                  .n_tok = 1,
                  .y = y,
                  .y_stride = 2};
    tern_quant_a8t_ref(&job, 0, 1);
    memcpy(&bits, &s, sizeof bits);
    assert_int_equal(bits, 0x42fe4117);
    assert_int_equal(test_crc32(q, 128), 0xfcdaf9eb);
    assert_int_equal(sum, -1135);
    tern_mm_t2r16_ref(&mm, 0, 2);
    assert_memory_equal(y, want, sizeof want);
}

int main(int argc, char **argv)
{
    check_args(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mm_t2r16),         cmocka_unit_test(mm_t2g),

        cmocka_unit_test(largest_sums),     cmocka_unit_test(batch_equals_one),
        cmocka_unit_test(references),       cmocka_unit_test(stripes),
        cmocka_unit_test(quantisers),       cmocka_unit_test(quantise_odd_values),
        cmocka_unit_test(quantise_vectors), cmocka_unit_test(linear_vector),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
