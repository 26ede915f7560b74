/* Scores of texts: those that follow from the logits of transformers for the tiny checkpoints of
 * tests/golden/models, and the same bits whatever stands beside a text and whatever it shares. */
#include "support/model.h"
#include "support/support.h"
#include "tern.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "tests/golden/models/"
enum { N_POS = 64, N_VOCAB = 264 };

static tern_model *open_file(const char *path, int n_thread)
{
    tern_err err;
    tern_model *m;
    tern_model_opts o;
    tern_model_opts_init(&o);
    o.n_thread = n_thread;
    if (tern_model_open(path, &o, &m, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return m;
}

static void score(tern_model *m, const tern_score_text *texts, size_t n, tern_score *out)
{
    tern_err err;
    tern_score_opts o;
    tern_score_opts_init(&o);
    o.cache_k = o.cache_v = TERN_CACHE_F32;
    if (tern_model_score(m, texts, n, &o, out, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < n; i++)
        assert_true(out[i].done);
}

/* log p(id) of one row of logits; *best: the first of the greatest. */
static double log_prob(const float *x, int32_t id, int32_t *best)
{
    double sum = 0;
    *best = 0;
    for (int32_t i = 0; i < N_VOCAB; i++) {
        sum += exp((double)x[i]);
        *best = x[i] > x[*best] ? i : *best;
    }
    return (double)x[id] - log(sum);
}

/* Ends of one text, which are branches of each other; bounds as model_golden.c has them for logits, of
 * which every one that is added may be off. */
static void test_scores_follow_from_transformers(void **state)
{
    static const size_t n_tok[] = {64, 64, 63, 40, 40, 9, 2, 64},
                        given[] = {1, 63, 20, 39, 8, 3, 1, 32};
    enum { N = 8 };
    size_t n;
    (void)state;
    int32_t *ids = (int32_t *)(void *)test_read_file(FOLDER "llama.ids", &n);
    float *logits = (float *)(void *)test_read_file(FOLDER "llama.logits", &n);
    assert_non_null(ids);
    assert_int_equal(n, N_POS * N_VOCAB * sizeof *logits);
    tern_model *m = open_file(FOLDER "llama.gguf", 1);
    tern_score_text texts[N];
    tern_score out[N];
    for (size_t i = 0; i < N; i++)
        texts[i] = (tern_score_text){ids, n_tok[i], given[i]};
    score(m, texts, N, out);
    for (size_t i = 0; i < N; i++) {
        double want = 0;
        bool greedy = true;
        for (size_t p = given[i]; p < n_tok[i]; p++) {
            int32_t best;
            want += log_prob(logits + (p - 1) * N_VOCAB, ids[p], &best);
            greedy &= best == ids[p];
        }
        assert_true(fabs(out[i].log_prob - want) < 1e-3 * (double)(n_tok[i] - given[i]));
        assert_int_equal(out[i].greedy, greedy);
    }
    tern_model_close(m);
    free(logits);
    free(ids);
}

static void test_greedy_is_the_likeliest_continuation(void **state)
{
    (void)state;
    size_t n;
    int32_t *ids = (int32_t *)(void *)test_read_file(FOLDER "llama.ids", &n);
    float *logits = (float *)(void *)test_read_file(FOLDER "llama.logits", &n);
    assert_true(ids && logits);
    tern_model *m = open_file(FOLDER "llama.gguf", 1);
    int32_t best, good[12], bad[12];
    (void)log_prob(logits + 10 * N_VOCAB, 0, &best);
    memcpy(good, ids, 11 * sizeof *ids);
    memcpy(bad, ids, 11 * sizeof *ids);
    good[11] = best;
    bad[11] = (best + 1) % N_VOCAB;
    const tern_score_text texts[] = {{good, 12, 11}, {bad, 12, 11}};
    tern_score out[2];
    score(m, texts, 2, out);
    assert_true(out[0].greedy);
    assert_false(out[1].greedy);
    assert_true(out[0].log_prob > out[1].log_prob);
    tern_model_close(m);
    free(logits);
    free(ids);
}

/* Items with answers behind examples they share, some of them equal, one the beginning of another. */
enum { N_ITEM = 30, N_CHOICE = 4, MAX_TOK = 150 };
static int32_t made[N_ITEM * N_CHOICE][MAX_TOK];
static tern_score_text texts[N_ITEM * N_CHOICE];

static void make_texts(void)
{
    uint32_t seed = 5;
    for (size_t i = 0; i < N_ITEM * N_CHOICE; i++) {
        size_t item = i / N_CHOICE, given = 40 + item % 7, n = given + 1 + test_rand(&seed) % 60;
        for (size_t k = 0; k < n; k++)
            made[i][k] = (int32_t)(test_rand(&seed) % 512);
        if (item % 5 != 4) /* those share nothing but their context */
            for (size_t k = 0; k < 33; k++)
                made[i][k] = (int32_t)k + 3;
        if (i % N_CHOICE)
            memcpy(made[i] + 33, made[i - 1] + 33, (given - 33) * sizeof made[0][0]);
        if (i % N_CHOICE && item % 5 == 4)
            memcpy(made[i], made[i - 1], given * sizeof made[0][0]);
        if (i % 11 == 10) /* the neighbour's text, and more */
            memcpy(made[i], made[i - 1], texts[i - 1].n_tok * sizeof made[0][0]);
        texts[i] = (tern_score_text){made[i], n, i % 3 ? given : 1 + test_rand(&seed) % given};
    }
}

static void test_neighbours_change_no_bit(void **state)
{
    enum { N = N_ITEM * N_CHOICE };
    static tern_score together[N], alone, reversed[N];
    static tern_score_text back[N];
    (void)state;
    make_texts();
    tern_model *m = open_file("models/test/stories260K.gguf", 2);
    tern_model_counters before = {.size = sizeof before}, after = before;
    size_t n_all = 0;
    tern_model_counters_get(m, &before);
    score(m, texts, N, together);
    tern_model_counters_get(m, &after);
    for (size_t i = 0; i < N; i++) {
        n_all += texts[i].n_tok - 1;
        back[N - 1 - i] = texts[i];
        score(m, &texts[i], 1, &alone);
        assert_memory_equal(&together[i].log_prob, &alone.log_prob, sizeof alone.log_prob);
        assert_int_equal(together[i].greedy, alone.greedy);
    }
    /* The examples once for each run of items that has them, contexts once, answers each. */
    print_message("%zu rows instead of %zu\n", (size_t)(after.n_row - before.n_row), n_all);
    assert_true((after.n_row - before.n_row) * 10 < n_all * 6);
    score(m, back, N, reversed);
    for (size_t i = 0; i < N; i++)
        assert_memory_equal(&together[i].log_prob, &reversed[N - 1 - i].log_prob, sizeof(double));
    tern_model_close(m);
}

/* Texts go on from a session's state as they would from their own first tokens. */
static void test_a_base_changes_no_bit(void **state)
{
    enum { N = N_ITEM * N_CHOICE, N_BASE = 30 };
    static tern_score plain[N], based[N];
    static tern_score_text some[N];
    tern_err err;
    tern_session *s;
    tern_session_opts so;
    tern_score_opts o;
    size_t n = 0;
    (void)state;
    make_texts();
    tern_model *m = open_file("models/test/stories260K.gguf", 1);
    for (size_t i = 0; i < N; i++)
        if (i / N_CHOICE % 5 != 4 && texts[i].n_given > N_BASE)
            some[n++] = texts[i];
    assert_in_range(n, N / 3, N);
    score(m, some, n, plain);
    tern_session_opts_init(&so);
    so.cache_k = so.cache_v = TERN_CACHE_F32;
    assert_int_equal(tern_session_new(m, &so, &s, &err), TERN_OK);
    assert_int_equal(tern_session_eval(s, some[0].ids, N_BASE, &err), TERN_OK);
    tern_score_opts_init(&o);
    o.cache_k = o.cache_v = TERN_CACHE_F32;
    o.base = s;
    for (int round = 0; round < 2; round++) { /* the session stays as it is */
        assert_int_equal(tern_model_score(m, some, n, &o, based, &err), TERN_OK);
        for (size_t i = 0; i < n; i++)
            assert_memory_equal(&plain[i].log_prob, &based[i].log_prob, sizeof(double));
    }
    size_t n_tok;
    assert_non_null(tern_session_tokens(s, &n_tok));
    assert_int_equal(n_tok, N_BASE);
    /* What is not its beginning, or of another cache type, is refused. */
    some[1].n_given = N_BASE;
    assert_int_equal(tern_model_score(m, some, n, &o, based, &err), TERN_E_USAGE);
    assert_non_null(strstr(err.msg, "text 2: does not begin"));
    o.cache_v = TERN_CACHE_F16;
    assert_int_equal(tern_model_score(m, some, 1, &o, based, &err), TERN_E_USAGE);
    tern_session_free(s);
    tern_model_close(m);
}

static bool stop_after_three(void *ctx, size_t done, size_t total)
{
    int *n = ctx;
    assert_true(done < total);
    return ++*n <= 3;
}

static void test_a_stopped_call_keeps_what_is_done(void **state)
{
    enum { N = N_ITEM * N_CHOICE };
    static tern_score all[N], some[N];
    tern_err err;
    tern_score_opts o;
    int n_call = 0;
    size_t n_done = 0;
    (void)state;
    make_texts();
    tern_model *m = open_file("models/test/stories260K.gguf", 1);
    score(m, texts, N, all);
    tern_score_opts_init(&o);
    o.cache_k = o.cache_v = TERN_CACHE_F32;
    o.progress = stop_after_three;
    o.ctx = &n_call;
    assert_int_equal(tern_model_score(m, texts, N, &o, some, &err), TERN_E_CANCELLED);
    for (size_t i = 0; i < N; i++)
        if (some[i].done) {
            n_done++;
            assert_memory_equal(&some[i].log_prob, &all[i].log_prob, sizeof(double));
        }
    assert_in_range(n_done, 1, N - 1);
    tern_model_close(m);
}

static void test_what_is_refused(void **state)
{
    static const int32_t ids[] = {1, 2, 3}, far[] = {1, 512, 3};
    tern_score out[2];
    tern_err err;
    (void)state;
    tern_model *m = open_file("models/test/stories260K.gguf", 1);
    assert_int_equal(tern_model_score(m, NULL, 0, NULL, out, &err), TERN_OK);
    tern_score_text t[] = {{ids, 3, 1}, {ids, 3, 3}};
    assert_int_equal(tern_model_score(m, t, 2, NULL, out, &err), TERN_E_USAGE);
    assert_non_null(strstr(err.msg, "text 2: 3 tokens of which 3 are given"));
    t[1].n_given = 0;
    assert_int_equal(tern_model_score(m, t, 2, NULL, out, &err), TERN_E_USAGE);
    t[1] = (tern_score_text){far, 3, 1};
    assert_int_equal(tern_model_score(m, t, 2, NULL, out, &err), TERN_E_USAGE);
    assert_non_null(strstr(err.msg, "token 1 is id 512"));
    assert_false(out[0].done);
    tern_model_close(m);
    m = open_file(FOLDER "qwen3-both-ways.gguf", 1);
    assert_int_equal(tern_model_score(m, t, 1, NULL, out, &err), TERN_E_UNSUPPORTED);
    tern_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores_follow_from_transformers),
        cmocka_unit_test(test_greedy_is_the_likeliest_continuation),
        cmocka_unit_test(test_neighbours_change_no_bit),
        cmocka_unit_test(test_a_base_changes_no_bit),
        cmocka_unit_test(test_a_stopped_call_keeps_what_is_done),
        cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
