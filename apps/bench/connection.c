#include "bench/connection.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>
#include <unistd.h>

/* Most of a reply that is kept, and of one line of it. */
#define MAX_LINE ((size_t)8 << 20)

/* ---- the address --------------------------------------------------------------------------- */

static bool copy(char *to, size_t cap, const char *from, size_t n)
{
    if (n >= cap)
        return false;
    memcpy(to, from, n);
    to[n] = '\0';
    return true;
}

tern_code load_target_parse(load_target *t, const char *url, tern_err *err)
{
    char shown[80];
    *t = (load_target){.port = "80"};
    const char *bad = tern_quote(shown, sizeof shown, url, strlen(url));
    if (strncmp(url, "unix:", 5) == 0)
        return url[5] && copy(t->unix_path, sizeof t->unix_path, url + 5, strlen(url + 5))
                   ? TERN_OK
                   : tern_fail(err, TERN_E_USAGE, "--server '%s': no path of a socket", bad);
    if (strncmp(url, "https://", 8) == 0)
        return tern_fail(err, TERN_E_UNSUPPORTED,
                         "--server '%s': only http:// and unix: are measured, without encryption",
                         bad);
    if (strncmp(url, "http://", 7) != 0)
        return tern_fail(err, TERN_E_USAGE, "--server '%s': expected http://HOST:PORT or unix:PATH",
                         bad);
    const char *host = url + 7, *path = host + strcspn(host, "/");
    const char *close = *host == '[' ? memchr(host, ']', (size_t)(path - host)) : NULL;
    const char *end = close ? close + 1 : host + strcspn(host, ":/");
    bool ok = copy(t->host, sizeof t->host, close ? host + 1 : host,
                   (size_t)((close ? close : end) - host) - (close ? 1 : 0));
    uint64_t port;
    if (*end == ':')
        ok = ok && copy(t->port, sizeof t->port, end + 1, (size_t)(path - end - 1)) &&
             tern_parse_u64(t->port, strlen(t->port), &port) && port > 0 && port < 65536;
    size_t n = strlen(path);
    while (n > 0 && path[n - 1] == '/')
        n--;
    if (n >= 3 && memcmp(path + n - 3, "/v1", 3) == 0)
        n -= 3;
    if (!ok || !t->host[0] || !copy(t->prefix, sizeof t->prefix, path, n))
        return tern_fail(err, TERN_E_USAGE, "--server '%s': no address", bad);
    return TERN_OK;
}

tern_code load_resolve(const load_target *t, load_address *out, tern_err *err)
{
    struct addrinfo want = {.ai_socktype = SOCK_STREAM}, *found;
    *out = (load_address){0};
    if (t->unix_path[0]) {
        struct sockaddr_un *u = (void *)&out->at;
        u->sun_family = AF_UNIX;
        memcpy(u->sun_path, t->unix_path, sizeof t->unix_path);
        out->n = sizeof *u;
        out->family = AF_UNIX;
        return TERN_OK;
    }
    int rc = getaddrinfo(t->host, t->port, &want, &found);
    if (rc != 0)
        return tern_fail(err, TERN_E_NETWORK, "%s: %s", t->host, gai_strerror(rc));
    memcpy(&out->at, found->ai_addr, found->ai_addrlen);
    out->n = found->ai_addrlen;
    out->family = found->ai_family;
    freeaddrinfo(found);
    return TERN_OK;
}

int load_connect(const load_address *a, bool small)
{
    int one = 1, least = 2048;
    int fd = socket(a->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (a->family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (small)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof least);
    if (connect(fd, (const void *)&a->at, a->n) == 0 || errno == EINPROGRESS)
        return fd;
    (void)close(fd);
    return -1;
}

void load_put_request(const load_target *t, const char *method, const char *path, const char *body,
                      tern_str *out)
{
    tern_str_printf(out, "%s %s%s HTTP/1.1\r\nHost: %s%s%s\r\nConnection: close\r\n", method,
                    t->prefix, path, t->unix_path[0] ? "localhost" : t->host,
                    t->unix_path[0] ? "" : ":", t->unix_path[0] ? "" : t->port);
    if (t->key)
        tern_str_printf(out, "Authorization: Bearer %s\r\n", t->key);
    if (body)
        tern_str_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                        strlen(body));
    tern_str_puts(out, "\r\n");
    if (body)
        tern_str_puts(out, body);
}

/* ---- the request --------------------------------------------------------------------------- */

void connection_init(connection *c)
{
    *c = (connection){.fd = -1, .phase = OVER};
    tern_str_init(&c->out, SIZE_MAX / 4);
    tern_str_init(&c->line, MAX_LINE);
}

