#include "base/pool.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/os/affinity.h"
#include "base/os/park.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

/* How long a thread looks for what it waits for before it sleeps. Longer than the gap between two
 * regions of a step, as a wake-up costs both sides; shorter than what a neighbour would miss. */
#define SPIN_NS 50000
/* Parts for each lane in tern_pool_for, of which it takes a quarter of what is left at a time: large
 * pieces first, and a last one so small that the others hardly wait for it. */
#define LANE_PARTS 64
#define TAKE       4
#define PARTS_MAX  0xffff /* what a ticket can count */
/* Lines asked for between two looks at what is waited for: 50 ns of a fast memory. */
#define FETCH_LINES 16
/* In `left`: the caller sleeps on it. */
#define CALLER_SLEEPS 0x80000000u

/* What a region runs. */
typedef struct job {
    tern_pool_fn fn; /* NULL: range_fn */
    tern_pool_range_fn range_fn;
    void *arg;
    int n, grain, n_part; /* of range_fn */
} job;

typedef struct lane {
    /* Parts of this lane that nobody has begun: region << 32 | first << 16 | end. The lane takes from
     * the front, others from the end. The number of the region makes an attempt fail that comes late:
     * a region whose parts are all taken may end, and the next begin, while a lane sleeps anywhere.
     * Set with release order by the caller: who takes a part (acquire) sees the job beside it, which
     * then stays as long as the part. All a lane needs to begin comes in one cache line. */
    _Alignas(64) _Atomic uint64_t ticket;
    job job;
    /* What to fetch while waiting for the region after this one; only addresses, so any mixture of an
     * old hint and a new one will do. */
    _Atomic uintptr_t ahead, ahead_end;
    /* The lane's own: of [fetched_from, ..) what it has asked for. */
    _Alignas(64) uintptr_t fetched_from, fetched;
    tern_pool *pool; /* borrowed */
    pthread_t thread;
    int index;
    /* The caller's own: `ahead` from the next region on. */
    _Alignas(64) uintptr_t next, next_end;
} lane;

/* Where lanes are kept; only the caller looks at it. */
typedef struct spread {
    tern_topology t;
    int here;     /* CPU the caller was last seen on */
    short core[]; /* [n_lane]; of lane 0: the one left to the caller */
} spread;

