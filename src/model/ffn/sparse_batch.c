/* Exact skipping for batches, see sparse.c: each token leaves out what its own zeros allow, for all of them
 * together leave nothing out. Weights that some token needs are read once for all of them. */
#include "model/exec.h"
#include "model/ffn/sparse.h"
#include "model/tune.h"

#include <string.h>

/* What batches skip each token for itself pays from so many on: fewer wait for memory, which their lists do
 * not ask for in time. */
#define OWN_MIN_TOK 5

/* ---- gate and up --------------------------------------------------------------------------- */

typedef struct up_task {
    const tern_exec *e;
    const tern_linear *up;
    const tern_input *in;
} up_task;

/* How much gates let through is estimated from so many tokens. */
#define OWN_SAMPLE 8
/* Batches that a block whose gates were open goes without another look: gate and up are one region then. */
#define OWN_REST 16

static bool gates_are_closed(tern_exec *e, const tern_input *in)
{
    int d_ff = e->w->h.d_ff, n = 0;
    for (int i = 0; i < OWN_SAMPLE; i++) {
        size_t t = (size_t)(in->n_tok * i / OWN_SAMPLE);
        n += e->k.list_f32(e->gate + t * e->ff_stride, 0, 1, 0, d_ff, tern_sparse_list(e, 0));
    }
    return (float)n < e->own_up_limit * (float)(OWN_SAMPLE * d_ff);
}

/* Lines of the rows that this lane is likely to take next; all tokens together ask for each once. */
static void prefetch_rows(const tern_linear *l, int row, int t, int n_tok)
{
    size_t n_row = (size_t)(l->rows - row < TERN_OWN_ROWS ? l->rows - row : TERN_OWN_ROWS);
    size_t n = n_row * l->w_stride / 64;
    const uint8_t *w = l->w + (size_t)row * l->w_stride;
    for (size_t i = n * (size_t)t / (size_t)n_tok; i < n * ((size_t)t + 1) / (size_t)n_tok; i++)
        __builtin_prefetch(w + 64 * i, 0, 2);
}

static void own_up_range(void *arg, int lane, int begin, int end)
{
    const up_task *task = arg;
    const tern_exec *e = task->e;
    int n_tok = task->in->n_tok;
    int32_t *list = tern_sparse_list(e, lane);
    for (int t = 0; t < n_tok; t++) {
        float *g = e->gate + (size_t)t * e->ff_stride + begin;
        float *up = e->up + (size_t)t * e->ff_stride + begin;
        tern_input one = *task->in;
        one.n_tok = 1;
        one.a8t.q += (size_t)t * one.a8t.stride;
        one.a8t.scale += t;
        one.a8t.sum += t;
        tern_mm mm =
            tern_linear_mm(task->up, &one, up - begin, e->ff_stride, tern_exec_scratch(e, lane));
        prefetch_rows(task->up, end, t, n_tok);
        mm.list = list;
        mm.n_list = e->k.list_f32(g - begin, 0, 1, begin, end, list);
        tern_sparse_pad(list, mm.n_list);
        memset(up, 0, (size_t)(end - begin) * sizeof *up);
        if (mm.n_list > 0)
            tern_linear_fn(task->up, &e->k)(&mm, begin, end);
        e->k.relu2_mul(g, up, end - begin, g);
    }
}

static void glu_range(void *arg, int lane, int begin, int end)
{
    const tern_exec *e = ((const up_task *)arg)->e;
    (void)lane;
    for (int t = begin; t < end; t++) {
        float *g = e->gate + (size_t)t * e->ff_stride;
        e->k.relu2_mul(g, e->up + (size_t)t * e->ff_stride, e->w->h.d_ff, g);
    }
}

