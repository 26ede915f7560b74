/* Products of the row-major and column-major ternary layouts, of which some rows or columns are left
 * out, and the lists that say which. Every variant must equal its reference bit for bit, in what it
 * writes and in what it leaves alone; the references are held against plain sums written here. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"

#define N(a) ((int)(sizeof(a) / sizeof(a)[0]))

static size_t up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* ---- one matrix with activations ---------------------------------------------------------- */

/* Column-major, else row-major. */
static bool by_cols(tern_op op)
{
    return tern_layout_of(op)->listed == TERN_LISTED_COLS;
}

/* What the first row of a product is a multiple of. */
static int grain(tern_op op)
{
    return tern_layout_of(op)->grain;
}

typedef struct fixture {
    tern_mm mm;
    tern_op op;
    uint8_t *codes; /* [rows][cols], owned */
    check_buf w, scale, q, act_scale, sum, scratch, list, want, got;
} fixture;

static void pack(fixture *f)
{
    const tern_layout *to = tern_layout_of(f->op);
    int rows = f->mm.rows, cols = f->mm.cols;
    for (int r = 0, n; r < rows; r += n) {
        n = rows - r < to->unit ? rows - r : to->unit;
        to->pack(f->codes + (size_t)r * (size_t)cols, (size_t)cols, n, cols,
                 (uint8_t *)f->w.p + (size_t)(r / to->unit) * f->mm.w_stride);
    }
}

static void fill_acts(fixture *f, const check_case *c, uint32_t *seed)
{
    size_t stride = up((size_t)c->cols, 64), toks = (size_t)c->toks;
    f->q = check_buf_new(toks * stride, 64);
    f->act_scale = check_buf_new(toks * sizeof(float), 4);
    f->sum = check_buf_new(toks * sizeof(int32_t), 4);
    memset(f->q.p, 0, f->q.n);
    for (size_t t = 0; t < toks; t++) {
        int8_t *q = (int8_t *)f->q.p + t * stride;
        int32_t *sum = (int32_t *)f->sum.p + t;
        check_fill_i8(q, (size_t)c->cols, c->fill, seed);
        *sum = 0;
        for (int i = 0; i < c->cols; i++)
            *sum += q[i];
        ((float *)f->act_scale.p)[t] = check_scale(seed);
    }
    f->mm.act = (tern_act8){f->q.p, stride, f->act_scale.p, f->sum.p};
}

static void fixture_init(fixture *f, const check_case *c, tern_op op, uint32_t *seed)
{
    const tern_layout *layout = tern_layout_of(op);
    bool c1 = by_cols(op);
    size_t rows = (size_t)c->rows, cols = (size_t)c->cols;
    size_t pad_rows = up(rows, (size_t)layout->unit), out = rows * (size_t)c->toks;
    *f = (fixture){.op = op, .mm = {.rows = c->rows, .cols = c->cols, .n_tok = c->toks}};
    f->mm.w_stride = layout->unit_bytes(c->cols);
    f->mm.y_stride = f->mm.acc_stride = rows;
    f->codes = malloc(rows * cols);
    for (size_t r = 0; r < rows; r++)
        check_fill_codes(f->codes + r * cols, cols, c->fill, false, seed);
    f->w = check_buf_new(layout->bytes(c->rows, c->cols), 64);
    pack(f);
    f->scale = check_buf_new(pad_rows * sizeof(float), c1 ? 64 : 4);
    for (size_t i = 0; i < pad_rows; i++)
        ((float *)f->scale.p)[i] = check_scale(seed);
    fill_acts(f, c, seed);
    f->scratch = check_buf_new(tern_mm_scratch_bytes(c->cols, c->toks), 64);
    f->list =
        check_buf_new(((size_t)(c1 ? c->cols : c->rows) + TERN_LIST_PAD) * sizeof(int32_t), 4);
    f->want = check_buf_new(out * sizeof(float), 4);
    f->got = check_buf_new(out * sizeof(float), 4);
    f->mm.w = f->w.p;
    f->mm.scale = f->scale.p;
    f->mm.scratch = f->scratch.p;
}

