/* The web thread: libmicrohttpd's callbacks. It reads requests into exchanges and takes replies out of them. */
#include "base/clock.h"
#include "base/error.h"
#include "server/check.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define BLOCK (32 * 1024) /* of a reply, at a time */

/* Kernel's own buffer of a connection: what it holds a stalled client has not taken. */
#define SEND_BUFFER (128 * 1024)

/* ---- replies -------------------------------------------------------------------------------- */

static ssize_t read_reply(void *ctx, uint64_t pos, char *to, size_t max)
{
    exchange *x = ctx;
    bool room = false;
    ssize_t got = 0;
    pthread_mutex_lock(&x->mu);
    const char *from = x->fixed ? x->fixed + pos : tern_str_get(&x->out) + x->out_at;
    size_t n = x->fixed ? x->n_total - (size_t)pos : x->out.len - x->out_at;
    if (x->gone) {
        got = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (n > 0) {
        n = n < max ? n : max;
        memcpy(to, from, n);
        x->out_at += x->fixed ? 0 : n;
        x->n_sent += n;
        room = x->full && x->out.len - x->out_at < EXCHANGE_BACKLOG / 4;
        x->full = x->full && !room;
        got = (ssize_t)n;
    } else if (x->ended) {
        got = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        x->suspended = true;
        MHD_suspend_connection(x->conn);
    }
    pthread_mutex_unlock(&x->mu);
    watch_phase(x->srv, x->wire, got == 0 ? PHASE_WAIT : PHASE_SEND, x);
    if (room)
        exchange_tell_room(x);
    return got;
}

static void reply_freed(void *ctx)
{
    exchange_drop(ctx);
}

static void add_header(struct MHD_Response *r, const char *name, const char *value)
{
    (void)MHD_add_response_header(r, name, value); /* fails for a lack of memory alone */
}

/* Without x->mu: the library holds a lock of the response while it calls the reader, which takes that one. What
 * is looked at does not change once there is a reply. */
static enum MHD_Result send_reply(exchange *x)
{
    uint64_t size = x->streaming ? MHD_SIZE_UNKNOWN : x->n_total;
    struct MHD_Response *r;
    if (x->n_total == 0 && !x->streaming)
        r = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    else
        r = MHD_create_response_from_callback(size, size < BLOCK ? (size_t)size : BLOCK, read_reply,
                                              x, reply_freed);
    if (!r)
        return MHD_NO;
    if (x->n_total > 0 || x->streaming)
        (void)atomic_fetch_add(&x->refs, 1);
    add_header(r, "X-Request-Id", x->id);
    if (exchange_dialect_get(x) == DIALECT_ANTHROPIC)
        add_header(r, "Request-Id", x->id);
    add_header(r, "X-Content-Type-Options", "nosniff");
    if (x->type[0])
        add_header(r, "Content-Type", x->type);
    bool cache = false;
    for (size_t i = 0; i < x->n_more; i++) {
        add_header(r, x->more[i].name, x->more[i].value);
        cache = cache || strcasecmp(x->more[i].name, "Cache-Control") == 0;
    }
    if (!cache)
        add_header(r, "Cache-Control", "no-store");
    if (x->close || atomic_load(&x->srv->draining))
        add_header(r, "Connection", "close");
    enum MHD_Result ok = MHD_queue_response(x->conn, (unsigned)x->status, r);
    MHD_destroy_response(r);
    return ok;
}

/* The reply if there is one, else the connection waits for it. */
static enum MHD_Result reply_or_wait(exchange *x)
{
    pthread_mutex_lock(&x->mu);
    bool replied = x->replied, gone = x->gone;
    pthread_mutex_unlock(&x->mu);
    watch_phase(x->srv, x->wire, replied ? PHASE_SEND : PHASE_WAIT, x);
    if (gone)
        return MHD_NO;
    return replied ? send_reply(x) : MHD_YES;
}

/* ---- requests ------------------------------------------------------------------------------- */

/* The request line is there: the exchange begins. Its result is the request's context. */
static void *begin_request(void *ctx, const char *line, struct MHD_Connection *conn)
{
    server *srv = ctx;
    tern_err err;
    exchange *x = exchange_new(srv);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    if (!x)
        return NULL;
    x->conn = conn;
    x->wire = info ? *(wire *const *)info : NULL;
    size_t n = strlen(line);
    if (n > srv->limits.line_bytes) {
        exchange_set_refused(x, 414, "uri_too_long", "a request line has at most %llu bytes",
                             (unsigned long long)srv->limits.line_bytes);
        x->close = true;
    } else if (strcmp(line, "*") != 0 && uri_parse(line, n, &x->uri, &err) != TERN_OK) {
        exchange_set_refused(x, 400, "bad_request", "%s", err.msg);
    }
    if (!x->wire) {
        exchange_drop(x);
        return NULL;
    }
    watch_phase(srv, x->wire, PHASE_HEAD, x);
    idle_begin(&srv->idle, x->wire, line);
    return x;
}

static const char *known_method(const char *method)
{
    static const char *const known[] = {"GET",   "POST",   "HEAD",    "OPTIONS", "PUT",
                                        "PATCH", "DELETE", "CONNECT", "TRACE"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i], method) == 0)
            return known[i];
    return "?";
}

