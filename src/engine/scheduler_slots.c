/* What slots remember, in files of the user's: the caller reads or writes the file, the scheduler's thread
 * lends it a sequence for that, and takes it back. Pages are counted by that thread alone (state/seq.h): the
 * caller reads pages that nobody writes, or fills pages that nobody else has. */
#include "base/alloc.h"
#include "base/error.h"
#include "engine/scheduler.h"
#include "state/statefile.h"

#include <string.h>

/* ---- the thread's side ------------------------------------------------------------------------- */

static void forget(tern_slot_text *t)
{
    tern_free(t->ids);
    *t = (tern_slot_text){0};
}

/* Without memory it remembers nothing. */
static void set_text(tern_slot_text *t, uint64_t owner, const int32_t *ids, int n)
{
    forget(t);
    t->ids = n > 0 ? tern_alloc((size_t)n * sizeof *ids) : NULL;
    if (!t->ids)
        return;
    memcpy(t->ids, ids, (size_t)n * sizeof *ids);
    t->n = (size_t)n;
    t->owner = owner;
}

void tern_slot_remember(tern_scheduler *s, tern_answer *a, bool good)
{
    if (a->slot >= 0)
        set_text(&s->texts[a->slot], a->job->o.owner, a->s->seq.ids,
                 good ? tern_session_n_tok(a->s) : 0);
    a->slot = -1;
}

void tern_scheduler_obey(tern_scheduler *s)
{
    while (s->orders) {
        tern_order *o = s->orders;
        s->orders = o->next;
        pthread_mutex_unlock(&s->mu);
        o->code = o->run(s, o, o->err);
        pthread_mutex_lock(&s->mu);
        tern_scheduler_prefix_count(s);
        o->done = true;
        pthread_cond_broadcast(&s->ended);
    }
}

static tern_code find_text(tern_scheduler *s, const tern_order *o, tern_slot_text **out,
                           tern_err *err)
{
    tern_slot_text *t = *out = &s->texts[o->slot];
    if (!t->ids || t->owner != o->owner)
        return tern_fail(err, TERN_E_NOT_FOUND, "slot %d remembers nothing of yours", o->slot);
    return TERN_OK;
}

static tern_code lend(tern_scheduler *s, tern_order *o, tern_err *err)
{
    TERN_TRY(tern_seq_init_within(&o->seq, &s->shape, s->n_ctx, &s->budget, err));
    s->n_lent++;
    return TERN_OK;
}

/* Also of a new sequence, which others may have then. */
static tern_code take_back(tern_scheduler *s, tern_order *o, tern_err *err)
{
    (void)err;
    tern_recall_end(&s->recall, &o->use, o->good ? o->seq.ids : NULL, o->n, &o->seq);
    if (o->good)
        set_text(&s->texts[o->slot], o->owner, o->seq.ids, o->n);
    tern_seq_done(&o->seq);
    s->n_lent--;
    return TERN_OK;
}

static tern_code lend_text(tern_scheduler *s, tern_order *o, tern_err *err)
{
    tern_slot_text *t;
    TERN_TRY(find_text(s, o, &t, err));
    TERN_TRY(lend(s, o, err));
    o->n = tern_recall_begin(&s->recall, &o->use, o->owner, t->ids, (int)t->n, 0, &o->seq);
    if (o->n > 0)
        return TERN_OK;
    (void)take_back(s, o, err);
    return tern_fail(err, TERN_E_NOT_FOUND,
                     "slot %d: the state has been given up for a lack of memory", o->slot);
}

/* What is on disk comes in parts, with passes between them. */
static tern_code lend_more(tern_scheduler *s, tern_order *o, tern_err *err)
{
    const tern_slot_text *t = &s->texts[o->slot];
    (void)err;
    int n = o->n;
    if (t->ids && t->owner == o->owner && t->n > (size_t)n &&
        memcmp(t->ids, o->seq.ids, (size_t)n * sizeof *t->ids) == 0)
        o->n = tern_recall_follow(&s->recall, &o->use, t->ids, (int)t->n, &o->seq, n);
    o->use.more = o->use.more && o->n > n;
    return TERN_OK;
}

/* Pages for n tokens, to be filled. */
static tern_code lend_pages(tern_scheduler *s, tern_order *o, tern_err *err)
{
    if (!tern_scheduler_fits(s, o->n) && s->n_running > 0)
        return tern_fail(err, TERN_E_BUSY,
                         "requests that run have the memory for %d tokens: try again later", o->n);
    TERN_TRY(lend(s, o, err));
    tern_code rc = tern_seq_reserve(&o->seq, o->n, err);
    if (rc != TERN_OK)
        (void)take_back(s, o, err);
    return rc;
}

