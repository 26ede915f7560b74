#include "base/os/affinity.h"

#include <sched.h>
#include <unistd.h>

static int all_online(int *cpus, int cap)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    int n_cpu = n < 1 ? 1 : n < cap ? (int)n : cap;
    for (int i = 0; i < n_cpu; i++)
        cpus[i] = i;
    return n_cpu;
}

#if defined(__linux__)

int tern_affinity_get(int *cpus, int cap)
{
    cpu_set_t set;
    int n = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return all_online(cpus, cap); /* more CPUs than a set holds */
    for (int i = 0; i < CPU_SETSIZE && n < cap; i++)
        if (CPU_ISSET((size_t)i, &set))
            cpus[n++] = i;
    return n > 0 ? n : all_online(cpus, cap);
}

void tern_affinity_set(pthread_t thread, const int *cpus, int n_cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int i = 0; i < n_cpu; i++)
        if (cpus[i] >= 0 && cpus[i] < CPU_SETSIZE)
            CPU_SET((size_t)cpus[i], &set);
    (void)pthread_setaffinity_np(thread, sizeof set, &set);
}

int tern_affinity_here(void)
{
    return sched_getcpu();
}

#else

int tern_affinity_get(int *cpus, int cap)
{
    return all_online(cpus, cap);
}

void tern_affinity_set(pthread_t thread, const int *cpus, int n_cpu)
{
    (void)thread, (void)cpus, (void)n_cpu;
}

int tern_affinity_here(void)
{
    return -1;
}

#endif
