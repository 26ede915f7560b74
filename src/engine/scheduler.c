/* Many requests at a time: what other threads call. The thread that evaluates is in scheduler_run.c. */
#include "engine/scheduler.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/num.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <string.h>

/* Most seconds of a deadline or a wait: longer ones would not fit a clock of nanoseconds. */
#define MAX_SECONDS 1e9

void tern_scheduler_opts_init(tern_scheduler_opts *o)
{
    *o = (tern_scheduler_opts){.size = sizeof *o, .n_slot = 8, .n_queue = -1};
}

void tern_job_opts_init(tern_job_opts *o)
{
    *o = (tern_job_opts){.size = sizeof *o, .n = 1};
    tern_gen_opts_init(&o->gen);
}

/* ---- a scheduler ----------------------------------------------------------------------------- */

static tern_code check_opts(tern_scheduler *s, tern_err *err)
{
    tern_scheduler_opts *o = &s->o;
    if (o->n_slot < 1 || o->n_slot > TERN_MAX_SLOT)
        return tern_fail(err, TERN_E_USAGE, "scheduler: %d slots, expected 1..%d", o->n_slot,
                         TERN_MAX_SLOT);
    if (o->n_queue < -1 || o->n_queue > 1 << 20)
        return tern_fail(err, TERN_E_USAGE, "scheduler: %d jobs may wait, expected -1..%d",
                         o->n_queue, 1 << 20);
    if (o->n_ctx < 0)
        return tern_fail(err, TERN_E_USAGE, "scheduler: context %d out of range", o->n_ctx);
    if (s->m->w.h.bidirectional)
        return tern_fail(err, TERN_E_UNSUPPORTED,
                         "%s: attention goes both ways in this model: it predicts no next token",
                         s->m->dir->path);
    if (o->n_queue < 0)
        o->n_queue = 4 * o->n_slot;
    s->n_ctx = o->n_ctx ? o->n_ctx : s->m->w.h.n_ctx_train;
    return tern_cache_shape(s->m, o->cache_k, o->cache_v, &s->shape, err);
}

/* The budget for keys and values. */
static tern_code plan_memory(tern_scheduler *s, tern_err *err)
{
    /* Tables grow by doubling, so one of ids and one of pages may be twice as long as needed. The page that
     * a prefix ends in is there twice while an answer goes on from it: as it is kept, and as it goes on. */
    size_t one = tern_seq_bytes(&s->shape, s->n_ctx), all, slack;
    if (!tern_mul_size((size_t)s->n_ctx, 2 * sizeof(void *), &slack) ||
        !tern_add_size(one, slack + 4096, &one) ||
        !tern_add_size(one, tern_seq_bytes(&s->shape, 1), &one))
        one = SIZE_MAX;
    s->one_bytes = one;
    if (s->o.mem_bytes == 0) {
        tern_memory mem;
        const char *who;
        tern_memory_get(&mem);
        uint64_t room = tern_memory_room(&mem, &who) / 2;
        size_t n = s->o.n_slot > 2 ? (size_t)s->o.n_slot : 2; /* one may run, one be kept */
        if (!tern_mul_size(one, n, &all))
            all = SIZE_MAX;
        s->o.mem_bytes = all < room ? all : room;
    }
    if (one > s->o.mem_bytes)
        return tern_fail(err, TERN_E_NOMEM,
                         "scheduler: a context of %d tokens takes %zu bytes, %" PRIu64
                         " are there for keys and values: use a smaller context",
                         s->n_ctx, one, s->o.mem_bytes);
    s->budget.limit = s->o.mem_bytes < SIZE_MAX ? (size_t)s->o.mem_bytes : SIZE_MAX;
    return TERN_OK;
}

