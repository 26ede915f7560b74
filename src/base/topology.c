#include "base/topology.h"
#include "base/num.h"
#include "base/os/affinity.h"
#include "base/os/cgroup.h"

#include <stdio.h>
#include <string.h>

#define PATH_CAP 512
#define LINE_CAP 4096

/* ---- cores --------------------------------------------------------------------------------- */

typedef struct place {
    int cpu;
    int first; /* lowest usable CPU of its core */
    int rank;  /* among the usable CPUs of its core */
    uint64_t capacity;
} place;

static bool is_allowed(const int *allowed, int n, uint64_t cpu)
{
    for (int i = 0; i < n; i++)
        if ((uint64_t)allowed[i] == cpu)
            return true;
    return false;
}

/* One entry of a list of CPUs as "0-3,8": advances *list behind it. */
static bool next_range(const char **list, uint64_t *low, uint64_t *high)
{
    const char *s = *list;
    size_t n = strcspn(s, ","), dash = strcspn(s, "-");
    if (n == 0)
        return false;
    *list = s + n + (s[n] == ',');
    if (dash >= n) {
        bool ok = tern_parse_u64(s, n, low);
        *high = *low;
        return ok;
    }
    return tern_parse_u64(s, dash, low) && tern_parse_u64(s + dash + 1, n - dash - 1, high) &&
           *low <= *high;
}

static bool read_siblings(const char *root, int cpu, char *list, size_t cap)
{
    /* The second is what systems before 5.4 call it. */
    static const char *const names[] = {"core_cpus_list", "thread_siblings_list"};
    char path[PATH_CAP];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/%s", cpu,
                       names[i]);
        if (tern_root_line(root, path, list, cap))
            return true;
    }
    return false;
}

static place place_of(const char *root, const int *allowed, int n, int cpu)
{
    char line[LINE_CAP], path[PATH_CAP];
    place p = {.cpu = cpu, .first = cpu};
    uint64_t low = 0, high = 0;
    if (read_siblings(root, cpu, line, sizeof line))
        for (const char *list = line; next_range(&list, &low, &high);)
            for (uint64_t c = low; c <= high && c < (uint64_t)cpu; c++)
                if (is_allowed(allowed, n, c)) {
                    p.first = p.rank == 0 ? (int)c : p.first;
                    p.rank++;
                }
    (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cpu_capacity", cpu);
    if (tern_root_line(root, path, line, sizeof line))
        (void)tern_parse_u64(line, strlen(line), &p.capacity);
    return p;
}

static bool before(const place *a, const place *b)
{
    if (a->rank != b->rank)
        return a->rank < b->rank;
    return a->capacity != b->capacity ? a->capacity > b->capacity : a->cpu < b->cpu;
}

/* ---- quota --------------------------------------------------------------------------------- */

/* Quota and period in microseconds; *cpus becomes the smaller of itself and their quotient. */
static void apply_quota(uint64_t quota, uint64_t period, int *cpus)
{
    if (quota == 0 || period == 0 || quota > UINT64_MAX - period)
        return;
    uint64_t n = (quota + period - 1) / period;
    if (n <= TERN_CPU_MAX && (*cpus == 0 || (int)n < *cpus))
        *cpus = (int)n;
}

/* One folder of version 2 ("quota period" or "max period") and of version 1 (a file each). */
static void read_quota(void *ctx, const tern_cgroup *g)
{
    char line[64];
    uint64_t quota, period;
    if (!tern_cgroup_line(g, g->v2 ? "cpu.max" : "cpu.cfs_quota_us", line, sizeof line))
        return;
    size_t space = strcspn(line, " ");
    if (!tern_parse_u64(line, space, &quota)) /* "max", or -1: none */
        return;
    if (g->v2) {
        if (line[space] && tern_parse_u64(line + space + 1, strlen(line + space + 1), &period))
            apply_quota(quota, period, ctx);
        return;
    }
    if (tern_cgroup_line(g, "cpu.cfs_period_us", line, sizeof line) &&
        tern_parse_u64(line, strlen(line), &period))
        apply_quota(quota, period, ctx);
}

static int quota_of(const char *root)
{
    int cpus = 0;
    tern_cgroup_each(root, "cpu", read_quota, &cpus);
    return cpus;
}

/* ---- all of it ----------------------------------------------------------------------------- */

void tern_topology_read(const char *root, const int *allowed, int n, tern_topology *out)
{
    place places[TERN_CPU_MAX];
    *out = (tern_topology){.n_cpu = n, .quota = quota_of(root)};
    for (int i = 0; i < n; i++) {
        place p = place_of(root, allowed, n, allowed[i]);
        int at = i;
        for (; at > 0 && before(&p, &places[at - 1]); at--)
            places[at] = places[at - 1];
        places[at] = p;
        out->n_core += p.rank == 0;
    }
    for (int i = 0; i < n; i++) {
        int core = 0; /* the first of a core stands among the first n_core */
        while (core < out->n_core - 1 && places[core].cpu != places[i].first)
            core++;
        out->cpus[i] = (short)places[i].cpu;
        out->cores[i] = (short)core;
    }
}

void tern_topology_get(tern_topology *out)
{
    int allowed[TERN_CPU_MAX], n = tern_affinity_get(allowed, TERN_CPU_MAX);
    tern_topology_read("", allowed, n, out);
}

int tern_topology_threads(const tern_topology *t)
{
    return t->quota > 0 && t->quota < t->n_core ? t->quota : t->n_core;
}
