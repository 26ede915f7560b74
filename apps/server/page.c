/* GET / and /bench: the page that web/build.mjs makes, and GET /licenses.txt. They hold nothing of the server's
 * and need no key: the page asks for one when the interface does. */
#include "server/page.h"
#include "page_policy.h"
#include "server/exchange.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* page.S */
extern const char tern_page_begin[], tern_page_end[], tern_page_gzip_begin[], tern_page_gzip_end[],
    tern_page_licenses_begin[], tern_page_licenses_end[];

/* Items of a header's list, blanks around them left out. */
static bool next_item(const char **at, const char **item, size_t *n)
{
    *at += strspn(*at, ", \t");
    if (**at == '\0')
        return false;
    *item = *at;
    *n = strcspn(*at, ",");
    *at += *n;
    while (*n > 0 && ((*item)[*n - 1] == ' ' || (*item)[*n - 1] == '\t'))
        --*n;
    return true;
}

bool page_takes_gzip(const char *accept)
{
    const char *item;
    size_t n;
    bool any = false;
    for (const char *at = accept ? accept : ""; next_item(&at, &item, &n);) {
        size_t name = strcspn(item, "; \t,");
        bool star = name == 1 && item[0] == '*';
        if (!star && (name != 4 || strncasecmp(item, "gzip", 4) != 0))
            continue;
        const char *q = memchr(item, '=', n);
        /* "q=0", "q=0.00": not at all */
        bool no = q && q[1] == '0' && strspn(q + 1, "0.") == (size_t)(item + n - (q + 1));
        if (!star)
            return !no;
        any = !no;
    }
    return any;
}

bool page_has_tag(const char *list, const char *tag)
{
    const char *item;
    size_t n, want = strlen(tag);
    for (const char *at = list ? list : ""; next_item(&at, &item, &n);) {
        if (n == 1 && item[0] == '*')
            return true;
        if (n > 2 && strncmp(item, "W/", 2) == 0) { /* weak ones compare alike here */
            item += 2;
            n -= 2;
        }
        if (n == want && memcmp(item, tag, n) == 0)
            return true;
    }
    return false;
}

void server_page(exchange *x)
{
    const char *begin = tern_page_begin, *end = tern_page_end, *tag = "\"" WEB_PAGE_TAG "\"";
    size_t n_gzip = (size_t)(tern_page_gzip_end - tern_page_gzip_begin);
    bool gzip = n_gzip > 0 && n_gzip < (size_t)(end - begin) &&
                page_takes_gzip(exchange_header(x, "Accept-Encoding"));
    if (gzip) {
        begin = tern_page_gzip_begin;
        end = tern_page_gzip_end;
        tag = "\"" WEB_PAGE_TAG "-gzip\"";
    }
    (void)exchange_set_header(x, "ETag", tag);
    (void)exchange_set_header(x, "Cache-Control", "no-cache"); /* kept, but asked about each time */
    (void)exchange_set_header(x, "Vary", "Accept-Encoding");
    (void)exchange_set_header(x, "Content-Security-Policy", WEB_PAGE_POLICY);
    (void)exchange_set_header(x, "Referrer-Policy", "no-referrer");
    (void)exchange_set_header(x, "Cross-Origin-Opener-Policy", "same-origin");
    (void)exchange_set_header(x, "X-Frame-Options", "DENY");
    if (page_has_tag(exchange_header(x, "If-None-Match"), tag)) {
        exchange_reply_static(x, 304, "", "", 0);
        return;
    }
    if (gzip)
        (void)exchange_set_header(x, "Content-Encoding", "gzip");
    exchange_reply_static(x, 200, "text/html; charset=utf-8", begin, (size_t)(end - begin));
}

void server_licenses(exchange *x)
{
    exchange_reply_static(x, 200, "text/plain; charset=utf-8", tern_page_licenses_begin,
                          (size_t)(tern_page_licenses_end - tern_page_licenses_begin));
}