static tern_code make_lists(tern_scheduler *s, tern_err *err)
{
    size_t n = (size_t)s->o.n_slot;
    s->slots = tern_calloc(n, sizeof *s->slots);
    s->list = tern_calloc(n, sizeof *s->list);
    s->who = tern_calloc(n, sizeof *s->who);
    s->events = tern_calloc(n, sizeof *s->events);
    s->view = tern_calloc(n, sizeof *s->view);
    s->texts = tern_calloc(n, sizeof *s->texts);
    if (!s->texts || !s->slots || !s->list || !s->who || !s->events || !s->view)
        return tern_fail(err, TERN_E_NOMEM, "scheduler: out of memory");
    return TERN_OK;
}

/* Signals are for the program's own threads, but those that tell a thread of what it did itself: reading a
 * file that was cut is one (base/os/map.h). */
static tern_code start(tern_scheduler *s, tern_err *err)
{
    pthread_condattr_t attr;
    static const int own[] = {SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGABRT};
    sigset_t all, old;
    s->mu_ready = pthread_mutex_init(&s->mu, NULL) == 0;
    s->ended_ready = false;
    if (pthread_condattr_init(&attr) == 0) {
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        s->wake_ready = pthread_cond_init(&s->wake, &attr) == 0;
        s->ended_ready = pthread_cond_init(&s->ended, &attr) == 0;
        pthread_condattr_destroy(&attr);
    }
    if (!s->mu_ready || !s->wake_ready || !s->ended_ready)
        return tern_fail(err, TERN_E_NOMEM, "scheduler: the system has no room for locks");
    sigfillset(&all);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        sigdelset(&all, own[i]);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    s->thread_ready = pthread_create(&s->thread, NULL, tern_scheduler_run, s) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!s->thread_ready)
        return tern_fail(err, TERN_E_NOMEM, "scheduler: the system refused a thread");
    return TERN_OK;
}

static tern_code init(tern_scheduler *s, tern_err *err)
{
    TERN_TRY(check_opts(s, err));
    TERN_TRY(plan_memory(s, err));
    TERN_TRY(make_lists(s, err));
    TERN_TRY(tern_scheduler_prefix_open(s, err));
    return start(s, err);
}

tern_code tern_scheduler_new(tern_model *m, const tern_scheduler_opts *opts, tern_scheduler **out,
                             tern_err *err)
{
    *out = NULL;
    TERN_TRY(tern_model_needs_weights(m, err));
    tern_scheduler *s = tern_calloc(1, sizeof *s);
    if (!s)
        return tern_fail(err, TERN_E_NOMEM, "scheduler: out of memory");
    tern_scheduler_opts_init(&s->o);
    if (opts)
        memcpy(&s->o, opts, opts->size < sizeof s->o ? opts->size : sizeof s->o);
    s->m = m;
    tern_code rc = init(s, err);
    if (rc != TERN_OK) {
        tern_scheduler_free(s);
        return rc;
    }
    *out = s;
    return TERN_OK;
}

/* A moment of the clock that conditions wait by. */
static struct timespec moment(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u),
                             .tv_nsec = (long)(ns % 1000000000u)};
}

static uint64_t after(double seconds)
{
    seconds = seconds > 0.0 ? seconds : 0.0;
    return tern_clock_ns() + (uint64_t)((seconds < MAX_SECONDS ? seconds : MAX_SECONDS) * 1e9);
}

void tern_scheduler_drain(tern_scheduler *s, double wait_s)
{
    struct timespec end = moment(after(wait_s));
    pthread_mutex_lock(&s->mu);
    s->draining = true;
    while (s->jobs && pthread_cond_timedwait(&s->ended, &s->mu, &end) == 0)
        ;
    s->cancels_all = true;
    pthread_cond_signal(&s->wake);
    while (s->jobs)
        pthread_cond_wait(&s->ended, &s->mu);
    pthread_mutex_unlock(&s->mu);
}

void tern_scheduler_trim(tern_scheduler *s)
{
    pthread_mutex_lock(&s->mu);
    s->trims = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mu);
}

