/* Base-3 matrix products, their layout, and the panels batches are multiplied with. */
#include <stdlib.h>
#include <string.h>

#include "support/check.h"

#define N(a) ((int)(sizeof(a) / sizeof(a)[0]))

static size_t up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* ---- the layout --------------------------------------------------------------------------- */

/* The number of each byte's five trits by the picture in kernel.h, in whole numbers. */
static int number_of(const uint8_t *codes, size_t stride, int cols, int b, int r, int j)
{
    int v = 0;
    for (int n = 0; n < 5; n++) {
        int c = 20 * b + 4 * n + j;
        v = 3 * v + (c < cols ? codes[(size_t)r * stride + (size_t)c] : 1);
    }
    return v;
}

static void stripes(void **state)
{
    (void)state;
    static const int all_cols[] = {1, 3, 4, 19, 20, 21, 39, 40, 64, 100, 1280, 2563};
    for (int i = 0; i < N(all_cols); i++) {
        int cols = all_cols[i];
        size_t stride = (size_t)cols + (size_t)i % 3;
        uint32_t seed = (uint32_t)i;
        check_buf codes = check_buf_new(15 * stride + (size_t)cols, 1);
        check_buf back = check_buf_new(codes.n, 1);
        check_buf stripe = check_buf_new(tern_t3_stripe_bytes(cols), 64);
        assert_int_equal(stripe.n, (cols + 19) / 20 * 64);
        check_fill_codes(codes.p, codes.n, i == 4 ? CHECK_MINUS : CHECK_RANDOM, false, &seed);
        tern_t3_pack_stripe(codes.p, stride, cols, stripe.p);
        for (int k = 0; k < (int)stripe.n; k++) {
            int v = number_of(codes.p, stride, cols, k / 64, k % 64 / 4, k % 4);
            int p = ((uint8_t *)stripe.p)[k];
            assert_int_equal(p, v == 0 ? 1 : (256 * v + 242) / 243);
            for (int n = 0, of = 81; n < 5; n++, of /= 3) { /* what every kernel relies on */
                assert_int_equal((3 * p - 3 * p % 256) / 256, v / of % 3);
                p = 3 * p % 256;
                assert_int_not_equal(p, 0);
            }
        }
        tern_t3_unpack_stripe(stripe.p, cols, back.p, stride);
        for (size_t r = 0; r < 16; r++)
            assert_memory_equal((uint8_t *)back.p + r * stride, (uint8_t *)codes.p + r * stride,
                                (size_t)cols);
        assert_true(check_buf_intact(&back) && check_buf_intact(&stripe));
        check_buf_free(&codes);
        check_buf_free(&back);
        check_buf_free(&stripe);
    }
    assert_int_equal(tern_t3_bytes(17, 21), 2 * 2 * 64 + 64);
}

/* Each of the 243 numbers as its byte. */
static void numbers(void **state)
{
    (void)state;
    uint8_t codes[5 * 64], row[64];
    for (int v0 = 0; v0 < 243; v0 += 64) {
        for (int n = 0; n < 5; n++)
            for (int b = 0; b < 64; b++)
                codes[64 * n + b] = (uint8_t)((v0 + b) % 243 / (int[]){81, 27, 9, 3, 1}[n] % 3);
        tern_t3r1_pack_row(codes, sizeof codes, row);
        for (int b = 0; b < 64; b++) {
            int v = (v0 + b) % 243;
            assert_int_equal(row[b], v == 0 ? 1 : (256 * v + 242) / 243);
        }
    }
}

/* ---- one matrix with activations ---------------------------------------------------------- */

typedef struct fixture {
    tern_mm mm;
    check_buf w, scale, q, act_scale, sum, scratch, want, got;
} fixture;

