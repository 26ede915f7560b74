/* The tokens lie sorted by their bytes, so those that begin with the text read so far are a range,
 * and one more byte narrows it from both ends. A text costs O(length of the longest token)
 * per place where a token could begin, however many tokens there are. */
#include "text/special.h"
#include "base/alloc.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

/* Bounds the work per byte of text; real ones have less than 100 bytes. */
#define SPECIAL_BYTES_MAX 256

static int compare(const void *a, const void *b)
{
    const tern_special *x = a, *y = b;
    size_t n = x->text.n < y->text.n ? x->text.n : y->text.n;
    int c = memcmp(x->text.p, y->text.p, n);
    if (c)
        return c;
    return (x->text.n > y->text.n) - (x->text.n < y->text.n);
}

static bool is_member(const tern_vocab *v, size_t i, bool controls)
{
    uint32_t id;
    tern_token_attr a = (tern_token_attr)v->attr[i];
    bool kind =
        a == TERN_TOKEN_USER || (controls && (a == TERN_TOKEN_CONTROL || a == TERN_TOKEN_UNKNOWN));
    /* Of equal spellings only the one that tern_token_find gives. */
    return kind && tern_map_find(&v->by_text, v->text[i].p, v->text[i].n, &id) && id == i;
}

tern_code tern_special_init(tern_special_set *s, const tern_vocab *v, bool controls, tern_err *err)
{
    *s = (tern_special_set){0};
    size_t n = 0;
    for (size_t i = 0; i < v->n; i++)
        n += is_member(v, i, controls);
    s->v = tern_calloc(n, sizeof *s->v);
    if (!s->v)
        return tern_fail(err, TERN_E_NOMEM, "%s: no memory for %zu special tokens", v->path, n);
    for (size_t i = 0; i < v->n; i++) {
        if (!is_member(v, i, controls))
            continue;
        if (v->bytes[i].n > SPECIAL_BYTES_MAX)
            return tern_fail(err, TERN_E_FORMAT,
                             "%s: special token %zu has %zu bytes, at most %d expected", v->path, i,
                             v->bytes[i].n, SPECIAL_BYTES_MAX);
        s->v[s->n++] = (tern_special){v->bytes[i], (int32_t)i};
    }
    qsort(s->v, s->n, sizeof *s->v, compare);
    for (size_t b = 0, i = 0; b < 256; b++) {
        s->first[b] = (uint32_t)i;
        while (i < s->n && (uint8_t)s->v[i].text.p[0] == b)
            i++;
        s->first[b + 1] = (uint32_t)i;
    }
    return TERN_OK;
}

void tern_special_done(tern_special_set *s)
{
    tern_free(s->v);
    *s = (tern_special_set){0};
}

static unsigned byte_at(const tern_special *v, size_t i, size_t depth)
{
    return (uint8_t)v[i].text.p[depth];
}

/* Narrow [*lo, *hi), which agree in their first `depth` bytes and are all longer, to those that have
 * byte b next. Both ends move in growing steps and halve the last one: what that costs is the
 * logarithm of what it removes, nothing where all go on alike. */
static void narrow(const tern_special *v, size_t *lo, size_t *hi, size_t depth, unsigned b)
{
    size_t first = *lo, end = *hi;
    for (size_t step = 1; first < end && byte_at(v, first, depth) < b;) {
        size_t next = first + step;
        if (next < end && byte_at(v, next, depth) < b) {
            first = next + 1;
            step *= 2;
        } else {
            first++;
            step = step > 1 ? step / 2 : 1;
        }
    }
    for (size_t step = 1; first < end && byte_at(v, end - 1, depth) > b;) {
        size_t left = end - first;
        if (step < left && byte_at(v, end - 1 - step, depth) > b) {
            end -= step + 1;
            step *= 2;
        } else {
            end--;
            step = step > 1 ? step / 2 : 1;
        }
    }
    *lo = first;
    *hi = end;
}

/* The longest token that text begins with; NULL if none. */
static const tern_special *match(const tern_special_set *s, const char *text, size_t n)
{
    unsigned b = (uint8_t)text[0];
    size_t lo = s->first[b], hi = s->first[b + 1];
    const tern_special *best = NULL;
    for (size_t depth = 1; lo < hi; depth++) {
        if (s->v[lo].text.n == depth) /* the shortest of a range stands first */
            best = &s->v[lo++];
        if (depth == n)
            break;
        b = (uint8_t)text[depth];
        narrow(s->v, &lo, &hi, depth, b);
    }
    return best;
}

int32_t tern_special_find(const tern_special_set *s, const char *text, size_t n, size_t *at,
                          size_t *len)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t b = (uint8_t)text[i];
        if (s->first[b] == s->first[b + 1u])
            continue;
        const tern_special *m = match(s, text + i, n - i);
        if (m) {
            *at = i;
            *len = m->text.n;
            return m->id;
        }
    }
    return -1;
}
