#include "model/exec.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "model/mixer/attend.h"

#include <string.h>

/* Cut one zeroed block into 64-byte aligned arrays: a first pass adds the sizes up, a second hands
 * the addresses out. */
typedef struct cutter {
    uint8_t *base; /* NULL in the first pass */
    size_t used;
    bool overflow;
} cutter;

static void *cut(cutter *c, size_t n, size_t m, size_t size)
{
    size_t bytes = 0;
    if (!tern_mul_size(n, m, &bytes) || !tern_mul_size(bytes, size, &bytes) ||
        !tern_align_size(bytes, 64, &bytes) || !tern_add_size(c->used, bytes, &c->used))
        c->overflow = true;
    return c->base ? c->base + c->used - bytes : NULL;
}

static void cut_act8(cutter *c, tern_act8 *a, size_t n_tok, size_t stride, size_t n_scale,
                     size_t n_sum)
{
    a->stride = stride;
    a->q = cut(c, n_tok, stride, 1);
    a->scale = cut(c, n_tok, n_scale, sizeof *a->scale);
    a->sum = cut(c, n_tok, n_sum, sizeof *a->sum);
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* See tern_own_cols. */
static void lay_out_own(tern_exec *e, cutter *c)
{
    const tern_hparams *h = &e->w->h;
    if (h->act != TERN_ACT_RELU2)
        return;
    size_t n = (size_t)e->max_tok;
    e->own_parts = (h->d_ff + TERN_T2C1_PART - 1) / TERN_T2C1_PART;
    e->own_stride = (size_t)e->own_parts * TERN_T2C1_PART + 16; /* what listing may write beyond */
    e->own_n = cut(c, n, (size_t)e->own_parts, sizeof *e->own_n);
    e->own_list = cut(c, n, e->own_stride, sizeof *e->own_list);
    e->own_q = cut(c, n, e->own_stride, 1);
    e->own_rest = cut(c, (size_t)h->n_layer, 1, 1);
}

static void lay_out(tern_exec *e, cutter *c)
{
    const tern_hparams *h = &e->w->h;
    size_t n = (size_t)e->max_tok;
    size_t d_q = (size_t)h->n_head * (size_t)h->d_head,
           d_kv = (size_t)h->n_kv_head * (size_t)h->d_head;
    e->x_stride = tern_round_up((size_t)h->d_model, 64);
    e->q_stride = tern_round_up(d_q, 64);
    e->kv_stride = tern_round_up(d_kv, 64);
    e->ff_stride = tern_round_up((size_t)h->d_ff, 64);
    e->mid_stride = max_size(max_size(e->x_stride, e->q_stride), e->ff_stride);
    e->vocab_stride = tern_round_up((size_t)h->n_vocab, 64);
    e->x = cut(c, n, e->x_stride, sizeof(float));
    e->h = cut(c, n, e->x_stride, sizeof(float));
    e->out = cut(c, n, e->x_stride, sizeof(float));
    e->mid = cut(c, n, e->mid_stride, sizeof(float));
    e->q = cut(c, n, e->q_stride, sizeof(float));
    e->att = cut(c, n, e->q_stride, sizeof(float));
    e->kv_k = cut(c, n, e->kv_stride, sizeof(float));
    e->kv_v = cut(c, n, e->kv_stride, sizeof(float));
    e->gate = cut(c, n, e->ff_stride, sizeof(float));
    e->up = cut(c, n, e->ff_stride, sizeof(float));
    e->parts = cut(c, tern_attend_part_floats(h, e->max_tok), 1, sizeof(float));
    e->cs = cut(c, n, (size_t)h->rope.n_rot, sizeof(float));
    e->cs_local = h->rope_local_base > 0 ? cut(c, n, (size_t)h->rope.n_rot, sizeof(float)) : NULL;
    e->see = h->bidirectional ? cut(c, n, 1, sizeof *e->see) : NULL;
    e->logits = cut(c, (size_t)e->max_logit_rows, e->vocab_stride, sizeof(float));
    size_t n_out = (size_t)e->max_logit_rows,
           wide = tern_round_up((size_t)h->d_model + 2 * TERN_HEAD_EXTRA, 256);
    e->head_max =
        cut(c, n_out, tern_round_up((size_t)h->n_vocab, TERN_HEAD_BLOCK) / TERN_HEAD_BLOCK * 2,
            sizeof(float));
    e->act12.stride = wide;
    e->act12.hi = cut(c, n_out, wide, 1);
    e->act12.lo = cut(c, n_out, wide, 1);
    e->act12.scale = cut(c, n_out, 1, sizeof(float));
    e->act12.sum = cut(c, n_out, 2, sizeof(int32_t));
    cut_act8(c, &e->a8t, n, e->mid_stride, 1, 1);
    cut_act8(c, &e->a8b, n, e->mid_stride, e->mid_stride / 32, e->mid_stride / 16);
    size_t n_lane = (size_t)tern_pool_size(e->pool);
    e->list_stride = tern_round_up((size_t)h->d_ff + 16 + TERN_LIST_PAD, 16);
    e->list = cut(c, n_lane, e->list_stride, sizeof *e->list);
    e->n_listed = cut(c, n_lane, 64, 1);
    lay_out_own(e, c);
    e->part_stride = tern_round_up((size_t)h->d_model, 16);
    e->part = cut(c, n_lane * TERN_SKIP_MAX_TOK, e->part_stride, sizeof *e->part);
    e->count = cut(c, (size_t)h->n_layer, 1, sizeof *e->count);
    e->scratch = cut(c, n_lane, e->scratch_stride, 1);
    e->head_rows_stride = tern_round_up(TERN_HEAD_READ * e->w->head.w_stride, 64);
    e->head_rows = cut(c, n_lane, e->head_rows_stride, 1);
}

/* Strides and, in c, the size of the block. */
static void measure(tern_exec *e, cutter *c)
{
    const tern_hparams *h = &e->w->h;
    e->max_logit_rows = e->max_tok < 16 ? e->max_tok : 16;
    int widest = h->d_ff > h->d_model ? h->d_ff : h->d_model;
    if (h->n_head * h->d_head > widest)
        widest = h->n_head * h->d_head;
    e->scratch_stride = tern_round_up(
        max_size(tern_mm_scratch_bytes(widest, e->max_tok), tern_attend_scratch_bytes(h)), 64);
    e->scratch_stride =
        max_size(e->scratch_stride,
                 tern_round_up((size_t)widest + 2 * TERN_HEAD_EXTRA, 256) * sizeof(float));
    lay_out(e, c);
}

size_t tern_exec_bytes(const tern_weights *w, tern_pool *pool, int max_tok)
{
    tern_exec e = {.w = w, .pool = pool, .max_tok = max_tok};
    cutter c = {0};
    measure(&e, &c);
    return c.overflow ? SIZE_MAX : c.used;
}

tern_code tern_exec_init(tern_exec *e, const tern_weights *w, tern_pool *pool, unsigned cpu,
                         int max_tok, tern_err *err)
{
    cutter c = {0};
    *e = (tern_exec){.w = w, .pool = pool, .max_tok = max_tok};
    tern_kernels_select(cpu, &e->k);
    measure(e, &c);
    e->block_bytes = c.used;
    if (!c.overflow)
        e->block = tern_lazy_alloc(c.used);
    if (!e->block)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the buffers of a step (%zu bytes)",
                         c.used);
    c = (cutter){.base = e->block};
    lay_out(e, &c);
    return TERN_OK;
}

