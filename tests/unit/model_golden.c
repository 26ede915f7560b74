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
 * int8 inputs: that perturbation, about a sixteenth of a step of 1/127, moves that share of the
 * roundings by one step, and a Q8_0 head rounds its own input (half a step of 1/127 = 2^-8 at most);
 * together another factor of 4. */
#define BOUND_FLOAT 0x1p-8
#define BOUND_INT8  0x1p-6

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

static void test_logits_equal_transformers(void **state)
{
    (void)state;
    for (size_t c = 0; c < N_CASE; c++) {
        float *got = run(cases[c].name, 2, N_POS, TERN_CACHE_F16);
        float *want = read_exactly(cases[c].name, "logits", N_POS * N_VOCAB * sizeof *want);
        double diff = 0.0, largest = 0.0;
        int n_top1 = 0;
        for (size_t i = 0; i < N_POS * N_VOCAB; i++) {
            diff = fmax(diff, fabs((double)got[i] - (double)want[i]));
            largest = fmax(largest, fabs((double)want[i]));
        }
        for (size_t t = 0; t < N_POS; t++)
            n_top1 += argmax(got + t * N_VOCAB) == argmax(want + t * N_VOCAB);
        print_message("%-14s max difference %.2e of %.2f (bound %.2e), top-1 %d/%d\n",
                      cases[c].name, diff, largest, cases[c].bound * largest, n_top1, N_POS);
        assert_int_equal(n_top1, N_POS);
        assert_true(diff <= cases[c].bound * largest);
        free(got);
        free(want);
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
        cmocka_unit_test(test_bits_do_not_depend_on_threads_or_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
