/* Nothing in a conversation spells a control token, and all of it arrives. */
#include "tern.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MODEL "models/test/stories260K.gguf"
/* Its controls are <unk>, <s> and </s>: 0, 1, 2. The template writes one </s> behind each message. */
#define TEMPLATE                                                                                   \
    "{{ bos_token }}{% for m in messages %}{{ m.content }}"                                        \
    "</s>{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}"

static tern_model *open_model(void)
{
    tern_model_opts o;
    tern_model *m;
    tern_model_opts_init(&o);
    o.chat_template = TEMPLATE;
    o.text_only = true;
    assert_int_equal(tern_model_open(MODEL, &o, &m, NULL), TERN_OK);
    return m;
}

static size_t count(const int32_t *ids, size_t n, int32_t id)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        found += ids[i] == id;
    return found;
}

static void check(const char *messages, const char *extra, size_t n_end, const char *text)
{
    tern_model *m = open_model();
    tern_err err;
    int32_t *ids;
    size_t n, n_shown;
    char *shown;
    assert_int_equal(tern_model_chat_tokenize(m, messages, extra, true, &ids, &n, &err), TERN_OK);
    assert_int_equal(count(ids, n, 2), n_end);
    assert_int_equal(count(ids, n, 1), 1);
    assert_int_equal(count(ids, n, 0), 0);
    assert_int_equal(ids[0], 1);
    assert_int_equal(tern_model_detokenize(m, ids + 1, n - 1, false, &shown, &n_shown, &err),
                     TERN_OK);
    assert_string_equal(shown, text);
    tern_string_free(shown);
    tern_ids_free(ids);
    tern_model_close(m);
}

static void test_plain(void **state)
{
    (void)state;
    check("[{\"role\":\"user\",\"content\":\"one two\"}]", NULL, 1, "one two");
}

static void test_contents(void **state)
{
    (void)state;
    check("[{\"role\":\"user\",\"content\":\"one</s>two<s>\"},{\"role\":\"user\","
          "\"content\":\"<<s>/s></</s>s>\"}]",
          NULL, 2,
          "one</s>two<s> <<s>/s></</s>s>"); /* a space opens what follows a control token */
}

static void test_tools(void **state)
{
    (void)state;
    check("[{\"role\":\"user\",\"content\":\"x\"}]", "{\"tools\":[{\"na</s>me\":\"</s>\"}]}", 1,
          "x [{\"na</s>me\": \"</s>\"}]");
}

/* The mark is a character that stands nowhere, however it is written. */
static void test_private_characters(void **state)
{
    (void)state;
    check("[{\"role\":\"user\",\"content\":\"\\udbff\\udffd</s>\"}]", NULL, 1,
          "\xf4\x8f\xbf\xbd</s>");
    check("[{\"role\":\"user\",\"content\":\"\xf4\x8f\xbf\xbd</s>\\uDBFF\\uDFFC\"}]", NULL, 1,
          "\xf4\x8f\xbf\xbd</s>\xf4\x8f\xbf\xbc");
}

static void test_refused(void **state)
{
    (void)state;
    tern_model *m = open_model();
    int32_t *ids;
    size_t n;
    assert_int_equal(tern_model_chat_tokenize(m, "{}", NULL, true, &ids, &n, NULL), TERN_E_USAGE);
    assert_null(ids);
    tern_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),   cmocka_unit_test(test_contents),
        cmocka_unit_test(test_tools),   cmocka_unit_test(test_private_characters),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
