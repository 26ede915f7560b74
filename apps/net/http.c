#include "http.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"

#include <string.h>
#include <strings.h>

#define MAX_SECRET  4096
#define MAX_HEADERS ((size_t)64 << 10)
/* Of an answer that is only passed on the way to another. */
#define MAX_DISCARD ((uint64_t)1 << 20)
/* How long a cancellation may go unnoticed. */
#define SLICE_MS 100

/* ---- secrets ------------------------------------------------------------------------------- */

struct net_secret {
    size_t n;
    char text[MAX_SECRET + 1];
};

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

net_secret *net_secret_new(const char *text, size_t n)
{
    for (; n > 0 && blank(text[0]); n--)
        text++;
    while (n > 0 && blank(text[n - 1]))
        n--;
    if (n == 0 || n > MAX_SECRET)
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (text[i] < 0x21 || text[i] > 0x7e)
            return NULL;
    net_secret *s = tern_alloc(sizeof *s);
    if (!s)
        return NULL;
    memcpy(s->text, text, n);
    s->text[n] = '\0';
    s->n = n;
    return s;
}

void net_secret_free(net_secret *s)
{
    if (s)
        explicit_bzero(s, sizeof *s);
    tern_free(s);
}

/* ---- addresses and headers ----------------------------------------------------------------- */

const char *net_shown(char *buf, size_t cap, const char *url)
{
    return tern_quote(buf, cap, url, strcspn(url, "?#"));
}

bool net_is_private(const char *url)
{
    static const char *const local[] = {"http://localhost:", "http://127.", "http://[::1]:"};
    char origin[300];
    if (!net_origin(url, origin, sizeof origin))
        return false;
    for (size_t i = 0; i < sizeof local / sizeof local[0]; i++)
        if (strncmp(origin, local[i], strlen(local[i])) == 0)
            return true;
    return strncmp(origin, "https://", 8) == 0;
}

bool net_header(const net_response *r, const char *name, char *buf, size_t cap)
{
    size_t n = strlen(name);
    for (const char *at = tern_str_get(&r->headers); *at;) {
        size_t len = strcspn(at, "\n");
        if (len > n && at[n] == ':' && strncasecmp(at, name, n) == 0) {
            const char *value = at + n + 1, *end = at + len;
            while (value < end && blank(*value))
                value++;
            while (end > value && blank(end[-1]))
                end--;
            if ((size_t)(end - value) >= cap)
                return false;
            memcpy(buf, value, (size_t)(end - value));
            buf[end - value] = '\0';
            return true;
        }
        at += len + (at[len] == '\n');
    }
    return false;
}

void net_validator(const net_response *r, char *buf, size_t cap)
{
    if (!net_header(r, "ETag", buf, cap) && !net_header(r, "Last-Modified", buf, cap))
        buf[0] = '\0';
    for (char *p = buf; *p; p++)
        if (*p < 0x20 || *p > 0x7e)
            *p = '?';
}

bool net_content_length(const net_response *r, uint64_t *n)
{
    char value[32];
    return net_header(r, "Content-Length", value, sizeof value) &&
           tern_parse_u64(value, strlen(value), n);
}

bool net_content_range(const net_response *r, uint64_t *begin, uint64_t *end, uint64_t *total)
{
    char value[80];
    uint64_t last;
    if (!net_header(r, "Content-Range", value, sizeof value) || strncmp(value, "bytes ", 6) != 0)
        return false;
    const char *a = value + 6, *b = strchr(a, '-'), *c = b ? strchr(b, '/') : NULL;
    if (!c || !tern_parse_u64(a, (size_t)(b - a), begin) ||
        !tern_parse_u64(b + 1, (size_t)(c - b - 1), &last) ||
        !tern_parse_u64(c + 1, strlen(c + 1), total) || last >= *total || *begin > last)
        return false;
    *end = last + 1;
    return true;
}

#ifdef TERN_NETWORK
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

struct net_client {
    CURLM *multi;
    bool (*cancelled)(void *ctx);
    void *ctx;
};

