/* The scheduler's thread: look at what others asked for, give slots to answers that wait, evaluate one
 * pass of all that run, tell of what came out. */
#include "base/clock.h"
#include "base/error.h"
#include "engine/scheduler.h"

#include <math.h>
#include <string.h>

/* ---- events: no lock is held ------------------------------------------------------------------- */

static void tell(tern_job *j, const tern_job_event *ev)
{
    j->o.on_event(j->o.ctx, ev);
}

static void tell_started(tern_job *j, size_t n_cached)
{
    tell(j,
         &(tern_job_event){.kind = TERN_JOB_STARTED, .n_done = n_cached, .n_prompt = j->n_prompt});
}

static void tell_prompt(tern_job *j, size_t n_read)
{
    if (n_read <= j->n_read)
        return;
    j->n_read = n_read;
    tell(j, &(tern_job_event){.kind = TERN_JOB_PROMPT, .n_done = n_read, .n_prompt = j->n_prompt});
}

/* The token has no text: what its event has is that of the tokens before it. */
static bool is_end_token(const tern_answer *a, const tern_event *ev)
{
    return ev->finish == TERN_FINISH_EOG && ev->id >= 0 && tern_token_is_eog(a->s->m->tok, ev->id);
}

static void tell_token(tern_answer *a, const tern_event *ev)
{
    tern_job_event e = {.kind = TERN_JOB_TOKEN, .answer = a->index, .token = *ev};
    e.n_prompt = a->job->n_prompt;
    if (is_end_token(a, ev)) {
        e.token.text = "";
        e.token.n_text = 0;
    }
    tell(a->job, &e);
}

static void tell_answer(tern_answer *a, const tern_event *ev)
{
    tern_request_stats st;
    tern_request_stats_get(a->r, &st);
    tern_job_event e = {.kind = TERN_JOB_ANSWER,
                        .answer = a->index,
                        .n_prompt = a->job->n_prompt,
                        .stats = &st,
                        .joules = a->joules};
    e.token = (tern_event){.id = -1, .text = "", .finish = ev->finish, .stop = ev->stop};
    if (ev->id < 0 || is_end_token(a, ev)) {
        e.token.text = ev->text;
        e.token.n_text = ev->n_text;
    }
    tell(a->job, &e);
}

/* Tokens of the prompt whose probabilities are known by now. */
static void tell_echoes(tern_answer *a)
{
    tern_job *j = a->job;
    size_t n, n_id;
    const tern_logprobs *l = tern_request_echoes(a->r, &n);
    const int32_t *ids = tern_request_ids(a->r, &n_id);
    for (; l && j->n_echo < n; j->n_echo++) {
        size_t i = j->n_echo;
        tern_job_event e = {.kind = TERN_JOB_ECHO, .n_done = i, .n_prompt = j->n_prompt};
        tern_str_clear(&j->piece);
        tern_detok_push(&j->detok, ids[i], &j->piece);
        e.token = (tern_event){.text = tern_str_get(&j->piece),
                               .n_text = j->piece.len,
                               .id = ids[i],
                               .logprob = l[i].logprob,
                               .top = l[i].top,
                               .n_top = (size_t)l[i].n_top};
        tell(j, &e);
    }
}

/* ---- slots ------------------------------------------------------------------------------------- */

static void leave_slot(tern_scheduler *s, tern_answer *a)
{
    pthread_mutex_lock(&s->mu);
    tern_answer_leave_slot(s, a);
    pthread_mutex_unlock(&s->mu);
}

/* ---- the ends of jobs -------------------------------------------------------------------------- */

static void set_code(tern_job *j, tern_code code, const char *why)
{
    if (j->code == TERN_OK)
        j->code = tern_fail(&j->err, code, "%s", why);
}

