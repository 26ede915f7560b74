/* The tiny checkpoints of tests/golden/models against the logits transformers computes in float32. */
#include "support/support.h"
#include "tern.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER  "tests/golden/models/"
#define N_POS   64
#define N_VOCAB 264

/* Bounds relative to the largest logit. With u = 2^-11, the rounding of the f16 cache: K perturbs
 * scores and V the output of each of the 2 blocks by u; a block's output is about as large as the
 * stream it joins and the two norms after it at most double that, so 2 * 2 * 2 * u = 2^-8.
 * int8 inputs: such a perturbation moves some roundings by one step, which perturbs the next input
 * more, until roundings are independent: sqrt(2/12) of a step, 1 % of an input whose largest element
 * is 3 sigma. Four inputs in each of 2 blocks give sqrt(8) %, and the largest of 17 thousand
 * differences is 4.5 sigma where the largest logit is 4: 3.1 % = 2^-5. */
#define BOUND_FLOAT 0x1p-8
#define BOUND_INT8  0x1p-5

/* With the same cache rounding in the reference, rows differ by the order of float sums only, unless
 * that moves an int8 rounding: about 1e-7 * 127 / 2 of 1,500 values a row, so a few rows of 64. */
#define ROW_EXACT  1e-4
#define ROWS_EXACT 56

typedef struct golden {
    const char *name;
    double bound;
} golden;

static const golden cases[] = {
    {"bitnet-b158", BOUND_INT8}, {"bitnet-silu", BOUND_INT8},   {"bitnet-25-tq2", BOUND_INT8},
    {"llama", BOUND_FLOAT},      {"llama-linear", BOUND_FLOAT}, {"llama3-rope", BOUND_FLOAT},
    {"qwen2-yarn", BOUND_FLOAT}, {"qwen3", BOUND_FLOAT},
};
#define N_CASE (sizeof cases / sizeof cases[0])

static void *read_exactly(const char *name, const char *ext, size_t bytes)
{
    char path[128];
    size_t n = 0;
    (void)snprintf(path, sizeof path, FOLDER "%s.%s", name, ext);
    uint8_t *p = test_read_file(path, &n);
    assert_non_null(p);
    assert_int_equal(n, bytes);
    return p;
}

static void keep(void *ctx, int row, const float *logits)
{
    memcpy((float *)ctx + (size_t)row * N_VOCAB, logits, N_VOCAB * sizeof *logits);
}

/* Logits of all positions, evaluated chunk tokens at a time. */
static float *run(const char *name, int n_thread, size_t chunk, tern_cache_type cache)
{
    char path[128];
    tern_err err = {0};
    tern_model *m;
    tern_session *s;
    tern_model_opts mo;
    tern_session_opts so;
    (void)snprintf(path, sizeof path, FOLDER "%s.gguf", name);
    tern_model_opts_init(&mo);
    tern_session_opts_init(&so);
    mo.n_thread = n_thread;
    mo.strict = true;
    so.cache_k = so.cache_v = cache;
    if (tern_model_open(path, &mo, &m, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    if (tern_session_new(m, &so, &s, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    int32_t *ids = read_exactly(name, "ids", N_POS * sizeof *ids);
    float *logits = calloc(N_POS * N_VOCAB, sizeof *logits);
    for (size_t at = 0; at < N_POS; at += chunk) {
        size_t n = N_POS - at < chunk ? N_POS - at : chunk;
        if (tern_session_eval_all(s, ids + at, n, keep, logits + at * N_VOCAB, &err) != TERN_OK)
            fail_msg("%s", err.msg);
    }
    free(ids);
    tern_session_free(s);
    tern_model_close(m);
    return logits;
}

static int argmax(const float *x)
{
    int best = 0;
    for (int i = 1; i < N_VOCAB; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

/* Compare with the logits in name.ext; gives the largest difference and counts rows. */
typedef struct comparison {
    double diff, largest;
    int n_top1, n_exact;
} comparison;

static comparison compare(const char *name, const char *ext)
{
    comparison c = {0};
    float *got = run(name, 2, N_POS, TERN_CACHE_F16);
    float *want = read_exactly(name, ext, N_POS * N_VOCAB * sizeof *want);
    for (size_t t = 0; t < N_POS; t++) {
        const float *g = got + t * N_VOCAB, *w = want + t * N_VOCAB;
        double row = 0.0;
        for (size_t i = 0; i < N_VOCAB; i++) {
            row = fmax(row, fabs((double)g[i] - (double)w[i]));
            c.largest = fmax(c.largest, fabs((double)w[i]));
        }
        c.diff = fmax(c.diff, row);
        c.n_exact += row <= ROW_EXACT;
        /* What the reference itself holds for a tie within the difference is no disagreement. */
        c.n_top1 += argmax(g) == argmax(w) || (double)(w[argmax(w)] - w[argmax(g)]) <= row;
    }
    free(got);
    free(want);
    return c;
}

static void test_logits_equal_transformers(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASE; i++) {
        comparison c = compare(cases[i].name, "logits");
        print_message("%-14s max difference %.2e of %.2f (bound %.2e), top-1 %d/%d\n",
                      cases[i].name, c.diff, c.largest, cases[i].bound * c.largest, c.n_top1,
                      N_POS);
        assert_int_equal(c.n_top1, N_POS);
        assert_true(c.diff <= cases[i].bound * c.largest);
    }
}

/* The cases with int8 inputs once more, against a reference whose cache rounds as ours does. */
static void test_int8_paths_are_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASE; i++) {
        if (cases[i].bound == BOUND_FLOAT)
            continue;
        comparison c = compare(cases[i].name, "logits16");
        print_message("%-14s %d of %d rows within %.0e, top-1 %d/%d\n", cases[i].name, c.n_exact,
                      N_POS, ROW_EXACT, c.n_top1, N_POS);
        assert_true(c.n_exact >= ROWS_EXACT);
        assert_int_equal(c.n_top1, N_POS);
    }
}

/* The numeric contract: the same bits for every thread count and every chunk of a prefill. */
static void test_bits_do_not_depend_on_threads_or_chunks(void **state)
{
    (void)state;
    static const struct {
        int n_thread;
        size_t chunk;
    } ways[] = {{1, 1}, {2, 7}, {4, N_POS}, {3, 33}, {1, 5}};
    for (size_t c = 0; c < N_CASE; c++)
        for (int cache = TERN_CACHE_F16; cache <= TERN_CACHE_Q8; cache++) {
            float *base = run(cases[c].name, 1, N_POS, (tern_cache_type)cache);
            for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
                float *other =
                    run(cases[c].name, ways[w].n_thread, ways[w].chunk, (tern_cache_type)cache);
                if (memcmp(base, other, N_POS * N_VOCAB * sizeof *base) != 0)
                    fail_msg("%s: %d threads, chunks of %zu: other bits", cases[c].name,
                             ways[w].n_thread, ways[w].chunk);
                free(other);
            }
            free(base);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits_equal_transformers),
        cmocka_unit_test(test_int8_paths_are_exact),
        cmocka_unit_test(test_bits_do_not_depend_on_threads_or_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
