/* Answers under grammars: what comes out is what the grammar says, the same whatever the head, the drafts and
 * the neighbours. */
#include "support/model.h"
#include "support/support.h"
#include "tern.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BUILTIN "models/tern-stories.gguf"
#define PROMPT  "One day a little cat"
#define SCHEMA                                                                                     \
    "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":20},"        \
    "\"legs\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":8},\"likes\":{\"type\":\"array\","   \
    "\"items\":{\"enum\":[\"milk\",\"fish\",\"naps\"]},\"maxItems\":3}},\"required\":[\"name\","   \
    "\"legs\",\"likes\"],\"additionalProperties\":false}"
#define MAX_TEXT 4096

typedef struct answer {
    char text[MAX_TEXT];
    int32_t ids[512];
    size_t n_id;
    tern_finish finish;
    tern_request_stats stats;
} answer;

static size_t prompt_ids(const tern_model *m, int32_t *ids, size_t cap)
{
    size_t n;
    assert_int_equal(tern_model_tokenize(m, PROMPT, sizeof PROMPT - 1, TERN_TOKENIZE_ADD_SPECIAL,
                                         ids, cap, &n, NULL),
                     TERN_OK);
    return n;
}

static void ask(tern_model *m, const tern_gen_opts *o, answer *a)
{
    int32_t ids[64];
    size_t n = prompt_ids(m, ids, 64), n_text = 0;
    tern_session *s;
    tern_request *r;
    tern_event ev = {0};
    tern_err err = {0};
    *a = (answer){0};
    assert_int_equal(tern_session_new(m, NULL, &s, NULL), TERN_OK);
    if (tern_request_new(s, ids, n, o, &r, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    while (ev.finish == TERN_FINISH_NONE) {
        if (tern_request_next(r, &ev, &err) != TERN_OK)
            fail_msg("%s", err.msg);
        if (ev.id >= 0)
            a->ids[a->n_id++] = ev.id;
        assert_true(n_text + ev.n_text < MAX_TEXT);
        memcpy(a->text + n_text, ev.text, ev.n_text);
        n_text += ev.n_text;
    }
    a->finish = ev.finish;
    tern_request_stats_get(r, &a->stats);
    tern_request_free(r);
    tern_session_free(s);
}

static tern_gen_opts options(tern_grammar *g, int i)
{
    tern_gen_opts o;
    tern_gen_opts_init(&o);
    o.grammar = g;
    o.n_predict = 200;
    o.seed = (uint64_t)i;
    o.temp = i % 4 ? 0.7f * (float)(i % 4) : 0.0f;
    o.top_k = i % 3 ? 0 : 40;
    o.top_p = i % 5 ? 1.0f : 0.9f;
    o.min_p = i % 2 ? 0.0f : 0.05f;
    o.repeat_penalty = i % 7 ? 1.0f : 1.2f;
    return o;
}

static void check_cat(const char *text)
{
    json_error_t why;
    json_t *v = json_loads(text, JSON_REJECT_DUPLICATES, &why), *x;
    size_t i;
    if (!v)
        fail_msg("%s: %s", text, why.text);
    assert_int_equal(json_object_size(v), 3);
    assert_true(json_is_string(json_object_get(v, "name")));
    json_int_t legs = json_integer_value(json_object_get(v, "legs"));
    assert_true(json_is_integer(json_object_get(v, "legs")) && legs >= 0 && legs <= 8);
    assert_true(json_array_size(json_object_get(v, "likes")) <= 3);
    json_array_foreach(json_object_get(v, "likes"), i, x)
        assert_true(strlen(json_string_value(x)) == 4);
    json_decref(v);
}

static void same_answer(const answer *a, const answer *b)
{
    assert_string_equal(a->text, b->text);
    assert_int_equal(a->n_id, b->n_id);
    assert_memory_equal(a->ids, b->ids, a->n_id * sizeof *a->ids);
    assert_int_equal(a->finish, b->finish);
}

/* Screened or whole head, drafts or none. */
static void whatever_the_way(void **state)
{
    (void)state;
    tern_model *full = test_model_file(BUILTIN, 1, TERN_HEAD_FULL),
               *screened = test_model_file(BUILTIN, 1, TERN_HEAD_ALWAYS);
    tern_grammar *g = test_model_grammar(full, TERN_GRAMMAR_JSON_SCHEMA, SCHEMA),
                 *h = test_model_grammar(screened, TERN_GRAMMAR_JSON_SCHEMA, SCHEMA);
    size_t n_screened = 0, n_accepted = 0;
    for (int i = 0; i < 12; i++) {
        static answer a, b;
        tern_gen_opts o = options(g, i);
        o.spec = TERN_SPEC_OFF;
        ask(full, &o, &a);
        assert_int_equal(a.finish, TERN_FINISH_EOG);
        check_cat(a.text);
        o.spec = TERN_SPEC_ALWAYS;
        ask(full, &o, &b);
        same_answer(&a, &b);
        n_accepted += b.stats.n_accepted;
        o.grammar = h;
        ask(screened, &o, &b);
        same_answer(&a, &b);
        n_screened += b.stats.n_screened;
    }
    assert_true(n_screened > 50);
    assert_true(n_accepted > 0);
    tern_grammar_free(g);
    tern_grammar_free(h);
    tern_model_close(full);
    tern_model_close(screened);
}

/* What the grammar leaves no choice about rides along: fewer passes, the same answer. */
static void forced_text(void **state)
{
    (void)state;
    static answer a, b;
    tern_model *m = test_model_file(BUILTIN, 1, TERN_HEAD_AUTO);
    tern_grammar *g =
        test_model_grammar(m, TERN_GRAMMAR_REGEX,
                           "The name of the little cat is [A-Z][a-z]{2,6} and her friend's name "
                           "is [A-Z][a-z]{2,6}\\.");
    size_t n_pass = 0, n_plain = 0;
    for (int i = 0; i < 4; i++) {
        tern_gen_opts o = options(g, i);
        o.spec = TERN_SPEC_OFF;
        ask(m, &o, &a);
        o.spec = TERN_SPEC_ALWAYS;
        ask(m, &o, &b);
        same_answer(&a, &b);
        n_plain += a.stats.n_pass;
        n_pass += b.stats.n_pass;
    }
    assert_true(n_pass * 3 < n_plain * 2);
    tern_grammar_free(g);
    tern_model_close(m);
}

/* Where nothing else may follow the answer ends at once, also if ends are to be ignored. */
static void the_end(void **state)
{
    (void)state;
    static answer a;
    tern_model *m = test_model_file(BUILTIN, 1, TERN_HEAD_AUTO);
    tern_grammar *g = test_model_grammar(m, TERN_GRAMMAR_CHOICE, "[\"yes\",\"no\"]");
    tern_gen_opts o = options(g, 0);
    o.ignore_eos = true;
    ask(m, &o, &a);
    assert_int_equal(a.finish, TERN_FINISH_EOG);
    assert_true(strcmp(a.text, "yes") == 0 || strcmp(a.text, "no") == 0);
    assert_int_equal(a.stats.n_pass, a.n_id - 1);
    o.n_predict = 1;
    ask(m, &o, &a);
    assert_true(a.n_id == 1);
    tern_grammar_free(g);
    g = test_model_grammar(m, TERN_GRAMMAR_CHOICE, "[\"\"]");
    o = options(g, 0);
    o.ignore_eos = true;
    ask(m, &o, &a);
    assert_int_equal(a.finish, TERN_FINISH_EOG);
    assert_int_equal(a.n_id, 0);
    tern_grammar_free(g);
    /* longer than it may be: cut */
    g = test_model_grammar(m, TERN_GRAMMAR_REGEX, "[a-z ]{1000}");
    o = options(g, 1);
    o.n_predict = 20;
    ask(m, &o, &a);
    assert_int_equal(a.finish, TERN_FINISH_LENGTH);
    assert_int_equal(strspn(a.text, "abcdefghijklmnopqrstuvwxyz "), strlen(a.text));
    tern_grammar_free(g);
    tern_model_close(m);
}

static void behind_a_trigger(void **state)
{
    (void)state;
    static const char *const trigger[] = {" the", "<never>"};
    static answer a;
    tern_model *m = test_model_file(BUILTIN, 1, TERN_HEAD_AUTO);
    tern_grammar *g = test_model_grammar(m, TERN_GRAMMAR_GBNF, "root ::= \"=\" [0-9]{3} \"!\"");
    int n_fired = 0;
    for (int i = 0; i < 6; i++) {
        tern_gen_opts o = options(g, i);
        o.trigger = trigger;
        o.n_trigger = 2;
        ask(m, &o, &a);
        const char *at = strstr(a.text, " the");
        if (!at)
            continue;
        n_fired++;
        assert_int_equal(strlen(at), 9);
        assert_int_equal(at[4], '=');
        assert_int_equal(strspn(at + 5, "0123456789"), 3);
        assert_int_equal(a.finish, TERN_FINISH_EOG);
    }
    assert_true(n_fired >= 3);
    tern_grammar_free(g);
    tern_model_close(m);
}

typedef struct worker {
    tern_model *m;
    tern_grammar *g;
    answer a;
    int i;
} worker;

static void *work(void *arg)
{
    worker *w = arg;
    tern_gen_opts o = options(w->g, w->i);
    ask(w->m, &o, &w->a);
    return NULL;
}

/* Threads with one grammar, which is given away before they end. */
static void shared(void **state)
{
    (void)state;
    enum { N = 4 };
    static worker w[N];
    static answer alone;
    pthread_t thread[N];
    tern_model *m = test_model_file(BUILTIN, 1, TERN_HEAD_AUTO);
    tern_grammar *g = test_model_grammar(m, TERN_GRAMMAR_JSON_SCHEMA, SCHEMA);
    for (int i = 0; i < N; i++) {
        w[i] = (worker){.m = m, .g = g, .i = i + 1};
        assert_int_equal(pthread_create(&thread[i], NULL, work, &w[i]), 0);
    }
    for (int i = 0; i < N; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    for (int i = 0; i < N; i++) {
        tern_gen_opts o = options(g, w[i].i);
        ask(m, &o, &alone);
        same_answer(&alone, &w[i].a);
    }
    tern_grammar_free(g);
    tern_model_close(m);
}

static void refusals(void **state)
{
    (void)state;
    static const char *const trigger[] = {"x"};
    int32_t ids[64];
    tern_model *m = test_model_file(BUILTIN, 1, TERN_HEAD_AUTO),
               *other = test_model_file(BUILTIN, 1, TERN_HEAD_AUTO);
    tern_session *s;
    tern_request *r;
    tern_err err = {0};
    size_t n = prompt_ids(m, ids, 64);
    char *rules;
    assert_int_equal(tern_session_new(m, NULL, &s, NULL), TERN_OK);
    tern_grammar *g = test_model_grammar(other, TERN_GRAMMAR_REGEX, "a");
    tern_gen_opts o = options(g, 0);
    assert_int_equal(tern_request_new(s, ids, n, &o, &r, &err), TERN_E_USAGE);
    assert_non_null(strstr(err.msg, "another model"));
    o = options(NULL, 0);
    o.trigger = trigger;
    o.n_trigger = 1;
    assert_int_equal(tern_request_new(s, ids, n, &o, &r, &err), TERN_E_USAGE);
    tern_grammar_free(g);
    assert_int_equal(tern_grammar_new(m, (tern_grammar_kind)9, "a", 1, &g, &err), TERN_E_USAGE);
    assert_null(g);
    assert_int_equal(tern_schema_to_gbnf("{}", 2, "no spaces", &rules, &err), TERN_E_USAGE);
    assert_int_equal(tern_schema_to_gbnf("{\"not\":{}}", 10, "a", &rules, &err),
                     TERN_E_UNSUPPORTED);
    /* rules to build from */
    assert_int_equal(tern_schema_to_gbnf("{\"type\":\"boolean\"}", 18, "flag", &rules, &err),
                     TERN_OK);
    assert_string_equal(rules, "flag ::= (\"true\" | \"false\")\n");
    tern_string_free(rules);
    tern_session_free(s);
    tern_model_close(m);
    tern_model_close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_the_way), cmocka_unit_test(forced_text),
        cmocka_unit_test(the_end),          cmocka_unit_test(behind_a_trigger),
        cmocka_unit_test(shared),           cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
