/* The two walls that speed is measured against, on this machine, now: how fast its threads together
 * read memory, and how fast they multiply and add in registers. */
#ifndef TERN_ENGINE_CEILING_H
#define TERN_ENGINE_CEILING_H

#include "base/pool.h"
#include "kernels/ceiling.h"

typedef struct tern_ceilings {
    double read_bytes_per_s;           /* 0: no memory for the buffer */
    size_t read_buffer;                /* bytes */
    double macs_per_s[TERN_ISA_COUNT]; /* 0: the machine lacks the set, or it has no such loop */
} tern_ceilings;

/* Takes about half a second. */
void tern_ceilings_measure(tern_pool *pool, unsigned cpu, tern_ceilings *out);

#endif