static void fill_weights(fixture *f, const check_case *c, tern_op op, uint32_t *seed)
{
    bool t3 = op == TERN_OP_MM_T3R16;
    size_t n_stripe = up((size_t)c->rows, 16) / 16, pad = up((size_t)c->cols, 64);
    f->mm.w_stride = t3 ? tern_t3_stripe_bytes(c->cols) : tern_t2_stripe_bytes(c->cols);
    f->w = check_buf_new(n_stripe * f->mm.w_stride + 64, 64);
    uint8_t *codes = malloc(16 * pad);
    for (size_t s = 0; s < n_stripe; s++) {
        memset(codes, 1, 16 * pad);
        for (size_t r = 0; r < 16 && 16 * s + r < (size_t)c->rows; r++)
            check_fill_codes(codes + r * pad, (size_t)c->cols, c->fill, false, seed);
        (t3 ? tern_t3_pack_stripe : tern_t2_pack_stripe)(codes, pad, c->cols,
                                                         (uint8_t *)f->w.p + s * f->mm.w_stride);
    }
    free(codes);
    f->scale = check_buf_new(n_stripe * 16 * sizeof(float), 64);
    for (size_t i = 0; i < n_stripe * 16; i++)
        ((float *)f->scale.p)[i] = check_scale(seed);
    f->mm.w = f->w.p;
    f->mm.scale = f->scale.p;
}

/* Activations end at a guard page; their stride is wider than need be for odd cases. */
static void fixture_init(fixture *f, const check_case *c, tern_op op, uint32_t *seed)
{
    size_t toks = (size_t)c->toks, stride = up((size_t)c->cols, 64) + (size_t)(c->rows % 2 * 64);
    *f = (fixture){
        .mm = {.rows = c->rows, .cols = c->cols, .n_tok = c->toks, .y_stride = (size_t)c->rows}};
    fill_weights(f, c, op, seed);
    f->q = check_buf_new(toks * stride, 64);
    f->act_scale = check_buf_new(toks * sizeof(float), 4);
    f->sum = check_buf_new(toks * sizeof(int32_t), 4);
    memset(f->q.p, 0, f->q.n);
    for (size_t t = 0; t < toks; t++) {
        int8_t *q = (int8_t *)f->q.p + t * stride;
        int32_t sum = 0;
        check_fill_i8(q, (size_t)c->cols, c->fill, seed);
        for (int i = 0; i < c->cols; i++)
            sum += q[i];
        ((int32_t *)f->sum.p)[t] = sum;
        ((float *)f->act_scale.p)[t] = check_scale(seed);
    }
    f->mm.act = (tern_act8){f->q.p, stride, f->act_scale.p, f->sum.p};
    f->scratch = check_buf_new(tern_mm_scratch_bytes(c->cols, c->toks), 64);
    f->want = check_buf_new((size_t)c->rows * toks * sizeof(float), 4);
    f->got = check_buf_new((size_t)c->rows * toks * sizeof(float), 4);
    f->mm.scratch = f->scratch.p;
}

static void fixture_done(fixture *f)
{
    check_buf *all[] = {&f->w,   &f->scale,   &f->q,    &f->act_scale,
                        &f->sum, &f->scratch, &f->want, &f->got};
    for (int i = 0; i < N(all); i++)
        check_buf_free(all[i]);
}

static void run(const fixture *f, const tern_kernel *kernel, const check_buf *y, int row0, int row1)
{
    tern_mm k = f->mm;
    k.y = y->p;
    ((tern_mm_fn)kernel->fn)(&k, row0, row1);
}

/* The whole matrix at once, then a part into a buffer that was wiped in between, in which rows nobody
 * asked for must stay as they were. */
static void compare(fixture *f, const tern_kernel *k, const check_case *c)
{
    size_t n = (size_t)c->rows * (size_t)c->toks;
    check_buf_reset(&f->got);
    run(f, k, &f->got, 0, c->rows);
    bool same = check_same(f->got.p, f->want.p, n, sizeof(float), k, c);
    if (same && c->rows > 16) {
        int mid = c->rows / 2 / 16 * 16, end = c->rows - 1;
        bool kept = true;
        check_buf_reset(&f->got);
        run(f, k, &f->got, mid, end);
        for (int t = 0; t < c->toks; t++)
            for (int r = 0; r < c->rows; r++) {
                static const uint8_t canary[4] = {0xc5, 0xc5, 0xc5, 0xc5};
                size_t at = ((size_t)t * (size_t)c->rows + (size_t)r) * sizeof(float);
                kept = kept &&
                       memcmp((uint8_t *)f->got.p + at,
                              r < mid || r >= end ? canary : (uint8_t *)f->want.p + at, 4) == 0;
            }
        check_report(kept, k, c, "rows [row0, row1) are wrong or others were written");
    }
    check_report(check_buf_intact(&f->got) && check_buf_intact(&f->scratch), k, c,
                 "wrote outside its buffers");
}

