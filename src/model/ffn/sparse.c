/* Exact skipping in squared-ReLU feed-forwards (BitNet's: down(norm(relu(gate x)^2 * up x))).
 *
 * Where gate x is not above 0 its square is 0, and so is the product whatever up x is: that row of up
 * need not be read. Where the int8 input of down is 0 that column adds nothing to an integer sum: it
 * need not be read either; these are more, for small values round to 0 as well. Both are exact: the
 * same bits come out, given that the up rows left out would have been finite (tern_linear.tame, and
 * inputs that are). Norm and quantisation in between run over all elements in their fixed order. */
#include "model/exec.h"
#include "model/tune.h"

#include <string.h>

/* 127 / max|x| of an input whose products with tame weights cannot overflow. */
#define TAME_SCALE 1e-20f
/* Counters of lanes stand a cache line apart. */
#define LANE_STEP 16

static int32_t *list_of(const tern_exec *e, int lane)
{
    return e->list + (size_t)lane * e->list_stride;
}

/* Kernels look ahead in a list. */
static void pad_list(int32_t *list, int n)
{
    for (int i = 0; n > 0 && i < TERN_LIST_PAD; i++)
        list[n + i] = list[n - 1];
}

static tern_ffn_count *count_of(const tern_exec *e, const tern_block *b)
{
    return &e->count[b - e->w->blocks];
}

/* ---- counting ------------------------------------------------------------------------------ */

void tern_count_gate_zeros(tern_exec *e, const tern_block *b, int n_row)
{
    tern_ffn_count *c = count_of(e, b);
    int d_ff = e->w->h.d_ff;
    for (int i = 0; i < n_row; i++) {
        const float *g = e->gate + (size_t)i * e->ff_stride;
        c->gate_zero +=
            (uint64_t)(d_ff - e->k.list_f32(g, e->ff_stride, 1, 0, d_ff, list_of(e, 0)));
    }
}

void tern_count_input_zeros(tern_exec *e, const tern_block *b, const tern_input *in)
{
    int d_ff = e->w->h.d_ff;
    tern_act_form form = b->f.dense.down.form;
    tern_act8 act = form == TERN_FORM_A8T ? in->a8t : in->a8b;
    tern_ffn_count *c = count_of(e, b);
    c->n_row += (uint64_t)in->n_tok;
    for (int i = 0; form != TERN_FORM_F32 && i < in->n_tok; i++) {
        const int8_t *q = act.q + (size_t)i * act.stride;
        c->input_zero += (uint64_t)(d_ff - e->k.list_i8(q, act.stride, 1, 0, d_ff, list_of(e, 0)));
    }
}

/* ---- gate and up --------------------------------------------------------------------------- */

typedef struct up_task {
    const tern_exec *e;
    const tern_linear *up;
    const tern_input *in;
} up_task;

/* Rows [begin, end) of those the gate lets through. The list goes on into the rows that this lane is
 * likely to take next, which the kernel prefetches. */
static void up_range(void *arg, int lane, int begin, int end)
{
    const up_task *t = arg;
    const tern_exec *e = t->e;
    int n_tok = t->in->n_tok, n_read = end - begin;
    int32_t *list = list_of(e, lane);
    int ahead = t->up->rows - end < TERN_LIST_PAD ? t->up->rows - end : TERN_LIST_PAD;
    tern_mm mm = tern_linear_mm(t->up, t->in, e->up, e->ff_stride, tern_exec_scratch(e, lane));
    int n = e->k.list_f32(e->gate, e->ff_stride, n_tok, begin, end, list);
    if ((float)n < e->up_limit * (float)(end - begin)) {
        int more = e->k.list_f32(e->gate, e->ff_stride, n_tok, end, end + ahead, list + n);
        pad_list(list, n + more);
        mm.list = list;
        mm.n_list = n_read = n;
        /* What an earlier step left may be no number, of which 0 times is none either. */
        for (int i = 0; i < n_tok; i++)
            memset(e->up + (size_t)i * e->ff_stride + begin, 0,
                   (size_t)(end - begin) * sizeof *e->up);
    }
    if (n_read > 0)
        tern_linear_fn(t->up, &e->k)(&mm, begin, end);
    e->n_listed[lane * LANE_STEP] += n_read;
    for (int i = 0; i < n_tok; i++) {
        float *g = e->gate + (size_t)i * e->ff_stride + begin;
        e->k.relu2_mul(g, e->up + (size_t)i * e->ff_stride + begin, end - begin, g);
    }
}

/* What batches skip each token for itself pays from so many on: fewer wait for memory, which their lists do
 * not ask for in time. */
#define OWN_MIN_TOK 5

