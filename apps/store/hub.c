#include "hub.h"
#include "base/error.h"
#include "base/num.h"
#include "net/retry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_ENDPOINT "https://huggingface.co"

/* ---- endpoint and token -------------------------------------------------------------------- */

void store_hub_endpoint(char *buf, size_t cap)
{
    const char *e = getenv("HF_ENDPOINT");
    if (!e || !*e)
        e = DEFAULT_ENDPOINT;
    size_t n = strlen(e);
    while (n > 0 && e[n - 1] == '/')
        n--;
    if (n >= cap)
        n = 0;
    memcpy(buf, e, n);
    buf[n] = '\0';
}

static net_secret *read_token(const char *path)
{
    char text[8192];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    ssize_t n = read(fd, text, sizeof text);
    (void)close(fd);
    net_secret *s = n > 0 ? net_secret_new(text, (size_t)n) : NULL;
    explicit_bzero(text, sizeof text);
    return s;
}

static net_secret *find_token(void)
{
    const char *token = getenv("HF_TOKEN"), *hf = getenv("HF_HOME");
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    tern_str path;
    if (token && *token)
        return net_secret_new(token, strlen(token));
    tern_str_init(&path, 1 << 12);
    if (hf && *hf)
        tern_str_printf(&path, "%s/token", hf);
    else if (cache && *cache == '/')
        tern_str_printf(&path, "%s/huggingface/token", cache);
    else if (home && *home)
        tern_str_printf(&path, "%s/.cache/huggingface/token", home);
    net_secret *s = path.len && !path.failed ? read_token(tern_str_get(&path)) : NULL;
    tern_str_done(&path);
    return s;
}

tern_code store_hub_init(store_hub *h, bool *withheld, tern_err *err)
{
    char shown[80];
    const char *e = getenv("HF_ENDPOINT");
    *h = (store_hub){.token = NULL};
    *withheld = false;
    store_hub_endpoint(h->endpoint, sizeof h->endpoint);
    if (!net_library())
        return tern_fail(err, TERN_E_NETWORK,
                         "this tern was built without network (libcurl, nettle)");
    if (!net_origin(h->endpoint, h->origin, sizeof h->origin) || strpbrk(h->endpoint, "?# "))
        return tern_fail(err, TERN_E_USAGE, "HF_ENDPOINT '%s': expected http(s)://host[:port]",
                         tern_quote(shown, sizeof shown, e ? e : "", e ? strlen(e) : 0));
    h->token = find_token();
    if (h->token && !net_is_private(h->endpoint)) {
        net_secret_free(h->token);
        h->token = NULL;
        *withheld = true;
    }
    return TERN_OK;
}

void store_hub_done(store_hub *h)
{
    net_secret_free(h->token);
    h->token = NULL;
}

/* ---- addresses ----------------------------------------------------------------------------- */

static void put_escaped(const char *s, bool slash, tern_str *out)
{
    for (; *s; s++) {
        bool plain = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
                     (*s >= '0' && *s <= '9') || strchr("-._~", *s) || (slash && *s == '/');
        if (plain)
            tern_str_putc(out, *s);
        else
            tern_str_printf(out, "%%%02X", (unsigned)(unsigned char)*s);
    }
}

void store_hub_file_url(const store_hub *h, const store_manifest *m, const char *file,
                        tern_str *out)
{
    tern_str_printf(out, "%s/%s/resolve/", h->endpoint, m->spec.repo);
    put_escaped(m->commit[0] ? m->commit : m->spec.revision, false, out);
    tern_str_putc(out, '/');
    put_escaped(file, true, out);
}

