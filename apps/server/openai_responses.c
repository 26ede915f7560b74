/* POST /v1/responses, which keeps nothing, and /v1/responses/input_tokens.
 *
 * A reply is a list of items: reasoning, messages, calls. They are built one after another from the events;
 * a stream tells of each step, a whole reply of the outcome. */
#include "base/alloc.h"
#include "base/error.h"
#include "server/openai.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define MAX_ITEMS 4096
#define MAX_TEXT  ((size_t)64 << 20)

typedef struct response {
    exchange *x; /* the generation's reference keeps it */
    const serving *s;
    json_t *body;             /* owned; p borrows from it */
    json_t *messages, *tools; /* owned; what input and tools are for the model */
    params p;
    char id[GENERATE_ID];
    int64_t created;
    int64_t sequence; /* of the next event */
    bool began;
    json_t *output; /* owned; finished items */
    /* The item that is being made; GENERATE_END: none. */
    generate_event_kind open;
    char item_id[GENERATE_ID];
    char *name, *call_id; /* owned; of a call */
    tern_str text;
    json_t *tokens; /* owned; of a message, with probabilities; else NULL */
    bool cut;       /* max_output_tokens or the context ended it */
    bool failed;    /* memory is exhausted */
} response;

static void response_free(response *r)
{
    json_decref(r->body);
    json_decref(r->messages);
    json_decref(r->tools);
    json_decref(r->output);
    json_decref(r->tokens);
    tern_free(r->name);
    tern_free(r->call_id);
    tern_str_done(&r->text);
    tern_free(r);
}

/* ---- input ------------------------------------------------------------------------------------------- */

