/* Any JSON as a body of the endpoints of all dialects, which run whole, on a small model, but without HTTP: what is here
 * stands for the exchange. The first byte chooses the endpoint. Each request must be answered exactly once, a
 * stream must end, and nothing may be left. */
#include "fuzz/fuzz.h"
#include "server/generate.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct exchange {
    json_t *body;
    const serving *s;
    _Atomic int refs;
    pthread_mutex_t mu;
    pthread_cond_t done;
    exchange_dialect dialect;
    bool answered, streams, over; /* guarded by mu */
    int status;
};

/* ---- the exchange ---------------------------------------------------------------------------- */

void exchange_ref(exchange *x)
{
    atomic_fetch_add(&x->refs, 1);
}

void exchange_unref(exchange *x)
{
    if (atomic_fetch_sub(&x->refs, 1) != 1)
        return;
    pthread_mutex_lock(&x->mu);
    x->over = true;
    pthread_cond_signal(&x->done);
    pthread_mutex_unlock(&x->mu);
}

exchange_dialect exchange_dialect_get(const exchange *x)
{
    return x->dialect;
}

const char *exchange_param(const exchange *x, const char *name)
{
    (void)x, (void)name;
    return NULL;
}

tern_code exchange_json(const exchange *x, json_t **out, tern_err *err)
{
    (void)err;
    *out = json_incref(x->body);
    return TERN_OK;
}

uint64_t exchange_owner(const exchange *x)
{
    (void)x;
    return 0;
}

const serving *exchange_serving(const exchange *x)
{
    return x->s;
}

bool serving_is(const serving *s, const char *name)
{
    return strcmp(s->name, name) == 0;
}

bool exchange_set_header(exchange *x, const char *name, const char *value)
{
    (void)x;
    fuzz_must(!strchr(name, '\n') && !strchr(value, '\n') && !strchr(value, '\r'));
    return true;
}

static void answer(exchange *x, int status)
{
    pthread_mutex_lock(&x->mu);
    fuzz_must(!x->answered && !x->streams);
    x->answered = true;
    x->status = status;
    pthread_mutex_unlock(&x->mu);
}

void exchange_reply_json(exchange *x, int status, json_t *value)
{
    char *text = json_dumps(value, 0);
    fuzz_must(text != NULL);
    free(text);
    json_decref(value);
    answer(x, status);
}

void exchange_reply(exchange *x, int status, const char *type, const void *bytes, size_t n)
{
    json_t *v = json_loadb(bytes, n, 0, NULL);
    fuzz_must(v && strcmp(type, "application/json") == 0);
    json_decref(v);
    answer(x, status);
}

const char *exchange_id(const exchange *x)
{
    (void)x;
    return "req_0";
}