static void fixture_done(fixture *f)
{
    check_buf *all[] = {&f->w,       &f->scale, &f->q,    &f->act_scale, &f->sum,
                        &f->scratch, &f->list,  &f->want, &f->got};
    for (int i = 0; i < N(all); i++)
        check_buf_free(all[i]);
    free(f->codes);
}

typedef enum list_kind { LIST_NULL, LIST_EMPTY, LIST_ONE, LIST_FEW, LIST_HALF, LIST_ALL } list_kind;
#define LIST_KINDS (LIST_ALL + 1)

/* Some of [i0, i1), rising, then others that do not matter. The list ends at the guard page. */
static void fill_list(fixture *f, list_kind kind, int i0, int i1, uint32_t *seed)
{
    static const int of_8[] = {[LIST_FEW] = 1, [LIST_HALF] = 4, [LIST_ALL] = 8};
    int32_t chosen[8192], n = 0;
    for (int i = i0; i < i1 && n < N(chosen); i++)
        if (kind >= LIST_FEW && (int)(test_rand(seed) % 8) < of_8[kind])
            chosen[n++] = i;
    if (kind == LIST_ONE)
        chosen[n++] = i0 + (int)(test_rand(seed) % (unsigned)(i1 - i0));
    size_t bytes = (size_t)(n + TERN_LIST_PAD) * sizeof(int32_t);
    int32_t *list = (int32_t *)((uint8_t *)f->list.p + f->list.n - bytes);
    memcpy(list, chosen, (size_t)n * sizeof(int32_t));
    for (int i = n; i < n + TERN_LIST_PAD; i++)
        list[i] = i0 + (int)(test_rand(seed) % (unsigned)(i1 - i0));
    f->mm.list = kind == LIST_NULL ? NULL : list;
    f->mm.n_list = kind == LIST_NULL ? 0 : n;
}

static void run(const fixture *f, const tern_kernel *kernel, const check_buf *out, bool acc,
                int row0, int row1)
{
    tern_mm k = f->mm;
    k.y = acc ? NULL : out->p;
    k.acc = acc ? out->p : NULL;
    ((tern_mm_fn)kernel->fn)(&k, row0, row1);
}

/* Rows [row0, row1) by every variant into wiped buffers: what nobody asked for stays as it was. */
static void compare(fixture *f, const check_case *c, bool acc, int row0, int row1)
{
    size_t n = (size_t)c->rows * (size_t)c->toks;
    check_buf_reset(&f->want);
    run(f, check_ref(f->op), &f->want, acc, row0, row1);
    for (const tern_kernel *k = NULL; (k = check_next(f->op, k)) != NULL;) {
        check_buf_reset(&f->got);
        run(f, k, &f->got, acc, row0, row1);
        check_same(f->got.p, f->want.p, n, sizeof(float), k, c);
        check_report(check_buf_intact(&f->got), k, c, "wrote outside its buffers");
    }
}

static void compare_lists(fixture *f, const check_case *c, uint32_t *seed)
{
    bool c1 = by_cols(f->op);
    for (int kind = 0; kind < LIST_KINDS; kind++) {
        if (c->fill != CHECK_RANDOM && kind != LIST_NULL && kind != LIST_HALF)
            continue;
        fill_list(f, (list_kind)kind, 0, c1 ? c->cols : c->rows, seed);
        compare(f, c, false, 0, c->rows);
        if (c1 && (kind == LIST_NULL || kind == LIST_HALF))
            compare(f, c, true, 0, c->rows);
        int row0 = c->rows / 2 / grain(f->op) * grain(f->op), row1 = c->rows - 1;
        if (row0 >= row1)
            continue;
        if (!c1)
            fill_list(f, (list_kind)kind, row0, row1, seed);
        compare(f, c, false, row0, row1);
        if (c1 && kind == LIST_FEW)
            compare(f, c, true, row0, row1);
    }
    check_report(check_buf_intact(&f->scratch), check_ref(f->op), c,
                 "a variant wrote outside its scratch");
}

/* ---- columns of each token's own ----------------------------------------------------------- */

/* About that many in 16 of the activations become 0, sums follow. */
static void thin_out(fixture *f, const check_case *c, unsigned share, uint32_t *seed)
{
    for (int t = 0; t < c->toks; t++) {
        int8_t *q = (int8_t *)f->q.p + (size_t)t * f->mm.act.stride;
        int32_t sum = 0;
        for (int i = 0; i < c->cols; i++) {
            if (test_rand(seed) % 16 < share)
                q[i] = 0;
            sum += q[i];
        }
        f->mm.act.sum[t] = sum;
    }
}

