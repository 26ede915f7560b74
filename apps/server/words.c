#include "server/words.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/str.h"
#include "server/generation.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Made-up words that no template contains. */
#define PROBE_TOOL  "zq_probe"
#define PROBE_KEY   "zq_key"
#define PROBE_VALUE "zq_value"
#define PROBE_ID    "zq1234567" /* nine letters and digits, as some templates demand */
#define PROBE_TEXT  "zq_answer"

/* ---- small things on text ------------------------------------------------------------------ */

static size_t common_prefix(const char *a, size_t n_a, const char *b, size_t n_b)
{
    size_t n = 0;
    while (n < n_a && n < n_b && a[n] == b[n])
        n++;
    return n;
}

static size_t common_suffix(const char *a, size_t n_a, const char *b, size_t n_b)
{
    size_t n = 0;
    while (n < n_a && n < n_b && a[n_a - 1 - n] == b[n_b - 1 - n])
        n++;
    return n;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static const char *last_of(const char *text, const char *word)
{
    const char *found = NULL;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
        found = at;
    return found;
}

tern_code words_has_control(const tern_model *m, const char *text, bool *out, tern_err *err)
{
    size_t n = strlen(text), n_id = 0, n_all, n_plain;
    char *all = NULL, *plain = NULL;
    *out = false;
    if (n == 0)
        return TERN_OK;
    /* A token has at least a byte; a few more for what vocabularies add. */
    int32_t *ids = tern_calloc(n + 16, sizeof *ids);
    if (!ids)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for a template's words");
    tern_code rc;
    TERN_TRY_GOTO(
        tern_model_tokenize(m, text, n, TERN_TOKENIZE_PARSE_SPECIAL, ids, n + 16, &n_id, err));
    TERN_TRY_GOTO(tern_model_detokenize(m, ids, n_id, true, &all, &n_all, err));
    TERN_TRY_GOTO(tern_model_detokenize(m, ids, n_id, false, &plain, &n_plain, err));
    *out = n_all != n_plain;
fail:
    tern_string_free(all);
    tern_string_free(plain);
    tern_free(ids);
    return rc;
}

/* ---- probing ---------------------------------------------------------------------------------- */

static json_t *probe_call(const char *name, bool text_arguments)
{
    json_t *arguments = text_arguments ? json_string("{\"" PROBE_KEY "\": \"" PROBE_VALUE "\"}")
                                       : json_pack("{s:s}", PROBE_KEY, PROBE_VALUE);
    return json_pack("{s:s,s:s,s:{s:s,s:o}}", "id", PROBE_ID, "type", "function", "function",
                     "name", name, "arguments", arguments);
}

static json_t *probe_tools(void)
{
    return json_pack("[{s:s,s:{s:s,s:s,s:{s:s,s:{s:{s:s,s:s}},s:[s]}}}]", "type", "function",
                     "function", "name", "zq_listed", "description", "zq_about", "parameters",
                     "type", "object", "properties", "x", "type", "string", "description", "zq_x",
                     "required", "x");
}

/* A question and an answer that makes n_call calls, or says PROBE_TEXT. What the template refuses is an empty
 * text. */
static tern_code probe(const generate_words *w, int n_call, bool text_arguments, bool tools,
                       tern_str *out, tern_err *err)
{
    char *text = NULL, *messages = NULL, *extra = NULL;
    size_t n;
    tern_code rc = TERN_OK;
    json_t *list = json_pack("[{s:s,s:s},{s:s,s:s}]", "role", "user", "content", "zq_question",
                             "role", "assistant", "content", n_call ? "" : PROBE_TEXT);
    json_t *vars = tools ? json_pack("{s:o}", "tools", probe_tools()) : json_object();
    json_t *calls = json_array();
    for (int i = 0; i < n_call; i++)
        json_array_append_new(calls, probe_call(PROBE_TOOL, text_arguments));
    if (n_call)
        json_object_set(json_array_get(list, 1), "tool_calls", calls);
    json_decref(calls);
    messages = json_dumps(list, 0);
    extra = json_dumps(vars, 0);
    tern_str_init(out, (size_t)1 << 20);
    if (!list || !vars || !messages || !extra) {
        rc = tern_fail(err, TERN_E_NOMEM, "out of memory for a template's words");
    } else if (tern_model_chat_prompt(w->m, messages, extra, false, &text, &n, NULL) == TERN_OK) {
        tern_str_puts(out, text);
        tern_string_free(text);
    }
    json_decref(list);
    json_decref(vars);
    free(messages);
    free(extra);
    if (rc == TERN_OK && out->failed)
        tern_str_clear(out);
    return rc;
}

/* ---- the frame ------------------------------------------------------------------------------ */

/* Where name and arguments of one call stand in a rendering. */
typedef struct call_place {
    const char *name, *name_end, *args, *args_end;
} call_place;

static bool find_call(const char *text, call_place *p)
{
    p->name = strstr(text, PROBE_TOOL);
    if (!p->name)
        return false;
    p->name_end = p->name + strlen(PROBE_TOOL);
    const char *key = strstr(p->name_end, "\"" PROBE_KEY "\"");
    const char *value = key ? strstr(key, "\"" PROBE_VALUE "\"") : NULL;
    if (!value)
        return false;
    p->args = key;
    while (p->args > p->name_end && is_blank(p->args[-1]))
        p->args--;
    p->args--;
    p->args_end = value + strlen("\"" PROBE_VALUE "\"");
    while (is_blank(*p->args_end))
        p->args_end++;
    p->args_end++;
    return p->args >= p->name_end && *p->args == '{' && p->args_end[-1] == '}';
}

/* Text with the probe's id as FRAME_ID. NULL: no memory. */
static char *cut(const char *text, size_t n)
{
    char *s = tern_strdup_n(text, n), *id;
    while (s && (id = strstr(s, PROBE_ID)) != NULL) {
        *id = FRAME_ID;
        memmove(id + 1, id + strlen(PROBE_ID), strlen(id + strlen(PROBE_ID)) + 1);
    }
    return s;
}

static void frame_done(tool_frame *f)
{
    char *const all[] = {f->head, f->open, f->mid, f->close, f->sep, f->tail, f->trigger};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        tern_free(all[i]);
    *f = (tool_frame){0};
}

/* What a call is known by: the first word of it, or of JSON all up to its first key. */
static char *make_trigger(const char *head, const char *open)
{
    tern_str s;
    size_t n;
    tern_str_init(&s, 4096);
    tern_str_puts(&s, head);
    tern_str_puts(&s, open);
    const char *text = tern_str_get(&s);
    n = strcspn(text, " \n\t\r{[\"(");
    if (text[0] == '[' || text[0] == '<') /* a bracketed word */
        n = 1 + strcspn(text + 1, " \n\t\r{[\"(>]");
    n += text[0] && (text[n] == '>' || text[n] == ']');
    const char *quote = strchr(text, '"');
    if (n < 3 && quote) {
        const char *second = strchr(quote + 1, '"');
        n = second ? (size_t)(second + 1 - text) : 0;
    }
    char *made = n >= 3 && n <= 64 ? tern_strdup_n(text, n) : NULL;
    tern_str_done(&s);
    return made;
}

static bool frame_whole(const tool_frame *f)
{
    return f->head && f->open && f->mid && f->close && f->sep && f->tail && f->trigger;
}

/* A place moved out of the bracketed word, "<...>" or "[...]", that it falls into: to its beginning. */
static size_t out_of_word(const char *text, size_t at)
{
    size_t begin = at;
    while (begin > 0 && at - begin < 64 && !strchr("<>[] \n", text[begin - 1]))
        begin--;
    return begin > 0 && (text[begin - 1] == '<' || text[begin - 1] == '[') ? begin - 1 : at;
}

/* What the pieces between, before and behind calls have in common. */
static bool make_frame(const char *one, const char *two, const char *said, tool_frame *f)
{
    call_place a, b, c;
    size_t begin = common_prefix(one, strlen(one), said, strlen(said));
    const char *plain = last_of(said, PROBE_TEXT);
    if (!plain || !find_call(one, &a))
        return false;
    const char *turn_end = plain + strlen(PROBE_TEXT);
    if (begin > (size_t)(plain - said))
        begin = (size_t)(plain - said);
    begin = out_of_word(one, begin);
    if (one + begin > a.name)
        return false;
    while (is_blank(one[begin]))
        begin++;
    const char *x = one + begin, *z = a.args_end;
    size_t n_x = (size_t)(a.name - x), n_z = strlen(z), n_open = n_x;
    n_z = out_of_word(z, n_z - common_suffix(z, n_z, turn_end, strlen(turn_end)));
    while (n_z > 0 && is_blank(z[n_z - 1]))
        n_z--;
    const char *y = z; /* between two calls; where the template allows but one, what closes it */
    size_t n_y = n_z, n_close = n_z;
    if (*two) {
        if (!find_call(two, &b) || !find_call(b.args_end, &c) ||
            c.args - c.name_end != b.args - b.name_end ||
            memcmp(b.name_end, c.name_end, (size_t)(c.args - c.name_end)) != 0)
            return false;
        y = b.args_end;
        n_y = (size_t)(c.name - y);
        n_open = common_suffix(x, n_x, y, n_y);
        while (n_open > 0 && out_of_word(x, n_x - n_open) != n_x - n_open)
            n_open--;
        n_close = out_of_word(y, common_prefix(y, n_y - n_open, z, n_z));
        while (n_close > 0 && is_blank(y[n_close - 1]))
            n_close--;
    } else {
        f->single = true;
        n_y += n_open;
    }
    f->head = cut(x, n_x - n_open);
    f->open = cut(x + n_x - n_open, n_open);
    f->mid = cut(a.name_end, (size_t)(a.args - a.name_end));
    f->close = cut(y, n_close);
    f->sep = cut(y + n_close, n_y - n_open - n_close);
    f->tail = cut(z + n_close, n_z - n_close);
    if (f->head && f->open)
        f->trigger = make_trigger(f->head, f->open);
    size_t n_mid = (size_t)(a.args - a.name_end);
    while (n_mid > 0 && is_blank(a.name_end[n_mid - 1]))
        n_mid--;
    return frame_whole(f) && n_mid > 0 && a.name_end[n_mid - 1] != '{';
}

/* A frame can be used when a grammar can make it: control tokens stand at most at its two ends. */
static tern_code check_frame(generate_words *w, tool_frame *f, bool *usable, tern_err *err)
{
    bool inside = false, trigger, tail;
    const char *const inner[] = {f->open + (*f->head ? 0 : strlen(f->trigger)), f->mid, f->close,
                                 f->sep};
    for (size_t i = 0; i < sizeof inner / sizeof inner[0] && !inside; i++)
        TERN_TRY(words_has_control(w->m, inner[i], &inside, err));
    if (!inside && strlen(f->head) > strlen(f->trigger))
        TERN_TRY(words_has_control(w->m, f->head + strlen(f->trigger), &inside, err));
    TERN_TRY(words_has_control(w->m, f->trigger, &trigger, err));
    TERN_TRY(words_has_control(w->m, f->tail, &tail, err));
    if (tail)
        *f->tail = '\0';
    w->show_control |= trigger && !inside;
    w->trigger_control = trigger && !inside;
    *usable = !inside;
    return TERN_OK;
}

static tern_code learn_frame(generate_words *w, bool text_arguments, bool *found, tern_err *err)
{
    tern_str one = {0}, two = {0}, said = {0};
    tool_frame f = {0};
    tern_code rc;
    *found = false;
    TERN_TRY_GOTO(probe(w, 1, text_arguments, true, &one, err));
    TERN_TRY_GOTO(probe(w, 2, text_arguments, true, &two, err));
    TERN_TRY_GOTO(probe(w, 0, text_arguments, true, &said, err));
    if (strstr(tern_str_get(&said), "zq_listed") &&
        make_frame(tern_str_get(&one), tern_str_get(&two), tern_str_get(&said), &f))
        TERN_TRY_GOTO(check_frame(w, &f, found, err));
fail:
    tern_str_done(&one);
    tern_str_done(&two);
    tern_str_done(&said);
    if (rc == TERN_OK && *found) {
        w->frame = f;
        w->text_arguments = text_arguments;
        w->native = true;
        w->ids = strchr(f.close, FRAME_ID) || strchr(f.mid, FRAME_ID) || strchr(f.open, FRAME_ID);
    } else {
        frame_done(&f);
    }
    return rc;
}

/* What we ask for where the template has nothing. */
static tern_code own_frame(generate_words *w, tern_err *err)
{
    tool_frame *f = &w->frame;
    f->head = tern_strdup_n("", 0);
    f->open = tern_strdup_n("<tool_call>\n{\"name\": \"", 22);
    f->mid = tern_strdup_n("\", \"arguments\": ", 16);
    f->close = tern_strdup_n("}\n</tool_call>", 14);
    f->sep = tern_strdup_n("\n", 1);
    f->tail = tern_strdup_n("", 0);
    f->trigger = tern_strdup_n("<tool_call>", 11);
    return frame_whole(f) ? TERN_OK
                          : tern_fail(err, TERN_E_NOMEM, "out of memory for a template's words");
}

/* ---- reasoning ---------------------------------------------------------------------------------- */

static const struct {
    const char *begin, *end;
} marks[] = {
    {"<think>", "</think>"},
    {"[THINK]", "[/THINK]"},
    {"<seed:think>", "</seed:think>"},
};

/* The first marks that are single tokens here; else the most usual ones. */
static tern_code learn_marks(generate_words *w, tern_err *err)
{
    w->think = marks[0].begin;
    w->think_end = marks[0].end;
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        int32_t ids[8];
        size_t n;
        bool control;
        if (tern_model_tokenize(w->m, marks[i].begin, strlen(marks[i].begin),
                                TERN_TOKENIZE_PARSE_SPECIAL, ids, 8, &n, NULL) != TERN_OK ||
            n != 1)
            continue;
        w->think = marks[i].begin;
        w->think_end = marks[i].end;
        TERN_TRY(words_has_control(w->m, w->think, &control, err));
        w->show_control |= control;
        break;
    }
    return TERN_OK;
}

