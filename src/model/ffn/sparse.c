/* Exact skipping in squared-ReLU feed-forwards (BitNet's: down(norm(relu(gate x)^2 * up x))).
 *
 * Where gate x is not above 0 its square is 0, and so is the product whatever up x is: that row of up
 * need not be read. Where the int8 input of down is 0 that column adds nothing to an integer sum: it
 * need not be read either; these are more, for small values round to 0 as well. Both are exact: the
 * same bits come out, given that the up rows left out would have been finite (tern_linear.tame, and
 * inputs that are). Norm and quantisation in between run over all elements in their fixed order. */
#include "model/ffn/sparse.h"
#include "model/exec.h"
#include "model/tune.h"

#include <string.h>

/* 127 / max|x| of an input whose products with tame weights cannot overflow. */
#define TAME_SCALE 1e-20f

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
            (uint64_t)(d_ff - e->k.list_f32(g, e->ff_stride, 1, 0, d_ff, tern_sparse_list(e, 0)));
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
        c->input_zero +=
            (uint64_t)(d_ff - e->k.list_i8(q, act.stride, 1, 0, d_ff, tern_sparse_list(e, 0)));
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
    int32_t *list = tern_sparse_list(e, lane);
    int ahead = t->up->rows - end < TERN_LIST_PAD ? t->up->rows - end : TERN_LIST_PAD;
    tern_mm mm = tern_linear_mm(t->up, t->in, e->up, e->ff_stride, tern_exec_scratch(e, lane));
    int n = e->k.list_f32(e->gate, e->ff_stride, n_tok, begin, end, list);
    if ((float)n < e->up_limit * (float)(end - begin)) {
        int more = e->k.list_f32(e->gate, e->ff_stride, n_tok, end, end + ahead, list + n);
        tern_sparse_pad(list, n + more);
        mm.list = list;
        mm.n_list = n_read = n;
        /* What an earlier step left may be no number, of which 0 times is none either. */
        for (int i = 0; i < n_tok; i++)
            memset(e->up + (size_t)i * e->ff_stride + begin, 0,
                   (size_t)(end - begin) * sizeof *e->up);
    }
    if (n_read > 0)
        tern_linear_fn(t->up, &e->k)(&mm, begin, end);
    e->n_listed[lane * TERN_LANE_STEP] += n_read;
    for (int i = 0; i < n_tok; i++) {
        float *g = e->gate + (size_t)i * e->ff_stride + begin;
        e->k.relu2_mul(g, e->up + (size_t)i * e->ff_stride + begin, end - begin, g);
    }
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

bool tern_sparse_gate_up(tern_exec *e, const tern_block *b, const tern_input *in)
{
    const tern_dense *f = &b->f.dense;
    if (e->watch || f->act != TERN_ACT_RELU2 || tern_linear_listed(&f->up) != TERN_LISTED_ROWS ||
        !is_tame(f, in) ||
        (in->n_tok > TERN_SKIP_MAX_TOK && !tern_sparse_batch_pays(e, b, in->n_tok)))
        return false;
    tern_product gate = {&f->gate, in, e->gate, e->ff_stride};
    up_task task = {.e = e, .up = &f->up, .in = in};
    int read = 0, n_lane = tern_pool_size(e->pool);
    for (int lane = 0; lane < n_lane; lane++)
        e->n_listed[lane * TERN_LANE_STEP] = 0;
    tern_exec_run(e, TERN_SPAN_GATE_UP, &gate, 1, NULL);
    tern_exec_span(e, TERN_SPAN_UP);
    if (in->n_tok > TERN_SKIP_MAX_TOK) {
        tern_sparse_batch_up(e, b, in);
        return true;
    }
    tern_pool_for(e->pool, f->up.rows, 16, up_range, &task);
    for (int lane = 0; lane < n_lane; lane++)
        read += e->n_listed[lane * TERN_LANE_STEP];
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
    int32_t *begun = &e->n_listed[lane * TERN_LANE_STEP + 1];
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
    int32_t *list = tern_sparse_list(e, lane);
    int n = e->k.list_i8(mm.act.q, mm.act.stride, mm.n_tok, begin, end, list);
    mm.acc = part_of(e, lane);
    mm.acc_stride = e->part_stride;
    open_part(e, lane, mm.n_tok);
    if ((float)n < e->down_limit * (float)(end - begin)) {
        tern_sparse_pad(list, n);
        mm.list = list;
        mm.n_list = n;
    } else {
        mm.w += (size_t)begin * TERN_T2C1_BYTES;
        mm.act.q += begin;
        mm.cols = n = end - begin;
    }
    e->n_listed[lane * TERN_LANE_STEP] += n;
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
            if (e->n_listed[p * TERN_LANE_STEP + 1])
                add_sums(part_of(e, 0) + at, part_of(e, p) + at, end - begin);
        }
    mm.acc = part_of(e, 0);
    mm.acc_stride = e->part_stride;
    mm.list = tern_sparse_list(e, lane);
    mm.n_list = 0;
    tern_linear_fn(t->l, &e->k)(&mm, begin, end);
}

bool tern_sparse_down(tern_exec *e, const tern_block *b, const tern_input *in)
{
    const tern_linear *l = &b->f.dense.down;
    if (e->watch || tern_linear_listed(l) != TERN_LISTED_COLS || l->bias)
        return false;
    if (in->n_tok > TERN_SKIP_MAX_TOK)
        return tern_sparse_batch_down(e, l, in);
    tern_exec_span(e, TERN_SPAN_DOWN);
    int n_lane = tern_pool_size(e->pool), n = 0;
    int piece = ((l->cols + n_lane - 1) / n_lane + 63) / 64 * 64;
    down_task task = {.e = e, .l = l, .in = in};
    for (int lane = 0; lane < n_lane; lane++)
        e->n_listed[lane * TERN_LANE_STEP] = e->n_listed[lane * TERN_LANE_STEP + 1] = 0;
    tern_pool_for(e->pool, l->cols, piece > DOWN_MIN ? piece : DOWN_MIN, down_range, &task);
    open_part(e, 0, in->n_tok); /* others may have taken all there was */
    if (n_lane > JOIN_ALONE)
        tern_pool_for(e->pool, l->rows, l->grain, join_range, &task);
    else
        join_range(&task, 0, 0, l->rows);
    for (int lane = 0; lane < n_lane; lane++)
        n += e->n_listed[lane * TERN_LANE_STEP];
    e->read_bytes += l->read_bytes - (uint64_t)(l->cols - n) * tern_linear_col_bytes(l);
    return true;
}