void tern_exec_done(tern_exec *e)
{
    tern_lazy_free(e->block, e->block_bytes);
    *e = (tern_exec){0};
}

/* ---- preparing inputs ---------------------------------------------------------------------- */

typedef struct prepare_task {
    const tern_exec *e;
    const tern_prepare *p;
    float *y;         /* NULL: a row in the lane's scratch memory is enough */
    const float *add; /* to the residual stream before, which p->x is then */
    tern_act8 a8t, a8b;
} prepare_task;

static void prepare_lane(void *arg, int lane, int n_lane)
{
    const prepare_task *t = arg;
    const tern_prepare *p = t->p;
    const tern_kernels *k = &t->e->k;
    int begin, end;
    tern_pool_split(p->n_tok, 1, lane, n_lane, &begin, &end);
    float *y = t->y ? t->y : tern_exec_scratch(t->e, lane);
    size_t y_stride = t->y ? p->y_stride : 0;
    const tern_quant a8t = {.x = p->norm ? y : p->x,
                            .x_stride = p->norm ? y_stride : p->x_stride,
                            .cols = p->cols,
                            .act = t->a8t};
    tern_quant a8b = a8t;
    a8b.act = t->a8b;
    for (int i = begin; i < end; i++) { /* all of a row, while it is in the first-level cache */
        if (t->add)
            k->add(t->e->x + (size_t)i * t->e->x_stride, t->add + (size_t)i * t->e->x_stride,
                   t->e->w->h.d_model);
        if (p->norm) {
            float *to = y + (size_t)i * y_stride;
            k->rmsnorm(p->x + (size_t)i * p->x_stride, p->norm, t->e->w->h.rms_eps, p->cols, to);
            /* The buffer served inputs of other widths; kernels want zeros behind the row. */
            memset(to + p->cols, 0,
                   (tern_round_up((size_t)p->cols, 64) - (size_t)p->cols) * sizeof *to);
        }
        if (p->forms & TERN_FORM_A8T)
            k->quant_a8t(&a8t, i, i + 1);
        if (p->forms & TERN_FORM_A8B)
            k->quant_a8b(&a8b, i, i + 1);
    }
}

