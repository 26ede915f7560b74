/* POST /v1/chat/completions. */
#include "base/error.h"
#include "server/openai.h"

#include <string.h>

typedef struct chat {
    openai_reply r;
    json_t *tools;  /* owned; made of functions; else NULL */
    bool old_calls; /* functions, not tools, were given */
    int32_t n;
} chat;

static void chat_free(chat *c)
{
    json_decref(c->tools);
    openai_reply_free(&c->r);
}

/* ---- chunks ------------------------------------------------------------------------------------------ */

/* A chunk of one answer. finish NULL: more comes. */
static void send_delta(chat *c, const generate_event *ev, json_t *delta, const char *finish)
{
    json_t *tokens = NULL, *choice;
    if (ev->n_token && ev->kind == GENERATE_TEXT) {
        tokens = json_array();
        for (size_t i = 0; i < ev->n_token; i++)
            (void)json_array_append_new(tokens, generate_token_json(c->r.s->model, &ev->tokens[i]));
        tokens = json_pack("{s:o,s:n}", "content", tokens, "refusal");
    }
    choice = json_pack("{s:i,s:o,s:o,s:o}", "index", (int)ev->answer, "delta", delta, "logprobs",
                       tokens ? tokens : json_null(), "finish_reason",
                       finish ? json_string(finish) : json_null());
    openai_send(&c->r, json_pack("[o]", choice), NULL, finish || c->r.p.timings ? ev->usage : NULL,
                NULL);
}

static void begin_stream(chat *c)
{
    openai_stream_begin(&c->r, "chat.completion.chunk");
    for (int32_t i = 0; i < c->n; i++) {
        generate_event ev = {.kind = GENERATE_PROMPT, .answer = i};
        send_delta(c, &ev, json_pack("{s:s,s:s}", "role", "assistant", "content", ""), NULL);
    }
}

static void send_progress(chat *c, const generate_event *ev)
{
    json_t *progress = json_pack("{s:I,s:I,s:I}", "total", (json_int_t)ev->n_prompt, "cache",
                                 (json_int_t)ev->n_cached, "processed", (json_int_t)ev->n_done);
    openai_send(&c->r, json_array(), NULL, NULL, progress);
}

static void send_call(chat *c, const generate_event *ev)
{
    bool first = ev->kind == GENERATE_CALL;
    json_t *function = first ? json_pack("{s:s,s:s}", "name", ev->name, "arguments", "")
                             : json_pack("{s:o}", "arguments", openai_text(ev->text, ev->n_text));
    if (c->old_calls) {
        send_delta(c, ev, json_pack("{s:o}", "function_call", function), NULL);
        return;
    }
    json_t *call = first ? json_pack("{s:i,s:s,s:s,s:o}", "index", (int)ev->call, "id", ev->id,
                                     "type", "function", "function", function)
                         : json_pack("{s:i,s:o}", "index", (int)ev->call, "function", function);
    send_delta(c, ev, json_pack("{s:[o]}", "tool_calls", call), NULL);
}

static const char *finish_word(const chat *c, generate_finish f)
{
    return f == GENERATE_CALLS && c->old_calls ? "function_call" : openai_finish(f);
}

static void on_stream(void *ctx, const generate_event *ev)
{
    chat *c = ctx;
    if (!c->r.began && !ev->fault)
        begin_stream(c);
    switch (ev->kind) {
    case GENERATE_PROMPT:
        if (c->r.p.progress)
            send_progress(c, ev);
        break;
    case GENERATE_TEXT:
        if (ev->n_text || ev->n_token)
            send_delta(c, ev, json_pack("{s:o}", "content", openai_text(ev->text, ev->n_text)),
                       NULL);
        break;
    case GENERATE_REASONING:
        if (ev->n_text)
            send_delta(c, ev,
                       json_pack("{s:o}", "reasoning_content", openai_text(ev->text, ev->n_text)),
                       NULL);
        break;
    case GENERATE_CALL:
    case GENERATE_ARGUMENTS:
        send_call(c, ev);
        break;
    case GENERATE_ANSWER:
        send_delta(c, ev, json_object(), finish_word(c, ev->finish));
        break;
    case GENERATE_PING:
        (void)exchange_stream_write(c->r.x, ": ping\n\n", 8);
        break;
    case GENERATE_END:
        openai_stream_end(&c->r, ev);
        chat_free(c);
        break;
    }
}

/* ---- whole replies ----------------------------------------------------------------------------------- */

static json_t *calls_json(const generate_answer *a)
{
    json_t *list = json_array();
    for (size_t i = 0; i < a->n_call; i++) {
        const generate_call *k = &a->calls[i];
        (void)json_array_append_new(
            list, json_pack("{s:s,s:s,s:{s:s,s:o}}", "id", k->id, "type", "function", "function",
                            "name", k->name, "arguments",
                            openai_text(tern_str_get(&k->arguments), k->arguments.len)));
    }
    return list;
}

static json_t *message_json(const chat *c, const generate_answer *a)
{
    json_t *m =
        json_pack("{s:s,s:o,s:n}", "role", "assistant", "content",
                  a->n_call && a->text.len == 0 ? json_null()
                                                : openai_text(tern_str_get(&a->text), a->text.len),
                  "refusal");
    if (a->reasoning.len)
        (void)json_object_set_new(m, "reasoning_content",
                                  openai_text(tern_str_get(&a->reasoning), a->reasoning.len));
    if (a->n_call && c->old_calls)
        (void)json_object_set_new(m, "function_call",
                                  json_pack("{s:s,s:o}", "name", a->calls[0].name, "arguments",
                                            openai_text(tern_str_get(&a->calls[0].arguments),
                                                        a->calls[0].arguments.len)));
    else if (a->n_call)
        (void)json_object_set_new(m, "tool_calls", calls_json(a));
    return m;
}