struct net_transfer {
    net_client *client; /* borrowed */
    net_request r;      /* url and headers are not used after the start */
    CURL *easy;
    struct curl_slist *plain; /* the caller's headers */
    struct curl_slist *sent;  /* of this hop: the same, and the secret where it may go */
    net_response answer;
    int n_redirect;
    bool following; /* this answer only says where to go */
    bool running, ended;
    char why[CURL_ERROR_SIZE];
    tern_code rc;
    tern_err err;
};

const char *net_library(void)
{
    static char text[48];
    (void)snprintf(text, sizeof text, "libcurl %s", curl_version_info(CURLVERSION_NOW)->version);
    return text;
}

/* ---- addresses ----------------------------------------------------------------------------- */

static bool part_of(CURLU *u, CURLUPart part, unsigned flags, char *buf, size_t cap)
{
    char *text = NULL;
    bool ok = curl_url_get(u, part, &text, flags) == CURLUE_OK && strlen(text) < cap;
    if (ok)
        memcpy(buf, text, strlen(text) + 1);
    curl_free(text);
    return ok;
}

bool net_origin(const char *url, char *buf, size_t cap)
{
    char scheme[8], host[260], port[8], user[4];
    CURLU *u = curl_url();
    bool ok = u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
              part_of(u, CURLUPART_SCHEME, 0, scheme, sizeof scheme) &&
              (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0) &&
              part_of(u, CURLUPART_HOST, 0, host, sizeof host) &&
              part_of(u, CURLUPART_PORT, CURLU_DEFAULT_PORT, port, sizeof port);
    char *text = NULL;
    if (ok && curl_url_get(u, CURLUPART_USER, &text, 0) != CURLUE_NO_USER)
        ok = false;
    curl_free(text);
    if (ok && part_of(u, CURLUPART_PASSWORD, 0, user, sizeof user))
        ok = false;
    curl_url_cleanup(u);
    if (!ok || snprintf(buf, cap, "%s://%s:%s", scheme, host, port) >= (int)cap)
        return false;
    for (char *p = buf; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + ('a' - 'A'));
    return true;
}

static bool same_origin(const char *a, const char *b)
{
    char x[300], y[300];
    return net_origin(a, x, sizeof x) && net_origin(b, y, sizeof y) && strcmp(x, y) == 0;
}

/* ---- what curl calls ----------------------------------------------------------------------- */

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Whether the answer whose headers are complete is to be followed. */
static bool will_follow(const net_transfer *t)
{
    char location[8192], absolute[8192];
    if (!is_redirect(t->answer.status) || t->n_redirect >= t->r.max_redirects ||
        !net_header(&t->answer, "Location", location, sizeof location))
        return false;
    if (!t->r.stay)
        return true;
    CURLU *u = curl_url();
    bool near = u && curl_url_set(u, CURLUPART_URL, t->answer.url, 0) == CURLUE_OK &&
                curl_url_set(u, CURLUPART_URL, location, 0) == CURLUE_OK &&
                part_of(u, CURLUPART_URL, 0, absolute, sizeof absolute) &&
                same_origin(absolute, t->answer.url);
    curl_url_cleanup(u);
    return near;
}

static void head_is_complete(net_transfer *t)
{
    long status = 0;
    uint64_t n;
    curl_off_t after = 0;
    (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    t->answer.status = (int)status;
    if (status < 200)
        return;
    t->following = will_follow(t);
    if (t->following)
        return;
    if (curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &after) == CURLE_OK && after > 0)
        t->answer.retry_after_s = after < 86400 ? (uint32_t)after : 86400;
    bool whole = status == 200 && !(t->r.method && strcmp(t->r.method, "HEAD") == 0);
    if (whole && net_content_length(&t->answer, &n) && n > t->r.max_bytes)
        t->rc = tern_fail(&t->err, TERN_E_NETWORK,
                          "the answer has %llu bytes, more than the %llu "
                          "allowed",
                          (unsigned long long)n, (unsigned long long)t->r.max_bytes);
    else if (t->r.on_head)
        t->rc = t->r.on_head(t->r.ctx, &t->answer, &t->err);
}

