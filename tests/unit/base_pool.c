#include "base/pool.h"
#include "support/support.h"

#include <stdatomic.h>

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
        cmocka_unit_test(test_split_is_a_partition_in_whole_grains),
        cmocka_unit_test(test_bad_thread_counts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
