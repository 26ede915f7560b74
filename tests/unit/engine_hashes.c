/* Golden answers: 20 prompts with 256 tokens each of every model file in the tree, half of them greedy, half
 * sampled. tests/golden/hashes has a hash of the ids and one of the logits they were chosen from, and where the
 * answers begin as numpy computes them (models/reference.py). They change only with a line in CHANGELOG.md.
 *   test_engine_hashes --print   what make.py reads: the answers themselves */
#include "support/bits.h"
#include "support/model.h"
#include "support/support.h"

#include <glob.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER   "tests/golden/hashes/"
#define N_PROMPT 20
#define MAX_TOK  256 /* of a prompt */
#define HELP                                                                                       \
    "what models answer may change only with a line in CHANGELOG.md: "                             \
    "tests/golden/hashes/make.py BUILD 'what changed and why'"

static json_t *prompts, *golden;
static glob_t files;

static int set_up(void **state)
{
    (void)state;
    prompts = json_load_file(FOLDER "prompts.json", 0, NULL);
    golden = json_load_file(FOLDER "hashes.json", 0, NULL);
    return json_array_size(prompts) != N_PROMPT || glob("models/*.gguf", 0, NULL, &files) != 0 ||
           glob("models/test/*.gguf", GLOB_APPEND, NULL, &files) != 0;
}

static int tear_down(void **state)
{
    (void)state;
    json_decref(prompts);
    json_decref(golden);
    globfree(&files);
    return 0;
}

/* ---- the answers -------------------------------------------------------------------------- */

typedef struct answers {
    int32_t prompt[N_PROMPT][MAX_TOK];
    test_bits bits[N_PROMPT];
} answers;

static float number(const json_t *o, const char *name, float otherwise)
{
    const json_t *v = json_object_get(o, name);
    return v ? (float)json_number_value(v) : otherwise;
}

/* Without a seed it is greedy. */
static void take_options(const json_t *p, tern_gen_opts *o)
{
    const json_t *seed = json_object_get(p, "seed");
    if (!seed)
        return;
    o->seed = (uint64_t)json_integer_value(seed);
    o->temp = number(p, "temp", 0.8f);
    o->top_k = (int32_t)number(p, "top_k", (float)o->top_k);
    o->top_p = number(p, "top_p", o->top_p);
    o->min_p = number(p, "min_p", o->min_p);
    o->typical_p = number(p, "typical_p", o->typical_p);
    o->repeat_penalty = number(p, "repeat_penalty", o->repeat_penalty);
    o->frequency_penalty = number(p, "frequency_penalty", o->frequency_penalty);
    o->presence_penalty = number(p, "presence_penalty", o->presence_penalty);
}

static void answer_all(tern_model *m, answers *a)
{
    tern_err err = {0};
    for (size_t i = 0; i < N_PROMPT; i++) {
        const json_t *p = json_array_get(prompts, i);
        const char *text = json_string_value(json_object_get(p, "text"));
        size_t n;
        if (tern_model_tokenize(m, text, strlen(text),
                                TERN_TOKENIZE_ADD_SPECIAL | TERN_TOKENIZE_PARSE_SPECIAL,
                                a->prompt[i], MAX_TOK, &n, &err) != TERN_OK)
            fail_msg("'%s': %s", text, err.msg);
        if (n == 0) /* no text, of a model that puts no token before it */
            a->prompt[i][n++] = 0;
        test_bits_init(&a->bits[i], a->prompt[i], n, TEST_BITS_TOKENS);
        take_options(p, &a->bits[i].gen);
    }
    if (test_bits_generate(m, a->bits, N_PROMPT, &err) != TERN_OK)
        fail_msg("%s", err.msg);
}

static uint64_t id_hash(const test_bits *b)
{
    return test_fnv(TEST_FNV, b->ids, sizeof b->ids);
}

/* ---- the tests ---------------------------------------------------------------------------- */

static void check_hash(const char *file, size_t i, const char *what, const json_t *want,
                       uint64_t hash)
{
    char text[17];
    (void)snprintf(text, sizeof text, "%016" PRIx64, hash);
    if (!json_is_string(want) || strcmp(text, json_string_value(want)) != 0)
        fail_msg("%s, prompt %zu: other %s; %s", file, i, what, HELP);
}