/* Whether results of tools can be given to the template as such. */
static tern_code learn_roles(generate_words *w, tern_err *err)
{
    static const char messages[] =
        "[{\"role\":\"user\",\"content\":\"zq_question\"},"
        "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"" PROBE_ID
        "\",\"type\":\"function\",\"function\":{\"name\":\"" PROBE_TOOL "\",\"arguments\":%s}}]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"" PROBE_ID "\",\"name\":\"" PROBE_TOOL
        "\",\"content\":\"zq_result\"}]";
    char *text = NULL;
    size_t n;
    tern_str s;
    tern_str_init(&s, 4096);
    tern_str_printf(&s, messages, w->text_arguments ? "\"{}\"" : "{}");
    if (s.failed)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for a template's words");
    if (tern_model_chat_prompt(w->m, tern_str_get(&s), NULL, true, &text, &n, NULL) == TERN_OK)
        w->knows_tool_role = strstr(text, "zq_result") != NULL;
    tern_string_free(text);
    tern_str_done(&s);
    return TERN_OK;
}

/* Whether a system message comes through. */
static void learn_system(generate_words *w)
{
    static const char messages[] = "[{\"role\":\"system\",\"content\":\"zq_rules\"},"
                                   "{\"role\":\"user\",\"content\":\"zq_question\"}]";
    char *text = NULL;
    size_t n;
    if (tern_model_chat_prompt(w->m, messages, NULL, true, &text, &n, NULL) == TERN_OK)
        w->knows_system_role = strstr(text, "zq_rules") && strstr(text, "zq_question");
    tern_string_free(text);
}

