/* The load-time self check: the kernels this model will use, on this machine, against the
 * reference. Matrices are checked on the first rows of a real tensor, vector kernels on the model's
 * widths; all must agree bit for bit. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "model/exec.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* One token goes the matrix-vector way, this many the matrix-matrix way. */
#define BATCH 9
#define ROWS  16

typedef struct checker {
    tern_exec *e;
    tern_kernels ref;
    char *report;
    size_t cap, len;
    int n_mismatch;
    uint64_t rng;
} checker;

/* Uniform in [-4, 4): the range of normed activations. */
static float draw(checker *c)
{
    c->rng = c->rng * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(c->rng >> 40) / (double)(1 << 24) * 8.0 - 4.0);
}

static void fill(checker *c, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = draw(c);
}

static void verdict(checker *c, tern_op op, bool equal, const char *where)
{
    if (equal)
        return;
    c->n_mismatch++;
    if (c->len < c->cap) {
        int n = snprintf(c->report + c->len, c->cap - c->len,
                         "%skernel %s disagrees with the reference%s%s", c->len ? "; " : "",
                         c->e->k.chosen[op]->name, *where ? " on " : "", where);
        c->len += n > 0 ? (size_t)n : 0;
    }
    tern_kernels_fall_back(&c->e->k, op);
}

/* Bit for bit, but a NaN equals a NaN: weights may hold some, and which payload a sum of several
 * keeps is up to the order of an instruction's operands. */
static bool same(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i])))
            return false;
    return true;
}

static bool is_ref(const checker *c, tern_op op)
{
    return c->e->k.chosen[op]->isa == TERN_ISA_REF;
}

/* ---- vectors ------------------------------------------------------------------------------- */

static void check_quant(checker *c, tern_op op, tern_quant_fn fn, tern_quant_fn ref, tern_act8 act,
                        const float *x, int cols)
{
    tern_exec *e = c->e;
    size_t stride = tern_round_up((size_t)cols, 64);
    size_t n_scale = op == TERN_OP_QUANT_A8T ? 1 : stride / 32,
           n_sum = op == TERN_OP_QUANT_A8T ? 1 : stride / 16;
    /* Two tokens: the variant writes the first, the reference the second, from the same x. */
    act.stride = stride;
    tern_quant k = {.x = x, .x_stride = 0, .cols = cols, .act = act};
    if (e->max_tok < 2)
        return;
    fn(&k, 0, 1);
    ref(&k, 1, 2);
    verdict(c, op,
            memcmp(act.q, act.q + stride, stride) == 0 &&
                same(act.scale, act.scale + n_scale, n_scale) &&
                memcmp(act.sum, act.sum + n_sum, n_sum * sizeof *act.sum) == 0,
            "");
}

static void check_glu(checker *c, tern_op op, tern_glu_fn fn, tern_glu_fn ref)
{
    tern_exec *e = c->e;
    int n = e->w->h.d_ff;
    fill(c, e->gate, (size_t)n);
    fill(c, e->up, (size_t)n);
    fn(e->gate, e->up, n, e->mid);
    ref(e->gate, e->up, n, e->gate);
    verdict(c, op, same(e->mid, e->gate, (size_t)n), "");
}

static void check_vectors(checker *c)
{
    tern_exec *e = c->e;
    const tern_hparams *h = &e->w->h;
    int d = h->d_model;
    fill(c, e->x, (size_t)d);
    e->k.rmsnorm(e->x, e->w->output_norm, h->rms_eps, d, e->h);
    c->ref.rmsnorm(e->x, e->w->output_norm, h->rms_eps, d, e->out);
    verdict(c, TERN_OP_RMSNORM, same(e->h, e->out, (size_t)d), "");

    e->k.add(e->h, e->x, d);
    c->ref.add(e->out, e->x, d);
    verdict(c, TERN_OP_ADD, same(e->h, e->out, (size_t)d), "");

    fill(c, e->q, (size_t)h->d_head);
    memcpy(e->att, e->q, (size_t)h->d_head * sizeof *e->q);
    tern_rope_row(&e->w->rope, h->rope.n_rot, 77, e->cs);
    e->k.rope(e->q, e->cs, h->rope.n_rot, h->rope.neox);
    c->ref.rope(e->att, e->cs, h->rope.n_rot, h->rope.neox);
    verdict(c, TERN_OP_ROPE, same(e->q, e->att, (size_t)h->d_head), "");

    check_quant(c, TERN_OP_QUANT_A8T, e->k.quant_a8t, c->ref.quant_a8t, e->a8t, e->x, d);
    check_quant(c, TERN_OP_QUANT_A8B, e->k.quant_a8b, c->ref.quant_a8b, e->a8b, e->x, d);
    switch (h->act) {
    case TERN_ACT_RELU2:
        check_glu(c, TERN_OP_RELU2_MUL, e->k.relu2_mul, c->ref.relu2_mul);
        break;
    case TERN_ACT_SILU:
        check_glu(c, TERN_OP_SILU_MUL, e->k.silu_mul, c->ref.silu_mul);
        break;
    case TERN_ACT_GELU:
        check_glu(c, TERN_OP_GELU_MUL, e->k.gelu_mul, c->ref.gelu_mul);
        break;
    }
}

