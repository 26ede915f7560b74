/* Picking from screened rows: the same id as from all logits, whatever the sampler. */
#include "sample/chain.h"
#include "sample/screen.h"
#include "support/head.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 2000
#define COLS 128
#define N(a) ((int)(sizeof(a) / sizeof(a)[0]))

/* What was read in all comparisons of a test. */
typedef struct tally {
    int n_pick, n_screened, n_exact, max_exact;
} tally;

/* One choice from all logits and one from bounds; true if the bounds sufficed. */
static bool same_choice(head_model *m, tern_sampler *s, int t, uint64_t pos, tally *sum)
{
    tern_screen k[1];
    tern_pick p = {.s = s, .pos = pos};
    int32_t want = tern_sampler_pick(s, head_model_logits(m, t), pos);
    assert_true(head_model_keep(m, t, 1, k));
    tern_sampler_pick_screened(&m->e, k, &p, 1);
    if (p.done)
        assert_int_equal(p.id, want);
    sum->n_pick++;
    sum->n_screened += p.done;
    sum->n_exact += p.picked.n_exact;
    sum->max_exact = p.picked.n_exact > sum->max_exact ? p.picked.n_exact : sum->max_exact;
    return p.done;
}

static tern_sampler *sampler(const tern_sample_params *p, int n_vocab)
{
    tern_sampler *s;
    assert_int_equal(tern_sampler_new(p, n_vocab, &s, NULL), TERN_OK);
    return s;
}

static tern_sample_params greedy(void)
{
    tern_sample_params p;
    tern_sample_params_init(&p);
    p.temp = 0;
    return p;
}

/* Samplers of every kind; false: one that needs all logits. */
static bool chain(int i, tern_sample_params *p)
{
    tern_sample_params_init(p);
    p->seed = (uint64_t)i;
    switch (i) {
    case 0:
        p->temp = 0;
        return true;
    case 1:
        return true; /* the default: top-k, top-p, min-p, temperature */
    case 2:
        p->top_k = 1;
        return true;
    case 3:
        p->top_k = 100;
        p->typical_p = 0.7f;
        p->temp = 2.0f;
        return true;
    case 4: /* min-p alone */
        p->top_k = 0;
        p->top_p = 1;
        p->min_p = 0.02f;
        return true;
    case 5: /* the temperature alone */
        p->top_k = 0;
        p->top_p = 1;
        p->min_p = 0;
        p->temp = 0.7f;
        return true;
    case 6:
        p->top_k = 0;
        p->top_p = 1;
        p->min_p = 0;
        p->temp = 1.5f;
        return true;
    case 7:
        p->top_k = 0;
        return false;
    case 8:
        p->top_k = 0;
        p->top_p = 1;
        p->typical_p = 0.5f;
        return false;
    default:
        p->top_k = 2000; /* more seeds than are worth it */
        return false;
    }
}
#define N_CHAIN 10

/* Every chain on every fill, with or without finer planes, with and without penalties and biases. */
static void all_chains(void **state)
{
    (void)state;
    static const tern_dtype formats[] = {TERN_DT_F16, TERN_DT_Q8_0, TERN_DT_BF16, TERN_DT_Q4_1};
    tern_logit_bias bias[] = {{3, -INFINITY}, {17, 5.0f}, {17, -1.0f}, {ROWS - 1, 30.0f}, {40, -3}};
    for (int fill = 0; fill < HEAD_FILL_COUNT; fill++) {
        head_model m;
        uint32_t seed = (uint32_t)fill + 70;
        tally sum[N_CHAIN] = {{0}};
        head_model_init(&m, formats[fill % N(formats)], ROWS, COLS, (head_fill)fill, seed);
        for (int t = 0; t < 12; t++)
            head_model_input(&m, t, t % 3, 31 * t + 5, &seed);
        head_model_screen(&m, fill % 2 ? 12 : 0, fill % (TERN_HEAD_FINE + 1));
        assert_non_null(m.w.screen.l);
        for (int i = 0; i < N_CHAIN; i++)
            for (int odd = 0; odd < 2; odd++) {
                tern_sample_params p;
                bool screens = chain(i, &p);
                if (odd) {
                    p.repeat_penalty = 1.3f;
                    p.frequency_penalty = 0.2f;
                    p.presence_penalty = -0.1f;
                    p.bias = bias;
                    p.n_bias = N(bias);
                }
                tern_sampler *s = sampler(&p, ROWS);
                for (int t = 0; t < 12; t++)
                    for (uint64_t pos = 0; pos < (i >= 5 && i <= 6 ? 20 : 3); pos++) {
                        tern_sampler_accept(s, (int32_t)(test_rand(&seed) % ROWS));
                        tern_sampler_accept(s, 31 * t + 5);
                        bool screened = same_choice(&m, s, t, pos, &sum[i]);
                        assert_true(screens || !screened);
                    }
                tern_sampler_free(s);
            }
        /* Inputs near a row have few rivals; for the 40 best of 2000 the coarse plane is not enough. */
        for (int i = 0; i < 7; i++)
            if (m.w.screen.n_fine > 0 || (i != 1 && i != 3))
                assert_true(sum[i].n_screened >= sum[i].n_pick / 8);
        head_model_done(&m);
    }
}