/* The step's int8 buffers seen with the stride of this input. */
static tern_act8 view(tern_act8 whole, int cols)
{
    whole.stride = tern_round_up((size_t)cols, 64);
    return whole;
}

/* Few rows are not worth waking the lanes for. */
static void run_rows(tern_exec *e, tern_pool_fn fn, void *task, int n_row)
{
    if (n_row < 4)
        fn(task, 0, 1);
    else
        tern_pool_run(e->pool, fn, task);
}

void tern_exec_prepare(tern_exec *e, const tern_prepare *p, tern_input *in)
{
    prepare_task task = {
        .e = e, .p = p, .a8t = view(e->a8t, p->cols), .a8b = view(e->a8b, p->cols)};
    if (p->keep || !p->forms || (p->forms & TERN_FORM_F32) || e->watch)
        task.y = p->y;
    if (p->x == e->x) {
        task.add = e->pending;
        e->pending = NULL;
    }
    tern_exec_span(e, TERN_SPAN_PREPARE);
    run_rows(e, prepare_lane, &task, p->n_tok);
    *in = (tern_input){.x = p->norm ? task.y : p->x,
                       .x_stride = p->norm ? p->y_stride : p->x_stride,
                       .a8t = task.a8t,
                       .a8b = task.a8b,
                       .n_tok = p->n_tok};
}

/* ---- products ------------------------------------------------------------------------------ */

typedef struct run_task {
    const tern_exec *e;
    const tern_product *jobs;
    int n_job;
    tern_glu_fn glu;
    int grain; /* rows of each job are counted in whole ones */
} run_task;

static void run_glu(const run_task *t, int begin, int end)
{
    const tern_product *gate = &t->jobs[0], *up = &t->jobs[1];
    for (int i = 0; i < gate->in->n_tok; i++) {
        float *g = gate->y + (size_t)i * gate->y_stride + begin;
        t->glu(g, up->y + (size_t)i * up->y_stride + begin, end - begin, g);
    }
}

/* Rows [begin, end) of the jobs' matrices one below the other, each rounded up to whole stripes; with
 * glu of gate and up at once. */