static void check_model(const char *file, const json_t *want)
{
    static answers a;
    tern_model *m = test_model_file(file, 2, TERN_HEAD_AUTO);
    tern_err err = {0};
    assert_int_equal(json_array_size(want), N_PROMPT);
    answer_all(m, &a);
    for (size_t i = 0; i < N_PROMPT; i++) {
        const json_t *w = json_array_get(want, i), *id;
        size_t k;
        json_array_foreach(json_object_get(w, "reference"), k,
                           id) if (json_integer_value(id) != a.bits[i].ids[k])
            fail_msg("%s, prompt %zu: id %zu is %d, numpy has %" JSON_INTEGER_FORMAT, file, i, k,
                     a.bits[i].ids[k], json_integer_value(id));
        check_hash(file, i, "ids", json_object_get(w, "ids"), id_hash(&a.bits[i]));
        check_hash(file, i, "logits", json_object_get(w, "logits"), a.bits[i].logits);
    }
    for (size_t i = 0; i < N_PROMPT; i += 7) {
        uint64_t whole;
        if (test_bits_read(m, &a.bits[i], &whole, &err) != TERN_OK)
            fail_msg("%s", err.msg);
        if (whole != a.bits[i].logits)
            fail_msg("%s, prompt %zu: other logits when the answer is read", file, i);
    }
    tern_model_close(m);
}

static void test_answers_are_the_golden_ones(void **state)
{
    (void)state;
    const json_t *list = json_object_get(golden, "models");
    assert_int_equal(json_array_size(list), files.gl_pathc);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        const json_t *want = json_array_get(list, i);
        assert_string_equal(json_string_value(json_object_get(want, "file")), files.gl_pathv[i]);
        check_model(files.gl_pathv[i], json_object_get(want, "answers"));
    }
}

/* Numpy's beginnings are there, and long enough to say something. */
static void test_references_are_there(void **state)
{
    (void)state;
    size_t i, k, n = 0, n_tok = 0;
    const json_t *model, *answer;
    json_array_foreach(json_object_get(golden, "models"), i, model)
        json_array_foreach(json_object_get(model, "answers"), k, answer)
    {
        size_t more = json_array_size(json_object_get(answer, "reference"));
        n += more > 0;
        n_tok += more;
    }
    assert_true(n >= 8 * i && n_tok >= 80 * i);
}

/* The line in CHANGELOG.md names the hashes it stands for by a hash of them all. */
static void test_the_changelog_tells_of_these_hashes(void **state)
{
    (void)state;
    uint64_t all = TEST_FNV;
    size_t i, k, n;
    const json_t *model, *answer;
    char digest[17];
    json_array_foreach(json_object_get(golden, "models"), i, model)
        json_array_foreach(json_object_get(model, "answers"), k, answer)
    {
        all = test_fnv(all, json_string_value(json_object_get(answer, "ids")), 16);
        all = test_fnv(all, json_string_value(json_object_get(answer, "logits")), 16);
    }
    (void)snprintf(digest, sizeof digest, "%016" PRIx64, all);
    char *log = (char *)test_read_file("CHANGELOG.md", &n);
    assert_non_null(log);
    if (!strstr(log, digest))
        fail_msg("CHANGELOG.md does not tell of answers %s; %s", digest, HELP);
    free(log);
}

/* ---- for make.py -------------------------------------------------------------------------- */

static json_t *ids_of(const int32_t *ids, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_integer(ids[i]));
    return list;
}

static void print_answers(void **state)
{
    (void)state;
    static answers a;
    for (size_t f = 0; f < files.gl_pathc; f++) {
        tern_model *m = test_model_file(files.gl_pathv[f], 2, TERN_HEAD_AUTO);
        answer_all(m, &a);
        for (size_t i = 0; i < N_PROMPT; i++) {
            const test_bits *b = &a.bits[i];
            char ids[17], logits[17];
            (void)snprintf(ids, sizeof ids, "%016" PRIx64, id_hash(b));
            (void)snprintf(logits, sizeof logits, "%016" PRIx64, b->logits);
            json_t *line =
                json_pack("{s:s, s:i, s:o, s:o, s:s, s:s}", "file", files.gl_pathv[f], "prompt",
                          (int)i, "prompt_ids", ids_of(b->prompt, b->n_prompt), "answer",
                          ids_of(b->ids, TEST_BITS_TOKENS), "ids", ids, "logits", logits);
            json_dumpf(line, stdout, JSON_COMPACT);
            (void)putchar('\n');
            json_decref(line);
        }
        tern_model_close(m);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_are_the_golden_ones),
        cmocka_unit_test(test_references_are_there),
        cmocka_unit_test(test_the_changelog_tells_of_these_hashes),
    };
    const struct CMUnitTest print[] = {cmocka_unit_test(print_answers)};
    if (argc > 1 && strcmp(argv[1], "--print") == 0)
        return cmocka_run_group_tests(print, set_up, tear_down);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
