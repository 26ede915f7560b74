#include "model/walk.h"
#include "base/alloc.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/num.h"
#include "model/exec.h"

#include <string.h>

#define MAX_TOK  256 /* rows of a step */
#define MATRICES 7

struct tern_walk {
    tern_weights w;
    tern_exec e;
    tern_seq seq; /* one text's keys and values */
    tern_pool *pool;
    tern_tensor *put; /* owned; [n_layer][MATRICES]: what linears' src is after a replacement */
    int32_t *ids;     /* owned; [n_seq][n_ctx] */
    float *x;         /* owned; [n_seq][n_ctx][x_stride]: what enters the next block */
    tern_row *rows;   /* owned; [MAX_TOK] */
    size_t n_seq, x_bytes;
    int n_ctx;
    bool have_seq;
};

static tern_code make_rows(tern_walk *w, const int32_t *ids, tern_err *err)
{
    size_t n;
    if (!tern_mul_size(w->n_seq, (size_t)w->n_ctx, &n) ||
        !tern_mul_size(n, w->e.x_stride * sizeof *w->x, &w->x_bytes))
        return tern_fail(err, TERN_E_NOMEM, "out of memory for %zu texts", w->n_seq);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= w->w.h.n_vocab)
            return tern_fail(err, TERN_E_USAGE, "token %zu is id %d, expected 0..%d", i, ids[i],
                             w->w.h.n_vocab - 1);
    w->ids = tern_calloc(n, sizeof *w->ids);
    w->x = tern_lazy_alloc(w->x_bytes);
    w->rows = tern_calloc(MAX_TOK, sizeof *w->rows);
    w->put = tern_calloc((size_t)w->w.h.n_layer * MATRICES, sizeof *w->put);
    if (!w->ids || !w->x || !w->rows || !w->put)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for %zu rows of calibration", n);
    memcpy(w->ids, ids, n * sizeof *ids);
    return TERN_OK;
}

tern_code tern_walk_new(const tern_dir *dir, const int32_t *ids, size_t n_seq, int n_ctx,
                        tern_pool *pool, tern_walk **out, tern_err *err)
{
    const tern_bind_opts bind = {0};
    unsigned cpu;
    tern_code rc;
    tern_walk *w = *out = tern_calloc(1, sizeof *w);
    if (!w)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    w->pool = pool;
    w->n_seq = n_seq;
    w->n_ctx = n_ctx;
    TERN_TRY_GOTO(tern_cpu_flags(&cpu, err));
    TERN_TRY_GOTO(tern_weights_read(&w->w, dir, 0, err));
    const tern_hparams *h = &w->w.h;
    if (h->bidirectional && n_ctx > MAX_TOK) {
        rc = tern_fail(err, TERN_E_UNSUPPORTED,
                       "%s: attention goes both ways: texts of at most %d tokens", dir->path,
                       MAX_TOK);
        goto fail;
    }
    TERN_TRY_GOTO(tern_weights_bind(&w->w, &bind, pool, err));
    TERN_TRY_GOTO(tern_exec_init(&w->e, &w->w, pool, cpu, MAX_TOK, err));
    int d_row = (int)tern_round_up((size_t)h->d_head, 8);
    const tern_kv_shape shape = {.n_block = h->n_layer,
                                 .n_kv_head = h->n_kv_head,
                                 .d_k = d_row,
                                 .d_v = d_row,
                                 .k = TERN_KV_F32,
                                 .v = TERN_KV_F32};
    TERN_TRY_GOTO(tern_seq_init(&w->seq, &shape, n_ctx, err));
    w->have_seq = true;
    rc = make_rows(w, ids, err);
fail:
    if (rc != TERN_OK) {
        tern_walk_free(w);
        *out = NULL;
    }
    return rc;
}

void tern_walk_free(tern_walk *w)
{
    if (!w)
        return;
    if (w->have_seq)
        tern_seq_done(&w->seq);
    tern_exec_done(&w->e);
    tern_weights_done(&w->w);
    if (w->x)
        tern_lazy_free(w->x, w->x_bytes);
    tern_free(w->ids);
    tern_free(w->rows);
    tern_free(w->put);
    tern_free(w);
}

