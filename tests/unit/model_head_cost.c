/* When the whole head takes the place of screening for several rows, and for how long. */
#include "model/head_cost.h"
#include "support/support.h"

static void classes(void **state)
{
    (void)state;
    static const int want[17] = {0, 0, 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4};
    for (int n = 1; n <= 16; n++)
        assert_int_equal(tern_head_cost_class(n), want[n]);
}

static void add(tern_head_cost *c, bool whole, int n, double ns, int n_sample)
{
    for (int i = 0; i < n_sample; i++)
        tern_head_cost_add(c, whole, n, ns);
}

/* Passes that do not screen; none of them is measured. */
static int rests(tern_head_cost *c, int n)
{
    int n_rest = 0;
    while (n_rest < 1000 && tern_head_cost_rests(c, n))
        n_rest++;
    return n_rest;
}

static void decides(void **state)
{
    (void)state;
    tern_head_cost c = {.estimate_ns = {0, 100, 100, 120, 200}};
    add(&c, false, 1, 1e9, 9);
    assert_int_equal(rests(&c, 1), 0); /* unknown: never */
    add(&c, false, 8, 130, 9);
    assert_int_equal(rests(&c, 8), 0); /* hardly slower */
    add(&c, false, 8, 140, 3);
    assert_int_equal(rests(&c, 8), 0); /* the fastest of the last counts */
    add(&c, false, 8, 140, 1);
    assert_int_equal(rests(&c, 16), 0); /* other numbers of rows have costs of their own */
    assert_int_equal(rests(&c, 8), TERN_HEAD_COST_REST);
    assert_int_equal(rests(&c, 8), 0); /* tried again */
    add(&c, false, 8, 140, 1);
    assert_int_equal(rests(&c, 8), TERN_HEAD_COST_REST);
    add(&c, false, 8, 50, 1);
    assert_int_equal(rests(&c, 8), 0); /* and better */
    add(&c, false, 6, 150, 4);         /* six rows are a part of eight */
    assert_int_equal(rests(&c, 6), TERN_HEAD_COST_REST);
}

/* An estimate that was too low is corrected by what is measured. */
static void corrects(void **state)
{
    (void)state;
    tern_head_cost c = {.estimate_ns = {0, 0, 0, 120, 0}};
    add(&c, false, 8, 140, TERN_HEAD_COST_SAMPLES);
    assert_true(tern_head_cost_rests(&c, 8));
    add(&c, true, 8, 900, 1); /* mapped for the first time */
    add(&c, true, 8, 150, TERN_HEAD_COST_SAMPLES - 2);
    assert_true(tern_head_cost_rests(&c, 8));
    add(&c, true, 8, 150, 1);
    assert_false(tern_head_cost_rests(&c, 8));
    add(&c, false, 8, 140, 5);
    assert_false(tern_head_cost_rests(&c, 8));
}

/* Interruptions do not turn the choice. */
static void outliers(void **state)
{
    (void)state;
    tern_head_cost c = {.estimate_ns = {0, 0, 0, 120, 0}};
    add(&c, false, 8, 1e9, TERN_HEAD_COST_SAMPLES - 1);
    assert_int_equal(rests(&c, 8), 0);
    add(&c, false, 8, 100, 1);
    assert_int_equal(rests(&c, 8), 0);
    add(&c, false, 8, 1e9, TERN_HEAD_COST_SAMPLES - 1);
    assert_int_equal(rests(&c, 8), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes),
        cmocka_unit_test(decides),
        cmocka_unit_test(corrects),
        cmocka_unit_test(outliers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
