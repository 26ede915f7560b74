#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "engine/engine.h"

#include <string.h>

void tern_session_opts_init(tern_session_opts *o)
{
    *o = (tern_session_opts){.size = sizeof *o};
}

/* Room for the outputs of n rows; those that are kept stay. */
static tern_code reserve_out(tern_session *s, int n, tern_err *err)
{
    const tern_exec *e = &s->m->e;
    if (n <= s->cap_out)
        return TERN_OK;
    s->kept_stride = tern_kept_stride(e->vocab_stride, e->x_stride, &s->m->w.screen);
    size_t row = s->kept_stride * sizeof *s->logits, cap = (size_t)s->cap_out;
    float *p = tern_realloc(s->logits, cap * row, (size_t)n * row);
    if (p)
        s->logits = p;
    tern_kept *k = tern_realloc(s->kept, cap * sizeof *k, (size_t)n * sizeof *k);
    if (k)
        s->kept = k;
    if (!p || !k)
        return tern_fail(err, TERN_E_NOMEM, "session: out of memory for the outputs of %d rows", n);
    s->cap_out = n;
    return TERN_OK;
}

tern_code tern_cache_shape(const tern_model *m, tern_cache_type k, tern_cache_type v,
                           tern_kv_shape *out, tern_err *err)
{
    const tern_kv_dtype dtypes[] = {[TERN_CACHE_AUTO] = tern_kv_auto(m->w.h.d_head),
                                    [TERN_CACHE_F16] = TERN_KV_F16,
                                    [TERN_CACHE_Q8] = TERN_KV_I8,
                                    [TERN_CACHE_F32] = TERN_KV_F32};
    if ((unsigned)k > TERN_CACHE_F32 || (unsigned)v > TERN_CACHE_F32)
        return tern_fail(err, TERN_E_USAGE, "cache type %d or %d out of range", (int)k, (int)v);
    *out = m->kv_f16;
    out->k = dtypes[k];
    out->v = dtypes[v];
    return TERN_OK;
}

tern_code tern_session_new(tern_model *m, const tern_session_opts *opts, tern_session **out,
                           tern_err *err)
{
    tern_session_opts o;
    tern_kv_shape shape;
    *out = NULL;
    tern_session_opts_init(&o);
    if (opts)
        memcpy(&o, opts, opts->size < sizeof o ? opts->size : sizeof o);
    TERN_TRY(tern_model_needs_weights(m, err));
    if (o.n_ctx < 0)
        return tern_fail(err, TERN_E_USAGE, "session: context %d out of range", o.n_ctx);
    TERN_TRY(tern_cache_shape(m, o.cache_k, o.cache_v, &shape, err));
    tern_session *s = tern_calloc(1, sizeof *s);
    if (!s)
        return tern_fail(err, TERN_E_NOMEM, "session: out of memory");
    s->m = m;
    s->progress = o.progress;
    s->ctx = o.ctx;
    tern_code rc = tern_seq_init(&s->seq, &shape, o.n_ctx ? o.n_ctx : m->w.h.n_ctx_train, err);
    if (rc == TERN_OK)
        rc = reserve_out(s, 1, err);
    if (rc != TERN_OK) {
        tern_session_free(s);
        return rc;
    }
    *out = s;
    return TERN_OK;
}

void tern_session_free(tern_session *s)
{
    if (!s)
        return;
    tern_seq_done(&s->seq);
    tern_free(s->logits);
    tern_free(s->kept);
    tern_free(s);
}

void tern_session_settle(tern_session *s)
{
    if (s->n_ahead == 0)
        return;
    tern_seq_truncate(&s->seq, tern_session_n_tok(s));
    s->n_out -= s->n_ahead;
    s->n_ahead = 0;
}

bool tern_session_catch_up(tern_session *s, int32_t id)
{
    if (s->n_ahead > 0 && s->seq.ids[tern_session_n_tok(s)] == id) {
        s->n_ahead--;
        return true;
    }
    tern_session_settle(s);
    return false;
}

static void keep(tern_session *s, const tern_output *out)
{
    const tern_exec *e = &s->m->e;
    tern_kept *k = &s->kept[s->n_out];
    float *row = tern_session_row(s, s->n_out++);
    const tern_screen *c = out->screen;
    memcpy(row, c ? c->y : out->logits, (size_t)s->m->w.h.n_vocab * sizeof *row);
    memcpy(row + e->vocab_stride, out->hidden, e->x_stride * sizeof *row);
    *k = (tern_kept){.screened = c != NULL};
    if (!c)
        return;
    *k = (tern_kept){true, c->norm, c->rho, c->mean};
    size_t n = (size_t)tern_head_n_block(c->h);
    memcpy(row + e->vocab_stride + e->x_stride, c->up, n * sizeof *row);
    memcpy(row + e->vocab_stride + e->x_stride + n, c->top, n * sizeof *row);
}