tern_code store_hub_refused(const store_hub *h, const store_manifest *m, int status,
                            const char *what, tern_err *err)
{
    const char *repo = m->spec.repo;
    switch (status) {
    case 401:
        return tern_fail(err, TERN_E_NETWORK,
                         h->token
                             ? "%s: the hub does not take this token (HF_TOKEN), or there is "
                               "no such repository (401)"
                             : "%s: no such repository, or one that needs a token: set HF_TOKEN "
                               "(401)",
                         repo);
    case 403:
        return tern_fail(err, TERN_E_NETWORK,
                         "%s: access refused (403); accept its licence at %s/%s%s", repo,
                         h->endpoint, repo, h->token ? "" : " and set HF_TOKEN");
    case 404:
        return tern_fail(err, TERN_E_NETWORK, "%s: no %s%s%s (404)", repo,
                         what ? what : "such repository or revision", what ? " at revision " : "",
                         what ? m->spec.revision : "");
    case 429:
        return tern_fail(err, TERN_E_NETWORK, "%s: too many requests (429); try later%s", repo,
                         h->token ? "" : ", or with HF_TOKEN set");
    default:
        return tern_fail(err, TERN_E_NETWORK, "%s: the hub answered with status %d", repo, status);
    }
}

/* ---- the list of files --------------------------------------------------------------------- */

static void copy_text(const json_t *v, char *buf, size_t cap)
{
    const char *s = json_string_value(v);
    size_t n = json_string_length(v);
    buf[0] = '\0';
    if (!s || n >= cap)
        return;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
            return;
    memcpy(buf, s, n + 1);
}

static void copy_hex(const json_t *v, char *buf, size_t n)
{
    copy_text(v, buf, n + 1);
    if (strspn(buf, "0123456789abcdef") != n)
        buf[0] = '\0';
}

static tern_code read_sibling(const json_t *s, store_manifest *m, tern_err *err)
{
    const json_t *name = json_object_get(s, "rfilename"), *size = json_object_get(s, "size");
    const json_t *lfs = json_object_get(s, "lfs");
    store_file *f;
    if (!json_is_string(name))
        return tern_fail(err, TERN_E_FORMAT, "%s: the hub lists a file without a name",
                         m->spec.repo);
    TERN_TRY(store_manifest_add(m, json_string_value(name), json_string_length(name), &f, err));
    if (json_is_integer(json_object_get(lfs, "size")))
        size = json_object_get(lfs, "size");
    f->sized = json_is_integer(size) && json_integer_value(size) >= 0;
    f->size = f->sized ? (uint64_t)json_integer_value(size) : 0;
    const json_t *sha = json_object_get(lfs, "sha256");
    copy_hex(sha ? sha : json_object_get(lfs, "oid"), f->sha256, STORE_SHA256_HEX);
    if (!json_is_object(lfs))
        copy_hex(json_object_get(s, "blobId"), f->git, STORE_SHA1_HEX);
    return TERN_OK;
}

/* "license" of the model card, else the tag "license:mit". */
static void read_licence(const json_t *o, store_manifest *m)
{
    size_t i;
    json_t *tag;
    const json_t *card = json_object_get(json_object_get(o, "cardData"), "license");
    char text[80];
    copy_text(json_is_array(card) ? json_array_get(card, 0) : card, m->licence, sizeof m->licence);
    json_array_foreach(json_object_get(o, "tags"), i, tag)
    {
        copy_text(tag, text, sizeof text);
        if (!m->licence[0] && strncmp(text, "license:", 8) == 0 &&
            strlen(text + 8) < sizeof m->licence)
            memcpy(m->licence, text + 8, strlen(text + 8) + 1);
    }
}

tern_code store_hub_read(const char *text, size_t n, store_manifest *m, tern_err *err)
{
    json_error_t why;
    size_t i;
    json_t *s;
    tern_code rc = TERN_OK;
    json_t *o = json_loadb(text, n, 0, &why);
    const json_t *siblings = json_object_get(o, "siblings");
    if (!json_is_array(siblings)) {
        json_decref(o);
        return tern_fail(err, TERN_E_FORMAT, "%s: the hub's answer is not a list of files",
                         m->spec.repo);
    }
    copy_text(json_object_get(o, "sha"), m->commit, sizeof m->commit);
    if (strspn(m->commit, "0123456789abcdef") != strlen(m->commit))
        m->commit[0] = '\0';
    read_licence(o, m);
    json_array_foreach(siblings, i, s)
    {
        rc = read_sibling(s, m, err);
        if (rc != TERN_OK)
            break;
    }
    json_decref(o);
    return rc;
}