/* s->mu is held. */
/* All its answers are over, or it failed: the last event, after which it may be gone. */
static void end_job(tern_scheduler *s, tern_job *j)
{
    pthread_mutex_lock(&s->mu);
    for (int32_t i = 0; i < j->n_answer; i++)
        tern_answer_leave_slot(s, &j->answers[i]);
    tern_job_queued(s, j, false, j->held);
    s->stats.n_cancelled += j->code == TERN_E_CANCELLED;
    pthread_mutex_unlock(&s->mu);
    for (int32_t i = 0; i < j->n_answer; i++)
        tern_answer_end(s, &j->answers[i]);
    tell(j, &(tern_job_event){.kind = TERN_JOB_END,
                              .n_prompt = j->n_prompt,
                              .code = j->code,
                              .err = j->code == TERN_OK ? NULL : &j->err});
    pthread_mutex_lock(&s->mu);
    *(j->prev ? &j->prev->next : &s->jobs) = j->next;
    *(j->next ? &j->next->prev : &s->last) = j->prev;
    tern_owner_leave(s, j->owner);
    tern_scheduler_prefix_count(s);
    j->ended = true;
    pthread_cond_broadcast(&s->ended);
    pthread_mutex_unlock(&s->mu);
}

/* Of those that are to end one, or NULL. */
static tern_job *next_ending(tern_scheduler *s)
{
    tern_job *j;
    pthread_mutex_lock(&s->mu);
    for (j = s->jobs; j && j->code == TERN_OK && j->n_over < j->n_answer;)
        j = j->next;
    pthread_mutex_unlock(&s->mu);
    return j;
}

/* ---- a step ------------------------------------------------------------------------------------ */

/* What others have asked for since; returns when the next deadline is. s->mu is held. */
static uint64_t look(tern_scheduler *s)
{
    uint64_t now = tern_clock_ns(), next = UINT64_MAX;
    for (tern_job *j = s->jobs; j; j = j->next) {
        j->skips = j->held;
        if (j->cancelled || s->cancels_all)
            set_code(j, TERN_E_CANCELLED, "cancelled");
        else if (j->deadline_ns <= now)
            set_code(j, TERN_E_TIMEOUT, "the time for this request is over");
        next = j->deadline_ns < next ? j->deadline_ns : next;
    }
    return next;
}

/* Answers that take part in the pass. */
static size_t list_running(tern_scheduler *s)
{
    size_t n = 0;
    for (int32_t i = 0; i < s->o.n_slot; i++) {
        tern_answer *a = s->slots[i];
        if (!a || a->job->skips || a->job->code != TERN_OK)
            continue;
        s->who[n++] = a;
    }
    tern_scheduler_sort(s->who, n);
    for (size_t i = n; i-- > 0;) /* from behind: who waits is looked at no more */
        if (tern_answer_waits(s->who, n, i)) {
            memmove(&s->who[i], &s->who[i + 1], (--n - i) * sizeof(tern_answer *));
        }
    for (size_t i = 0; i < n; i++)
        s->list[i] = s->who[i]->r;
    return n;
}

/* A slot is free, but the next answer finds no room. s->mu is held. */
static bool lacks_room(tern_scheduler *s)
{
    return s->n_running > 0 && s->n_running < s->o.n_slot && tern_scheduler_next(s) != NULL;
}

/* s->mu is held. */
static void fill_slots(tern_scheduler *s)
{
    tern_answer *a;
    if (s->starves && list_running(s) > 0)
        return;
    while (s->n_running < s->o.n_slot && (a = tern_scheduler_next(s)) != NULL &&
           tern_answer_fits(s, a))
        tern_answer_take_slot(s, a);
    s->crowded = lacks_room(s);
}

/* A reader that is behind gives its slot to who waits for one. s->mu is held, but not meanwhile. */
static bool give_way(tern_scheduler *s)
{
    tern_answer *a = tern_scheduler_idle(s);
    if (!a || s->n_running < s->o.n_slot || !tern_scheduler_next(s))
        return false;
    if (a->fresh) { /* nothing of it is there yet */
        tern_answer_leave_slot(s, a);
        return true;
    }
    pthread_mutex_unlock(&s->mu);
    tern_answer_put_back(s, a);
    pthread_mutex_lock(&s->mu);
    return true;
}

