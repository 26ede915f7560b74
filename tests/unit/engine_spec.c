/* Drafting changes how many passes an answer takes and nothing else: every event, and what the session
 * shows after it, is that of one token at a time. TERN_TEST_LONG=1 makes it tens of thousands of
 * tokens. */
#include "base/alloc.h"
#include "support/model.h"
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STORIES "models/test/stories260K.gguf"
#define BUILTIN "models/tern-stories.gguf"
#define MAX_ID  2048

static bool is_long(void)
{
    const char *s = getenv("TERN_TEST_LONG");
    return s && *s && strcmp(s, "0") != 0;
}

static tern_model *open_file(const char *path)
{
    tern_model *m;
    tern_err err = {0};
    tern_model_opts o;
    tern_model_opts_init(&o);
    o.n_thread = 1;
    if (tern_model_open(path, &o, &m, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return m;
}

static tern_session *open_session(tern_model *m, int n_ctx)
{
    tern_session *s;
    tern_err err = {0};
    tern_session_opts o;
    tern_session_opts_init(&o);
    o.n_ctx = n_ctx;
    if (tern_session_new(m, &o, &s, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return s;
}

/* ---- events side by side ------------------------------------------------------------------ */

/* What was drafted over all comparisons of a test, so that none passes because nothing was. */
typedef struct tally {
    size_t n_id, n_drafted, n_accepted, n_eog_drafted, n_stop_drafted;
} tally;

typedef struct pair {
    tern_session *plain, *drafting;
    size_t n_vocab;
    tally sum;
} pair;

static void open_pair(pair *p, tern_model *m, int n_ctx)
{
    tern_model_info info = {.size = sizeof info};
    tern_model_info_get(m, &info);
    *p = (pair){.n_vocab = (size_t)info.n_vocab};
    p->plain = open_session(m, n_ctx);
    p->drafting = open_session(m, n_ctx);
}

static void close_pair(pair *p)
{
    tern_session_free(p->plain);
    tern_session_free(p->drafting);
}

static void same_state(const pair *p)
{
    size_t n1, n2;
    const int32_t *a = tern_session_tokens(p->plain, &n1),
                  *b = tern_session_tokens(p->drafting, &n2);
    const float *x = tern_session_logits(p->plain), *y = tern_session_logits(p->drafting);
    assert_int_equal(n1, n2);
    assert_memory_equal(a, b, n1 * sizeof *a);
    assert_true((x == NULL) == (y == NULL));
    if (x)
        assert_memory_equal(x, y, p->n_vocab * sizeof *x);
}

static void same_event(const tern_event *a, const tern_event *b)
{
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->finish, b->finish);
    assert_int_equal(a->n_text, b->n_text);
    assert_memory_equal(a->text, b->text, a->n_text);
}

/* Both answer, event by event; cancelled after n_cancel events (-1: never), left after n_leave. */
static size_t compare(pair *p, const int32_t *prompt, size_t n, tern_gen_opts o, int n_cancel,
                      int n_leave)
{
    tern_request *r1, *r2;
    tern_event a = {0}, b = {0};
    tern_request_stats st, last = {0};
    tern_err err = {0};
    size_t n_id = 0;
    tern_gen_opts plain = o;
    plain.spec = TERN_SPEC_OFF;
    if (tern_request_new(p->plain, prompt, n, &plain, &r1, &err) != TERN_OK ||
        tern_request_new(p->drafting, prompt, n, &o, &r2, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    for (int i = 0; a.finish == TERN_FINISH_NONE && i != n_leave; i++) {
        if (i == n_cancel) {
            tern_session_cancel(p->plain);
            tern_session_cancel(p->drafting);
        }
        if (tern_request_next(r1, &a, &err) != TERN_OK ||
            tern_request_next(r2, &b, &err) != TERN_OK)
            fail_msg("%s", err.msg);
        same_event(&a, &b);
        same_state(p);
        n_id += a.id >= 0;
        tern_request_stats_get(r2, &st);
        if (a.finish != TERN_FINISH_NONE && st.n_accepted > last.n_accepted) {
            p->sum.n_eog_drafted += a.finish == TERN_FINISH_EOG;
            p->sum.n_stop_drafted += a.finish == TERN_FINISH_STOP;
        }
        last = st;
    }
    assert_int_equal(st.n_generated, n_id);
    assert_true(n_id < 2 || st.n_pass + st.n_accepted + 1 >= n_id);
    assert_true(st.n_accepted <= st.n_drafted);
    p->sum.n_id += n_id;
    p->sum.n_drafted += st.n_drafted;
    p->sum.n_accepted += st.n_accepted;
    tern_request_stats_get(r1, &st);
    assert_int_equal(st.n_drafted, 0);
    assert_true(st.n_pass == n_id - (n_id > 0));
    tern_request_free(r1);
    tern_request_free(r2);
    return n_id;
}

static void report(const char *what, const tally *t)
{
    print_message("%s: %zu tokens, %zu drafted, %zu accepted\n", what, t->n_id, t->n_drafted,
                  t->n_accepted);
}

/* A text that says most things twice. */
static size_t repetitive(const tern_model *m, const char *text, int32_t *ids, size_t cap)
{
    tern_err err = {0};
    size_t n;
    if (tern_model_tokenize(m, text, strlen(text), TERN_TOKENIZE_ADD_SPECIAL, ids, cap, &n, &err) !=
        TERN_OK)
        fail_msg("%s", err.msg);
    return n;
}

#define TEXT                                                                                       \
    "Once upon a time, there was a little girl named Lily. She had a big red ball. "               \
    "Lily said, \"I like my big red ball.\" Once upon a time, there was a little"

/* ---- samplers ----------------------------------------------------------------------------- */

static tern_gen_opts sampler(int i)
{
    static const tern_token_bias bias[] = {{261, 2.0f}, {300, -3.0f}, {13, -INFINITY}};
    static const char *const stop[] = {"ball. Lily", "the end"};
    tern_gen_opts o;
    tern_gen_opts_init(&o);
    o.n_predict = 60;
    o.seed = (uint64_t)i * 77;
    o.temp = i % 12 == 0 ? 0.0f : 0.5f + 0.2f * (float)(i % 3);
    o.top_k = i % 12 == 1 ? 0 : 40;
    o.top_p = i % 12 == 2 ? 0.6f : 1.0f;
    o.min_p = i % 12 == 3 ? 0.3f : 0.05f;
    o.typical_p = i % 12 == 4 ? 0.5f : 1.0f;
    o.repeat_penalty = i % 12 == 5 || i % 12 == 6 ? 1.3f : 1.0f;
    o.repeat_last_n = i % 12 == 6 ? -1 : 7;
    o.frequency_penalty = i % 12 == 7 ? 0.2f : 0.0f;
    o.presence_penalty = i % 12 == 8 ? 0.4f : 0.0f;
    o.bias = bias;
    o.n_bias = i % 12 == 9 ? 3 : 0;
    o.stop = stop;
    o.n_stop = i % 12 == 10 ? 2 : 0;
    o.ignore_eos = i % 12 == 11;
    return o;
}

static void test_all_samplers(void **state)
{
    (void)state;
    tern_model *m = open_file(STORIES);
    int32_t ids[256];
    size_t n = repetitive(m, TEXT, ids, 256);
    pair p;
    open_pair(&p, m, 0);
    for (int i = 0; i < (is_long() ? 1200 : 24); i++)
        for (int mode = TERN_SPEC_NGRAM; mode <= TERN_SPEC_ALWAYS; mode++) {
            tern_gen_opts o = sampler(i);
            o.spec = (tern_spec_mode)mode;
            o.spec_max = 1 + i % 7;
            (void)compare(&p, ids, n, o, -1, -1);
        }
    report("samplers", &p.sum);
    assert_true(p.sum.n_accepted > 100);
    assert_true(p.sum.n_drafted > p.sum.n_accepted + 100);
    close_pair(&p);
    tern_model_close(m);
}

/* ---- ends within a draft ------------------------------------------------------------------ */

static void test_every_end_within_a_draft(void **state)
{
    (void)state;
    tern_model *m = open_file(STORIES);
    int32_t ids[256];
    size_t n = repetitive(m, TEXT, ids, 256);
    tern_gen_opts o;
    pair p;
    tern_gen_opts_init(&o);
    o.temp = 0.0f;
    o.spec = TERN_SPEC_ALWAYS;
    open_pair(&p, m, 0);
    for (int i = 0; i < 40; i++) {
        o.n_predict = i;
        assert_int_equal(compare(&p, ids, n, o, -1, -1), i);
    }
    o.n_predict = 40;
    for (int i = 0; i < 40; i++)
        (void)compare(&p, ids, n, o, i, -1);
    /* Left in the middle: the next one finds the session as it should be. */
    for (int i = 1; i < 40; i++)
        (void)compare(&p, ids, n - (size_t)(i % 3), o, -1, i);
    /* Each text of one to four letters as a stop string. */
    for (size_t i = 0; i + 4 < strlen(TEXT); i++) {
        char text[5] = "";
        const char *const stop[] = {text};
        memcpy(text, &TEXT[i], 1 + i % 4);
        o.stop = stop;
        o.n_stop = 1;
        (void)compare(&p, ids, n, o, -1, -1);
    }
    assert_true(p.sum.n_stop_drafted > 10);
    close_pair(&p);
    o.n_stop = 0;
    o.n_predict = -1;
    for (int n_ctx = (int)n + 1; n_ctx < (int)n + 40; n_ctx++) {
        open_pair(&p, m, n_ctx);
        assert_int_equal(compare(&p, ids, n, o, -1, -1), n_ctx - (int)n + 1);
        close_pair(&p);
    }
    tern_model_close(m);
}

/* The end of generation is itself drafted. */
static void test_end_of_generation_within_a_draft(void **state)
{
    (void)state;
    enum { EOS = 2, A = 259 };
    test_model m;
    tern_model *opened;
    tern_err err = {0};
    tern_token_bias bias[TEST_MODEL_VOCAB];
    tern_gen_opts o;
    int32_t prompt[60];
    size_t n_bias = 0;
    pair p;
    test_model_init(&m, &(test_shape){.n_layer = 1, .n_ctx = 100});
    assert_int_equal(test_model_open(&m, &opened, &err), TERN_OK);
    for (int id = 0; id < TEST_MODEL_VOCAB; id++)
        if (id != EOS && id != A && id != A + 1)
            bias[n_bias++] = (tern_token_bias){id, -INFINITY};
    for (int i = 0; i < 60; i++)
        prompt[i] = i % 4 == 3 ? EOS : A + i % 2;
    tern_gen_opts_init(&o);
    o.bias = bias;
    o.n_bias = n_bias;
    o.temp = 1.0f;
    o.spec = TERN_SPEC_ALWAYS;
    open_pair(&p, opened, 0);
    for (int i = 0; i < 200; i++) {
        o.seed = (uint64_t)i;
        o.ignore_eos = i % 5 == 4;
        o.show_special = i % 2 != 0;
        (void)compare(&p, prompt, (size_t)(52 + i % 4), o, -1, -1);
    }
    report("ends", &p.sum);
    print_message("%zu ends were drafted\n", p.sum.n_eog_drafted);
    assert_true(p.sum.n_eog_drafted > 5);
    close_pair(&p);
    tern_model_close(opened);
    test_model_done(&m);
}

/* ---- the session meanwhile ---------------------------------------------------------------- */

/* Between two tokens somebody else uses the session: what was evaluated ahead never shows. */
static void test_a_session_used_in_between(void **state)
{
    (void)state;
    tern_model *m = open_file(STORIES);
    int32_t ids[256];
    static const int32_t too_many[MAX_ID];
    size_t n = repetitive(m, TEXT, ids, 256), n_tok;
    tern_err err = {0};
    for (int what = 0; what < 4; what++)
        for (int when = 1; when < 12; when++) {
            pair p;
            tern_event ev[2];
            open_pair(&p, m, 0);
            for (int mode = 0; mode < 2; mode++) {
                tern_session *s = mode ? p.drafting : p.plain;
                tern_gen_opts o;
                tern_request *r;
                tern_gen_opts_init(&o);
                o.temp = 0.0f;
                o.spec = mode ? TERN_SPEC_ALWAYS : TERN_SPEC_OFF;
                assert_int_equal(tern_request_new(s, ids, n, &o, &r, &err), TERN_OK);
                for (int i = 0; i < 14; i++) {
                    (void)tern_session_tokens(s, &n_tok);
                    if (i == when && what == 0)
                        assert_int_equal(tern_session_eval(s, ids + 3, 5, &err), TERN_OK);
                    if (i == when && what == 1)
                        tern_session_rewind(s, n_tok - 1);
                    if (i == when && what == 2) /* nothing to forget */
                        tern_session_rewind(s, n_tok);
                    if (i == when && what == 3)
                        assert_int_equal(tern_session_eval(s, too_many, MAX_ID, &err),
                                         TERN_E_LIMIT);
                    assert_int_equal(tern_request_next(r, &ev[mode], &err), TERN_OK);
                }
                tern_request_free(r);
            }
            assert_int_equal(ev[0].id, ev[1].id);
            same_state(&p);
            close_pair(&p);
        }
    tern_model_close(m);
}

/* ---- memory ------------------------------------------------------------------------------- */

typedef struct failing {
    int at, seen;
    bool on, all; /* all: from at on */
} failing;

static bool on_alloc(void *ctx, const char *site, size_t size)
{
    failing *f = ctx;
    (void)site;
    (void)size;
    f->seen++;
    return f->on && (f->all ? f->seen >= f->at : f->seen == f->at);
}

/* Any allocation fails: the answer goes on as it was, or says so and goes on when tried again. */
static void test_each_allocation_fails(void **state)
{
    (void)state;
    tern_model *m = open_file(STORIES);
    int32_t ids[256], want[80];
    size_t n = repetitive(m, TEXT, ids, 256), n_got;
    tern_gen_opts o;
    int n_failed = 0, n_spared = 0;
    tern_gen_opts_init(&o);
    o.temp = 0.0f;
    o.n_predict = 80; /* crosses pages */
    for (int at = 0, n_alloc = 1; at <= n_alloc; at++) {
        tern_session *s = open_session(m, 0);
        failing f = {.at = at, .on = at > 0, .all = at % 2};
        tern_request *r;
        tern_event ev = {0};
        tern_err err = {0};
        o.spec = at ? TERN_SPEC_ALWAYS : TERN_SPEC_OFF;
        tern_alloc_hook_set(on_alloc, &f);
        tern_code rc = tern_request_new(s, ids, n, &o, &r, &err);
        bool failed = rc != TERN_OK;
        if (failed) {
            f.on = false;
            rc = tern_request_new(s, ids, n, &o, &r, &err);
        }
        for (n_got = 0; rc == TERN_OK && ev.finish == TERN_FINISH_NONE;) {
            rc = tern_request_next(r, &ev, &err);
            if (rc != TERN_OK) {
                failed = true;
                f.on = false;
                assert_int_equal(rc, TERN_E_NOMEM);
                rc = tern_request_next(r, &ev, &err);
            }
            if (rc == TERN_E_NOMEM &&
                strstr(err.msg, "text")) { /* a piece of it is lost for good */
                assert_int_equal(tern_request_next(r, &ev, &err), TERN_E_NOMEM);
                rc = TERN_OK;
                break;
            }
            if (at == 0)
                want[n_got] = ev.id;
            if (ev.id >= 0)
                assert_int_equal(ev.id, want[n_got++]);
        }
        tern_alloc_hook_set(NULL, NULL);
        assert_int_equal(rc, TERN_OK);
        n_failed += failed;
        n_spared += at && !failed && f.seen >= at;
        n_alloc = at < 2 ? f.seen : n_alloc;
        tern_request_free(r);
        tern_session_free(s);
    }
    print_message("%d failures were told, %d did no harm\n", n_failed, n_spared);
    assert_true(n_failed > 8);
    assert_true(n_spared > 0);
    tern_model_close(m);
}

/* ---- frequencies -------------------------------------------------------------------------- */

#define N_TOY 6 /* tokens that are not banned */

static const int32_t toy[N_TOY] = {259, 260, 261, 262, 263, 70};

/* Probabilities of the toy tokens after prompt and ids, from logits alone. */
static void truth(tern_session *s, const int32_t *prompt, size_t n, const int32_t *ids, size_t n_id,
                  double temp, double *p)
{
    tern_err err;
    double sum = 0.0;
    tern_session_rewind(s, 0);
    assert_int_equal(tern_session_eval(s, prompt, n, &err), TERN_OK);
    if (n_id)
        assert_int_equal(tern_session_eval(s, ids, n_id, &err), TERN_OK);
    for (int i = 0; i < N_TOY; i++)
        sum += p[i] = exp((double)tern_session_logits(s)[toy[i]] / temp);
    for (int i = 0; i < N_TOY; i++)
        p[i] /= sum;
}

static int index_of(int32_t id)
{
    int i = 0;
    while (i < N_TOY && toy[i] != id)
        i++;
    assert_true(i < N_TOY);
    return i;
}

/* Three tokens after a prompt that repeats itself, drawn many times with drafts of which most do not
 * come true: each of the 216 triples is as frequent as the model says. Pearson's statistic has mean df
 * and variance 2 df; 5 deviations are passed by chance once in 10^5 (its tail is longer than a
 * normal's), and the seeds are fixed. */
static void test_frequencies(void **state)
{
    (void)state;
    test_model m;
    tern_model *opened;
    tern_err err = {0};
    tern_token_bias bias[TEST_MODEL_VOCAB];
    tern_gen_opts o;
    uint32_t seed = 5;
    int32_t prompt[60]; /* most pairs of tokens occur in it */
    size_t n_bias = 0, n_drafted = 0, n_accepted = 0;
    int n_draw = is_long() ? 500000 : 20000;
    static int count[N_TOY][N_TOY][N_TOY];
    double expected[N_TOY][N_TOY][N_TOY], p1[N_TOY], p2[N_TOY], p3[N_TOY];
    test_model_init(&m, &(test_shape){.n_layer = 1, .d_ff = 64, .n_ctx = 64});
    assert_int_equal(test_model_open(&m, &opened, &err), TERN_OK);
    for (int id = 0; id < TEST_MODEL_VOCAB; id++) {
        bool banned = true;
        for (int i = 0; i < N_TOY; i++)
            banned &= toy[i] != id;
        if (banned)
            bias[n_bias++] = (tern_token_bias){id, -INFINITY};
    }
    for (int i = 0; i < 60; i++)
        prompt[i] = toy[test_rand(&seed) % N_TOY];
    tern_gen_opts_init(&o);
    o.bias = bias;
    o.n_bias = n_bias;
    o.temp = 0.7f;
    o.top_k = 0;
    o.top_p = 1.0f;
    o.min_p = 0.0f;
    o.n_predict = 3;
    o.spec = TERN_SPEC_ALWAYS;

    tern_session *s = open_session(opened, 0);
    truth(s, prompt, 60, NULL, 0, 0.7, p1);
    for (int i = 0; i < N_TOY; i++) {
        truth(s, prompt, 60, &toy[i], 1, 0.7, p2);
        for (int j = 0; j < N_TOY; j++) {
            const int32_t two[] = {toy[i], toy[j]};
            truth(s, prompt, 60, two, 2, 0.7, p3);
            for (int k = 0; k < N_TOY; k++)
                expected[i][j][k] = n_draw * p1[i] * p2[j] * p3[k];
        }
    }
    for (int draw = 0; draw < n_draw; draw++) {
        tern_request *r;
        tern_event ev;
        tern_request_stats st;
        int at[3];
        o.seed = (uint64_t)draw;
        assert_int_equal(tern_request_new(s, prompt, 60, &o, &r, &err), TERN_OK);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(tern_request_next(r, &ev, &err), TERN_OK);
            at[i] = index_of(ev.id);
        }
        count[at[0]][at[1]][at[2]]++;
        tern_request_stats_get(r, &st);
        n_drafted += st.n_drafted;
        n_accepted += st.n_accepted;
        tern_request_free(r);
    }
    double chi2 = 0.0, rest = 0.0;
    int df = 0, n_rest = 0;
    for (int i = 0; i < N_TOY * N_TOY * N_TOY; i++) {
        double e = (&expected[0][0][0])[i], d = (&count[0][0][0])[i] - e;
        if (e < 10.0) { /* the rare ones count together */
            rest += e;
            n_rest += (&count[0][0][0])[i];
            continue;
        }
        chi2 += d * d / e;
        df++;
    }
    if (rest > 0.0)
        chi2 += (n_rest - rest) * (n_rest - rest) / rest;
    df -= rest == 0.0;
    assert_true(df > 60);
    print_message("%d draws of 3 tokens, %zu drafted, %zu accepted: chi square %.1f, %d expected\n",
                  n_draw, n_drafted, n_accepted, chi2, df);
    assert_true(n_accepted > (size_t)n_draw / 20);
    assert_true(n_drafted - n_accepted > (size_t)n_draw / 5);
    assert_true(chi2 < df + 5.0 * sqrt(2.0 * df));
    assert_true(chi2 > df - 5.0 * sqrt(2.0 * df));
    tern_session_free(s);
    tern_model_close(opened);
    test_model_done(&m);
}

/* ---- many tokens -------------------------------------------------------------------------- */

/* Greedy answers of trained models, each to the end of the context. */
static void greedy_tokens(const char *path, size_t n_wanted)
{
    static const char *const openings[] = {"Once upon a time", "Lily and Tom", "The dog was sad",
                                           "One day, a big", TEXT};
    tern_model *m = open_file(path);
    int32_t ids[256];
    pair p;
    open_pair(&p, m, 0);
    for (int i = 0; p.sum.n_id < n_wanted; i++) {
        size_t n = repetitive(m, openings[i % 5], ids, 250);
        tern_gen_opts o;
        tern_gen_opts_init(&o);
        o.temp = 0.0f;
        o.spec = i % 2 ? TERN_SPEC_ALWAYS : TERN_SPEC_NGRAM;
        o.spec_max = 1 + i % 7;
        o.ignore_eos = true;
        for (int more = i / 5; more; more /= 7) /* another beginning each time */
            ids[n++] = 300 + more % 7 * 11;
        (void)compare(&p, ids, n, o, -1, -1);
    }
    report(path, &p.sum);
    assert_true(p.sum.n_accepted > p.sum.n_id / 50);
    close_pair(&p);
    tern_model_close(m);
}

static void test_greedy_answers(void **state)
{
    (void)state;
    greedy_tokens(STORIES, is_long() ? 60000 : 2000);
    greedy_tokens(BUILTIN, is_long() ? 50000 : 800);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_samplers),
        cmocka_unit_test(test_every_end_within_a_draft),
        cmocka_unit_test(test_end_of_generation_within_a_draft),
        cmocka_unit_test(test_a_session_used_in_between),
        cmocka_unit_test(test_each_allocation_fails),
        cmocka_unit_test(test_frequencies),
        cmocka_unit_test(test_greedy_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