static void case_of(tern_op op, const check_case *c, uint32_t seed)
{
    fixture f;
    if (!check_wanted(NULL, c))
        return;
    fixture_init(&f, c, op, &seed);
    run(&f, check_ref(op), &f.want, 0, c->rows);
    for (const tern_kernel *k = NULL; (k = check_next(op, k)) != NULL;)
        compare(&f, k, c);
    fixture_done(&f);
}

static void mm_t3r16(void **state)
{
    (void)state;
    static const int rows[] = {1, 16, 33, 100};
    static const int cols[] = {1,  4,  15, 16, 19,  20,  21,  39,  40,  41,  60,  63,
                               64, 65, 79, 80, 100, 127, 128, 129, 160, 640, 700, 1300};
    for (int r = 0; r < N(rows); r++)
        for (int i = 0; i < N(cols); i++)
            for (int toks = 1; toks <= 14; toks++)
                for (int fill = 0; fill < CHECK_FILL_COUNT; fill++) {
                    check_case c = {rows[r], cols[i], toks, (check_fill)fill};
                    if ((long)c.rows * c.cols * toks > 60000 && (c.rows != 33 || toks % 4 != 1))
                        continue;
                    if (c.fill == CHECK_RANDOM || (c.rows == 33 && toks % 3 == 1))
                        case_of(TERN_OP_MM_T3R16, &c, (uint32_t)(i + toks));
                }
    check_done();
}

/* More tokens than a block of sums holds, and more columns than a panel. */
static void many_tokens(void **state)
{
    (void)state;
    static const tern_op ops[] = {TERN_OP_MM_T3R16, TERN_OP_MM_T2R16};
    for (int o = 0; o < N(ops); o++) {
        check_case c = {.rows = 17, .cols = 21, .toks = 1031, .fill = CHECK_RANDOM};
        case_of(ops[o], &c, 1);
        c = (check_case){.rows = 49, .cols = 2565, .toks = 33, .fill = CHECK_RANDOM};
        case_of(ops[o], &c, 2);
    }
    check_done();
}

/* Sums as large as they get, at the largest number of columns, against plain arithmetic: here 256 times a sum needs
 * all 32 bits, and 16-bit sums would wrap. */
static void largest_sums(void **state)
{
    (void)state;
    static const int all_cols[] = {6912, 1 << 16};
    for (int i = 0; i < 2 * N(all_cols); i++)
        for (int toks = 1; toks <= 9; toks += toks < 4 ? 1 : 5) {
            int cols = all_cols[i / 2], x = i % 2 ? -127 : 127;
            for (int fill = CHECK_MINUS; fill <= CHECK_PLUS; fill += CHECK_PLUS - CHECK_MINUS) {
                check_case c = {.rows = 17, .cols = cols, .toks = toks, .fill = (check_fill)fill};
                uint32_t seed = 1;
                fixture f;
                fixture_init(&f, &c, TERN_OP_MM_T3R16, &seed);
                for (int t = 0; t < toks; t++) {
                    memset((int8_t *)f.q.p + (size_t)t * f.mm.act.stride, x, (size_t)cols);
                    f.mm.act.sum[t] = cols * x;
                    for (int r = 0; r < 17; r++)
                        ((float *)f.want.p)[17 * t + r] =
                            (float)(fill == CHECK_MINUS ? -cols * x : cols * x) /
                            f.mm.act.scale[t] * ((float *)f.scale.p)[r];
                }
                compare(&f, check_ref(TERN_OP_MM_T3R16), &c);
                for (const tern_kernel *k = NULL; (k = check_next(TERN_OP_MM_T3R16, k)) != NULL;)
                    compare(&f, k, &c);
                fixture_done(&f);
            }
        }
    check_done();
}

