/* Requests and replies. Bytes of replies wait in the exchange until the web thread's reader takes them; while
 * there are none its connection is suspended. */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "server/http.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

/* A stream whose client is so far behind is of no use to it. */
#define MAX_BACKLOG (16 * EXCHANGE_BACKLOG)
#define MAX_REPLY   ((size_t)1 << 30)

/* ---- lifetime ------------------------------------------------------------------------------- */

static void make_id(exchange *x)
{
    static const char digits[] = "0123456789abcdef";
    static atomic_uint_fast64_t serial; /* relaxed: only its being different matters */
    unsigned char r[12];
    if (getrandom(r, sizeof r, GRND_NONBLOCK) != (ssize_t)sizeof r) {
        uint64_t v[2] = {tern_clock_ns(), atomic_fetch_add(&serial, 1)};
        memcpy(r, v, sizeof r);
    }
    memcpy(x->id, "req_", 4);
    for (size_t i = 0; i < sizeof r; i++) {
        x->id[4 + 2 * i] = digits[r[i] >> 4];
        x->id[5 + 2 * i] = digits[r[i] & 15];
    }
    x->id[4 + 2 * sizeof r] = '\0';
}

exchange *exchange_new(server *srv)
{
    exchange *x = tern_calloc(1, sizeof *x);
    if (!x)
        return NULL;
    x->srv = srv;
    x->begin_ns = tern_clock_ns();
    x->method = "?";
    make_id(x);
    atomic_init(&x->refs, 1);
    (void)pthread_mutex_init(&x->mu, NULL);
    (void)pthread_mutex_init(&x->call_mu, NULL);
    tern_str_init(&x->body, srv->limits.body_bytes + 1);
    tern_str_init(&x->out, MAX_REPLY);
    (void)atomic_fetch_add(&srv->n_exchange, 1);
    return x;
}

static void release(exchange *x)
{
    server *srv = x->srv;
    (void)atomic_fetch_sub(&srv->body_bytes, x->body_counted);
    headers_free(x->headers, x->n_header);
    headers_free(x->more, x->n_more);
    uri_params_done(&x->params);
    uri_done(&x->uri);
    tern_str_done(&x->body);
    tern_str_done(&x->out);
    key_unref(&x->key);
    bool worked = x->serving != NULL;
    if (worked)
        loaded_unref(x->serving);
    (void)pthread_mutex_destroy(&x->mu);
    (void)pthread_mutex_destroy(&x->call_mu);
    tern_free(x);
    if (worked)
        (void)atomic_fetch_add(&srv->n_worked, 1);
    (void)atomic_fetch_sub(&srv->n_exchange, 1);
}

void exchange_drop(exchange *x)
{
    if (atomic_fetch_sub(&x->refs, 1) == 1)
        release(x);
}

void exchange_ref(exchange *x)
{
    (void)atomic_fetch_add(&x->holders, 1);
}

void exchange_unref(exchange *x)
{
    if (atomic_fetch_sub(&x->holders, 1) != 1)
        return;
    /* Nobody is left who could. */
    exchange_refuse(x, 500, "internal", NULL, "the request was not answered");
    exchange_stream_end(x);
    exchange_drop(x);
}

/* ---- the request ---------------------------------------------------------------------------- */

const char *exchange_id(const exchange *x)
{
    return x->id;
}

const char *exchange_method(const exchange *x)
{
    return x->head ? "GET" : x->method;
}

const char *exchange_path(const exchange *x)
{
    return x->path;
}

const char *exchange_route(const exchange *x)
{
    return x->route->path;
}

exchange_dialect exchange_dialect_get(const exchange *x)
{
    const char *path = x->path ? x->path : "";
    if (x->route)
        return x->route->dialect;
    /* nothing is there, or not with this method: whoever asks is a client of those that are near */
    if (strncmp(path, "/v1/messages", 12) == 0)
        return DIALECT_ANTHROPIC;
    return strncmp(path, "/api/", 5) == 0 ? DIALECT_OLLAMA : DIALECT_OPENAI;
}

const char *exchange_param(const exchange *x, const char *name)
{
    for (size_t i = 0; i < x->params.n; i++)
        if (strcmp(x->params.name[i], name) == 0)
            return x->params.value[i];
    return NULL;
}

const char *exchange_query(const exchange *x, const char *name)
{
    return uri_query(&x->uri, name);
}

const char *exchange_header(const exchange *x, const char *name)
{
    for (size_t i = 0; i < x->n_header; i++)
        if (strcasecmp(x->headers[i].name, name) == 0)
            return x->headers[i].value;
    return NULL;
}

const char *exchange_body(const exchange *x, size_t *n)
{
    *n = x->body.len;
    return tern_str_get(&x->body);
}

