#include "server/compose.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"
#include "common/text_ids.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXT     ((size_t)32 << 20)
#define MAX_MESSAGES 4096
#define MAX_TOOLS    128
#define MAX_CALLS    64

static tern_code no_memory(fault *f)
{
    return fault_set(f, TERN_E_NOMEM, NULL, "out of memory for the prompt");
}

static const char *messages_name(const generate_request *r)
{
    return r->messages_name ? r->messages_name : "messages";
}

static const char *tools_name(const generate_request *r)
{
    return r->tools_name ? r->tools_name : "tools";
}

/* A fault of message i; where: what follows in its name, ".content". */
static tern_code bad_message(const generate_request *r, size_t i, const char *where, fault *f,
                             const char *expected)
{
    fault_set(f, TERN_E_USAGE, NULL, "%s[%zu]%s: %s", messages_name(r), i, where, expected);
    return fault_param(f, "%s[%zu]%s", messages_name(r), i, where);
}

/* ---- messages --------------------------------------------------------------------------------- */

/* The text of one part of a content; false: it is none. */
static bool part_text(const json_t *part, tern_str *out)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    const json_t *text = json_object_get(part, "text");
    if (type && strcmp(type, "refusal") == 0)
        text = json_object_get(part, "refusal");
    else if (!type || (strcmp(type, "text") != 0 && strcmp(type, "input_text") != 0 &&
                       strcmp(type, "output_text") != 0))
        return false;
    if (!json_is_string(text))
        return false;
    tern_str_put(out, json_string_value(text), json_string_length(text));
    return true;
}

/* A message's content as one text: parts are joined here, so that no template can join them to a control
 * token. */
static tern_code content_text(const generate_request *r, size_t i, const json_t *message,
                              tern_str *out, fault *f)
{
    const json_t *content = json_object_get(message, "content");
    if (!content || json_is_null(content)) {
        const char *role = json_string_value(json_object_get(message, "role"));
        return role && strcmp(role, "assistant") == 0
                   ? TERN_OK
                   : bad_message(r, i, ".content", f, "expected a string or a list of text parts");
    }
    if (json_is_string(content)) {
        tern_str_put(out, json_string_value(content), json_string_length(content));
    } else if (json_is_array(content)) {
        for (size_t k = 0; k < json_array_size(content); k++) {
            char where[48];
            snprintf(where, sizeof where, ".content[%zu]", k);
            if (!part_text(json_array_get(content, k), out))
                return bad_message(r, i, where, f,
                                   "only parts of text are supported, no images, audio or files");
        }
    } else {
        return bad_message(r, i, ".content", f, "expected a string or a list of text parts");
    }
    return out->failed ? no_memory(f) : TERN_OK;
}

static bool is_name(const char *s)
{
    size_t n =
        s ? strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") : 0;
    return n >= 1 && n <= 64 && s[n] == '\0';
}

/* Arguments as the template wants them; what is no JSON stays text. */
static json_t *call_arguments(const generate_words *w, const json_t *arguments)
{
    if (json_is_string(arguments) && !w->text_arguments) {
        json_t *value = json_loadb(json_string_value(arguments), json_string_length(arguments),
                                   JSON_DECODE_ANY, NULL);
        if (json_is_object(value))
            return value;
        json_decref(value);
        return json_string_length(arguments) ? json_incref((json_t *)(uintptr_t)arguments)
                                             : json_object();
    }
    if (json_is_object(arguments) && w->text_arguments) {
        char *text = json_dumps(arguments, 0);
        json_t *value = text ? json_string(text) : NULL;
        free(text);
        return value;
    }
    return arguments ? json_incref((json_t *)(uintptr_t)arguments) : json_object();
}

