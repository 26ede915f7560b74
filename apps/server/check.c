/* What is looked at when a request's headers are there, before a byte of its body is taken. */
#include "server/check.h"
#include "base/num.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* ---- framing -------------------------------------------------------------------------------- */

static size_t count_header(const exchange *x, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < x->n_header; i++)
        n += strcasecmp(x->headers[i].name, name) == 0;
    return n;
}

/* Two ways to say where a body ends are how one request is smuggled inside another. */
static bool check_framing(exchange *x)
{
    const char *length = exchange_header(x, "Content-Length");
    const char *coding = exchange_header(x, "Transfer-Encoding");
    uint64_t n = 0;
    bool ok = !(length && coding) && count_header(x, "Content-Length") <= 1 &&
              count_header(x, "Transfer-Encoding") <= 1 && count_header(x, "Host") <= 1 &&
              (!coding || strcasecmp(coding, "chunked") == 0) &&
              (!length || tern_parse_u64(length, strlen(length), &n));
    if (!ok)
        exchange_set_refused(x, 400, "bad_request", "the headers do not say one length");
    else if (n > x->srv->limits.body_bytes)
        exchange_set_refused(x, 413, "body_too_large", "a body has at most %llu bytes",
                             (unsigned long long)x->srv->limits.body_bytes);
    x->close = x->close || !ok || n > 4 * x->srv->limits.body_bytes;
    return ok;
}

static void check_size(exchange *x)
{
    const server_limits *l = &x->srv->limits;
    size_t bytes = 0;
    for (size_t i = 0; i < x->n_header; i++)
        bytes += strlen(x->headers[i].name) + strlen(x->headers[i].value) + 4;
    if (x->n_header > l->headers || bytes > l->header_bytes) {
        exchange_set_refused(x, 431, "headers_too_large",
                             "a request has at most %llu headers of together %llu bytes",
                             (unsigned long long)l->headers, (unsigned long long)l->header_bytes);
        x->close = true;
    }
}

/* ---- who asks ------------------------------------------------------------------------------- */

/* Length of the name in "name:port", "[::1]:port". */
static size_t host_length(const char *host)
{
    const char *end = *host == '[' ? strchr(host, ']') : NULL;
    return end ? (size_t)(end - host) + 1 : strcspn(host, ":");
}

static bool same_host(const char *a, size_t n, const char *name)
{
    return strlen(name) == n && strncasecmp(a, name, n) == 0;
}

bool check_host_name(const char *host, const char *const *more, size_t n_more)
{
    size_t n = host_length(host);
    const char *port = host + n;
    uint64_t v;
    if (*port != '\0' && (*port != ':' || !tern_parse_u64(port + 1, strlen(port + 1), &v)))
        return false;
    if (same_host(host, n, "localhost") || same_host(host, n, "[::1]"))
        return true;
    if (n > 4 && memcmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == n)
        return true;
    for (size_t i = 0; i < n_more; i++)
        if (same_host(host, n, more[i]))
            return true;
    return false;
}

/* A page that an attacker's name server has pointed at this machine asks under that name. */
static void check_host(exchange *x)
{
    const server_opts *o = x->srv->o;
    const char *host = exchange_header(x, "Host");
    if (x->srv->loopback && host && !check_host_name(host, o->hosts, o->n_host))
        exchange_set_refused(x, 403, "host_not_allowed",
                             "this server answers to names of this machine only; see --allow-host");
}

static bool origin_listed(const server *srv, const char *origin, bool *any)
{
    *any = false;
    for (size_t i = 0; i < srv->o->n_origin; i++) {
        *any = *any || strcmp(srv->o->origins[i], "*") == 0;
        if (strcmp(srv->o->origins[i], origin) == 0)
            return true;
    }
    return *any;
}

static bool same_origin(const char *origin, const char *host)
{
    const char *at = strstr(origin, "://");
    return host && at && strcasecmp(at + 3, host) == 0 &&
           (strncmp(origin, "http://", 7) == 0 || strncmp(origin, "https://", 8) == 0);
}

/* Requests of pages of other origins are refused, not only kept from being read. */
static void check_origin(exchange *x)
{
    const char *origin = exchange_header(x, "Origin");
    bool any;
    if (!origin)
        return;
    if (origin_listed(x->srv, origin, &any)) {
        (void)exchange_set_header(x, "Access-Control-Allow-Origin", any ? "*" : origin);
        (void)exchange_set_header(x, "Vary", "Origin");
        (void)exchange_set_header(x, "Access-Control-Expose-Headers", "X-Request-Id, Retry-After");
    } else if (!same_origin(origin, exchange_header(x, "Host"))) {
        exchange_set_refused(x, 403, "origin_not_allowed",
                             "pages of this origin may not ask; see --cors-origin");
    }
}

static const char *bearer(const exchange *x)
{
    const char *given = exchange_header(x, "Authorization");
    if (given && strncasecmp(given, "Bearer ", 7) == 0)
        return given + 7 + strspn(given + 7, " ");
    return exchange_header(x, "x-api-key");
}

