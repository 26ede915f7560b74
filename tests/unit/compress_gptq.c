/* Rounding to three levels: the scales, against trying every one; GPTQ, against the paper's loop in float64
 * (tests/golden/gptq/make.py). */
#include "base/reader.h"
#include "compress/gptq.h"
#include "support/support.h"
#include "tensor/tensor.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- scales -------------------------------------------------------------------------------- */

static double error_of(const float *w, const float *h, size_t n, float s)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)w[i] - (double)ternary_round(w[i], s);
        sum += (h ? (double)h[i] : 1.0) * d * d;
    }
    return sum;
}

static void test_scales(void **state)
{
    (void)state;
    /* Section 9.15 of the format notes: the mean of these is 0.50125. */
    static const float v[8] = {0.9f, -0.35f, 0.2f, -1.3f, 0.05f, 0.6f, -0.61f, 0.0f};
    static const float t[8] = {1, -1, 0, -1, 0, 1, -1, 0};
    ternary_item room[256];
    float s = ternary_scale(TERNARY_ABSMEAN, v, NULL, 8, false, NULL);
    assert_true(fabsf(s - 0.50125f) < 1e-7f);
    for (int i = 0; i < 8; i++)
        assert_true(ternary_round(v[i], s) == t[i] * s);
    s = ternary_scale(TERNARY_ABSMAX, v, NULL, 8, false, NULL);
    assert_true(s == 1.3f && ternary_round(0.65f, s) == 0.0f && ternary_round(-0.66f, s) == -s);
    s = ternary_scale(TERNARY_ABSMEAN, v, NULL, 8, true, NULL);
    assert_true(s == tern_f16_to_f32(tern_f32_to_f16(0.50125f)));

    const float zero[4] = {0}, bad[2] = {1.0f, NAN};
    for (ternary_method m = TERNARY_ABSMEAN; m <= TERNARY_GPTQ; m++) {
        assert_true(ternary_scale(m, zero, NULL, 4, true, room) == 0.0f);
        assert_true(ternary_scale(m, bad, NULL, 2, true, room) == 0.0f);
    }
    assert_true(ternary_round(3.0f, 0.0f) == 0.0f && ternary_round(NAN, 1.0f) == 0.0f);
}

/* No scale on a fine grid is better than the optimal one, weighted or not. */
static void test_optimal(void **state)
{
    (void)state;
    uint32_t rng = 7;
    ternary_item room[256];
    for (int round = 0; round < 40; round++) {
        float w[256], h[256];
        size_t n = 1 + test_rand(&rng) % 256;
        for (size_t i = 0; i < n; i++) {
            float a = (float)(test_rand(&rng) % 2001) / 1000.0f - 1.0f;
            w[i] = a * a * a;
            h[i] = (float)(test_rand(&rng) % 100);
        }
        for (int weighted = 0; weighted < 2; weighted++) {
            const float *hh = weighted ? h : NULL;
            double best = error_of(w, hh, n, ternary_scale(TERNARY_OPTIMAL, w, hh, n, false, room));
            for (int g = 1; g <= 1000; g++)
                assert_true(best <= error_of(w, hh, n, (float)g / 1000.0f) * (1 + 1e-6) + 1e-9);
        }
    }
}

/* ---- GPTQ ---------------------------------------------------------------------------------- */

static float *take(tern_reader *r, size_t n)
{
    const uint8_t *p = tern_reader_take(r, 4 * n);
    float *v = malloc(n * sizeof *v);
    assert_non_null(p);
    assert_non_null(v);
    for (size_t i = 0; i < n; i++)
        v[i] = tern_lef32(p + 4 * i);
    return v;
}

static float take_f32(tern_reader *r)
{
    const uint8_t *p = tern_reader_take(r, 4);
    assert_non_null(p);
    return tern_lef32(p);
}

static void check_problem(tern_reader *r, tern_pool *pool)
{
    size_t n = tern_read_u32(r), rows = tern_read_u32(r), n_x = tern_read_u32(r);
    gptq_rule rule = {.group = tern_read_u32(r), .half = tern_read_u32(r) != 0};
    (void)tern_read_u32(r);
    rule.scale = take_f32(r);
    double want_loss = (double)take_f32(r), loss;
    float *x = take(r, n_x * n), *w = take(r, rows * n), *q = take(r, rows * n);
    gptq *g;
    tern_err err = {0};
    assert_int_equal(gptq_new(n, pool, &g, &err), TERN_OK);
    gptq_see(g, x, n, n_x); /* forgotten again */
    gptq_reset(g);
    for (size_t at = 0; at < n_x; at += 37) /* in parts that are no multiple of anything */
        gptq_see(g, x + at * n, n, n_x - at < 37 ? n_x - at : 37);
    assert_int_equal(gptq_n_row(g), n_x);
    assert_int_equal(gptq_factor(g, 0.01, &err), TERN_OK);
    assert_int_equal(gptq_round(g, w, rows, &rule, &loss, &err), TERN_OK);
    for (size_t i = 0; i < rows * n; i++)
        if (!(fabsf(w[i] - q[i]) <= 1e-3f * fabsf(q[i])))
            fail_msg("n %zu group %zu: row %zu column %zu is %g, expected %g", n, rule.group, i / n,
                     i % n, (double)w[i], (double)q[i]);
    assert_true(fabs(loss - want_loss) <= 1e-3 * want_loss);
    gptq_free(g);
    free(x);
    free(w);
    free(q);
}

static void test_against_the_paper(void **state)
{
    (void)state;
    static uint8_t file[1 << 21];
    FILE *f = fopen("tests/golden/gptq/problem.bin", "rb");
    assert_non_null(f);
    size_t n = fread(file, 1, sizeof file, f);
    (void)fclose(f);
    for (int n_thread = 1; n_thread <= 3; n_thread += 2) {
        tern_pool *pool;
        tern_err err = {0};
        tern_reader r;
        assert_int_equal(tern_pool_new(n_thread, &pool, &err), TERN_OK);
        tern_reader_init(&r, file, n);
        for (uint32_t left = tern_read_u32(&r); left > 0; left--)
            check_problem(&r, pool);
        assert_int_equal(tern_reader_left(&r), 0);
        tern_pool_free(pool);
    }
}

static void test_bad_inputs(void **state)
{
    (void)state;
    tern_pool *pool;
    tern_err err = {0};
    gptq *g;
    float x[64] = {1.0f, NAN};
    assert_int_equal(tern_pool_new(1, &pool, &err), TERN_OK);
    assert_int_equal(gptq_new(64, pool, &g, &err), TERN_OK);
    assert_int_equal(gptq_factor(g, 0.01, &err), TERN_E_FORMAT);
    gptq_see(g, x, 64, 1);
    assert_int_equal(gptq_factor(g, 0.01, &err), TERN_E_FORMAT);
    gptq_reset(g);
    x[1] = 0.0f;
    gptq_see(g, x, 64, 1);
    assert_int_equal(gptq_factor(g, 0.01, &err), TERN_OK);
    gptq_free(g);
    tern_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scales),
        cmocka_unit_test(test_optimal),
        cmocka_unit_test(test_against_the_paper),
        cmocka_unit_test(test_bad_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