int tern_walk_n_layer(const tern_walk *w)
{
    return w->w.h.n_layer;
}

/* Rows [at, at + n) of a text through block i. */
static tern_code step(tern_walk *w, int i, size_t text, int at, int n, bool pass, tern_err *err)
{
    tern_exec *e = &w->e;
    const int32_t *ids = w->ids + text * (size_t)w->n_ctx + at;
    float *x = w->x + (text * (size_t)w->n_ctx + (size_t)at) * e->x_stride;
    size_t bytes = (size_t)n * e->x_stride * sizeof *x;
    TERN_TRY(tern_seq_reserve(&w->seq, n, err));
    for (int t = 0; t < n; t++)
        w->rows[t] = (tern_row){.seq = &w->seq, .id = ids[t], .pos = at + t};
    tern_forward_embed(e, w->rows, n); /* its rotations are wanted in every block */
    if (i > 0)
        memcpy(e->x, x, bytes);
    tern_forward_block(e, i, w->rows, n);
    if (pass)
        memcpy(x, e->x, bytes);
    tern_seq_commit(&w->seq, ids, n);
    return TERN_OK;
}

tern_code tern_walk_block(tern_walk *w, int i, bool pass, tern_watch_fn fn, void *ctx,
                          bool (*stop)(void *ctx), tern_err *err)
{
    tern_code rc = TERN_OK;
    w->e.watch = fn;
    w->e.watch_ctx = ctx;
    for (size_t text = 0; text < w->n_seq && rc == TERN_OK; text++) {
        tern_seq_truncate(&w->seq, 0);
        for (int at = 0; at < w->n_ctx && rc == TERN_OK; at += MAX_TOK) {
            int n = w->n_ctx - at < MAX_TOK ? w->n_ctx - at : MAX_TOK;
            rc = step(w, i, text, at, n, pass, err);
        }
        if (rc == TERN_OK && stop && stop(ctx))
            rc = tern_fail(err, TERN_E_CANCELLED, "cancelled; nothing was written");
    }
    w->e.watch = NULL;
    return rc;
}

static void matrices_of(tern_block *b, tern_linear *out[MATRICES])
{
    tern_attention *a = &b->m.attention;
    tern_dense *f = &b->f.dense;
    tern_linear *const all[MATRICES] = {&a->q, &a->k, &a->v, &a->o, &f->gate, &f->up, &f->down};
    memcpy(out, all, sizeof all);
}

tern_code tern_walk_replace(tern_walk *w, int i, const tern_tensor *with, tern_err *err)
{
    tern_linear *all[MATRICES];
    size_t row = 0;
    matrices_of(&w->w.blocks[i], all);
    for (int j = 0; j < MATRICES; j++) {
        tern_linear *l = all[j], made;
        tern_tensor *view = &w->put[i * MATRICES + j];
        if (!l->src || strcmp(l->src->name, with->name) != 0)
            continue;
        size_t part = l->src->part, n = (size_t)l->rows;
        if (!tern_tensor_view(with, row, n, view))
            return tern_fail(err, TERN_E_UNSUPPORTED, "tensor '%s': type %s cannot be split",
                             with->name, tern_dtype_get(with->dtype)->name);
        view->part = part;
        view->name = l->src->name;
        tern_code rc =
            tern_linear_init(&made, view, w->w.h.token_act8, TERN_PACK_T2R16, w->pool, err);
        if (rc != TERN_OK) {
            tern_linear_done(&made);
            return rc;
        }
        made.bias = l->bias;
        tern_linear_done_weights(l);
        *l = made;
        row += n;
    }
    return TERN_OK;
}

bool tern_walk_own_norms(const tern_walk *w, int i)
{
    const tern_attention *a = &w->w.blocks[i].m.attention;
    const tern_dense *f = &w->w.blocks[i].f.dense;
    return a->q_norm_in || a->k_norm_in || a->v_norm_in || f->gate_norm_in || f->up_norm_in;
}