static void check_key(exchange *x)
{
    server *srv = x->srv;
    const char *secret = bearer(x);
    pthread_mutex_lock(&srv->mu);
    key_table *t = srv->keys;
    keys_ref(t);
    pthread_mutex_unlock(&srv->mu);
    bool needed = keys_count(t) > 0, ok = !needed;
    if (needed && secret)
        ok = keys_find(t, secret, strlen(secret), (int64_t)time(NULL), &x->key);
    keys_unref(t);
    if (!ok && !(x->route && x->route->flags & ROUTE_OPEN)) {
        (void)exchange_set_header(x, "WWW-Authenticate", "Bearer");
        exchange_set_refused(x, 401, "invalid_api_key",
                             secret ? "this key is not valid"
                                    : "a key is needed: Authorization: Bearer KEY, or x-api-key");
    }
}

/* ---- what is asked for ---------------------------------------------------------------------- */

static void preflight(exchange *x, const char *allow)
{
    const char *wants = exchange_header(x, "Access-Control-Request-Headers");
    (void)exchange_set_header(x, "Allow", allow);
    if (exchange_header(x, "Origin") && exchange_header(x, "Access-Control-Request-Method")) {
        (void)exchange_set_header(x, "Access-Control-Allow-Methods", allow);
        if (wants)
            (void)exchange_set_header(x, "Access-Control-Allow-Headers", wants);
        (void)exchange_set_header(x, "Access-Control-Max-Age", "600");
    }
    exchange_set_refused(x, 204, "", "%s", "");
}

static bool switched_off(const server *srv, const route *r)
{
    const server_opts *o = srv->o;
    if (!(r->flags & ROUTE_VIEW))
        return false;
    if (strcmp(r->path, "/metrics") == 0)
        return o->metrics < 0 ? !srv->local : o->metrics == 0;
    if (strncmp(r->path, "/slots", 6) == 0)
        return o->slots < 0 ? !srv->local : o->slots == 0;
    return o->no_webui;
}

/* The path without --api-prefix; NULL: it lacks it. */
static const char *behind_prefix(const exchange *x)
{
    const char *prefix = x->srv->o->api_prefix;
    size_t n = strlen(prefix);
    if (strncmp(x->uri.path, prefix, n) != 0)
        return NULL;
    if (n > 0 && x->uri.path[n] == '\0')
        return "/";
    return x->uri.path[n] == '/' ? x->uri.path + n : NULL;
}

static void find_route(exchange *x, char *allow, size_t cap)
{
    allow[0] = '\0';
    x->path = behind_prefix(x);
    if (x->path)
        x->route = route_find(x->head ? "HEAD" : x->method, x->path, &x->params, allow, cap);
    if (x->route && switched_off(x->srv, x->route)) {
        x->route = NULL;
        allow[0] = '\0';
    }
}

static bool is_json(const char *type)
{
    static const char json[] = "application/json";
    size_t n = sizeof json - 1;
    return type && strncasecmp(type, json, n) == 0 &&
           (type[n] == '\0' || type[n] == ';' || type[n] == ' ');
}

static void check_route(exchange *x, const char *allow)
{
    if (!x->route && allow[0] == '\0') {
        exchange_set_refused(x, 404, "route_not_found", "there is nothing at this path");
    } else if (!x->route) {
        (void)exchange_set_header(x, "Allow", allow);
        exchange_set_refused(x, 405, "method_not_allowed", "this path takes %s", allow);
    } else if ((x->route->flags & ROUTE_BODY) && !is_json(exchange_header(x, "Content-Type"))) {
        exchange_set_refused(x, 415, "content_type",
                             "the body is to be JSON: Content-Type: application/json");
    }
}

/* ---- whether there is room ------------------------------------------------------------------ */

static void check_room(exchange *x)
{
    server *srv = x->srv;
    unsigned flags = x->route->flags;
    const char *which;
    if (!(flags & (ROUTE_MODEL | ROUTE_WORK)))
        return;
    if (flags & ROUTE_MODEL)
        x->serving = loaded_ref(srv);
    if (atomic_load(&srv->draining)) {
        x->retry_s = 5;
        exchange_set_refused(x, 503, "draining", "the server is stopping");
    } else if ((flags & ROUTE_MODEL) && !x->serving) {
        x->retry_s = 2;
        exchange_set_refused(x, 503, "loading", "the model is being loaded");
    } else if ((flags & ROUTE_WORK) && atomic_load(&srv->pressure)) {
        x->retry_s = 2;
        metrics_add(&srv->metrics, &srv->metrics.shed, 1);
        exchange_set_refused(x, 503, "memory_pressure", "the machine is short of memory");
    } else if ((flags & ROUTE_WORK) &&
               !(x->counted = key_begin(&x->key, x->begin_ns, &x->retry_s, &which))) {
        metrics_add(&srv->metrics, &srv->metrics.limited, 1);
        exchange_set_refused(x, 429, "rate_limit_exceeded", "this key's limit of %s is reached",
                             which);
    }
}

void check_request(exchange *x)
{
    char allow[64];
    bool options = strcmp(x->method, "OPTIONS") == 0;
    find_route(x, allow, sizeof allow);
    if (!check_framing(x))
        return;
    check_size(x);
    check_host(x);
    check_origin(x);
    if (x->refused_status == 0 && options && allow[0])
        preflight(x, allow);
    if (x->refused_status == 0)
        check_key(x);
    if (x->refused_status == 0)
        check_route(x, allow);
    if (x->refused_status == 0)
        check_room(x);
}
