/* The CPUs this process may use, how they share physical cores, and what its control group grants.
 * What the system does not tell is taken for the simplest: a core for each CPU, no quota. */
#ifndef TERN_BASE_TOPOLOGY_H
#define TERN_BASE_TOPOLOGY_H

#include "tern.h"

#define TERN_CPU_MAX 1024

typedef struct tern_topology {
    int n_cpu, n_core;
    int quota; /* whole CPUs the control group grants, rounded up; 0: no limit */
    /* By preference: one CPU of each core, larger cores first, then their second hardware threads,
     * and so on. cpus[i] for i < n_core is the first of core i. */
    short cpus[TERN_CPU_MAX];
    short cores[TERN_CPU_MAX]; /* of cpus[i]: 0..n_core-1 */
} tern_topology;

/* From the files under root ("" in life, a made-up tree in tests) for CPUs allowed[0..n), which rise;
 * n is 1..TERN_CPU_MAX. */
void tern_topology_read(const char *root, const int *allowed, int n, tern_topology *out);
/* Of this thread. */
void tern_topology_get(tern_topology *out);
/* Threads worth starting: a second one on a core adds little to work that waits for memory, and more
 * than the quota would be stopped in the middle of it. */
int tern_topology_threads(const tern_topology *t);

#endif