/* How deep brackets nest; what stands in strings does not count. */
static size_t json_depth(const char *s, size_t n, size_t max)
{
    size_t depth = 0, most = 0;
    bool text = false;
    for (size_t i = 0; i < n && most <= max; i++) {
        if (text) {
            if (s[i] == '\\')
                i++;
            else
                text = s[i] != '"';
        } else if (s[i] == '"') {
            text = true;
        } else if (s[i] == '{' || s[i] == '[') {
            most = ++depth > most ? depth : most;
        } else if ((s[i] == '}' || s[i] == ']') && depth > 0) {
            depth--;
        }
    }
    return most;
}

tern_code exchange_parse_json(const char *s, size_t n, size_t max_depth, json_t **out,
                              tern_err *err)
{
    json_error_t why;
    *out = NULL;
    if (n == 0)
        return tern_fail(err, TERN_E_USAGE, "the body is empty, a JSON object is expected");
    if (json_depth(s, n, max_depth) > max_depth)
        return tern_fail(err, TERN_E_USAGE, "the body's JSON is nested deeper than %zu", max_depth);
    json_t *v = json_loadb(s, n, JSON_REJECT_DUPLICATES, &why);
    if (!v && json_error_code(&why) == json_error_out_of_memory)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the body's JSON");
    if (!v)
        return tern_fail(err, TERN_E_USAGE, "the body is no JSON: line %d, column %d", why.line,
                         why.column);
    if (!json_is_object(v)) {
        json_decref(v);
        return tern_fail(err, TERN_E_USAGE, "the body's JSON is no object");
    }
    *out = v;
    return TERN_OK;
}

tern_code exchange_json(const exchange *x, json_t **out, tern_err *err)
{
    return exchange_parse_json(tern_str_get(&x->body), x->body.len,
                               (size_t)x->srv->limits.json_depth, out, err);
}

uint64_t exchange_owner(const exchange *x)
{
    return key_owner(&x->key);
}

bool exchange_may_log(const exchange *x)
{
    return x->srv->o->log_prompts;
}

const serving *exchange_serving(const exchange *x)
{
    return x->serving ? &x->serving->s : NULL;
}

bool serving_is(const serving *s, const char *name)
{
    if (s->any_model || strcmp(s->name, name) == 0)
        return true;
    for (size_t i = 0; i < s->n_alias; i++)
        if (strcmp(s->aliases[i], name) == 0)
            return true;
    return false;
}

/* ---- headers -------------------------------------------------------------------------------- */

bool header_add(header **list, size_t *n, const char *name, size_t n_name, const char *value,
                size_t n_value)
{
    if (*n == MAX_HEADERS)
        return false;
    header *grown = tern_realloc_at(*list, *n * sizeof **list, (*n + 1) * sizeof **list, "header");
    if (!grown)
        return false;
    *list = grown;
    header *h = &grown[*n];
    h->name = tern_strdup_n(name, n_name);
    h->value = tern_strdup_n(value, n_value);
    if (!h->name || !h->value) {
        tern_free(h->name);
        tern_free(h->value);
        return false;
    }
    (*n)++;
    return true;
}

void headers_free(header *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        tern_free(list[i].name);
        tern_free(list[i].value);
    }
    tern_free(list);
}

/* What may stand in a header's value: no line can be ended in it. */
static bool is_plain(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 32 || *s == 127)
            return false;
    return true;
}

bool exchange_set_header(exchange *x, const char *name, const char *value)
{
    if (!*name || !is_plain(name) || strpbrk(name, " :") || !is_plain(value))
        return false;
    pthread_mutex_lock(&x->mu);
    bool ok =
        !x->replied && header_add(&x->more, &x->n_more, name, strlen(name), value, strlen(value));
    pthread_mutex_unlock(&x->mu);
    return ok;
}

/* ---- the reply ------------------------------------------------------------------------------ */

/* With x->mu: the web thread goes on with its connection. */
static void wake(exchange *x)
{
    if (x->suspended && x->conn) {
        x->suspended = false;
        MHD_resume_connection(x->conn);
    }
}

/* With x->mu; false: it has begun already. */
static bool begin(exchange *x, int status, const char *type)
{
    if (x->replied)
        return false;
    x->replied = true;
    x->status = status;
    (void)snprintf(x->type, sizeof x->type, "%s", type);
    return true;
}

void exchange_reply(exchange *x, int status, const char *type, const void *bytes, size_t n)
{
    pthread_mutex_lock(&x->mu);
    if (begin(x, status, type)) {
        if (!x->gone)
            tern_str_put(&x->out, bytes, n);
        if (x->out.failed) {
            tern_str_clear(&x->out);
            x->status = 503;
            x->type[0] = '\0';
        }
        x->n_total = x->out.len;
        x->ended = true;
        wake(x);
    }
    pthread_mutex_unlock(&x->mu);
}

