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

/* Rests that follow when so many samples of ns each were taken for n rows. */
static int rests(tern_head_cost *c, int n, double ns, int n_sample)
{
    int n_rest = 0;
    for (int i = 0; i < n_sample; i++)
        tern_head_cost_add(c, n, ns);
    while (n_rest < 1000 && tern_head_cost_rests(c, n))
        n_rest++;
    return n_rest;
}

static void decides(void **state)
{
    (void)state;
    tern_head_cost c = {.whole_ns = {0, 100, 100, 120, 200}};
    assert_int_equal(rests(&c, 1, 1e9, 5), 0); /* unknown: never */
    assert_int_equal(rests(&c, 8, 100, 5), 0);
    assert_int_equal(rests(&c, 8, 130, 1), 0); /* little more than before: not yet */
    assert_int_equal(rests(&c, 8, 140, 9), TERN_HEAD_COST_REST);
    assert_int_equal(rests(&c, 16, 210, 9), 0); /* other numbers of rows have costs of their own */
    assert_int_equal(rests(&c, 8, 50, 1), 0);   /* tried again, and better now */
    /* Six rows are a part of eight. */
    assert_int_equal(rests(&c, 6, 150, 9), TERN_HEAD_COST_REST);
    assert_int_equal(rests(&c, 6, 80, 9), 0);
}

/* One interruption does not turn the choice. */
static void outliers(void **state)
{
    (void)state;
    tern_head_cost c = {.whole_ns = {0, 0, 0, 120, 0}};
    assert_int_equal(rests(&c, 8, 100, 5), 0);
    assert_int_equal(rests(&c, 8, 1e9, 1), 0);
    assert_int_equal(rests(&c, 8, 100, 5), 0);
    assert_int_equal(rests(&c, 8, 1e9, 2), TERN_HEAD_COST_REST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes),
        cmocka_unit_test(decides),
        cmocka_unit_test(outliers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
