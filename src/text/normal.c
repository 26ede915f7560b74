#include "text/normal.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "base/utf8.h"

#include <utf8proc.h>

/* Putting marks in order takes steps by the square of how many follow each other: a run of more than
 * any writing has is cut, and not composed across the cut. */
#define MARKS_MAX 128

/* Characters below U+0300 neither combine with what stands before them nor have another form. */
static bool is_inert(char c)
{
    return (uint8_t)c < 0xCC;
}

/* Length of the part of text[0..n) that is composed already: plain characters, but the last one before
 * others, which may combine with it. */
static size_t plain_len(const char *text, size_t n)
{
    size_t i = 0, last = 0;
    while (i < n && is_inert(text[i])) {
        uint32_t cp;
        int len = (uint8_t)text[i] < 0x80 ? 1 : tern_utf8_decode(text + i, n - i, &cp);
        last = i;
        i += len ? (size_t)len : 1;
    }
    return i < n ? last : n;
}

/* Length of what must be composed together: valid UTF-8, up to two plain characters in a row, the
 * second of which begins something new. */
static size_t other_len(const char *text, size_t n)
{
    size_t i = 0, marks = 0;
    bool plain = false;
    while (i < n && marks < MARKS_MAX) {
        uint32_t cp;
        int len = tern_utf8_decode(text + i, n - i, &cp);
        if (!len || (plain && is_inert(text[i])))
            break;
        plain = is_inert(text[i]);
        marks = utf8proc_get_property((utf8proc_int32_t)cp)->combining_class ? marks + 1 : 0;
        i += (size_t)len;
    }
    return i;
}

static tern_code compose(const char *text, size_t n, tern_str *out, tern_err *err)
{
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    const uint8_t *bytes = (const uint8_t *)text;
    utf8proc_ssize_t len = utf8proc_decompose(bytes, (utf8proc_ssize_t)n, NULL, 0, options);
    size_t size;
    utf8proc_int32_t *cps = NULL;
    if (len >= 0 && tern_mul_size((size_t)len + 1, sizeof *cps, &size))
        cps = tern_alloc(size);
    if (!cps)
        return tern_fail(err, TERN_E_NOMEM, "no memory to compose %zu bytes of text", n);
    len = utf8proc_decompose(bytes, (utf8proc_ssize_t)n, cps, len, options);
    if (len >= 0)
        len = utf8proc_normalize_utf32(cps, len, options);
    for (utf8proc_ssize_t i = 0; i < len; i++) {
        char u[4];
        tern_str_put(out, u, (size_t)tern_utf8_encode((uint32_t)cps[i], u));
    }
    tern_free(cps);
    return len >= 0 ? TERN_OK : tern_fail(err, TERN_E_INTERNAL, "text cannot be composed");
}

tern_code tern_text_nfc(const char *text, size_t n, tern_str *out, tern_err *err)
{
    for (size_t i = 0; i < n;) {
        size_t len = plain_len(text + i, n - i);
        tern_str_put(out, text + i, len);
        i += len;
        len = other_len(text + i, n - i);
        if (len)
            TERN_TRY(compose(text + i, len, out, err));
        else if (i < n)
            tern_str_putc(out, text[i++]); /* no UTF-8 */
        i += len;
    }
    return out->failed ? tern_fail(err, TERN_E_NOMEM, "no memory to compose %zu bytes", n)
                       : TERN_OK;
}
