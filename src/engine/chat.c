/* From a conversation to a prompt: which template speaks for a model, and the variables it sees. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/utf8.h"
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* Templates by name, for files that carry none and for --chat-template. Each restates the published
 * prompt format of its family. */
static const struct {
    const char *name, *source;
} built_in[] = {
    {"chatml",
     "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + "
     "'<|im_end|>\\n' }}"
     "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"},
    {"llama3", "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + "
               "'<|end_header_id|>\\n\\n'"
               " + m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
               "{% if add_generation_prompt %}{{ "
               "'<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"},
    {"bitnet",
     "{{ bos_token }}{% for m in messages %}{{ m['role'] | capitalize + ': ' + m['content'] | trim "
     "+"
     " '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}"},
    {"falcon3", "{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' + m['content'] }}{% if "
                "m['role'] == 'assistant' %}"
                "{{ eos_token }}{% endif %}{{ '\\n' }}{% endfor %}"
                "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"},
};
/* Bytes of a prompt. */
#define MAX_PROMPT ((size_t)64 << 20)

#define N_BUILT_IN (sizeof built_in / sizeof built_in[0])

static tern_code use(tern_model *m, const char *origin, const char *source, size_t n, tern_err *err)
{
    m->chat_source = tern_strdup_n(source, n);
    if (!m->chat_source)
        return tern_fail(err, TERN_E_NOMEM, "chat template: out of memory");
    m->chat_origin = origin;
    return tern_template_compile(m->chat_source, n, &m->chat, err);
}

static tern_code use_built_in(tern_model *m, const char *name, tern_err *err)
{
    for (size_t i = 0; i < N_BUILT_IN; i++)
        if (strcmp(built_in[i].name, name) == 0)
            return use(m, built_in[i].name, built_in[i].source, strlen(built_in[i].source), err);
    return tern_fail(
        err, TERN_E_USAGE,
        "chat template '%.40s': expected Jinja text, chatml, llama3, bitnet or falcon3", name);
}

static bool contains(tern_slice s, const char *word)
{
    return memmem(s.p, s.n, word, strlen(word)) != NULL;
}

tern_code tern_chat_init(tern_model *m, const char *option, tern_err *err)
{
    tern_slice in_file;
    bool found = false;
    if (option && !strchr(option, '{'))
        return use_built_in(m, option, err);
    if (option)
        return use(m, "option", option, strlen(option), err);
    TERN_TRY(tern_dir_get_str(m->dir, "tokenizer.chat_template", &in_file, &found, err));
    /* Early conversions of BitNet 2B4T carry a template that is not the one the model was trained
     * with; the card's form is the right one. */
    if (found && contains(in_file, "BITNETAssistant"))
        return use_built_in(m, "bitnet", err);
    if (found) {
        tern_err why;
        tern_code rc = use(m, "file", in_file.p, in_file.n, &why);
        if (rc != TERN_OK)
            return tern_fail(err, rc,
                             "%s: tokenizer.chat_template: %.120s (--chat-template NAME overrides)",
                             m->dir->path, why.msg);
        return TERN_OK;
    }
    if (tern_token_find(m->tok, "<|im_start|>", 12) >= 0)
        return use_built_in(m, "chatml", err);
    return TERN_OK;
}

static json_t *token_string(const tern_model *m, int32_t id)
{
    tern_slice s = {"", 0};
    if (id >= 0)
        s = tern_token_text(m->tok, id);
    return tern_json_text(s.p, s.n);
}

static tern_code parse_json(const char *what, const char *text, json_type type, json_t **out,
                            tern_err *err)
{
    json_error_t e;
    *out = json_loads(text, JSON_REJECT_DUPLICATES, &e);
    if (!*out)
        return tern_fail(err, TERN_E_USAGE, "%s: not JSON at line %d column %d: %.80s", what,
                         e.line, e.column, e.text);
    if (json_typeof(*out) != type) {
        json_decref(*out);
        *out = NULL;
        return tern_fail(err, TERN_E_USAGE, "%s: expected a JSON %s", what,
                         type == JSON_ARRAY ? "array" : "object");
    }
    return TERN_OK;
}

/* ---- marks ----------------------------------------------------------------------------------
 *
 * A template writes control tokens as text, so what it makes is tokenised with them recognised; a message
 * that contains "<|im_end|>" would then end its own turn. So whatever a conversation spells gets a mark
 * inside, a character it has nowhere else, which the tokeniser takes out again. */

#define MAX_MARKED ((size_t)64 << 20)
#define MAX_ROUNDS 8 /* a mark may leave a shorter token where there was a longer one */
#define MAX_DEPTH  256

typedef struct marking {
    const tern_model *m;
    char mark[5];
    bool any; /* something was marked */
} marking;

