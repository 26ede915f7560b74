/* The built-in model against what its training tokenizer, template and numpy reference gave. */
#include "support/support.h"
#include "tern.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "tests/golden/stories/"

static tern_model *model;
static json_t *expected;

static int set_up(void **state)
{
    (void)state;
    tern_err err = {0};
    tern_model_opts o;
    tern_model_opts_init(&o);
    o.n_thread = 2;
    o.strict = true;
    expected = json_load_file(FOLDER "expected.json", 0, NULL);
    if (tern_model_open("models/tern-stories.gguf", &o, &model, &err) != TERN_OK)
        print_error("%s\n", err.msg);
    return expected && model ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    tern_model_close(model);
    json_decref(expected);
    return 0;
}

static size_t json_ids(const json_t *list, int32_t *out)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        out[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return json_array_size(list);
}

static void check_ids(const json_t *want, const char *text, unsigned flags)
{
    int32_t ids[512], got[512];
    size_t n = json_ids(want, ids), n_got;
    tern_err err = {0};
    if (tern_model_tokenize(model, text, strlen(text), flags, got, 512, &n_got, &err) != TERN_OK)
        fail_msg("'%s': %s", text, err.msg);
    assert_int_equal(n_got, n);
    assert_memory_equal(got, ids, n * sizeof *ids);
}

static void test_text_becomes_the_ids_of_training(void **state)
{
    (void)state;
    size_t i;
    json_t *t;
    json_array_foreach(json_object_get(expected, "tokens"), i, t)
        check_ids(json_object_get(t, "ids"), json_string_value(json_object_get(t, "text")), 0);
    assert_true(i > 10);
}

static void test_conversations_become_the_prompts_of_training(void **state)
{
    (void)state;
    size_t i, n;
    json_t *c;
    json_array_foreach(json_object_get(expected, "chats"), i, c)
    {
        char *messages = json_dumps(json_object_get(c, "messages"), 0), *text;
        tern_err err = {0};
        if (tern_model_chat_prompt(model, messages, NULL, true, &text, &n, &err) != TERN_OK)
            fail_msg("%s", err.msg);
        assert_string_equal(text, json_string_value(json_object_get(c, "prompt")));
        check_ids(json_object_get(c, "ids"), text,
                  TERN_TOKENIZE_ADD_SPECIAL | TERN_TOKENIZE_PARSE_SPECIAL);
        tern_string_free(text);
        free(messages);
    }
    assert_true(i > 1);
}

static tern_session *f32_session(void)
{
    tern_session *s;
    tern_session_opts o;
    tern_session_opts_init(&o);
    o.cache_k = o.cache_v = TERN_CACHE_F32;
    assert_int_equal(tern_session_new(model, &o, &s, NULL), TERN_OK);
    return s;
}

/* The last row after the prompt: a NumPy file of one row, its header a multiple of 64 bytes. */
static void check_logits(tern_session *s, const int32_t *prompt, size_t n, const json_t *c)
{
    const char *name = json_string_value(json_object_get(c, "logits"));
    double tolerance = json_number_value(json_object_get(c, "logits_tolerance"));
    tern_model_info info = {.size = sizeof info};
    char path[128];
    size_t bytes;
    if (!name)
        return;
    tern_model_info_get(model, &info);
    (void)snprintf(path, sizeof path, FOLDER "%s", name);
    uint8_t *file = test_read_file(path, &bytes);
    assert_non_null(file);
    size_t row = (size_t)info.n_vocab * sizeof(float);
    assert_true(bytes > row && (bytes - row) % 64 == 0);
    tern_session_rewind(s, 0);
    assert_int_equal(tern_session_eval(s, prompt, n, NULL), TERN_OK);
    const float *got = tern_session_logits(s);
    for (int i = 0; i < info.n_vocab; i++) {
        float want;
        memcpy(&want, file + bytes - row + (size_t)i * sizeof want, sizeof want);
        if (fabs((double)want - (double)got[i]) > tolerance)
            fail_msg("%s: id %d: %g, expected %g", name, i, (double)got[i], (double)want);
    }
    free(file);
}

/* Greedy ids as far as the fixture calls them certain. */
static void test_stories_equal_the_reference(void **state)
{
    (void)state;
    size_t i;
    json_t *c;
    tern_session *s = f32_session();
    json_array_foreach(json_object_get(expected, "cases"), i, c)
    {
        int32_t prompt[512], ids[512];
        size_t n = json_ids(json_object_get(c, "prompt_ids"), prompt);
        size_t certain = (size_t)json_integer_value(json_object_get(c, "certain"));
        tern_gen_opts o;
        tern_request *r;
        tern_event ev;
        (void)json_ids(json_object_get(c, "ids"), ids);
        tern_gen_opts_init(&o);
        o.temp = 0.0f;
        assert_int_equal(tern_request_new(s, prompt, n, &o, &r, NULL), TERN_OK);
        for (size_t k = 0; k < certain; k++) {
            assert_int_equal(tern_request_next(r, &ev, NULL), TERN_OK);
            assert_int_equal(ev.id, ids[k]);
        }
        tern_request_free(r);
        check_logits(s, prompt, n, c);
    }
    assert_true(i > 3);
    tern_session_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_becomes_the_ids_of_training),
        cmocka_unit_test(test_conversations_become_the_prompts_of_training),
        cmocka_unit_test(test_stories_equal_the_reference),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
