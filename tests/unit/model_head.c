/* The screened head: bounds that hold for every row, exact rows that are the whole product's. */
#include "support/head.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N(a) ((int)(sizeof(a) / sizeof(a)[0]))

static const tern_dtype formats[] = {TERN_DT_F16,  TERN_DT_F32,  TERN_DT_BF16, TERN_DT_Q8_0,
                                     TERN_DT_Q4_1, TERN_DT_Q6_K, TERN_DT_Q4_0, TERN_DT_Q5_1};

/* Every logit of each of n inputs lies within its bounds, of all planes, and is computed exactly. Returns
 * how many rows may reach the 20th part of the way down from the best. */
static int hold_bounds(head_model *m, int n)
{
    tern_screen s[TERN_SCREEN_ROWS];
    tern_screening k;
    tern_wanted list[TERN_SCREEN_ROWS];
    int rows = m->w.h.n_vocab, n_kept = 0;
    int32_t *ids = malloc((size_t)rows * sizeof *ids);
    float *z = malloc((size_t)n * (size_t)rows * sizeof *z);
    float *up = malloc((size_t)rows * sizeof *up), *y = malloc((size_t)rows * sizeof *y);
    for (int i = 0; i < rows; i++)
        ids[i] = i;
    for (int t = 0; t < n; t++) /* later inputs want fewer rows */
        list[t] = (tern_wanted){ids, z + (size_t)t * (size_t)rows, rows - t};
    assert_true(head_model_keep(m, 0, n, s));
    tern_screen_begin(&m->e, s, n, &k);
    tern_screen_exact(&m->e, &k, list);
    for (int t = 0; t < n; t++) {
        tern_screen_begin(&m->e, s, n, &k);
        const float *logits = head_model_logits(m, t);
        float best = logits[0], worst = logits[0];
        for (int i = 0; i < rows; i++) {
            double logit = (double)logits[i], less = logit - s[t].mean;
            double give = fabs(logit) * 0x1p-22;
            assert_true(fabs(less - (double)s[t].y[i]) <= (double)tern_screen_slack(&s[t], i));
            assert_true((double)s[t].up[i / TERN_HEAD_BLOCK] >= less - give);
            assert_true(s[t].top[i / TERN_HEAD_BLOCK] >= s[t].y[i]);
            best = logits[i] > best ? logits[i] : best;
            worst = logits[i] < worst ? logits[i] : worst;
        }
        for (int f = 0; f <= m->w.screen.n_fine; f++) {
            tern_screen_bound(&m->e, &k, t, f, ids, rows, y, up);
            for (int i = 0; i < rows; i++) {
                double less = (double)logits[i] - s[t].mean,
                       give = fabs((double)logits[i]) * 0x1p-22;
                assert_true((double)up[i] >= less - give);
                assert_true(2 * (double)y[i] - (double)up[i] <= less + give);
            }
        }
        assert_memory_equal(list[t].z, logits, (size_t)(rows - t) * sizeof *z);
        for (int i = 0; i < rows; i++)
            n_kept += (double)up[i] + s[t].mean >= (double)(best - (best - worst) / 20);
    }
    free(ids);
    free(z);
    free(up);
    free(y);
    return n_kept;
}

static void bounds(void **state)
{
    (void)state;
    static const int shapes[][2] = {{1000, 256}, {333, 512}, {500, 256}};
    for (int f = 0; f < N(formats); f++)
        for (int fill = 0; fill < HEAD_FILL_COUNT; fill++)
            for (int fine = 0; fine <= TERN_HEAD_FINE; fine++) {
                head_model m;
                uint32_t seed = (uint32_t)(f * 10 + fill);
                head_model_init(&m, formats[f], shapes[fine][0], shapes[fine][1], (head_fill)fill,
                                seed);
                for (int t = 0; t < 5; t++)
                    head_model_input(&m, t, t % 3, 17 * t, &seed);
                head_model_screen(&m, fill % 2 ? 5 : 0, fine);
                assert_non_null(m.w.screen.l);
                int kept = hold_bounds(&m, 5);
                if (fill == HEAD_GAUSS && fine == TERN_HEAD_FINE)
                    assert_true(kept < 5 * 500 / 4);
                head_model_done(&m);
            }
}

