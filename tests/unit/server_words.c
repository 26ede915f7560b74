/* Calls of tools in the words of each template: what is learned of a template, and what becomes of an answer
 * in those words, however it is cut into pieces. The templates are those of tests/golden/templates, whose
 * renderings are checked against other software there. */
#include "base/alloc.h"
#include "base/str.h"
#include "server/split.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MODEL "models/test/stories260K.gguf"

static tern_model *open_model(const char *name)
{
    char path[256];
    static char source[1 << 17];
    tern_model_opts o;
    tern_model *m;
    snprintf(path, sizeof path, "tests/golden/templates/models/%s.jinja", name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(source, 1, sizeof source - 1, f);
    fclose(f);
    source[n] = '\0';
    tern_model_opts_init(&o);
    o.chat_template = source;
    o.text_only = true;
    assert_int_equal(tern_model_open(MODEL, &o, &m, NULL), TERN_OK);
    return m;
}

/* ---- what comes out -------------------------------------------------------------------------- */

static tern_str told;

static void emit(void *ctx, generate_event_kind kind, const char *text, size_t n)
{
    static const char *const names[] = {[GENERATE_TEXT] = "text",
                                        [GENERATE_REASONING] = "think",
                                        [GENERATE_CALL] = "call",
                                        [GENERATE_ARGUMENTS] = "arguments"};
    static generate_event_kind last;
    (void)ctx;
    if (told.len == 0 || kind != last || kind == GENERATE_CALL)
        tern_str_printf(&told, "[%s]", names[kind]);
    last = kind;
    tern_str_put(&told, text, n);
}

/* The answer in pieces of the given size must mean what is expected. */
static void split_in(const generate_words *w, const char *answer, size_t piece, bool thinking,
                     bool only_calls, const char *expected)
{
    splitter s;
    size_t n = strlen(answer);
    tern_str_init(&told, 1 << 20);
    split_init(&s, w, true, thinking, true, only_calls);
    s.emit = emit;
    for (size_t i = 0; i < n; i += piece)
        split_feed(&s, answer + i, n - i < piece ? n - i : piece);
    split_end(&s);
    assert_false(s.failed);
    split_done(&s);
    assert_string_equal(tern_str_get(&told), expected);
    tern_str_done(&told);
}

static void split_all(const generate_words *w, const char *answer, bool thinking, bool only_calls,
                      const char *expected)
{
    for (size_t piece = 1; piece < 8; piece++)
        split_in(w, answer, piece, thinking, only_calls, expected);
    split_in(w, answer, strlen(answer) + 1, thinking, only_calls, expected);
}

/* ---- frames ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    bool native;
    const char *calls; /* two calls, or one where there is but one, in the template's words */
} cases[] = {
    {"qwen2.5", true,
     "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"}\\\"<\"}}\n</tool_call>\n"
     "<tool_call>\n{\"name\": \"g-2\", \"arguments\": {}}\n</tool_call>"},
    {"qwen3", true,
     "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"}\\\"<\"}}\n</tool_call>\n"
     "<tool_call>\n{\"name\": \"g-2\", \"arguments\": {}}\n</tool_call>"},
    {"llama-3.1", true, "{\"name\": \"f\", \"parameters\": {\"a\": \"}\\\"<\"}}"},
    {"llama-3.2", true, "{\"name\": \"f\", \"parameters\": {\"a\": \"}\\\"<\"}}"},
    {"mistral-nemo", true,
     "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": \"}\\\"<\"}, \"id\": \"abcDEF123\"}, "
     "{\"name\": \"g-2\", \"arguments\": {}, \"id\": \"000000000\"}]"},
    {"mistral-small-3.2", true,
     "[TOOL_CALLS]f[CALL_ID]abcDEF123[ARGS]{\"a\": \"}\\\"<\"}"
     "[TOOL_CALLS]g-2[CALL_ID]abcDEF124[ARGS]{}"},
    {"functionary-3.1", true,
     "<function=f>{\"a\": \"}\\\"<\"}</function><function=g-2>{}</function>"},
    {"jamba", true,
     "<tool_calls>[\n    {\"name\": \"f\", \"arguments\": {\"a\": \"}\\\"<\"}},\n"
     "    {\"name\": \"g-2\", \"arguments\": {}}\n]</tool_calls>"},
    /* These know no tools, or write them as no JSON: our own words. */
    {"chatml", false,
     "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"}\\\"<\"}}\n</tool_call>\n"
     "<tool_call>\n{\"name\": \"g-2\", \"arguments\": {}}\n</tool_call>"},
    {"qwen3-coder", false,
     "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"}\\\"<\"}}\n</tool_call>"},
};