/* One call of an assistant's message, into a list for the template or, in a frame of ours, into its text. */
static tern_code add_call(const generate_words *w, const json_t *call, json_t *list, tern_str *text,
                          fault *f)
{
    const json_t *function = json_object_get(call, "function");
    const char *name = json_string_value(json_object_get(function, "name"));
    const char *id = json_string_value(json_object_get(call, "id"));
    const json_t *given = json_object_get(function, "arguments");
    if (!w->native) {
        char *dumped = json_is_string(given) ? NULL : json_dumps(given, JSON_ENCODE_ANY);
        const tool_frame *t = &w->frame;
        tern_str_printf(text, "%s%s%s%s", text->len ? "\n" : "", t->open, name, t->mid);
        tern_str_puts(text, json_is_string(given) ? json_string_value(given)
                            : dumped              ? dumped
                                                  : "{}");
        tern_str_puts(text, t->close);
        free(dumped);
        return text->failed ? no_memory(f) : TERN_OK;
    }
    json_t *made = json_pack("{s:s,s:{s:s,s:o}}", "type", "function", "function", "name", name,
                             "arguments", call_arguments(w, given));
    if (!made || (id && json_object_set_new(made, "id", json_string(id)) != 0) ||
        json_array_append(list, made) != 0) {
        json_decref(made);
        return no_memory(f);
    }
    json_decref(made);
    return TERN_OK;
}

static tern_code add_calls(const generate_words *w, const generate_request *r, size_t i,
                           const json_t *message, json_t *out, tern_str *text, fault *f)
{
    const json_t *calls = json_object_get(message, "tool_calls");
    if (!calls || json_is_null(calls))
        return TERN_OK;
    if (!json_is_array(calls) || json_array_size(calls) > MAX_CALLS)
        return bad_message(r, i, ".tool_calls", f, "expected a list of at most 64 calls");
    json_t *list = json_array();
    tern_code rc = list ? TERN_OK : no_memory(f);
    for (size_t k = 0; rc == TERN_OK && k < json_array_size(calls); k++) {
        const json_t *call = json_array_get(calls, k);
        const json_t *function = json_object_get(call, "function");
        const json_t *arguments = json_object_get(function, "arguments");
        char where[48];
        snprintf(where, sizeof where, ".tool_calls[%zu]", k);
        if (!is_name(json_string_value(json_object_get(function, "name"))) ||
            (arguments && !json_is_string(arguments) && !json_is_object(arguments)))
            rc = bad_message(r, i, where, f, "expected a function with a name and arguments");
        else
            rc = add_call(w, call, list, text, f);
    }
    if (rc == TERN_OK && json_array_size(list) && json_object_set(out, "tool_calls", list) != 0)
        rc = no_memory(f);
    json_decref(list);
    return rc;
}

/* The role a message has for the template; NULL: there is none such. */
static const char *role_of(const json_t *message)
{
    static const char *const known[][2] = {{"system", "system"}, {"developer", "system"},
                                           {"user", "user"},     {"assistant", "assistant"},
                                           {"tool", "tool"},     {"function", "tool"}};
    const char *role = json_string_value(json_object_get(message, "role"));
    for (size_t i = 0; role && i < sizeof known / sizeof known[0]; i++)
        if (strcmp(role, known[i][0]) == 0)
            return known[i][1];
    return NULL;
}

static bool set_text(json_t *object, const char *key, const char *text, size_t n)
{
    return json_object_set_new(object, key, json_stringn(text, n)) == 0;
}

static void copy_text(const json_t *from, json_t *to, const char *key)
{
    const json_t *v = json_object_get(from, key);
    if (json_is_string(v))
        json_object_set(to, key, (json_t *)(uintptr_t)v);
}

/* Message i as the template gets it. */
static tern_code add_message(const generate_words *w, const generate_request *r, size_t i,
                             json_t *list, fault *f)
{
    const json_t *message = json_array_get(r->messages, i);
    const char *role = role_of(message);
    tern_code rc;
    tern_str text;
    if (!json_is_object(message))
        return bad_message(r, i, "", f, "expected an object");
    if (!role)
        return bad_message(r, i, ".role", f, "expected system, developer, user, assistant or tool");
    json_t *out = json_object();
    tern_str_init(&text, MAX_TEXT);
    TERN_TRY_GOTO(out ? TERN_OK : no_memory(f));
    TERN_TRY_GOTO(content_text(r, i, message, &text, f));
    if (strcmp(role, "assistant") == 0)
        TERN_TRY_GOTO(add_calls(w, r, i, message, out, &text, f));
    bool foreign = strcmp(role, "tool") == 0 && !w->native;
    if (foreign) { /* the template knows nothing of tools */
        tern_str whole;
        tern_str_init(&whole, MAX_TEXT);
        tern_str_printf(&whole, "<tool_response>\n%s\n</tool_response>", tern_str_get(&text));
        tern_str_done(&text);
        text = whole;
        role = "user";
    }
    if (!text.failed && set_text(out, "role", role, strlen(role)) &&
        set_text(out, "content", tern_str_get(&text), text.len)) {
        copy_text(message, out, "name");
        copy_text(message, out, "reasoning_content");
        if (!foreign)
            copy_text(message, out, "tool_call_id");
        rc = json_array_append(list, out) == 0 ? TERN_OK : no_memory(f);
    } else {
        rc = no_memory(f);
    }
fail:
    tern_str_done(&text);
    json_decref(out);
    return rc;
}

