#include "server/uri.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/utf8.h"

#include <string.h>

/* A slash that the client wrote as %2F: part of a name, not a border. Control bytes are refused, so no
 * path holds it otherwise. */
#define SLASH '\1'

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decode s[0..n) in place and end it with NUL, for which there is room; false when it is malformed. */
static bool decode(char *s, size_t n, bool query)
{
    size_t to = 0;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        if (c == '%') {
            if (n - i < 3 || hex_digit(s[i + 1]) < 0 || hex_digit(s[i + 2]) < 0)
                return false;
            c = (char)(hex_digit(s[i + 1]) * 16 + hex_digit(s[i + 2]));
            i += 2;
            if ((unsigned char)c < 32 && !(query && (c == '\n' || c == '\t')))
                return false;
            if (c == '/' && !query)
                c = SLASH;
        } else if (c == '+' && query) {
            c = ' ';
        } else if ((unsigned char)c <= 32) {
            return false;
        }
        if (c == 127)
            return false;
        s[to++] = c;
    }
    s[to] = '\0';
    return tern_utf8_valid(s, to);
}

/* Behind "http://host", which proxies send; NULL: neither that nor a path. */
static const char *skip_host(const char *s, size_t n)
{
    static const char scheme[] = "http://";
    size_t skip = sizeof scheme - 1;
    if (n > 0 && *s == '/')
        return s;
    if (n <= skip || memcmp(s, scheme, skip) != 0)
        return NULL;
    return memchr(s + skip, '/', n - skip);
}

static tern_code parse_query(char *s, uri *u, tern_err *err)
{
    while (*s) {
        size_t n = strcspn(s, "&");
        char *next = s[n] ? s + n + 1 : s + n, *equal = memchr(s, '=', n);
        size_t n_name = equal ? (size_t)(equal - s) : n;
        if (n > 0) {
            static const char none[] = "";
            if (u->n_query == URI_MAX_QUERY)
                return tern_fail(err, TERN_E_USAGE, "the query has more than %d parts",
                                 URI_MAX_QUERY);
            /* The value first: the end of the name is written over its '='. */
            if (!(equal ? decode(equal + 1, n - n_name - 1, true) : true) ||
                !decode(s, n_name, true))
                return tern_fail(err, TERN_E_USAGE, "the query is malformed");
            u->name[u->n_query] = s;
            u->value[u->n_query++] = equal ? equal + 1 : none;
        }
        s = next;
    }
    return TERN_OK;
}

tern_code uri_parse(const char *s, size_t n, uri *u, tern_err *err)
{
    tern_code rc = TERN_OK;
    *u = (uri){.n_query = 0};
    const char *begin = skip_host(s, n);
    if (!begin || memchr(s, '\0', n))
        return tern_fail(err, TERN_E_USAGE, "the request names no path");
    u->text = tern_strdup_n(begin, n - (size_t)(begin - s));
    if (!u->text)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for a path");
    u->path = u->text;
    size_t n_path = strcspn(u->path, "?#");
    char *query = u->path + n_path;
    bool has_query = *query == '?';
    query[strcspn(query, "#")] = '\0';
    if (has_query)
        rc = parse_query(query + 1, u, err);
    if (rc == TERN_OK && !decode(u->path, n_path, false))
        rc = tern_fail(err, TERN_E_USAGE, "the path is malformed");
    if (rc != TERN_OK)
        uri_done(u);
    return rc;
}

void uri_done(uri *u)
{
    tern_free(u->text);
    *u = (uri){.n_query = 0};
}

const char *uri_query(const uri *u, const char *name)
{
    for (size_t i = 0; i < u->n_query; i++)
        if (strcmp(u->name[i], name) == 0)
            return u->value[i];
    return NULL;
}

/* ---- patterns ------------------------------------------------------------------------------- */

static bool add_param(uri_params *p, const char *name, size_t n_name, const char *value, size_t n)
{
    if (p->n == URI_MAX_PARAM)
        return false;
    p->name[p->n] = tern_strdup_n(name, n_name);
    p->value[p->n] = tern_strdup_n(value, n);
    if (!p->name[p->n] || !p->value[p->n]) {
        tern_free(p->name[p->n]);
        tern_free(p->value[p->n]);
        return false;
    }
    for (char *c = p->value[p->n]; *c; c++)
        if (*c == SLASH)
            *c = '/';
    p->n++;
    return true;
}

bool uri_match(const char *pattern, const char *path, uri_params *params)
{
    while (*pattern) {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        size_t n_name = strcspn(++pattern, "*}");
        bool rest = pattern[n_name] == '*';
        size_t n = rest ? strlen(path) : strcspn(path, "/");
        if (n == 0)
            return false;
        if (params && !add_param(params, pattern, n_name, path, n))
            return false;
        pattern += n_name + (rest ? 2 : 1);
        path += n;
    }
    return *path == '\0';
}

void uri_params_done(uri_params *p)
{
    for (size_t i = 0; i < p->n; i++) {
        tern_free(p->name[i]);
        tern_free(p->value[i]);
    }
    p->n = 0;
}