/* The reference, by other loops: codes kept apart. */
static void reference(void **state)
{
    (void)state;
    enum { ROWS = 19, COLS = 107, PAD = 128, TOKS = 2 };
    static uint8_t codes[32][COLS], w[2 * 6 * 64 + 64];
    static int8_t q[TOKS][PAD];
    float scale[32], s[TOKS] = {3.5f, 0.125f}, y[TOKS][ROWS];
    int32_t sum[TOKS] = {0};
    uint32_t seed = 3;
    memset(codes, 1, sizeof codes);
    for (int r = 0; r < ROWS; r++)
        for (int k = 0; k < COLS; k++)
            codes[r][k] = (uint8_t)(test_rand(&seed) % 3);
    for (int i = 0; i < 2; i++)
        tern_t3_pack_stripe(codes[16 * i], COLS, COLS, w + (size_t)i * 6 * 64);
    for (int r = 0; r < 32; r++)
        scale[r] = check_scale(&seed);
    for (int t = 0; t < TOKS; t++)
        for (int k = 0; k < COLS; k++) {
            q[t][k] = (int8_t)((int)(test_rand(&seed) % 255) - 127);
            sum[t] += q[t][k];
        }
    tern_mm mm = {.w = w,
                  .w_stride = 6 * 64,
                  .rows = ROWS,
                  .cols = COLS,
                  .scale = scale,
                  .act = {&q[0][0], PAD, s, sum},
                  .n_tok = TOKS,
                  .y = &y[0][0],
                  .y_stride = ROWS};
    tern_mm_t3r16_ref(&mm, 0, ROWS);
    for (int t = 0; t < TOKS; t++)
        for (int r = 0; r < ROWS; r++) {
            int acc = 0;
            for (int k = 0; k < COLS; k++)
                acc += (codes[r][k] - 1) * q[t][k];
            assert_true(y[t][r] == (float)acc / s[t] * scale[r]);
        }
}

/* A row of one token equals the same row inside a batch. */
static void batch_equals_one(void **state)
{
    (void)state;
    check_case c = {.rows = 49, .cols = 647, .toks = 29, .fill = CHECK_RANDOM};
    uint32_t seed = 7;
    fixture f;
    fixture_init(&f, &c, TERN_OP_MM_T3R16, &seed);
    for (const tern_kernel *k = NULL; (k = check_next(TERN_OP_MM_T3R16, k)) != NULL;) {
        run(&f, k, &f.want, 0, c.rows);
        for (int t = 0; t < c.toks; t++) {
            fixture one = f;
            one.mm.n_tok = 1;
            one.mm.act.q += (size_t)t * f.mm.act.stride;
            one.mm.act.scale += t;
            one.mm.act.sum += t;
            run(&one, k, &f.got, 0, c.rows);
            check_same(f.got.p, (float *)f.want.p + t * c.rows, (size_t)c.rows, sizeof(float), k,
                       &c);
        }
    }
    fixture_done(&f);
    check_done();
}

/* ---- panels ------------------------------------------------------------------------------- */

#if defined(__x86_64__)
#include "kernels/x86/panel.h"

/* Matrix tiles in plain C: shapes as configured, and only they are read, written and multiplied. */
static struct {
    uint8_t row_bytes[8], rows[8];
    uint8_t at[8][16][64];
} tiles;

static void tile_config_set(const void *config)
{
    const uint8_t *c = config;
    assert_int_equal(c[0], 1);
    memset(&tiles, 0, sizeof tiles);
    for (int i = 0; i < 8; i++) {
        assert_true(c[16 + 2 * i] <= 64 && c[17 + 2 * i] == 0 && c[48 + i] <= 16);
        assert_int_equal(c[16 + 2 * i] == 0, c[48 + i] == 0);
        tiles.row_bytes[i] = c[16 + 2 * i];
        tiles.rows[i] = c[48 + i];
    }
}

static void tile_move(int n, const void *from, void *to, size_t stride)
{
    assert_int_not_equal(tiles.rows[n], 0);
    for (size_t r = 0; r < tiles.rows[n]; r++)
        if (to)
            memcpy((uint8_t *)to + r * stride, tiles.at[n][r], tiles.row_bytes[n]);
        else
            memcpy(tiles.at[n][r], (const uint8_t *)from + r * stride, tiles.row_bytes[n]);
}