/* Put text before (or, with nothing there, as) the first message of the system; where the template knows no
 * such role, before the first message. */
static tern_code add_system(const generate_words *w, json_t *list, const char *text, fault *f)
{
    json_t *first = json_array_get(list, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    bool into = first && role && (strcmp(role, "system") == 0 || !w->knows_system_role);
    if (!into) {
        json_t *made = json_pack("{s:s,s:s}", "role", "system", "content", text);
        return made && json_array_insert_new(list, 0, made) == 0 ? TERN_OK : no_memory(f);
    }
    const char *old = json_string_value(json_object_get(first, "content"));
    tern_str both;
    tern_str_init(&both, MAX_TEXT);
    tern_str_printf(&both, "%s\n\n%s", text, old ? old : "");
    bool ok = !both.failed && set_text(first, "content", both.data, both.len);
    tern_str_done(&both);
    return ok ? TERN_OK : no_memory(f);
}

/* Where the template refuses system messages, what they say comes with the next message. */
static tern_code fold_system(const generate_words *w, json_t *list, fault *f)
{
    const json_t *first = json_array_get(list, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    if (w->knows_system_role || json_array_size(list) < 2 || !role || strcmp(role, "system") != 0)
        return TERN_OK;
    json_t *content = json_incref(json_object_get(first, "content"));
    json_array_remove(list, 0);
    tern_code rc = add_system(w, list, json_string_value(content), f);
    json_decref(content);
    return rc;
}

/* ---- tools ------------------------------------------------------------------------------------ */

tern_code compose_check_tools(const generate_request *r, fault *f)
{
    const char *name = tools_name(r);
    size_t n = json_array_size(r->tools);
    bool found = r->tool_use != GENERATE_TOOLS_NAMED;
    if (n > MAX_TOOLS)
        return fault_set(f, TERN_E_USAGE, name, "%s: expected at most %d", name, MAX_TOOLS);
    if (n == 0 && (r->tool_use == GENERATE_TOOLS_REQUIRED || r->tool_use == GENERATE_TOOLS_NAMED))
        return fault_set(f, TERN_E_USAGE, "tool_choice", "tool_choice: there are no tools");
    for (size_t i = 0; i < n; i++) {
        const json_t *function = json_object_get(json_array_get(r->tools, i), "function");
        const char *called = json_string_value(json_object_get(function, "name"));
        const json_t *parameters = json_object_get(function, "parameters");
        if (!is_name(called) ||
            (parameters && !json_is_object(parameters) && !json_is_null(parameters))) {
            fault_set(
                f, TERN_E_USAGE, NULL,
                "%s[%zu]: expected a function with a name of letters, digits, '_', '-' and '.', "
                "and parameters that are a schema",
                name, i);
            return fault_param(f, "%s[%zu]", name, i);
        }
        found |= r->tool_name && strcmp(called, r->tool_name) == 0;
    }
    return found ? TERN_OK
                 : fault_set(f, TERN_E_USAGE, "tool_choice", "tool_choice: there is no such tool");
}

/* What a model is told whose template has no place for tools. */
static tern_code describe_tools(const generate_words *w, const generate_request *r, json_t *list,
                                fault *f)
{
    const tool_frame *t = &w->frame;
    tern_str s;
    tern_str_init(&s, MAX_TEXT);
    tern_str_puts(&s,
                  "You can call functions. These are there, one to a line, with JSON schemas of "
                  "their arguments:\n");
    for (size_t i = 0; i < json_array_size(r->tools); i++) {
        char *line = json_dumps(json_object_get(json_array_get(r->tools, i), "function"), 0);
        tern_str_printf(&s, "%s\n", line ? line : "");
        free(line);
    }
    tern_str_printf(&s,
                    "To call one, answer with nothing but its name and arguments in this form:\n"
                    "%sNAME%s{\"ARGUMENT\": VALUE}%s\nThe results come in the next message.",
                    t->open, t->mid, t->close);
    tern_code rc = s.failed ? no_memory(f) : add_system(w, list, tern_str_get(&s), f);
    tern_str_done(&s);
    return rc;
}

/* ---- ids -------------------------------------------------------------------------------------- */

/* Whether the last of these tokens are the mark that reasoning begins with. */
static tern_code ends_thinking(const generate_words *w, const int32_t *ids, size_t n, bool *out,
                               tern_err *err)
{
    size_t tail = n < 24 ? n : 24, n_text, n_mark = strlen(w->think);
    char *text;
    *out = false;
    TERN_TRY(tern_model_detokenize(w->m, ids + n - tail, tail, true, &text, &n_text, err));
    while (n_text > 0 && strchr(" \n\t\r", text[n_text - 1]))
        n_text--;
    *out = n_text >= n_mark && memcmp(text + n_text - n_mark, w->think, n_mark) == 0;
    tern_string_free(text);
    return TERN_OK;
}

static tern_code render(const generate_words *w, const json_t *list, const json_t *vars,
                        int32_t **ids, size_t *n, fault *f)
{
    char *messages = json_dumps(list, 0), *extra = json_dumps(vars, 0);
    tern_code rc = messages && extra
                       ? tern_model_chat_tokenize(w->m, messages, extra, true, ids, n, &f->err)
                       : no_memory(f);
    free(messages);
    free(extra);
    return rc;
}

/* How far conversations begin alike that differ after their tools and system messages. */
static size_t find_keep(const generate_words *w, const json_t *list, const json_t *vars,
                        const composed *c)
{
    static const char *const other[] = {"a", "1"};
    size_t n_system = 0, keep = c->n;
    for (; n_system < json_array_size(list); n_system++) {
        const json_t *m = json_array_get(list, n_system);
        const char *role = json_string_value(json_object_get(m, "role"));
        if (!role || strcmp(role, "system") != 0)
            break;
    }
    if (n_system == 0 && !json_object_get(vars, "tools"))
        return 0;
    for (size_t k = 0; k < 2; k++) {
        json_t *head = json_array();
        int32_t *ids = NULL;
        size_t n = 0, same = 0;
        fault ignored = {0};
        for (size_t i = 0; i < n_system; i++)
            json_array_append(head, json_array_get(list, i));
        json_array_append_new(head, json_pack("{s:s,s:s}", "role", "user", "content", other[k]));
        if (render(w, head, vars, &ids, &n, &ignored) == TERN_OK)
            while (same < n && same < c->n && ids[same] == c->ids[same])
                same++;
        keep = same < keep ? same : keep;
        tern_ids_free(ids);
        json_decref(head);
    }
    return keep;
}

tern_code composed_append(const generate_words *w, const char *text, bool control, composed *c,
                          tern_err *err)
{
    tern_ids ids = {c->ids, c->n, c->n};
    tern_code rc = text_ids_add(&ids, w->m, text, strlen(text),
                                control ? TERN_TOKENIZE_PARSE_SPECIAL : 0, err);
    c->ids = ids.v;
    c->n = ids.n;
    return rc;
}

static tern_code list_messages(const generate_words *w, const generate_request *r, json_t *list,
                               fault *f)
{
    size_t n = json_array_size(r->messages);
    if (n == 0 || n > MAX_MESSAGES)
        return fault_set(f, TERN_E_USAGE, messages_name(r), "%s: expected 1 to %d messages",
                         messages_name(r), MAX_MESSAGES);
    for (size_t i = 0; i < n; i++)
        TERN_TRY(add_message(w, r, i, list, f));
    TERN_TRY(fold_system(w, list, f));
    if (compose_has_tools(r) && !w->native)
        TERN_TRY(describe_tools(w, r, list, f));
    return TERN_OK;
}

/* Variables of the template: what the client gives, with the tools. */
static tern_code make_vars(const generate_words *w, const generate_request *r, json_t **out,
                           fault *f)
{
    json_t *vars = r->vars ? json_deep_copy(r->vars) : json_object();
    *out = vars;
    /* What is not the client's to say. */
    json_object_del(vars, "messages");
    json_object_del(vars, "add_generation_prompt");
    json_object_del(vars, "tools");
    if (compose_has_tools(r) && w->native && vars)
        json_object_set(vars, "tools", (json_t *)(uintptr_t)r->tools);
    return vars ? TERN_OK : no_memory(f);
}

tern_code compose_messages(const generate_words *w, const generate_request *r, composed *out,
                           fault *f)
{
    json_t *list = json_array(), *vars = NULL, *begun = NULL;
    tern_code rc;
    *out = (composed){0};
    *f = (fault){0};
    TERN_TRY_GOTO(list ? TERN_OK : no_memory(f));
    TERN_TRY_GOTO(list_messages(w, r, list, f));
    TERN_TRY_GOTO(make_vars(w, r, &vars, f));
    if (r->continue_last) {
        begun = json_incref(json_array_get(list, json_array_size(list) - 1));
        json_array_remove(list, json_array_size(list) - 1);
    }
    rc = render(w, list, vars, &out->ids, &out->n, f);
    if (rc != TERN_OK) {
        fault_param(f, "%s", messages_name(r));
        goto fail;
    }
    out->n_keep = find_keep(w, list, vars, out);
    TERN_TRY_GOTO(ends_thinking(w, out->ids, out->n, &out->thinking, &f->err));
    if (begun) {
        out->thinking = false;
        TERN_TRY_GOTO(composed_append(w, json_string_value(json_object_get(begun, "content")),
                                      false, out, &f->err));
    }
fail:
    if (rc != TERN_OK) {
        f->err.code = rc;
        composed_done(out);
    }
    json_decref(list);
    json_decref(vars);
    json_decref(begun);
    return rc;
}

tern_code compose_text(const generate_words *w, const generate_request *r, bool begins, char **text,
                       size_t *n, fault *f)
{
    json_t *list = json_array(), *vars = NULL;
    char *messages = NULL, *extra = NULL;
    tern_code rc;
    *f = (fault){0};
    TERN_TRY_GOTO(list ? TERN_OK : no_memory(f));
    TERN_TRY_GOTO(list_messages(w, r, list, f));
    TERN_TRY_GOTO(make_vars(w, r, &vars, f));
    messages = json_dumps(list, 0);
    extra = json_dumps(vars, 0);
    TERN_TRY_GOTO(messages && extra ? TERN_OK : no_memory(f));
    rc = tern_model_chat_prompt(w->m, messages, extra, begins, text, n, &f->err);
    if (rc != TERN_OK)
        fault_param(f, "%s", messages_name(r));
fail:
    f->err.code = rc;
    free(messages);
    free(extra);
    json_decref(list);
    json_decref(vars);
    return rc;
}

static tern_code given_ids(const generate_words *w, const json_t *ids, const char *name,
                           composed *out, fault *f)
{
    tern_model_info info = {.size = sizeof info};
    tern_model_info_get(w->m, &info);
    size_t n = json_array_size(ids);
    out->ids = tern_calloc(n ? n : 1, sizeof *out->ids);
    if (!out->ids)
        return no_memory(f);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(ids, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 ||
            json_integer_value(v) >= info.n_vocab)
            return fault_set(f, TERN_E_USAGE, name, "%s: expected token ids from 0 to %d", name,
                             info.n_vocab - 1);
        out->ids[i] = (int32_t)json_integer_value(v);
    }
    out->n = n;
    return TERN_OK;
}

tern_code compose_prompt(const generate_words *w, const generate_prompt *p, const char *name,
                         composed *out, fault *f)
{
    tern_code rc;
    *out = (composed){0};
    *f = (fault){0};
    if (p->ids) {
        rc = given_ids(w, p->ids, name, out, f);
    } else {
        tern_ids ids = {0};
        rc = text_ids_add(&ids, w->m, p->text, p->n_text,
                          TERN_TOKENIZE_ADD_SPECIAL | TERN_TOKENIZE_PARSE_SPECIAL, &f->err);
        out->ids = ids.v;
        out->n = ids.n;
    }
    if (rc == TERN_OK && out->n == 0)
        rc = fault_set(f, TERN_E_USAGE, name, "%s: expected at least one token", name);
    if (rc != TERN_OK) {
        f->err.code = rc;
        composed_done(out);
    }
    return rc;
}

void composed_done(composed *c)
{
    tern_ids_free(c->ids);
    *c = (composed){0};
}
