#include "sample/chain.h"
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N 8

static tern_sampler *sampler(const tern_sample_params *p, int n_vocab)
{
    tern_sampler *s;
    tern_err err = {0};
    if (tern_sampler_new(p, n_vocab, &s, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return s;
}

static tern_sample_params plain(void)
{
    tern_sample_params p;
    tern_sample_params_init(&p);
    p.temp = 1.0f;
    p.top_k = 0;
    p.top_p = 1.0f;
    p.min_p = 0.0f;
    return p;
}

/* Ids that do not exist are as if they were banned before anything else. */
static void test_a_mask_is_a_ban(void **state)
{
    (void)state;
    enum { MANY = 200 };
    float logits[MANY];
    uint32_t seed = 5, bits[MANY / 32 + 1];
    for (int round = 0; round < 600; round++) {
        tern_sample_params p = plain();
        tern_logit_bias bias[MANY];
        int n = 0;
        memset(bits, 0, sizeof bits);
        p.n_bias = 0;
        for (int i = 0; i < MANY; i++) {
            logits[i] = (float)(test_rand(&seed) % 1000) / 100.0f - 5.0f;
            if (test_rand(&seed) % 8 < (uint32_t)(round % 8) && i != 77)
                bias[p.n_bias++] = (tern_logit_bias){i, -INFINITY};
            else
                bits[i / 32] |= 1u << i % 32, n++;
        }
        p.temp = round % 5 ? 1.3f : 0.0f;
        p.top_k = round % 3 ? 0 : 20;
        p.top_p = round % 4 ? 1.0f : 0.8f;
        p.min_p = round % 7 ? 0.0f : 0.1f;
        p.typical_p = round % 11 ? 1.0f : 0.7f;
        p.repeat_penalty = round % 2 ? 1.2f : 1.0f;
        p.presence_penalty = 0.3f;
        p.bias = bias;
        tern_sampler *banned = sampler(&p, MANY);
        p.n_bias = 0;
        tern_sampler *masked = sampler(&p, MANY);
        tern_sampler_allow(masked, bits, n);
        for (int i = 0; i < 5; i++) {
            tern_sampler_accept(banned, (int32_t)(7 * i));
            tern_sampler_accept(masked, (int32_t)(7 * i));
        }
        for (uint64_t pos = 0; pos < 5; pos++)
            assert_int_equal(tern_sampler_pick(masked, logits, pos),
                             tern_sampler_pick(banned, logits, pos));
        tern_sampler_free(banned);
        tern_sampler_free(masked);
    }
}

/* How often each id is drawn over many positions. */
static void frequencies(const tern_sample_params *p, const float *logits, double *out)
{
    enum { DRAWS = 200000 };
    tern_sampler *s = sampler(p, N);
    for (int i = 0; i < N; i++)
        out[i] = 0.0;
    for (uint64_t pos = 0; pos < DRAWS; pos++)
        out[tern_sampler_pick(s, logits, pos)] += 1.0 / DRAWS;
    tern_sampler_free(s);
}

/* Probabilities 1/2, 1/4, ... of ids 0, 1, ...; the last two share the rest. */
static const float halves[N] = {7,           6.30685282f, 5.61370564f, 4.92055846f,
                                4.22741128f, 3.5342641f,  2.84111692f, 2.84111692f};

/* Five standard deviations of a frequency of 1/2 over the draws. */
#define NOISE (5.0 * 0.5 / 447.2)

static void test_greedy_takes_the_largest_and_the_lowest_id_of_a_tie(void **state)
{
    (void)state;
    const float ties[N] = {1, 3, 2, 3, -1, 3, 0, 0},
                nans[N] = {NAN, -INFINITY, -5, NAN, -5, 0, 0, NAN};
    tern_sample_params p = plain();
    p.temp = 0.0f;
    tern_sampler *s = sampler(&p, N);
    assert_int_equal(tern_sampler_pick(s, ties, 0), 1);
    assert_int_equal(tern_sampler_pick(s, nans, 0), 5);
    tern_sampler_free(s);
}

static void test_temperature_one_draws_the_distribution(void **state)
{
    (void)state;
    double f[N], want = 0.5;
    tern_sample_params p = plain();
    frequencies(&p, halves, f);
    for (int i = 0; i < N - 1; i++, want /= 2)
        assert_true(fabs(f[i] - want) < NOISE);
}

static void test_temperature_two_flattens(void **state)
{
    (void)state;
    double f[N], sum = 0.0;
    tern_sample_params p = plain();
    p.temp = 2.0f;
    frequencies(&p, halves, f);
    for (int i = 0; i < N; i++)
        sum += sqrt(exp((double)halves[i] - 7.0));
    for (int i = 0; i < N; i++)
        assert_true(fabs(f[i] - sqrt(exp((double)halves[i] - 7.0)) / sum) < NOISE);
}

static void test_truncations_keep_what_their_papers_say(void **state)
{
    (void)state;
    double f[N];
    tern_sample_params p = plain();
    p.top_k = 2; /* 1/2 and 1/4, renormalised */
    frequencies(&p, halves, f);
    assert_true(fabs(f[0] - 2.0 / 3) < NOISE && fabs(f[1] - 1.0 / 3) < NOISE && f[2] == 0.0);

    p = plain();
    p.top_p = 0.8f; /* 1/2 + 1/4 = 0.75 is not enough: three are kept */
    frequencies(&p, halves, f);
    assert_true(fabs(f[0] - 4.0 / 7) < NOISE && fabs(f[2] - 1.0 / 7) < NOISE && f[3] == 0.0);

    p = plain();
    p.min_p = 0.2f; /* at least a fifth of 1/2: 1/4 and 1/8 */
    frequencies(&p, halves, f);
    assert_true(fabs(f[0] - 4.0 / 7) < NOISE && f[2] > 0.0 && f[3] == 0.0);

    /* Entropy of halves is about 2 ln 2: surprises ln 2 * (1, 2, 3, ...), so id 1 is the most typical
     * and ids 0 and 2 are next. A mass of 0.2 needs id 1 alone. */
    p = plain();
    p.typical_p = 0.2f;
    frequencies(&p, halves, f);
    assert_true(fabs(f[1] - 1.0) < 1e-9);
}

static void test_penalties_follow_the_window(void **state)
{
    (void)state;
    const float logits[N] = {4, 3.5f, 3, -1, -1, -1, -1, -1};
    tern_sample_params p = plain();
    p.temp = 0.0f;
    p.repeat_penalty = 2.0f;
    p.repeat_last_n = 2;
    tern_sampler *s = sampler(&p, N);
    tern_sampler_accept(s, 0);
    assert_int_equal(tern_sampler_pick(s, logits, 0), 1); /* 4/2 < 3.5 */
    tern_sampler_accept(s, 1);
    assert_int_equal(tern_sampler_pick(s, logits, 0), 2); /* 2, 1.75, 3 */
    tern_sampler_accept(s, 2);
    assert_int_equal(tern_sampler_pick(s, logits, 0), 0); /* id 0 has left the window */
    tern_sampler_reset(s);
    assert_int_equal(tern_sampler_pick(s, logits, 0), 0);
    tern_sampler_free(s);

    p.repeat_penalty = 1.0f;
    p.frequency_penalty = 0.3f;
    p.repeat_last_n = -1;
    s = sampler(&p, N);
    for (int i = 0; i < 1000; i++)
        tern_sampler_accept(s, 7); /* the window grows with the context */
    tern_sampler_accept(s, 0);
    assert_int_equal(tern_sampler_pick(s, logits, 0), 0); /* 3.7 */
    tern_sampler_accept(s, 0);
    assert_int_equal(tern_sampler_pick(s, logits, 0), 1); /* 3.4 < 3.5: counted twice */
    tern_sampler_free(s);
}

static void test_bias_moves_and_bans(void **state)
{
    (void)state;
    const tern_logit_bias bias[] = {{0, -INFINITY}, {3, 10.0f}};
    tern_sample_params p = plain();
    p.bias = bias;
    p.n_bias = 1;
    double f[N];
    frequencies(&p, halves, f);
    assert_true(f[0] == 0.0 && fabs(f[1] - 0.5) < NOISE);
    p.n_bias = 2;
    p.temp = 0.0f;
    tern_sampler *s = sampler(&p, N);
    assert_int_equal(tern_sampler_pick(s, halves, 0), 3);
    tern_sampler_free(s);
}

static void test_a_ban_holds_against_infinity(void **state)
{
    (void)state;
    const float logits[N] = {INFINITY, 1, INFINITY, 3, -INFINITY, NAN, 0, 0};
    const tern_logit_bias bias[] = {{0, -INFINITY}, {2, -INFINITY}, {4, INFINITY}};
    tern_sample_params p = plain();
    p.bias = bias;
    p.n_bias = 3;
    for (int greedy = 0; greedy < 2; greedy++) {
        p.temp = greedy ? 0.0f : 0.01f;
        tern_sampler *s = sampler(&p, N);
        for (uint64_t pos = 0; pos < 20; pos++)
            assert_int_equal(tern_sampler_pick(s, logits, pos), 3);
        tern_sampler_free(s);
    }
}

static void test_the_key_alone_decides(void **state)
{
    (void)state;
    tern_sample_params p = plain();
    int differ = 0;
    p.seed = 5;
    tern_sampler *a = sampler(&p, N), *b = sampler(&p, N);
    p.seed = 6;
    tern_sampler *c = sampler(&p, N);
    for (uint64_t pos = 0; pos < 100; pos++)
        (void)tern_sampler_pick(a, halves, pos); /* what was drawn before must not matter */
    for (uint64_t pos = 0; pos < 1000; pos++) {
        assert_int_equal(tern_sampler_pick(a, halves, pos), tern_sampler_pick(b, halves, pos));
        differ += tern_sampler_pick(a, halves, pos) != tern_sampler_pick(c, halves, pos);
    }
    assert_true(differ > 500); /* two draws agree with probability 1/3 */
    tern_sampler_free(a);
    tern_sampler_free(b);
    tern_sampler_free(c);
}

/* All stages at once over a large vocabulary with every kind of bad value: an id in range. */
static void test_any_logits_give_an_id(void **state)
{
    (void)state;
    enum { BIG = 5000 };
    float *logits = calloc(BIG, sizeof *logits);
    uint32_t rng = 3;
    tern_sample_params p;
    tern_sample_params_init(&p);
    p.typical_p = 0.9f;
    p.top_k = 0;
    p.repeat_penalty = 1.3f;
    tern_sampler *s = sampler(&p, BIG);
    for (int round = 0; round < 30; round++) {
        static const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f};
        for (int i = 0; i < BIG; i++)
            logits[i] = round == 0   ? NAN
                        : round == 1 ? -INFINITY
                        : test_rand(&rng) % 50 == 0 && round % 2
                            ? odd[test_rand(&rng) % 5]
                            : (float)(test_rand(&rng) % 1000) / 100.0f;
        int32_t id = tern_sampler_pick(s, logits, (uint64_t)round);
        assert_true(id >= 0 && id < BIG);
        tern_sampler_accept(s, id);
    }
    tern_sampler_free(s);
    free(logits);
}

static void test_parameters_out_of_range_are_named(void **state)
{
    (void)state;
    tern_sampler *s;
    tern_err err;
    tern_sample_params p = plain();
    p.top_p = NAN;
    assert_int_equal(tern_sampler_new(&p, N, &s, &err), TERN_E_USAGE);
    assert_non_null(strstr(err.msg, "top_p"));
    p = plain();
    p.repeat_last_n = -2;
    assert_int_equal(tern_sampler_new(&p, N, &s, &err), TERN_E_USAGE);
    assert_non_null(strstr(err.msg, "repeat_last_n"));
    const tern_logit_bias bias = {N, 1.0f};
    p = plain();
    p.bias = &bias;
    p.n_bias = 1;
    assert_int_equal(tern_sampler_new(&p, N, &s, &err), TERN_E_USAGE);
    assert_non_null(strstr(err.msg, "logit_bias"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy_takes_the_largest_and_the_lowest_id_of_a_tie),
        cmocka_unit_test(test_temperature_one_draws_the_distribution),
        cmocka_unit_test(test_temperature_two_flattens),
        cmocka_unit_test(test_truncations_keep_what_their_papers_say),
        cmocka_unit_test(test_penalties_follow_the_window),
        cmocka_unit_test(test_bias_moves_and_bans),
        cmocka_unit_test(test_a_ban_holds_against_infinity),
        cmocka_unit_test(test_the_key_alone_decides),
        cmocka_unit_test(test_a_mask_is_a_ban),
        cmocka_unit_test(test_any_logits_give_an_id),
        cmocka_unit_test(test_parameters_out_of_range_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