/* Whether there is anything for a step to do. s->mu is held. */
static bool has_work(tern_scheduler *s)
{
    for (const tern_job *j = s->jobs; j; j = j->next)
        if (j->code != TERN_OK || (!j->queued && !j->started))
            return true;
    return list_running(s) > 0;
}

/* With s->mu, which others may have meanwhile: prefixes that nobody uses go. */
static void trim(tern_scheduler *s)
{
    s->trims = false;
    (void)tern_scheduler_ask_back(s);
    if (!s->reuses)
        return;
    pthread_mutex_unlock(&s->mu);
    s->budget.reclaim(s->budget.ctx, 0);
    pthread_mutex_lock(&s->mu);
    tern_scheduler_prefix_count(s);
}

/* Until there is something to do; false: nothing will ever be. */
static bool wait_for_work(tern_scheduler *s)
{
    bool works;
    pthread_mutex_lock(&s->mu);
    for (;;) {
        if (s->trims)
            trim(s);
        tern_scheduler_obey(s);
        uint64_t next = look(s);
        fill_slots(s);
        /* Others had the lock meanwhile. */
        if (give_way(s) || ((s->crowded || s->starves) && tern_scheduler_ask_back(s)))
            continue;
        tern_scheduler_look(s);
        works = has_work(s);
        if (works || s->quits)
            break;
        if (lacks_room(s)) { /* nobody runs on, and what is held has the memory */
            pthread_mutex_unlock(&s->mu);
            bool had_some = tern_scheduler_yield(s);
            pthread_mutex_lock(&s->mu);
            if (had_some)
                continue;
        }
        struct timespec at = {.tv_sec = (time_t)(next / 1000000000u),
                              .tv_nsec = (long)(next % 1000000000u)};
        if (next == UINT64_MAX)
            pthread_cond_wait(&s->wake, &s->mu);
        else
            (void)pthread_cond_timedwait(&s->wake, &s->mu, &at);
    }
    pthread_mutex_unlock(&s->mu);
    return works;
}

static void end_answer(tern_scheduler *s, tern_answer *a, const tern_event *ev)
{
    tell_answer(a, ev);
    leave_slot(s, a);
    a->over = true;
    a->job->n_over++;
    tern_answer_end(s, a);
}

/* What came of one answer's part of the pass. */
static void take_event(tern_scheduler *s, tern_answer *a, const tern_event *ev)
{
    tern_job *j = a->job;
    if (j->code != TERN_OK) /* another answer of it has failed */
        return;
    if (ev->finish == TERN_FINISH_FAILED) {
        j->err = *tern_request_error(a->r);
        j->code = j->err.code;
        return;
    }
    tern_answer_grow(s, a);
    tell_echoes(a);
    tell_prompt(j, (size_t)a->n_tok < j->n_prompt ? (size_t)a->n_tok : j->n_prompt);
    if (ev->id >= 0)
        tell_token(a, ev);
    if (ev->finish != TERN_FINISH_NONE)
        end_answer(s, a, ev);
    else if (j->piece.failed)
        set_code(j, TERN_E_NOMEM, "out of memory for the prompt's text");
}

/* States for answers whose slots are new, and word of jobs that have one for the first time. */
static void begin(tern_scheduler *s)
{
    for (int32_t i = 0; i < s->o.n_slot; i++) {
        tern_answer *a = s->slots[i];
        tern_job *j = a ? a->job : NULL;
        tern_err err;
        if (!a || !a->fresh || j->code != TERN_OK)
            continue;
        if (tern_answer_begin(s, a, &err) != TERN_OK) {
            set_code(j, err.code, err.msg);
        } else if (!j->started) {
            j->started = true;
            pthread_mutex_lock(&s->mu);
            s->stats.n_prompt += j->n_prompt;
            s->stats.n_cached += (uint64_t)a->n_tok;
            pthread_mutex_unlock(&s->mu);
            tell_started(j, (size_t)a->n_tok);
        }
    }
}

