/* The scheduler's thread: look at what others asked for, give slots to answers that wait, evaluate one
 * pass of all that run, tell of what came out. */
#include "base/clock.h"
#include "base/error.h"
#include "engine/scheduler.h"

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

static void tell_token(tern_answer *a, const tern_event *ev)
{
    tern_job_event e = {.kind = TERN_JOB_TOKEN, .answer = a->index, .token = *ev};
    e.n_prompt = a->job->n_prompt;
    if (ev->finish == TERN_FINISH_EOG) { /* its text is that of the tokens before it */
        e.token.text = "";
        e.token.n_text = 0;
    }
    tell(a->job, &e);
}

static void tell_answer(tern_answer *a, const tern_event *ev)
{
    tern_request_stats st;
    tern_request_stats_get(a->r, &st);
    tern_job_event e = {
        .kind = TERN_JOB_ANSWER, .answer = a->index, .n_prompt = a->job->n_prompt, .stats = &st};
    e.token = (tern_event){.id = -1, .text = "", .finish = ev->finish, .stop = ev->stop};
    if (ev->id < 0 || ev->finish == TERN_FINISH_EOG) {
        e.token.text = ev->text;
        e.token.n_text = ev->n_text;
    }
    tell(a->job, &e);
}

/* ---- slots ------------------------------------------------------------------------------------- */

/* s->mu is held. */
static void leave_slot(tern_scheduler *s, tern_answer *a)
{
    for (int32_t i = 0; i < s->o.n_slot; i++)
        if (s->slots[i] == a)
            s->slots[i] = NULL;
    s->n_running -= a->has_slot;
    a->has_slot = false;
}

/* The answer that is next to get a slot; NULL: none waits. s->mu is held. */
static tern_answer *next_waiting(tern_scheduler *s)
{
    for (tern_job *j = s->jobs; j; j = j->next)
        for (int32_t i = 0; i < j->n_answer && j->code == TERN_OK; i++)
            if (!j->answers[i].has_slot && !j->answers[i].over)
                return &j->answers[i];
    return NULL;
}

/* s->mu is held. */
static void fill_slots(tern_scheduler *s)
{
    for (int32_t i = 0; i < s->o.n_slot; i++) {
        tern_answer *a = s->slots[i] ? NULL : next_waiting(s);
        if (!a)
            continue;
        s->slots[i] = a;
        s->n_running++;
        a->has_slot = true;
        s->n_queued -= a->job->queued;
        a->job->queued = false;
    }
}

/* ---- the ends of jobs -------------------------------------------------------------------------- */

static void set_code(tern_job *j, tern_code code, const char *why)
{
    if (j->code == TERN_OK)
        j->code = tern_fail(&j->err, code, "%s", why);
}

/* All its answers are over, or it failed: the last event, after which it may be gone. */
static void end_job(tern_scheduler *s, tern_job *j)
{
    pthread_mutex_lock(&s->mu);
    for (int32_t i = 0; i < j->n_answer; i++)
        leave_slot(s, &j->answers[i]);
    s->n_queued -= j->queued;
    s->stats.n_cancelled += j->code == TERN_E_CANCELLED;
    pthread_mutex_unlock(&s->mu);
    for (int32_t i = 0; i < j->n_answer; i++)
        tern_answer_done(&j->answers[i]);
    tell(j, &(tern_job_event){.kind = TERN_JOB_END,
                              .n_prompt = j->n_prompt,
                              .code = j->code,
                              .err = j->code == TERN_OK ? NULL : &j->err});
    pthread_mutex_lock(&s->mu);
    *(j->prev ? &j->prev->next : &s->jobs) = j->next;
    *(j->next ? &j->next->prev : &s->last) = j->prev;
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
        s->who[n] = a;
        s->list[n++] = a->r;
    }
    return n;
}

/* Whether there is anything for a step to do. s->mu is held. */
static bool has_work(tern_scheduler *s)
{
    for (const tern_job *j = s->jobs; j; j = j->next)
        if (j->code != TERN_OK || (!j->queued && !j->started))
            return true;
    return list_running(s) > 0;
}

/* Until there is something to do; false: nothing will ever be. */
static bool wait_for_work(tern_scheduler *s)
{
    bool works;
    pthread_mutex_lock(&s->mu);
    for (;;) {
        uint64_t next = look(s);
        fill_slots(s);
        tern_scheduler_look(s);
        works = has_work(s);
        if (works || s->quits)
            break;
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
    tell_prompt(j, (size_t)tern_session_n_tok(a->s) < j->n_prompt ? (size_t)tern_session_n_tok(a->s)
                                                                  : j->n_prompt);
    if (ev->id >= 0)
        tell_token(a, ev);
    if (ev->finish == TERN_FINISH_NONE)
        return;
    tell_answer(a, ev);
    a->over = true;
    j->n_over++;
    tern_answer_done(a);
    pthread_mutex_lock(&s->mu);
    leave_slot(s, a);
    pthread_mutex_unlock(&s->mu);
}

/* Announce jobs that have a slot for the first time. */
static void announce(tern_scheduler *s)
{
    for (int32_t i = 0; i < s->o.n_slot; i++) {
        tern_answer *a = s->slots[i];
        if (!a || a->job->started || a->job->code != TERN_OK)
            continue;
        a->job->started = true;
        tell_started(a->job, 0);
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

static void count(tern_scheduler *s, const tern_request_stats *a, const tern_request_stats *b)
{
    pthread_mutex_lock(&s->mu);
    s->stats.n_generated += b->n_generated - a->n_generated;
    s->stats.n_drafted += b->n_drafted - a->n_drafted;
    s->stats.n_accepted += b->n_accepted - a->n_accepted;
    s->stats.n_pass++;
    pthread_mutex_unlock(&s->mu);
}

static void pass(tern_scheduler *s, size_t n)
{
    tern_err err;
    if (n == 0)
        return;
    tern_request_stats before = sum_stats(s, n);
    tern_code rc = tern_requests_next(s->list, n, s->events, &err);
    tern_request_stats after = sum_stats(s, n);
    count(s, &before, &after);
    for (size_t i = 0; i < n; i++) {
        if (rc == TERN_OK)
            take_event(s, s->who[i], &s->events[i]);
        else
            set_code(s->who[i]->job, rc, err.msg);
    }
}

void *tern_scheduler_run(void *arg)
{
    tern_scheduler *s = arg;
    while (wait_for_work(s)) {
        announce(s);
        pass(s, list_running(s));
        for (tern_job *j; (j = next_ending(s)) != NULL;)
            end_job(s, j);
    }
    return NULL;
}