void tern_scheduler_free(tern_scheduler *s)
{
    if (!s)
        return;
    if (s->thread_ready) {
        pthread_mutex_lock(&s->mu);
        s->draining = s->cancels_all = s->quits = true;
        pthread_cond_signal(&s->wake);
        pthread_mutex_unlock(&s->mu);
        pthread_join(s->thread, NULL);
    }
    tern_scheduler_prefix_close(s);
    if (s->wake_ready)
        pthread_cond_destroy(&s->wake);
    if (s->ended_ready)
        pthread_cond_destroy(&s->ended);
    if (s->mu_ready)
        pthread_mutex_destroy(&s->mu);
    for (int32_t i = 0; s->texts && i < s->o.n_slot; i++)
        tern_free(s->texts[i].ids);
    tern_free(s->texts);
    tern_free(s->slots);
    tern_free(s->list);
    tern_free(s->who);
    tern_free(s->events);
    tern_free(s->view);
    tern_free(s);
}

void tern_scheduler_stats_get(tern_scheduler *s, tern_scheduler_stats *st)
{
    pthread_mutex_lock(&s->mu);
    tern_scheduler_stats full = s->stats;
    full.n_running = s->n_running;
    full.n_queued = s->n_queued;
    pthread_mutex_unlock(&s->mu);
    full.size = st->size;
    full.n_slot = s->o.n_slot;
    full.n_ctx = s->n_ctx;
    full.mem_bytes = s->o.mem_bytes;
    memcpy(st, &full, st->size < sizeof full ? st->size : sizeof full);
}

size_t tern_scheduler_slots_get(tern_scheduler *s, tern_slot *slots, size_t cap)
{
    size_t n = (size_t)s->o.n_slot;
    pthread_mutex_lock(&s->mu);
    memcpy(slots, s->view, (cap < n ? cap : n) * sizeof *slots);
    pthread_mutex_unlock(&s->mu);
    return n;
}

void tern_scheduler_look(tern_scheduler *s)
{
    for (int32_t i = 0; i < s->o.n_slot; i++) {
        const tern_answer *a = s->slots[i];
        tern_slot *v = &s->view[i];
        tern_request_stats st;
        v->busy = a != NULL;
        v->held = a && a->job->held;
        if (!a)
            continue;
        size_t n_tok = (size_t)tern_session_n_tok(a->s);
        tern_request_stats_get(a->r, &st);
        v->job = a->job->number;
        v->owner = a->job->o.owner;
        v->n_prompt = a->job->n_prompt;
        v->n_cached = st.n_cached;
        v->n_read = n_tok < v->n_prompt ? n_tok : v->n_prompt;
        v->n_generated = st.n_generated;
        v->n_predict = a->job->o.gen.n_predict;
    }
}

/* ---- a job ----------------------------------------------------------------------------------- */

static tern_code make_answer(tern_job *j, int32_t i, const int32_t *prompt, tern_err *err)
{
    const tern_scheduler *s = j->s;
    tern_answer *a = &j->answers[i];
    tern_session_opts so;
    tern_gen_opts go = j->o.gen;
    tern_session_opts_init(&so);
    so.n_ctx = s->n_ctx;
    so.cache_k = s->o.cache_k;
    so.cache_v = s->o.cache_v;
    go.seed += (uint64_t)i;
    *a = (tern_answer){.job = j, .index = i, .slot = -1};
    TERN_TRY(tern_session_new(s->m, &so, &a->s, err));
    TERN_TRY(tern_request_new(a->s, prompt, j->n_prompt, &go, &a->r, err));
    return i == 0 && j->o.echo_logprobs ? tern_request_echo(a->r, err) : TERN_OK;
}

/* Nobody else knows it: it never was in the list, or has ended and holds no states. */
static void job_done(tern_job *j)
{
    for (int32_t i = 0; i < j->n_answer; i++) {
        tern_request_free(j->answers[i].r);
        tern_session_free(j->answers[i].s);
    }
    tern_str_done(&j->piece);
    tern_free(j);
}

