#include "compress/ternarize.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "base/topology.h"
#include "compress/gptq.h"
#include "model/walk.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct job {
    const ternarize_opts *t;
    const compress_opts *o;
    const tern_dir *dir;
    float *w; /* owned; the matrix at hand */
    size_t w_floats;
    size_t *order; /* owned; [n_tensor] */
    /* GPTQ: */
    tern_walk *walk;
    gptq *g;          /* of the inputs of `stage` in `block` */
    size_t g_cols;    /* that it is for */
    int block, stage; /* -1: none yet */
    const char *sees; /* name of the matrix whose inputs are gathered */
} job;

/* ---- which matrices ------------------------------------------------------------------------ */

/* What stands behind "blk.N."; NULL when it is no tensor of a block. */
static const char *in_block(const char *name, int *block)
{
    uint64_t n;
    const char *digits = name + 4;
    if (strncmp(name, "blk.", 4) != 0)
        return NULL;
    const char *end = strchr(digits, '.');
    if (!end || !tern_parse_u64(digits, (size_t)(end - digits), &n) || n > INT32_MAX)
        return NULL;
    *block = (int)n;
    return end + 1;
}

/* Matrices that read the same input, in the order of the forward pass; 0: no matrix of a block. With
 * norms of their own none read the same: each is its own stage then. */
static int stage_of(const char *name, bool own_norms, int *block)
{
    static const struct {
        const char *name;
        int stage;
    } rows[] = {
        {"attn_qkv.weight", 1}, {"attn_q.weight", 1},      {"attn_k.weight", 1},
        {"attn_v.weight", 1},   {"attn_output.weight", 2}, {"ffn_gate.weight", 3},
        {"ffn_up.weight", 3},   {"ffn_down.weight", 4},
    };
    const char *rest = in_block(name, block);
    for (size_t i = 0; rest && i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rest, rows[i].name) == 0)
            return own_norms ? 8 + (int)i : rows[i].stage;
    return 0;
}

static bool is_meant(const tern_tensor *t, tern_dtype to)
{
    int block;
    return t->n_dim == 2 && stage_of(t->name, false, &block) > 0 &&
           tern_dtype_get(to)->cls == TERN_CLASS_TERNARY &&
           tern_dtype_get(t->dtype)->cls != TERN_CLASS_TERNARY;
}

static size_t group_of(const job *j, const tern_tensor *t, tern_dtype to)
{
    int block = tern_dtype_get(to)->code_group;
    size_t group = j->t->group;
    if (group == TERNARIZE_BLOCK)
        group = block > 0 ? (size_t)block : TERNARIZE_TENSOR;
    if (group != TERNARIZE_TENSOR && group > t->ne[0])
        group = t->ne[0];
    return group;
}

static tern_code check_options(compress_opts *o, const ternarize_opts *t, tern_err *err)
{
    if (o->type == TERN_DT_COUNT)
        o->type = TERN_DT_TQ2_0;
    const tern_dtype_info *dt = tern_dtype_get(o->type);
    if (dt->cls != TERN_CLASS_TERNARY || o->type == TERN_DT_Q1_0)
        return tern_fail(err, TERN_E_USAGE,
                         "type %s is not ternary: choose TQ2_0, TQ1_0, Q2_0 or I2_S", dt->name);
    if (t->group == TERNARIZE_BLOCK || t->group == TERNARIZE_TENSOR)
        return TERN_OK;
    if (dt->code_group < 0)
        return tern_fail(err, TERN_E_USAGE, "--group: %s has one scale for the whole matrix",
                         dt->name);
    if (t->group != TERNARIZE_ROW && t->group % (size_t)dt->code_group != 0)
        return tern_fail(err, TERN_E_USAGE,
                         "--group %zu: %s has a scale for each %d weights of a row, so groups are "
                         "multiples of that (q2_0 has one for 64)",
                         t->group, dt->name, dt->code_group);
    return TERN_OK;
}

/* ---- one matrix ---------------------------------------------------------------------------- */

typedef struct matrix_task {
    const job *j;
    const tern_tensor *t;
    size_t group;       /* TERNARIZE_TENSOR: scale */
    bool half;          /* scales are stored as halves */
    float scale;        /* of the whole matrix */
    const float *h;     /* [ne[0]] or NULL */
    ternary_item *room; /* [n_lane][ne[0]] */
    float *row;         /* [n_lane][ne[0]] */
    double *sums;       /* [n_lane][SUMS] */
    _Atomic bool bad;
} matrix_task;