/* What is not 0, in buffers that end where the last list may. */
static void list_own(const fixture *f, const check_case *c, tern_own_cols *o, check_buf *n,
                     check_buf *list, check_buf *q)
{
    int parts = (c->cols + TERN_T2C1_PART - 1) / TERN_T2C1_PART;
    int last = ((c->cols - (parts - 1) * TERN_T2C1_PART) + 3) / 4 * 4;
    size_t stride = (size_t)parts * TERN_T2C1_PART,
           all = ((size_t)c->toks - 1) * stride + (size_t)((parts - 1) * TERN_T2C1_PART + last);
    *n = check_buf_new((size_t)(c->toks * parts) * sizeof(int32_t), 4);
    *list = check_buf_new(all * sizeof(int32_t), 4);
    *q = check_buf_new(all, 1);
    for (int t = 0; t < c->toks; t++)
        for (int p = 0; p < parts; p++) {
            const int8_t *act = (const int8_t *)f->q.p + (size_t)t * f->mm.act.stride;
            size_t at = (size_t)t * stride + (size_t)(p * TERN_T2C1_PART);
            int m = 0;
            for (int i = p * TERN_T2C1_PART; i < c->cols && i < (p + 1) * TERN_T2C1_PART; i++)
                if (act[i] != 0) {
                    ((int32_t *)list->p)[at + (size_t)m] = i;
                    ((int8_t *)q->p)[at + (size_t)m++] = act[i];
                }
            ((int32_t *)n->p)[t * parts + p] = m;
            for (; m % 4 != 0; m++) {
                ((int32_t *)list->p)[at + (size_t)m] = c->cols - 1;
                ((int8_t *)q->p)[at + (size_t)m] = 0;
            }
        }
    *o = (tern_own_cols){.n = n->p, .list = list->p, .q = q->p, .stride = stride, .n_part = parts};
}

/* Every variant with its own columns alone, against the reference with all of them. */
static void own_case(tern_op op, const check_case *c, unsigned share, uint32_t *seed)
{
    fixture f;
    tern_own_cols own;
    check_buf n, list, q;
    fixture_init(&f, c, op, seed);
    thin_out(&f, c, share, seed);
    list_own(&f, c, &own, &n, &list, &q);
    check_buf_reset(&f.want);
    run(&f, check_ref(f.op), &f.want, false, 0, c->rows);
    f.mm.own = &own;
    for (const tern_kernel *k = NULL; (k = check_next(f.op, k)) != NULL;)
        for (int half = 0; half < (c->rows > grain(op) ? 2 : 1); half++) {
            check_buf_reset(&f.got);
            run(&f, k, &f.got, false, 0, half ? grain(op) : c->rows);
            if (half)
                run(&f, k, &f.got, false, grain(op), c->rows);
            check_same(f.got.p, f.want.p, (size_t)c->rows * (size_t)c->toks, sizeof(float), k, c);
            check_report(check_buf_intact(&f.got), k, c, "wrote outside its buffers");
            check_report(check_buf_intact(&f.scratch), k, c, "wrote outside its scratch");
        }
    check_buf_free(&n);
    check_buf_free(&list);
    check_buf_free(&q);
    fixture_done(&f);
}

static void own_columns(void **state)
{
    (void)state;
    static const int rows[] = {1, 255, 256, 300, 520, 700},
                     cols[] = {1, 3, 64, 130, 1024, 1025, 2050}, toks[] = {1, 5, 24, 25};
    uint32_t seed = 11;
    for (int i = 0; i < N(rows) * N(cols) * N(toks); i++) {
        check_case c = {.rows = rows[i % N(rows)],
                        .cols = cols[i / N(rows) % N(cols)],
                        .toks = toks[i / (N(rows) * N(cols))],
                        .fill = i % 7 ? CHECK_RANDOM : CHECK_PLUS};
        for (unsigned share = 0; share <= 16; share += 8)
            if (share == 8 || (long)c.rows * c.cols * c.toks < 1000000) {
                own_case(TERN_OP_MM_T2C1, &c, share, &seed);
                own_case(TERN_OP_MM_T3C1, &c, share, &seed);
            }
    }
    check_done();
}