void exchange_refuse(exchange *x, int status, const char *code, const char *param, const char *fmt,
                     ...)
{
    char message[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    fuzz_must(code && message[0] && (!param || param[0]));
    /* 503: a grammar, or the context, takes more memory than there may be */
    fuzz_must((status >= 400 && status < 500) || status == 501 || status == 503);
    answer(x, status);
}

json_t *exchange_error_json(const exchange *x, int status, const char *code, const char *param,
                            const char *message)
{
    (void)x, (void)param;
    return json_pack("{s:i,s:s,s:s}", "status", status, "code", code, "message", message);
}

void exchange_stream_begin(exchange *x, const char *type)
{
    answer(x, 200);
    pthread_mutex_lock(&x->mu);
    fuzz_must(strcmp(type, x->dialect == DIALECT_OLLAMA ? "application/x-ndjson"
                                                        : "text/event-stream") == 0);
    x->streams = true;
    pthread_mutex_unlock(&x->mu);
}

bool exchange_stream_write(exchange *x, const void *bytes, size_t n)
{
    const char *end = x->dialect == DIALECT_OLLAMA ? "\n" : "\n\n";
    size_t n_end = strlen(end);
    fuzz_must(x->streams && n >= n_end && memcmp((const char *)bytes + n - n_end, end, n_end) == 0);
    return true;
}

size_t exchange_stream_backlog(const exchange *x)
{
    (void)x;
    return 0;
}

void exchange_stream_end(exchange *x)
{
    pthread_mutex_lock(&x->mu);
    fuzz_must(x->streams);
    x->streams = false;
    pthread_mutex_unlock(&x->mu);
}

void exchange_on_gone(exchange *x, exchange_fn fn, void *ctx)
{
    (void)x, (void)fn, (void)ctx;
}

void exchange_on_room(exchange *x, exchange_fn fn, void *ctx)
{
    (void)x, (void)fn, (void)ctx;
}

bool exchange_is_gone(const exchange *x)
{
    (void)x;
    return false;
}

void exchange_log(exchange *x, exchange_count what, uint64_t n)
{
    (void)x, (void)what, (void)n;
}

void exchange_note(const exchange *x, const char *text)
{
    (void)x;
    fuzz_must(!strchr(text, '\n'));
}

void exchange_token(exchange *x)
{
    (void)x;
}

/* ---- the model ------------------------------------------------------------------------------- */

static const serving *get_serving(void)
{
    static serving s;
    tern_model_opts o;
    tern_scheduler_opts so;
    if (s.model)
        return &s;
    tern_model_opts_init(&o);
    o.n_thread = 1;
    o.chat_template = "chatml";
    fuzz_must(tern_model_open("models/test/stories260K.gguf", &o, &s.model, NULL) == TERN_OK);
    tern_scheduler_opts_init(&so);
    so.n_slot = 4;
    so.n_ctx = 320;
    so.no_prefix = true;
    fuzz_must(tern_scheduler_new(s.model, &so, &s.scheduler, NULL) == TERN_OK);
    fuzz_must(generate_words_new(s.model, &s.words, NULL) == TERN_OK);
    s.info.size = sizeof s.info;
    tern_model_info_get(s.model, &s.info);
    s.name = "m";
    s.path = "";
    return &s;
}

/* What would only take time. */
static void shorten(json_t *body)
{
    static const char *const most[] = {"max_tokens", "max_completion_tokens", "max_output_tokens",
                                       "n_predict", "num_predict"};
    for (size_t i = 0; i < sizeof most / sizeof most[0]; i++) {
        const json_t *v = json_object_get(body, most[i]);
        if (!v || json_is_null(v) ||
            (json_is_integer(v) && (json_integer_value(v) > 24 || json_integer_value(v) < 0)))
            json_object_set_new(body, most[i], json_integer(24));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct {
        void (*run)(exchange *x);
        exchange_dialect dialect;
    } handlers[] = {
        {openai_chat, DIALECT_OPENAI},
        {openai_completions, DIALECT_OPENAI},
        {openai_responses, DIALECT_OPENAI},
        {openai_embeddings, DIALECT_OPENAI},
        {openai_input_tokens, DIALECT_OPENAI},
        {server_messages, DIALECT_ANTHROPIC},
        {server_messages_count, DIALECT_ANTHROPIC},
        {server_ollama_chat, DIALECT_OLLAMA},
        {server_ollama_generate, DIALECT_OLLAMA},
        {server_ollama_embed, DIALECT_OLLAMA},
        {server_ollama_embeddings, DIALECT_OLLAMA},
        {server_ollama_show, DIALECT_OLLAMA},
        {server_tokenize, DIALECT_OPENAI},
        {server_detokenize, DIALECT_OPENAI},
        {server_apply_template, DIALECT_OPENAI},
        {server_completion, DIALECT_OPENAI},
    };
    if (size == 0)
        return 0;
    exchange x = {
        .s = get_serving(), .mu = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};
    x.body = json_loadb((const char *)data + 1, size - 1, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(x.body)) {
        json_decref(x.body);
        return 0;
    }
    size_t which = data[0] % (sizeof handlers / sizeof handlers[0]);
    x.dialect = handlers[which].dialect;
    shorten(x.body);
    if (json_is_object(json_object_get(x.body, "options")))
        shorten(json_object_get(x.body, "options"));
    else if (x.dialect == DIALECT_OLLAMA && !json_object_get(x.body, "options"))
        json_object_set_new(x.body, "options", json_pack("{s:i}", "num_predict", 24));
    atomic_init(&x.refs, 1);
    handlers[which].run(&x);
    exchange_unref(&x);
    pthread_mutex_lock(&x.mu);
    while (!x.over)
        pthread_cond_wait(&x.done, &x.mu);
    pthread_mutex_unlock(&x.mu);
    fuzz_must(x.answered && !x.streams);
    json_decref(x.body);
    return 0;
}