/* What all answers of the pass have done so far. */
static tern_request_stats sum_stats(const tern_scheduler *s, size_t n)
{
    tern_request_stats sum = {0};
    for (size_t i = 0; i < n; i++) {
        tern_request_stats st;
        tern_request_stats_get(s->list[i], &st);
        sum.n_generated += st.n_generated;
        sum.n_drafted += st.n_drafted;
        sum.n_accepted += st.n_accepted;
    }
    return sum;
}

/* The smallest power of two that holds n, by its exponent. */
static size_t bucket_of(uint64_t n)
{
    size_t i = 0;
    while (i + 1 < TERN_ROW_BUCKETS && n > (uint64_t)1 << i)
        i++;
    return i;
}

static void count(tern_scheduler *s, const tern_request_stats *a, const tern_request_stats *b)
{
    pthread_mutex_lock(&s->mu);
    s->stats.n_generated += b->n_generated - a->n_generated;
    s->stats.n_drafted += b->n_drafted - a->n_drafted;
    s->stats.n_accepted += b->n_accepted - a->n_accepted;
    s->stats.n_pass++;
    s->stats.n_pass_of[bucket_of(s->n_row - s->stats.n_row)]++;
    s->stats.n_row = s->n_row;
    tern_scheduler_prefix_count(s);
    pthread_mutex_unlock(&s->mu);
}

static double joules(const tern_scheduler *s)
{
    return s->o.joules ? s->o.joules(s->o.joules_ctx) : (double)NAN;
}

static int n_new_rows(const tern_answer *a)
{
    int n_tok = tern_session_n_tok(a->s);
    return n_tok > a->n_tok ? n_tok - a->n_tok : 0;
}

/* What a pass took is divided among its answers by their rows. */
static void share_joules(tern_scheduler *s, size_t n, double used)
{
    double n_row = 0.0;
    for (size_t i = 0; i < n; i++)
        n_row += n_new_rows(s->who[i]);
    for (size_t i = 0; i < n; i++)
        s->who[i]->joules += used * (n_row > 0.0 ? n_new_rows(s->who[i]) / n_row : 1.0 / (double)n);
}

static void pass(tern_scheduler *s, size_t n)
{
    tern_err err;
    if (n == 0)
        return;
    tern_request_stats before = sum_stats(s, n);
    double used = joules(s);
    tern_code rc = tern_requests_next(s->list, n, s->events, &err);
    share_joules(s, n, joules(s) - used);
    tern_request_stats after = sum_stats(s, n);
    tern_answer *starved = NULL;
    for (size_t i = 0; i < n; i++) {
        if (rc != TERN_OK)
            set_code(s->who[i]->job, rc, err.msg);
        else if (!tern_request_lacks_memory(s->who[i]->r))
            take_event(s, s->who[i], &s->events[i]);
        else if (s->who[i]->job->code == TERN_OK)
            starved = s->who[i];
    }
    s->starves = starved != NULL;
    /* Of several some have ended, if none can yield: what was theirs is free now. What is lent to a file's
     * reader or writer comes back. */
    if (starved && !tern_scheduler_yield(s) && n == 1 && s->n_lent == 0)
        set_code(starved->job, TERN_E_NOMEM, starved->s->feed.err.msg);
    count(s, &before, &after);
}

void *tern_scheduler_run(void *arg)
{
    tern_scheduler *s = arg;
    while (wait_for_work(s)) {
        begin(s);
        tern_scheduler_recall(s);
        pass(s, list_running(s));
        for (tern_job *j; (j = next_ending(s)) != NULL;)
            end_job(s, j);
    }
    return NULL;
}
