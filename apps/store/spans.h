/* Which bytes of a file are there: a sorted list of half-open ranges. */
#ifndef STORE_SPANS_H
#define STORE_SPANS_H

#include "tern.h"

typedef struct store_span {
    uint64_t begin, end;
} store_span;

/* Parallel downloads leave as many ranges as they have connections, and one. */
#define STORE_MAX_SPANS 64

/* Sorted; no two touch. */
typedef struct store_spans {
    store_span v[STORE_MAX_SPANS];
    size_t n;
} store_spans;

/* Add [begin, end). False when there would be too many ranges (nothing is added). */
bool store_spans_add(store_spans *s, uint64_t begin, uint64_t end);
/* The first range that is missing in [0, size); false: none is. */
bool store_spans_gap(const store_spans *s, uint64_t size, uint64_t *begin, uint64_t *end);
uint64_t store_spans_bytes(const store_spans *s);

#endif