static enum MHD_Result keep_header(void *ctx, enum MHD_ValueKind kind, const char *name,
                                   size_t n_name, const char *value, size_t n_value)
{
    exchange *x = ctx;
    (void)kind;
    if (!name || memchr(name, '\0', n_name) || (value && memchr(value, '\0', n_value)))
        exchange_set_refused(x, 400, "bad_request", "a header is malformed");
    else if (!header_add(&x->headers, &x->n_header, name, n_name, value ? value : "",
                         value ? n_value : 0))
        exchange_set_refused(x, 431, "headers_too_large", "too many headers");
    return MHD_YES;
}

static void start_request(exchange *x, struct MHD_Connection *conn, const char *method)
{
    x->started = true;
    x->method = known_method(method);
    x->head = strcmp(method, "HEAD") == 0;
    (void)MHD_get_connection_values_n(conn, MHD_HEADER_KIND, keep_header, x);
    if (x->uri.path)
        check_request(x);
    else
        exchange_set_refused(x, 400, "bad_request", "the request names no path");
    x->close = x->close || x->refused_status == 400;
    watch_phase(x->srv, x->wire, PHASE_BODY, x);
}

static void refuse(exchange *x)
{
    if (x->refused_status == 204)
        exchange_reply(x, 204, "", "", 0);
    else
        exchange_refuse(x, x->refused_status, x->refused_code, NULL, "%s", x->refused_text);
}

/* What arrived of the body. That of a refused request is read too, so that the client comes to read the
 * reply; but not without end. */
static enum MHD_Result take_body(exchange *x, const char *bytes, size_t n)
{
    server *srv = x->srv;
    x->body_seen += n;
    if (x->body_seen > 4 * srv->limits.body_bytes)
        return MHD_NO;
    if (x->refused_status != 0)
        return MHD_YES;
    if (x->body_seen > srv->limits.body_bytes) {
        exchange_set_refused(x, 413, "body_too_large", "a body has at most %llu bytes",
                             (unsigned long long)srv->limits.body_bytes);
    } else if (atomic_fetch_add(&srv->body_bytes, n) + n > srv->limits.bodies_bytes) {
        (void)atomic_fetch_sub(&srv->body_bytes, n);
        exchange_set_refused(x, 503, "busy", "too many requests at a time");
    } else {
        x->body_counted += n;
        tern_str_put(&x->body, bytes, n);
        if (x->body.failed)
            exchange_set_refused(x, 503, "no_memory", "out of memory for the body");
    }
    if (x->refused_status != 0)
        tern_str_done(&x->body);
    return MHD_YES;
}