/* ---- up of a batch -------------------------------------------------------------------------- */

/* How much gates let through is estimated from so many tokens. */
#define OWN_SAMPLE 8
/* Batches that a block whose gates were open goes without another look: gate and up are one region then. */
#define OWN_REST 16

static bool gates_are_closed(tern_exec *e, const tern_input *in)
{
    int d_ff = e->w->h.d_ff, n = 0;
    for (int i = 0; i < OWN_SAMPLE; i++) {
        size_t t = (size_t)(in->n_tok * i / OWN_SAMPLE);
        n += e->k.list_f32(e->gate + t * e->ff_stride, 0, 1, 0, d_ff, list_of(e, 0));
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
    int32_t *list = list_of(e, lane);
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
        pad_list(list, mm.n_list);
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

/* From the gate's outputs. */
static void up_of_batch(tern_exec *e, const tern_block *b, up_task *task)
{
    const tern_dense *f = &b->f.dense;
    if (gates_are_closed(e, task->in)) {
        tern_pool_for(e->pool, f->up.rows, TERN_OWN_ROWS, own_up_range, task);
        e->read_bytes += f->up.read_bytes;
        return;
    }
    e->own_rest[b - e->w->blocks] = OWN_REST;
    tern_product up = {&f->up, task->in, e->up, e->ff_stride};
    tern_exec_run(e, TERN_SPAN_UP, &up, 1, NULL);
    tern_pool_for(e->pool, task->in->n_tok, 1, glu_range, task);
}

/* What the rows left out would have been must be finite. */
static bool is_tame(const tern_dense *f, const tern_input *in)
{
    if (!f->up.tame || f->up.bias || f->gate.bias)
        return false;
    for (int t = 0; t < in->n_tok; t++)
        if (!(in->a8t.scale[t] >= TAME_SCALE))
            return false;
    return true;
}

/* Whether a batch is worth looking at the gates' outputs. */
static bool batch_pays(tern_exec *e, const tern_block *b, int n_tok)
{
    uint8_t *rest = &e->own_rest[b - e->w->blocks];
    if (n_tok < OWN_MIN_TOK)
        return false;
    if (*rest == 0)
        return true;
    --*rest;
    return false;
}

bool tern_sparse_gate_up(tern_exec *e, const tern_block *b, const tern_input *in)
{
    const tern_dense *f = &b->f.dense;
    if (e->watch || f->act != TERN_ACT_RELU2 || tern_linear_listed(&f->up) != TERN_LISTED_ROWS ||
        !is_tame(f, in) || (in->n_tok > TERN_SKIP_MAX_TOK && !batch_pays(e, b, in->n_tok)))
        return false;
    tern_product gate = {&f->gate, in, e->gate, e->ff_stride};
    up_task task = {.e = e, .up = &f->up, .in = in};
    int read = 0, n_lane = tern_pool_size(e->pool);
    for (int lane = 0; lane < n_lane; lane++)
        e->n_listed[lane * LANE_STEP] = 0;
    tern_exec_run(e, TERN_SPAN_GATE_UP, &gate, 1, NULL);
    tern_exec_span(e, TERN_SPAN_UP);
    if (in->n_tok > TERN_SKIP_MAX_TOK) {
        up_of_batch(e, b, &task);
        return true;
    }
    tern_pool_for(e->pool, f->up.rows, 16, up_range, &task);
    for (int lane = 0; lane < n_lane; lane++)
        read += e->n_listed[lane * LANE_STEP];
    e->read_bytes += f->up.read_bytes - (uint64_t)(f->up.rows - read) * f->up.w_stride;
    return true;
}

/* ---- down ---------------------------------------------------------------------------------- */

/* Every lane has one piece of the columns, at least so many, for each piece begins with waiting for
 * memory: with three of them two lanes take 0.97 ms for 30 layers instead of 0.86 (AMD Zen 5, 17 % of
 * 6912 columns of 2560). */
#define DOWN_MIN 256
/* With more lanes than this their sums are joined by all of them. */
#define JOIN_ALONE 4

typedef struct down_task {
    const tern_exec *e;
    const tern_linear *l;
    const tern_input *in;
} down_task;

static int32_t *part_of(const tern_exec *e, int lane)
{
    return e->part + (size_t)lane * TERN_SKIP_MAX_TOK * e->part_stride;
}

/* A lane's sums begin with its first piece. */
static void open_part(const tern_exec *e, int lane, int n_tok)
{
    int32_t *begun = &e->n_listed[lane * LANE_STEP + 1];
    if (!*begun)
        memset(part_of(e, lane), 0, (size_t)n_tok * e->part_stride * sizeof *e->part);
    *begun = 1;
}

/* Columns [begin, end) whose input is not 0, added to what this lane has summed so far: integers, so that
 * it does not matter which lane takes which. */
static void down_range(void *arg, int lane, int begin, int end)
{
    const down_task *t = arg;
    const tern_exec *e = t->e;
    tern_mm mm = tern_linear_mm(t->l, t->in, NULL, 0, tern_exec_scratch(e, lane));
    int32_t *list = list_of(e, lane);
    int n = e->k.list_i8(mm.act.q, mm.act.stride, mm.n_tok, begin, end, list);
    mm.acc = part_of(e, lane);
    mm.acc_stride = e->part_stride;
    open_part(e, lane, mm.n_tok);
    if ((float)n < e->down_limit * (float)(end - begin)) {
        pad_list(list, n);
        mm.list = list;
        mm.n_list = n;
    } else {
        mm.w += (size_t)begin * TERN_T2C1_BYTES;
        mm.act.q += begin;
        mm.cols = n = end - begin;
    }
    e->n_listed[lane * LANE_STEP] += n;
    if (n > 0)
        tern_linear_fn(t->l, &e->k)(&mm, 0, t->l->rows);
}

static void add_sums(int32_t *restrict sum, const int32_t *restrict part, int n)
{
    for (int i = 0; i < n; i++)
        sum[i] += part[i];
}

/* Rows [begin, end) of y from the sums of all lanes, by a product of no columns. */
static void join_range(void *arg, int lane, int begin, int end)
{
    const down_task *t = arg;
    const tern_exec *e = t->e;
    tern_mm mm = tern_linear_mm(t->l, t->in, e->out, e->x_stride, tern_exec_scratch(e, lane));
    for (int i = 0; i < mm.n_tok; i++)
        for (int p = 1; p < tern_pool_size(e->pool); p++) {
            size_t at = (size_t)i * e->part_stride + (size_t)begin;
            if (e->n_listed[p * LANE_STEP + 1])
                add_sums(part_of(e, 0) + at, part_of(e, p) + at, end - begin);
        }
    mm.acc = part_of(e, 0);
    mm.acc_stride = e->part_stride;
    mm.list = list_of(e, lane);
    mm.n_list = 0;
    tern_linear_fn(t->l, &e->k)(&mm, begin, end);
}

/* ---- down of a batch ------------------------------------------------------------------------ */

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
            e->n_listed[lane * LANE_STEP] += n;
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

static bool own_down(tern_exec *e, const tern_linear *l, const tern_input *in)
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
    tern_exec_span(e, TERN_SPAN_DOWN);
    for (int lane = 0; lane < n_lane; lane++)
        e->n_listed[lane * LANE_STEP] = 0;
    tern_pool_for(e->pool, in->n_tok, 1, own_list_range, &task);
    for (int lane = 0; lane < n_lane; lane++)
        n += (float)e->n_listed[lane * LANE_STEP];
    if (n >= e->own_down_limit * (float)l->cols * (float)in->n_tok)
        return false;
    tern_pool_for(e->pool, l->rows, l->grain, own_down_range, &task);
    e->read_bytes += l->read_bytes;
    return true;
}

bool tern_sparse_down(tern_exec *e, const tern_block *b, const tern_input *in)
{
    const tern_linear *l = &b->f.dense.down;
    if (e->watch || tern_linear_listed(l) != TERN_LISTED_COLS || l->bias)
        return false;
    if (in->n_tok > TERN_SKIP_MAX_TOK)
        return in->n_tok >= OWN_MIN_TOK && own_down(e, l, in);
    tern_exec_span(e, TERN_SPAN_DOWN);
    int n_lane = tern_pool_size(e->pool), n = 0;
    int piece = ((l->cols + n_lane - 1) / n_lane + 63) / 64 * 64;
    down_task task = {.e = e, .l = l, .in = in};
    for (int lane = 0; lane < n_lane; lane++)
        e->n_listed[lane * LANE_STEP] = e->n_listed[lane * LANE_STEP + 1] = 0;
    tern_pool_for(e->pool, l->cols, piece > DOWN_MIN ? piece : DOWN_MIN, down_range, &task);
    open_part(e, 0, in->n_tok); /* others may have taken all there was */
    if (n_lane > JOIN_ALONE)
        tern_pool_for(e->pool, l->rows, l->grain, join_range, &task);
    else
        join_range(&task, 0, 0, l->rows);
    for (int lane = 0; lane < n_lane; lane++)
        n += e->n_listed[lane * LANE_STEP];
    e->read_bytes += l->read_bytes - (uint64_t)(l->cols - n) * tern_linear_col_bytes(l);
    return true;
}
