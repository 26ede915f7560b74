/* POST /api/chat and /api/generate: Ollama's conversations and prompts, lines of JSON as replies. */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "common/text_ids.h"
#include "server/ollama.h"

#include <string.h>

static tern_code no_memory(fault *f)
{
    return fault_set(f, TERN_E_NOMEM, NULL, "out of memory");
}

static bool is_empty(const json_t *text)
{
    return !text || json_is_null(text) || (json_is_string(text) && json_string_length(text) == 0);
}

/* ---- what is asked --------------------------------------------------------------------------- */

/* A request in the form of generate.h. */
typedef struct ask {
    json_t *messages, *vars; /* owned */
    json_t *ids;             /* owned: a prompt that goes on where another ended; or NULL */
    generate_prompt prompt;
    generate_format format;
} ask;

static void ask_done(ask *a)
{
    json_decref(a->messages);
    json_decref(a->vars);
    json_decref(a->ids);
}

/* Calls have whole objects as arguments here, and often no ids: then those of their places. */
static tern_code read_calls(const json_t *calls, size_t message, json_t *m, fault *f)
{
    json_t *out = json_array();
    if (json_object_set_new(m, "tool_calls", out) != 0)
        return no_memory(f);
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i), *id = json_object_get(call, "id"),
                     *function = json_object_get(call, "function"),
                     *name = json_object_get(function, "name"),
                     *arguments = json_object_get(function, "arguments");
        if (!json_is_string(name) || (arguments && !json_is_object(arguments))) {
            (void)fault_set(f, TERN_E_USAGE, NULL,
                            "the function of a call has a name and an object of arguments");
            return fault_param(f, "messages[%zu].tool_calls[%zu].function", message, i);
        }
        char *text = arguments ? json_dumps(arguments, JSON_COMPACT) : NULL;
        json_t *entry = NULL;
        if (text || !arguments)
            entry = json_pack("{s:o,s:s,s:{s:O,s:s}}", "id",
                              json_is_string(id) ? json_string(json_string_value(id))
                                                 : json_sprintf("call_%zu_%zu", message, i),
                              "type", "function", "function", "name", name, "arguments",
                              text ? text : "{}");
        free(text);
        if (json_array_append_new(out, entry) != 0)
            return no_memory(f);
    }
    return TERN_OK;
}

/* The results of calls without ids belong to the calls before them, in their order. */
static tern_code read_result(const json_t *from, const json_t *calls, size_t k, json_t *m, fault *f)
{
    json_t *id = json_object_get(from, "tool_call_id"), *name = json_object_get(from, "tool_name");
    const json_t *call = json_array_get(calls, k);
    if (!json_is_string(id))
        id = json_object_get(call, "id");
    if (!json_is_string(name))
        name = json_object_get(json_object_get(call, "function"), "name");
    if ((id && json_object_set(m, "tool_call_id", id) != 0) ||
        (name && json_object_set(m, "name", name) != 0))
        return no_memory(f);
    return TERN_OK;
}

static tern_code message_fault(fault *f, tern_code code, size_t i, const char *field,
                               const char *what)
{
    (void)fault_set(f, code, NULL, "%s", what);
    return fault_param(f, "messages[%zu]%s", i, field);
}

static tern_code read_message(const json_t *from, size_t i, json_t *out, fault *f)
{
    json_t *role = json_object_get(from, "role"), *content = json_object_get(from, "content"),
           *thinking = json_object_get(from, "thinking");
    const json_t *calls = json_object_get(from, "tool_calls"),
                 *images = json_object_get(from, "images");
    if (!json_is_object(from) || !json_is_string(role))
        return message_fault(f, TERN_E_USAGE, i, ".role",
                             "a message has a role: system, user, assistant or tool");
    if (!json_is_string(content) && content && !json_is_null(content))
        return message_fault(f, TERN_E_USAGE, i, ".content", "content is a string");
    if (json_array_size(images) > 0)
        return message_fault(f, TERN_E_UNSUPPORTED, i, ".images",
                             "the model reads text only, no images");
    json_t *m = json_pack("{s:O}", "role", role);
    if (json_array_append_new(out, m) != 0)
        return no_memory(f);
    content = json_is_string(content)      ? json_incref(content)
              : json_array_size(calls) > 0 ? json_null()
                                           : json_string("");
    if (json_object_set_new(m, "content", content) != 0)
        return no_memory(f);
    if (json_is_string(thinking) && json_string_length(thinking) > 0 &&
        json_object_set(m, "reasoning_content", thinking) != 0)
        return no_memory(f);
    return json_array_size(calls) > 0 ? read_calls(calls, i, m, f) : TERN_OK;
}

