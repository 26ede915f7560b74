/* Texts to vectors: rows of several texts ride through the model together, and what comes out of the final
 * norm is pooled as it arrives, so that no more of it is kept than a vector for each text being read. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "engine/engine.h"

#include <math.h>
#include <string.h>

/* Texts read at a time; more would only wait. */
#define MAX_READING 64

/* A text being read. */
typedef struct reading {
    tern_feed feed;
    tern_seq seq;
    const tern_embed_text *text; /* NULL: this place is free */
    tern_pooling pooling;
    int d_model;
    double *sum; /* [d_model] */
} reading;

typedef struct embedder {
    tern_model *m;
    tern_embed_opts o;
    tern_pooling pooling;
    tern_kv_shape shape;
    int n_ctx;
    const tern_embed_text *texts;
    size_t n_text, next; /* the first one that is not being read yet */
    reading *r;          /* owned; [MAX_READING] */
    double *sums;        /* owned; theirs */
    float *out;
} embedder;

void tern_embed_opts_init(tern_embed_opts *o)
{
    *o = (tern_embed_opts){.size = sizeof *o, .normalize = true};
}

/* ---- one text ------------------------------------------------------------------------------ */

static void pool_row(void *ctx, int row, const tern_output *out)
{
    reading *r = ctx;
    if ((r->pooling == TERN_POOLING_CLS && row > 0) ||
        (r->pooling == TERN_POOLING_LAST && (size_t)row + 1 < r->feed.n_tok))
        return;
    for (int i = 0; i < r->d_model; i++)
        r->sum[i] += (double)out->hidden[i];
}

static void write_vector(const reading *r, bool normalize, float *out)
{
    double by = r->pooling == TERN_POOLING_MEAN ? (double)r->feed.n_tok : 1.0;
    if (normalize) {
        double squares = 0.0;
        for (int i = 0; i < r->d_model; i++)
            squares += r->sum[i] * r->sum[i];
        by = squares > 0.0 ? sqrt(squares) : 1.0;
    }
    for (int i = 0; i < r->d_model; i++)
        out[i] = (float)(r->sum[i] / by);
}

static tern_code start(embedder *e, reading *r, tern_err *err)
{
    const tern_embed_text *t = &e->texts[e->next];
    TERN_TRY(tern_seq_init(&r->seq, &e->shape, e->n_ctx, err));
    r->text = t;
    memset(r->sum, 0, (size_t)r->d_model * sizeof *r->sum);
    r->feed = (tern_feed){.seq = &r->seq,
                          .ids = t->ids,
                          .n_tok = t->n_tok,
                          .n_out = 1,
                          .all_hidden = true,
                          .sink = pool_row,
                          .sink_ctx = r};
    e->next++;
    return tern_feed_begin(&r->feed, &e->m->e, err);
}

static void stop(reading *r)
{
    if (r->text)
        tern_seq_done(&r->seq);
    r->text = NULL;
}

/* ---- all texts ----------------------------------------------------------------------------- */

static tern_code check_text(const embedder *e, size_t i, tern_err *err)
{
    const tern_embed_text *t = &e->texts[i];
    int n_vocab = e->m->w.h.n_vocab, at_once = e->m->e.max_tok;
    if (t->n_tok == 0)
        return tern_fail(err, TERN_E_USAGE, "text %zu has no tokens", i + 1);
    if (t->n_tok > (size_t)e->n_ctx)
        return tern_fail(err, TERN_E_LIMIT,
                         "text %zu is too long: %zu tokens, the context holds %d", i + 1, t->n_tok,
                         e->n_ctx);
    if (e->m->w.h.bidirectional && t->n_tok > (size_t)at_once)
        return tern_fail(err, TERN_E_LIMIT,
                         "text %zu is too long: %zu tokens, at most %d where attention goes both "
                         "ways",
                         i + 1, t->n_tok, at_once);
    for (size_t k = 0; k < t->n_tok; k++)
        if (t->ids[k] < 0 || t->ids[k] >= n_vocab)
            return tern_fail(err, TERN_E_USAGE, "text %zu: token %zu is id %d, expected 0..%d",
                             i + 1, k, t->ids[k], n_vocab - 1);
    return TERN_OK;
}