static enum MHD_Result handle(exchange *x)
{
    x->read = true;
    if (x->refused_status != 0) {
        refuse(x);
        return reply_or_wait(x);
    }
    (void)atomic_fetch_add(&x->refs, 1);
    atomic_store(&x->holders, 1);
    if (x->route->flags & ROUTE_QUICK) {
        x->route->handler(x);
        exchange_unref(x);
        return reply_or_wait(x);
    }
    pthread_mutex_lock(&x->mu);
    x->suspended = true;
    MHD_suspend_connection(x->conn);
    pthread_mutex_unlock(&x->mu);
    watch_phase(x->srv, x->wire, PHASE_WAIT, x);
    workers_add(x->srv, x);
    return MHD_YES;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *conn, const char *url,
                                  const char *method, const char *version, const char *bytes,
                                  size_t *n, void **request)
{
    exchange *x = *request;
    (void)ctx, (void)url, (void)version;
    if (!x)
        return MHD_NO;
    if (!x->started) {
        start_request(x, conn, method);
        /* Who waits to be told to go on is told not to; who announces far too much is not listened to. */
        const char *expect = exchange_header(x, "Expect");
        if (x->refused_status != 0 && (expect || x->close)) {
            x->read = x->close = true;
            refuse(x);
            return reply_or_wait(x);
        }
        return MHD_YES;
    }
    if (*n > 0) {
        enum MHD_Result ok = take_body(x, bytes, *n);
        *n = 0;
        return ok;
    }
    return x->read ? reply_or_wait(x) : handle(x);
}

static void end_request(void *ctx, struct MHD_Connection *conn, void **request,
                        enum MHD_RequestTerminationCode why)
{
    exchange *x = *request;
    server *srv = ctx;
    (void)conn;
    if (!x)
        return;
    *request = NULL;
    watch_phase(srv, x->wire, PHASE_IDLE, NULL);
    if (why == MHD_REQUEST_TERMINATED_COMPLETED_OK)
        idle_wait(&srv->idle, x->wire);
    pthread_mutex_lock(&x->mu);
    x->conn = NULL;
    x->suspended = false;
    pthread_mutex_unlock(&x->mu);
    if (why != MHD_REQUEST_TERMINATED_COMPLETED_OK)
        exchange_lose(x);
    uint64_t n_token = log_exchange(x);
    if (x->counted)
        key_end(&x->key, tern_clock_ns(), n_token);
    exchange_drop(x);
}

/* ---- connections ---------------------------------------------------------------------------- */

static void on_connection(void *ctx, struct MHD_Connection *conn, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    server *srv = ctx;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
        int size = SEND_BUFFER;
        if (!info)
            return;
        (void)setsockopt(info->connect_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        *context = watch_open(srv, info->connect_fd);
    } else if (*context) {
        idle_leave(&srv->idle, *context);
        watch_close(srv, *context);
        *context = NULL;
    }
}

/* The library tells of what clients did wrong, which is in our log where it matters. */
static void no_log(void *ctx, const char *fmt, va_list ap) TERN_PRINTF(2, 0);
static void no_log(void *ctx, const char *fmt, va_list ap)
{
    (void)ctx, (void)fmt, (void)ap;
}

tern_code http_start(server *srv, int listen_fd, tern_err *err)
{
    idle_init(&srv->idle);
    srv->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | MHD_USE_ERROR_LOG,
        0, NULL, NULL, on_request, srv, MHD_OPTION_EXTERNAL_LOGGER, no_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_NOTIFY_COMPLETED, end_request, srv,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, srv, MHD_OPTION_URI_LOG_CALLBACK,
        begin_request, srv, MHD_OPTION_CONNECTION_LIMIT, (unsigned)srv->limits.connections,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, HTTP_POOL, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    return srv->daemon ? TERN_OK : tern_fail(err, TERN_E_IO, "cannot start the web thread");
}

void http_quiesce(server *srv)
{
    if (srv->daemon)
        (void)MHD_quiesce_daemon(srv->daemon);
    watch_cut_idle(srv);
}

void http_stop(server *srv)
{
    if (srv->daemon)
        MHD_stop_daemon(srv->daemon);
    srv->daemon = NULL;
}