static tern_code read_messages(const params *p, ask *a, fault *f)
{
    const json_t *calls = NULL; /* of the last message that had some */
    size_t k = 0;               /* results since then */
    for (size_t i = 0; i < json_array_size(p->messages); i++) {
        const json_t *from = json_array_get(p->messages, i);
        TERN_TRY(read_message(from, i, a->messages, f));
        json_t *m = json_array_get(a->messages, i);
        if (strcmp(json_string_value(json_object_get(m, "role")), "tool") == 0) {
            TERN_TRY(read_result(from, calls, k++, m, f));
        } else if (json_object_get(m, "tool_calls")) {
            calls = json_object_get(m, "tool_calls");
            k = 0;
        }
    }
    return TERN_OK;
}

static tern_code read_think(const params *p, ask *a, fault *f)
{
    if (!p->think)
        return TERN_OK;
    const char *effort = json_string_value(p->think);
    if (!json_is_boolean(p->think) &&
        (!effort || (strcmp(effort, "low") != 0 && strcmp(effort, "medium") != 0 &&
                     strcmp(effort, "high") != 0)))
        return fault_set(f, TERN_E_USAGE, "think",
                         "think: expected true, false, \"low\", \"medium\" or \"high\"");
    if (json_object_set_new(a->vars, "enable_thinking", json_boolean(!json_is_false(p->think))) !=
            0 ||
        (effort && json_object_set_new(a->vars, "reasoning_effort", json_string(effort)) != 0))
        return no_memory(f);
    return TERN_OK;
}

static tern_code read_format(const params *p, ask *a, fault *f)
{
    if (json_is_object(p->format))
        a->format = GENERATE_JSON_SCHEMA;
    else if (json_is_string(p->format) && strcmp(json_string_value(p->format), "json") == 0)
        a->format = GENERATE_JSON_OBJECT;
    else if (!is_empty(p->format))
        return fault_set(f, TERN_E_USAGE, "format", "format: expected \"json\" or a JSON schema");
    return TERN_OK;
}

/* What /api/generate has and this server does not. */
static tern_code refuse(const params *p, fault *f)
{
    if (p->suffix && p->suffix[0])
        return fault_set(f, TERN_E_UNSUPPORTED, "suffix",
                         "suffix: the model cannot fill in before a text; leave it out");
    if (p->template_text && p->template_text[0])
        return fault_set(f, TERN_E_UNSUPPORTED, "template",
                         "template: only the model's own; with raw the prompt is taken as it is");
    if (json_array_size(p->images) > 0)
        return fault_set(f, TERN_E_UNSUPPORTED, "images", "images: the model reads text only");
    if (p->system && !json_is_string(p->system))
        return fault_set(f, TERN_E_USAGE, "system", "system: expected a string");
    return TERN_OK;
}

static tern_code read_prompt(const params *p, ask *a, fault *f)
{
    json_t *m;
    TERN_TRY(refuse(p, f));
    if (p->raw) {
        a->prompt = (generate_prompt){.text = p->prompt_text, .n_text = strlen(p->prompt_text)};
        return TERN_OK;
    }
    if (!is_empty(p->system)) {
        m = json_pack("{s:s,s:O}", "role", "system", "content", p->system);
        if (json_array_append_new(a->messages, m) != 0)
            return no_memory(f);
    }
    m = json_pack("{s:s,s:s}", "role", "user", "content", p->prompt_text);
    return json_array_append_new(a->messages, m) == 0 ? TERN_OK : no_memory(f);
}

static void fill(const ask *a, const params *p, generate_request *g)
{
    g->p = p;
    g->n_answer = 1;
    g->vars = a->vars;
    g->tools = json_array_size(p->tools) > 0 ? p->tools : NULL;
    g->format = a->format;
    g->format_json = p->format;
    g->format_name = "format";
    g->logprobs = p->logprobs || p->top_logprobs > 0;
    g->n_top = (int32_t)p->top_logprobs;
    if (a->ids || a->prompt.text) {
        g->prompts = &a->prompt;
        g->n_prompt = 1;
    } else {
        g->messages = a->messages;
    }
}

