/* POST /v1/messages and /v1/messages/count_tokens: replies in the form of Anthropic's Messages. */
#include "server/anthropic.h"
#include "base/alloc.h"
#include "base/error.h"

#include <string.h>

typedef enum block_kind { BLOCK_NONE, BLOCK_TEXT, BLOCK_THINKING, BLOCK_CALL } block_kind;

/* One reply on its way; it is gone when its last event was seen. */
typedef struct reply {
    exchange *x; /* borrowed: generate keeps it until then */
    const char *model;
    char id[40]; /* "msg_..." */
    bool omit_thinking;
    int64_t max_tokens;
    json_t *stops; /* owned; a string or a list: what stop strings there were */

    bool stream;
    bool replied;    /* the stream is open, and */
    bool begun;      /* its message, too */
    block_kind open; /* the block that grows */
    int n_block;
    size_t n_prompt, n_cached;

    generate_gather gather; /* of a whole reply */
} reply;

static void reply_free(reply *r)
{
    json_decref(r->stops);
    generate_gather_done(&r->gather);
    tern_free(r);
}

/* ---- parts of both forms --------------------------------------------------------------------- */

/* What was cached is counted apart from what was read, and nothing is billed for keeping it. */
static json_t *usage_json(size_t n_prompt, size_t n_cached, size_t n_generated)
{
    return json_pack("{s:I,s:i,s:I,s:I}", "input_tokens", (json_int_t)(n_prompt - n_cached),
                     "cache_creation_input_tokens", 0, "cache_read_input_tokens",
                     (json_int_t)n_cached, "output_tokens", (json_int_t)n_generated);
}

static json_t *final_usage_json(const generate_usage *u)
{
    json_t *usage = usage_json(u->n_prompt, u->n_cached, u->n_generated);
    json_t *details = json_pack("{s:I}", "thinking_tokens", (json_int_t)u->n_reasoning);
    if (json_object_set_new(usage, "output_tokens_details", details) != 0) {
        json_decref(usage);
        return NULL;
    }
    return usage;
}

static json_t *stop_sequence_json(const reply *r, int32_t stop)
{
    json_t *s = json_is_array(r->stops) ? json_array_get(r->stops, (size_t)stop) : r->stops;
    return stop >= 0 && s ? json_incref(s) : json_null();
}

static const char *stop_reason(const reply *r, generate_finish finish, int32_t stop,
                               size_t n_generated)
{
    switch (finish) {
    case GENERATE_CALLS:
        return "tool_use";
    case GENERATE_LENGTH:
        return (int64_t)n_generated < r->max_tokens ? "model_context_window_exceeded"
                                                    : "max_tokens";
    case GENERATE_STOP:
        break;
    }
    return stop >= 0 ? "stop_sequence" : "end_turn";
}

/* "call_..." as this dialect names it. */
static json_t *call_id_json(const char *id)
{
    return strncmp(id, "call_", 5) == 0 ? json_sprintf("toolu_%s", id + 5) : json_string(id);
}

static json_t *message_json(const reply *r, json_t *content, json_t *reason, json_t *sequence,
                            json_t *usage)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:o,s:o,s:o,s:o}", "id", r->id, "type", "message", "role",
                     "assistant", "model", r->model, "content", content, "stop_reason", reason,
                     "stop_sequence", sequence, "usage", usage);
}

/* ---- a stream -------------------------------------------------------------------------------- */

static void open_stream(reply *r)
{
    if (!r->replied)
        exchange_stream_begin(r->x, "text/event-stream");
    r->replied = true;
}

static void ping(reply *r)
{
    open_stream(r);
    (void)exchange_event(r->x, "ping", json_pack("{s:s}", "type", "ping"));
}

static void begin(reply *r)
{
    if (r->begun)
        return;
    open_stream(r);
    r->begun = true;
    json_t *m = message_json(r, json_array(), json_null(), json_null(),
                             usage_json(r->n_prompt, r->n_cached, 0));
    (void)exchange_event(r->x, "message_start",
                         json_pack("{s:s,s:o}", "type", "message_start", "message", m));
}

static void close_block(reply *r)
{
    if (r->open != BLOCK_NONE)
        (void)exchange_event(
            r->x, "content_block_stop",
            json_pack("{s:s,s:i}", "type", "content_block_stop", "index", r->n_block - 1));
    r->open = BLOCK_NONE;
}