void connection_done(connection *c)
{
    if (c->fd >= 0)
        (void)close(c->fd);
    tern_str_done(&c->out);
    tern_str_done(&c->line);
    load_samples_done(&c->gaps);
    c->fd = -1;
}

bool connection_begin(connection *c, const load_address *a, double timeout_s)
{
    c->r = (load_reply){.begin_ns = tern_clock_ns()};
    c->deadline_ns = c->r.begin_ns + (uint64_t)(timeout_s * 1e9);
    c->sent = 0;
    c->gaps.n = 0;
    c->chunked = c->has_length = c->ended = false;
    c->framing = WHOLE;
    tern_str_clear(&c->line);
    c->fd = load_connect(a, false);
    c->phase = SENDING;
    if (c->fd < 0)
        connection_end(c, "no connection");
    return c->fd >= 0;
}

static double since(const connection *c)
{
    return (double)(tern_clock_ns() - c->r.begin_ns) * 1e-9;
}

void connection_end(connection *c, const char *why)
{
    if (c->phase == OVER)
        return;
    c->phase = OVER;
    c->r.end_s = since(c);
    if (!c->r.why)
        c->r.why = why;
    c->r.done = !c->r.why;
    if (c->r.n_tok == 0)
        c->r.n_tok = c->r.n_event;
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
}

short connection_wants(const connection *c)
{
    return c->phase == SENDING ? POLLOUT : POLLIN;
}

static void send_some(connection *c)
{
    ssize_t n = send(c->fd, c->out.data + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOTCONN) {
        /* A server that refuses a request may close before it has read it: its reply counts. */
        c->phase = HEAD;
        return;
    }
    if (n > 0)
        c->sent += (size_t)n;
    if (c->sent == c->out.len)
        c->phase = HEAD;
}

/* ---- the body's meaning -------------------------------------------------------------------- */

/* Behind "key": in s; NULL: it is not there. A scan, because parsing takes the time of the server's CPU. */
static const char *value_of(const char *s, const char *end, const char *key)
{
    size_t n = strlen(key);
    for (const char *at = s; (at = memmem(at, (size_t)(end - at), key, n)) != NULL; at += n) {
        const char *v = at + n;
        while (v < end && *v == ' ')
            v++;
        if (v == end || *v != ':')
            continue;
        for (v++; v < end && *v == ' '; v++)
            ;
        return v;
    }
    return NULL;
}

/* Whether a key has text that is not empty, anywhere. */
static bool has_text(const char *s, const char *end, const char *key)
{
    for (const char *v = s; (v = value_of(v, end, key)) != NULL;)
        if (end - v > 1 && v[0] == '"' && v[1] != '"')
            return true;
    return false;
}

static void read_count(const char *s, const char *end, const char *key, size_t *out)
{
    const char *v = value_of(s, end, key);
    size_t n = 0;
    uint64_t x;
    while (v && v + n < end && v[n] >= '0' && v[n] <= '9')
        n++;
    if (n > 0 && tern_parse_u64(v, n, &x) && x <= SIZE_MAX)
        *out = (size_t)x;
}

/* One event of a stream, or a line of a reply that is none. */
static void look_at(connection *c, const char *s, size_t n)
{
    const char *end = s + n;
    if (n > 5 && memcmp(s, "data:", 5) == 0) {
        s += 5;
        while (s < end && *s == ' ')
            s++;
        if (end - s >= 6 && memcmp(s, "[DONE]", 6) == 0) {
            c->ended = true;
            return;
        }
    }
    if (has_text(s, end, "\"content\"") || has_text(s, end, "\"text\"") ||
        has_text(s, end, "\"reasoning_content\"")) {
        double now = since(c);
        if (c->r.n_event++ == 0)
            c->r.first_s = now;
        else
            load_samples_add(&c->gaps, now - c->r.last_s);
        c->r.last_s = now;
    }
    read_count(s, end, "\"prompt_tokens\"", &c->r.n_prompt);
    read_count(s, end, "\"completion_tokens\"", &c->r.n_tok);
    read_count(s, end, "\"cached_tokens\"", &c->r.n_cached);
    const char *error = value_of(s, end, "\"error\"");
    if (error && error < end && *error != 'n')
        c->r.why = "error event";
}

static void take_body(connection *c, const char *s, size_t n)
{
    if (c->keep) {
        tern_str_put(c->keep, s, n);
        return;
    }
    while (n > 0) {
        const char *stop = memchr(s, '\n', n);
        size_t part = stop ? (size_t)(stop - s) : n;
        tern_str_put(&c->line, s, part);
        if (c->line.failed) {
            connection_end(c, "line too long");
            return;
        }
        s += part + (stop != NULL);
        n -= part + (stop != NULL);
        if (!stop)
            return;
        if (c->line.len > 1)
            look_at(c, tern_str_get(&c->line), c->line.len);
        tern_str_clear(&c->line);
    }
}