static void run_range(void *arg, int lane, int begin, int end)
{
    const run_task *t = arg;
    void *scratch = tern_exec_scratch(t->e, lane);
    int at = 0;
    for (int j = 0; j < t->n_job; j++) {
        const tern_product *job = &t->jobs[j];
        int row0 = begin > at ? begin - at : 0;
        int row1 = end - at < job->l->rows ? end - at : job->l->rows;
        if (row0 < row1)
            tern_linear_rows(job->l, &t->e->k, job->in, job->y, job->y_stride, scratch, row0, row1);
        if (!t->glu)
            at += (int)tern_round_up((size_t)job->l->rows, (size_t)t->grain);
        else if (j == 1)
            run_glu(t, row0, row1);
    }
}

/* Whole grains worth handing out by themselves: taking some costs about what reading 16 KiB does. */
static int piece_of(const run_task *t, int n_row)
{
    size_t bytes = 0;
    for (int j = 0; j < t->n_job; j++)
        bytes += t->jobs[j].l->read_bytes * (size_t)t->jobs[j].in->n_tok;
    size_t n_piece = bytes >> 14, n_grain = (size_t)(n_row / t->grain);
    return n_piece < 1 ? n_row : t->grain * (int)((n_grain + n_piece - 1) / n_piece);
}

/* Of a matrix that the file has joined with others only the first part tells. */
static void watch_jobs(const tern_exec *e, const tern_product *jobs, int n_job)
{
    const char *phase = TERN_NO_ALLOC_PAUSE();
    for (int j = 0; j < n_job; j++) {
        const tern_tensor *src = jobs[j].l->src;
        const tern_tensor *whole = src->part ? tern_dir_tensor_find(e->w->dir, src->name) : src;
        const tern_matrix_input in = {.name = src->name,
                                      .x = jobs[j].in->x,
                                      .stride = jobs[j].in->x_stride,
                                      .n_row = jobs[j].in->n_tok,
                                      .n_col = jobs[j].l->cols};
        if (whole && whole->data == src->data)
            e->watch(e->watch_ctx, &in);
    }
    TERN_NO_ALLOC_BEGIN(phase);
}

void tern_exec_run(tern_exec *e, tern_span span, const tern_product *jobs, int n_job,
                   tern_glu_fn glu)
{
    run_task task = {.e = e, .jobs = jobs, .n_job = n_job, .glu = glu, .grain = 16};
    int n = 0;
    if (e->watch)
        watch_jobs(e, jobs, n_job);
    tern_exec_span(e, span);
    for (int j = 0; j < n_job; j++) {
        task.grain = jobs[j].l->grain > task.grain ? jobs[j].l->grain : task.grain;
        e->read_bytes += jobs[j].l->read_bytes;
    }
    /* Kernels take two stripes of 16 rows at a time through a batch. */
    if (n_job > 0 && jobs[0].in->n_tok > 2 && task.grain < 32)
        task.grain = 32;
    for (int j = 0; j < (glu ? 1 : n_job); j++)
        n += (int)tern_round_up((size_t)jobs[j].l->rows, (size_t)task.grain);
    tern_pool_for(e->pool, n, piece_of(&task, n), run_range, &task);
}

typedef struct head_task {
    const tern_exec *e;
    const tern_input *in;
} head_task;

/* Rows are copied from the file: through the map the whole head would become resident. */
static void head_range(void *arg, int lane, int begin, int end)
{
    const head_task *t = arg;
    const tern_exec *e = t->e;
    const tern_linear *l = &e->w->head;
    uint8_t *rows = e->head_rows + (size_t)lane * e->head_rows_stride;
    for (int n; begin < end; begin += n) {
        tern_linear part = *l;
        size_t at = (size_t)begin * l->w_stride;
        n = end - begin < TERN_HEAD_READ ? end - begin : TERN_HEAD_READ;
        part.w = tern_dir_tensor_read(e->w->dir, l->src, at, rows, (size_t)n * l->w_stride)
                     ? rows
                     : l->w + at;
        part.rows = n;
        if (part.bias)
            part.bias += begin;
        tern_linear_rows(&part, &e->k, t->in, e->logits + begin, e->vocab_stride,
                         tern_exec_scratch(e, lane), 0, n);
    }
}