static net_request request_for(const store_hub *h, const char *url)
{
    return (net_request){.url = url,
                         .bearer = h->token,
                         .bearer_origin = h->origin,
                         .max_redirects = 5,
                         .stay = true,
                         .total_s = 120};
}

tern_code store_hub_list(const store_hub *h, net_client *c, int n_retry, store_manifest *m,
                         tern_err *err)
{
    tern_str url, text;
    net_transfer *t = NULL;
    tern_str_init(&url, 1 << 12);
    tern_str_init(&text, STORE_MAX_JSON);
    tern_str_printf(&url, "%s/api/models/%s/revision/", h->endpoint, m->spec.repo);
    put_escaped(m->spec.revision, false, &url);
    tern_str_puts(&url, "?blobs=true");
    net_request r = request_for(h, tern_str_get(&url));
    r.max_bytes = STORE_MAX_JSON;
    tern_code rc = net_perform_again(c, &r, n_retry, &text, &t, err);
    if (rc == TERN_OK && net_transfer_response(t)->status != 200)
        rc = store_hub_refused(h, m, net_transfer_response(t)->status, NULL, err);
    if (rc == TERN_OK)
        rc = store_hub_read(tern_str_get(&text), text.len, m, err);
    net_transfer_free(t);
    tern_str_done(&url);
    tern_str_done(&text);
    if (rc == TERN_OK)
        (void)snprintf(m->hub, sizeof m->hub, "%s", h->endpoint);
    return rc;
}

/* An ETag without its quotation marks, if it is n hexadecimal digits. */
static void copy_etag(const net_response *a, const char *name, char *buf, size_t n)
{
    char value[160];
    if (!net_header(a, name, value, sizeof value))
        return;
    const char *s = strncmp(value, "W/", 2) == 0 ? value + 2 : value;
    s += *s == '"';
    if (strspn(s, "0123456789abcdef") == n && (s[n] == '\0' || s[n] == '"')) {
        memcpy(buf, s, n);
        buf[n] = '\0';
    }
}

tern_code store_hub_ask(const store_hub *h, net_client *c, int n_retry, const store_manifest *m,
                        store_file *f, tern_err *err)
{
    tern_str url;
    char value[32];
    net_transfer *t = NULL;
    tern_str_init(&url, 1 << 13);
    store_hub_file_url(h, m, f->name, &url);
    net_request r = request_for(h, tern_str_get(&url));
    r.method = "HEAD";
    tern_code rc = net_perform_again(c, &r, n_retry, NULL, &t, err);
    const net_response *a = t ? net_transfer_response(t) : NULL;
    if (rc == TERN_OK && a->status >= 400)
        rc = store_hub_refused(h, m, a->status, f->name, err);
    if (rc == TERN_OK) {
        uint64_t n;
        bool linked = net_header(a, "X-Linked-Size", value, sizeof value) &&
                      tern_parse_u64(value, strlen(value), &n);
        /* The length of a redirect is not that of the file. */
        if (linked || (a->status == 200 && net_content_length(a, &n))) {
            f->size = n;
            f->sized = true;
        }
        copy_etag(a, "X-Linked-Etag", f->sha256, STORE_SHA256_HEX);
        if (!f->sha256[0] && a->status == 200)
            copy_etag(a, "ETag", f->git, STORE_SHA1_HEX);
    }
    net_transfer_free(t);
    tern_str_done(&url);
    return rc;
}
