#include "server/openai.h"

#include "base/alloc.h"
#include "base/error.h"

#include <string.h>
#include <time.h>

/* ---- a reply ---------------------------------------------------------------------------------------- */

void *openai_reply_new(exchange *x, size_t n, param_endpoint endpoint, const char *id_prefix)
{
    openai_reply *r = tern_calloc(1, n);
    if (!r) {
        fault f = {0};
        (void)fault_set(&f, TERN_E_NOMEM, NULL, "out of memory for a request");
        fault_reply(x, &f);
        return NULL;
    }
    r->x = x;
    r->s = exchange_serving(x);
    r->created = (int64_t)time(NULL);
    generate_id(r->id, id_prefix, GENERATE_ID_LETTERS);
    if (generate_read(x, endpoint, &r->body, &r->p))
        return r;
    openai_reply_free(r);
    return NULL;
}

void openai_reply_free(openai_reply *r)
{
    generate_gather_done(&r->all);
    json_decref(r->body);
    tern_free(r);
}

json_t *openai_head(const openai_reply *r, const char *object)
{
    return json_pack("{s:s,s:s,s:I,s:s,s:s}", "id", r->id, "object", object, "created",
                     (json_int_t)r->created, "model", r->s->name, "system_fingerprint",
                     generate_fingerprint(r->s->words));
}

void openai_stream_begin(openai_reply *r, const char *chunk)
{
    r->began = true;
    r->chunk = chunk;
    exchange_stream_begin(r->x, "text/event-stream");
}

void openai_send(openai_reply *r, json_t *choices, const generate_usage *usage,
                 const generate_usage *timings, json_t *progress)
{
    json_t *chunk = openai_head(r, r->chunk);
    (void)json_object_set_new(chunk, "choices", choices);
    if (r->p.include_usage)
        (void)json_object_set_new(chunk, "usage", usage ? openai_usage(usage) : json_null());
    if (timings)
        (void)json_object_set_new(chunk, "timings", generate_timings_json(timings));
    if (progress)
        (void)json_object_set_new(chunk, "prompt_progress", progress);
    (void)exchange_event(r->x, NULL, chunk);
}

void openai_stream_end(openai_reply *r, const generate_event *end)
{
    if (!r->began) {
        fault_reply(r->x, end->fault);
        return;
    }
    if (end->fault) {
        (void)exchange_event(r->x, NULL, fault_json(r->x, end->fault));
    } else {
        if (r->p.include_usage)
            openai_send(r, json_array(), end->usage, NULL, NULL);
        (void)exchange_stream_write(r->x, "data: [DONE]\n\n", 14);
    }
    exchange_stream_end(r->x);
}

/* ---- formats --------------------------------------------------------------------------------------- */

static bool is_type(const json_t *object, const char *type)
{
    const char *s = json_string_value(json_object_get(object, "type"));
    return s && strcmp(s, type) == 0;
}

static tern_code read_format(const json_t *format, const char *name, generate_request *r, fault *f)
{
    const json_t *within = json_object_get(format, "json_schema");
    if (is_type(format, "text"))
        return TERN_OK;
    r->format_name = name;
    if (is_type(format, "json_object")) {
        r->format = GENERATE_JSON_OBJECT;
        r->format_json = json_object_get(format, "schema");
        if (json_is_object(r->format_json))
            r->format = GENERATE_JSON_SCHEMA;
        return TERN_OK;
    }
    if (!is_type(format, "json_schema"))
        return fault_set(f, TERN_E_USAGE, name,
                         "%s: expected a type of text, json_object or json_schema", name);
    r->format = GENERATE_JSON_SCHEMA;
    r->format_json = json_object_get(within ? within : format, "schema");
    if (!json_is_object(r->format_json) && !json_is_boolean(r->format_json))
        return fault_set(f, TERN_E_USAGE, name, "%s: expected a schema", name);
    return TERN_OK;
}