void exchange_reply_static(exchange *x, int status, const char *type, const void *bytes, size_t n)
{
    pthread_mutex_lock(&x->mu);
    if (begin(x, status, type)) {
        x->fixed = bytes;
        x->n_total = n;
        x->ended = true;
        wake(x);
    }
    pthread_mutex_unlock(&x->mu);
}

void exchange_reply_json(exchange *x, int status, json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(value);
    if (text)
        exchange_reply(x, status, "application/json", text, strlen(text));
    else
        exchange_reply(x, 503, "", "", 0);
    free(text);
}

void exchange_stream_begin(exchange *x, const char *type)
{
    pthread_mutex_lock(&x->mu);
    if (begin(x, 200, type)) {
        x->streaming = true;
        wake(x);
    }
    pthread_mutex_unlock(&x->mu);
}

bool exchange_stream_write(exchange *x, const void *bytes, size_t n)
{
    pthread_mutex_lock(&x->mu);
    bool ok = x->streaming && !x->ended && !x->gone, late = false;
    if (ok) {
        if (x->out_at > 0 && x->out_at >= x->out.len / 2) {
            memmove(x->out.data, x->out.data + x->out_at, x->out.len - x->out_at);
            x->out.len -= x->out_at;
            x->out_at = 0;
        }
        tern_str_put(&x->out, bytes, n);
        late = x->out.failed || x->out.len - x->out_at > MAX_BACKLOG;
        x->full = x->full || x->out.len - x->out_at > EXCHANGE_BACKLOG;
        wake(x);
    }
    pthread_mutex_unlock(&x->mu);
    if (late)
        exchange_lose(x);
    return ok && !late;
}

size_t exchange_stream_backlog(const exchange *x)
{
    exchange *y = (exchange *)(uintptr_t)x; /* its lock is no part of what is asked for */
    pthread_mutex_lock(&y->mu);
    size_t n = y->out.len - y->out_at;
    pthread_mutex_unlock(&y->mu);
    return n;
}

void exchange_stream_end(exchange *x)
{
    pthread_mutex_lock(&x->mu);
    if (x->streaming && !x->ended) {
        x->ended = true;
        wake(x);
    }
    pthread_mutex_unlock(&x->mu);
}

/* ---- the client's going and coming ---------------------------------------------------------- */

void exchange_on_gone(exchange *x, exchange_fn fn, void *ctx)
{
    pthread_mutex_lock(&x->call_mu);
    pthread_mutex_lock(&x->mu);
    bool gone = x->gone;
    pthread_mutex_unlock(&x->mu);
    x->on_gone = gone ? NULL : fn;
    x->gone_ctx = ctx;
    if (gone && fn)
        fn(x, ctx);
    pthread_mutex_unlock(&x->call_mu);
}

void exchange_on_room(exchange *x, exchange_fn fn, void *ctx)
{
    pthread_mutex_lock(&x->call_mu);
    x->on_room = fn;
    x->room_ctx = ctx;
    pthread_mutex_unlock(&x->call_mu);
}

bool exchange_is_gone(const exchange *x)
{
    exchange *y = (exchange *)(uintptr_t)x;
    pthread_mutex_lock(&y->mu);
    bool gone = y->gone;
    pthread_mutex_unlock(&y->mu);
    return gone;
}

void exchange_lose(exchange *x)
{
    pthread_mutex_lock(&x->call_mu);
    pthread_mutex_lock(&x->mu);
    bool first = !x->gone;
    x->gone = true;
    tern_str_done(&x->out);
    x->out_at = 0;
    wake(x);
    pthread_mutex_unlock(&x->mu);
    if (first && x->on_gone)
        x->on_gone(x, x->gone_ctx);
    x->on_gone = NULL;
    pthread_mutex_unlock(&x->call_mu);
}

void exchange_tell_room(exchange *x)
{
    pthread_mutex_lock(&x->call_mu);
    if (x->on_room)
        x->on_room(x, x->room_ctx);
    pthread_mutex_unlock(&x->call_mu);
}

/* ---- what is counted ------------------------------------------------------------------------ */

void exchange_log(exchange *x, exchange_count what, uint64_t n)
{
    pthread_mutex_lock(&x->mu);
    x->count[what] += n;
    pthread_mutex_unlock(&x->mu);
}

void exchange_token(exchange *x)
{
    uint64_t now = tern_clock_ns();
    metrics *m = &x->srv->metrics;
    pthread_mutex_lock(&x->mu);
    uint64_t last = x->last_ns;
    x->count[COUNT_GENERATED]++;
    x->last_ns = now;
    x->first_ns = x->first_ns ? x->first_ns : now;
    pthread_mutex_unlock(&x->mu);
    if (last)
        metrics_observe(m, &m->between_tokens, (double)(now - last) * 1e-9);
    else
        metrics_observe(m, &m->first_token, (double)(now - x->begin_ns) * 1e-9);
}