static void reply(chat *c, const generate_usage *usage)
{
    json_t *choices = json_array(), *whole = openai_head(&c->r, "chat.completion");
    for (size_t i = 0; i < c->r.all.n; i++) {
        generate_answer *a = &c->r.all.v[i];
        json_t *logprobs = json_null();
        if (c->r.p.logprobs) {
            logprobs =
                json_pack("{s:o,s:n}", "content", a->tokens ? a->tokens : json_array(), "refusal");
            a->tokens = NULL;
        }
        (void)json_array_append_new(
            choices, json_pack("{s:i,s:o,s:o,s:s}", "index", (int)i, "message", message_json(c, a),
                               "logprobs", logprobs, "finish_reason", finish_word(c, a->finish)));
    }
    if (json_object_set_new(whole, "choices", choices) != 0 ||
        json_object_set_new(whole, "usage", openai_usage(usage)) != 0 ||
        json_object_set_new(whole, "timings", generate_timings_json(usage)) != 0) {
        json_decref(whole);
        whole = NULL;
    }
    exchange_reply_json(c->r.x, 200, whole);
}

static void on_whole(void *ctx, const generate_event *ev)
{
    chat *c = ctx;
    if (ev->kind != GENERATE_END) {
        generate_gather_add(&c->r.all, ev);
        return;
    }
    if (ev->fault)
        fault_reply(c->r.x, ev->fault);
    else
        reply(c, ev->usage);
    chat_free(c);
}

/* ---- the request ------------------------------------------------------------------------------------- */

static bool all_functions(const json_t *tools)
{
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const char *type = json_string_value(json_object_get(json_array_get(tools, i), "type"));
        if (!type || strcmp(type, "function") != 0)
            return false;
    }
    return true;
}

/* The older names of tools and tool_choice. */
static tern_code read_functions(chat *c, generate_request *r, fault *f)
{
    size_t i;
    json_t *one;
    c->old_calls = true;
    c->tools = json_array();
    json_array_foreach((json_t *)(uintptr_t)c->r.p.functions, i, one)(void) json_array_append_new(
        c->tools, json_pack("{s:s,s:O}", "type", "function", "function", one));
    r->tools = c->tools;
    r->tools_name = "functions";
    r->one_call = true;
    const json_t *call = c->r.p.function_call;
    if (json_is_object(call)) {
        r->tool_use = GENERATE_TOOLS_NAMED;
        r->tool_name = json_string_value(json_object_get(call, "name"));
        return r->tool_name ? TERN_OK
                            : fault_set(f, TERN_E_USAGE, "function_call",
                                        "function_call: expected auto, none, or {\"name\": ...}");
    }
    return openai_tool_choice(call, false, r, f);
}

static tern_code read_tools(chat *c, generate_request *r, fault *f)
{
    const params *p = &c->r.p;
    if (p->functions && !p->tools)
        return read_functions(c, r, f);
    r->tools = p->tools;
    r->one_call = !p->parallel_tool_calls;
    if (!all_functions(p->tools))
        return fault_set(f, TERN_E_USAGE, "tools", "tools: only functions are supported");
    return openai_tool_choice(p->tool_choice, false, r, f);
}

static tern_code read_rest(const params *p, generate_request *r, fault *f)
{
    if (!p->messages)
        return fault_set(f, TERN_E_USAGE, "messages", "messages: required");
    if (p->top_logprobs && !p->logprobs)
        return fault_set(f, TERN_E_USAGE, "top_logprobs", "top_logprobs: needs logprobs");
    for (size_t i = 0; i < json_array_size(p->modalities); i++) {
        const char *s = json_string_value(json_array_get(p->modalities, i));
        if (!s || strcmp(s, "text") != 0)
            return fault_set(f, TERN_E_USAGE, "modalities", "modalities: only text is supported");
    }
    if (p->continue_last) {
        const json_t *last = json_array_get(p->messages, json_array_size(p->messages) - 1);
        const char *role = json_string_value(json_object_get(last, "role"));
        if (!role || strcmp(role, "assistant") != 0 ||
            !json_is_string(json_object_get(last, "content")))
            return fault_set(f, TERN_E_USAGE, "continue_final_message",
                             "continue_final_message: the last message is to be an assistant's, "
                             "with text");
        r->continue_last = true;
    }
    r->messages = p->messages;
    r->logprobs = p->logprobs;
    r->n_top = (int32_t)p->top_logprobs;
    r->progress = p->progress;
    r->keep_reasoning = strcmp(p->reasoning_format, "none") == 0;
    return openai_format(p, p->response_format, "response_format", r, f);
}

static tern_code start(chat *c, fault *f)
{
    generate_request r = {.x = c->r.x, .p = &c->r.p, .ctx = c};
    TERN_TRY(read_rest(&c->r.p, &r, f));
    TERN_TRY(read_tools(c, &r, f));
    r.on_event = c->r.p.stream ? on_stream : on_whole;
    c->n = (int32_t)c->r.p.n;
    if (!c->r.p.stream &&
        generate_gather_init(&c->r.all, c->r.s->model, (size_t)c->n, &f->err) != TERN_OK)
        return f->err.code;
    json_t *vars = openai_vars(&c->r.p, c->r.p.reasoning_effort);
    r.vars = vars;
    tern_code rc = generate_start(&r, f);
    json_decref(vars);
    return rc;
}

void openai_chat(exchange *x)
{
    fault f = {0};
    chat *c = openai_reply_new(x, sizeof *c, PARAM_CHAT, "chatcmpl-");
    if (c && start(c, &f) != TERN_OK) {
        fault_reply(x, &f);
        chat_free(c);
    }
}