static tern_code bad_item(size_t i, const char *where, const char *expected, fault *f)
{
    (void)fault_set(f, TERN_E_USAGE, NULL, "input[%zu]%s: %s", i, where, expected);
    return fault_param(f, "input[%zu]%s", i, where);
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* A call belongs to the assistant's message before it, or makes one. */
static tern_code add_call(json_t *list, const json_t *item, size_t i, fault *f)
{
    const char *name = text_of(item, "name"), *id = text_of(item, "call_id");
    const char *arguments = text_of(item, "arguments");
    if (!name || !id || !arguments)
        return bad_item(i, "", "expected call_id, name and arguments", f);
    size_t n = json_array_size(list);
    json_t *last = n ? json_array_get(list, n - 1) : NULL;
    const char *role = text_of(last, "role");
    if (!role || strcmp(role, "assistant") != 0) {
        last = json_pack("{s:s,s:s}", "role", "assistant", "content", "");
        (void)json_array_append_new(list, last);
    }
    if (!json_object_get(last, "tool_calls"))
        (void)json_object_set_new(last, "tool_calls", json_array());
    (void)json_array_append_new(json_object_get(last, "tool_calls"),
                                json_pack("{s:s,s:s,s:{s:s,s:s}}", "id", id, "type", "function",
                                          "function", "name", name, "arguments", arguments));
    return TERN_OK;
}

static tern_code add_output(json_t *list, const json_t *item, size_t i, fault *f)
{
    const char *id = text_of(item, "call_id");
    json_t *output = json_object_get(item, "output");
    if (!id || (!json_is_string(output) && !json_is_array(output)))
        return bad_item(i, "", "expected call_id and output", f);
    (void)json_array_append_new(
        list, json_pack("{s:s,s:s,s:O}", "role", "tool", "tool_call_id", id, "content", output));
    return TERN_OK;
}

static tern_code add_item(json_t *list, json_t *item, size_t i, fault *f)
{
    const char *type = text_of(item, "type");
    if (!json_is_object(item))
        return bad_item(i, "", "expected an object", f);
    if (!type || strcmp(type, "message") == 0) {
        json_t *message = json_pack("{s:O,s:O}", "role", json_object_get(item, "role"), "content",
                                    json_object_get(item, "content"));
        if (!message)
            return bad_item(i, "", "expected a role and a content", f);
        (void)json_array_append_new(list, message);
        return TERN_OK;
    }
    if (strcmp(type, "function_call") == 0)
        return add_call(list, item, i, f);
    if (strcmp(type, "function_call_output") == 0)
        return add_output(list, item, i, f);
    if (strcmp(type, "reasoning") == 0)
        return TERN_OK; /* what the model thought before an earlier answer is not given again */
    return bad_item(i, ".type",
                    "expected message, function_call, function_call_output or reasoning", f);
}

static tern_code read_input(response *r, fault *f)
{
    const json_t *input = r->p.input;
    r->messages = json_array();
    if (r->p.instructions)
        (void)json_array_append_new(
            r->messages, json_pack("{s:s,s:s}", "role", "system", "content", r->p.instructions));
    if (json_is_string(input)) {
        (void)json_array_append_new(r->messages,
                                    json_pack("{s:s,s:O}", "role", "user", "content", input));
        return TERN_OK;
    }
    if (!json_is_array(input) || json_array_size(input) == 0 || json_array_size(input) > MAX_ITEMS)
        return fault_set(f, TERN_E_USAGE, "input",
                         "input: expected a text, or a list of 1 to %d items", MAX_ITEMS);
    for (size_t i = 0; i < json_array_size(input); i++)
        TERN_TRY(add_item(r->messages, json_array_get(input, i), i, f));
    return TERN_OK;
}

/* Tools are flat here. */
static tern_code read_tools(response *r, fault *f)
{
    const json_t *given = r->p.tools;
    if (!given)
        return TERN_OK;
    r->tools = json_array();
    for (size_t i = 0; i < json_array_size(given); i++) {
        json_t *tool = json_array_get(given, i);
        const char *type = text_of(tool, "type");
        if (!type || strcmp(type, "function") != 0) {
            (void)fault_set(f, TERN_E_USAGE, NULL, "tools[%zu]: only functions are supported", i);
            return fault_param(f, "tools[%zu]", i);
        }
        json_t *function = json_copy(tool);
        (void)json_object_del(function, "type");
        (void)json_array_append_new(
            r->tools, json_pack("{s:s,s:o}", "type", "function", "function", function));
    }
    return TERN_OK;
}

/* ---- the object -------------------------------------------------------------------------------------- */

static json_t *usage_json(const generate_usage *u)
{
    return json_pack("{s:I,s:{s:I},s:I,s:{s:I},s:I}", "input_tokens", (json_int_t)u->n_prompt,
                     "input_tokens_details", "cached_tokens", (json_int_t)u->n_cached,
                     "output_tokens", (json_int_t)u->n_generated, "output_tokens_details",
                     "reasoning_tokens", (json_int_t)u->n_reasoning, "total_tokens",
                     (json_int_t)(u->n_prompt + u->n_generated));
}

/* A value of the body as it came, or what stands for none. */
static json_t *as_given(const response *r, const char *key, json_t *otherwise)
{
    json_t *v = json_object_get(r->body, key);
    if (!v || json_is_null(v))
        return otherwise;
    json_decref(otherwise);
    return json_incref(v);
}

static json_t *response_json(const response *r, const char *status, const generate_usage *usage,
                             const fault *f)
{
    json_t *o =
        json_pack("{s:s,s:s,s:I,s:s,s:b,s:s,s:O,s:n,s:b}", "id", r->id, "object", "response",
                  "created_at", (json_int_t)r->created, "status", status, "background", 0, "model",
                  r->s->name, "output", r->output, "previous_response_id", "store", 0);
    (void)json_object_set_new(
        o, "error",
        f ? json_pack("{s:s,s:s}", "code", "server_error", "message", f->err.msg) : json_null());
    (void)json_object_set_new(o, "incomplete_details",
                              r->cut ? json_pack("{s:s}", "reason", "max_output_tokens")
                                     : json_null());
    (void)json_object_set_new(o, "instructions", as_given(r, "instructions", json_null()));
    (void)json_object_set_new(o, "max_output_tokens",
                              as_given(r, "max_output_tokens", json_null()));
    (void)json_object_set_new(o, "metadata", as_given(r, "metadata", json_object()));
    (void)json_object_set_new(o, "parallel_tool_calls", json_boolean(r->p.parallel_tool_calls));
    (void)json_object_set_new(
        o, "reasoning", as_given(r, "reasoning", json_pack("{s:n,s:n}", "effort", "summary")));
    (void)json_object_set_new(o, "temperature", json_real(r->p.temperature));
    (void)json_object_set_new(
        o, "text", as_given(r, "text", json_pack("{s:{s:s}}", "format", "type", "text")));
    (void)json_object_set_new(o, "tool_choice", as_given(r, "tool_choice", json_string("auto")));
    (void)json_object_set_new(o, "tools", as_given(r, "tools", json_array()));
    (void)json_object_set_new(o, "top_p", json_real(r->p.top_p));
    (void)json_object_set_new(o, "truncation", json_string("disabled"));
    (void)json_object_set_new(o, "usage", usage ? usage_json(usage) : json_null());
    return o;
}

/* ---- the stream -------------------------------------------------------------------------------------- */

/* Takes the fields over, and adds what every event has. */
static void send(response *r, const char *type, json_t *fields)
{
    if (!r->p.stream) {
        json_decref(fields);
        return;
    }
    (void)json_object_set_new(fields, "type", json_string(type));
    (void)json_object_set_new(fields, "sequence_number", json_integer(r->sequence++));
    (void)exchange_event(r->x, type, fields);
}

static void send_response(response *r, const char *type, const char *status,
                          const generate_usage *usage, const fault *f)
{
    send(r, type, json_pack("{s:o}", "response", response_json(r, status, usage, f)));
}

/* Fields that name the item in the making. part: and the part of it. */
static json_t *place(const response *r, bool part)
{
    json_t *o = json_pack("{s:s,s:I}", "item_id", r->item_id, "output_index",
                          (json_int_t)json_array_size(r->output));
    if (part)
        (void)json_object_set_new(o, "content_index", json_integer(0));
    return o;
}

static json_t *place_with(const response *r, bool part, const char *key, json_t *value)
{
    json_t *o = place(r, part);
    (void)json_object_set_new(o, key, value);
    return o;
}

/* ---- items ------------------------------------------------------------------------------------------- */

static json_t *text_json(const response *r)
{
    return openai_text(tern_str_get(&r->text), r->text.len);
}

static json_t *part_json(const response *r)
{
    if (r->open == GENERATE_REASONING)
        return json_pack("{s:s,s:o}", "type", "reasoning_text", "text", text_json(r));
    return json_pack("{s:s,s:o,s:[],s:o}", "type", "output_text", "text", text_json(r),
                     "annotations", "logprobs", r->tokens ? json_incref(r->tokens) : json_array());
}

static json_t *item_json(const response *r, const char *status, bool with_part)
{
    json_t *parts = with_part ? json_pack("[o]", part_json(r)) : json_array();
    if (r->open == GENERATE_TEXT)
        return json_pack("{s:s,s:s,s:s,s:s,s:o}", "id", r->item_id, "type", "message", "status",
                         status, "role", "assistant", "content", parts);
    if (r->open == GENERATE_REASONING)
        return json_pack("{s:s,s:s,s:s,s:[],s:o}", "id", r->item_id, "type", "reasoning", "status",
                         status, "summary", "content", parts);
    json_decref(parts);
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:o}", "id", r->item_id, "type", "function_call",
                     "status", status, "call_id", r->call_id, "name", r->name, "arguments",
                     text_json(r));
}