/* Every size of each dimension meets small ones of the others; large products are few. */
static bool left_out(const check_case *c, tern_op op)
{
    bool c1 = by_cols(op);
    long macs = (long)c->rows * c->cols * c->toks;
    if (macs > (c1 ? 100000 : 50000) &&
        !(c->rows == 257 && (c->toks <= 6 || c->toks == 33) && c->cols == 1030) &&
        !(c->rows == (c1 ? 300 : 130) && (c->toks == 13 || c->toks == 1)) &&
        !(c->rows == 130 && c->toks == 33 && c->cols == 700))
        return true;
    return c->fill != CHECK_RANDOM && (c->toks == 3 || c->toks > 5 || c->cols % 2 || c->rows < 17);
}

static void each_case(tern_op op)
{
    static const int r1_rows[] = {1, 3, 4, 5, 16, 17, 33, 130};
    static const int c1_rows[] = {1, 8, 17, 100, 255, 256, 257, 300, 511, 512, 513, 600, 1100};
    static const int t3_rows[] = {1, 8, 17, 100, 257, 300, 319, 320, 321, 639, 640, 641, 1300};
    static const int r1_cols[] = {1,   63,  64,  65,  100,  128,  191,  192,  193,
                                  255, 256, 257, 319, 320,  321,  385,  448,  512,
                                  577, 640, 641, 700, 1030, 1280, 2048, 2560, 4096};
    static const int c1_cols[] = {1,   2,   3,   4,   5,   7,   63,  64,  65,  100,
                                  127, 128, 129, 131, 255, 256, 257, 300, 520, 1030};
    static const int toks[] = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 33};
    bool c1 = by_cols(op);
    const int *rows = op == TERN_OP_MM_T3C1 ? t3_rows : c1 ? c1_rows : r1_rows;
    const int *cols = c1 ? c1_cols : r1_cols;
    int n_rows = c1 ? N(c1_rows) : N(r1_rows), n_cols = c1 ? N(c1_cols) : N(r1_cols);
    _Static_assert(N(c1_rows) == N(t3_rows), "as many for either");
    for (int i = 0; i < n_rows * n_cols * N(toks) * CHECK_FILL_COUNT; i++) {
        check_case c = {.rows = rows[i % n_rows],
                        .cols = cols[i / n_rows % n_cols],
                        .toks = toks[i / (n_rows * n_cols) % N(toks)],
                        .fill = (check_fill)(i / (n_rows * n_cols * N(toks)))};
        if (left_out(&c, op) || !check_wanted(NULL, &c))
            continue;
        uint32_t seed = (uint32_t)i;
        fixture f;
        fixture_init(&f, &c, op, &seed);
        compare_lists(&f, &c, &seed);
        fixture_done(&f);
    }
}

static void mm_t2r1(void **state)
{
    (void)state;
    each_case(TERN_OP_MM_T2R1);
    check_done();
}

static void mm_t3r1(void **state)
{
    (void)state;
    each_case(TERN_OP_MM_T3R1);
    check_done();
}

static void mm_t2c1(void **state)
{
    (void)state;
    each_case(TERN_OP_MM_T2C1);
    check_done();
}

static void mm_t3c1(void **state)
{
    (void)state;
    each_case(TERN_OP_MM_T3C1);
    check_done();
}

/* ---- the sums themselves ------------------------------------------------------------------ */

/* All weights +1 against the largest activation of either sign: where a narrow sum would wrap, or a
 * sum of scaled codes at the most columns a layout allows. */
