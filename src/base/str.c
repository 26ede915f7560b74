#include "base/str.h"
#include "base/alloc.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void tern_str_init(tern_str *s, size_t max_bytes)
{
    /* Below the largest object, so that max + 1 and doubling cannot wrap. */
    *s = (tern_str){.max = max_bytes < PTRDIFF_MAX ? max_bytes : PTRDIFF_MAX - 1};
}

void tern_str_done(tern_str *s)
{
    tern_free(s->data);
    *s = (tern_str){.max = s->max};
}

void tern_str_clear(tern_str *s)
{
    s->len = 0;
    s->failed = false;
    if (s->data)
        s->data[0] = 0;
}

/* Room for n more bytes and the NUL. */
static bool reserve(tern_str *s, size_t n)
{
    if (s->failed || s->len > s->max || n > s->max - s->len) {
        s->failed = true;
        return false;
    }
    size_t need = s->len + n + 1;
    if (need <= s->cap)
        return true;
    size_t cap = s->cap ? s->cap : 64;
    while (cap < need)
        cap = cap > s->max / 2 ? s->max + 1 : cap * 2;
    char *data = tern_realloc(s->data, s->cap, cap);
    if (!data) {
        s->failed = true;
        return false;
    }
    s->data = data;
    s->cap = cap;
    return true;
}

void tern_str_put(tern_str *s, const void *bytes, size_t n)
{
    if (!reserve(s, n))
        return;
    if (n)
        memcpy(s->data + s->len, bytes, n);
    s->len += n;
    s->data[s->len] = 0;
}

void tern_str_puts(tern_str *s, const char *text)
{
    tern_str_put(s, text, strlen(text));
}

void tern_str_putc(tern_str *s, char c)
{
    tern_str_put(s, &c, 1);
}

void tern_str_printf(tern_str *s, const char *fmt, ...)
{
    va_list ap, ap2;
    va_start(ap, fmt);
    va_copy(ap2, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        s->failed = true;
    else if (reserve(s, (size_t)n)) {
        (void)vsnprintf(s->data + s->len, (size_t)n + 1, fmt, ap2);
        s->len += (size_t)n;
    }
    va_end(ap2);
}

const char *tern_str_get(const tern_str *s)
{
    return s->data ? s->data : "";
}

char *tern_str_take(tern_str *s)
{
    if (!reserve(s, 0))
        return NULL;
    s->data[s->len] = 0;
    char *p = s->data;
    *s = (tern_str){.max = s->max};
    return p;
}

/* Controls, and the marks that reorder or break a line of text. */
static bool hidden(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7F && cp < 0xA0) || cp == 0x61C || cp == 0x200E || cp == 0x200F ||
           (cp >= 0x2028 && cp <= 0x202E) || (cp >= 0x2066 && cp <= 0x2069) || cp == 0xFEFF;
}

/* One character of s as shown: its bytes, or \xNN for the first of them. Returns bytes read. */
static size_t show(const char *s, size_t n, char out[4], size_t *n_out)
{
    static const char hex[] = "0123456789abcdef";
    uint32_t cp;
    int len = tern_utf8_decode(s, n, &cp);
    if (len > 0 && !hidden(cp)) {
        *n_out = (size_t)len;
        memcpy(out, s, (size_t)len);
        return (size_t)len;
    }
    unsigned char b = (unsigned char)s[0];
    *n_out = 4;
    memcpy(out, (char[4]){'\\', 'x', hex[b >> 4], hex[b & 15]}, 4);
    return 1;
}

const char *tern_quote(char *buf, size_t cap, const char *s, size_t n)
{
    char c[4];
    size_t len, total = 0, shown = 0, w = 0;
    for (size_t i = 0; i < n; total += len)
        i += show(s + i, n - i, c, &len);
    /* The end of a path or a tensor name says more than its beginning. */
    size_t room = cap - 4, head = room / 3, tail = room - head;
    bool cut = total > cap - 1, dots = false;
    for (size_t i = 0; i < n; shown += len) {
        i += show(s + i, n - i, c, &len);
        if (!cut || shown + len <= head || shown >= total - tail) {
            memcpy(buf + w, c, len);
            w += len;
        } else if (!dots) {
            memcpy(buf + w, "...", 3);
            w += 3;
            dots = true;
        }
    }
    buf[w] = 0;
    return buf;
}
