#include "spans.h"

#include <string.h>

bool store_spans_add(store_spans *s, uint64_t begin, uint64_t end)
{
    size_t i = 0;
    if (begin >= end)
        return true;
    while (i < s->n && s->v[i].end < begin)
        i++;
    size_t j = i; /* v[i..j) touch the new one and become one with it */
    while (j < s->n && s->v[j].begin <= end) {
        begin = s->v[j].begin < begin ? s->v[j].begin : begin;
        end = s->v[j].end > end ? s->v[j].end : end;
        j++;
    }
    if (i == j && s->n == STORE_MAX_SPANS)
        return false;
    memmove(&s->v[i + 1], &s->v[j], (s->n - j) * sizeof s->v[0]);
    s->v[i] = (store_span){begin, end};
    s->n = s->n + 1 - (j - i);
    return true;
}

bool store_spans_gap(const store_spans *s, uint64_t size, uint64_t *begin, uint64_t *end)
{
    bool from_start = s->n > 0 && s->v[0].begin == 0;
    size_t next = from_start ? 1 : 0;
    *begin = from_start ? s->v[0].end : 0;
    *end = next < s->n && s->v[next].begin < size ? s->v[next].begin : size;
    return *begin < *end;
}

uint64_t store_spans_bytes(const store_spans *s)
{
    uint64_t total = 0;
    for (size_t i = 0; i < s->n; i++)
        total += s->v[i].end - s->v[i].begin;
    return total;
}
