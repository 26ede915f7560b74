/* One HTTP request and its reply, as the handlers of routes see it.
 *
 * A request arrives on the web thread, which reads it whole, checks it against the limits, the keys and
 * its route, and hands it to a worker thread: there its handler runs. It replies before it returns, or
 * keeps a reference and replies later, from any thread: whole, or as a stream that grows. Memory: the
 * exchange has references; the handler's own ends when it returns, so one that goes on later takes
 * another with exchange_ref. Getters give what lives as long as the exchange. */
#ifndef SERVER_EXCHANGE_H
#define SERVER_EXCHANGE_H

#include "tern.h"

#include <jansson.h>

typedef struct exchange exchange;

void exchange_ref(exchange *x);
/* The last one frees it; without a reply so far it then fails with 500. */
void exchange_unref(exchange *x);

/* ---- the request ---------------------------------------------------------------------------- */

typedef enum exchange_dialect {
    DIALECT_OPENAI,    /* {"error":{"message","type","param","code"}} */
    DIALECT_ANTHROPIC, /* {"type":"error","error":{"type","message"},"request_id"} */
    DIALECT_OLLAMA     /* {"error":"..."} */
} exchange_dialect;

/* What rows of routes.def say. */
typedef enum route_flag {
    ROUTE_OPEN = 1,  /* needs no key */
    ROUTE_QUICK = 2, /* the handler neither waits nor computes: it runs on the web thread */
    ROUTE_MODEL = 4, /* 503 while no model is there, or the server drains */
    ROUTE_WORK =
        8, /* takes memory and time: refused under memory pressure, and counted by the limits of keys */
    ROUTE_BODY = 16, /* a JSON body, by its content type */
    ROUTE_VIEW = 32  /* may be switched off: metrics, slots, the page */
} route_flag;

const char *exchange_id(const exchange *x);     /* "req_" and 24 hex digits, made by us */
const char *exchange_method(const exchange *x); /* "GET"; of HEAD too: its reply loses its body */
const char *exchange_path(const exchange *x);   /* decoded, behind --api-prefix */
const char *exchange_route(const exchange *x);  /* as routes.def has it */
exchange_dialect exchange_dialect_get(const exchange *x);
/* Of {name} in the route; NULL if there is none. */
const char *exchange_param(const exchange *x, const char *name);
/* Decoded; NULL if the query has none of the name. */
const char *exchange_query(const exchange *x, const char *name);
/* Names are compared without case; NULL: none. */
const char *exchange_header(const exchange *x, const char *name);
/* NUL-terminated behind its n bytes. */
const char *exchange_body(const exchange *x, size_t *n);
/* The body as a JSON object, no deeper than the limit and without keys given twice. A new reference.
 * Codes: TERN_E_USAGE (where it is wrong; never what it holds), TERN_E_NOMEM. */
TERN_CHECK tern_code exchange_json(const exchange *x, json_t **out, tern_err *err);
/* Made from the key alone: the same for all requests with it, also tomorrow. 0: no keys are needed here. */
uint64_t exchange_owner(const exchange *x);
/* Whether --log-prompts allows to print what it says. */
bool exchange_may_log(const exchange *x);

/* ---- what is served ------------------------------------------------------------------------- */

/* A model with its scheduler. A reload puts another one in its place; an exchange keeps the one that was
 * there when it came. */
typedef struct serving {
    tern_model *model;
    tern_scheduler *scheduler;
    struct generate_words *words; /* generate.h */
    tern_model_info info;
    tern_gen_opts gen;          /* as the model's file recommends */
    const char *name;           /* what clients call it: --alias, or the file's name */
    const char *const *aliases; /* n_alias further names */
    size_t n_alias;
    const char *path;     /* "" of the built-in one */
    const char *slot_dir; /* for what slots remember, --slot-save-path; NULL: none */
    int64_t loaded_unix;  /* seconds */
    double load_s;
    bool any_model;      /* requests may name any model (--any-model) */
    tern_spec_mode spec; /* --spec, --spec-max */
    int32_t spec_max;
    const json_t *calibrations; /* of decisions, by name: --decide-calibration; NULL: none */
    struct decider *decider;    /* owned by what has the model; see decider.h */
} serving;

