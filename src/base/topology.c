#include "base/topology.h"
#include "base/num.h"
#include "base/os/affinity.h"

#include <stdio.h>
#include <string.h>

#define PATH_CAP 512
#define LINE_CAP 4096

/* ---- small files --------------------------------------------------------------------------- */

/* First line of a file without its newline; false when there is none. */
static bool read_line(const char *root, const char *path, char *line, size_t cap)
{
    char full[PATH_CAP];
    int n = snprintf(full, sizeof full, "%s%s", root, path);
    FILE *f = n > 0 && (size_t)n < sizeof full ? fopen(full, "re") : NULL;
    if (!f)
        return false;
    bool ok = fgets(line, (int)cap, f) != NULL;
    (void)fclose(f);
    if (ok)
        line[strcspn(line, "\n")] = 0;
    return ok;
}

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
        if (read_line(root, path, list, cap))
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
    if (read_line(root, path, line, sizeof line))
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
static void read_quota(const char *root, const char *mount, const char *group, bool v2, int *cpus)
{
    char path[PATH_CAP], line[64];
    uint64_t quota, period;
    int n =
        snprintf(path, sizeof path, "%s%s%s", mount, group, v2 ? "/cpu.max" : "/cpu.cfs_quota_us");
    if (n < 0 || (size_t)n >= sizeof path || !read_line(root, path, line, sizeof line))
        return;
    size_t space = strcspn(line, " ");
    if (!tern_parse_u64(line, space, &quota)) /* "max", or -1: none */
        return;
    if (v2) {
        if (line[space] && tern_parse_u64(line + space + 1, strlen(line + space + 1), &period))
            apply_quota(quota, period, cpus);
        return;
    }
    (void)snprintf(path, sizeof path, "%s%s/cpu.cfs_period_us", mount, group);
    if (read_line(root, path, line, sizeof line) && tern_parse_u64(line, strlen(line), &period))
        apply_quota(quota, period, cpus);
}

/* The group itself and all above it: each may limit. */
static void read_quotas(const char *root, const char *mount, char *group, bool v2, int *cpus)
{
    for (char *slash; *group; *slash = 0) {
        if (strcmp(group, "/") != 0)
            read_quota(root, mount, group, v2, cpus);
        if (!(slash = strrchr(group, '/')))
            break;
    }
    read_quota(root, mount, "", v2, cpus);
}

/* Does the comma-separated list name the CPU controller? */
static bool names_cpu(const char *list, size_t n)
{
    for (size_t i = 0, end; i < n; i = end + 1) {
        for (end = i; end < n && list[end] != ','; end++)
            continue;
        if (end - i == 3 && memcmp(list + i, "cpu", 3) == 0)
            return true;
    }
    return false;
}

/* Lines "number:controllers:/group" of this process; version 2 has no controllers. */
static int quota_of(const char *root)
{
    static const char *const v1[] = {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"};
    static const char *const v2[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    char path[PATH_CAP], line[LINE_CAP];
    int cpus = 0, n = snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
    for (int i = 0; f && i < 64 && fgets(line, sizeof line, f); i++) {
        line[strcspn(line, "\n")] = 0;
        char *list = strchr(line, ':'), *group = list ? strchr(list + 1, ':') : NULL;
        if (!group || strstr(group, "/.."))
            continue;
        size_t n_list = (size_t)(group - list) - 1;
        bool two = n_list == 0;
        for (size_t m = 0; (two || names_cpu(list + 1, n_list)) && m < 2; m++) {
            char copy[LINE_CAP];
            (void)snprintf(copy, sizeof copy, "%s", group + 1);
            read_quotas(root, two ? v2[m] : v1[m], copy, two, &cpus);
        }
    }
    if (f)
        (void)fclose(f);
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