static void constrain(generate_request *r, generate_format kind, const char *text,
                      const json_t *json, const char *name, size_t *n)
{
    if (!text && !json)
        return;
    r->format = kind;
    r->format_text = text;
    r->format_json = json;
    r->format_name = name;
    ++*n;
}

tern_code openai_format(const params *p, const json_t *format, const char *format_name,
                        generate_request *r, fault *f)
{
    size_t n = 0;
    if (format)
        TERN_TRY(read_format(format, format_name, r, f));
    n += r->format != GENERATE_ANYTHING;
    constrain(r, GENERATE_GBNF, p->grammar, NULL, "grammar", &n);
    constrain(r, GENERATE_JSON_SCHEMA, NULL, p->json_schema, "json_schema", &n);
    constrain(r, GENERATE_REGEX, p->regex, NULL, "regex", &n);
    constrain(r, GENERATE_CHOICE, NULL, p->choice, "choice", &n);
    if (n > 1)
        return fault_set(
            f, TERN_E_USAGE, r->format_name,
            "%s: only one of a format, grammar, json_schema, regex and choice can hold",
            r->format_name);
    return TERN_OK;
}

/* ---- tools ------------------------------------------------------------------------------------------ */

tern_code openai_tool_choice(const json_t *choice, bool flat, generate_request *r, fault *f)
{
    static const struct {
        const char *word;
        generate_tools use;
    } words[] = {{"auto", GENERATE_TOOLS_AUTO},
                 {"none", GENERATE_TOOLS_NONE},
                 {"required", GENERATE_TOOLS_REQUIRED}};
    const char *word = json_string_value(choice);
    if (!choice)
        return TERN_OK;
    for (size_t i = 0; word && i < sizeof words / sizeof words[0]; i++)
        if (strcmp(word, words[i].word) == 0) {
            r->tool_use = words[i].use;
            return TERN_OK;
        }
    const json_t *function = flat ? choice : json_object_get(choice, "function");
    r->tool_use = GENERATE_TOOLS_NAMED;
    r->tool_name = json_string_value(json_object_get(function, "name"));
    if (!is_type(choice, "function") || !r->tool_name)
        return fault_set(f, TERN_E_USAGE, "tool_choice",
                         "tool_choice: expected auto, none, required, or a function by its name");
    return TERN_OK;
}

json_t *openai_vars(const params *p, const char *effort)
{
    json_t *vars = p->template_vars ? json_deep_copy(p->template_vars) : json_object();
    if (!effort)
        return vars;
    bool none = strcmp(effort, "none") == 0;
    if (!none)
        (void)json_object_set_new(vars, "reasoning_effort", json_string(effort));
    if (!json_object_get(vars, "enable_thinking"))
        (void)json_object_set_new(vars, "enable_thinking", json_boolean(!none));
    return vars;
}

/* ---- replies ----------------------------------------------------------------------------------------- */

json_t *openai_usage(const generate_usage *u)
{
    return json_pack("{s:I,s:I,s:I,s:{s:I,s:i},s:{s:I,s:i,s:i,s:i}}", "prompt_tokens",
                     (json_int_t)u->n_prompt, "completion_tokens", (json_int_t)u->n_generated,
                     "total_tokens", (json_int_t)(u->n_prompt + u->n_generated),
                     "prompt_tokens_details", "cached_tokens", (json_int_t)u->n_cached,
                     "audio_tokens", 0, "completion_tokens_details", "reasoning_tokens",
                     (json_int_t)u->n_reasoning, "audio_tokens", 0, "accepted_prediction_tokens", 0,
                     "rejected_prediction_tokens", 0);
}

const char *openai_finish(generate_finish f)
{
    switch (f) {
    case GENERATE_LENGTH:
        return "length";
    case GENERATE_CALLS:
        return "tool_calls";
    case GENERATE_STOP:
        break;
    }
    return "stop";
}

json_t *openai_text(const char *text, size_t n)
{
    return json_stringn(text, n);
}
