/* Threads that run one function at a time over the parts of a piece of work. Regions are short (tens
 * of microseconds), so lanes look for the next one a while before they sleep.
 *
 * No lane is waited for that has not begun anything: parts belong to lanes, so that memory stays
 * where it was touched first, but a lane without any left takes those that another has not begun.
 * When the system runs another program on a lane's CPU, the rest do its work. What a part computes
 * must therefore depend on its number alone, never on the lane; results then do not depend on
 * timing. */
#ifndef TERN_BASE_POOL_H
#define TERN_BASE_POOL_H

#include "base/topology.h"

typedef struct tern_pool tern_pool;
typedef void (*tern_pool_fn)(void *arg, int lane, int n_lane);
typedef void (*tern_pool_range_fn)(void *arg, int lane, int begin, int end);

/* n_thread >= 1 counts the calling thread. */
TERN_CHECK tern_code tern_pool_new(int n_thread, tern_pool **out, tern_err *err);
void tern_pool_free(tern_pool *p);
int tern_pool_size(const tern_pool *p);
/* Keep every lane on a core of its own, while cores last, and off the caller's: a lane makes way when
 * the caller is found on its core. The caller itself, whose thread is the program's, may go where it
 * likes. Call it once, before the first region. Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code tern_pool_spread(tern_pool *p, const tern_topology *t, tern_err *err);

/* Run fn once for every lane number and return when all are done; what they wrote is then visible to
 * the caller. Two numbers may be run by one thread, one after the other, so fn must not wait for
 * another lane. One caller at a time; fn must not start a region. */
void tern_pool_run(tern_pool *p, tern_pool_fn fn, void *arg);
/* The same over [0, n) in pieces of whole grains (the last may be cut), several for each lane, of which
 * nothing may depend on where they begin and end. lane is the one that runs: its number is for
 * scratch memory. Each lane begins where its part by tern_pool_split begins. */
void tern_pool_for(tern_pool *p, int n, int grain, tern_pool_range_fn fn, void *arg);

/* What a lane will read next: while it waits it brings the first of these bytes into its own cache, so
 * that memory does not idle between regions. A hint: nothing but time depends on it, and the bytes need
 * not exist. It holds until the next one. Called by the caller of regions, before the region that
 * comes before the one meant. */
void tern_pool_ahead(tern_pool *p, int lane, const void *bytes, size_t n);

/* Half-open part of [0, n) for one lane, in multiples of grain. */
static inline void tern_pool_split(int n, int grain, int lane, int n_lane, int *begin, int *end)
{
    int n_grain = (n + grain - 1) / grain;
    int64_t b = (int64_t)n_grain * lane / n_lane * grain;
    int64_t e = (int64_t)n_grain * (lane + 1) / n_lane * grain;
    *begin = (int)(b < n ? b : n);
    *end = (int)(e < n ? e : n);
}

#endif