static void tile_dot(int c, int a, int b)
{
    assert_true(tiles.rows[c] == tiles.rows[a] && tiles.row_bytes[c] == tiles.row_bytes[b] &&
                tiles.row_bytes[a] == 4 * tiles.rows[b] && tiles.rows[c] > 0);
    for (int m = 0; m < tiles.rows[c]; m++)
        for (int n = 0; n < tiles.row_bytes[c] / 4; n++) {
            int32_t sum;
            memcpy(&sum, tiles.at[c][m] + 4 * n, 4);
            for (int k = 0; k < tiles.rows[b]; k++)
                for (int j = 0; j < 4; j++)
                    sum += (int8_t)tiles.at[a][m][4 * k + j] * tiles.at[b][k][4 * n + j];
            memcpy(tiles.at[c][m] + 4 * n, &sum, 4);
        }
}

#define TILE_CONFIG(c)           tile_config_set(c)
#define TILE_ZERO(n)             memset(tiles.at[n], 0, sizeof tiles.at[n])
#define TILE_LOAD(n, p, stride)  tile_move(n, p, NULL, stride)
#define TILE_STORE(n, p, stride) tile_move(n, NULL, p, stride)
#define TILE_DOT(c, a, b)        tile_dot(c, a, b)
#define TILE_RELEASE()           memset(&tiles, 0, sizeof tiles)
#include "kernels/x86/panel_amx.h"

static void panel_emulated(const tern_panels *p)
{
    panel_tiles(p);
}

static void mm_t2r16_emulated(const tern_mm *k, int row0, int row1)
{
    tern_t2r16_batch_vnni(k, row0, row1, panel_emulated);
}

static void mm_t3r16_emulated(const tern_mm *k, int row0, int row1)
{
    tern_t3r16_batch_vnni(k, row0, row1, panel_emulated);
}

/* The products of the table's AMX rows; there the instruction set may be missing. */
static void amx_emulated(void **state)
{
    (void)state;
    static const tern_kernel mm[] = {
        {TERN_OP_MM_T2R16, "mm_t2r16_emulated", TERN_ISA_AMX,
         TERN_CPU_AVX512 | TERN_CPU_AVX512_VNNI, (tern_any_fn)mm_t2r16_emulated},
        {TERN_OP_MM_T3R16, "mm_t3r16_emulated", TERN_ISA_AMX,
         TERN_CPU_AVX512 | TERN_CPU_AVX512_VNNI, (tern_any_fn)mm_t3r16_emulated},
    };
    static const int rows[] = {16, 33, 64}, cols[] = {1, 20, 63, 64, 65, 100, 640, 641, 1500};
    static const int toks[] = {1, 8, 16, 17, 31, 32, 33, 48, 129};
    for (int i = 0; i < N(rows) * N(cols) * N(toks); i++)
        for (int o = 0; o < N(mm); o++) {
            check_case c = {rows[i % N(rows)], cols[i / N(rows) % N(cols)],
                            toks[i / N(rows) / N(cols)], CHECK_RANDOM};
            uint32_t seed = (uint32_t)i;
            fixture f;
            if ((long)c.rows * c.cols * c.toks > 400000 || mm[o].needs & ~tern_cpu_detect() ||
                !check_wanted(mm[o].name, &c))
                continue;
            fixture_init(&f, &c, mm[o].op, &seed);
            run(&f, check_ref(mm[o].op), &f.want, 0, c.rows);
            compare(&f, &mm[o], &c);
            fixture_done(&f);
        }
    if (!(mm[0].needs & ~tern_cpu_detect()))
        check_done();
}

static const tern_kernel panel_rows[] = {
    {TERN_OP_MM_T3R16, "panel_avx2", TERN_ISA_AVX2, TERN_CPU_AVX2, (tern_any_fn)tern_panel_avx2},
    {TERN_OP_MM_T3R16, "panel_avxvnni", TERN_ISA_AVXVNNI, TERN_CPU_AVX_VNNI,
     (tern_any_fn)tern_panel_avxvnni},
    {TERN_OP_MM_T3R16, "panel_vnni", TERN_ISA_VNNI, TERN_CPU_AVX512_VNNI,
     (tern_any_fn)tern_panel_vnni},
    {TERN_OP_MM_T3R16, "panel_emulated", TERN_ISA_AMX, 0, (tern_any_fn)panel_emulated},
#if defined(TERN_AMX)
    {TERN_OP_MM_T3R16, "panel_amx", TERN_ISA_AMX, TERN_CPU_AMX_INT8, (tern_any_fn)tern_panel_amx},
#endif
};

