/* Exact skipping in squared-ReLU feed-forwards (BitNet's: down(norm(relu(gate x)^2 * up x))).
 *
 * Where gate x is not above 0 its square is 0, and so is the product whatever up x is: that row of up
 * need not be read. Where the int8 input of down is 0 that column adds nothing to an integer sum: it
 * need not be read either; these are more, for small values round to 0 as well. Both are exact: the
 * same bits come out, given that the up rows left out would have been finite (tern_linear.tame, and
 * inputs that are). Norm and quantisation in between run over all elements in their fixed order. */
#include "model/exec.h"

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
        e->k.mm_t2r1(&mm, begin, end);
    e->n_listed[lane * LANE_STEP] += n_read;
    for (int i = 0; i < n_tok; i++) {
        float *g = e->gate + (size_t)i * e->ff_stride + begin;
        e->k.relu2_mul(g, e->up + (size_t)i * e->ff_stride + begin, end - begin, g);
    }
}

bool tern_sparse_gate_up(tern_exec *e, const tern_block *b, const tern_input *in)
{
    const tern_dense *f = &b->f.dense;
    if (in->n_tok > TERN_SKIP_MAX_TOK || f->act != TERN_ACT_RELU2 || f->up.op != TERN_OP_MM_T2R1 ||
        !f->up.tame || f->up.bias || f->gate.bias)
        return false;
    for (int t = 0; t < in->n_tok; t++)
        if (!(in->a8t.scale[t] >= TAME_SCALE))
            return false;
    tern_job gate = {&f->gate, in, e->gate, e->ff_stride};
    up_task task = {.e = e, .up = &f->up, .in = in};
    int read = 0, n_lane = tern_pool_size(e->pool);
    for (int lane = 0; lane < n_lane; lane++)
        e->n_listed[lane * LANE_STEP] = 0;
    tern_exec_run(e, TERN_SPAN_GATE_UP, &gate, 1, NULL);
    tern_exec_span(e, TERN_SPAN_UP);
    tern_pool_for(e->pool, f->up.rows, 16, up_range, &task);
    for (int lane = 0; lane < n_lane; lane++)
        read += e->n_listed[lane * LANE_STEP];
    e->read_bytes += f->up.read_bytes - (uint64_t)(f->up.rows - read) * f->up.w_stride;
    return true;
}

/* ---- down ---------------------------------------------------------------------------------- */

/* Columns a lane takes at least. */
#define DOWN_GRAIN 32
/* With more lanes than this the sums of lanes are joined by all of them. */
#define JOIN_ALONE 4

typedef struct down_task {
    const tern_exec *e;
    const tern_linear *l;
    const tern_input *in;
    const int32_t *list; /* NULL: every column */
} down_task;

static int32_t *part_of(const tern_exec *e, int lane)
{
    return e->part + (size_t)lane * TERN_SKIP_MAX_TOK * e->part_stride;
}

/* Columns [begin, end) of those to sum, or of all, added to what this lane has summed so far: integers,
 * so that it does not matter which lane takes which. */
static void down_range(void *arg, int lane, int begin, int end)
{
    const down_task *t = arg;
    const tern_exec *e = t->e;
    tern_mm mm = tern_linear_mm(t->l, t->in, NULL, 0, tern_exec_scratch(e, lane));
    mm.acc = part_of(e, lane);
    mm.acc_stride = e->part_stride;
    if (e->n_listed[lane * LANE_STEP] == 0)
        memset(mm.acc, 0, (size_t)t->in->n_tok * e->part_stride * sizeof *mm.acc);
    e->n_listed[lane * LANE_STEP] += end - begin;
    if (t->list) {
        mm.list = t->list + begin;
        mm.n_list = end - begin;
    } else {
        mm.w += (size_t)begin * TERN_T2C1_BYTES;
        mm.act.q += begin;
        mm.cols = end - begin;
    }
    e->k.mm_t2c1(&mm, 0, t->l->rows);
}

/* The sums of the lanes as y, in the way of the kernels (kernels/kernel.h, T2R16). */
static void join_range(void *arg, int lane, int begin, int end)
{
    const down_task *t = arg;
    const tern_exec *e = t->e;
    (void)lane;
    for (int i = 0; i < t->in->n_tok; i++) {
        float *y = e->out + (size_t)i * e->x_stride, s = t->in->a8t.scale[i];
        int32_t sum[DOWN_GRAIN];
        for (int r0 = begin, n; r0 < end; r0 += n) {
            n = end - r0 < DOWN_GRAIN ? end - r0 : DOWN_GRAIN;
            for (int r = 0; r < n; r++)
                sum[r] = -t->in->a8t.sum[i];
            for (int p = 0; p < tern_pool_size(e->pool); p++) {
                const int32_t *part = part_of(e, p) + (size_t)i * e->part_stride + r0;
                for (int r = 0; r < n && e->n_listed[p * LANE_STEP] > 0; r++)
                    sum[r] += part[r];
            }
            for (int r = 0; r < n; r++)
                y[r0 + r] = ((float)sum[r] / s) * t->l->scale[r0 + r];
        }
    }
}

bool tern_sparse_down(tern_exec *e, const tern_block *b, const tern_input *in)
{
    const tern_linear *l = &b->f.dense.down;
    if (in->n_tok > TERN_SKIP_MAX_TOK || l->op != TERN_OP_MM_T2C1 || l->bias)
        return false;
    tern_exec_span(e, TERN_SPAN_DOWN);
    int32_t *list = list_of(e, 0);
    int n_lane = tern_pool_size(e->pool);
    int n = e->k.list_i8(in->a8t.q, in->a8t.stride, in->n_tok, 0, l->cols, list);
    down_task task = {.e = e, .l = l, .in = in};
    if ((float)n < e->down_limit * (float)l->cols) {
        pad_list(list, n);
        task.list = list;
    } else {
        n = l->cols;
    }
    for (int lane = 0; lane < n_lane; lane++)
        e->n_listed[lane * LANE_STEP] = 0;
    tern_pool_for(e->pool, n, DOWN_GRAIN, down_range, &task);
    if (n_lane > JOIN_ALONE)
        tern_pool_for(e->pool, l->rows, 256, join_range, &task);
    else
        join_range(&task, 0, 0, l->rows);
    e->read_bytes += l->read_bytes - (uint64_t)(l->cols - n) * tern_t2c1_col_bytes(l->rows);
    return true;
}