static void open_block(reply *r, block_kind kind, json_t *block)
{
    close_block(r);
    r->open = kind;
    (void)exchange_event(r->x, "content_block_start",
                         json_pack("{s:s,s:i,s:o}", "type", "content_block_start", "index",
                                   r->n_block, "content_block", block));
    if (r->n_block++ == 0)
        ping(r);
}

static void open_text(reply *r)
{
    if (r->open != BLOCK_TEXT)
        open_block(r, BLOCK_TEXT, json_pack("{s:s,s:s}", "type", "text", "text", ""));
}

static void delta(reply *r, const char *type, const char *key, const char *text, size_t n)
{
    json_t *d = json_pack("{s:s,s:s%}", "type", type, key, text, n);
    (void)exchange_event(r->x, "content_block_delta",
                         json_pack("{s:s,s:i,s:o}", "type", "content_block_delta", "index",
                                   r->n_block - 1, "delta", d));
}

static void stream_thinking(reply *r, const generate_event *ev)
{
    if (ev->n_text == 0)
        return;
    if (r->open != BLOCK_THINKING)
        open_block(r, BLOCK_THINKING,
                   json_pack("{s:s,s:s,s:s}", "type", "thinking", "thinking", "", "signature", ""));
    if (!r->omit_thinking)
        delta(r, "thinking_delta", "thinking", ev->text, ev->n_text);
}

static void stream_answer(reply *r, const generate_event *ev)
{
    if (r->n_block == 0)
        open_text(r); /* clients look at the first block */
    close_block(r);
    json_t *d = json_pack("{s:s,s:o}", "stop_reason",
                          stop_reason(r, ev->finish, ev->stop, ev->usage->n_generated),
                          "stop_sequence", stop_sequence_json(r, ev->stop));
    (void)exchange_event(r->x, "message_delta",
                         json_pack("{s:s,s:o,s:o}", "type", "message_delta", "delta", d, "usage",
                                   final_usage_json(ev->usage)));
}

static void stream_end(reply *r, const fault *f)
{
    if (!r->replied && f) {
        fault_reply(r->x, f);
    } else if (f) {
        (void)exchange_event(r->x, "error", fault_json(r->x, f));
        exchange_stream_end(r->x);
    } else {
        (void)exchange_event(r->x, "message_stop", json_pack("{s:s}", "type", "message_stop"));
        exchange_stream_end(r->x);
    }
}

static void on_stream(void *ctx, const generate_event *ev)
{
    reply *r = ctx;
    if (ev->kind == GENERATE_PROMPT) {
        r->n_prompt = ev->n_prompt;
        r->n_cached = ev->n_cached;
    }
    if (ev->kind != GENERATE_PING && (ev->kind != GENERATE_END || !ev->fault))
        begin(r);
    switch (ev->kind) {
    case GENERATE_PROMPT:
        break;
    case GENERATE_PING:
        ping(r);
        break;
    case GENERATE_TEXT:
        if (ev->n_text > 0) {
            open_text(r);
            delta(r, "text_delta", "text", ev->text, ev->n_text);
        }
        break;
    case GENERATE_REASONING:
        stream_thinking(r, ev);
        break;
    case GENERATE_CALL:
        open_block(r, BLOCK_CALL,
                   json_pack("{s:s,s:o,s:s,s:{}}", "type", "tool_use", "id", call_id_json(ev->id),
                             "name", ev->name, "input"));
        break;
    case GENERATE_ARGUMENTS:
        if (ev->n_text > 0)
            delta(r, "input_json_delta", "partial_json", ev->text, ev->n_text);
        break;
    case GENERATE_ANSWER:
        stream_answer(r, ev);
        break;
    case GENERATE_END:
        stream_end(r, ev->fault);
        reply_free(r);
        break;
    }
}

/* ---- a whole reply --------------------------------------------------------------------------- */

static bool add_thinking(const reply *r, const generate_answer *a, json_t *content)
{
    const char *text = r->omit_thinking ? "" : tern_str_get(&a->reasoning);
    size_t n = r->omit_thinking ? 0 : a->reasoning.len;
    return json_array_append_new(content, json_pack("{s:s,s:s%,s:s}", "type", "thinking",
                                                    "thinking", text, n, "signature", "")) == 0;
}