/* NULL on routes without ROUTE_MODEL while nothing is loaded. */
const serving *exchange_serving(const exchange *x);
/* Whether a request may call it so: its name, an alias, or anything with --any-model. */
bool serving_is(const serving *s, const char *name);

/* ---- the reply ------------------------------------------------------------------------------ */

/* The first reply counts, further ones do nothing. */

/* Another header, before the reply begins; false when memory is exhausted or the name or value is none. */
bool exchange_set_header(exchange *x, const char *name, const char *value);
/* Copies the bytes. */
void exchange_reply(exchange *x, int status, const char *type, const void *bytes, size_t n);
/* The same without a copy: the bytes outlive the program's threads (a page inside the program). */
void exchange_reply_static(exchange *x, int status, const char *type, const void *bytes, size_t n);
/* Releases the value; NULL: memory was exhausted while it was made. */
void exchange_reply_json(exchange *x, int status, json_t *value);
/* The error in the route's dialect; status and type from tern_code_info, Retry-After with 429 and 503. The
 * message must not repeat what the client sent. param: the field at fault, or NULL. */
void exchange_fail(exchange *x, const tern_err *err, const char *param);
/* The same with a status and a code of HTTP's own: 404 "model_not_found". */
void exchange_refuse(exchange *x, int status, const char *code, const char *param, const char *fmt,
                     ...) TERN_PRINTF(5, 6);
/* The body of either, for an error event inside a stream. A new reference, NULL: no memory. */
json_t *exchange_error_json(const exchange *x, int status, const char *code, const char *param,
                            const char *message);

/* A reply that grows: 200, no Content-Length, not stored by caches. */
void exchange_stream_begin(exchange *x, const char *type);
/* Any thread, never blocks. False: the client is gone (or was cut for taking nothing): stop. */
bool exchange_stream_write(exchange *x, const void *bytes, size_t n);
/* Bytes the client has yet to take. Beyond EXCHANGE_BACKLOG stop producing (tern_job_hold) until on_room
 * tells; beyond sixteen times that the client is cut. */
size_t exchange_stream_backlog(const exchange *x);
#define EXCHANGE_BACKLOG ((size_t)256 << 10)
void exchange_stream_end(exchange *x);

typedef void (*exchange_fn)(exchange *x, void *ctx);
/* Once, when the client vanishes before the reply's end; at once when that was before. It runs on any thread
 * and neither waits nor calls exchange_on_*. fn NULL takes it away: when that has returned it does not run
 * any more. */
void exchange_on_gone(exchange *x, exchange_fn fn, void *ctx);
/* Each time the backlog, having passed EXCHANGE_BACKLOG, has fallen below a quarter of it. The same rules. */
void exchange_on_room(exchange *x, exchange_fn fn, void *ctx);
bool exchange_is_gone(const exchange *x);

/* ---- what is counted ------------------------------------------------------------------------ */

typedef enum exchange_count {
    COUNT_PROMPT,    /* tokens of the prompt */
    COUNT_CACHED,    /* of which were cached */
    COUNT_GENERATED, /* tokens generated; exchange_token counts them too */
    COUNT_REJECTED,  /* requests whose grammar or schema was refused */
    COUNT_KINDS
} exchange_count;

/* For the log line, the metrics and the key's limits. */
void exchange_log(exchange *x, exchange_count what, uint64_t n);
/* A warning among the log's lines, of nothing that a client may keep to itself. */
void exchange_note(const exchange *x, const char *text);
/* One token came, now: counts it, and its time for the first token and between tokens. */
void exchange_token(exchange *x);

/* The handlers. */
#define ROUTE(method, path, dialect, flags, handler, summary, request, reply)                      \
    void handler(exchange *x);
#include "server/routes.def"

#endif