/* ---- attention ----------------------------------------------------------------------------- */

/* Queries of an int8 tile: those of several heads go together. */
#define QUERIES 5

typedef struct attn_buffers {
    float f32[TERN_PAGE_TOK * 512], q[512], acc[512], acc_ref[512];
    float score[TERN_PAGE_TOK], score_ref[TERN_PAGE_TOK];
    uint16_t f16[TERN_PAGE_TOK * 512], f16_ref[TERN_PAGE_TOK * 512];
    int8_t k8[TERN_PAGE_TOK * 512], v8[TERN_PAGE_TOK * 512], row[512], row_ref[512];
    float scale[TERN_PAGE_TOK], ones[QUERIES], sums[QUERIES * 512], sums_ref[QUERIES * 512];
    int16_t i16[QUERIES * 512], i16_ref[QUERIES * 512];
} attn_buffers;

/* One cache format: its two kernels, and the rows they read as the reference stored them. */
typedef struct cache_format {
    tern_op qk_op, av_op;
    tern_attn_qk_fn qk, qk_ref;
    tern_attn_av_fn av, av_ref;
    const void *rows;
} cache_format;

/* A tile that is not full. */
#define TILE (TERN_PAGE_TOK - 3)

static void check_tile(checker *c, attn_buffers *b, int d, const cache_format *f)
{
    tern_attn_tile t = {.kv = f->rows, .stride = (size_t)d, .n_pos = TILE, .d_head = d};
    f->qk(&t, b->q, 0.125f, b->score);
    f->qk_ref(&t, b->q, 0.125f, b->score_ref);
    verdict(c, f->qk_op, same(b->score, b->score_ref, TILE), "");

    memcpy(b->score, b->score_ref, sizeof b->score);
    float m = -INFINITY, l = 0.0f, m_ref = -INFINITY, l_ref = 0.0f;
    (void)c->e->k.softmax(b->score, TILE, &m, &l);
    (void)c->ref.softmax(b->score_ref, TILE, &m_ref, &l_ref);
    verdict(c, TERN_OP_SOFTMAX,
            same(b->score, b->score_ref, TILE) && same(&m, &m_ref, 1) && same(&l, &l_ref, 1), "");

    memset(b->acc, 0, sizeof b->acc);
    memset(b->acc_ref, 0, sizeof b->acc_ref);
    f->av(&t, b->score_ref, b->acc);
    f->av_ref(&t, b->score_ref, b->acc_ref);
    verdict(c, f->av_op, same(b->acc, b->acc_ref, (size_t)d), "");

    c->e->k.scale_add(b->acc, 0.75f, b->q, l_ref, d);
    c->ref.scale_add(b->acc_ref, 0.75f, b->q, l_ref, d);
    verdict(c, TERN_OP_SCALE_ADD, same(b->acc, b->acc_ref, (size_t)d), "");

    c->e->k.hadamard(b->acc, d);
    c->ref.hadamard(b->acc_ref, d);
    verdict(c, TERN_OP_HADAMARD, same(b->acc, b->acc_ref, (size_t)d), "");
}

/* The int8 page that the rows of f32 make, with queries and probabilities made of them too. */
static void check_tile_i8(checker *c, attn_buffers *b, int d)
{
    const tern_kernels *k = &c->e->k, *r = &c->ref;
    tern_kv8 a = {.page = {b->k8},
                  .n_pos = TILE,
                  .d_head = d,
                  .scale = b->scale,
                  .n_q = QUERIES,
                  .x = b->i16_ref,
                  .x_stride = 512,
                  .x_scale = b->ones,
                  .c = b->ones,
                  .y_stride = 512};
    bool stored = true;
    for (int i = 0; i < QUERIES; i++) {
        const float *x = b->f32 + (size_t)i * (size_t)d;
        int16_t *q = b->i16 + (size_t)i * 512, *q_ref = b->i16_ref + (size_t)i * 512;
        b->ones[i] = r->i16_store(x, b->q, d, q_ref);
        float step = k->i16_store(x, b->q, d, q);
        stored &= same(&step, &b->ones[i], 1) && memcmp(q, q_ref, (size_t)d * sizeof *q) == 0;
    }
    verdict(c, TERN_OP_I16_STORE, stored, "");
    memset(b->sums, 0, sizeof b->sums);
    memset(b->sums_ref, 0, sizeof b->sums_ref);
    a.y = b->sums;
    k->qk_i8(&a);
    a.y = b->sums_ref;
    r->qk_i8(&a);
    verdict(c, TERN_OP_QK_I8, same(b->sums, b->sums_ref, QUERIES * 512), "");
    for (int i = 0; i < QUERIES; i++)
        b->i16_ref[i * 512 + TILE] = 0;
    a.page[0] = b->v8;
    a.y = b->sums;
    k->av_i8(&a);
    a.y = b->sums_ref;
    r->av_i8(&a);
    verdict(c, TERN_OP_AV_I8, same(b->sums, b->sums_ref, QUERIES * 512), "");
}

