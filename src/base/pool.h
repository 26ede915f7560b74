/* Threads that run one function at a time over a fixed number of lanes. Regions are short (tens of
 * microseconds), so workers spin a while before they sleep. Work is split by the callee from
 * (lane, n_lane) alone, so results do not depend on timing. */
#ifndef TERN_BASE_POOL_H
#define TERN_BASE_POOL_H

#include "tern.h"

typedef struct tern_pool tern_pool;
typedef void (*tern_pool_fn)(void *arg, int lane, int n_lane);

/* n_thread >= 1 counts the calling thread. */
TERN_CHECK tern_code tern_pool_new(int n_thread, tern_pool **out, tern_err *err);
void tern_pool_free(tern_pool *p);
int tern_pool_size(const tern_pool *p);
/* Run fn on every lane and return when all are done; what lanes wrote is then visible to the
 * caller. One caller at a time; fn must not call tern_pool_run. */
void tern_pool_run(tern_pool *p, tern_pool_fn fn, void *arg);

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