enum { SUM_ERROR, SUM_SQUARE, SUM_ZEROS, SUMS };

static void load_range(void *arg, int lane, int begin, int end)
{
    matrix_task *m = arg;
    size_t n = m->t->ne[0];
    (void)lane;
    for (int i = begin; i < end; i++) {
        float *row = m->j->w + (size_t)i * n, sum = 0.0f;
        tern_dtype_get(m->t->dtype)->unpack_row(m->t, (size_t)i, row);
        for (size_t k = 0; k < n; k++)
            sum += row[k] * 0.0f;
        if (!(sum == 0.0f))
            atomic_store_explicit(&m->bad, true, memory_order_relaxed);
    }
}

static void round_range(void *arg, int lane, int begin, int end)
{
    const matrix_task *m = arg;
    size_t n = m->t->ne[0];
    for (int i = begin; i < end; i++) {
        float *row = m->j->w + (size_t)i * n, s = m->scale;
        for (size_t at = 0, len; at < n; at += len) {
            len = n - at < m->group ? n - at : m->group;
            if (m->group != TERNARIZE_TENSOR)
                s = ternary_scale(m->j->t->method, row + at, m->h ? m->h + at : NULL, len, m->half,
                                  m->room + (size_t)lane * n);
            for (size_t k = at; k < at + len; k++)
                row[k] = ternary_round(row[k], s);
        }
    }
}

static void compare_range(void *arg, int lane, int begin, int end)
{
    const matrix_task *m = arg;
    size_t n = m->t->ne[0];
    float *was = m->row + (size_t)lane * n;
    double *sums = m->sums + (size_t)lane * SUMS;
    for (int i = begin; i < end; i++) {
        const float *is = m->j->w + (size_t)i * n;
        tern_dtype_get(m->t->dtype)->unpack_row(m->t, (size_t)i, was);
        for (size_t k = 0; k < n; k++) {
            double d = (double)was[k] - (double)is[k];
            sums[SUM_ERROR] += d * d;
            sums[SUM_SQUARE] += (double)was[k] * (double)was[k];
            sums[SUM_ZEROS] += is[k] == 0.0f;
        }
    }
}

/* One scale for all n weights, whose columns weigh h [cols]. */
static tern_code whole_scale(const matrix_task *m, size_t n, float *out, tern_err *err)
{
    ternary_method method = m->j->t->method;
    ternary_item *room = method >= TERNARY_OPTIMAL ? tern_calloc(n, sizeof *room) : NULL;
    float *h = m->h ? tern_calloc(n, sizeof *h) : NULL;
    tern_code rc = TERN_OK;
    if ((method >= TERNARY_OPTIMAL && !room) || (m->h && !h)) {
        rc = tern_fail(err, TERN_E_NOMEM, "out of memory for tensor '%.60s'", m->t->name);
    } else {
        for (size_t i = 0; h && i < n; i++)
            h[i] = m->h[i % m->t->ne[0]];
        *out = ternary_scale(method, m->j->w, h, n, m->half, room);
    }
    tern_free(room);
    tern_free(h);
    return rc;
}

static tern_code take_room(matrix_task *m, tern_err *err)
{
    size_t n_lane = (size_t)tern_pool_size(m->j->o->pool), n = m->t->ne[0];
    m->room = tern_calloc(n_lane * n, sizeof *m->room);
    m->row = tern_calloc(n_lane * n, sizeof *m->row);
    m->sums = tern_calloc(n_lane * SUMS, sizeof *m->sums);
    if (m->room && m->row && m->sums)
        return TERN_OK;
    return tern_fail(err, TERN_E_NOMEM, "out of memory for tensor '%.60s'", m->t->name);
}

static void report(const matrix_task *m)
{
    double sums[SUMS] = {0}, n = (double)m->t->ne[0] * (double)m->t->ne[1];
    for (size_t i = 0; i < (size_t)tern_pool_size(m->j->o->pool) * SUMS; i++)
        sums[i % SUMS] += m->sums[i];
    const ternarize_report r = {.name = m->t->name,
                                .group = m->group,
                                .mse = sums[SUM_ERROR] / n,
                                .relative =
                                    sums[SUM_SQUARE] > 0 ? sums[SUM_ERROR] / sums[SUM_SQUARE] : 0.0,
                                .zeros = sums[SUM_ZEROS] / n};
    m->j->t->report(m->j->t->ctx, &r);
}

/* ---- GPTQ ---------------------------------------------------------------------------------- */

static void gather(void *ctx, const tern_matrix_input *in)
{
    job *j = ctx;
    if (strcmp(in->name, j->sees) == 0)
        gptq_see(j->g, in->x, in->stride, (size_t)in->n_row);
}