static void test_frames(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tern_model *m = open_model(cases[i].name);
        generate_words w = {.m = m};
        bool two = strstr(cases[i].calls, "g-2") != NULL;
        const char *expected = two ? "[call]f[arguments]{\"a\": \"}\\\"<\"}[call]g-2[arguments]{}"
                                   : "[call]f[arguments]{\"a\": \"}\\\"<\"}";
        char after[256];
        assert_int_equal(words_learn(&w, NULL), TERN_OK);
        if (w.native != cases[i].native)
            print_error("%s: native is %d\n", cases[i].name, w.native);
        assert_int_equal(w.native, cases[i].native);
        split_all(&w, cases[i].calls, false, true, expected);
        /* Behind text that is free, and behind reasoning. */
        char answer[1024];
        snprintf(answer, sizeof answer, "So < [ { it is. %s", cases[i].calls);
        snprintf(after, sizeof after, "[text]So < [ { it is. %s", expected);
        split_all(&w, answer, false, false, after);
        snprintf(answer, sizeof answer, "%s\nHm.%s\n\n%s", w.think, w.think_end, cases[i].calls);
        snprintf(after, sizeof after, "[think]Hm.%s", expected);
        split_all(&w, answer, false, false, after);
        words_forget(&w);
        tern_model_close(m);
    }
}

/* Every template there is gives a frame that its own trigger opens. */
static void test_every_template(void **state)
{
    FILE *list = popen("ls tests/golden/templates/models", "r");
    char name[128];
    int n = 0, n_native = 0;
    (void)state;
    assert_non_null(list);
    while (fgets(name, sizeof name, list)) {
        *strstr(name, ".jinja") = '\0';
        tern_model *m = open_model(name);
        generate_words w = {.m = m};
        assert_int_equal(words_learn(&w, NULL), TERN_OK);
        const tool_frame *t = &w.frame;
        tern_str answer;
        tern_str_init(&answer, 1 << 16);
        tern_str_printf(&answer, "%s%sf%s{\"x\":1}%s%s", t->head, t->open, t->mid, t->close,
                        t->tail);
        for (char *id = answer.data; (id = strchr(id, FRAME_ID)) != NULL; id++)
            *id = 'i';
        assert_memory_equal(answer.data, t->trigger, strlen(t->trigger));
        split_all(&w, answer.data, false, false, "[call]f[arguments]{\"x\":1}");
        split_all(&w, answer.data, false, true, "[call]f[arguments]{\"x\":1}");
        tern_str_done(&answer);
        n++;
        n_native += w.native;
        words_forget(&w);
        tern_model_close(m);
    }
    pclose(list);
    assert_true(n > 60);
    assert_true(n_native >= 20);
}

/* ---- reasoning ------------------------------------------------------------------------------- */

static void test_reasoning(void **state)
{
    (void)state;
    tern_model *m = open_model("qwen3");
    generate_words w = {.m = m};
    assert_int_equal(words_learn(&w, NULL), TERN_OK);
    split_all(&w, "<think>\nTwo <b> and\n</think>\n\n4", false, false,
              "[think]Two <b> and\n[text]4");
    split_all(&w, "\nTwo.</think>4</think>", true, false, "[think]Two.[text]4</think>");
    split_all(&w, "No <think>marks</think>", false, false, "[text]No <think>marks</think>");
    split_all(&w, "<think>cut", false, false, "[think]cut");
    split_all(&w, "<thin", false, false, "[text]<thin");
    split_all(&w, "<think>a</thi", false, false, "[think]a</thi");
    split_all(&w, "", false, false, "");
    words_forget(&w);
    tern_model_close(m);
}

/* What looks like a call and is none is text; what is cut is what there was. */
static void test_no_calls(void **state)
{
    (void)state;
    tern_model *m = open_model("qwen2.5");
    generate_words w = {.m = m};
    assert_int_equal(words_learn(&w, NULL), TERN_OK);
    split_all(&w, "<tool_call>{\"nome\": 1}", false, false, "[text]<tool_call>{\"nome\": 1}");
    split_all(&w, "<tool_call>\n{\"name\": \"f", false, false, "[text]<tool_call>\n{\"name\": \"f");
    split_all(&w, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a", false, false,
              "[call]f[arguments]{\"a");
    split_all(&w, "<tool_call><tool_call>", false, false, "[text]<tool_call><tool_call>");
    words_forget(&w);
    tern_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_every_template),
        cmocka_unit_test(test_reasoning),
        cmocka_unit_test(test_no_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