struct tern_pool {
    int n_lane;
    int n_started;     /* threads; lane 0 is the caller */
    lane *lanes;       /* owned */
    size_t ahead_most; /* bytes a lane fetches ahead */
    spread *spread;    /* owned; NULL: lanes run where the system puts them */
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

/* Ask for some of what is read next; false: all of it was. A few lines at a time, so that what the lane
 * waits for is seen at once. */
static bool fetch_ahead(lane *l)
{
    uintptr_t from = atomic_load_explicit(&l->ahead, memory_order_relaxed);
    uintptr_t end = atomic_load_explicit(&l->ahead_end, memory_order_relaxed);
    if (from != l->fetched_from)
        l->fetched_from = l->fetched = from;
    if (l->fetched >= end)
        return false;
    for (int i = 0; i < FETCH_LINES; i++)
        __builtin_prefetch((const void *)(l->fetched + 64 * (uintptr_t)i), 0, 2);
    l->fetched += 64 * FETCH_LINES;
    return true;
}

static inline bool region_came(const lane *l, uint32_t seen)
{
    return atomic_load_explicit(&l->ticket, memory_order_acquire) >> 32 != seen;
}

static inline bool region_over(const lane *l, uint32_t left)
{
    return atomic_load_explicit(&l->pool->left.word, memory_order_acquire) == left;
}

/* Look until what the lane waits for has come. False: it took too long. */
static inline bool spin(lane *l, bool (*came)(const lane *l, uint32_t value), uint32_t value)
{
    for (uint64_t begin = 0;;) {
        for (int i = 0; i < 64; i++) {
            if (came(l, value))
                return true;
            if (!fetch_ahead(l))
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

static void run_parts(const job *j, int n_lane, int self, uint32_t begin, uint32_t end)
{
    if (j->fn) {
        for (uint32_t i = begin; i < end; i++)
            j->fn(j->arg, (int)i, n_lane);
        return;
    }
    int first, last, unused;
    tern_pool_split(j->n, j->grain, (int)begin, j->n_part, &first, &unused);
    tern_pool_split(j->n, j->grain, (int)end - 1, j->n_part, &unused, &last);
    j->range_fn(j->arg, self, first, last);
}

/* Everything there is to do, own parts first. */
static void work_region(tern_pool *p, int self, uint32_t region)
{
    uint32_t n_done = 0, begin, end;
    for (int i = 0; i < p->n_lane; i++) {
        lane *l = &p->lanes[(self + i) % p->n_lane];
        for (; take(l, region, i == 0, &begin, &end); n_done += end - begin)
            run_parts(&l->job, p->n_lane, self, begin, end);
    }
    if (n_done == 0)
        return;
    uint32_t was = atomic_fetch_sub_explicit(&p->left.word, n_done, memory_order_acq_rel);
    if (was == (n_done | CALLER_SLEEPS))
        tern_gate_wake(&p->left, false);
}

/* ---- lanes --------------------------------------------------------------------------------- */

static void await_region(tern_pool *p, lane *l, uint32_t seen)
{
    if (spin(l, region_came, seen))
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
        await_region(p, l, seen);
        /* Regions may have passed without this lane; only the newest has anything left. */
        seen = (uint32_t)(atomic_load_explicit(&l->ticket, memory_order_acquire) >> 32);
        /* Behind the ticket: the last one is given after quit is set, and no other comes to wake who
         * takes it for work. */
        if (atomic_load_explicit(&p->quit, memory_order_acquire))
            return NULL;
        work_region(p, l->index, seen);
    }
}

/* Wake who sleeps; who looks has seen his ticket. */
static void raise_region(tern_pool *p, uint32_t region)
{
    atomic_store(&p->region.word, region);
    if (atomic_load(&p->n_asleep) > 0)
        tern_gate_wake(&p->region, true);
}

static void await_end(tern_pool *p)
{
    if (spin(&p->lanes[0], region_over, 0))
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

static void give(lane *l, const job *j, uint32_t region, int begin, int end)
{
    l->job = *j;
    atomic_store_explicit(&l->ahead, l->next, memory_order_relaxed);
    atomic_store_explicit(&l->ahead_end, l->next_end, memory_order_relaxed);
    atomic_store_explicit(&l->ticket,
                          (uint64_t)region << 32 | (uint64_t)begin << 16 | (uint64_t)end,
                          memory_order_release);
}

/* Give the parts out, do them, wait for what others have begun. */
static void run_region(tern_pool *p, const job *j)
{
    uint32_t region = atomic_load_explicit(&p->region.word, memory_order_relaxed) + 1;
    if (p->spread)
        make_way(p);
    atomic_store_explicit(&p->left.word, (uint32_t)j->n_part, memory_order_relaxed);
    for (int i = p->n_lane - 1; i >= 0; i--) {
        int begin, end;
        tern_pool_split(j->n_part, 1, i, p->n_lane, &begin, &end);
        give(&p->lanes[i], j, region, begin, end);
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
    run_region(p, &(job){.fn = fn, .arg = arg, .n_part = p->n_lane});
}

void tern_pool_for(tern_pool *p, int n, int grain, tern_pool_range_fn fn, void *arg)
{
    int n_grain = n / grain + (n % grain != 0);
    if (p->n_lane == 1 || n_grain <= 1) {
        if (n > 0)
            fn(arg, 0, 0, n);
        return;
    }
    job j = {.range_fn = fn, .arg = arg, .n = n, .grain = grain, .n_part = p->n_lane * LANE_PARTS};
    j.n_part = j.n_part < n_grain ? j.n_part : n_grain;
    j.n_part = j.n_part < PARTS_MAX ? j.n_part : PARTS_MAX;
    run_region(p, &j);
}

void tern_pool_ahead(tern_pool *p, int lane_index, const void *bytes, size_t n)
{
    lane *l = &p->lanes[lane_index];
    l->next = (uintptr_t)bytes;
    l->next_end = l->next + (n < p->ahead_most ? n : p->ahead_most);
}

/* ---- the pool ------------------------------------------------------------------------------ */

/* Half of the second-level cache, as the rest of the step wants some of it too. */
static size_t ahead_most(void)
{
    long bytes = -1;
#ifdef _SC_LEVEL2_CACHE_SIZE
    bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    return bytes > 0 ? (size_t)bytes / 2 : (size_t)128 << 10;
}

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
    p->ahead_most = ahead_most();
    p->lanes[0].pool = p;
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
    uint32_t region = atomic_load_explicit(&p->region.word, memory_order_relaxed) + 1;
    for (int i = 1; i <= p->n_started; i++)
        give(&p->lanes[i], &(job){0}, region, 0, 0);
    raise_region(p, region);
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