/* Case: rows is 16 times the panels, cols 4 times the quads. */
static void panel_case(const check_case *c, bool add, uint32_t seed)
{
    size_t n_panel = (size_t)c->rows / 16, n_quad = (size_t)c->cols / 4, toks = (size_t)c->toks;
    size_t w_stride = (n_quad + 1) * 64, q_stride = n_quad * 4 + 4, acc_stride = n_panel * 16 + 3;
    size_t n_acc = (toks - 1) * acc_stride + n_panel * 16;
    check_buf w = check_buf_new((n_panel - 1) * w_stride + n_quad * 64, 64);
    check_buf q = check_buf_new((toks - 1) * q_stride + n_quad * 4, 4);
    check_buf want = check_buf_new(n_acc * 4, 4), got = check_buf_new(n_acc * 4, 4);
    check_fill_codes(w.p, w.n, c->fill, true, &seed);
    check_fill_i8(q.p, q.n, c->fill, &seed);
    int32_t *sums = want.p;
    for (size_t t = 0; t < toks; t++)
        for (size_t r = 0; r < n_panel * 16; r++) {
            const uint8_t *p = (uint8_t *)w.p + r / 16 * w_stride + r % 16 * 4;
            const int8_t *x = (int8_t *)q.p + t * q_stride;
            int64_t sum = add ? sums[t * acc_stride + r] : 0;
            for (size_t k = 0; k < n_quad * 4; k++)
                sum += p[k / 4 * 64 + k % 4] * x[k];
            sums[t * acc_stride + r] = (int32_t)sum;
        }
    for (int i = 0; i < N(panel_rows); i++) {
        const tern_kernel *k = &panel_rows[i];
        if (k->needs & ~tern_cpu_detect() || !check_wanted(k->name, c) ||
            (k->isa == TERN_ISA_AMX && n_quad % 16 != 0))
            continue;
        check_buf_reset(&got); /* canaries are also what is added to */
        tern_panels p = {w.p,      w_stride, (int)n_panel, (int)n_quad, q.p,
                         q_stride, c->toks,  got.p,        acc_stride,  add};
        ((tern_panel_fn *)k->fn)(&p);
        (void)check_same(got.p, want.p, n_acc, 4, k, c);
        check_report(check_buf_intact(&got), k, c, "wrote outside its buffers");
    }
    check_buf_free(&w);
    check_buf_free(&q);
    check_buf_free(&want);
    check_buf_free(&got);
}

static void panels(void **state)
{
    (void)state;
    static const int rows[] = {16, 32, 48}, quads[] = {1, 5, 16, 32, 33, 160, 336};
    for (int r = 0; r < N(rows); r++)
        for (int q = 0; q < N(quads); q++)
            for (int toks = 1; toks <= 40; toks += toks < 26 ? 1 : 7)
                for (int f = 0; f < CHECK_FILL_COUNT; f += toks < 14 ? 1 : CHECK_FILL_COUNT) {
                    check_case c = {rows[r], 4 * quads[q], toks, (check_fill)f};
                    if ((quads[q] < 100 || toks % 6 == 1) && check_wanted(NULL, &c))
                        panel_case(&c, (toks + q) % 2, (uint32_t)(toks + q));
                }
    check_done();
}
#endif

int main(int argc, char **argv)
{
    check_args(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stripes),
        cmocka_unit_test(numbers),
        cmocka_unit_test(reference),
        cmocka_unit_test(mm_t3r16),
        cmocka_unit_test(many_tokens),
        cmocka_unit_test(largest_sums),
        cmocka_unit_test(batch_equals_one),
#if defined(__x86_64__)
        cmocka_unit_test(panels),
        cmocka_unit_test(amx_emulated),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