static size_t on_header(char *data, size_t size, size_t n, void *ctx)
{
    net_transfer *t = ctx;
    n *= size;
    if (n > 5 && memcmp(data, "HTTP/", 5) == 0)
        tern_str_clear(&t->answer.headers); /* also after a 100 Continue */
    else if (n <= 2 && (n == 0 || data[n - 1] == '\n'))
        head_is_complete(t);
    else
        tern_str_put(&t->answer.headers, data, n);
    if (t->rc == TERN_OK && t->answer.headers.failed)
        t->rc = tern_fail(&t->err, TERN_E_NETWORK, "the answer has more than %zu bytes of headers",
                          MAX_HEADERS);
    return t->rc == TERN_OK ? n : 0;
}

static size_t on_data(char *data, size_t size, size_t n, void *ctx)
{
    net_transfer *t = ctx;
    n *= size;
    uint64_t most = t->following ? MAX_DISCARD : t->r.max_bytes;
    if (n > most - t->answer.n_body) {
        t->rc = tern_fail(&t->err, TERN_E_NETWORK, "the answer has more than %llu bytes",
                          (unsigned long long)most);
        return 0;
    }
    t->answer.n_body += n;
    if (!t->following && t->r.on_body)
        t->rc = t->r.on_body(t->r.ctx, data, n, &t->err);
    return t->rc == TERN_OK ? n : 0;
}

/* ---- the client ---------------------------------------------------------------------------- */

tern_code net_client_new(net_client **out, bool (*cancelled)(void *ctx), void *ctx, tern_err *err)
{
    static bool begun;
    *out = NULL;
    if (!begun && curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
        return tern_fail(err, TERN_E_NETWORK, "libcurl cannot be initialised");
    begun = true;
    net_client *c = tern_calloc(1, sizeof *c);
    if (c)
        c->multi = curl_multi_init();
    if (!c || !c->multi) {
        tern_free(c);
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the network");
    }
    c->cancelled = cancelled;
    c->ctx = ctx;
    *out = c;
    return TERN_OK;
}

void net_client_free(net_client *c)
{
    if (!c)
        return;
    (void)curl_multi_cleanup(c->multi);
    tern_free(c);
}

static void drop_list(struct curl_slist *list)
{
    for (struct curl_slist *l = list; l; l = l->next)
        explicit_bzero(l->data, strlen(l->data));
    curl_slist_free_all(list);
}

static bool append(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (longer)
        *list = longer;
    return longer != NULL;
}

/* The headers for the hop to url. */
static bool set_headers(net_transfer *t, const char *url)
{
    char origin[300], line[MAX_SECRET + 32];
    bool ok = true;
    drop_list(t->sent);
    t->sent = NULL;
    for (const struct curl_slist *l = t->plain; l && ok; l = l->next)
        ok = append(&t->sent, l->data);
    if (ok && t->r.bearer && t->r.bearer_origin && net_origin(url, origin, sizeof origin) &&
        strcmp(origin, t->r.bearer_origin) == 0) {
        (void)snprintf(line, sizeof line, "Authorization: Bearer %s", t->r.bearer->text);
        ok = append(&t->sent, line);
        explicit_bzero(line, sizeof line);
    }
    (void)curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->sent);
    return ok;
}

static bool set_url(net_transfer *t, const char *url)
{
    char *copy = tern_strdup_n(url, strlen(url));
    if (!copy)
        return false;
    tern_free(t->answer.url);
    t->answer.url = copy;
    t->answer.status = 0;
    t->answer.n_body = 0;
    t->following = false;
    tern_str_clear(&t->answer.headers);
    return curl_easy_setopt(t->easy, CURLOPT_URL, url) == CURLE_OK && set_headers(t, url);
}

static void set_options(net_transfer *t)
{
    CURL *e = t->easy;
    const net_request *r = &t->r;
    char range[64];
    const char *ca = getenv("SSL_CERT_FILE");
    if (!ca || !*ca)
        ca = getenv("CURL_CA_BUNDLE");
    (void)curl_easy_setopt(e, CURLOPT_PRIVATE, t);
    (void)curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->why);
    (void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
    (void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_data);
    (void)curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    (void)curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    (void)curl_easy_setopt(e, CURLOPT_USERAGENT, "tern/" TERN_VERSION);
    /* Streams of one connection would share its window: parallel ranges want connections. */
    (void)curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(e, CURLOPT_BUFFERSIZE, 128L << 10);
    (void)curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT, (long)(r->connect_s ? r->connect_s : 30));
    (void)curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L);
    (void)curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)(r->stall_s ? r->stall_s : 60));
    (void)curl_easy_setopt(e, CURLOPT_TIMEOUT, (long)r->total_s);