/* A character of the last private plane that neither text contains. */
static tern_code choose_mark(const char *messages, const char *extra, char mark[5], tern_err *err)
{
    /* JSON may spell it by its number: two surrogates, in either case. */
    for (uint32_t cp = 0x10fffd; cp > 0x10ff00; cp--) {
        char escaped[16];
        int n = tern_utf8_encode(cp, mark);
        mark[n] = '\0';
        snprintf(escaped, sizeof escaped, "\\udbff\\ud%03x",
                 (unsigned)(0xc00 + (cp & 0x3ff)) & 0xfff);
        if (!strstr(messages, mark) && !strcasestr(messages, escaped) &&
            !(extra && (strstr(extra, mark) || strcasestr(extra, escaped))))
            return TERN_OK;
    }
    return tern_fail(err, TERN_E_USAGE, "the conversation uses all private characters");
}

/* Append text with marks to out, *n_found of them. */
static void mark_once(const marking *k, const char *text, size_t n, tern_str *out, size_t *n_found)
{
    size_t at, len;
    *n_found = 0;
    while (n && tern_token_spelled(k->m->tok, text, n, &at, &len) >= 0) {
        uint32_t cp;
        int first = tern_utf8_decode(text + at, n - at, &cp);
        size_t keep = at + (size_t)(first > 0 ? first : 1);
        tern_str_put(out, text, keep);
        tern_str_puts(out, k->mark);
        text += keep;
        n -= keep;
        ++*n_found;
    }
    tern_str_put(out, text, n);
}

/* *out is left empty when text spells none. */
static tern_code mark_text(marking *k, const char *text, size_t n, tern_str *out, tern_err *err)
{
    size_t at, len, n_found = 1;
    tern_code rc = TERN_OK;
    if (tern_token_spelled(k->m->tok, text, n, &at, &len) < 0)
        return TERN_OK;
    k->any = true;
    for (int round = 0; rc == TERN_OK && n_found && round < MAX_ROUNDS; round++) {
        tern_str next;
        tern_str_init(&next, MAX_MARKED);
        mark_once(k, text, n, &next, &n_found);
        if (next.failed)
            rc = tern_fail(err, TERN_E_NOMEM, "chat prompt: out of memory");
        tern_str_done(out);
        *out = next;
        text = tern_str_get(out);
        n = out->len;
    }
    if (rc == TERN_OK && n_found)
        rc = tern_fail(err, TERN_E_USAGE, "a message spells control tokens in too many ways");
    return rc;
}

static tern_code mark_value(marking *k, const json_t *v, int depth, json_t **out, tern_err *err);

static tern_code mark_object(marking *k, const json_t *v, int depth, json_t *out, tern_err *err)
{
    for (void *it = json_object_iter((json_t *)(uintptr_t)v); it;
         it = json_object_iter_next((json_t *)(uintptr_t)v, it)) {
        const char *key = json_object_iter_key(it);
        json_t *one;
        tern_str name;
        tern_str_init(&name, MAX_MARKED);
        tern_code rc = mark_value(k, json_object_iter_value(it), depth, &one, err);
        if (rc == TERN_OK)
            rc = mark_text(k, key, strlen(key), &name, err);
        if (rc == TERN_OK && json_object_set(out, name.len ? name.data : key, one) != 0)
            rc = tern_fail(err, TERN_E_NOMEM, "chat prompt: out of memory");
        json_decref(one);
        tern_str_done(&name);
        TERN_TRY(rc);
    }
    return TERN_OK;
}

static tern_code mark_array(marking *k, const json_t *v, int depth, json_t *out, tern_err *err)
{
    for (size_t i = 0; i < json_array_size(v); i++) {
        json_t *one;
        TERN_TRY(mark_value(k, json_array_get(v, i), depth, &one, err));
        if (json_array_append_new(out, one) != 0)
            return tern_fail(err, TERN_E_NOMEM, "chat prompt: out of memory");
    }
    return TERN_OK;
}

static tern_code mark_string(marking *k, const json_t *v, json_t **out, tern_err *err)
{
    tern_str text;
    tern_str_init(&text, MAX_MARKED);
    tern_code rc = mark_text(k, json_string_value(v), json_string_length(v), &text, err);
    if (rc == TERN_OK && text.len) {
        *out = json_stringn(text.data, text.len);
        if (!*out)
            rc = tern_fail(err, TERN_E_NOMEM, "chat prompt: out of memory");
    }
    tern_str_done(&text);
    return rc;
}

/* A copy with marks, or another reference where there are none to put. *out is NULL on failure. */
static tern_code mark_value(marking *k, const json_t *v, int depth, json_t **out, tern_err *err)
{
    tern_code rc = TERN_OK;
    json_t *made = NULL;
    *out = NULL;
    if (depth == 0)
        return tern_fail(err, TERN_E_LIMIT, "a conversation is nested deeper than %d", MAX_DEPTH);
    if (json_is_string(v)) {
        rc = mark_string(k, v, &made, err);
    } else if (json_is_object(v) || json_is_array(v)) {
        made = json_is_object(v) ? json_object() : json_array();
        if (!made)
            rc = tern_fail(err, TERN_E_NOMEM, "chat prompt: out of memory");
        else
            rc = json_is_object(v) ? mark_object(k, v, depth - 1, made, err)
                                   : mark_array(k, v, depth - 1, made, err);
    }
    if (rc != TERN_OK) {
        json_decref(made);
        return rc;
    }
    *out = made ? made : json_incref((json_t *)(uintptr_t)v);
    return TERN_OK;
}