void tern_sparse_batch_up(tern_exec *e, const tern_block *b, const tern_input *in)
{
    const tern_dense *f = &b->f.dense;
    up_task task = {.e = e, .up = &f->up, .in = in};
    if (gates_are_closed(e, in)) {
        tern_pool_for(e->pool, f->up.rows, TERN_OWN_ROWS, own_up_range, &task);
        e->read_bytes += f->up.read_bytes;
        return;
    }
    e->own_rest[b - e->w->blocks] = OWN_REST;
    tern_product up = {&f->up, in, e->up, e->ff_stride};
    tern_exec_run(e, TERN_SPAN_UP, &up, 1, NULL);
    tern_pool_for(e->pool, in->n_tok, 1, glu_range, &task);
}

bool tern_sparse_batch_pays(tern_exec *e, const tern_block *b, int n_tok)
{
    uint8_t *rest = &e->own_rest[b - e->w->blocks];
    if (n_tok < OWN_MIN_TOK)
        return false;
    if (*rest == 0)
        return true;
    --*rest;
    return false;
}

/* ---- down ---------------------------------------------------------------------------------- */

typedef struct own_task {
    const tern_exec *e;
    const tern_linear *l;
    const tern_input *in;
    tern_own_cols own;
} own_task;

/* A part of token t's columns, and their activations. */
static int own_part(const own_task *task, int t, int part)
{
    const tern_exec *e = task->e;
    const int8_t *q = task->in->a8t.q + (size_t)t * task->in->a8t.stride;
    size_t at = (size_t)t * e->own_stride + (size_t)part * TERN_T2C1_PART;
    int begin = part * TERN_T2C1_PART, end = begin + TERN_T2C1_PART;
    int32_t *list = e->own_list + at;
    int n = e->k.list_i8(q, 0, 1, begin, end < task->l->cols ? end : task->l->cols, list);
    for (int i = 0; i < n; i++)
        e->own_q[at + (size_t)i] = q[list[i]];
    for (int i = n; i % 4 != 0; i++) {
        list[i] = begin;
        e->own_q[at + (size_t)i] = 0;
    }
    return n;
}

static void own_list_range(void *arg, int lane, int begin, int end)
{
    const own_task *task = arg;
    const tern_exec *e = task->e;
    for (int t = begin; t < end; t++)
        for (int p = 0; p < e->own_parts; p++) {
            int n = own_part(task, t, p);
            e->own_n[t * e->own_parts + p] = n;
            e->n_listed[lane * TERN_LANE_STEP] += n;
        }
}

static void own_down_range(void *arg, int lane, int begin, int end)
{
    const own_task *task = arg;
    const tern_exec *e = task->e;
    tern_mm mm = tern_linear_mm(task->l, task->in, e->out, e->x_stride, tern_exec_scratch(e, lane));
    mm.own = &task->own;
    tern_linear_fn(task->l, &e->k)(&mm, begin, end);
}

bool tern_sparse_batch_down(tern_exec *e, const tern_linear *l, const tern_input *in)
{
    own_task task = {.e = e,
                     .l = l,
                     .in = in,
                     .own = {.n = e->own_n,
                             .list = e->own_list,
                             .q = e->own_q,
                             .stride = e->own_stride,
                             .n_part = e->own_parts}};
    int n_lane = tern_pool_size(e->pool);
    float n = 0;
    if (in->n_tok < OWN_MIN_TOK)
        return false;
    tern_exec_span(e, TERN_SPAN_DOWN);
    for (int lane = 0; lane < n_lane; lane++)
        e->n_listed[lane * TERN_LANE_STEP] = 0;
    tern_pool_for(e->pool, in->n_tok, 1, own_list_range, &task);
    for (int lane = 0; lane < n_lane; lane++)
        n += (float)e->n_listed[lane * TERN_LANE_STEP];
    if (n >= e->own_down_limit * (float)l->cols * (float)in->n_tok)
        return false;
    tern_pool_for(e->pool, l->rows, l->grain, own_down_range, &task);
    e->read_bytes += l->read_bytes;
    return true;
}
