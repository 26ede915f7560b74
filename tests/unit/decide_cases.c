/* Decisions against transformers in float32, and fits and figures against SciPy (tests/golden/decide/make.py). */
#include "base/error.h"
#include "decide/decide.h"
#include "support/golden.h"
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "tests/golden/decide/"

static double number(const json_t *array, size_t i)
{
    return json_number_value(json_array_get(array, i));
}

/* Log-probabilities are off by what each of up to 20 tokens' logits are off, as in engine_score.c. */
static void near(double got, double want, double bound, size_t which, const char *what)
{
    if (!(fabs(got - want) <= bound))
        fail_msg("case %zu: %s is %.9g, expected %.9g", which, what, got, want);
}

static tern_model *open_model(const char *template)
{
    tern_err err;
    tern_model *m;
    tern_model_opts o;
    tern_model_opts_init(&o);
    o.n_thread = 1;
    o.chat_template = template;
    if (tern_model_open("tests/golden/folders/qwen2", &o, &m, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return m;
}

enum { MAX_ITEM = 8 };

static void read_items(const decide_task *t, const json_t *list, decide_item *items)
{
    tern_err err;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (decide_item_read(&items[i], t, json_array_get(list, i), false, "item", &err) != TERN_OK)
            fail_msg("%s", err.msg);
}

static void check_case(const decide_host *h, json_t *c, size_t which)
{
    static const char *const none[] = {NULL};
    tern_err err;
    decide_task t;
    decide_item items[MAX_ITEM];
    decide_result r[MAX_ITEM], one;
    json_t *list = json_object_get(c, "items");
    size_t n = json_array_size(list);
    assert_in_range(n, 1, MAX_ITEM);
    if (decide_task_read(&t, json_object_get(c, "task"), true, none, &err) != TERN_OK)
        fail_msg("case %zu: %s", which, err.msg);
    read_items(&t, list, items);
    if (decide_run(h, &t, items, n, NULL, r, &err) != TERN_OK)
        fail_msg("case %zu: %s", which, err.msg);
    for (size_t i = 0; i < n; i++) {
        const json_t *s = json_array_get(json_object_get(c, "log_probs"), i),
                     *p = json_array_get(json_object_get(c, "p"), i);
        assert_int_equal(json_array_size(s), r[i].n);
        assert_true(r[i].done);
        double sum = 0;
        for (size_t k = 0; k < r[i].n; k++) {
            near(r[i].log_prob[k], number(s, k), 2e-3, which, "a log-probability");
            near(r[i].p[k], number(p, k), 1e-3, which, "a probability");
            sum += r[i].p[k];
        }
        near(sum, 1.0, 1e-12, which, "the sum");
        if (t.calibrate == DECIDE_BATCH)
            continue;
        /* Alone it is the same, bit for bit. */
        assert_int_equal(decide_run(h, &t, &items[i], 1, NULL, &one, &err), TERN_OK);
        assert_memory_equal(one.log_prob, r[i].log_prob, one.n * sizeof(double));
        decide_results_done(&one, 1);
    }
    decide_results_done(r, n);
    for (size_t i = 0; i < n; i++)
        decide_item_done(&items[i]);
    decide_task_done(&t);
}

static void test_cases_follow_from_transformers(void **state)
{
    (void)state;
    json_t *all = test_golden(FOLDER "cases.json"), *c;
    tern_model *m = open_model(json_string_value(json_object_get(all, "template")));
    decide_host h = {.m = m, .n_ctx = 400, .cache_k = TERN_CACHE_F32, .cache_v = TERN_CACHE_F32};
    size_t i;
    json_array_foreach(json_object_get(all, "cases"), i, c) check_case(&h, c, i);
    assert_int_equal(i, 12);
    tern_model_close(m);
    json_decref(all);
}

/* Fields whose values are listed: the likelihoods that transformers gives them behind what was written. */
static void check_extract(const decide_host *h, tern_session *s, json_t *c, size_t which)
{
    tern_err err;
    decide_task t;
    tern_grammar *g;
    decide_extract x;
    const char *key, *said = json_string_value(json_object_get(c, "said"));
    json_t *v;
    if (decide_task_read(&t, json_object_get(c, "task"), true, NULL, &err) != TERN_OK ||
        decide_schema(h->m, &t, &g, &err) != TERN_OK ||
        decide_extract_run(h, &t, g, s, json_string_value(json_object_get(c, "input")), &x, &err) !=
            TERN_OK)
        fail_msg("extract %zu: %s", which, err.msg);
    said += *said == ' '; /* the blank behind a cue is no part of the answer */
    assert_non_null(x.text);
    assert_memory_equal(x.text + (*x.text == ' '), said, strlen(said));
    assert_int_equal(x.n, 2);
    assert_string_equal(x.field[0].path, "/wet");
    assert_string_equal(x.field[1].path, "/hue");
    assert_int_equal(json_object_size(x.field[1].others), 3);
    double most = 0;
    json_object_foreach(json_object_get(c, "probabilities"), key, v)
    {
        double p = json_number_value(v);
        near(json_number_value(json_object_get(x.field[0].others, key)), p, 1e-4, which, key);
        most = fmax(most, p);
    }
    near(x.field[0].p, most, 1e-4, which, "the likeliest value");
    assert_true(json_is_boolean(json_object_get(x.value, "wet")));
    assert_true(x.p <= x.field[0].p && x.p <= x.field[1].p);
    decide_extract_done(&x);
    tern_grammar_free(g);
    decide_task_done(&t);
}

static void test_fields_follow_from_transformers(void **state)
{
    tern_err err;
    tern_session *s;
    tern_session_opts so;
    (void)state;
    json_t *all = test_golden(FOLDER "cases.json"), *c;
    tern_model *m = open_model(json_string_value(json_object_get(all, "template")));
    decide_host h = {.m = m, .n_ctx = 600, .cache_k = TERN_CACHE_F32, .cache_v = TERN_CACHE_F32};
    tern_session_opts_init(&so);
    so.n_ctx = 600;
    so.cache_k = so.cache_v = TERN_CACHE_F32;
    assert_int_equal(tern_session_new(m, &so, &s, &err), TERN_OK);
    size_t i;
    json_array_foreach(json_object_get(all, "extracts"), i, c) check_extract(&h, s, c, i);
    assert_int_equal(i, 4);
    tern_session_free(s);
    tern_model_close(m);
    json_decref(all);
}

/* A session with what the task's prompts share changes no bit, and is not evaluated again. */
static void test_a_base_changes_no_bit(void **state)
{
    static const char *const none[] = {NULL};
    enum { N = 3 };
    tern_err err;
    decide_task t;
    tern_ids prefix = {0};
    decide_result plain[N], based[N];
    tern_session *s;
    tern_session_opts so;
    (void)state;
    json_t *all = test_golden(FOLDER "cases.json"),
           *o =
               json_pack("{s:[s,s], s:s, s:[{s:s, s:s}]}", "labels", "left", "right", "instruction",
                         "Which side is meant?", "examples", "input", "port", "label", "left");
    tern_model *m = open_model(json_string_value(json_object_get(all, "template")));
    decide_host h = {.m = m, .n_ctx = 400, .cache_k = TERN_CACHE_F32, .cache_v = TERN_CACHE_F32};
    decide_item items[N] = {{.input = "starboard"}, {.input = "a port"}, {.input = ""}};
    assert_int_equal(decide_task_read(&t, o, true, none, &err), TERN_OK);
    assert_int_equal(decide_prefix(&h, &t, &prefix, &err), TERN_OK);
    assert_in_range(prefix.n, 60, 200);
    tern_session_opts_init(&so);
    so.n_ctx = 400;
    so.cache_k = so.cache_v = TERN_CACHE_F32;
    assert_int_equal(tern_session_new(m, &so, &s, &err), TERN_OK);
    assert_int_equal(tern_session_eval(s, prefix.v, prefix.n, &err), TERN_OK);
    assert_int_equal(decide_run(&h, &t, items, N, NULL, plain, &err), TERN_OK);
    tern_model_counters before = {.size = sizeof before}, after = before;
    tern_model_counters_get(m, &before);
    h.base = s;
    assert_int_equal(decide_run(&h, &t, items, N, NULL, based, &err), TERN_OK);
    tern_model_counters_get(m, &after);
    assert_true(after.n_row - before.n_row < 2 * prefix.n);
    for (size_t i = 0; i < N; i++) {
        assert_memory_equal(plain[i].log_prob, based[i].log_prob, 2 * sizeof(double));
        assert_true(based[i].n_cached >= prefix.n);
    }
    decide_results_done(plain, N);
    decide_results_done(based, N);
    tern_ids_done(&prefix);
    decide_task_done(&t);
    tern_session_free(s);
    tern_model_close(m);
    json_decref(o);
    json_decref(all);
}

/* ---- fits ---------------------------------------------------------------------------------- */

enum { MAX_EXAMPLE = 200, MAX_LABEL = 8 };
static double scores[MAX_EXAMPLE][MAX_LABEL], plain_p[MAX_EXAMPLE][MAX_LABEL];

static void check_figure(const decide_figure *f, const json_t *want, size_t which, const char *what)
{
    near(f->value, number(want, 0), 1e-5, which, what);
    near(f->low, number(want, 1), 1e-5, which, what);
    near(f->high, number(want, 2), 1e-5, which, what);
}

static void check_figures(const double *const *p, const decide_labelled *x, size_t n,
                          const json_t *want, size_t which)
{
    tern_err err;
    decide_figures f;
    size_t count[MAX_EXAMPLE], gold[MAX_EXAMPLE];
    for (size_t i = 0; i < n; i++) {
        count[i] = x[i].n;
        gold[i] = x[i].gold;
    }
    assert_int_equal(decide_figures_make(p, count, gold, n, &f, &err), TERN_OK);
    check_figure(&f.accuracy, json_object_get(want, "accuracy"), which, "accuracy");
    check_figure(&f.log_loss, json_object_get(want, "log_loss"), which, "log loss");
    check_figure(&f.brier, json_object_get(want, "brier"), which, "Brier");
    near(f.ece.value, json_number_value(json_object_get(want, "ece")), 1e-5, which, "ECE");
    assert_true(f.ece.low < f.ece.high);
}

static void check_fit(const json_t *c, size_t which)
{
    tern_err err;
    decide_fit f;
    decide_labelled x[MAX_EXAMPLE];
    const double *p[MAX_EXAMPLE];
    const json_t *s = json_object_get(c, "s"), *ridge = json_object_get(c, "ridge");
    size_t n = json_array_size(s),
           n_bias = (size_t)json_integer_value(json_object_get(c, "n_bias"));
    assert_in_range(n, 1, MAX_EXAMPLE);
    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(s, i);
        x[i] = (decide_labelled){scores[i], json_array_size(row),
                                 (size_t)number(json_object_get(c, "gold"), i)};
        for (size_t k = 0; k < x[i].n; k++)
            scores[i][k] = number(row, k);
        decide_apply(NULL, scores[i], x[i].n, plain_p[i]);
        p[i] = plain_p[i];
    }
    check_figures(p, x, n, json_object_get(c, "before"), which);
    assert_int_equal(decide_fit_make(x, n, n_bias > 0, &f, &err), TERN_OK);
    if (json_is_null(ridge))
        assert_true(isinf(f.ridge));
    else
        near(f.ridge, json_number_value(ridge), 1e-12, which, "the ridge");
    near(f.map.temperature, json_number_value(json_object_get(c, "temperature")), 1e-5, which,
         "the temperature");
    for (size_t k = 0; k < json_array_size(json_object_get(c, "bias")); k++)
        near(f.map.bias[k], number(json_object_get(c, "bias"), k), 1e-5, which, "a bias");
    for (size_t i = 0; i < n; i++) {
        p[i] = f.p + f.at[i];
        for (size_t k = 0; k < x[i].n; k++)
            near(p[i][k], number(json_array_get(json_object_get(c, "held"), i), k), 1e-5, which,
                 "a probability of a fold");
    }
    check_figures(p, x, n, json_object_get(c, "after"), which);
    decide_fit_done(&f);
}

static void test_fits_follow_from_scipy(void **state)
{
    (void)state;
    json_t *all = test_golden(FOLDER "fits.json"), *c;
    size_t i;
    json_array_foreach(all, i, c) check_fit(c, i);
    assert_int_equal(i, 3);
    json_decref(all);
}

/* ---- what is refused ----------------------------------------------------------------------- */

static void test_what_is_refused(void **state)
{
    static const struct {
        const char *json, *says;
    } bad[] = {
        {"[]", "a JSON object"},
        {"{\"labels\": [\"a\"]}", "2 to 256 labels"},
        {"{\"labels\": [\"a\", \"a\"]}", "have one name"},
        {"{\"labels\": [\"a\", \"\"]}", "'labels': item 2"},
        {"{\"labels\": [\"a\", {\"name\": \"b\", \"text\": []}]}", "no text"},
        {"{\"labels\": [\"a\", \"b\"], \"lables\": 1}",
         "an unknown member; known are kind, schema"},
        {"{\"kind\": \"guess\"}", "'kind': expected one of"},
        {"{\"kind\": \"score\"}", "'range'"},
        {"{\"kind\": \"score\", \"range\": [5, 1]}", "'range'"},
        {"{\"kind\": \"score\", \"range\": [0, 256]}", "'range'"},
        {"{\"kind\": \"score\", \"range\": [1, 2], \"labels\": [\"a\", \"b\"]}",
         "'labels' are for"},
        {"{\"kind\": \"yes_no\", \"range\": [1, 2]}", "'range' is for"},
        {"{\"kind\": \"yes_no\", \"labels\": [\"a\", \"b\", \"c\"]}", "yes first"},
        {"{\"min_p\": 1.5}", "'min_p'"},
        {"{\"chat\": 1}", "'chat': expected true or false"},
        {"{\"cue\": []}", "'cue': expected a string"},
        {"{\"end\": \"\"}", "'end'"},
        {"{\"content_free\": []}", "'content_free': empty"},
        {"{\"labels\": [\"a\", \"b\"], \"examples\": [{\"input\": \"x\", \"label\": \"c\"}]}",
         "its label is none"},
        {"{\"labels\": [\"a\", \"b\"], \"examples\": [\"x\"]}", "'examples': item 1"},
        {"{\"normalize\": \"chars\"}", "'normalize'"},
        {"{\"kind\": \"extract\"}", "'schema'"},
        {"{\"schema\": {}}", "'schema'"},
        {"{\"kind\": \"extract\", \"schema\": {}, \"max_tokens\": 0}", "'max_tokens'"},
        {"{\"kind\": \"extract\", \"schema\": {}, \"calibrate\": \"batch\"}",
         "not for kind extract"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tern_err err = {0};
        decide_task t;
        json_t *o = json_loads(bad[i].json, 0, NULL);
        assert_non_null(o);
        assert_int_equal(decide_task_read(&t, o, true, NULL, &err), TERN_E_USAGE);
        if (!strstr(err.msg, bad[i].says))
            fail_msg("%s: %s", bad[i].json, err.msg);
        json_decref(o);
    }
}

/* Beginnings of beginnings, in any order, and the same text twice. */
static void test_parents_are_the_longest_beginnings(void **state)
{
    static const char *const text[] = {"abab", "b", "a", "abc", "ab", "aba", "bb", "bbb"};
    static const size_t parent[] = {4, SIZE_MAX, SIZE_MAX, 4, SIZE_MAX, 4, 1, 6};
    tern_err err;
    decide_label v[8] = {0};
    decide_asked a;
    (void)state;
    tern_model *m = open_model(NULL);
    decide_host h = {.m = m, .n_ctx = 128};
    for (size_t i = 0; i < 8; i++)
        v[i] = (decide_label){.name = text[i], .text = {text[i]}, .n_text = 1};
    decide_labels l = {v, 8, NULL};
    decide_task t = {.labels = l, .cue = ":"};
    assert_int_equal(decide_ask(&h, &t, &l, "x", NULL, &a, &err), TERN_OK);
    /* "ab" is one token, which does not begin with "a". */
    for (size_t i = 0; i < 8; i++)
        if (a.parent[i] != parent[i])
            fail_msg("'%s': parent %zu", text[i], a.parent[i]);
    decide_asked_done(&a);
    v[6].text[0] = "aba";
    assert_int_equal(decide_ask(&h, &t, &l, "x", NULL, &a, &err), TERN_E_USAGE);
    assert_non_null(strstr(err.msg, "the same tokens: their texts 6 and 7") ||
                            strstr(err.msg, "the same tokens: their texts 7 and 6")
                        ? err.msg
                        : NULL);
    tern_model_close(m);
}

static void test_a_calibration_fits_its_labels(void **state)
{
    tern_err err;
    decide_task t, other;
    decide_map m, back;
    (void)state;
    json_t *o = json_pack("{s:[s,s]}", "labels", "a", "b"),
           *turned = json_pack("{s:[s,s]}", "labels", "b", "a"),
           *more = json_pack("{s:[s,s,s]}", "labels", "a", "b", "c");
    assert_int_equal(decide_task_read(&t, o, true, NULL, &err), TERN_OK);
    double bias[] = {0.5, -0.25};
    m = (decide_map){2.0, bias, 2};
    json_t *file = decide_map_json(&t, &m);
    assert_int_equal(decide_task_read(&other, turned, true, NULL, &err), TERN_OK);
    assert_int_equal(decide_map_read(&other, file, "f", &back, &err), TERN_OK);
    assert_true(back.temperature == 2.0 && back.bias[0] == -0.25 && back.bias[1] == 0.5);
    decide_map_done(&back);
    other.norm = DECIDE_BYTES;
    assert_int_equal(decide_map_read(&other, file, "f", &back, &err), TERN_E_USAGE);
    decide_task_done(&other);
    assert_int_equal(decide_task_read(&other, more, true, NULL, &err), TERN_OK);
    assert_int_equal(decide_map_read(&other, file, "f", &back, &err), TERN_E_USAGE);
    assert_int_equal(decide_map_read(&other, more, "f", &back, &err), TERN_E_FORMAT);
    decide_task_done(&other);
    decide_task_done(&t);
    json_decref(file);
    json_decref(o);
    json_decref(turned);
    json_decref(more);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases_follow_from_transformers),
        cmocka_unit_test(test_fields_follow_from_transformers),
        cmocka_unit_test(test_a_base_changes_no_bit),
        cmocka_unit_test(test_fits_follow_from_scipy),
        cmocka_unit_test(test_parents_are_the_longest_beginnings),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_a_calibration_fits_its_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