static tern_code mark_in_place(marking *k, json_t **v, tern_err *err)
{
    json_t *marked;
    if (!*v)
        return TERN_OK;
    TERN_TRY(mark_value(k, *v, MAX_DEPTH, &marked, err));
    json_decref(*v);
    *v = marked;
    return TERN_OK;
}

/* ---- rendering ------------------------------------------------------------------------------ */

/* The variables a template sees; with k what the conversation spells is marked. */
static tern_code make_vars(const tern_model *m, const char *messages, const char *extra,
                           bool add_generation_prompt, marking *k, json_t **out, tern_err *err)
{
    const tern_tokenizer_info *t = tern_tokenizer_info_get(m->tok);
    json_t *list = NULL, *more = NULL, *vars = json_object();
    tern_code rc = TERN_OK;
    *out = NULL;
    TERN_TRY_GOTO(parse_json("messages", messages, JSON_ARRAY, &list, err));
    if (extra)
        TERN_TRY_GOTO(parse_json("template variables", extra, JSON_OBJECT, &more, err));
    if (k) {
        TERN_TRY_GOTO(choose_mark(messages, extra, k->mark, err));
        TERN_TRY_GOTO(mark_in_place(k, &list, err));
        TERN_TRY_GOTO(mark_in_place(k, &more, err));
    }
    /* What transformers always defines. The setters take the new references, also on failure. */
    bool ok = json_object_set_new(vars, "tools", json_null()) == 0 &&
              json_object_set_new(vars, "documents", json_null()) == 0 &&
              json_object_set_new(vars, "bos_token", token_string(m, t->bos)) == 0 &&
              json_object_set_new(vars, "eos_token", token_string(m, t->eos)) == 0 &&
              json_object_set_new(vars, "add_generation_prompt",
                                  json_boolean(add_generation_prompt)) == 0 &&
              json_object_set(vars, "messages", list) == 0 &&
              (!more || json_object_update(vars, more) == 0);
    if (!ok)
        rc = tern_fail(err, TERN_E_NOMEM, "chat prompt: out of memory");
fail:
    json_decref(list);
    json_decref(more);
    if (rc == TERN_OK)
        *out = vars;
    else
        json_decref(vars);
    return rc;
}

static tern_code render(const tern_model *m, const char *messages, const char *extra,
                        bool add_generation_prompt, marking *k, tern_str *out, tern_err *err)
{
    json_t *vars;
    if (!m->chat)
        return tern_fail(err, TERN_E_UNSUPPORTED,
                         "%s: the model has no chat template (use --chat-template NAME, or -no-cnv "
                         "for plain text)",
                         m->dir->path);
    TERN_TRY(make_vars(m, messages, extra, add_generation_prompt, k, &vars, err));
    tern_code rc = tern_template_render(m->chat, vars, (int64_t)time(NULL), NULL, out, err);
    json_decref(vars);
    return rc;
}

tern_code tern_model_chat_prompt(const tern_model *m, const char *messages, const char *extra,
                                 bool add_generation_prompt, char **text, size_t *n_text,
                                 tern_err *err)
{
    tern_str out;
    *text = NULL;
    *n_text = 0;
    tern_str_init(&out, MAX_PROMPT);
    tern_code rc = render(m, messages, extra, add_generation_prompt, NULL, &out, err);
    if (rc == TERN_OK) {
        *n_text = out.len;
        *text = tern_str_take(&out);
        if (!*text)
            rc = tern_fail(err, TERN_E_NOMEM, "chat prompt: out of memory");
    }
    tern_str_done(&out);
    return rc;
}

tern_code tern_model_chat_tokenize(const tern_model *m, const char *messages, const char *extra,
                                   bool add_generation_prompt, int32_t **ids, size_t *n_id,
                                   tern_err *err)
{
    marking k = {.m = m};
    tern_ids list = {0};
    tern_str out;
    *ids = NULL;
    *n_id = 0;
    tern_str_init(&out, MAX_PROMPT);
    tern_code rc = render(m, messages, extra, add_generation_prompt, &k, &out, err);
    if (rc == TERN_OK)
        rc = tern_tokenize_marked(m->tok, tern_str_get(&out), out.len, k.any ? k.mark : NULL, &list,
                                  err);
    tern_str_done(&out);
    if (rc != TERN_OK) {
        tern_ids_done(&list);
        return rc;
    }
    *ids = list.v;
    *n_id = list.n;
    return TERN_OK;
}

void tern_ids_free(int32_t *ids)
{
    tern_free(ids);
}
