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

/* Bounds relative to the largest logit.
 * f32 cache: both sides sum the same f32 products in another order. A sum of n <= 264 terms is off by
 * at most n * 2^-24 of its terms' magnitudes, sqrt(n) times smaller in practice and larger by the
 * cancellation of about sqrt(n): 2^-16 each; 2 blocks of 7 matrices give less than 2^-12.
 * f16 cache, u = 2^-11: K perturbs scores and V the output of each of the 2 blocks by u; a block's
 * output is about as large as the stream it joins and the two norms after it at most double that, so
 * 2 * 2 * 2 * u = 2^-8.
 * int8 cache: half a step is 1 / 254 of a head's largest element; with u = 2^-8 likewise 2^-5,
 * as much as int8 inputs, so that where there are both they add up.
 * int8 inputs: any perturbation moves some roundings by one step, which perturbs the next input more,
 * until roundings are independent: sqrt(2/12) of a step, 1 % of an input whose largest element is
 * 3 sigma. Four inputs in each of 2 blocks give sqrt(8) %, and the largest of 17 thousand differences
 * is 4.5 sigma where the largest logit is 4: 3.1 % = 2^-5. */
#define BOUND_F32_CACHE 0x1p-12
#define BOUND_F16_CACHE 0x1p-8
#define BOUND_I8_CACHE  0x1p-5
#define BOUND_INT8      0x1p-5

/* With an f32 cache only the order of float sums differs, so int8 inputs are the same but where that
 * moves a rounding: about 1e-7 * 127 / 2 of 1,500 values a row, so about one row of 64. Rows after it
 * see it through attention; half of the rows must not. */
#define ROWS_EXACT 32

typedef struct golden {
    const char *name;
    bool int8;  /* W1.58A8: the matrices read int8 inputs */
    int n_pair; /* of blocks; bounds are for one */
    bool whole; /* attention goes both ways, so that a text is evaluated at once */
} golden;