/* The best row stands far down among the coarse products. Eight columns that the input does not see make
 * steps large, about 13 and for the best row 11: 4-bit codes give a value of 0.4 the middle of its step,
 * 6.7, and the best row's 9 no more than 5.3. */
static void winner_far_down(void **state)
{
    (void)state;
    enum { R = 3000, C = 64, BEST = 2901 };
    static float w[R * C];
    head_model m;
    uint32_t seed = 12;
    for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++) {
            float large = r == BEST ? 80.0f : 100.0f;
            float small = r == BEST ? 9.0f : r % 16 ? 0.4f + 0.05f * head_gauss(&seed) : -0.2f;
            w[r * C + c] = c >= 8 ? small : test_rand(&seed) & 1 ? large : -large;
        }
    head_model_init_f32(&m, w, R, C);
    for (int i = 8; i < C; i++)
        m.x[i] = 1.0f;
    for (int fine = 0; fine <= TERN_HEAD_FINE; fine++) {
        tern_screen k[1];
        tally sum = {0};
        int rank = 0;
        head_model_screen(&m, 0, fine);
        assert_true(tern_screen_rows(&m.e, m.x, 1, k));
        for (int r = 0; r < R; r++)
            rank += k[0].y[r] > k[0].y[BEST];
        assert_true(rank > 1000);
        for (int i = 0; i < N_CHAIN; i++) {
            tern_sample_params p;
            chain(i, &p);
            tern_sampler *s = sampler(&p, R);
            same_choice(&m, s, 0, 0, &sum);
            tern_sampler_free(s);
        }
        tern_sample_params p = greedy();
        tern_sampler *s = sampler(&p, R);
        assert_int_equal(tern_sampler_pick(s, head_model_logits(&m, 0), 0), BEST);
        tern_sampler_free(s);
    }
    head_model_done(&m);
}

/* Equal rows everywhere: the lowest id of the best, as from all logits. */
static void ties(void **state)
{
    (void)state;
    enum { R = 1000, C = 64 };
    static float w[R * C];
    uint32_t seed = 2;
    for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++)
            w[r * C + c] = r % 10 ? w[(r - 1) * C + c] : head_gauss(&seed);
    head_model m;
    head_model_init_f32(&m, w, R, C);
    for (int t = 0; t < 16; t++)
        head_model_input(&m, t, 2, 57 * t + 3, &seed);
    head_model_screen(&m, 0, false);
    for (int k = 1; k <= 25; k += 6) {
        tern_sample_params p = greedy();
        p.temp = k == 1 ? 0 : 1;
        p.top_k = k;
        tern_sampler *s = sampler(&p, R);
        tally sum = {0};
        for (int t = 0; t < 16; t++) {
            same_choice(&m, s, t, 0, &sum);
            if (k == 1)
                assert_int_equal(tern_sampler_pick(s, head_model_logits(&m, t), 0),
                                 (57 * t + 3) / 10 * 10);
        }
        assert_true(sum.n_screened > 8);
        tern_sampler_free(s);
    }
    head_model_done(&m);
}

/* A vocabulary smaller than the head: rows beyond it are nobody's. */
static void fewer_tokens_than_rows(void **state)
{
    (void)state;
    head_model m;
    uint32_t seed = 21;
    head_model_init(&m, TERN_DT_F16, 700, 64, HEAD_GAUSS, seed);
    head_model_screen(&m, 0, false);
    tern_sample_params p = greedy();
    tern_sampler *s = sampler(&p, 650);
    tally sum = {0};
    for (int t = 0; t < 16; t++) {
        head_model_input(&m, 0, 2, 640 + 3 * t, &seed); /* the largest logit may be of no token */
        same_choice(&m, s, 0, 0, &sum);
    }
    assert_true(sum.n_screened > 8);
    tern_sampler_free(s);
    head_model_done(&m);
}

/* Everything banned, or so many biases that keeping them apart is no gain: all logits decide. */
static void all_logits_after_all(void **state)
{
    (void)state;
    enum { R = 1500 };
    head_model m;
    uint32_t seed = 31;
    static tern_logit_bias bias[R];
    for (int i = 0; i < R; i++)
        bias[i] = (tern_logit_bias){i, -INFINITY};
    head_model_init(&m, TERN_DT_F16, R, 64, HEAD_GAUSS, seed);
    head_model_screen(&m, 0, false);
    head_model_input(&m, 0, 2, 9, &seed);
    tern_sample_params p = greedy();
    p.bias = bias;
    p.n_bias = R;
    tern_sampler *s = sampler(&p, R);
    tally sum = {0};
    assert_false(same_choice(&m, s, 0, 0, &sum));
    tern_sampler_free(s);
    bias[0].bias = INFINITY; /* one that nothing reaches */
    p.n_bias = 1;
    for (int i = 0; i < 3; i++) {
        p.temp = (float)i;
        s = sampler(&p, R);
        same_choice(&m, s, 0, 0, &sum);
        tern_sampler_free(s);
    }
    head_model_done(&m);
}