/* ---- the ids of a conversation --------------------------------------------------------------- */

/* generate takes up a conversation by its ids, which it gave with the answer before. */
static tern_code ids_of(const ask *a, const params *p, exchange *x, json_t **out, fault *f)
{
    const serving *s = exchange_serving(x);
    generate_request g = {.x = x};
    int32_t *ids = NULL;
    size_t n = 0;
    fill(a, p, &g);
    TERN_TRY(generate_count(&g, &ids, &n, f));
    json_t *all = p->context ? json_deep_copy(p->context) : json_array();
    /* the template begins anew: not in the middle of a text */
    size_t i = json_array_size(all) > 0 && n > 0 && s->info.bos >= 0 && ids[0] == s->info.bos;
    bool fine = all != NULL;
    for (; fine && i < n; i++)
        fine = json_array_append_new(all, json_integer(ids[i])) == 0;
    tern_ids_free(ids);
    if (!fine) {
        json_decref(all);
        return no_memory(f);
    }
    *out = all;
    return TERN_OK;
}

/* Append the ids of an answer, as its text has them. */
static bool add_ids(json_t *ids, const tern_model *m, const tern_str *text)
{
    tern_ids more = {0};
    bool fine = text_ids_add(&more, m, tern_str_get(text), text->len, 0, NULL) == TERN_OK;
    for (size_t i = 0; fine && i < more.n; i++)
        fine = json_array_append_new(ids, json_integer(more.v[i])) == 0;
    tern_ids_done(&more);
    return fine;
}

/* ---- replies --------------------------------------------------------------------------------- */

/* One reply on its way; it is gone when its last event was seen. */
typedef struct reply {
    exchange *x; /* borrowed: generate keeps it until then */
    const serving *s;
    bool chat, stream, begun;
    uint64_t begin_ns;
    json_t *context;        /* owned: ids of the prompt; NULL: of no interest */
    size_t n_call;          /* calls that were told */
    generate_gather gather; /* what came */
} reply;

static void reply_free(reply *r)
{
    json_decref(r->context);
    generate_gather_done(&r->gather);
    tern_free(r);
}

/* {"model","created_at"}, to which the rest is added. */
static json_t *line_new(const serving *s)
{
    char now[40];
    return json_pack("{s:o,s:s}", "model", ollama_name_json(s), "created_at", ollama_time(now, -1));
}

/* Text of a line: of the answer, or of what the model thinks. */
static bool put_text(json_t *line, bool chat, const char *text, size_t n, const char *thinking,
                     size_t n_thinking)
{
    json_t *to = line;
    if (chat) {
        to = json_pack("{s:s,s:s%}", "role", "assistant", "content", text, n);
        if (json_object_set_new(line, "message", to) != 0)
            return false;
    } else if (json_object_set_new(line, "response", json_stringn(text, n)) != 0) {
        return false;
    }
    return n_thinking == 0 ||
           json_object_set_new(to, "thinking", json_stringn(thinking, n_thinking)) == 0;
}

static bool put_calls(json_t *line, const generate_answer *a, size_t first)
{
    json_t *list = json_array();
    if (json_object_set_new(json_object_get(line, "message"), "tool_calls", list) != 0)
        return false;
    for (size_t i = first; i < a->n_call; i++) {
        const generate_call *c = &a->calls[i];
        json_t *arguments = json_loadb(tern_str_get(&c->arguments), c->arguments.len, 0, NULL);
        if (!json_is_object(arguments)) { /* cut by num_predict */
            json_decref(arguments);
            arguments = json_object();
        }
        json_t *call = json_pack("{s:s,s:{s:I,s:s,s:o}}", "id", c->id, "function", "index",
                                 (json_int_t)i, "name", c->name, "arguments", arguments);
        if (json_array_append_new(list, call) != 0)
            return false;
    }
    return true;
}