static void largest_sums(void **state)
{
    (void)state;
    static const struct {
        tern_op op;
        check_case c;
    } cases[] = {{TERN_OP_MM_T2R1, {17, 6912, 1, CHECK_PLUS}},
                 {TERN_OP_MM_T2R1, {17, 6912, 6, CHECK_PLUS}},
                 {TERN_OP_MM_T2R1, {4, 262144, 1, CHECK_PLUS}},
                 {TERN_OP_MM_T3R1, {17, 6912, 2, CHECK_PLUS}},
                 {TERN_OP_MM_T3R1, {17, 6912, 5, CHECK_PLUS}},
                 {TERN_OP_MM_T3R1, {4, 32768, 1, CHECK_PLUS}},
                 {TERN_OP_MM_T3R1, {4, 32768, 13, CHECK_PLUS}},
                 {TERN_OP_MM_T2C1, {257, 6912, 1, CHECK_PLUS}},
                 {TERN_OP_MM_T2C1, {257, 6912, 13, CHECK_PLUS}},
                 {TERN_OP_MM_T2C1, {256, 65536, 1, CHECK_PLUS}},
                 {TERN_OP_MM_T3C1, {321, 6912, 1, CHECK_PLUS}},
                 {TERN_OP_MM_T3C1, {321, 6912, 13, CHECK_PLUS}},
                 {TERN_OP_MM_T3C1, {320, 32768, 1, CHECK_PLUS}},
                 {TERN_OP_MM_T3C1, {320, 32768, 3, CHECK_PLUS}}};
    static const int8_t extremes[] = {127, -128};
    for (int i = 0; i < N(cases) * 2; i++) {
        check_case c = cases[i / 2].c;
        int8_t x = extremes[i % 2];
        uint32_t seed = 1;
        fixture f;
        fixture_init(&f, &c, cases[i / 2].op, &seed);
        memset(f.q.p, x, f.q.n);
        for (int t = 0; t < c.toks; t++)
            f.mm.act.sum[t] = c.cols * x;
        for (int j = 0; j < c.rows * c.toks; j++)
            ((float *)f.want.p)[j] =
                (float)(c.cols * x) / f.mm.act.scale[j / c.rows] * f.mm.scale[j % c.rows];
        for (const tern_kernel *k = NULL; (k = check_next(f.op, k)) != NULL;) {
            run(&f, k, &f.got, false, 0, c.rows);
            check_same(f.got.p, f.want.p, (size_t)c.rows * (size_t)c.toks, sizeof(float), k, &c);
        }
        fixture_done(&f);
    }
    check_done();
}

/* A row of one token equals the same row inside a batch; sums of parts of a list add up. */
static void parts_equal_whole(void **state)
{
    (void)state;
    static const tern_op ops[] = {TERN_OP_MM_T2R1, TERN_OP_MM_T3R1, TERN_OP_MM_T2C1,
                                  TERN_OP_MM_T3C1};
    for (int o = 0; o < N(ops); o++) {
        bool c1 = by_cols(ops[o]);
        check_case c = {.rows = 400, .cols = 640, .toks = 33, .fill = CHECK_RANDOM};
        uint32_t seed = 7;
        fixture f;
        fixture_init(&f, &c, ops[o], &seed);
        fill_list(&f, LIST_HALF, 0, c1 ? c.cols : c.rows, &seed);
        for (const tern_kernel *k = NULL; (k = check_next(f.op, k)) != NULL;) {
            check_buf_reset(&f.want);
            run(&f, k, &f.want, false, 0, c.rows);
            for (int t = 0; t < c.toks; t++) {
                fixture one = f;
                one.mm.n_tok = 1;
                one.mm.act.q += (size_t)t * f.mm.act.stride;
                one.mm.act.scale += t;
                one.mm.act.sum += t;
                check_buf_reset(&f.got);
                run(&one, k, &f.got, false, 0, c.rows);
                check_same(f.got.p, (float *)f.want.p + t * c.rows, (size_t)c.rows, sizeof(float),
                           k, &c);
            }
            if (!c1)
                continue;
            memset(f.want.p, 0, f.want.n);
            memset(f.got.p, 0, f.got.n);
            run(&f, k, &f.want, true, 0, c.rows);
            fixture part = f;
            for (int at = 0, n; at < f.mm.n_list; at += n) {
                n = at == 0 ? 131 : f.mm.n_list - at;
                part.mm.list = f.mm.list + at;
                part.mm.n_list = n;
                run(&part, k, &f.got, true, 0, c.rows);
            }
            check_same(f.got.p, f.want.p, f.got.n / 4, 4, k, &c);
            /* And a product of no columns makes y of them. */
            run(&f, k, &f.want, false, 0, c.rows);
            part.mm.n_list = 0;
            part.mm.acc = f.got.p;
            check_buf y = check_buf_new(f.want.n, 4);
            part.mm.y = y.p;
            ((tern_mm_fn)k->fn)(&part.mm, 0, c.rows);
            check_same(y.p, f.want.p, y.n / 4, 4, k, &c);
            check_report(check_buf_intact(&y), k, &c, "wrote outside its buffers");
            check_buf_free(&y);
        }
        fixture_done(&f);
    }
    check_done();
}