#if LIBCURL_VERSION_NUM >= 0x075500
    (void)curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    (void)curl_easy_setopt(e, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    if (ca && *ca)
        (void)curl_easy_setopt(e, CURLOPT_CAINFO, ca);
    if (r->method && strcmp(r->method, "HEAD") == 0)
        (void)curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    else if (r->method)
        (void)curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, r->method);
    if (r->body) {
        (void)curl_easy_setopt(e, CURLOPT_POSTFIELDS, r->body);
        (void)curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->n_body);
    }
    if (r->ranged) {
        (void)snprintf(range, sizeof range, "%llu-%llu", (unsigned long long)r->begin,
                       (unsigned long long)r->end - 1);
        (void)curl_easy_setopt(e, CURLOPT_RANGE, range);
    }
}

tern_code net_start(net_client *c, const net_request *r, net_transfer **out, tern_err *err)
{
    char origin[300], shown[120];
    *out = NULL;
    if (!net_origin(r->url, origin, sizeof origin))
        return tern_fail(err, TERN_E_USAGE,
                         "%s: not a http or https address, or one with a "
                         "password in it",
                         net_shown(shown, sizeof shown, r->url));
    net_transfer *t = tern_calloc(1, sizeof *t);
    if (!t)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for a request");
    t->client = c;
    t->r = *r;
    tern_str_init(&t->answer.headers, MAX_HEADERS);
    t->easy = curl_easy_init();
    bool ok = t->easy != NULL;
    for (size_t i = 0; ok && i < r->n_header; i++)
        ok = append(&t->plain, r->headers[i]);
    if (ok)
        set_options(t);
    ok = ok && set_url(t, r->url) && curl_multi_add_handle(c->multi, t->easy) == CURLM_OK;
    if (!ok) {
        net_transfer_free(t);
        return tern_fail(err, TERN_E_NOMEM, "out of memory for a request");
    }
    t->r.url = NULL;
    t->r.headers = NULL;
    t->running = true;
    *out = t;
    return TERN_OK;
}

void net_transfer_free(net_transfer *t)
{
    if (!t)
        return;
    if (t->running)
        (void)curl_multi_remove_handle(t->client->multi, t->easy);
    curl_easy_cleanup(t->easy);
    drop_list(t->plain);
    drop_list(t->sent);
    tern_free(t->answer.url);
    tern_str_done(&t->answer.headers);
    tern_free(t);
}

/* ---- running ------------------------------------------------------------------------------- */

/* What another attempt will not mend. */
static bool lasting(CURLcode code)
{
    switch (code) {
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_OUT_OF_MEMORY:
    case CURLE_WRITE_ERROR: /* ours */
        return true;
    default:
        return false;
    }
}

static void fail_transfer(net_transfer *t, CURLcode code)
{
    char shown[100];
    if (t->rc != TERN_OK)
        return; /* a callback ended it */
    t->answer.transient = !lasting(code);
    t->rc = tern_fail(&t->err, code == CURLE_OUT_OF_MEMORY ? TERN_E_NOMEM : TERN_E_NETWORK,
                      "%s: %s", net_shown(shown, sizeof shown, t->answer.url),
                      t->why[0] ? t->why : curl_easy_strerror(code));
}

/* Go where the answer points; false: it ends here. */
static bool follow(net_transfer *t)
{
    char *to = NULL, shown[100];
    (void)curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_URL, &to);
    bool downgrade =
        to && strncasecmp(t->answer.url, "https:", 6) == 0 && strncasecmp(to, "https:", 6) != 0;
    char origin[300];
    if (!to || downgrade || !net_origin(to, origin, sizeof origin)) {
        t->rc = tern_fail(&t->err, TERN_E_NETWORK, "%s: redirected to %s",
                          net_shown(shown, sizeof shown, t->answer.url),
                          downgrade ? "an address that is not encrypted" : "no usable address");
        return false;
    }
    char *copy = tern_strdup_n(to, strlen(to));
    bool ok = copy && set_url(t, copy);
    tern_free(copy);
    t->n_redirect++;
    if (ok && curl_multi_add_handle(t->client->multi, t->easy) == CURLM_OK) {
        t->running = true;
        return true;
    }
    t->rc = tern_fail(&t->err, TERN_E_NOMEM, "out of memory for a request");
    return false;
}