/* Choices made together are those made one by one, whatever samplers are beside each other, one that needs
 * all logits among them. */
static void together(void **state)
{
    (void)state;
    enum { R = 3300, C = 128 };
    for (int fine = 0; fine <= TERN_HEAD_FINE; fine++)
        for (int f = 0; f < 2; f++) {
            head_model m;
            uint32_t seed = (uint32_t)(400 + fine);
            head_model_init(&m, f ? TERN_DT_Q8_0 : TERN_DT_F16, R, C, HEAD_GAUSS, seed);
            for (int t = 0; t < 16; t++)
                head_model_input(&m, t, t % 3, 31 * t + 5, &seed);
            head_model_screen(&m, 0, fine);
            for (int n = 2; n <= 16; n += 7) {
                tern_screen k[16];
                tern_pick p[16];
                int32_t want[16];
                int n_done = 0;
                for (int i = 0; i < n; i++) {
                    tern_sample_params params;
                    chain((i + n) % N_CHAIN, &params);
                    params.repeat_penalty = i % 2 ? 1.1f : 1.0f;
                    p[i] = (tern_pick){.s = sampler(&params, i % 5 ? R : R - 100),
                                       .pos = (uint64_t)(7 * i)};
                    for (int j = 0; j < i; j++)
                        tern_sampler_accept(p[i].s, 31 * j + 5);
                    want[i] = tern_sampler_pick(p[i].s, head_model_logits(&m, i), p[i].pos);
                }
                assert_true(head_model_keep(&m, 0, n, k));
                tern_sampler_pick_screened(&m.e, k, p, n);
                for (int i = 0; i < n; i++) {
                    tern_sample_params params;
                    if (p[i].done)
                        assert_int_equal(p[i].id, want[i]);
                    assert_true(chain((i + n) % N_CHAIN, &params) || !p[i].done);
                    n_done += p[i].done;
                    tern_sampler_free(p[i].s);
                }
                assert_true(n_done >= n / 3);
            }
            head_model_done(&m);
        }
}

/* Each id with a chance of 1 in `rare`, the 17th always; the number of them. */
static int random_mask(uint32_t *bits, int n, uint32_t rare, uint32_t *seed)
{
    int n_set = 0;
    memset(bits, 0, ((size_t)n + 31) / 32 * sizeof *bits);
    for (int i = 0; i < n; i++)
        if (i == 17 || test_rand(seed) % rare == 0) {
            bits[i / 32] |= 1u << i % 32;
            n_set++;
        }
    return n_set;
}

/* Only some ids exist, few or nearly all: the same choice again, one of them, and none of it stays. */
static void some_allowed(void **state)
{
    (void)state;
    static const uint32_t rare[] = {1, 2, 5, 50, 100000};
    tern_logit_bias bias[] = {{3, -INFINITY}, {18, 5.0f}, {ROWS - 1, 30.0f}};
    uint32_t bits[ROWS / 32 + 1];
    for (int fine = 0; fine <= TERN_HEAD_FINE; fine++) {
        head_model m;
        uint32_t seed = (uint32_t)fine + 900;
        tally all = {0};
        head_model_init(&m, TERN_DT_F16, ROWS, COLS, HEAD_GAUSS, seed);
        for (int t = 0; t < 12; t++)
            head_model_input(&m, t, t % 3, 31 * t + 5, &seed);
        head_model_screen(&m, 0, fine);
        for (int i = 0; i < N_CHAIN; i++)
            for (int k = 0; k < N(rare); k++) {
                tern_sample_params p;
                tally sum = {0};
                bool screens = chain(i, &p);
                if (k % 2) {
                    p.repeat_penalty = 1.3f;
                    p.bias = bias;
                    p.n_bias = N(bias);
                }
                tern_sampler *s = sampler(&p, ROWS);
                for (int t = 0; t < 12; t++) {
                    int n = random_mask(bits, ROWS, rare[k], &seed);
                    tern_sampler_accept(s, (int32_t)(test_rand(&seed) % ROWS));
                    tern_sampler_allow(s, bits, n);
                    bool screened = same_choice(&m, s, t, (uint64_t)t, &sum);
                    int32_t id = tern_sampler_pick(s, head_model_logits(&m, t), (uint64_t)t);
                    assert_true(bits[id / 32] >> id % 32 & 1);
                    assert_true(screens || !screened);
                    if (n <= 100) /* few are computed, whatever the bounds */
                        assert_true(screened == screens);
                    tern_sampler_allow(s, NULL, 0);
                    same_choice(&m, s, t, (uint64_t)t, &sum);
                }
                all.n_pick += sum.n_pick;
                all.n_screened += sum.n_screened;
                tern_sampler_free(s);
            }
        assert_true(all.n_screened > all.n_pick / 3);
        head_model_done(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_chains),
        cmocka_unit_test(winner_far_down),
        cmocka_unit_test(ties),
        cmocka_unit_test(fewer_tokens_than_rows),
        cmocka_unit_test(all_logits_after_all),
        cmocka_unit_test(together),
        cmocka_unit_test(some_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