/* The references, from the codes themselves. */
static void references(void **state)
{
    (void)state;
    static const tern_op ops[] = {TERN_OP_MM_T2R1, TERN_OP_MM_T3R1, TERN_OP_MM_T2C1,
                                  TERN_OP_MM_T3C1};
    for (int o = 0; o < N(ops); o++)
        for (int kind = 0; kind < LIST_KINDS; kind++) {
            bool c1 = by_cols(ops[o]);
            check_case c = {.rows = 325, .cols = 101, .toks = 2, .fill = CHECK_RANDOM};
            uint32_t seed = (uint32_t)kind;
            fixture f;
            fixture_init(&f, &c, ops[o], &seed);
            fill_list(&f, (list_kind)kind, 0, c1 ? c.cols : c.rows, &seed);
            bool in[2][325]; /* rows, columns */
            for (int d = 0; d < 2; d++)
                memset(in[d], d != c1 || kind == LIST_NULL, sizeof in[d]);
            for (int i = 0; i < f.mm.n_list; i++)
                in[c1][f.mm.list[i]] = true;
            check_buf_reset(&f.got);
            run(&f, check_ref(f.op), &f.got, false, 0, c.rows);
            for (int t = 0; t < c.toks; t++)
                for (int r = 0; r < c.rows; r++) {
                    const int8_t *q = f.mm.act.q + (size_t)t * f.mm.act.stride;
                    int sum = 0; /* trits: columns not listed are worth -q, for act.sum has them */
                    for (int i = 0; i < c.cols; i++)
                        sum += (f.codes[r * c.cols + i] * in[1][i] - 1) * q[i];
                    float want = (float)sum / f.mm.act.scale[t] * f.mm.scale[r];
                    if (!in[0][r])
                        memset(&want, 0xc5, sizeof want); /* the canary */
                    assert_memory_equal((float *)f.got.p + t * c.rows + r, &want, sizeof want);
                }
            fixture_done(&f);
        }
}

/* ---- layouts ------------------------------------------------------------------------------ */

/* A byte of four or five codes, the first of them at p and the others so many apart; those from end on are padding. */
static int byte_of_codes(bool base3, const uint8_t *p, const uint8_t *end, size_t apart)
{
    int v = 0;
    for (int n = 0; n < (base3 ? 5 : 4); n++) {
        int code = (size_t)n * apart < (size_t)(end - p) ? p[(size_t)n * apart] : 1;
        v = base3 ? 3 * v + code : v | code << (2 * n);
    }
    return !base3 ? v : v == 0 ? 1 : (256 * v + 242) / 243;
}

/* One row by the pictures in kernel.h, padding included, and unpacking as packing's inverse. */
static void row_layout(tern_op op, const uint8_t *codes, int n)
{
    bool t3 = op == TERN_OP_MM_T3R1;
    size_t span = t3 ? 320 : 256;
    check_buf row = check_buf_new(tern_layout_of(op)->unit_bytes(n), 64);
    check_buf back = check_buf_new((size_t)n, 1);
    assert_int_equal(row.n, up((size_t)n, span) / span * 64);
    (t3 ? tern_t3r1_pack_row : tern_t2r1_pack_row)(codes, n, row.p);
    for (size_t b = 0; b < row.n; b++) {
        size_t first = b / 64 * span + b % 64;
        const uint8_t *end = codes + n, *p = first < (size_t)n ? codes + first : end;
        assert_int_equal(((uint8_t *)row.p)[b], byte_of_codes(t3, p, end, 64));
    }
    (t3 ? tern_t3r1_unpack_row : tern_t2r1_unpack_row)(row.p, n, back.p);
    assert_memory_equal(back.p, codes, (size_t)n);
    assert_true(check_buf_intact(&back) && check_buf_intact(&row));
    check_buf_free(&back);
    check_buf_free(&row);
}

