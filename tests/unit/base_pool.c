#include "base/os/affinity.h"
#include "base/pool.h"
#include "support/support.h"

#include <stdatomic.h>
#include <time.h>

#define N 1000

typedef struct sums {
    int out[N];
    _Atomic int n_lane_seen;
} sums;

static void fill(void *arg, int lane, int n_lane)
{
    sums *s = arg;
    int a, b;
    tern_pool_split(N, 16, lane, n_lane, &a, &b);
    for (int i = a; i < b; i++)
        s->out[i] += i;
    atomic_fetch_add(&s->n_lane_seen, 1);
}

static void test_every_region_covers_every_item_once(void **state)
{
    (void)state;
    for (int n_thread = 1; n_thread <= 5; n_thread++) {
        tern_pool *p;
        sums s = {0};
        assert_int_equal(tern_pool_new(n_thread, &p, NULL), TERN_OK);
        for (int round = 1; round <= 500; round++) {
            tern_pool_run(p, fill, &s);
            assert_int_equal(s.n_lane_seen, round * n_thread);
        }
        tern_pool_free(p);
        for (int i = 0; i < N; i++)
            assert_int_equal(s.out[i], 500 * i);
    }
}

/* Whatever addresses are hinted at, lanes only look for their regions. */
static void test_hints_may_name_any_bytes(void **state)
{
    (void)state;
    tern_pool *p;
    sums s = {0};
    assert_int_equal(tern_pool_new(3, &p, NULL), TERN_OK);
    for (uintptr_t round = 1; round <= 500; round++) {
        for (int lane = 0; lane < 3; lane++)
            tern_pool_ahead(p, lane, (const void *)(round << 32), (size_t)round << 10);
        tern_pool_run(p, fill, &s);
        assert_int_equal(s.n_lane_seen, (int)round * 3);
    }
    tern_pool_free(p);
}

/* A lane that is between two looks when the end comes must not wait for another region. */
static void test_pools_freed_at_once_end(void **state)
{
    (void)state;
    for (int round = 0; round < 3000; round++) {
        tern_pool *p;
        sums s = {0};
        assert_int_equal(tern_pool_new(2 + round % 3, &p, NULL), TERN_OK);
        for (int i = 0; i < round % 4; i++)
            tern_pool_run(p, fill, &s);
        tern_pool_free(p);
    }
}

static void test_split_is_a_partition_in_whole_grains(void **state)
{
    (void)state;
    for (int n = 0; n < 200; n++)
        for (int n_lane = 1; n_lane <= 7; n_lane++) {
            int at = 0;
            for (int lane = 0; lane < n_lane; lane++) {
                int a, b;
                tern_pool_split(n, 16, lane, n_lane, &a, &b);
                assert_int_equal(a, at);
                assert_true(b >= a && (b == n || b % 16 == 0));
                at = b;
            }
            assert_int_equal(at, n);
        }
}

/* ---- ranges -------------------------------------------------------------------------------- */

typedef struct ranges {
    int n, grain, n_lane;
    int out[N]; /* not atomic: a piece that ran twice at once is a race that tools see */
    _Atomic int n_wrong;
} ranges;

static void fill_range(void *arg, int lane, int begin, int end)
{
    ranges *r = arg;
    if (lane < 0 || lane >= r->n_lane || begin >= end || begin % r->grain != 0 ||
        (end != r->n && end % r->grain != 0))
        atomic_fetch_add(&r->n_wrong, 1);
    for (int i = begin; i < end; i++)
        r->out[i]++;
}

