/* Paths and queries of requests, taken apart in place. */
#ifndef SERVER_URI_H
#define SERVER_URI_H

#include "base/str.h"

#define URI_MAX_QUERY 32

typedef struct uri {
    char *text; /* owned; path and query strings lie in it */
    char *path; /* decoded parts, '/' between; what was %2F is '\1' until a part is taken */
    const char *name[URI_MAX_QUERY], *value[URI_MAX_QUERY]; /* decoded */
    size_t n_query;
} uri;

/* "/path?name=value&..." as the client sent it, with or without "http://host" before. Codes: TERN_E_USAGE
 * (no path, a bad %, control bytes, no UTF-8, too many queries), TERN_E_NOMEM. On failure *u is empty. */
TERN_CHECK tern_code uri_parse(const char *s, size_t n, uri *u, tern_err *err);
void uri_done(uri *u);
/* NULL: none. */
const char *uri_query(const uri *u, const char *name);

#define URI_MAX_PARAM 4

typedef struct uri_params {
    char *name[URI_MAX_PARAM], *value[URI_MAX_PARAM]; /* owned */
    size_t n;
} uri_params;

/* Whether path is one of pattern, "/a/{b}/{c*}". Fills params if not NULL; on a lack of memory it is none. */
bool uri_match(const char *pattern, const char *path, uri_params *params);
void uri_params_done(uri_params *p);

#endif
