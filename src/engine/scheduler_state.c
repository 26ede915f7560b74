/* The states of answers: where they come from, what becomes of them, and what happens when memory does not
 * suffice for all. A state that is given up costs nothing but time: the answer waits in the queue with the
 * ids it had, reads them again and goes on as if nothing had happened. */
#include "base/alloc.h"
#include "base/error.h"
#include "engine/scheduler.h"

/* Pages that must be free, for each answer that runs, before one that was put back comes again: what is to
 * be read anew should not have to go at once. */
#define SPARE_PAGES 2

/* ---- room -------------------------------------------------------------------------------------- */

static size_t bytes_for(const tern_scheduler *s, size_t n_tok)
{
    int most = s->n_ctx;
    return tern_seq_bytes(&s->shape, n_tok < (size_t)most ? (int)n_tok : most);
}

/* What it has not read yet. */
static size_t bytes_to_come(const tern_scheduler *s, const tern_answer *a)
{
    size_t n_id, have = (size_t)a->n_tok;
    (void)tern_request_ids(a->r, &n_id);
    if (!a->begun && a->index > 0 && a->job->has_stem)
        have = a->job->n_prompt;
    return n_id > have ? bytes_for(s, n_id + 1) - bytes_for(s, have) : bytes_for(s, 1);
}

bool tern_answer_fits(const tern_scheduler *s, const tern_answer *a)
{
    size_t room = s->budget.limit - s->budget.used + s->budget.kept, n_running = 0;
    size_t need = bytes_to_come(s, a);
    for (int32_t i = 0; i < s->o.n_slot; i++)
        if (s->slots[i]) {
            n_running++;
            need += bytes_to_come(s, s->slots[i]);
        }
    if (a->begun)
        need += (n_running + 1) * SPARE_PAGES * bytes_for(s, 1);
    return n_running == 0 || need <= room;
}

bool tern_scheduler_fits(const tern_scheduler *s, int n_tok)
{
    return tern_scheduler_has_room(s, bytes_for(s, (size_t)n_tok));
}

bool tern_scheduler_has_room(const tern_scheduler *s, size_t bytes)
{
    size_t room = s->budget.limit - s->budget.used + s->budget.kept, need = bytes;
    for (int32_t i = 0; i < s->o.n_slot; i++)
        if (s->slots[i])
            need += bytes_to_come(s, s->slots[i]);
    return need <= room;
}

/* ---- a state comes and goes -------------------------------------------------------------------- */

static void drop_stem(tern_job *j)
{
    if (j->has_stem)
        tern_stem_done(&j->stem);
    j->has_stem = false;
}

/* A sequence within the budget with as much of the ids as is known already. */
static tern_code get_state(tern_scheduler *s, tern_answer *a, tern_err *err)
{
    tern_seq seq;
    if (a->s->seq.budget == &s->budget)
        return TERN_OK;
    TERN_TRY(tern_seq_init_within(&seq, &s->shape, s->n_ctx, &s->budget, err));
    tern_session_adopt(a->s, &seq);
    tern_answer_recall(s, a, a->job->has_stem && !a->begun && a->index > 0);
    return TERN_OK;
}

tern_code tern_answer_begin(tern_scheduler *s, tern_answer *a, tern_err *err)
{
    tern_job *j = a->job;
    a->s->group = j->o.owner;
    a->s->brief = true;
    TERN_TRY(get_state(s, a, err));
    tern_err why;
    if (j->has_stem && !a->begun && a->index > 0 &&
        tern_request_follow(a->r, &j->stem, &why) != TERN_OK)
        drop_stem(j); /* it reads for itself, and so do those after it */
    a->n_tok = tern_session_n_tok(a->s);
    a->fresh = false;
    j->n_begun += !a->begun;
    a->begun = true;
    if (j->n_begun == j->n_answer)
        drop_stem(j);
    return TERN_OK;
}

void tern_answer_grow(tern_scheduler *s, tern_answer *a)
{
    tern_job *j = a->job;
    size_t n_left;
    int n_tok = tern_session_n_tok(a->s), n_new = n_tok > a->n_tok ? n_tok - a->n_tok : 0;
    a->n_row += (uint64_t)n_new;
    s->n_row += (uint64_t)n_new;
    a->n_tok = n_tok;
    tern_answer_share(s, a);
    (void)tern_request_ids(a->r, &n_left);
    if (n_left > 0 || j->prompt_read)
        return;
    j->prompt_read = true;
    j->has_stem = j->n_answer > 1 && tern_stem_init(&j->stem, a->s, NULL) == TERN_OK;
}

void tern_answer_end(tern_scheduler *s, tern_answer *a)
{
    if (a->s)
        tern_answer_leave(s, a);
    tern_request_free(a->r);
    tern_session_free(a->s);
    a->r = NULL;
    a->s = NULL;
    if (a->job->n_over == a->job->n_answer || a->job->code != TERN_OK)
        drop_stem(a->job);
}

/* ---- not enough for all ------------------------------------------------------------------------ */

/* The request keeps what it needs to go on; its state goes. */
void tern_answer_put_back(tern_scheduler *s, tern_answer *a)
{
    tern_job *j = a->job;
    tern_seq none = {0};
    tern_err err;
    if (tern_request_park(a->r, &err) != TERN_OK && j->code == TERN_OK) {
        j->err = err;
        j->code = err.code;
    }
    tern_answer_leave(s, a); /* what is left of it shortens the second reading */
    tern_session_adopt(a->s, &none);
    a->n_tok = 0;
    pthread_mutex_lock(&s->mu);
    tern_answer_leave_slot(s, a);
    s->stats.n_preempted++;
    pthread_mutex_unlock(&s->mu);
}

bool tern_scheduler_yield(tern_scheduler *s)
{
    tern_answer *a = tern_scheduler_victim(s);
    bool had_stem = false;
    if (a) {
        tern_answer_put_back(s, a);
        return true;
    }
    pthread_mutex_lock(&s->mu);
    for (tern_job *j = s->jobs; j && !had_stem; j = j->next) {
        had_stem = j->has_stem;
        drop_stem(j);
    }
    pthread_mutex_unlock(&s->mu);
    return had_stem;
}