static bool is_stopped(void *ctx)
{
    const job *j = ctx;
    return j->o->cancelled && j->o->cancelled(j->o->ctx);
}

/* j->g is of t's inputs, as what was written so far makes them. */
static tern_code meet_inputs(job *j, const tern_tensor *t, tern_err *err)
{
    int block, stage;
    if (!j->walk) {
        TERN_TRY(
            tern_walk_new(j->dir, j->t->ids, j->t->n_seq, j->t->n_ctx, j->o->pool, &j->walk, err));
        j->block = 0;
    }
    (void)stage_of(t->name, false, &block);
    if (block >= tern_walk_n_layer(j->walk))
        return tern_fail(err, TERN_E_FORMAT, "%s: tensor '%.60s' is of no block", j->dir->path,
                         t->name);
    stage = stage_of(t->name, tern_walk_own_norms(j->walk, block), &block);
    for (; j->block < block; j->block++, j->stage = -1)
        TERN_TRY(tern_walk_block(j->walk, j->block, true, NULL, j, is_stopped, err));
    if (j->stage == stage)
        return TERN_OK;
    if (j->g_cols != t->ne[0]) {
        gptq_free(j->g);
        j->g_cols = 0;
        TERN_TRY(gptq_new(t->ne[0], j->o->pool, &j->g, err));
        j->g_cols = t->ne[0];
    }
    gptq_reset(j->g);
    j->sees = t->name;
    TERN_TRY(tern_walk_block(j->walk, block, false, gather, j, is_stopped, err));
    j->stage = stage;
    return gptq_factor(j->g, j->t->damp, err);
}

/* The blocks that follow see what was made of t. */
static tern_code pass_on(job *j, const tern_tensor *t, tern_dtype to, tern_err *err)
{
    tern_tensor made = *t;
    made.dtype = to;
    if (!tern_dtype_bytes(to, t->ne, &made.bytes))
        return tern_fail(err, TERN_E_UNSUPPORTED, "tensor '%.60s' cannot have type %s", t->name,
                         tern_dtype_get(to)->name);
    uint8_t *bytes = tern_calloc(made.bytes, 1);
    if (!bytes)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for tensor '%.60s'", t->name);
    made.data = bytes;
    tern_dtype_get(to)->pack(j->w, t->ne[1], t->ne[0], NULL, bytes);
    tern_code rc = tern_walk_replace(j->walk, j->block, &made, err);
    tern_free(bytes);
    return rc;
}

static tern_code compensate(job *j, const matrix_task *m, tern_dtype to, tern_err *err)
{
    const gptq_rule rule = {.group = m->group, .half = m->half, .scale = m->scale};
    double loss;
    TERN_TRY(meet_inputs(j, m->t, err));
    TERN_TRY(gptq_round(j->g, j->w, m->t->ne[1], &rule, &loss, err));
    return pass_on(j, m->t, to, err);
}

/* ---- the file ------------------------------------------------------------------------------ */

static tern_code make_matrix(job *j, matrix_task *m, tern_dtype to, tern_err *err)
{
    tern_pool *pool = j->o->pool;
    size_t n = m->t->ne[0] * m->t->ne[1];
    int rows = (int)m->t->ne[1];
    TERN_TRY(take_room(m, err));
    tern_pool_for(pool, rows, 1, load_range, m);
    if (atomic_load_explicit(&m->bad, memory_order_relaxed))
        return tern_fail(err, TERN_E_FORMAT, "%s: tensor '%.60s': a weight is not finite",
                         j->dir->path, m->t->name);
    if (j->t->method == TERNARY_OPTIMAL && j->t->weights)
        TERN_TRY(imatrix_weigh(j->t->weights, m->t, &m->h, err));
    if (m->group == TERNARIZE_TENSOR)
        TERN_TRY(whole_scale(m, n, &m->scale, err));
    if (j->t->method == TERNARY_GPTQ)
        TERN_TRY(compensate(j, m, to, err));
    else
        tern_pool_for(pool, rows, 1, round_range, m);
    if (j->t->report) {
        tern_pool_for(pool, rows, 1, compare_range, m);
        report(m);
    }
    return TERN_OK;
}

