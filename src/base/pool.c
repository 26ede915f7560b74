#include "base/pool.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/os/affinity.h"
#include "base/os/park.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* How long a thread looks for what it waits for before it sleeps. Longer than the gap between two
 * regions of a step, as a wake-up costs both sides; shorter than what a neighbour would miss. */
#define SPIN_NS 50000
/* Parts for each lane in tern_pool_for, of which it takes a quarter of what is left at a time: large
 * pieces first, and a last one so small that the others hardly wait for it. */
#define LANE_PARTS 64
#define TAKE       4
#define PARTS_MAX  0xffff /* what a ticket can count */
/* In `left`: the caller sleeps on it. */
#define CALLER_SLEEPS 0x80000000u

typedef struct lane {
    /* Parts of this lane that nobody has begun: region << 32 | first << 16 | end. The lane takes from
     * the front, others from the end. The number of the region makes an attempt fail that comes late:
     * a region whose parts are all taken may end, and the next begin, while a lane sleeps anywhere.
     * Set with release order by the caller: who takes a part (acquire) sees what to run. */
    _Alignas(64) _Atomic uint64_t ticket;
    tern_pool *pool; /* borrowed */
    pthread_t thread;
    int index;
} lane;

/* Where lanes are kept; only the caller looks at it. */
typedef struct spread {
    tern_topology t;
    int here;     /* CPU the caller was last seen on */
    short core[]; /* [n_lane]; of lane 0: the one left to the caller */
} spread;

