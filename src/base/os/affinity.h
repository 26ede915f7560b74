/* Which CPUs a thread may run on. Where a system does not say or allow it, all of them. */
#ifndef TERN_BASE_OS_AFFINITY_H
#define TERN_BASE_OS_AFFINITY_H

#include <pthread.h>

/* Numbers of the CPUs the calling thread may use, rising, into cpus[0..cap); how many there are (at
 * least 1). */
int tern_affinity_get(int *cpus, int cap);
/* Keep a thread on these CPUs. A system that refuses leaves it where it is. */
void tern_affinity_set(pthread_t thread, const int *cpus, int n_cpu);
/* The CPU this thread runs on; -1: unknown. */
int tern_affinity_here(void);

#endif
