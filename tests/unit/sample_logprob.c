/* Probabilities of tokens: ties, infinities and NaNs in logits, and what filters leave. Expected values are
 * softmaxes computed by hand. */
#include "sample/logprob.h"
#include "support/support.h"

#include <math.h>

#define N 6

static void near(float got, double want)
{
    if (isinf(want))
        assert_true(isinf(got) && (got < 0) == (want < 0));
    else
        assert_true(fabs((double)got - want) < 1e-6);
}

static void test_logits(void **state)
{
    (void)state;
    /* exp: 1, 2, 2, 4, 0, 1: the sum is 10. */
    const float logits[N] = {0.0f, logf(2.0f), logf(2.0f), logf(4.0f), -INFINITY, 0.0f};
    tern_logprobs l = {.n_top = 5};
    static const int32_t order[] = {3, 1, 2, 0, 5};
    static const double p[] = {0.4, 0.2, 0.2, 0.1, 0.1};
    tern_logprobs_of_logits(&l, logits, N, 2);
    near(l.logprob, log(0.2));
    assert_int_equal(l.n_top, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(l.top[i].id, order[i]);
        near(l.top[i].logprob, log(p[i]));
    }
    l.n_top = 20; /* more than there are */
    tern_logprobs_of_logits(&l, logits, N, 4);
    assert_int_equal(l.n_top, N);
    near(l.logprob, (double)-INFINITY);
    assert_int_equal(l.top[5].id, 4);
    near(l.top[5].logprob, (double)-INFINITY);
    l.n_top = 0;
    tern_logprobs_of_logits(&l, logits, N, 3);
    near(l.logprob, log(0.4));
    assert_int_equal(l.n_top, 0);
}

static void test_what_is_no_number(void **state)
{
    (void)state;
    const float nan_first[N] = {NAN, 1.0f, 1.0f, NAN, -INFINITY, -1e30f};
    const float infinite[N] = {0.0f, INFINITY, 5.0f, INFINITY, NAN, -INFINITY};
    const float nothing[N] = {-INFINITY, NAN, -INFINITY, NAN, -INFINITY, -INFINITY};
    tern_logprobs l = {.n_top = 3};
    tern_logprobs_of_logits(&l, nan_first, N, 0);
    near(l.logprob, (double)-INFINITY);
    assert_int_equal(l.top[0].id, 1);
    assert_int_equal(l.top[1].id, 2);
    near(l.top[1].logprob, log(0.5));
    assert_int_equal(l.top[2].id, 5);
    l.n_top = 3;
    tern_logprobs_of_logits(&l, infinite, N, 3);
    near(l.logprob, log(0.5));
    assert_int_equal(l.top[0].id, 1);
    assert_int_equal(l.top[2].id, 2);
    near(l.top[2].logprob, (double)-INFINITY);
    l.n_top = 2;
    tern_logprobs_of_logits(&l, nothing, N, 0); /* equally likely, as the sampler takes it */
    near(l.logprob, -log(6.0));
    assert_int_equal(l.top[0].id, 0);
    assert_int_equal(l.top[1].id, 1);
}

static tern_logprobs drawn(tern_sample_params *p, const float *logits, int32_t *id)
{
    tern_sampler *s;
    tern_err err;
    tern_logprobs l = {.n_top = N};
    if (tern_sampler_new(p, N, &s, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    *id = tern_sampler_pick(s, logits, 7);
    tern_logprobs_of_sampler(&l, s, *id);
    tern_sampler_free(s);
    return l;
}

static void test_what_a_sampler_drew_from(void **state)
{
    (void)state;
    const float logits[N] = {0.0f, logf(2.0f), logf(2.0f), logf(4.0f), -INFINITY, 0.0f};
    const tern_logit_bias ban = {.id = 3, .bias = -INFINITY};
    tern_sample_params p;
    tern_logprobs l;
    int32_t id;
    tern_sample_params_init(&p);
    p.temp = 0.5f; /* squares: 16, 4, 4 of 24 */
    p.top_k = 3;
    p.top_p = 1.0f;
    p.min_p = 0.0f;
    l = drawn(&p, logits, &id);
    assert_int_equal(l.n_top, 3);
    assert_int_equal(l.top[0].id, 3);
    assert_int_equal(l.top[1].id, 1);
    near(l.top[0].logprob, log(16.0 / 24));
    near(l.top[2].logprob, log(4.0 / 24));
    near(l.logprob, id == 3 ? log(16.0 / 24) : log(4.0 / 24));
    p.top_k = 0; /* the temperature alone: 1, 4, 4, 16, 0, 1 of 26 */
    l = drawn(&p, logits, &id);
    assert_int_equal(l.n_top, 5);
    near(l.top[0].logprob, log(16.0 / 26));
    near(l.top[4].logprob, log(1.0 / 26));
    p.bias = &ban; /* 1, 4, 4, 0, 0, 1 of 10 */
    p.n_bias = 1;
    l = drawn(&p, logits, &id);
    assert_int_equal(l.n_top, 4);
    assert_int_equal(l.top[0].id, 1);
    near(l.top[0].logprob, log(0.4));
    p.temp = 0.0f; /* greedy */
    l = drawn(&p, logits, &id);
    assert_int_equal(id, 1);
    assert_int_equal(l.n_top, 1);
    assert_int_equal(l.top[0].id, 1);
    near(l.logprob, 0.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits),
        cmocka_unit_test(test_what_is_no_number),
        cmocka_unit_test(test_what_a_sampler_drew_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