static json_t *item_place(const response *r, json_t *item)
{
    return json_pack("{s:I,s:o}", "output_index", (json_int_t)json_array_size(r->output), "item",
                     item);
}

static void close_item(response *r, const char *status)
{
    bool call = r->open == GENERATE_CALL;
    if (r->open == GENERATE_END)
        return;
    if (call) {
        json_t *done = place_with(r, false, "arguments", text_json(r));
        (void)json_object_set_new(done, "name", json_string(r->name));
        send(r, "response.function_call_arguments.done", done);
    } else {
        bool thought = r->open == GENERATE_REASONING;
        json_t *done = place_with(r, true, "text", text_json(r));
        if (!thought)
            (void)json_object_set_new(done, "logprobs",
                                      r->tokens ? json_incref(r->tokens) : json_array());
        send(r, thought ? "response.reasoning_text.done" : "response.output_text.done", done);
        send(r, "response.content_part.done", place_with(r, true, "part", part_json(r)));
    }
    json_t *item = item_json(r, status, true);
    send(r, "response.output_item.done", item_place(r, json_incref(item)));
    r->failed |= json_array_append_new(r->output, item) != 0;
    tern_str_clear(&r->text);
    json_decref(r->tokens);
    r->tokens = NULL;
    r->open = GENERATE_END;
}

