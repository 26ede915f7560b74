/* Probabilities under a grammar: the model's own, or those of what the sampler drew from. Both are computed
 * here again, in f64 from the logits of a session that reads prompt and answer at once; which tokens a list of
 * choices leaves is found by comparing bytes. */
#include "support/model.h"
#include "support/support.h"
#include "tern.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BUILTIN "models/tern-stories.gguf"
#define N_VOCAB 4096
#define MAX_ID  160
#define N_TOP   8
/* models/README.md: these two end an answer. */
#define ENDOFTEXT 0
#define END       4
/* Logits are f32 and so are exp's arguments: of a distance of 20 the last place is 2^-19. */
#define BOUND 1e-5

static const char *const choices[] = {
    "the cat", "the cats and the dog", "the cat and the big dog",
    "no",      "not at all",           "maybe not \xc3\xa4",
};
#define N_CHOICE (sizeof choices / sizeof choices[0])
#define CHOICES                                                                                    \
    "[\"the cat\",\"the cats and the dog\",\"the cat and the big dog\",\"no\",\"not at all\","     \
    "\"maybe not \\u00e4\"]"
#define SCHEMA                                                                                     \
    "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":12},"        \
    "\"legs\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":8}},\"required\":[\"name\","         \
    "\"legs\"],\"additionalProperties\":false}"

/* ---- what the engine says ----------------------------------------------------------------- */

typedef struct told {
    int32_t ids[MAX_ID];
    float logprob[MAX_ID];
    tern_logprob top[MAX_ID][N_TOP];
    size_t n_top[MAX_ID], n_id, n_prompt;
    float *rows; /* owned; [n_id][N_VOCAB]: the logits of a session that has read it all */
} told;

typedef struct reading {
    float *rows;
    int first;
} reading;

static void keep_row(void *ctx, int row, const float *logits)
{
    reading *r = ctx;
    if (row >= r->first)
        memcpy(r->rows + (size_t)(row - r->first) * N_VOCAB, logits, N_VOCAB * sizeof *logits);
}