tern_code words_learn(generate_words *w, tern_err *err)
{
    tern_model_info info = {.size = sizeof info};
    bool found = false;
    tern_model_info_get(w->m, &info);
    w->has_template = info.has_chat_template;
    if (w->has_template) {
        learn_system(w);
        TERN_TRY(learn_frame(w, false, &found, err));
        if (!found)
            TERN_TRY(learn_frame(w, true, &found, err));
        if (found)
            TERN_TRY(learn_roles(w, err));
    }
    if (found && !w->knows_tool_role) {
        frame_done(&w->frame);
        w->native = found = false;
    }
    if (!found)
        TERN_TRY(own_frame(w, err));
    return learn_marks(w, err);
}

void words_forget(generate_words *w)
{
    frame_done(&w->frame);
}

/* ---- all of them --------------------------------------------------------------------------------- */

static void make_fingerprint(generate_words *w)
{
    tern_model_info i = {.size = sizeof i};
    char text[256];
    tern_model_info_get(w->m, &i);
    int n =
        snprintf(text, sizeof text, "%s %.80s %.80s %d %d %d %" PRIu64 " %" PRIu64, tern_version(),
                 i.arch, i.name, i.n_vocab, i.n_layer, i.d_model, i.n_param, i.file_bytes);
    uint64_t h = tern_hash64(text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1, 1);
    snprintf(w->fingerprint, sizeof w->fingerprint, "fp_%012" PRIx64, h & 0xffffffffffffu);
}