static tern_code erase(tern_scheduler *s, tern_order *o, tern_err *err)
{
    tern_slot_text *t;
    TERN_TRY(find_text(s, o, &t, err));
    o->n = (int)t->n;
    tern_recall_forget(&s->recall, o->owner, t->ids, o->n);
    forget(t);
    return TERN_OK;
}

/* ---- the caller's side ------------------------------------------------------------------------- */

tern_code tern_scheduler_order(tern_scheduler *s, tern_order *o,
                               tern_code (*run)(tern_scheduler *s, tern_order *o, tern_err *err),
                               tern_err *err)
{
    o->run = run;
    o->err = err;
    o->done = false;
    pthread_mutex_lock(&s->mu);
    o->next = s->orders;
    s->orders = o;
    pthread_cond_signal(&s->wake);
    while (!o->done)
        pthread_cond_wait(&s->ended, &s->mu);
    pthread_mutex_unlock(&s->mu);
    return o->code;
}

static tern_code check(const tern_scheduler *s, int32_t slot, tern_err *err)
{
    if (slot < 0 || slot >= s->o.n_slot)
        return tern_fail(err, TERN_E_USAGE, "there is no slot %d: expected 0..%d", slot,
                         s->o.n_slot - 1);
    if (s->o.no_prefix)
        return tern_fail(err, TERN_E_UNSUPPORTED,
                         "slots remember nothing while no prefixes are kept");
    return TERN_OK;
}

static tern_statefile_id id_of(const tern_scheduler *s, uint64_t owner)
{
    return (tern_statefile_id){tern_model_identity(s->m), tern_state_kind(&s->shape), owner};
}

tern_code tern_scheduler_slot_save(tern_scheduler *s, int32_t slot, uint64_t owner,
                                   const char *path, size_t *n_tok, tern_err *err)
{
    const tern_states ops = tern_seq_states(NULL);
    tern_order o = {.slot = slot, .owner = owner};
    tern_pool *pool;
    *n_tok = 0;
    TERN_TRY(check(s, slot, err));
    const tern_statefile_id id = id_of(s, owner);
    TERN_TRY(tern_pool_new(1, &pool, err));
    tern_code rc = tern_scheduler_order(s, &o, lend_text, err);
    if (rc == TERN_OK) {
        while (o.use.more && tern_scheduler_order(s, &o, lend_more, err) == TERN_OK)
            ;
        rc = tern_statefile_write(path, &id, s->m->dir->path, &ops, &o.seq, o.seq.ids, 0, o.n, pool,
                                  err);
        (void)tern_scheduler_order(s, &o, take_back, NULL);
    }
    tern_pool_free(pool);
    *n_tok = rc == TERN_OK ? (size_t)o.n : 0;
    return rc;
}

static tern_code restore(tern_scheduler *s, tern_order *o, const tern_statefile *f, tern_pool *pool,
                         tern_err *err)
{
    const tern_states ops = tern_seq_states(NULL);
    o->n = f->n1;
    TERN_TRY(tern_scheduler_order(s, o, lend_pages, err));
    tern_code rc = tern_statefile_load(f, &ops, &o->seq, pool, err);
    o->good = rc == TERN_OK;
    (void)tern_scheduler_order(s, o, take_back, NULL);
    return rc;
}

tern_code tern_scheduler_slot_restore(tern_scheduler *s, int32_t slot, uint64_t owner,
                                      const char *path, size_t *n_tok, tern_err *err)
{
    tern_order o = {.slot = slot, .owner = owner, .use.owner = owner};
    tern_statefile f;
    tern_pool *pool;
    *n_tok = 0;
    TERN_TRY(check(s, slot, err));
    const tern_statefile_id id = id_of(s, owner);
    TERN_TRY(tern_pool_new(1, &pool, err));
    tern_code rc = tern_statefile_open(path, &id, pool, &f, err);
    if (rc == TERN_OK) {
        rc = tern_session_file_check(s->m, s->n_ctx, &f, path, err);
        if (rc == TERN_OK)
            rc = restore(s, &o, &f, pool, err);
        tern_statefile_close(&f);
    }
    tern_pool_free(pool);
    *n_tok = rc == TERN_OK ? (size_t)o.n : 0;
    return rc;
}

tern_code tern_scheduler_slot_erase(tern_scheduler *s, int32_t slot, uint64_t owner, size_t *n_tok,
                                    tern_err *err)
{
    tern_order o = {.slot = slot, .owner = owner};
    *n_tok = 0;
    TERN_TRY(check(s, slot, err));
    tern_code rc = tern_scheduler_order(s, &o, erase, err);
    *n_tok = rc == TERN_OK ? (size_t)o.n : 0;
    return rc;
}
