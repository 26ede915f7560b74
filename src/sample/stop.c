#include "sample/stop.h"
#include "base/alloc.h"
#include "base/error.h"

#include <string.h>

#define MAX_STRINGS 16
#define MAX_BYTES   256

struct tern_stop {
    size_t n, len[MAX_STRINGS];
    char text[MAX_STRINGS][MAX_BYTES];
    char held[MAX_BYTES]; /* the longest suffix of the text that begins a stop string */
    size_t n_held;
    bool hit;
};

tern_code tern_stop_new(const char *const *strings, size_t n, tern_stop **out, tern_err *err)
{
    *out = NULL;
    if (n > MAX_STRINGS)
        return tern_fail(err, TERN_E_USAGE, "stop: %zu strings, at most %d", n, MAX_STRINGS);
    tern_stop *s = tern_calloc(1, sizeof *s);
    if (!s)
        return tern_fail(err, TERN_E_NOMEM, "stop strings: out of memory");
    for (size_t i = 0; i < n; i++) {
        s->len[i] = strlen(strings[i]);
        if (s->len[i] == 0 || s->len[i] > MAX_BYTES) {
            size_t len = s->len[i];
            tern_free(s);
            return tern_fail(err, TERN_E_USAGE, "stop: string %zu has %zu bytes, expected 1..%d",
                             i + 1, len, MAX_BYTES);
        }
        memcpy(s->text[i], strings[i], s->len[i]);
    }
    s->n = n;
    *out = s;
    return TERN_OK;
}

void tern_stop_free(tern_stop *s)
{
    tern_free(s);
}

void tern_stop_reset(tern_stop *s)
{
    s->n_held = 0;
    s->hit = false;
}

/* Index of the longest stop string that ends the held bytes, or -1. */
static int completed(const tern_stop *s)
{
    int found = -1;
    for (size_t i = 0; i < s->n; i++)
        if (s->len[i] <= s->n_held &&
            memcmp(s->held + s->n_held - s->len[i], s->text[i], s->len[i]) == 0 &&
            (found < 0 || s->len[i] > s->len[found]))
            found = (int)i;
    return found;
}

static bool begins_a_stop(const tern_stop *s, const char *p, size_t n)
{
    for (size_t i = 0; i < s->n; i++)
        if (n < s->len[i] && memcmp(p, s->text[i], n) == 0)
            return true;
    return false;
}

/* Byte by byte: at most MAX_BYTES are held, so each step is bounded. */
int tern_stop_feed(tern_stop *s, const char *text, size_t n, tern_str *out)
{
    for (size_t i = 0; i < n && !s->hit; i++) {
        /* held is a proper prefix of some stop string, so there is room for one more byte. */
        s->held[s->n_held++] = text[i];
        int found = completed(s);
        if (found >= 0) {
            tern_str_put(out, s->held, s->n_held - s->len[found]);
            s->n_held = 0;
            s->hit = true;
            return found;
        }
        size_t drop = 0;
        while (drop < s->n_held && !begins_a_stop(s, s->held + drop, s->n_held - drop))
            drop++;
        tern_str_put(out, s->held, drop);
        memmove(s->held, s->held + drop, s->n_held - drop);
        s->n_held -= drop;
    }
    return -1;
}

void tern_stop_finish(tern_stop *s, tern_str *out)
{
    if (!s->hit)
        tern_str_put(out, s->held, s->n_held);
    s->n_held = 0;
}