/* A compress_opts.values, ctx its opts' ctx. */
static tern_code make_values(void *ctx, const tern_tensor *t, tern_dtype to, const float **out,
                             tern_err *err)
{
    job *j = ctx;
    size_t n;
    *out = NULL;
    if (!is_meant(t, to))
        return TERN_OK;
    if (!tern_mul_size(t->ne[0], t->ne[1], &n) || t->ne[1] > INT32_MAX)
        return tern_fail(err, TERN_E_NOMEM, "tensor '%.60s' is too large", t->name);
    if (n > j->w_floats) {
        tern_free(j->w);
        j->w_floats = 0;
        j->w = tern_alloc(n * sizeof *j->w);
        if (!j->w)
            return tern_fail(err, TERN_E_NOMEM, "out of memory for tensor '%.60s'", t->name);
        j->w_floats = n;
    }
    matrix_task m = {.j = j,
                     .t = t,
                     .group = group_of(j, t, to),
                     .half = tern_dtype_get(to)->unit == TERN_UNIT_BLOCK};
    tern_code rc = make_matrix(j, &m, to, err);
    tern_free(m.room);
    tern_free(m.row);
    tern_free(m.sums);
    *out = j->w;
    return rc;
}

typedef struct place {
    int block, stage;
    size_t i;
} place;

static int by_place(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->block != y->block)
        return x->block < y->block ? -1 : 1;
    if (x->stage != y->stage)
        return x->stage < y->stage ? -1 : 1;
    return (x->i > y->i) - (x->i < y->i);
}

/* Tensors as the forward pass comes to them, what belongs to no block first. */
static tern_code sort_tensors(job *j, tern_err *err)
{
    size_t n = j->dir->n_tensor;
    place *all = tern_calloc(n + 1, sizeof *all);
    j->order = tern_calloc(n + 1, sizeof *j->order);
    if (!all || !j->order) {
        tern_free(all);
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the list of tensors");
    }
    for (size_t i = 0; i < n; i++) {
        const char *name = j->dir->tensors[i].name;
        int block = -1;
        all[i].i = i;
        all[i].stage = stage_of(name, false, &block);
        all[i].block = block;
    }
    qsort(all, n, sizeof *all, by_place);
    for (size_t i = 0; i < n; i++)
        j->order[i] = all[i].i;
    tern_free(all);
    return TERN_OK;
}

/* The callbacks of the caller get its own ctx. */
typedef struct relay {
    job j;
    const compress_opts *o;
} relay;

static void relay_note(void *ctx, const compress_note *n)
{
    const relay *r = ctx;
    if (r->o->note)
        r->o->note(r->o->ctx, n);
}

static void relay_progress(void *ctx, uint64_t done, uint64_t total)
{
    const relay *r = ctx;
    if (r->o->progress)
        r->o->progress(r->o->ctx, done, total);
}

static bool relay_cancelled(void *ctx)
{
    const relay *r = ctx;
    return r->o->cancelled && r->o->cancelled(r->o->ctx);
}

static void put_keys(void *ctx, tern_gguf_writer *w)
{
    static const char *const names[] = {"absmean", "absmax", "optimal", "gptq"};
    const relay *r = ctx;
    tern_gguf_key_str(w, "ternarize.method", names[r->j.t->method]);
    if (r->o->keys)
        r->o->keys(r->o->ctx, w);
}

tern_code compress_ternarize(const char *in, const tern_import_opts *io, const char *out,
                             compress_opts *o, const ternarize_opts *t, int n_thread, tern_err *err)
{
    tern_dir *d = NULL;
    tern_pool *pool = NULL;
    tern_topology top;
    tern_code rc;
    relay r = {.j = {.t = t, .block = -1, .stage = -1}, .o = o};
    TERN_TRY(check_options(o, t, err));
    compress_opts inner = *o;
    TERN_TRY_GOTO(tern_import_open(in, io, &d, err));
    tern_topology_get(&top);
    TERN_TRY_GOTO(tern_pool_new(n_thread > 0 ? n_thread : tern_topology_threads(&top), &pool, err));
    inner.values = make_values;
    inner.note = relay_note;
    inner.progress = relay_progress;
    inner.cancelled = relay_cancelled;
    inner.keys = put_keys;
    inner.importance = NULL;
    inner.ctx = &r;
    inner.pool = pool;
    r.j.o = &inner;
    r.j.dir = d;
    if (t->method == TERNARY_GPTQ)
        TERN_TRY_GOTO(sort_tensors(&r.j, err));
    inner.order = r.j.order;
    rc = compress_rewrite(d, out, &inner, err);
fail:
    tern_walk_free(r.j.walk);
    gptq_free(r.j.g);
    tern_free(r.j.w);
    tern_free(r.j.order);
    tern_pool_free(pool);
    tern_dir_close(d);
    return rc;
}