static bool add_call(const generate_call *c, json_t *content)
{
    json_t *input = json_loadb(tern_str_get(&c->arguments), c->arguments.len, 0, NULL);
    if (!input) /* cut by max_tokens */
        input = json_object();
    return json_array_append_new(content, json_pack("{s:s,s:o,s:s,s:o}", "type", "tool_use", "id",
                                                    call_id_json(c->id), "name", c->name, "input",
                                                    input)) == 0;
}

static json_t *content_json(const reply *r, const generate_answer *a)
{
    json_t *content = json_array();
    bool fine = content != NULL;
    if (fine && a->reasoning.len > 0)
        fine = add_thinking(r, a, content);
    if (fine && (a->text.len > 0 || (a->n_call == 0 && a->reasoning.len == 0)))
        fine = json_array_append_new(content, json_pack("{s:s,s:s%}", "type", "text", "text",
                                                        tern_str_get(&a->text), a->text.len)) == 0;
    for (size_t i = 0; fine && i < a->n_call; i++)
        fine = add_call(&a->calls[i], content);
    if (!fine) {
        json_decref(content);
        return NULL;
    }
    return content;
}

static void on_whole(void *ctx, const generate_event *ev)
{
    reply *r = ctx;
    generate_gather_add(&r->gather, ev);
    if (ev->kind != GENERATE_END)
        return;
    const generate_answer *a = &r->gather.v[0];
    if (ev->fault) {
        fault_reply(r->x, ev->fault);
    } else {
        const char *reason = stop_reason(r, a->finish, a->stop, a->usage.n_generated);
        exchange_reply_json(r->x, 200,
                            r->gather.failed
                                ? NULL
                                : message_json(r, content_json(r, a), json_string(reason),
                                               stop_sequence_json(r, a->stop),
                                               final_usage_json(&a->usage)));
    }
    reply_free(r);
}

/* ---- endpoints ------------------------------------------------------------------------------- */

static reply *reply_new(exchange *x, const params *p, bool omit_thinking)
{
    const serving *s = exchange_serving(x);
    const char *id = exchange_id(x), *tail = strchr(id, '_');
    tern_err err;
    reply *r = tern_calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->x = x;
    r->model = s->name;
    r->stream = p->stream;
    r->omit_thinking = omit_thinking;
    r->max_tokens = p->max_tokens;
    (void)snprintf(r->id, sizeof r->id, "msg_%s", tail ? tail + 1 : id);
    if (p->stop)
        r->stops = json_deep_copy(p->stop);
    if ((p->stop && !r->stops) || generate_gather_init(&r->gather, s->model, 1, &err) != TERN_OK) {
        reply_free(r);
        return NULL;
    }
    return r;
}

static tern_code start(exchange *x, const params *p, const messages_request *m, fault *f)
{
    reply *r = reply_new(x, p, m->omit_thinking);
    if (!r)
        return fault_set(f, TERN_E_NOMEM, NULL, "out of memory");
    generate_request g = {.x = x, .p = p, .n_answer = 1, .ctx = r};
    messages_ask(m, &g);
    g.on_event = r->stream ? on_stream : on_whole;
    tern_code rc = generate_start(&g, f);
    if (rc != TERN_OK)
        reply_free(r);
    return rc;
}

static tern_code count(exchange *x, const params *p, const messages_request *m, fault *f)
{
    size_t n;
    generate_request g = {.x = x, .p = p, .n_answer = 1};
    messages_ask(m, &g);
    TERN_TRY(generate_count(&g, NULL, &n, f));
    exchange_reply_json(x, 200, json_pack("{s:I}", "input_tokens", (json_int_t)n));
    return TERN_OK;
}

static void serve(exchange *x, bool counts)
{
    json_t *body;
    params p;
    fault f = {0};
    messages_request m = {0};
    if (!generate_read(x, PARAM_MESSAGES, &body, &p))
        return;
    tern_code rc = TERN_OK;
    if (!counts && p.max_tokens < 0)
        rc = fault_set(&f, TERN_E_USAGE, "max_tokens", "max_tokens: expected, but absent");
    if (rc == TERN_OK)
        rc = messages_read(&p, &m, &f);
    if (rc == TERN_OK)
        rc = counts ? count(x, &p, &m, &f) : start(x, &p, &m, &f);
    if (rc != TERN_OK)
        fault_reply(x, &f);
    messages_done(&m);
    json_decref(body);
}

void server_messages(exchange *x)
{
    serve(x, false);
}

void server_messages_count(exchange *x)
{
    serve(x, true);
}
