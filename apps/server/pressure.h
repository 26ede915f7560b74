/* How short of memory the machine is, and what the server gives up for that: first what it keeps of prompts,
 * then new requests, before the system ends a program. */
#ifndef SERVER_PRESSURE_H
#define SERVER_PRESSURE_H

#include "base/memory.h"

typedef enum pressure {
    PRESSURE_NONE,
    PRESSURE_SHRINK, /* prefixes are dropped */
    PRESSURE_REFUSE  /* and new work is refused */
} pressure;

/* stalled: the share of the last ten seconds in which something waited for memory, in percent; before: the last
 * answer, which stays until there is clearly more room. */
pressure pressure_of(const tern_memory *m, double stalled, pressure before);
/* "some avg10=1.25 avg60=..." of /proc/pressure/memory; 0: it is none. */
double pressure_stalled(const char *line);
/* Of this machine, now; root: "", or what stands for its root in tests. */
pressure pressure_now(const char *root, pressure before);

#endif
