#include "server/generation.h"

#include "base/error.h"

#include <time.h>

/* Jobs of one request that wait or run at a time, so that a long list of prompts leaves room. */
#define MAX_JOBS 4

/* ---- the client's pace -------------------------------------------------------------------------------- */

static void hold_jobs(generation *g, bool hold)
{
    pthread_mutex_lock(&g->mu);
    for (size_t i = 0; i < g->n_job; i++)
        if (g->jobs[i].job)
            tern_job_hold(g->jobs[i].job, hold);
    pthread_mutex_unlock(&g->mu);
}

static void on_room(exchange *x, void *ctx)
{
    (void)x;
    hold_jobs(ctx, false);
}

/* g->mu is held. */
static void stop_jobs(generation *g)
{
    g->stopped = true;
    for (size_t i = 0; i < g->n_job; i++)
        if (g->jobs[i].job)
            tern_job_cancel(g->jobs[i].job);
}

static void on_gone(exchange *x, void *ctx)
{
    generation *g = ctx;
    (void)x;
    pthread_mutex_lock(&g->mu);
    stop_jobs(g);
    pthread_mutex_unlock(&g->mu);
}

/* The reader may have caught up between a look and the hold: then nobody would let go. */
static void mind_backlog(generation *g)
{
    if (exchange_stream_backlog(g->x) <= EXCHANGE_BACKLOG)
        return;
    hold_jobs(g, true);
    if (exchange_stream_backlog(g->x) <= EXCHANGE_BACKLOG / 4)
        hold_jobs(g, false);
}

/* ---- jobs -------------------------------------------------------------------------------------------- */

/* g->mu is held. */
static bool has_ended(const generation *g)
{
    return g->n_ended == g->n_submitted && (g->stopped || g->n_submitted == g->n_job);
}

static void note_fault(generation *g, tern_code code, const tern_err *err)
{
    if (g->fault.err.code != TERN_OK)
        return;
    if (err)
        g->fault.err = *err;
    g->fault.err.code = code;
    /* Nobody cancels for clients that are there but a server that stops. */
    if (code == TERN_E_CANCELLED && !exchange_is_gone(g->x))
        (void)fault_set(&g->fault, TERN_E_BUSY, NULL, "the server stops");
}

/* In one go: once the keeper knows that this was the last one, g may be gone. */
static void on_job_end(generation *g, const tern_job_event *ev)
{
    pthread_mutex_lock(&g->mu);
    g->n_ended++;
    if (ev->code != TERN_OK) {
        note_fault(g, ev->code, ev->err);
        stop_jobs(g);
    }
    if (has_ended(g) || g->n_submitted < g->n_job)
        keeper_queue(g->w->keeper, g);
    pthread_mutex_unlock(&g->mu);
}

/* On the scheduler's thread. */
static void on_job_event(void *ctx, const tern_job_event *ev)
{
    prompt_job *j = ctx;
    generation *g = j->g;
    if (ev->kind == TERN_JOB_END) { /* nothing of g may be touched behind this */
        on_job_end(g, ev);
        return;
    }
    generation_hear(g, j, ev);
    mind_backlog(g);
}

/* The next prompt's job. */
static tern_code submit_next(generation *g, tern_err *err)
{
    pthread_mutex_lock(&g->mu);
    size_t i = g->n_submitted++;
    prompt_job *j = &g->jobs[i];
    tern_job_opts o = g->opts;
    o.n_keep = j->prompt.n_keep;
    o.on_event = on_job_event;
    o.ctx = j;
    /* Held over the call, so that the job's own events find the handle; they come on another thread. */
    tern_code rc =
        tern_scheduler_submit(g->s->scheduler, j->prompt.ids, j->prompt.n, &o, &j->job, err);
    if (rc != TERN_OK)
        g->n_submitted--;
    pthread_mutex_unlock(&g->mu);
    return rc;
}

tern_code generation_begin(generation *g, fault *f)
{
    tern_code rc = submit_next(g, &f->err);
    if (rc != TERN_OK) {
        f->err.code = rc;
        return rc;
    }
    exchange_ref(g->x);
    keeper_add(g->w->keeper, g);
    exchange_on_room(g->x, on_room, g);
    exchange_on_gone(g->x, on_gone, g);
    while (rc == TERN_OK && g->n_submitted < g->n_job && g->n_submitted < MAX_JOBS)
        rc = submit_next(g, &f->err);
    pthread_mutex_lock(&g->mu);
    g->started = true;
    if (has_ended(g) || rc != TERN_OK || g->n_submitted < g->n_job)
        keeper_queue(g->w->keeper, g);
    pthread_mutex_unlock(&g->mu);
    return TERN_OK;
}

bool generation_go_on(generation *g)
{
    tern_err err;
    tern_code rc = TERN_OK;
    pthread_mutex_lock(&g->mu);
    bool more = !g->stopped && g->n_submitted < g->n_job && g->n_submitted - g->n_ended < MAX_JOBS;
    bool ended = has_ended(g);
    g->queued = false;
    pthread_mutex_unlock(&g->mu);
    if (more)
        rc = submit_next(g, &err);
    if (rc == TERN_E_BUSY) { /* others fill the queue: again in a while */
        struct timespec t = {.tv_nsec = 20000000};
        (void)nanosleep(&t, NULL);
        rc = TERN_OK;
        pthread_mutex_lock(&g->mu);
        if (g->n_ended == g->n_submitted)
            keeper_queue(g->w->keeper, g);
        pthread_mutex_unlock(&g->mu);
    }
    if (rc != TERN_OK) {
        pthread_mutex_lock(&g->mu);
        note_fault(g, rc, &err);
        stop_jobs(g);
        ended = has_ended(g);
        pthread_mutex_unlock(&g->mu);
    }
    return ended;
}
