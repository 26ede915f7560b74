/* Questions from files, against what lm-evaluation-harness asks and counts (tests/golden/eval). */
#include "eval/task.h"
#include "support/support.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "tests/golden/eval/"

static json_t *read_json(const char *name)
{
    char path[128];
    (void)snprintf(path, sizeof path, FOLDER "%s.json", name);
    json_t *o = json_load_file(path, 0, NULL);
    assert_non_null(o);
    return o;
}

static tern_code read_text(const char *task, const char *text, eval_set *set, tern_err *err)
{
    return eval_set_read(set, eval_task_find(task), "file", text, strlen(text), 0, err);
}

static void read_set(const char *task, const char *path, eval_set *set)
{
    size_t n;
    tern_err err;
    char *text = (char *)test_read_file(path, &n);
    assert_non_null(text);
    if (eval_set_read(set, eval_task_find(task), path, text, n, 0, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    free(text);
}

static void check_string(const json_t *want, const char *before, const char *got)
{
    const char *s = json_string_value(want);
    assert_non_null(s);
    size_t n = strlen(before);
    assert_memory_equal(s, before, n);
    assert_string_equal(s + n, got);
}

/* One question of prompts.json: [[contexts], [continuations]]. */
static void check_item(const eval_set *set, const eval_item *item, unsigned list,
                       const char *before, const json_t *want)
{
    const json_t *contexts = json_array_get(want, 0), *texts = json_array_get(want, 1);
    size_t k = 0;
    if (item->context)
        check_string(json_array_get(contexts, 0), before, item->context);
    for (size_t i = 0; i < item->n_choice; i++) {
        const eval_choice *c = &item->choice[i];
        if (!(c->lists & list))
            continue;
        if (c->context)
            check_string(json_array_get(contexts, k), before, c->context);
        if (strcmp(set->task->name, "truthfulqa") !=
            0) /* in which order both lists share answers */
            check_string(json_array_get(texts, k), " ", c->text);
        k++;
    }
    assert_int_equal(k, json_array_size(texts));
}

static void check_task(const json_t *prompts, const char *task, const char *part, const char *path,
                       unsigned list)
{
    eval_set set;
    size_t i;
    json_t *want;
    read_set(task, path, &set);
    assert_non_null(json_object_get(prompts, part));
    json_array_foreach(json_object_get(prompts, part), i, want)
        check_item(&set, &set.item[i], list, "", want);
    eval_set_done(&set);
}

static const struct {
    const char *task, *ext;
} tasks[] = {{"hellaswag", "txt"}, {"winogrande", "jsonl"}, {"arc", "jsonl"}, {"piqa", "jsonl"},
             {"boolq", "jsonl"},   {"lambada", "jsonl"},    {"gsm8k", NULL}};
#define N_TASK (sizeof tasks / sizeof tasks[0])

static void test_prompts_are_the_harness_s(void **state)
{
    (void)state;
    json_t *prompts = read_json("prompts");
    for (size_t i = 0; i < N_TASK; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, FOLDER "rows/%s.jsonl", tasks[i].task);
        check_task(prompts, tasks[i].task, tasks[i].task, path, 1);
        if (!tasks[i].ext)
            continue;
        (void)snprintf(path, sizeof path, FOLDER "other/%s.%s", tasks[i].task, tasks[i].ext);
        check_task(prompts, tasks[i].task, tasks[i].task, path, 1);
    }
    static const char *const files[] = {FOLDER "rows/truthfulqa.jsonl",
                                        FOLDER "other/truthfulqa.csv"};
    for (size_t i = 0; i < 2; i++) {
        check_task(prompts, "truthfulqa", "truthfulqa_mc1", files[i], 1);
        check_task(prompts, "truthfulqa", "truthfulqa_mc2", files[i], 2);
    }
    json_decref(prompts);
}

/* The first two questions before those that follow. */
static void test_examples_are_the_harness_s(void **state)
{
    (void)state;
    json_t *prompts = read_json("prompts");
    for (size_t i = 0; i < N_TASK; i++) {
        char path[128], part[32];
        eval_set set;
        tern_str before;
        size_t k;
        json_t *want;
        (void)snprintf(path, sizeof path, FOLDER "rows/%s.jsonl", tasks[i].task);
        (void)snprintf(part, sizeof part, "%s-shots", tasks[i].task);
        read_set(tasks[i].task, path, &set);
        tern_str_init(&before, 1 << 16);
        eval_put_example(&set, &set.item[0], &before);
        eval_put_example(&set, &set.item[1], &before);
        assert_int_equal(json_array_size(json_object_get(prompts, part)), 3);
        json_array_foreach(json_object_get(prompts, part), k, want)
            check_item(&set, &set.item[2 + k], 1, tern_str_get(&before), want);
        tern_str_done(&before);
        eval_set_done(&set);
    }
    json_decref(prompts);
}

/* Answers of both lists, once each. */
static void test_truthful_answers(void **state)
{
    static const char *const files[] = {FOLDER "rows/truthfulqa.jsonl",
                                        FOLDER "other/truthfulqa.csv"};
    (void)state;
    for (size_t f = 0; f < 2; f++) {
        eval_set set;
        read_set("truthfulqa", files[f], &set);
        assert_int_equal(set.n, 6);
        for (size_t i = 0; i < set.n; i++) {
            const eval_item *item = &set.item[i];
            size_t n[3] = {0};
            assert_int_equal(item->n_choice, 6);
            for (size_t k = 0; k < 6; k++) {
                n[0] += item->choice[k].lists & 1;
                n[1] += item->choice[k].lists >> 1 & 1;
                n[2] += item->choice[k].right;
            }
            assert_int_equal(n[0], 4);
            assert_int_equal(n[1], 6);
            assert_int_equal(n[2], 3);
            assert_int_equal(item->gold, 0);
        }
        eval_set_done(&set);
    }
}

static void check_text(const json_t *want, tern_str *got)
{
    assert_string_equal(tern_str_get(got), json_string_value(want));
    tern_str_clear(got);
}

static void test_answers_are_found_as_by_the_harness(void **state)
{
    size_t i;
    json_t *want;
    tern_str got;
    tern_err err;
    (void)state;
    json_t *answers = read_json("answers");
    tern_str_init(&got, 1 << 12);
    assert_in_range(json_array_size(answers), 10, 100);
    json_array_foreach(answers, i, want)
    {
        const char *text = json_string_value(json_object_get(want, "text"));
        eval_item item = {.answer = json_string_value(json_object_get(want, "answer"))};
        eval_result r = {0};
        char copy[128];
        eval_extract_strict(text, &got);
        check_text(json_object_get(want, "strict"), &got);
        eval_extract_flexible(text, &got);
        check_text(json_object_get(want, "flexible"), &got);
        (void)snprintf(copy, sizeof copy, "%s", text);
        r.text = copy;
        assert_int_equal(eval_judge_text(&item, &r, &err), TERN_OK);
        assert_true(r.value[0] == json_real_value(json_object_get(want, "strict_match")));
        assert_true(r.value[1] == json_real_value(json_object_get(want, "flexible_match")));
    }
    tern_str_done(&got);
    json_decref(answers);
}

/* From the harness's log-likelihoods to its figures. */
static void check_figures(const json_t *results, const char *task)
{
    char path[128];
    eval_set set;
    size_t n = 0;
    const eval_task *t = eval_task_find(task);
    const json_t *items = json_object_get(json_object_get(results, task), "items");
    (void)snprintf(path, sizeof path, FOLDER "rows/%s.jsonl", task);
    read_set(task, path, &set);
    assert_int_equal(set.n, json_array_size(items));
    eval_result *r = calloc(set.n + 1, sizeof *r);
    assert_non_null(r);
    for (size_t i = 0; i < set.n; i++, n++) {
        const json_t *o = json_array_get(items, i);
        for (size_t k = 0; k < set.item[i].n_choice; k++) {
            r[i].log_prob[k] =
                json_number_value(json_array_get(json_object_get(o, "log_probs"), k));
            r[i].greedy[k] = json_is_true(json_array_get(json_object_get(o, "greedy"), k));
        }
        r[i].done = true;
        eval_judge(t, &set.item[i], &r[i]);
    }
    for (int k = 0; k < EVAL_MAX_METRIC && t->metric[k].name; k++) {
        const json_t *want = json_object_get(
            json_object_get(json_object_get(results, task), "figures"), t->metric[k].name);
        eval_figure f = eval_sum_up(t, k, r, n + 1); /* the last one is not done */
        assert_non_null(want);
        assert_int_equal(f.n, n);
        assert_true(fabs(f.value / json_real_value(want) - 1.0) < 1e-4 ||
                    f.value == json_real_value(want));
        assert_true(f.low <= f.value && f.value <= f.high);
    }
    free(r);
    eval_set_done(&set);
}

static void test_figures_follow(void **state)
{
    (void)state;
    json_t *results = read_json("results");
    for (size_t i = 0; i + 1 < N_TASK; i++)
        check_figures(results, tasks[i].task);
    json_decref(results);
}

static void test_intervals_are_scipy_s(void **state)
{
    size_t i;
    json_t *want;
    (void)state;
    json_t *all = read_json("intervals");
    const eval_task *t = eval_task_find("piqa");
    json_array_foreach(all, i, want)
    {
        size_t k = (size_t)json_integer_value(json_array_get(want, 0));
        size_t n = (size_t)json_integer_value(json_array_get(want, 1));
        eval_result *r = calloc(n, sizeof *r);
        assert_non_null(r);
        for (size_t j = 0; j < n; j++)
            r[j] = (eval_result){.done = true, .value = {j < k ? 1.0 : 0.0}};
        eval_figure f = eval_sum_up(t, 0, r, n);
        assert_true(fabs(f.low - json_real_value(json_array_get(want, 2))) < 1e-9);
        assert_true(fabs(f.high - json_real_value(json_array_get(want, 3))) < 1e-9);
        free(r);
    }
    json_decref(all);
}

static void test_blanks(void **state)
{
    (void)state;
    assert_int_equal(eval_blank_tail("", 0), 0);
    assert_int_equal(eval_blank_tail("a", 1), 0);
    assert_int_equal(eval_blank_tail("a \n\t", 4), 3);
    assert_int_equal(eval_blank_tail(" ", 1), 1);
    assert_int_equal(eval_blank_tail("\xC3\xA9 \xC2\xA0\xE3\x80\x80", 8), 6);
    assert_int_equal(eval_blank_tail("a\x80\x80\x80\x80\x80", 6), 0);
}

static void test_bad_files(void **state)
{
    static const struct {
        const char *task, *text, *message;
    } bad[] = {
        {"arc", "", "no items"},
        {"arc", "\n \n", "no items"},
        {"arc", "{\"query\": 1", "line 1: no JSON"},
        {"arc", "\n[1]\n", "line 2: an object was expected"},
        {"arc", "{\"query\": 1}", "line 1: key 'query': a number, expected a string"},
        {"arc", "{\"query\": \"x\"}", "key 'choices': nothing, expected an array"},
        {"arc", "{\"query\": \"x\", \"choices\": [\"a\"]}", "1 items, expected 2 to 64"},
        {"arc", "{\"query\": \"x\", \"choices\": [\"a\", 2]}", "item 2 is a number"},
        {"piqa", "{\"query\": \"x\", \"choices\": [\"a\", \"b\"], \"gold\": 2}", "expected 0 to 1"},
        {"piqa", "{\"query\": \"x\", \"choices\": [\"a\", \"b\"], \"gold\": -1}",
         "expected 0 to 1"},
        {"piqa", "{\"query\": \"x\", \"choices\": [\"a\", \"b\"], \"gold\": []}",
         "an array, expected a number"},
        {"arc",
         "{\"question\": \"x\", \"answerKey\": \"E\", \"choices\": {\"text\": [\"a\", \"b\"], "
         "\"label\": [\"A\", \"B\"]}}",
         "'answerKey': none of the labels"},
        {"winogrande",
         "{\"sentence\": \"x\", \"option1\": \"a\", \"option2\": \"b\", \"answer\": \"1\"}",
         "'sentence': no _"},
        {"winogrande",
         "{\"sentence\": \"_\", \"option1\": \"a\", \"option2\": \"b\", \"answer\": \"0\"}",
         "0 is none of the choices, expected 1 to 2"},
        {"lambada", "{\"text\": \"x\"}", "a single word"},
        {"gsm8k", "{\"question\": \"x\"}", "key 'answer'"},
        {"hellaswag", "a\n4\nb\nc\nd\ne\n", "line 2: expected the number"},
        {"hellaswag", "a\n0\nb\nc\nd\ne\nf\n", "line 7: the item ends early"},
        {"truthfulqa", "Question,Best Answer\nx,y\n", "no column 'Correct Answers'"},
        {"truthfulqa", "Question,Best Answer,Correct Answers,Incorrect Answers\nx,y\n",
         "line 2: another number"},
        {"truthfulqa", "Question,Best Answer,Correct Answers,Incorrect Answers\n\"x,y\n",
         "a quote is not closed"},
        {"truthfulqa", "Question,Best Answer,Correct Answers,Incorrect Answers\nx,,,\n",
         "line 2: no answers"},
        {"truthfulqa", "{\"question\": \"x\", \"mc1_targets\": 1}",
         "'mc1_targets': expected an object"},
        {"truthfulqa",
         "{\"question\": \"x\", \"mc1_targets\": {\"choices\": [\"a\", \"b\"], \"labels\": [0, "
         "1]}}",
         "labels: item 1"},
        {"boolq", "\xFF", "not UTF-8"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        eval_set set;
        tern_err err;
        assert_int_equal(read_text(bad[i].task, bad[i].text, &set, &err), TERN_E_FORMAT);
        if (!strstr(err.msg, bad[i].message))
            fail_msg("'%s' lacks '%s'", err.msg, bad[i].message);
    }
    assert_null(eval_task_find("ar"));
    assert_null(eval_task_find(""));
    assert_ptr_equal(eval_task_find("arc_challenge"), eval_task_find("arc"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prompts_are_the_harness_s),
        cmocka_unit_test(test_examples_are_the_harness_s),
        cmocka_unit_test(test_truthful_answers),
        cmocka_unit_test(test_answers_are_found_as_by_the_harness),
        cmocka_unit_test(test_figures_follow),
        cmocka_unit_test(test_intervals_are_scipy_s),
        cmocka_unit_test(test_blanks),
        cmocka_unit_test(test_bad_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