/* Odd shapes, in float formats: no column or row count is special. */
static void odd_shapes(void **state)
{
    (void)state;
    static const int shapes[][2] = {{1, 1},   {1, 7},    {5, 9},   {16, 63},
                                    {17, 65}, {64, 100}, {65, 130}};
    for (int i = 0; i < N(shapes); i++)
        for (int fine = 0; fine <= TERN_HEAD_FINE; fine++) {
            head_model m;
            uint32_t seed = (uint32_t)i + 40;
            head_model_init(&m, i % 2 ? TERN_DT_F16 : TERN_DT_F32, shapes[i][0], shapes[i][1],
                            HEAD_GAUSS, seed);
            for (int t = 0; t < 3; t++)
                head_model_input(&m, t, t % 2, 0, &seed);
            head_model_screen(&m, 3, fine);
            tern_screen s[16];
            assert_true(tern_screen_rows(&m.e, m.x, 3, s));
            for (int t = 0; t < 3; t++) {
                const float *y = malloc((size_t)shapes[i][0] * sizeof *y);
                memcpy((void *)(uintptr_t)y, s[t].y, (size_t)shapes[i][0] * sizeof *y);
                const float *logits = head_model_logits(&m, t);
                for (int r = 0; r < shapes[i][0]; r++)
                    assert_true(fabs((double)logits[r] - s[t].mean - (double)y[r]) <=
                                (double)tern_screen_slack(&s[t], r));
                free((void *)(uintptr_t)y);
                assert_true(tern_screen_rows(&m.e, m.x, 3, s));
            }
            head_model_done(&m);
        }
}

/* Inputs of all magnitudes: within the limits bounds hold, beyond them nothing is screened. */
static void magnitudes(void **state)
{
    (void)state;
    head_model m;
    uint32_t seed = 3;
    head_model_init(&m, TERN_DT_F32, 500, 192, HEAD_SPIKES, seed);
    head_model_screen(&m, 0, TERN_HEAD_FINE);
    for (int e = -40; e <= 38; e++) {
        tern_screen s[1];
        head_model_input(&m, 0, 1, 0, &seed);
        for (int i = 0; i < 192; i++)
            m.x[i] *= powf(10.0f, (float)e);
        if (tern_screen_rows(&m.e, m.x, 1, s))
            hold_bounds(&m, 1);
        else
            assert_true(e < -4 || e > 10);
    }
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        tern_screen s[2];
        head_model_input(&m, 0, 0, 0, &seed);
        head_model_input(&m, 1, 0, 0, &seed);
        m.x[m.e.x_stride + 100] = odd[i];
        assert_false(tern_screen_rows(&m.e, m.x, 2, s));
    }
    memset(m.x, 0, m.e.x_stride * sizeof *m.x);
    tern_screen s[1];
    assert_false(tern_screen_rows(&m.e, m.x, 1, s));
    head_model_done(&m);
}

/* One weight that is no number, or near the end of f32, and the head is read whole. */
static void odd_rows(void **state)
{
    (void)state;
    static const float odd[] = {NAN, INFINITY, -INFINITY, 1e30f};
    static float values[70 * 64];
    for (int i = 0; i < N(odd); i++) {
        head_model m;
        uint32_t seed = 8;
        for (int j = 0; j < N(values); j++)
            values[j] = head_gauss(&seed);
        values[33 * 64 + 5] = odd[i];
        head_model_init_f32(&m, values, 70, 64);
        head_model_screen(&m, 0, i % 2);
        assert_null(m.w.screen.l);
        assert_int_equal(tern_head_memory(&m.w.screen), 0);
        head_model_done(&m);
    }
    /* All rows zero, or all the same: bounds of a head without differences. */
    for (int same = 0; same < 2; same++) {
        head_model m;
        uint32_t seed = 8;
        for (int j = 0; j < N(values); j++)
            values[j] = same ? (float)(j % 64) : 0.0f;
        head_model_init_f32(&m, values, 70, 64);
        head_model_input(&m, 0, 0, 0, &seed);
        head_model_screen(&m, 1, 0);
        hold_bounds(&m, 1);
        head_model_done(&m);
    }
}

/* The planes make the bound small: some percent of a Gaussian row's norm. */
static void planes_are_tight(void **state)
{
    (void)state;
    head_model m;
    uint32_t seed = 5;
    head_model_init(&m, TERN_DT_F32, 512, 512, HEAD_GAUSS, seed);
    static const double most[] = {0.14, 0.08, 0.06}; /* of the norm, after so many finer planes */
    double norm = 0.3 * 0.2357 * sqrt(512); /* deviation of a mean of six uniforms on -1..1 */
    for (int fine = 0; fine <= TERN_HEAD_FINE; fine++) {
        head_model_screen(&m, 0, fine);
        const tern_head *h = &m.w.screen;
        for (int r = 0; r < 512; r++) {
            assert_true((double)h->radius4[r] < most[0] * norm);
            for (int i = 0; i < fine; i++)
                assert_true((double)h->radius1[i][r] < most[1 + i] * norm);
        }
        assert_true(tern_head_memory(h) < 512 * 512 * (size_t)(4 + fine) / 8 + 512 * 12 + 128 +
                                              (size_t)512 * 4 * (size_t)fine + 64 * (size_t)fine);
    }
    head_model_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds),           cmocka_unit_test(odd_shapes),
        cmocka_unit_test(magnitudes),       cmocka_unit_test(odd_rows),
        cmocka_unit_test(planes_are_tight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