/* The same of rows [0, m) of a slice and n columns. */
static void slice_layout(tern_op op, const uint8_t *codes, size_t stride, int m, int n)
{
    bool t3 = op == TERN_OP_MM_T3C1;
    size_t size = (size_t)m * stride;
    check_buf slice = check_buf_new(tern_layout_of(op)->unit_bytes(n), 64);
    check_buf back = check_buf_new(size, 1);
    assert_int_equal(slice.n, up((size_t)n, 4) * 128);
    tern_layout_of(op)->pack(codes, stride, m, n, slice.p);
    for (int k = 0; k < (int)slice.n; k++) {
        int c = k / 128, b = k % 128;
        int first = grain(op) * (b / 64) + 16 * (b / 4 % 4) + 4 * (b / 16 % 4) + b % 4;
        const uint8_t *end = codes + size, *p = end;
        if (c < n && first < m)
            p = codes + (size_t)first * stride + c;
        assert_int_equal(((uint8_t *)slice.p)[k], byte_of_codes(t3, p, end, 64 * stride));
    }
    memcpy(back.p, codes, size); /* what lies between rows is not written */
    for (int r = 0; r < m; r++)
        memset((uint8_t *)back.p + (size_t)r * stride, 9, (size_t)n);
    (t3 ? tern_t3c1_unpack_slice : tern_t2c1_unpack_slice)(slice.p, m, n, back.p, stride);
    assert_memory_equal(back.p, codes, size);
    assert_true(check_buf_intact(&back) && check_buf_intact(&slice));
    check_buf_free(&back);
    check_buf_free(&slice);
}

static void layouts(void **state)
{
    (void)state;
    static const int cols[] = {1,   3,   4,   5,   31,  63,  64,  65,  100,
                               255, 256, 257, 319, 320, 321, 500, 640, 1030};
    static const int rows[] = {1,   2,   15,  63,  64,  65,  200, 255,
                               256, 257, 320, 511, 512, 513, 639, 640};
    for (int i = 0; i < N(cols) * N(rows); i++) {
        int n = cols[i / N(rows)], m = rows[i % N(rows)];
        size_t stride = (size_t)n + (size_t)(i % 3), size = (size_t)m * stride;
        uint32_t seed = (uint32_t)i;
        check_buf codes = check_buf_new(size, 1);
        check_fill_codes(codes.p, size, CHECK_RANDOM, false, &seed);
        row_layout(TERN_OP_MM_T2R1, codes.p, n);
        row_layout(TERN_OP_MM_T3R1, codes.p, n);
        if (m <= TERN_T2C1_ROWS)
            slice_layout(TERN_OP_MM_T2C1, codes.p, stride, m, n);
        slice_layout(TERN_OP_MM_T3C1, codes.p, stride, m, n);
        check_buf_free(&codes);
    }
    assert_int_equal(tern_t2r1_bytes(17, 257), 17 * 128 + 64);
    assert_int_equal(tern_t3r1_bytes(17, 321), 17 * 128 + 64);
    assert_int_equal(tern_t2c1_bytes(513, 5), 2 * 8 * 128 + 64);
    assert_int_equal(tern_t2c1_col_bytes(513), 2 * 128);
    assert_int_equal(tern_t3c1_bytes(641, 5), 2 * 8 * 128 + 64);
    assert_int_equal(tern_t3c1_col_bytes(641), 2 * 128);
}

/* ---- lists -------------------------------------------------------------------------------- */

static const float odd_floats[] = {0.0f, -0.0f, 1.0f, -1.0f, 1e-45f, -1e-45f, INFINITY, -INFINITY};

typedef struct list_case {
    check_buf x, out[2];
    size_t stride;
    int n_tok, i0, i1;
    bool f32;
} list_case;

static void fill_inputs(list_case *l, int of_8, uint32_t *seed)
{
    for (size_t i = 0; i < (size_t)l->n_tok * l->stride; i++) {
        bool active = (int)(test_rand(seed) % 8) < of_8;
        uint32_t r = test_rand(seed);
        if (!l->f32) /* single bits, the sign's among them */
            ((int8_t *)l->x.p)[i] = (int8_t)(active ? 1u << r % 8 : 0);
        else
            ((float *)l->x.p)[i] = !active      ? odd_floats[r % 2 ? 1 + 2 * (r / 2 % 4) : 0]
                                   : r % 9 == 8 ? NAN
                                                : odd_floats[2 + r % 3 * 2];
    }
}

