/* Where the time of steps goes: the thread that runs a step says which part of it begins, and the time
 * and the weight bytes up to the next such call are that part's. */
#ifndef TERN_MODEL_SPAN_H
#define TERN_MODEL_SPAN_H

#include "base/clock.h"

#include <stdbool.h>

/* SPAN(id, name) */
#define TERN_SPANS(SPAN)                                                                           \
    SPAN(BETWEEN, "between steps")                                                                 \
    SPAN(EMBED, "embedding")                                                                       \
    SPAN(PREPARE, "norms, int8 inputs")                                                            \
    SPAN(QKV, "q, k, v")                                                                           \
    SPAN(ROPE, "rope, cache write")                                                                \
    SPAN(ATTEND, "attention")                                                                      \
    SPAN(O, "attention output")                                                                    \
    SPAN(GATE_UP, "gate, up")                                                                      \
    SPAN(UP, "up, where the gate lets through")                                                    \
    SPAN(DOWN, "down")                                                                             \
    SPAN(RESIDUAL, "residual")                                                                     \
    SPAN(HEAD, "head, whole")                                                                      \
    SPAN(PLANE, "head, coarse plane")                                                              \
    SPAN(REFINE, "head, finer planes")                                                             \
    SPAN(EXACT, "head, exact rows")                                                                \
    SPAN(PICK, "choosing")

#define SPAN(id, name) TERN_SPAN_##id,
typedef enum tern_span { TERN_SPANS(SPAN) TERN_N_SPAN } tern_span;
#undef SPAN

typedef struct tern_spans {
    bool on;
    tern_span now;
    uint64_t since_ns, since_bytes;
    uint64_t ns[TERN_N_SPAN], bytes[TERN_N_SPAN];
} tern_spans;

/* span begins, with so many bytes read by now; returns what it follows. */
static inline tern_span tern_span_begin(tern_spans *s, tern_span span, uint64_t read_bytes)
{
    tern_span was = s->now;
    if (!s->on)
        return was;
    uint64_t ns = tern_clock_ns();
    s->ns[was] += ns - s->since_ns;
    s->bytes[was] += read_bytes - s->since_bytes;
    s->now = span;
    s->since_ns = ns;
    s->since_bytes = read_bytes;
    return was;
}

#endif
