/* From a conversation to a prompt: which template speaks for a model, and the variables it sees. */
#include "base/alloc.h"
#include "base/error.h"
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

static tern_code make_vars(const tern_model *m, const char *messages, const char *extra,
                           bool add_generation_prompt, json_t **out, tern_err *err)
{
    const tern_tokenizer_info *t = tern_tokenizer_info_get(m->tok);
    json_t *list = NULL, *more = NULL, *vars = json_object();
    tern_code rc = TERN_OK;
    *out = NULL;
    TERN_TRY_GOTO(parse_json("messages", messages, JSON_ARRAY, &list, err));
    if (extra)
        TERN_TRY_GOTO(parse_json("template variables", extra, JSON_OBJECT, &more, err));
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

tern_code tern_model_chat_prompt(const tern_model *m, const char *messages, const char *extra,
                                 bool add_generation_prompt, char **text, size_t *n_text,
                                 tern_err *err)
{
    json_t *vars;
    tern_str out;
    *text = NULL;
    *n_text = 0;
    if (!m->chat)
        return tern_fail(err, TERN_E_UNSUPPORTED,
                         "%s: the model has no chat template (use --chat-template NAME, or -no-cnv "
                         "for plain text)",
                         m->dir->path);
    TERN_TRY(make_vars(m, messages, extra, add_generation_prompt, &vars, err));
    tern_str_init(&out, (size_t)64 << 20);
    tern_code rc = tern_template_render(m->chat, vars, (int64_t)time(NULL), NULL, &out, err);
    json_decref(vars);
    if (rc == TERN_OK) {
        *n_text = out.len;
        *text = tern_str_take(&out);
        if (!*text)
            rc = tern_fail(err, TERN_E_NOMEM, "chat prompt: out of memory");
    }
    tern_str_done(&out);
    return rc;
}