static void test_ranges_cover_everything_once_in_whole_grains(void **state)
{
    (void)state;
    static const int sizes[] = {0, 1, 15, 16, 17, 160, 999, N};
    for (int n_thread = 1; n_thread <= 9; n_thread += 2) {
        tern_pool *p;
        assert_int_equal(tern_pool_new(n_thread, &p, NULL), TERN_OK);
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
            for (int grain = 1; grain <= 32; grain += 15) {
                ranges r = {.n = sizes[s], .grain = grain, .n_lane = n_thread};
                for (int round = 0; round < 20; round++)
                    tern_pool_for(p, r.n, grain, fill_range, &r);
                assert_int_equal(r.n_wrong, 0);
                for (int i = 0; i < N; i++)
                    assert_int_equal(r.out[i], i < r.n ? 20 : 0);
            }
        tern_pool_free(p);
    }
}

/* ---- sleepers ------------------------------------------------------------------------------ */

static void sleep_us(long us)
{
    struct timespec t = {.tv_nsec = us * 1000};
    (void)nanosleep(&t, NULL);
}

/* Pauses of every length round that after which lanes sleep, in and between regions. */
static void pause_and_count(void *arg, int lane, int n_lane)
{
    sums *s = arg;
    if (lane == s->n_lane_seen % n_lane)
        sleep_us(s->n_lane_seen % 7 * 20);
    atomic_fetch_add(&s->n_lane_seen, 1);
}

static void test_sleeping_lanes_and_callers_are_woken(void **state)
{
    (void)state;
    for (int n_thread = 2; n_thread <= 32; n_thread *= 2) {
        tern_pool *p;
        sums s = {0};
        assert_int_equal(tern_pool_new(n_thread, &p, NULL), TERN_OK);
        for (int round = 1; round <= 200; round++) {
            tern_pool_run(p, pause_and_count, &s);
            assert_int_equal(s.n_lane_seen, round * n_thread);
            sleep_us(round % 9 * 15);
        }
        tern_pool_free(p);
    }
}

static void test_a_pool_that_never_ran_is_freed(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        tern_pool *p;
        assert_int_equal(tern_pool_new(1 + round % 5, &p, NULL), TERN_OK);
        if (round % 3 == 0)
            sleep_us(200); /* asleep when it ends */
        tern_pool_free(p);
    }
}

/* A lane held up in its first piece, as by another program on its CPU, keeps that piece and no
 * other. */
typedef struct held {
    _Atomic int n_done;
    _Atomic bool stuck;
} held;

static void hold_workers(void *arg, int lane, int begin, int end)
{
    held *h = arg;
    for (int ms = 0; lane != 0 && atomic_load(&h->n_done) < 64 - (end - begin); ms++) {
        if (ms == 5000) {
            atomic_store(&h->stuck, true);
            break;
        }
        sleep_us(1000);
    }
    atomic_fetch_add(&h->n_done, end - begin);
}

static void test_the_pieces_of_a_lane_held_up_are_done_by_others(void **state)
{
    (void)state;
    tern_pool *p;
    assert_int_equal(tern_pool_new(2, &p, NULL), TERN_OK);
    for (int round = 0; round < 20; round++) {
        held h = {0};
        tern_pool_for(p, 64, 4, hold_workers, &h);
        assert_int_equal(h.n_done, 64);
        assert_false(h.stuck);
    }
    tern_pool_free(p);
}

static void test_lanes_that_are_spread_do_the_same(void **state)
{
    (void)state;
    tern_topology t;
    tern_topology_get(&t);
    for (int n_thread = 1; n_thread <= 2 * t.n_cpu + 1 && n_thread < 64; n_thread++) {
        tern_pool *p;
        sums s = {0};
        assert_int_equal(tern_pool_new(n_thread, &p, NULL), TERN_OK);
        assert_int_equal(tern_pool_spread(p, &t, NULL), TERN_OK);
        for (int round = 1; round <= 50; round++) {
            tern_pool_run(p, fill, &s);
            assert_int_equal(s.n_lane_seen, round * n_thread);
        }
        tern_pool_free(p);
        for (int i = 0; i < N; i++)
            assert_int_equal(s.out[i], 50 * i);
    }
}