static const golden cases[] = {
    {.name = "bitnet-b158", .int8 = true, .n_pair = 1},
    {.name = "bitnet-silu", .int8 = true, .n_pair = 1},
    {.name = "bitnet-25-tq2", .int8 = true, .n_pair = 1},
    {.name = "llama", .n_pair = 1},
    {.name = "llama-linear", .n_pair = 1},
    {.name = "llama3-rope", .n_pair = 1},
    {.name = "qwen2-yarn", .n_pair = 1},
    {.name = "qwen3", .n_pair = 1},
    {.name = "qwen3-norm-in", .int8 = true, .n_pair = 1},
    {.name = "qwen3-both-ways", .n_pair = 1, .whole = true},
    {.name = "gemma3", .n_pair = 3},
    {.name = "gemma3-norm-in", .int8 = true, .n_pair = 1},
    {.name = "mistral", .n_pair = 1},
    {.name = "phi3", .n_pair = 1},
    {.name = "phi3-longrope", .n_pair = 1},
    /* Folders with safetensors; they have no ending. */
    {.name = "../folders/bitnet-packed", .int8 = true, .n_pair = 1},
    {.name = "../folders/bitnet-masters", .int8 = true, .n_pair = 1},
    {.name = "../folders/llama-packed", .int8 = true, .n_pair = 1},
    {.name = "../folders/llama3-shards", .n_pair = 1},
    {.name = "../folders/qwen2", .n_pair = 1},
    {.name = "../folders/qwen3", .n_pair = 1},
    {.name = "../folders/gemma3", .n_pair = 3},
    {.name = "../folders/gemma3-period", .n_pair = 1},
    {.name = "../folders/qwen3-norms", .int8 = true, .n_pair = 1},
    {.name = "../folders/mistral", .n_pair = 1},
    {.name = "../folders/phi3", .n_pair = 1},
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

/* Logits of the first n_pos positions in a context of n_ctx (0: the model's), evaluated chunk tokens at
 * a time. */
static float *run_in(const char *name, int n_ctx, size_t n_pos, int n_thread, size_t chunk,
                     tern_cache_type cache)
{
    char path[128];
    tern_err err = {0};
    tern_model *m;
    tern_session *s;
    tern_model_opts mo;
    tern_session_opts so;
    (void)snprintf(path, sizeof path, FOLDER "%s%s", name, strncmp(name, "..", 2) ? ".gguf" : "");
    tern_model_opts_init(&mo);
    tern_session_opts_init(&so);
    mo.n_thread = n_thread;
    mo.strict = true;
    so.cache_k = so.cache_v = cache;
    so.n_ctx = n_ctx;
    if (tern_model_open(path, &mo, &m, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    if (tern_session_new(m, &so, &s, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    int32_t *ids = read_exactly(name, "ids", N_POS * sizeof *ids);
    float *logits = calloc(N_POS * N_VOCAB, sizeof *logits);
    for (size_t at = 0; at < n_pos; at += chunk) {
        size_t n = n_pos - at < chunk ? n_pos - at : chunk;
        if (tern_session_eval_all(s, ids + at, n, keep, logits + at * N_VOCAB, &err) != TERN_OK)
            fail_msg("%s", err.msg);
    }
    free(ids);
    tern_session_free(s);
    tern_model_close(m);
    return logits;
}

static float *run(const char *name, int n_thread, size_t chunk, tern_cache_type cache)
{
    return run_in(name, 0, N_POS, n_thread, chunk, cache);
}

static int argmax(const float *x)
{
    int best = 0;
    for (int i = 1; i < N_VOCAB; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

typedef struct comparison {
    double diff, largest; /* largest difference; largest logit, for each pair of blocks */
    int n_top1, n_exact;  /* rows */
} comparison;

static comparison compare(const golden *of, tern_cache_type cache)
{
    const char *name = of->name;
    comparison c = {0};
    float *got = run(name, 2, N_POS, cache);
    float *want = read_exactly(name, "logits", N_POS * N_VOCAB * sizeof *want);
    for (size_t i = 0; i < N_POS * N_VOCAB; i++)
        c.largest = fmax(c.largest, of->n_pair * fabs((double)want[i]));
    for (size_t t = 0; t < N_POS; t++) {
        const float *g = got + t * N_VOCAB, *w = want + t * N_VOCAB;
        double row = 0.0;
        for (size_t i = 0; i < N_VOCAB; i++)
            row = fmax(row, fabs((double)g[i] - (double)w[i]));
        c.diff = fmax(c.diff, row);
        c.n_exact += row <= BOUND_F32_CACHE * c.largest;
        /* What the reference itself holds for a tie within the difference is no disagreement. */
        c.n_top1 += argmax(g) == argmax(w) || (double)(w[argmax(w)] - w[argmax(g)]) <= row;
    }
    free(got);
    free(want);
    print_message("%-14s max difference %.2e, bounds by %.2f, %d of %d rows exact, top-1 %d\n",
                  name, c.diff, c.largest, c.n_exact, N_POS, c.n_top1);
    return c;
}

static void test_logits_equal_transformers(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASE; i++) {
        comparison c = compare(&cases[i], TERN_CACHE_F32);
        assert_int_equal(c.n_top1, N_POS);
        assert_true(c.n_exact >= (cases[i].int8 ? ROWS_EXACT : N_POS));
        assert_true(c.diff <= (cases[i].int8 ? BOUND_INT8 : BOUND_F32_CACHE) * c.largest);
    }
}

static void test_an_f16_cache_stays_within_its_rounding(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASE; i++) {
        comparison c = compare(&cases[i], TERN_CACHE_F16);
        assert_int_equal(c.n_top1, N_POS);
        assert_true(c.diff <= (cases[i].int8 ? BOUND_INT8 : BOUND_F16_CACHE) * c.largest);
    }
}

static void test_an_int8_cache_stays_near(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASE; i++) {
        comparison c = compare(&cases[i], TERN_CACHE_Q8);
        assert_int_equal(c.n_top1, N_POS);
        assert_true(c.diff <= (BOUND_I8_CACHE + (cases[i].int8 ? BOUND_INT8 : 0)) * c.largest);
    }
}

/* Where the context is no longer than that before it was stretched, other RoPE factors hold. */
static void test_short_contexts_have_factors_of_their_own(void **state)
{
    (void)state;
    enum { SHORT = 32 };
    const char *name = "phi3-longrope";
    float *got = run_in(name, SHORT, SHORT, 1, SHORT, TERN_CACHE_F32);
    float *want = read_exactly(name, "short", SHORT * N_VOCAB * sizeof *want);
    double diff = 0, largest = 0;
    for (size_t i = 0; i < SHORT * N_VOCAB; i++) {
        diff = fmax(diff, fabs((double)got[i] - (double)want[i]));
        largest = fmax(largest, fabs((double)want[i]));
    }
    assert_true(diff <= BOUND_F32_CACHE * largest);
    free(got);
    got = run_in(name, SHORT + 1, SHORT, 1, SHORT, TERN_CACHE_F32);
    for (size_t i = 0; i < SHORT * N_VOCAB; i++)
        diff = fmax(diff, fabs((double)got[i] - (double)want[i]));
    assert_true(diff > 0x1p-4 * largest);
    free(got);
    free(want);
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
        for (int cache = TERN_CACHE_Q8; cache <= TERN_CACHE_F32; cache++) {
            float *base = run(cases[c].name, 1, N_POS, (tern_cache_type)cache);
            for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
                size_t chunk = cases[c].whole ? N_POS : ways[w].chunk;
                float *other = run(cases[c].name, ways[w].n_thread, chunk, (tern_cache_type)cache);
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
        cmocka_unit_test(test_an_f16_cache_stays_within_its_rounding),
        cmocka_unit_test(test_an_int8_cache_stays_near),
        cmocka_unit_test(test_short_contexts_have_factors_of_their_own),
        cmocka_unit_test(test_bits_do_not_depend_on_threads_or_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