tern_code generate_words_new(const tern_model *m, generate_words **out, tern_err *err)
{
    generate_words *w = tern_calloc(1, sizeof *w);
    *out = NULL;
    if (!w)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    w->m = m;
    pthread_mutex_init(&w->seen_mu, NULL);
    make_fingerprint(w);
    tern_code rc = words_learn(w, err);
    if (rc == TERN_OK)
        rc = grammar_cache_new(m, &w->grammars, err);
    if (rc == TERN_OK)
        rc = keeper_new(&w->keeper, err);
    if (rc != TERN_OK) {
        generate_words_free(w);
        return rc;
    }
    *out = w;
    return TERN_OK;
}

void generate_words_free(generate_words *w)
{
    if (!w)
        return;
    keeper_free(w->keeper);
    grammar_cache_free(w->grammars);
    words_forget(w);
    pthread_mutex_destroy(&w->seen_mu);
    tern_free(w);
}

const char *generate_fingerprint(const generate_words *w)
{
    return w->fingerprint;
}

bool generate_can_think(const generate_words *w)
{
    tern_model_info info = {.size = sizeof info};
    tern_model_info_get(w->m, &info);
    const char *t = info.chat_template;
    return t &&
           (strstr(t, w->think) || strstr(t, "enable_thinking") || strstr(t, "reasoning_content"));
}
