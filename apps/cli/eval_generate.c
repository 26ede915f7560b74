/* Tasks where a model writes its answer: several sessions, each of which keeps the examples' state, write
 * theirs together. */
#include "base/alloc.h"
#include "base/error.h"
#include "eval.h"

#include <string.h>

/* Somebody who answers one question after the other. */
typedef struct writer {
    tern_session *s; /* owned */
    tern_request *r; /* owned; NULL: has no question */
    size_t item;
    tern_str text;
} writer;

typedef struct writing {
    eval_run *e;
    writer *w; /* owned; [n] */
    size_t n;
    size_t next, n_done; /* the next item; items that are done */
    tern_gen_opts gen;
    tern_ids ids;
} writing;

static void init_options(writing *g)
{
    const eval_task *t = g->e->task;
    tern_gen_opts_init(&g->gen);
    g->gen.temp = 0;
    g->gen.n_predict = t->n_predict;
    g->gen.stop = t->stop;
    while (t->stop[g->gen.n_stop])
        g->gen.n_stop++;
}

static tern_code open_writers(writing *g, tern_err *err)
{
    eval_run *e = g->e;
    size_t n_item = e->set.n - e->first, n = (size_t)cli_int(&e->c->opt, OPT_EVAL_STREAMS);
    if ((size_t)e->task->n_predict + 1 > e->n_ctx)
        return tern_fail(err, TERN_E_USAGE,
                         "%s: a context of %zu is too small for answers of up to %d tokens",
                         e->task->name, e->n_ctx, e->task->n_predict);
    g->n = n < n_item ? n : n_item;
    g->w = tern_calloc(g->n, sizeof *g->w);
    if (!g->w)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for %zu answers", g->n);
    for (size_t i = 0; i < g->n; i++) {
        tern_str_init(&g->w[i].text, 1 << 24);
        TERN_TRY(cli_session_new(e->c, e->m, (int32_t)e->n_ctx, &g->w[i].s, err));
    }
    return TERN_OK;
}

static tern_code ask(writing *g, writer *w, tern_err *err)
{
    eval_run *e = g->e;
    w->item = g->next++;
    tern_str_clear(&w->text);
    g->ids.n = 0;
    TERN_TRY(eval_prompt_ids(e, e->set.item[w->item].context, e->n_ctx - (size_t)e->task->n_predict,
                             &g->ids, err));
    return tern_request_new(w->s, g->ids.v, g->ids.n, &g->gen, &w->r, err);
}

/* The answer is written. */
static tern_code judge(writing *g, writer *w, tern_err *err)
{
    const eval_item *item = &g->e->set.item[w->item];
    eval_result *r = &g->e->result[w->item];
    tern_request_free(w->r);
    w->r = NULL;
    r->text = w->text.failed ? NULL : tern_strdup_n(tern_str_get(&w->text), w->text.len);
    if (!r->text)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for an answer");
    TERN_TRY(eval_judge_text(item, r, err));
    r->done = true;
    g->n_done++;
    return TERN_OK;
}

/* One token of every answer. */
static tern_code step(writing *g, tern_request **r, tern_event *ev, writer **of, tern_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++) {
        writer *w = &g->w[i];
        if (!w->r && g->next < g->e->set.n)
            TERN_TRY(ask(g, w, err));
        if (w->r) {
            of[n] = w;
            r[n++] = w->r;
        }
    }
    TERN_TRY(tern_requests_next(r, n, ev, err));
    for (size_t i = 0; i < n; i++) {
        tern_str_put(&of[i]->text, ev[i].text, ev[i].n_text);
        if (ev[i].finish == TERN_FINISH_FAILED) {
            const tern_err *why = tern_request_error(r[i]);
            return tern_fail(err, why->code, "%s", why->msg);
        }
        if (ev[i].finish != TERN_FINISH_NONE)
            TERN_TRY(judge(g, of[i], err));
    }
    return TERN_OK;
}

static tern_code write_all(writing *g, tern_err *err)
{
    eval_run *e = g->e;
    size_t n_item = e->set.n - e->first;
    tern_request **r = tern_calloc(g->n, sizeof *r);
    tern_event *ev = tern_calloc(g->n, sizeof *ev);
    writer **of = tern_calloc(g->n, sizeof *of);
    tern_code rc = TERN_OK;
    if (!r || !ev || !of)
        rc = tern_fail(err, TERN_E_NOMEM, "out of memory for %zu answers", g->n);
    while (rc == TERN_OK && g->n_done < n_item && !e->interrupted) {
        char more[64];
        (void)snprintf(more, sizeof more, "%zu of %zu questions", g->n_done, n_item);
        cli_progress(e->c, e->task->name, (double)g->n_done, (double)n_item, more);
        e->interrupted = cli_interrupt_pending();
        if (!e->interrupted)
            rc = step(g, r, ev, of, err);
    }
    tern_free(r);
    tern_free(ev);
    tern_free(of);
    return rc;
}

tern_code eval_generate(eval_run *e, tern_err *err)
{
    writing g = {.e = e, .next = e->first};
    init_options(&g);
    tern_code rc = open_writers(&g, err);
    if (rc == TERN_OK)
        rc = write_all(&g, err);
    for (size_t i = 0; g.w && i < g.n; i++) {
        tern_request_free(g.w[i].r);
        tern_session_free(g.w[i].s);
        tern_str_done(&g.w[i].text);
    }
    tern_free(g.w);
    tern_ids_done(&g.ids);
    return rc;
}