static int run_list(const list_case *l, tern_any_fn fn, int32_t *out)
{
    if (l->f32)
        return ((tern_list_f32_fn)fn)(l->x.p, l->stride, l->n_tok, l->i0, l->i1, out);
    return ((tern_list_i8_fn)fn)(l->x.p, l->stride, l->n_tok, l->i0, l->i1, out);
}

static void compare_list(list_case *l, const check_case *c)
{
    tern_op op = l->f32 ? TERN_OP_LIST_F32 : TERN_OP_LIST_I8;
    int want = run_list(l, check_ref(op)->fn, l->out[0].p);
    for (const tern_kernel *k = NULL; (k = check_next(op, k)) != NULL;) {
        check_buf_reset(&l->out[1]);
        int got = run_list(l, k->fn, l->out[1].p);
        check_report(got == want, k, c, "length of the list");
        if (got == want)
            check_same(l->out[1].p, l->out[0].p, (size_t)want, sizeof(int32_t), k, c);
        check_report(check_buf_intact(&l->out[1]), k, c, "wrote outside its buffer");
    }
}

static void lists(void **state)
{
    (void)state;
    static const int cols[] = {0,  1,  3,  4,  7,  8,  9,   15,  16, 17,
                               31, 32, 33, 63, 64, 65, 100, 129, 700};
    static const int toks[] = {1, 2, 3, 5, 33};
    for (int i = 0; i < N(cols) * N(toks) * 2 * 9; i++) {
        check_case c = {.cols = cols[i % N(cols)], .toks = toks[i / N(cols) % N(toks)]};
        if (!check_wanted(NULL, &c))
            continue;
        uint32_t seed = (uint32_t)i;
        list_case l = {.n_tok = c.toks, .i0 = i % 3 * 16, .f32 = i / (N(cols) * N(toks)) % 2};
        l.i1 = l.i0 + c.cols;
        l.stride = (size_t)l.i1;
        l.x = check_buf_new((size_t)l.n_tok * l.stride * (l.f32 ? 4 : 1), l.f32 ? 4 : 1);
        for (int j = 0; j < 2; j++)
            l.out[j] = check_buf_new((size_t)(c.cols + 16) * sizeof(int32_t), 4);
        fill_inputs(&l, i / (N(cols) * N(toks) * 2), &seed);
        compare_list(&l, &c);
        check_buf_free(&l.x);
        for (int j = 0; j < 2; j++)
            check_buf_free(&l.out[j]);
    }
    check_done();
}

static void list_references(void **state)
{
    (void)state;
    const float x[2][6] = {{-1, 0, 1e-45f, -0.0f, -INFINITY, NAN}, {-1, 2, 0, 0, -3, 0}};
    const int8_t q[2][6] = {{0, 1, -128, 0, 0, 0}, {0, 0, 0, 0, -1, 0}};
    int32_t out[22];
    assert_int_equal(tern_list_f32_ref(x[0], 6, 1, 0, 6, out), 2);
    assert_memory_equal(out, ((int32_t[]){2, 5}), 8);
    assert_int_equal(tern_list_f32_ref(x[0], 6, 2, 0, 6, out), 3);
    assert_memory_equal(out, ((int32_t[]){1, 2, 5}), 12);
    assert_int_equal(tern_list_i8_ref(q[0], 6, 1, 0, 6, out), 2);
    assert_memory_equal(out, ((int32_t[]){1, 2}), 8);
    assert_int_equal(tern_list_i8_ref(q[0], 6, 2, 0, 6, out), 3);
    assert_memory_equal(out, ((int32_t[]){1, 2, 4}), 12);
}

int main(int argc, char **argv)
{
    check_args(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mm_t2r1),           cmocka_unit_test(mm_t3r1),
        cmocka_unit_test(mm_t2c1),           cmocka_unit_test(mm_t3c1),
        cmocka_unit_test(own_columns),       cmocka_unit_test(largest_sums),
        cmocka_unit_test(parts_equal_whole), cmocka_unit_test(references),
        cmocka_unit_test(layouts),           cmocka_unit_test(lists),
        cmocka_unit_test(list_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