void tern_exec_head(tern_exec *e, const tern_input *in)
{
    const tern_linear *l = &e->w->head;
    head_task task = {e, in};
    tern_product job = {l, in, e->logits, e->vocab_stride};
    if (!e->low_memory || l->packed_bytes > 0) {
        tern_exec_run(e, TERN_SPAN_HEAD, &job, 1, NULL);
        return;
    }
    if (e->watch)
        watch_jobs(e, &job, 1);
    tern_exec_span(e, TERN_SPAN_HEAD);
    e->read_bytes += l->read_bytes;
    tern_pool_for(e->pool, l->rows, 16 * TERN_HEAD_READ, head_range, &task);
}

void tern_exec_input(tern_exec *e, const float *norm, unsigned forms, int n_row, tern_input *in)
{
    tern_prepare p = {.x = e->x,
                      .x_stride = e->x_stride,
                      .norm = norm,
                      .y = e->h,
                      .y_stride = e->x_stride,
                      .cols = e->w->h.d_model,
                      .n_tok = n_row,
                      .forms = forms};
    tern_exec_prepare(e, &p, in);
}

void tern_exec_project(tern_exec *e, tern_span span, const float *norm, tern_product *jobs,
                       const float *const *norm_in, int n_job, tern_glu_fn glu, int n_row)
{
    tern_input in;
    unsigned forms = 0;
    bool own_norms = false;
    for (int i = 0; i < n_job; i++) {
        forms |= jobs[i].l->form;
        own_norms |= norm_in[i] != NULL;
        jobs[i].in = &in;
    }
    tern_exec_input(e, norm, own_norms ? 0 : forms, n_row, &in);
    if (!own_norms) {
        tern_exec_run(e, span, jobs, n_job, glu);
        return;
    }
    /* Each product needs its own int8 form of the input, so they run one after the other. */
    tern_prepare p = {.x = e->h,
                      .x_stride = e->x_stride,
                      .y = e->mid,
                      .y_stride = e->x_stride,
                      .cols = e->w->h.d_model,
                      .n_tok = n_row};
    for (int i = 0; i < n_job; i++) {
        p.norm = norm_in[i];
        p.forms = jobs[i].l->form;
        tern_exec_prepare(e, &p, &in);
        tern_exec_run(e, span, &jobs[i], 1, NULL);
    }
    for (int i = 0; glu && i < n_row; i++) {
        float *g = jobs[0].y + (size_t)i * jobs[0].y_stride;
        glu(g, jobs[1].y + (size_t)i * jobs[1].y_stride, jobs[0].l->rows, g);
    }
}

typedef struct residual_task {
    const tern_exec *e;
    const float *y;
    int n_tok;
} residual_task;

/* Each lane the rows that it will prepare (prepare_lane) and has in its cache then. */
static void residual_lane(void *arg, int lane, int n_lane)
{
    const residual_task *t = arg;
    const tern_exec *e = t->e;
    int begin, end;
    tern_pool_split(t->n_tok, 1, lane, n_lane, &begin, &end);
    for (int i = begin; i < end; i++) {
        size_t at = (size_t)i * e->x_stride;
        e->k.add(e->x + at, t->y + at, e->w->h.d_model);
    }
}

void tern_exec_settle(tern_exec *e, int n_tok)
{
    residual_task task = {.e = e, .y = e->pending, .n_tok = n_tok};
    if (!e->pending)
        return;
    e->pending = NULL;
    tern_exec_span(e, TERN_SPAN_RESIDUAL);
    run_rows(e, residual_lane, &task, n_tok);
}

void tern_exec_residual(tern_exec *e, const float *y, const float *norm, int n_tok)
{
    e->pending = y;
    if (!norm)
        return;
    tern_input in;
    tern_prepare p = {.x = y,
                      .x_stride = e->x_stride,
                      .norm = norm,
                      .y = e->h,
                      .y_stride = e->x_stride,
                      .cols = e->w->h.d_model,
                      .n_tok = n_tok};
    tern_exec_prepare(e, &p, &in);
    e->pending = in.x;
    tern_exec_settle(e, n_tok);
}