static void check_attention(checker *c, attn_buffers *b)
{
    const tern_kernels *k = &c->e->k, *r = &c->ref;
    int d = (int)tern_round_up((size_t)c->e->w->h.d_head, 8);
    fill(c, b->q, (size_t)d);
    memset(b->i16_ref, 0, sizeof b->i16_ref);
    bool f16_same = true, i8_same = true;
    for (int j = 0; j < TERN_PAGE_TOK; j++) {
        size_t at = (size_t)j * (size_t)d, n = (size_t)d;
        fill(c, b->f32 + at, n);
        k->f16_store(b->f32 + at, d, b->f16 + at);
        r->f16_store(b->f32 + at, d, b->f16_ref + at);
        float step = k->kv8_store(b->f32 + at, d, b->row);
        b->scale[j] = r->kv8_store(b->f32 + at, d, b->row_ref);
        tern_kv8_put_k(b->k8, j, b->row_ref, d);
        tern_kv8_put_v(b->v8, j, b->row_ref, d);
        f16_same &= memcmp(b->f16 + at, b->f16_ref + at, n * sizeof *b->f16) == 0;
        i8_same &= memcmp(b->row, b->row_ref, n) == 0 && same(&step, &b->scale[j], 1);
    }
    verdict(c, TERN_OP_F16_STORE, f16_same, "");
    verdict(c, TERN_OP_KV8_STORE, i8_same, "");
    const cache_format formats[] = {
        {TERN_OP_QK_F16, TERN_OP_AV_F16, k->qk_f16, r->qk_f16, k->av_f16, r->av_f16, b->f16_ref},
        {TERN_OP_QK_F32, TERN_OP_AV_F32, k->qk_f32, r->qk_f32, k->av_f32, r->av_f32, b->f32},
    };
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        check_tile(c, b, d, &formats[i]);
    check_tile_i8(c, b, d);
}

/* ---- matrices ------------------------------------------------------------------------------ */

/* Ops of the model's matrices that were checked already, by op and file format. */
typedef struct seen_set {
    bool v[TERN_OP_COUNT][TERN_DT_COUNT];
} seen_set;

static void check_matrix(checker *c, const tern_linear *l, seen_set *seen, float *y, float *y_ref)
{
    tern_exec *e = c->e;
    int n_tok = e->max_tok < BATCH ? e->max_tok : BATCH, rows = l->rows < ROWS ? l->rows : ROWS;
    size_t stride = tern_round_up((size_t)l->cols, 64);
    if (seen->v[l->op][l->src->dtype] || is_ref(c, l->op))
        return;
    seen->v[l->op][l->src->dtype] = true;
    memset(e->mid, 0, (size_t)n_tok * stride * sizeof *e->mid);
    for (int t = 0; t < n_tok; t++)
        fill(c, e->mid + (size_t)t * stride, (size_t)l->cols);
    for (int pass = 0; pass < 2; pass++) {
        tern_input in;
        tern_linear bare = *l;
        bare.bias = NULL;
        tern_prepare p = {.x = e->mid,
                          .x_stride = stride,
                          .cols = l->cols,
                          .n_tok = pass ? n_tok : 1,
                          .forms = l->form};
        tern_exec_prepare(e, &p, &in);
        memset(y, 0, (size_t)BATCH * ROWS * sizeof *y);
        memset(y_ref, 0, (size_t)BATCH * ROWS * sizeof *y);
        tern_linear_rows(&bare, &e->k, &in, y, ROWS, tern_exec_scratch(e, 0), 0, rows);
        tern_linear_rows(&bare, &c->ref, &in, y_ref, ROWS, tern_exec_scratch(e, 0), 0, rows);
        verdict(c, l->op, same(y, y_ref, (size_t)BATCH * ROWS), l->src->name);
    }
}

tern_code tern_exec_selftest(tern_exec *e, char *report, size_t report_cap, int *n_mismatch,
                             tern_err *err)
{
    checker c = {.e = e, .report = report, .cap = report_cap, .rng = 1};
    seen_set seen = {0};
    float y[BATCH * ROWS], y_ref[BATCH * ROWS];
    attn_buffers *b = tern_alloc(sizeof *b);
    *n_mismatch = 0;
    if (report_cap)
        report[0] = 0;
    if (!b)
        return tern_fail(err, TERN_E_NOMEM, "self check: out of memory");
    tern_kernels_select(0, &c.ref);
    check_vectors(&c);
    check_attention(&c, b);
    check_matrix(&c, &e->w->head, &seen, y, y_ref);
    for (int i = 0; i < e->w->h.n_layer; i++) {
        const tern_attention *a = &e->w->blocks[i].m.attention;
        const tern_dense *f = &e->w->blocks[i].f.dense;
        const tern_linear *const all[] = {&a->q, &a->k, &a->v, &a->o, &f->gate, &f->up, &f->down};
        for (size_t j = 0; j < sizeof all / sizeof all[0]; j++)
            check_matrix(&c, all[j], &seen, y, y_ref);
    }
    tern_free(b);
    *n_mismatch = c.n_mismatch;
    return TERN_OK;
}