#if defined(__linux__)
/* The thread that runs regions is the program's. */
static void test_the_caller_may_still_go_anywhere(void **state)
{
    (void)state;
    int before[TERN_CPU_MAX], after[TERN_CPU_MAX];
    int n = tern_affinity_get(before, TERN_CPU_MAX);
    tern_topology t;
    tern_pool *p;
    sums s = {0};
    tern_topology_get(&t);
    assert_int_equal(tern_pool_new(t.n_core, &p, NULL), TERN_OK);
    assert_int_equal(tern_pool_spread(p, &t, NULL), TERN_OK);
    for (int i = 0; i < n; i++) { /* a lane makes way wherever the caller comes */
        tern_affinity_set(pthread_self(), &before[i], 1);
        tern_pool_run(p, fill, &s);
        assert_int_equal(tern_affinity_get(after, TERN_CPU_MAX), 1);
        assert_int_equal(after[0], before[i]);
    }
    tern_affinity_set(pthread_self(), before, n);
    tern_pool_run(p, fill, &s);
    assert_int_equal(tern_affinity_get(after, TERN_CPU_MAX), n);
    assert_int_equal(s.n_lane_seen, (n + 1) * t.n_core);
    tern_pool_free(p);
}

typedef struct places {
    _Atomic int cpu[2]; /* of each lane, plus 1 */
} places;

/* Neither ends before the other has begun, and so takes nothing from it. */
static void note_place(void *arg, int lane, int n_lane)
{
    places *l = arg;
    (void)n_lane;
    atomic_store(&l->cpu[lane], tern_affinity_here() + 1);
    for (int ms = 0; ms < 5000 && !atomic_load(&l->cpu[1 - lane]); ms++)
        sleep_us(1000);
}

static void test_no_lane_shares_the_callers_core(void **state)
{
    (void)state;
    int allowed[TERN_CPU_MAX], n = tern_affinity_get(allowed, TERN_CPU_MAX);
    tern_topology t;
    tern_pool *p;
    tern_topology_get(&t);
    if (t.n_core < 2)
        skip();
    assert_int_equal(tern_pool_new(2, &p, NULL), TERN_OK);
    assert_int_equal(tern_pool_spread(p, &t, NULL), TERN_OK);
    for (int i = 0; i < 2; i++) {
        places l = {0};
        int at = t.cpus[i];
        tern_affinity_set(pthread_self(), &at, 1);
        tern_pool_run(p, note_place, &l);
        assert_int_equal(l.cpu[0], at + 1);
        assert_int_not_equal(l.cpu[1], at + 1);
    }
    tern_affinity_set(pthread_self(), allowed, n);
    tern_pool_free(p);
}
#endif

static void test_bad_thread_counts_are_refused(void **state)
{
    (void)state;
    tern_pool *p;
    tern_err err;
    assert_int_equal(tern_pool_new(0, &p, &err), TERN_E_USAGE);
    assert_int_equal(tern_pool_new(100000, &p, &err), TERN_E_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_region_covers_every_item_once),
        cmocka_unit_test(test_hints_may_name_any_bytes),
        cmocka_unit_test(test_pools_freed_at_once_end),
        cmocka_unit_test(test_split_is_a_partition_in_whole_grains),
        cmocka_unit_test(test_ranges_cover_everything_once_in_whole_grains),
        cmocka_unit_test(test_sleeping_lanes_and_callers_are_woken),
        cmocka_unit_test(test_a_pool_that_never_ran_is_freed),
        cmocka_unit_test(test_the_pieces_of_a_lane_held_up_are_done_by_others),
        cmocka_unit_test(test_lanes_that_are_spread_do_the_same),
#if defined(__linux__)
        cmocka_unit_test(test_the_caller_may_still_go_anywhere),
        cmocka_unit_test(test_no_lane_shares_the_callers_core),
#endif
        cmocka_unit_test(test_bad_thread_counts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