static void open_item(response *r, const generate_event *ev)
{
    static const char *const prefixes[] = {
        [GENERATE_TEXT] = "msg_", [GENERATE_REASONING] = "rs_", [GENERATE_CALL] = "fc_"};
    close_item(r, "completed");
    r->open = ev->kind;
    generate_id(r->item_id, prefixes[ev->kind], GENERATE_ID_LETTERS);
    if (ev->kind == GENERATE_CALL) {
        tern_free(r->name);
        tern_free(r->call_id);
        r->name = tern_strdup_n(ev->name, strlen(ev->name));
        r->call_id = tern_strdup_n(ev->id, strlen(ev->id));
        r->failed |= !r->name || !r->call_id;
    }
    send(r, "response.output_item.added", item_place(r, item_json(r, "in_progress", false)));
    if (ev->kind != GENERATE_CALL)
        send(r, "response.content_part.added", place_with(r, true, "part", part_json(r)));
}

static void add_text(response *r, const generate_event *ev)
{
    static const char *const deltas[] = {[GENERATE_TEXT] = "response.output_text.delta",
                                         [GENERATE_REASONING] = "response.reasoning_text.delta",
                                         [GENERATE_ARGUMENTS] =
                                             "response.function_call_arguments.delta"};
    bool call = ev->kind == GENERATE_ARGUMENTS;
    if (!call && r->open != ev->kind)
        open_item(r, ev);
    json_t *tokens = json_array();
    for (size_t i = 0; ev->kind == GENERATE_TEXT && i < ev->n_token; i++)
        (void)json_array_append_new(tokens, generate_token_json(r->s->model, &ev->tokens[i]));
    if (json_array_size(tokens)) {
        if (!r->tokens)
            r->tokens = json_array();
        (void)json_array_extend(r->tokens, tokens);
    }
    tern_str_put(&r->text, ev->text, ev->n_text);
    r->failed |= r->text.failed;
    json_t *delta = place_with(r, !call, "delta", openai_text(ev->text, ev->n_text));
    if (ev->kind == GENERATE_TEXT)
        (void)json_object_set_new(delta, "logprobs", json_incref(tokens));
    json_decref(tokens);
    send(r, deltas[ev->kind], delta);
}

/* ---- events ------------------------------------------------------------------------------------------ */

static void begin(response *r)
{
    r->began = true;
    if (r->p.stream)
        exchange_stream_begin(r->x, "text/event-stream");
    send_response(r, "response.created", "in_progress", NULL, NULL);
    send_response(r, "response.in_progress", "in_progress", NULL, NULL);
}

static void end(response *r, const generate_event *ev)
{
    fault none = {0};
    const fault *f = ev->fault;
    const char *status = r->cut ? "incomplete" : "completed";
    close_item(r, status);
    if (r->failed && !f) {
        (void)fault_set(&none, TERN_E_NOMEM, NULL, "out of memory for an answer");
        f = &none;
    }
    if (!r->p.stream || !r->began) {
        if (f)
            fault_reply(r->x, f);
        else
            exchange_reply_json(r->x, 200, response_json(r, status, ev->usage, NULL));
    } else {
        send_response(r,
                      f        ? "response.failed"
                      : r->cut ? "response.incomplete"
                               : "response.completed",
                      f ? "failed" : status, ev->usage, f);
        exchange_stream_end(r->x);
    }
    response_free(r);
}

