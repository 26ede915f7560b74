#include "server/generation.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"

#include <time.h>

/* Looks after generations: ends them, submits what waited, and pings. */
struct keeper {
    pthread_t thread;
    pthread_mutex_t mu;
    pthread_cond_t wake;
    generation *live, *work; /* guarded by mu; work: ended, or wants another job submitted */
    bool stop;               /* guarded by mu */
};

static void unlink_live(keeper *k, generation *g)
{
    pthread_mutex_lock(&k->mu);
    *(g->prev_live ? &g->prev_live->next_live : &k->live) = g->next_live;
    if (g->next_live)
        g->next_live->prev_live = g->prev_live;
    pthread_cond_broadcast(&k->wake);
    pthread_mutex_unlock(&k->mu);
}

static void end_generation(keeper *k, generation *g)
{
    exchange *x = g->x;
    exchange_on_gone(x, NULL, NULL);
    exchange_on_room(x, NULL, NULL);
    for (size_t i = 0; i < g->n_job; i++)
        g->usage.n_cached += g->jobs[i].n_cached;
    exchange_log(x, COUNT_PROMPT, g->usage.n_prompt);
    exchange_log(x, COUNT_CACHED, g->usage.n_cached);
    bool failed = g->fault.err.code != TERN_OK;
    for (size_t i = 0; i < g->n_job * (size_t)g->n_answer; i++)
        if (g->answers[i].split.failed && !failed) {
            failed = true;
            (void)fault_set(&g->fault, TERN_E_NOMEM, NULL, "out of memory for an answer");
        }
    generation_tell(g, &(generate_event){.kind = GENERATE_END,
                                         .stop = -1,
                                         .usage = &g->usage,
                                         .fault = failed ? &g->fault : NULL});
    unlink_live(k, g);
    generation_free(g);
    exchange_unref(x);
}

/* One that is silent for too long; NULL: there is none. k->mu is held. Only the keeper frees what is live,
 * so it may look at it later. */
static generation *find_silent(keeper *k)
{
    uint64_t now = tern_clock_ns();
    for (generation *g = k->live; g; g = g->next_live) {
        if (g->ping_s <= 0 || pthread_mutex_trylock(&g->tell) != 0)
            continue;
        bool silent = now > g->told_ns && (double)(now - g->told_ns) * 1e-9 >= g->ping_s;
        pthread_mutex_unlock(&g->tell);
        if (silent)
            return g;
    }
    return NULL;
}

static void *keeper_main(void *ctx)
{
    keeper *k = ctx;
    pthread_mutex_lock(&k->mu);
    while (!k->stop || k->live) {
        generation *g = k->work;
        if (g) {
            k->work = g->next_work;
            pthread_mutex_unlock(&k->mu);
            if (generation_go_on(g))
                end_generation(k, g);
            pthread_mutex_lock(&k->mu);
            continue;
        }
        g = find_silent(k);
        if (g) {
            pthread_mutex_unlock(&k->mu);
            generation_tell(g, &(generate_event){.kind = GENERATE_PING, .stop = -1});
            pthread_mutex_lock(&k->mu);
            continue;
        }
        struct timespec at;
        (void)clock_gettime(CLOCK_MONOTONIC, &at);
        at.tv_nsec += 250000000;
        at.tv_sec += at.tv_nsec / 1000000000;
        at.tv_nsec %= 1000000000;
        if (k->live)
            pthread_cond_timedwait(&k->wake, &k->mu, &at);
        else
            pthread_cond_wait(&k->wake, &k->mu);
    }
    pthread_mutex_unlock(&k->mu);
    return NULL;
}

tern_code keeper_new(keeper **out, tern_err *err)
{
    keeper *k = tern_calloc(1, sizeof *k);
    pthread_condattr_t attr;
    *out = NULL;
    if (!k)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    pthread_mutex_init(&k->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&k->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&k->thread, NULL, keeper_main, k) != 0) {
        pthread_cond_destroy(&k->wake);
        pthread_mutex_destroy(&k->mu);
        tern_free(k);
        return tern_fail(err, TERN_E_NOMEM, "no thread for requests");
    }
    *out = k;
    return TERN_OK;
}

void keeper_free(keeper *k)
{
    if (!k)
        return;
    pthread_mutex_lock(&k->mu);
    k->stop = true;
    pthread_cond_broadcast(&k->wake);
    pthread_mutex_unlock(&k->mu);
    pthread_join(k->thread, NULL);
    pthread_cond_destroy(&k->wake);
    pthread_mutex_destroy(&k->mu);
    tern_free(k);
}

void keeper_add(keeper *k, generation *g)
{
    pthread_mutex_lock(&k->mu);
    g->next_live = k->live;
    if (k->live)
        k->live->prev_live = g;
    k->live = g;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->mu);
}

void keeper_queue(keeper *k, generation *g)
{
    if (g->queued || !g->started)
        return;
    g->queued = true;
    pthread_mutex_lock(&k->mu);
    g->next_work = k->work;
    k->work = g;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->mu);
}