static tern_code job_new(tern_scheduler *s, const int32_t *prompt, size_t n_tok,
                         const tern_job_opts *opts, tern_job **out, tern_err *err)
{
    tern_job_opts o;
    tern_job_opts_init(&o);
    if (opts)
        memcpy(&o, opts, opts->size < sizeof o ? opts->size : sizeof o);
    if (o.n < 1 || o.n > TERN_MAX_SLOT)
        return tern_fail(err, TERN_E_USAGE, "job: n is %d, expected 1..%d", o.n, TERN_MAX_SLOT);
    if (!o.on_event)
        return tern_fail(err, TERN_E_USAGE, "job: nobody listens to its events");
    if (isnan(o.deadline_s) || o.deadline_s < 0.0)
        return tern_fail(err, TERN_E_USAGE, "job: a deadline of %g seconds", o.deadline_s);
    tern_job *j = tern_calloc(1, sizeof *j + (size_t)o.n * sizeof *j->answers);
    if (!j)
        return tern_fail(err, TERN_E_NOMEM, "job: out of memory");
    j->s = s;
    j->o = o;
    j->n_prompt = n_tok;
    j->deadline_ns = o.deadline_s > 0.0 ? after(o.deadline_s) : UINT64_MAX;
    tern_str_init(&j->piece, 1 << 20);
    tern_detok_init(&j->detok, s->m->tok, true, false);
    for (; j->n_answer < o.n; j->n_answer++) {
        tern_code rc = make_answer(j, j->n_answer, prompt, err);
        if (rc != TERN_OK) {
            j->n_answer++;
            job_done(j);
            return rc;
        }
    }
    *out = j;
    return TERN_OK;
}

/* s->mu is held. Jobs that the thread has not looked at yet take the slots that are free. */
static tern_code check_room(const tern_scheduler *s, tern_err *err)
{
    if (s->draining)
        return tern_fail(err, TERN_E_BUSY, "no new jobs: the scheduler is being stopped");
    if (s->n_queued - tern_scheduler_free_slots(s) >= s->o.n_queue)
        return tern_fail(err, TERN_E_BUSY, "%d jobs run and %d wait: try again later", s->n_running,
                         s->n_queued);
    return TERN_OK;
}

tern_code tern_scheduler_submit(tern_scheduler *s, const int32_t *prompt, size_t n_tok,
                                const tern_job_opts *opts, tern_job **out, tern_err *err)
{
    tern_job *j;
    *out = NULL;
    pthread_mutex_lock(&s->mu);
    tern_code rc = check_room(s, err); /* a refusal should not cost the making of a job */
    pthread_mutex_unlock(&s->mu);
    if (rc != TERN_OK)
        return rc;
    TERN_TRY(job_new(s, prompt, n_tok, opts, &j, err));
    *out = j;
    pthread_mutex_lock(&s->mu);
    rc = check_room(s, err);
    if (rc == TERN_OK && !(j->owner = tern_owner_join(s, j->o.owner)))
        rc = tern_fail(err, TERN_E_NOMEM, "job: out of memory");
    if (rc == TERN_OK) {
        j->prev = s->last;
        *(s->last ? &s->last->next : &s->jobs) = j;
        s->last = j;
        tern_job_queued(s, j, true, false);
        j->number = ++s->stats.n_job;
        pthread_cond_signal(&s->wake);
    }
    pthread_mutex_unlock(&s->mu);
    if (rc != TERN_OK) {
        *out = NULL;
        job_done(j);
    }
    return rc;
}

void tern_job_cancel(tern_job *j)
{
    tern_scheduler *s = j->s;
    pthread_mutex_lock(&s->mu);
    j->cancelled = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mu);
}

void tern_job_hold(tern_job *j, bool hold)
{
    tern_scheduler *s = j->s;
    pthread_mutex_lock(&s->mu);
    tern_job_queued(s, j, j->queued, hold);
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mu);
}

void tern_job_free(tern_job *j)
{
    if (!j)
        return;
    tern_scheduler *s = j->s;
    pthread_mutex_lock(&s->mu);
    j->cancelled = true;
    pthread_cond_signal(&s->wake);
    while (!j->ended)
        pthread_cond_wait(&s->ended, &s->mu);
    pthread_mutex_unlock(&s->mu);
    job_done(j);
}