struct tern_pool {
    int n_lane;
    int n_started; /* threads; lane 0 is the caller */
    lane *lanes;   /* owned */
    /* What the region runs: written before the tickets are set, read after a part is taken. */
    tern_pool_fn fn; /* NULL: range_fn */
    tern_pool_range_fn range_fn;
    void *arg;
    int n, grain, n_part; /* of range_fn */
    spread *spread;       /* owned; NULL: lanes run where the system puts them */
    /* Number of the region. Sequentially consistent with n_asleep: either the caller sees who sleeps,
     * or the sleeper sees the new number. */
    _Alignas(64) tern_gate region;
    _Atomic uint32_t n_asleep;
    _Atomic bool quit;
    /* Parts not finished yet. Lowered with release order, read by the caller with acquire order, so
     * what lanes wrote is visible when it reaches 0. */
    _Alignas(64) tern_gate left;
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Look at the word until it equals value (or, with equal false, until it does not). False: it took
 * too long. */
static bool spin(_Atomic uint32_t *word, uint32_t value, bool equal)
{
    for (uint64_t begin = 0;;) {
        for (int i = 0; i < 64; i++) {
            if ((atomic_load_explicit(word, memory_order_acquire) == value) == equal)
                return true;
            relax();
        }
        uint64_t now = tern_clock_ns();
        if (!begin)
            begin = now;
        if (now - begin > SPIN_NS)
            return false;
    }
}

/* ---- parts --------------------------------------------------------------------------------- */

/* Take parts [*begin, *end) of this lane that nobody has begun; false: there are none, or the region is
 * over. */
static bool take(lane *l, uint32_t region, bool own, uint32_t *begin, uint32_t *end)
{
    uint64_t t = atomic_load_explicit(&l->ticket, memory_order_relaxed);
    for (;;) {
        uint32_t first = (uint32_t)t >> 16, last = (uint32_t)t & 0xffff;
        if ((uint32_t)(t >> 32) != region || first == last)
            return false;
        uint32_t n = (last - first + TAKE - 1) / TAKE;
        uint64_t rest = own ? t + (n << 16) : t - n;
        if (atomic_compare_exchange_weak_explicit(&l->ticket, &t, rest, memory_order_acquire,
                                                  memory_order_relaxed)) {
            *begin = own ? first : last - n;
            *end = *begin + n;
            return true;
        }
    }
}

static void run_parts(const tern_pool *p, int self, uint32_t begin, uint32_t end)
{
    if (p->fn) {
        for (uint32_t i = begin; i < end; i++)
            p->fn(p->arg, (int)i, p->n_lane);
        return;
    }
    int first, last, unused;
    tern_pool_split(p->n, p->grain, (int)begin, p->n_part, &first, &unused);
    tern_pool_split(p->n, p->grain, (int)end - 1, p->n_part, &unused, &last);
    p->range_fn(p->arg, self, first, last);
}

/* Everything there is to do, own parts first. */
static void work_region(tern_pool *p, int self, uint32_t region)
{
    uint32_t n_done = 0, begin, end;
    for (int i = 0; i < p->n_lane; i++) {
        lane *l = &p->lanes[(self + i) % p->n_lane];
        for (; take(l, region, i == 0, &begin, &end); n_done += end - begin)
            run_parts(p, self, begin, end);
    }
    if (n_done == 0)
        return;
    uint32_t was = atomic_fetch_sub_explicit(&p->left.word, n_done, memory_order_acq_rel);
    if (was == (n_done | CALLER_SLEEPS))
        tern_gate_wake(&p->left, false);
}

/* ---- lanes --------------------------------------------------------------------------------- */

static void await_region(tern_pool *p, uint32_t seen)
{
    if (spin(&p->region.word, seen, false))
        return;
    atomic_fetch_add(&p->n_asleep, 1);
    while (atomic_load(&p->region.word) == seen)
        tern_gate_wait(&p->region, seen);
    atomic_fetch_sub(&p->n_asleep, 1);
}

static void *work(void *arg)
{
    lane *l = arg;
    tern_pool *p = l->pool;
    for (uint32_t seen = 0;;) {
        await_region(p, seen);
        if (atomic_load_explicit(&p->quit, memory_order_acquire))
            return NULL;
        /* Regions may have passed without this lane; only the newest has anything left. */
        seen = atomic_load_explicit(&p->region.word, memory_order_acquire);
        work_region(p, l->index, seen);
    }
}

static void raise_region(tern_pool *p, uint32_t region)
{
    atomic_store(&p->region.word, region);
    if (atomic_load(&p->n_asleep) > 0)
        tern_gate_wake(&p->region, true);
}

static void await_end(tern_pool *p)
{
    if (spin(&p->left.word, 0, true))
        return;
    atomic_fetch_or_explicit(&p->left.word, CALLER_SLEEPS, memory_order_acquire);
    for (uint32_t left;
         (left = atomic_load_explicit(&p->left.word, memory_order_acquire)) != CALLER_SLEEPS;)
        tern_gate_wait(&p->left, left);
}

/* ---- places -------------------------------------------------------------------------------- */

/* All hardware threads of the lane's core: which of them is the system's choice. */
static void keep(tern_pool *p, int lane_index)
{
    const tern_topology *t = &p->spread->t;
    int cpus[TERN_CPU_MAX], n = 0;
    for (int i = 0; i < t->n_cpu; i++)
        if (t->cores[i] == p->spread->core[lane_index])
            cpus[n++] = t->cpus[i];
    tern_affinity_set(p->lanes[lane_index].thread, cpus, n);
}

/* Before a region, as a lane on the caller's core would only take turns with it. */
static void make_way(tern_pool *p)
{
    spread *s = p->spread;
    int here = tern_affinity_here(), i = 0;
    if (here == s->here)
        return;
    s->here = here;
    while (i < s->t.n_cpu && s->t.cpus[i] != here)
        i++;
    if (i == s->t.n_cpu)
        return;
    for (int l = 1; l < p->n_lane; l++)
        if (s->core[l] == s->t.cores[i]) {
            s->core[l] = s->core[0];
            s->core[0] = s->t.cores[i];
            keep(p, l);
            return;
        }
}

tern_code tern_pool_spread(tern_pool *p, const tern_topology *t, tern_err *err)
{
    spread *s = p->spread = tern_calloc(1, sizeof *s + (size_t)p->n_lane * sizeof s->core[0]);
    if (!s)
        return tern_fail(err, TERN_E_NOMEM, "thread pool: out of memory");
    s->t = *t;
    s->here = -1;
    for (int i = 0; i < p->n_lane; i++) {
        s->core[i] = (short)(i % t->n_core);
        if (i > 0)
            keep(p, i);
    }
    return TERN_OK;
}

/* ---- regions ------------------------------------------------------------------------------- */

/* Give the parts out, do them, wait for what others have begun. */
static void run_region(tern_pool *p, int n_part)
{
    uint32_t region = atomic_load_explicit(&p->region.word, memory_order_relaxed) + 1;
    if (p->spread)
        make_way(p);
    atomic_store_explicit(&p->left.word, (uint32_t)n_part, memory_order_relaxed);
    for (int i = 0; i < p->n_lane; i++) {
        int begin, end;
        tern_pool_split(n_part, 1, i, p->n_lane, &begin, &end);
        atomic_store_explicit(&p->lanes[i].ticket,
                              (uint64_t)region << 32 | (uint64_t)begin << 16 | (uint64_t)end,
                              memory_order_release);
    }
    raise_region(p, region);
    work_region(p, 0, region);
    await_end(p);
}

void tern_pool_run(tern_pool *p, tern_pool_fn fn, void *arg)
{
    if (p->n_lane == 1) {
        fn(arg, 0, 1);
        return;
    }
    p->fn = fn;
    p->arg = arg;
    run_region(p, p->n_lane);
}

void tern_pool_for(tern_pool *p, int n, int grain, tern_pool_range_fn fn, void *arg)
{
    int n_grain = n / grain + (n % grain != 0);
    if (p->n_lane == 1 || n_grain <= 1) {
        if (n > 0)
            fn(arg, 0, 0, n);
        return;
    }
    p->fn = NULL;
    p->range_fn = fn;
    p->arg = arg;
    p->n = n;
    p->grain = grain;
    p->n_part = p->n_lane * LANE_PARTS < n_grain ? p->n_lane * LANE_PARTS : n_grain;
    p->n_part = p->n_part < PARTS_MAX ? p->n_part : PARTS_MAX;
    run_region(p, p->n_part);
}

/* ---- the pool ------------------------------------------------------------------------------ */

tern_code tern_pool_new(int n_thread, tern_pool **out, tern_err *err)
{
    *out = NULL;
    if (n_thread < 1 || n_thread > 1024)
        return tern_fail(err, TERN_E_USAGE, "thread count %d is outside 1..1024", n_thread);
    tern_pool *p = tern_calloc(1, sizeof *p);
    if (!p)
        return tern_fail(err, TERN_E_NOMEM, "thread pool: out of memory");
    p->lanes = tern_calloc((size_t)n_thread, sizeof *p->lanes);
    if (!p->lanes || !tern_gate_init(&p->region, 0)) {
        tern_free(p->lanes);
        tern_free(p);
        return tern_fail(err, TERN_E_NOMEM, "thread pool: out of memory");
    }
    if (!tern_gate_init(&p->left, 0)) {
        tern_gate_done(&p->region);
        tern_free(p->lanes);
        tern_free(p);
        return tern_fail(err, TERN_E_NOMEM, "thread pool: out of memory");
    }
    p->n_lane = n_thread;
    for (int i = 1; i < n_thread; i++) {
        lane *l = &p->lanes[i];
        l->pool = p;
        l->index = i;
        int rc = pthread_create(&l->thread, NULL, work, l);
        if (rc != 0) {
            tern_pool_free(p);
            return tern_fail(err, TERN_E_NOMEM, "cannot start thread %d of %d: %s", i + 1, n_thread,
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
    raise_region(p, atomic_load_explicit(&p->region.word, memory_order_relaxed) + 1);
    for (int i = 1; i <= p->n_started; i++)
        pthread_join(p->lanes[i].thread, NULL);
    tern_gate_done(&p->left);
    tern_gate_done(&p->region);
    tern_free(p->spread);
    tern_free(p->lanes);
    tern_free(p);
}

int tern_pool_size(const tern_pool *p)
{
    return p->n_lane;
}