static void read_rows(tern_model *m, const int32_t *prompt, told *t)
{
    int32_t ids[2 * MAX_ID];
    tern_session *s;
    tern_err err = {0};
    memcpy(ids, prompt, t->n_prompt * sizeof *ids);
    memcpy(ids + t->n_prompt, t->ids, t->n_id * sizeof *ids);
    t->rows = calloc(t->n_id * N_VOCAB, sizeof *t->rows);
    reading r = {t->rows, (int)t->n_prompt - 1};
    assert_int_equal(tern_session_new(m, NULL, &s, NULL), TERN_OK);
    if (tern_session_eval_all(s, ids, t->n_prompt + t->n_id - 1, keep_row, &r, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    tern_session_free(s);
}

static void ask(tern_model *m, const char *text, const tern_gen_opts *o, told *t)
{
    int32_t prompt[MAX_ID];
    tern_session *s;
    tern_request *r;
    tern_event ev = {0};
    tern_err err = {0};
    *t = (told){0};
    if (tern_model_tokenize(m, text, strlen(text), TERN_TOKENIZE_ADD_SPECIAL, prompt, MAX_ID,
                            &t->n_prompt, &err) != TERN_OK ||
        tern_session_new(m, NULL, &s, &err) != TERN_OK ||
        tern_request_new(s, prompt, t->n_prompt, o, &r, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    while (ev.finish == TERN_FINISH_NONE) {
        if (tern_request_next(r, &ev, &err) != TERN_OK)
            fail_msg("%s", err.msg);
        if (ev.id < 0)
            continue;
        assert_true(t->n_id < MAX_ID && ev.n_top <= N_TOP);
        memcpy(t->top[t->n_id], ev.top, ev.n_top * sizeof *ev.top);
        t->n_top[t->n_id] = ev.n_top;
        t->logprob[t->n_id] = ev.logprob;
        t->ids[t->n_id++] = ev.id;
    }
    tern_request_free(r);
    tern_session_free(s);
    read_rows(m, prompt, t);
}

/* ---- what it should say ------------------------------------------------------------------- */

static double p[N_VOCAB]; /* log-probabilities of one row */

/* logits that are -infinity are not there; temp divides the others. */
static void log_softmax(double *x, double temp)
{
    double max = -INFINITY, sum = 0.0;
    for (int i = 0; i < N_VOCAB; i++)
        max = fmax(max, x[i]);
    for (int i = 0; i < N_VOCAB; i++)
        sum += exp((x[i] - max) / temp);
    for (int i = 0; i < N_VOCAB; i++)
        x[i] = (x[i] - max) / temp - log(sum);
}

static void near(double got, double want)
{
    if (!(fabs(got - want) <= BOUND * (1.0 + fabs(want))))
        fail_msg("%.9g, expected %.9g", got, want);
}

/* p is as told at token k, the n_top likeliest first. */
static void check_told(const told *t, size_t k, size_t n_top)
{
    near((double)t->logprob[k], p[t->ids[k]]);
    assert_int_equal(t->n_top[k], n_top);
    for (size_t i = 0; i < n_top; i++) {
        int best = 0;
        for (int j = 1; j < N_VOCAB; j++)
            if (p[j] > p[best])
                best = j;
        assert_int_equal(t->top[k][i].id, best);
        near((double)t->top[k][i].logprob, p[best]);
        p[best] = -INFINITY;
    }
}

/* The model's own: whatever the grammar left. Returns how often it would have said something else. */
static size_t check_own(const told *t)
{
    size_t n_other = 0;
    for (size_t k = 0; k < t->n_id; k++) {
        for (int i = 0; i < N_VOCAB; i++)
            p[i] = (double)t->rows[k * N_VOCAB + (size_t)i];
        log_softmax(p, 1.0);
        check_told(t, k, N_TOP);
        n_other += t->top[k][0].id != t->ids[k];
    }
    return n_other;
}

/* May token id come after done[0..n)? */
static bool may_come(const tern_model *m, int32_t id, const char *done, size_t n)
{
    size_t n_piece;
    const char *piece = tern_model_token_bytes(m, id, &n_piece);
    for (size_t i = 0; i < N_CHOICE; i++) {
        size_t len = strlen(choices[i]);
        if (len < n || memcmp(choices[i], done, n) != 0)
            continue;
        if (id == ENDOFTEXT || id == END) {
            if (len == n)
                return true;
        } else if (n_piece && n_piece <= len - n && memcmp(choices[i] + n, piece, n_piece) == 0) {
            return true;
        }
    }
    return false;
}

/* Of the allowed ones' logits the top_k largest are left (0: all). */
static size_t mask(const tern_model *m, const tern_gen_opts *o, const float *row, const char *done,
                   size_t n)
{
    size_t n_left = 0;
    for (int i = 0; i < N_VOCAB; i++) {
        p[i] = may_come(m, i, done, n) ? (double)row[i] : -HUGE_VAL;
        for (size_t b = 0; b < o->n_bias; b++)
            p[i] += o->bias[b].id == i ? (double)o->bias[b].bias : 0.0;
        n_left += p[i] > -HUGE_VAL;
    }
    while (o->top_k > 0 && n_left > (size_t)o->top_k) {
        int least = -1;
        for (int i = 0; i < N_VOCAB; i++)
            if (p[i] > -HUGE_VAL && (least < 0 || p[i] <= p[least]))
                least = i;
        p[least] = -INFINITY;
        n_left--;
    }
    return n_left;
}

/* Those of what was drawn from. Returns how often there was a choice. */
static size_t check_drawn(const tern_model *m, const told *t, const tern_gen_opts *o)
{
    char done[64];
    size_t n = 0, n_piece, n_free = 0;
    for (size_t k = 0; k < t->n_id; k++) {
        size_t n_left = mask(m, o, t->rows + k * N_VOCAB, done, n);
        assert_true(n_left > 0);
        log_softmax(p, (double)o->temp);
        check_told(t, k, n_left < N_TOP ? n_left : N_TOP);
        n_free += n_left > 1;
        const char *piece = tern_model_token_bytes(m, t->ids[k], &n_piece);
        if (t->ids[k] == ENDOFTEXT || t->ids[k] == END)
            n_piece = 0;
        assert_true(n + n_piece < sizeof done);
        memcpy(done + n, piece, n_piece);
        n += n_piece;
    }
    return n_free;
}

/* ---- the tests ---------------------------------------------------------------------------- */

/* Every fourth is greedy; drafts or none; filters but top-k are off. */
static tern_gen_opts options(tern_grammar *g, int i)
{
    tern_gen_opts o;
    tern_gen_opts_init(&o);
    o.grammar = g;
    o.n_predict = MAX_ID / 2;
    o.logprobs = true;
    o.n_top = N_TOP;
    o.seed = (uint64_t)i;
    o.temp = i % 4 ? 0.5f * (float)(i % 4) : 0.0f;
    o.top_k = i % 3 == 2 ? 2 : 0;
    o.top_p = 1.0f;
    o.min_p = 0.0f;
    o.spec = i % 2 ? TERN_SPEC_ALWAYS : TERN_SPEC_OFF;
    return o;
}

static const char *prompt_of(int i)
{
    static const char *const prompts[] = {"Once upon a time", "Do you like", "Tim saw", "Is it"};
    return prompts[i % 4];
}

static void test_the_models_own(void **state)
{
    (void)state;
    static told t;
    size_t n_other = 0;
    for (int i = 0; i < 16; i++) {
        tern_model *m = test_model_file(BUILTIN, 1, i % 2 ? TERN_HEAD_ALWAYS : TERN_HEAD_AUTO);
        tern_grammar *g = i % 4 < 2 ? test_model_grammar(m, TERN_GRAMMAR_CHOICE, CHOICES)
                                    : test_model_grammar(m, TERN_GRAMMAR_JSON_SCHEMA, SCHEMA);
        tern_gen_opts o = options(g, i / 2);
        ask(m, prompt_of(i / 4), &o, &t);
        n_other += check_own(&t);
        free(t.rows);
        tern_grammar_free(g);
        tern_model_close(m);
    }
    assert_true(n_other > 50);
}

static void test_of_what_was_drawn_from(void **state)
{
    (void)state;
    static told t;
    static const tern_token_bias bias[] = {{END, 3.0f}, {ENDOFTEXT, -INFINITY}};
    tern_model *m = test_model_file(BUILTIN, 1, TERN_HEAD_AUTO);
    tern_grammar *g = test_model_grammar(m, TERN_GRAMMAR_CHOICE, CHOICES);
    size_t n_free = 0;
    for (int i = 0; i < 48; i++) {
        tern_gen_opts o = options(g, i);
        if (o.temp <= 0.0f)
            continue;
        o.logprobs_final = true;
        o.bias = bias;
        o.n_bias = i % 5 ? 0 : 2;
        ask(m, prompt_of(i), &o, &t);
        n_free += check_drawn(m, &t, &o);
        free(t.rows);
    }
    assert_true(n_free > 50);
    tern_grammar_free(g);
    tern_model_close(m);
}

static void test_greedy_is_sure(void **state)
{
    (void)state;
    static told t;
    tern_model *m = test_model_file(BUILTIN, 1, TERN_HEAD_AUTO);
    tern_grammar *g = test_model_grammar(m, TERN_GRAMMAR_JSON_SCHEMA, SCHEMA);
    tern_gen_opts o = options(g, 0);
    o.logprobs_final = true;
    ask(m, prompt_of(0), &o, &t);
    for (size_t k = 0; k < t.n_id; k++) {
        assert_true(t.logprob[k] == 0.0f);
        assert_int_equal(t.n_top[k], 1);
        assert_int_equal(t.top[k][0].id, t.ids[k]);
    }
    free(t.rows);
    tern_grammar_free(g);
    tern_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_models_own),
        cmocka_unit_test(test_of_what_was_drawn_from),
        cmocka_unit_test(test_greedy_is_sure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