/* Let texts begin while their rows fit the next pass; *list: all that are being read. */
static tern_code fill(embedder *e, tern_feed **list, tern_err *err)
{
    size_t n_row = 0;
    for (int i = 0; i < MAX_READING; i++)
        if (e->r[i].text)
            n_row += e->r[i].feed.n_tok - e->r[i].feed.n_done;
    for (int i = 0; i < MAX_READING && e->next < e->n_text && n_row < (size_t)e->m->e.max_tok; i++)
        if (!e->r[i].text) {
            TERN_TRY(start(e, &e->r[i], err));
            n_row += e->r[i].feed.n_tok;
        }
    *list = NULL;
    for (int i = MAX_READING - 1; i >= 0; i--)
        if (e->r[i].text) {
            e->r[i].feed.next = *list;
            *list = &e->r[i].feed;
        }
    return TERN_OK;
}

/* Vectors of texts that are read to their end. */
static tern_code collect(embedder *e, size_t *n_done, tern_err *err)
{
    for (int i = 0; i < MAX_READING; i++) {
        reading *r = &e->r[i];
        if (!r->text || !tern_feed_over(&r->feed))
            continue;
        if (r->feed.rc != TERN_OK) {
            if (err)
                *err = r->feed.err;
            return r->feed.rc;
        }
        write_vector(r, e->o.normalize, e->out + (size_t)(r->text - e->texts) * (size_t)r->d_model);
        stop(r);
        ++*n_done;
    }
    return TERN_OK;
}

static tern_code read_all(embedder *e, tern_err *err)
{
    for (size_t n_done = 0; n_done < e->n_text;) {
        tern_feed *list;
        if (e->o.progress && !e->o.progress(e->o.ctx, n_done, e->n_text))
            return tern_fail(err, TERN_E_CANCELLED, "cancelled after %zu of %zu texts", n_done,
                             e->n_text);
        TERN_TRY(fill(e, &list, err));
        tern_turn_take(&e->m->turn);
        for (tern_feed *f = list; f; f = f->next)
            f->brief = tern_turn_is_awaited(&e->m->turn);
        tern_pass(&e->m->e, e->m->rows, list, &e->m->cost);
        tern_turn_give(&e->m->turn);
        TERN_TRY(collect(e, &n_done, err));
    }
    return TERN_OK;
}

static tern_code choose_pooling(embedder *e, tern_err *err)
{
    int in_file = e->m->w.h.pooling;
    e->pooling = e->o.pooling;
    if (e->pooling != TERN_POOLING_AUTO)
        return TERN_OK;
    if (in_file > TERN_POOLING_LAST)
        return tern_fail(err, TERN_E_UNSUPPORTED,
                         "%s: %s.pooling_type is %d, which ranks texts: name a pooling for vectors",
                         e->m->dir->path, e->m->w.h.arch, in_file);
    e->pooling = in_file > 0 ? (tern_pooling)in_file : TERN_POOLING_MEAN;
    return TERN_OK;
}

tern_code tern_model_embed(tern_model *m, const tern_embed_text *texts, size_t n_text,
                           const tern_embed_opts *opts, float *out, tern_err *err)
{
    embedder e = {.m = m, .texts = texts, .n_text = n_text, .out = out};
    size_t d = (size_t)m->w.h.d_model;
    tern_code rc;
    TERN_TRY(tern_model_needs_weights(m, err));
    tern_embed_opts_init(&e.o);
    if (opts)
        memcpy(&e.o, opts, opts->size < sizeof e.o ? opts->size : sizeof e.o);
    e.n_ctx = e.o.n_ctx ? e.o.n_ctx : m->w.h.n_ctx_train;
    if ((unsigned)e.o.pooling > TERN_POOLING_LAST || e.n_ctx < 1)
        return tern_fail(err, TERN_E_USAGE, "embedding: pooling %d or context %d out of range",
                         (int)e.o.pooling, e.n_ctx);
    TERN_TRY(tern_cache_shape(m, e.o.cache_k, e.o.cache_v, &e.shape, err));
    TERN_TRY(choose_pooling(&e, err));
    for (size_t i = 0; i < n_text; i++)
        TERN_TRY(check_text(&e, i, err));
    if (!out || n_text == 0)
        return TERN_OK;
    e.r = tern_calloc(MAX_READING, sizeof *e.r);
    e.sums = tern_calloc(MAX_READING * d, sizeof *e.sums);
    if (!e.r || !e.sums) {
        rc = tern_fail(err, TERN_E_NOMEM, "embedding: out of memory");
        goto fail;
    }
    for (size_t i = 0; i < MAX_READING; i++) {
        e.r[i].pooling = e.pooling;
        e.r[i].d_model = (int)d;
        e.r[i].sum = e.sums + i * d;
    }
    rc = read_all(&e, err);
    for (int i = 0; i < MAX_READING; i++)
        stop(&e.r[i]);
fail:
    tern_free(e.r);
    tern_free(e.sums);
    return rc;
}
