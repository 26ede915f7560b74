#include "base/pool.h"
#include "base/alloc.h"
#include "base/error.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

/* A worker looks this often for the next region before it sleeps: about 50 us, longer than the gap
 * between two regions of one step, shorter than a scheduler tick. */
#define SPINS 2000

typedef struct worker {
    tern_pool *pool; /* borrowed */
    pthread_t thread;
    int lane;
} worker;

struct tern_pool {
    int n_lane;
    worker *workers; /* owned; n_lane - 1 started */
    int n_started;
    tern_pool_fn fn; /* written before `region` is raised, read after it is seen */
    void *arg;
    /* Region number. Raised with release order by the caller; a worker that sees the new number
     * (acquire) sees fn and arg. */
    _Atomic uint32_t region;
    /* Lanes still at work. Each worker lowers it with release order; the caller reads it with
     * acquire order, so what lanes wrote is visible when it reaches 0. */
    _Atomic int n_busy;
    _Atomic bool quit;
    _Atomic int n_sleeping; /* sequentially consistent: pairs with `region` to lose no wake-up */
    pthread_mutex_t mu;     /* guards the sleep itself */
    pthread_cond_t wake;
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void await_region(tern_pool *p, uint32_t seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&p->region, memory_order_acquire) != seen)
            return;
        relax();
    }
    pthread_mutex_lock(&p->mu);
    atomic_fetch_add(&p->n_sleeping, 1);
    while (atomic_load(&p->region) == seen)
        pthread_cond_wait(&p->wake, &p->mu);
    atomic_fetch_sub(&p->n_sleeping, 1);
    pthread_mutex_unlock(&p->mu);
}

static void *work(void *arg)
{
    worker *w = arg;
    tern_pool *p = w->pool;
    for (uint32_t seen = 0;; seen++) {
        await_region(p, seen);
        if (atomic_load_explicit(&p->quit, memory_order_acquire))
            return NULL;
        p->fn(p->arg, w->lane, p->n_lane);
        atomic_fetch_sub_explicit(&p->n_busy, 1, memory_order_release);
    }
}

static void raise_region(tern_pool *p)
{
    atomic_fetch_add(&p->region, 1);
    if (atomic_load(&p->n_sleeping) > 0) {
        pthread_mutex_lock(&p->mu);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->mu);
    }
}

tern_code tern_pool_new(int n_thread, tern_pool **out, tern_err *err)
{
    *out = NULL;
    if (n_thread < 1 || n_thread > 1024)
        return tern_fail(err, TERN_E_USAGE, "thread count %d is outside 1..1024", n_thread);
    tern_pool *p = tern_calloc(1, sizeof *p);
    if (!p)
        return tern_fail(err, TERN_E_NOMEM, "thread pool: out of memory");
    p->n_lane = n_thread;
    pthread_mutex_init(&p->mu, NULL);
    pthread_cond_init(&p->wake, NULL);
    p->workers = tern_calloc((size_t)n_thread, sizeof *p->workers);
    if (!p->workers) {
        tern_pool_free(p);
        return tern_fail(err, TERN_E_NOMEM, "thread pool: out of memory");
    }
    for (int i = 0; i < n_thread - 1; i++) {
        worker *w = &p->workers[i];
        *w = (worker){.pool = p, .lane = i + 1};
        int rc = pthread_create(&w->thread, NULL, work, w);
        if (rc != 0) {
            tern_pool_free(p);
            return tern_fail(err, TERN_E_NOMEM, "cannot start thread %d of %d: %s", i + 2, n_thread,
                             strerror(rc));
        }
        p->n_started++;
    }
    *out = p;
    return TERN_OK;
}

void tern_pool_free(tern_pool *p)
{
    if (!p)
        return;
    atomic_store_explicit(&p->quit, true, memory_order_release);
    raise_region(p);
    for (int i = 0; i < p->n_started; i++)
        pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mu);
    tern_free(p->workers);
    tern_free(p);
}

int tern_pool_size(const tern_pool *p)
{
    return p->n_lane;
}

void tern_pool_run(tern_pool *p, tern_pool_fn fn, void *arg)
{
    if (p->n_lane > 1) {
        p->fn = fn;
        p->arg = arg;
        atomic_store_explicit(&p->n_busy, p->n_lane - 1, memory_order_relaxed);
        raise_region(p);
    }
    fn(arg, 0, p->n_lane);
    if (p->n_lane > 1)
        for (int spins = 0; atomic_load_explicit(&p->n_busy, memory_order_acquire) > 0; spins++) {
            relax();
            if (spins > SPINS) /* more lanes than CPUs: let the others run */
                sched_yield();
        }
}