static void on_event(void *ctx, const generate_event *ev)
{
    response *r = ctx;
    if (!r->began && ev->kind != GENERATE_END)
        begin(r);
    switch (ev->kind) {
    case GENERATE_TEXT:
    case GENERATE_REASONING:
        if (ev->n_text || ev->n_token)
            add_text(r, ev);
        break;
    case GENERATE_CALL:
        open_item(r, ev);
        break;
    case GENERATE_ARGUMENTS:
        add_text(r, ev);
        break;
    case GENERATE_ANSWER:
        r->cut = ev->finish == GENERATE_LENGTH;
        break;
    case GENERATE_PING:
        if (r->p.stream)
            (void)exchange_stream_write(r->x, ": ping\n\n", 8);
        break;
    case GENERATE_END:
        end(r, ev);
        break;
    case GENERATE_PROMPT:
        break;
    }
}

/* ---- requests ---------------------------------------------------------------------------------------- */

static tern_code prepare(response *r, generate_request *q, fault *f)
{
    const params *p = &r->p;
    *q = (generate_request){.x = r->x, .p = p, .on_event = on_event, .ctx = r};
    TERN_TRY(read_input(r, f));
    TERN_TRY(read_tools(r, f));
    q->messages = r->messages;
    q->messages_name = "input";
    q->tools = r->tools;
    q->one_call = !p->parallel_tool_calls;
    q->logprobs = p->top_logprobs > 0;
    q->n_top = (int32_t)p->top_logprobs;
    TERN_TRY(openai_tool_choice(p->tool_choice, true, q, f));
    return openai_format(p, json_object_get(p->text, "format"), "text.format", q, f);
}

/* The body read, with everything that hangs on it; NULL: it has been answered. */
static response *response_new(exchange *x)
{
    fault f = {0};
    response *r = tern_calloc(1, sizeof *r);
    json_t *output = json_array();
    if (!r || !output) {
        (void)fault_set(&f, TERN_E_NOMEM, NULL, "out of memory for a request");
        fault_reply(x, &f);
        tern_free(r);
        json_decref(output);
        return NULL;
    }
    r->x = x;
    r->s = exchange_serving(x);
    r->created = (int64_t)time(NULL);
    r->open = GENERATE_END;
    r->output = output;
    tern_str_init(&r->text, MAX_TEXT);
    generate_id(r->id, "resp_", GENERATE_ID_LETTERS);
    if (generate_read(x, PARAM_RESPONSE, &r->body, &r->p))
        return r;
    response_free(r);
    return NULL;
}

static tern_code start(response *r, fault *f)
{
    generate_request q;
    const json_t *reasoning = r->p.reasoning;
    TERN_TRY(prepare(r, &q, f));
    json_t *vars = openai_vars(&r->p, text_of(reasoning, "effort"));
    q.vars = vars;
    tern_code rc = generate_start(&q, f);
    json_decref(vars);
    return rc;
}

void openai_responses(exchange *x)
{
    fault f = {0};
    response *r = response_new(x);
    if (r && start(r, &f) != TERN_OK) {
        fault_reply(x, &f);
        response_free(r);
    }
}

void openai_input_tokens(exchange *x)
{
    fault f = {0};
    generate_request q;
    size_t n = 0;
    response *r = response_new(x);
    if (!r)
        return;
    tern_code rc = prepare(r, &q, &f);
    if (rc == TERN_OK)
        rc = generate_count(&q, NULL, &n, &f);
    if (rc == TERN_OK)
        exchange_reply_json(x, 200,
                            json_pack("{s:s,s:I}", "object", "response.input_tokens",
                                      "input_tokens", (json_int_t)n));
    else
        fault_reply(x, &f);
    response_free(r);
}