/* The last line may have no newline. */
static void end_body(connection *c)
{
    if (!c->keep && c->line.len > 1)
        look_at(c, tern_str_get(&c->line), c->line.len);
    connection_end(c, c->r.status == 200 ? NULL : "status");
}

/* ---- the reply's framing ------------------------------------------------------------------- */

static bool header_is(const char *line, size_t n, const char *name, const char **value)
{
    size_t len = strlen(name);
    if (n <= len || strncasecmp(line, name, len) != 0 || line[len] != ':')
        return false;
    *value = line + len + 1 + strspn(line + len + 1, " \t");
    return true;
}

static void take_header(connection *c, const char *line, size_t n)
{
    const char *v;
    uint64_t x;
    if (c->r.status == 0) {
        if (n < 12 || memcmp(line, "HTTP/1.", 7) != 0 || !tern_parse_u64(line + 9, 3, &x))
            connection_end(c, "not HTTP");
        else
            c->r.status = (int)x;
    } else if (header_is(line, n, "transfer-encoding", &v))
        c->chunked = strncasecmp(v, "chunked", 7) == 0;
    else if (header_is(line, n, "content-length", &v))
        c->has_length = tern_parse_u64(v, strcspn(v, " \t"), &c->left);
}

static bool parse_hex(const char *s, size_t n, uint64_t *out)
{
    uint64_t x = 0;
    size_t i = 0;
    for (; i < n && i < 15; i++) {
        int d = s[i] >= '0' && s[i] <= '9' ? s[i] - '0' : (s[i] | 32) - 'a' + 10;
        if (d < 0 || d > 15)
            break;
        x = x << 4 | (uint64_t)d;
    }
    *out = x;
    return i > 0;
}

/* A whole line of the head or of the framing. */
static void take_line(connection *c, const char *line, size_t n)
{
    if (c->phase == HEAD && n > 0)
        take_header(c, line, n);
    else if (c->phase == HEAD && c->r.status == 100)
        c->r.status = 0;
    else if (c->phase == HEAD) {
        c->phase = BODY;
        c->framing = c->chunked ? CHUNK_SIZE : WHOLE;
        if (!c->chunked && c->has_length && c->left == 0)
            end_body(c);
    } else if (c->framing == CHUNK_SIZE) {
        if (!parse_hex(line, n, &c->left))
            connection_end(c, "bad chunk");
        c->framing = c->left ? CHUNK : TRAILER;
    } else if (c->framing == CHUNK_END)
        c->framing = CHUNK_SIZE;
    else if (c->framing == TRAILER && n == 0)
        end_body(c);
}

static bool wants_line(const connection *c)
{
    return c->phase == HEAD || (c->phase == BODY && c->chunked && c->framing != CHUNK);
}

/* Lines of the framing are gathered apart from those of the body, which chunks may cut. */
static void take(connection *c, const char *s, size_t n, tern_str *frame)
{
    while (n > 0 && c->phase != OVER) {
        if (wants_line(c)) {
            const char *stop = memchr(s, '\n', n);
            size_t part = stop ? (size_t)(stop - s) : n;
            tern_str_put(frame, s, part);
            s += part + (stop != NULL);
            n -= part + (stop != NULL);
            if (!stop)
                return;
            size_t len = frame->len;
            if (len > 0 && frame->data[len - 1] == '\r')
                frame->data[--len] = '\0';
            take_line(c, tern_str_get(frame), len);
            tern_str_clear(frame);
            continue;
        }
        size_t part = n;
        bool counted = c->chunked || c->has_length;
        if (counted && c->left < part)
            part = (size_t)c->left;
        take_body(c, s, part);
        s += part;
        n -= part;
        c->left -= counted ? part : 0;
        if (counted && c->left == 0 && c->phase != OVER) {
            if (c->chunked)
                c->framing = CHUNK_END;
            else
                end_body(c);
        }
    }
}

static void receive_some(connection *c)
{
    char buf[1 << 15];
    ssize_t n = recv(c->fd, buf, sizeof buf, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        /* The request's bytes are sent: its string keeps the framing's pieces from now on. */
        if (c->sent != SIZE_MAX) {
            c->sent = SIZE_MAX;
            tern_str_clear(&c->out);
        }
        take(c, buf, (size_t)n, &c->out);
        return;
    }
    if (n == 0 && c->phase == BODY && !c->chunked && !c->has_length)
        end_body(c);
    else
        connection_end(c, n < 0 ? "connection lost" : "cut off");
}

void connection_work(connection *c)
{
    if (c->phase == SENDING)
        send_some(c);
    else if (c->phase != OVER)
        receive_some(c);
}