/* Rows of the feed: the last ones are kept, and all are shown to who asked for them. */
static void keep_output(void *ctx, int row, const tern_output *out)
{
    tern_session *s = ctx;
    size_t first = s->feed.n_tok - (size_t)s->feed.n_out;
    if ((size_t)row == first) /* from here on nothing can fail */
        s->n_out = 0;
    if ((size_t)row >= first)
        keep(s, out);
    if (s->all_sink)
        s->all_sink(s->all_ctx, row, out->logits);
}

static tern_code make_feed(tern_session *s, const int32_t *ids, size_t n_tok, int n_out,
                           tern_logits_fn all_sink, void *ctx, tern_err *err)
{
    TERN_TRY(reserve_out(s, n_out, err));
    tern_session_settle(s);
    s->n_feed++;
    s->all_sink = all_sink;
    s->all_ctx = ctx;
    s->feed = (tern_feed){.seq = &s->seq,
                          .ids = ids,
                          .n_tok = n_tok,
                          .n_out = n_out,
                          .all_logits = all_sink != NULL,
                          .whole_head = s->whole_head,
                          .group = s->group,
                          .brief = s->brief,
                          .sink = keep_output,
                          .sink_ctx = s,
                          .progress = s->progress,
                          .progress_ctx = s->ctx,
                          .cancel = &s->cancel};
    return tern_feed_begin(&s->feed, &s->m->e, err);
}

tern_code tern_session_feed(tern_session *s, const int32_t *ids, size_t n_tok, int n_out,
                            tern_logits_fn all_sink, void *ctx, tern_err *err)
{
    return make_feed(s, ids, n_tok, n_out, all_sink, ctx, err);
}

static tern_code eval(tern_session *s, const int32_t *ids, size_t n_tok, int n_out,
                      tern_logits_fn all_sink, void *ctx, tern_err *err)
{
    tern_model *m = s->m;
    TERN_TRY(make_feed(s, ids, n_tok, n_out, all_sink, ctx, err));
    tern_turn_take(&m->turn);
    tern_code rc = tern_eval(&m->e, m->rows, &s->feed, &m->cost, err);
    tern_turn_give(&m->turn);
    return rc;
}

tern_code tern_session_step(tern_session *s, const int32_t *ids, size_t n_tok, int n_out,
                            tern_err *err)
{
    return eval(s, ids, n_tok, n_out, NULL, NULL, err);
}

tern_code tern_session_eval(tern_session *s, const int32_t *ids, size_t n_tok, tern_err *err)
{
    atomic_store_explicit(&s->cancel, false, memory_order_relaxed);
    s->whole_head = false;
    return eval(s, ids, n_tok, 1, NULL, NULL, err);
}

tern_code tern_session_eval_all(tern_session *s, const int32_t *ids, size_t n_tok,
                                void (*sink)(void *ctx, int row, const float *logits), void *ctx,
                                tern_err *err)
{
    atomic_store_explicit(&s->cancel, false, memory_order_relaxed);
    s->whole_head = false;
    return eval(s, ids, n_tok, 1, sink, ctx, err);
}

const float *tern_session_logits(const tern_session *s)
{
    bool half_done = s->feed.rc == TERN_OK && s->feed.n_done && !tern_feed_over(&s->feed);
    int row = s->n_out - 1 - s->n_ahead;
    if (s->n_out == 0 || half_done || s->feed.rc == TERN_E_IO) /* made of a file that was cut */
        return NULL;
    if (s->kept[row].screened)
        tern_session_complete(s, row);
    return tern_session_row(s, row);
}

const int32_t *tern_session_tokens(const tern_session *s, size_t *n_tok)
{
    *n_tok = (size_t)tern_session_n_tok(s);
    return s->seq.ids;
}

int32_t tern_session_n_ctx(const tern_session *s)
{
    return s->seq.n_ctx;
}

void tern_session_rewind(tern_session *s, size_t n_tok)
{
    if (n_tok >= (size_t)tern_session_n_tok(s))
        return;
    tern_session_settle(s);
    tern_seq_truncate(&s->seq, (int)n_tok);
    s->n_feed++; /* no feed goes on from here */
    s->n_out = 0;
}

void tern_session_adopt(tern_session *s, tern_seq *seq)
{
    tern_seq_done(&s->seq);
    s->seq = *seq;
    *seq = (tern_seq){0};
    s->n_out = s->n_ahead = 0;
    s->n_feed++;
}

void tern_session_cancel(tern_session *s)
{
    atomic_store_explicit(&s->cancel, true, memory_order_relaxed);
}