static bool put_tokens(json_t *line, const tern_model *m, const generate_token *tokens, size_t n)
{
    json_t *list = json_array();
    if (json_object_set_new(line, "logprobs", list) != 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if (json_array_append_new(list, generate_token_json(m, &tokens[i])) != 0)
            return false;
    return true;
}

static json_int_t ns(double seconds)
{
    return (json_int_t)(seconds * 1e9);
}

static bool put_end(json_t *line, reply *r, const generate_answer *a)
{
    const generate_usage *u = &a->usage;
    json_t *end = json_pack("{s:b,s:s,s:I,s:i,s:I,s:I,s:I,s:I}", "done", 1, "done_reason",
                            a->finish == GENERATE_LENGTH ? "length" : "stop", "total_duration",
                            (json_int_t)(tern_clock_ns() - r->begin_ns), "load_duration", 0,
                            "prompt_eval_count", (json_int_t)u->n_prompt, "prompt_eval_duration",
                            ns(u->prompt_s), "eval_count", (json_int_t)u->n_generated,
                            "eval_duration", ns(u->generate_s));
    bool fine = end && json_object_update(line, end) == 0;
    json_decref(end);
    if (fine && r->context)
        fine = add_ids(r->context, r->s->model, &a->text) &&
               json_object_set(line, "context", r->context) == 0;
    return fine;
}

/* ---- as lines -------------------------------------------------------------------------------- */

/* Releases the line. NULL: the stream cannot go on as it should. */
static void write_line(reply *r, json_t *line)
{
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
    if (!r->begun)
        exchange_stream_begin(r->x, "application/x-ndjson");
    r->begun = true;
    if (text) {
        size_t n = strlen(text);
        text[n] = '\n'; /* in the place of the NUL, as writing counts */
        (void)exchange_stream_write(r->x, text, n + 1);
    } else {
        static const char lost[] = "{\"error\":\"out of memory\"}\n";
        (void)exchange_stream_write(r->x, lost, sizeof lost - 1);
    }
    free(text);
    json_decref(line);
}

static json_t *or_null(json_t *line, bool fine)
{
    if (fine)
        return line;
    json_decref(line);
    return NULL;
}

static bool not_done(json_t *line)
{
    return json_object_set_new(line, "done", json_false()) == 0;
}

/* Calls go out whole. */
static void write_calls(reply *r, size_t n_whole)
{
    generate_answer *a = &r->gather.v[0];
    if (n_whole <= r->n_call)
        return;
    json_t *line = line_new(r->s);
    write_line(r, or_null(line, line && put_text(line, r->chat, "", 0, NULL, 0) &&
                                    put_calls(line, a, r->n_call) && not_done(line)));
    r->n_call = n_whole;
}

static void write_text(reply *r, const generate_event *ev)
{
    bool thinks = ev->kind == GENERATE_REASONING;
    if (ev->n_text == 0 && ev->n_token == 0 && ev->kind != GENERATE_PING)
        return;
    json_t *line = line_new(r->s);
    bool fine = line && put_text(line, r->chat, ev->text, thinks ? 0 : ev->n_text, ev->text,
                                 thinks ? ev->n_text : 0);
    if (fine && ev->n_token > 0)
        fine = put_tokens(line, r->s->model, ev->tokens, ev->n_token);
    write_line(r, or_null(line, fine && not_done(line)));
}

static void on_stream(void *ctx, const generate_event *ev)
{
    reply *r = ctx;
    generate_answer *a = &r->gather.v[0];
    size_t n_before = a->n_call;
    generate_gather_add(&r->gather, ev);
    switch (ev->kind) {
    case GENERATE_TEXT:
    case GENERATE_REASONING:
    case GENERATE_PING: /* a line without text */
        write_text(r, ev);
        break;
    case GENERATE_CALL:
        write_calls(r, n_before);
        break;
    case GENERATE_ANSWER: {
        write_calls(r, a->n_call);
        json_t *line = line_new(r->s);
        bool fine = line && put_text(line, r->chat, "", 0, NULL, 0) && put_end(line, r, a);
        write_line(r, or_null(line, fine && !r->gather.failed));
        break;
    }
    case GENERATE_PROMPT:
    case GENERATE_ARGUMENTS:
        break;
    case GENERATE_END:
        if (ev->fault && r->begun)
            write_line(r, fault_json(r->x, ev->fault));
        else if (ev->fault)
            fault_reply(r->x, ev->fault);
        if (r->begun)
            exchange_stream_end(r->x);
        reply_free(r);
        break;
    }
}

/* ---- whole ----------------------------------------------------------------------------------- */

static void on_whole(void *ctx, const generate_event *ev)
{
    reply *r = ctx;
    const generate_answer *a = &r->gather.v[0];
    generate_gather_add(&r->gather, ev);
    if (ev->kind != GENERATE_END)
        return;
    if (ev->fault) {
        fault_reply(r->x, ev->fault);
    } else {
        json_t *line = line_new(r->s);
        bool fine = line && !r->gather.failed &&
                    put_text(line, r->chat, tern_str_get(&a->text), a->text.len,
                             tern_str_get(&a->reasoning), a->reasoning.len);
        if (fine && a->n_call > 0)
            fine = put_calls(line, a, 0);
        if (fine && a->tokens)
            fine = json_object_set(line, "logprobs", a->tokens) == 0;
        exchange_reply_json(r->x, 200, or_null(line, fine && put_end(line, r, a)));
    }
    reply_free(r);
}

/* ---- endpoints ------------------------------------------------------------------------------- */

/* A request without a text asks for the model to be loaded: it is. */
static void reply_loaded(exchange *x, bool chat)
{
    json_t *line = line_new(exchange_serving(x));
    bool fine = line && put_text(line, chat, "", 0, NULL, 0) &&
                json_object_set_new(line, "done", json_true()) == 0 &&
                json_object_set_new(line, "done_reason", json_string("load")) == 0;
    exchange_reply_json(x, 200, or_null(line, fine));
}

static tern_code read_all(exchange *x, const params *p, bool chat, ask *a, json_t **context,
                          fault *f)
{
    a->messages = json_array();
    a->vars = json_object();
    if (!a->messages || !a->vars)
        return no_memory(f);
    TERN_TRY(chat ? read_messages(p, a, f) : read_prompt(p, a, f));
    TERN_TRY(read_think(p, a, f));
    TERN_TRY(read_format(p, a, f));
    if (chat || p->raw)
        return TERN_OK;
    TERN_TRY(ids_of(a, p, x, context, f));
    if (json_array_size(p->context) > 0) {
        /* The reply's thread may add to its own and be done with it before this one is; jansson reads a
         * count of references that another thread lowers. */
        a->ids = json_deep_copy(*context);
        if (!a->ids)
            return no_memory(f);
        a->prompt.ids = a->ids;
    }
    return TERN_OK;
}

static tern_code start(exchange *x, const params *p, bool chat, fault *f)
{
    const serving *s = exchange_serving(x);
    generate_request g = {.x = x};
    ask a = {0};
    reply *r = tern_calloc(1, sizeof *r);
    tern_code rc = r ? TERN_OK : no_memory(f);
    if (rc == TERN_OK && generate_gather_init(&r->gather, s->model, 1, NULL) != TERN_OK)
        rc = no_memory(f);
    if (rc == TERN_OK)
        rc = read_all(x, p, chat, &a, &r->context, f);
    if (rc == TERN_OK) {
        r->x = x;
        r->s = s;
        r->chat = chat;
        r->stream = p->stream;
        r->gather.no_tokens = r->stream;
        r->begin_ns = tern_clock_ns();
        g.on_event = r->stream ? on_stream : on_whole;
        g.ctx = r;
        fill(&a, p, &g);
        rc = generate_start(&g, f);
    }
    if (rc != TERN_OK && r)
        reply_free(r);
    ask_done(&a);
    return rc;
}

static void serve(exchange *x, bool chat)
{
    json_t *body;
    params p;
    fault f = {0};
    if (!generate_read(x, chat ? PARAM_OLLAMA_CHAT : PARAM_OLLAMA_GENERATE, &body, &p))
        return;
    if (chat ? json_array_size(p.messages) == 0 : !p.prompt_text || !p.prompt_text[0])
        reply_loaded(x, chat);
    else if (start(x, &p, chat, &f) != TERN_OK)
        fault_reply(x, &f);
    json_decref(body);
}

void server_ollama_chat(exchange *x)
{
    serve(x, true);
}

void server_ollama_generate(exchange *x)
{
    serve(x, false);
}