/* Take one transfer that ended from curl; NULL: none did. */
static net_transfer *next_done(net_client *c)
{
    CURLMsg *m;
    int n_left;
    while ((m = curl_multi_info_read(c->multi, &n_left)) != NULL) {
        char *private = NULL;
        CURLcode code = m->data.result;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private);
        net_transfer *t = (net_transfer *)(void *)private;
        (void)curl_multi_remove_handle(c->multi, t->easy);
        t->running = false;
        if (code != CURLE_OK)
            fail_transfer(t, code);
        else if (t->following && follow(t))
            continue;
        t->ended = true;
        return t;
    }
    return NULL;
}

tern_code net_wait(net_client *c, int timeout_ms, net_transfer **done, tern_err *err)
{
    int n_running;
    *done = NULL;
    for (int waited = 0;; waited += SLICE_MS) {
        if (c->cancelled && c->cancelled(c->ctx))
            return tern_fail(err, TERN_E_CANCELLED, "interrupted");
        if (curl_multi_perform(c->multi, &n_running) != CURLM_OK)
            return tern_fail(err, TERN_E_NETWORK, "libcurl gave up");
        *done = next_done(c);
        if (*done || waited >= timeout_ms)
            return TERN_OK;
        int slice = timeout_ms - waited < SLICE_MS ? timeout_ms - waited : SLICE_MS;
        (void)curl_multi_poll(c->multi, NULL, 0, slice, NULL);
    }
}

tern_code net_result(const net_transfer *t, tern_err *err)
{
    if (t->rc != TERN_OK && err)
        *err = t->err;
    return t->rc;
}

const net_response *net_transfer_response(const net_transfer *t)
{
    return &t->answer;
}

void *net_transfer_ctx(const net_transfer *t)
{
    return t->r.ctx;
}

tern_code net_perform(net_client *c, const net_request *r, net_transfer **t, tern_err *err)
{
    net_transfer *done = NULL;
    TERN_TRY(net_start(c, r, t, err));
    while (!done)
        TERN_TRY(net_wait(c, 1000, &done, err));
    return net_result(*t, err);
}

#else /* built without network */

static tern_code without(tern_err *err)
{
    return tern_fail(err, TERN_E_NETWORK, "this tern was built without network (libcurl, nettle)");
}

const char *net_library(void)
{
    return NULL;
}

bool net_origin(const char *url, char *buf, size_t cap)
{
    (void)url;
    (void)buf;
    (void)cap;
    return false;
}

tern_code net_client_new(net_client **out, bool (*cancelled)(void *ctx), void *ctx, tern_err *err)
{
    (void)cancelled;
    (void)ctx;
    *out = NULL;
    return without(err);
}

void net_client_free(net_client *c)
{
    (void)c;
}

tern_code net_start(net_client *c, const net_request *r, net_transfer **out, tern_err *err)
{
    (void)c;
    (void)r;
    *out = NULL;
    return without(err);
}

tern_code net_wait(net_client *c, int timeout_ms, net_transfer **done, tern_err *err)
{
    (void)c;
    (void)timeout_ms;
    *done = NULL;
    return without(err);
}

tern_code net_result(const net_transfer *t, tern_err *err)
{
    (void)t;
    return without(err);
}

const net_response *net_transfer_response(const net_transfer *t)
{
    (void)t;
    return NULL;
}

void *net_transfer_ctx(const net_transfer *t)
{
    (void)t;
    return NULL;
}

void net_transfer_free(net_transfer *t)
{
    (void)t;
}

tern_code net_perform(net_client *c, const net_request *r, net_transfer **t, tern_err *err)
{
    (void)c;
    (void)r;
    *t = NULL;
    return without(err);
}
#endif
