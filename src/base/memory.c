#include "base/memory.h"
#include "base/num.h"
#include "base/os/cgroup.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PATH_CAP 512

/* Version 1 says so when there is none: the largest multiple of a page below 2^63. */
#define V1_NO_LIMIT (UINT64_C(1) << 62)

/* Number behind the words of a line "MemTotal:   123 kB" or "inactive_file 123"; false: another line. */
static bool number_of(const char *line, const char *key, uint64_t *out)
{
    size_t n = strlen(key);
    if (strncmp(line, key, n) != 0 || !strchr(" :\t", line[n]))
        return false;
    const char *s = line + n + strspn(line + n, ": \t");
    return tern_parse_u64(s, strcspn(s, " \n"), out);
}

typedef struct entry {
    const char *key;
    uint64_t *value; /* set when the file has it */
} entry;

/* Each entry of a file of lines with a key and a number. */
static void read_entries(const char *root, const char *path, const entry *e, size_t n)
{
    char full[PATH_CAP], line[256];
    int len = snprintf(full, sizeof full, "%s%s", root, path);
    FILE *f = len > 0 && (size_t)len < sizeof full ? fopen(full, "re") : NULL;
    for (int i = 0; f && i < 1024 && fgets(line, sizeof line, f); i++)
        for (size_t j = 0; j < n; j++)
            (void)number_of(line, e[j].key, e[j].value);
    if (f)
        (void)fclose(f);
}

static uint64_t kib(uint64_t n)
{
    return n > UINT64_MAX / 1024 ? UINT64_MAX : n * 1024;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* ---- control groups ------------------------------------------------------------------------ */

typedef struct files {
    const char *limit, *used, *inactive, *active;
} files;

static bool read_number(const tern_cgroup *g, const char *file, uint64_t *out)
{
    char line[64];
    return tern_cgroup_line(g, file, line, sizeof line) && tern_parse_u64(line, strlen(line), out);
}

/* Pages of files count as used but are given up before anybody goes without. */
static void read_group(void *ctx, const tern_cgroup *g)
{
    static const files versions[] = {
        {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
         "total_active_file"},
        {"memory.max", "memory.current", "inactive_file", "active_file"}};
    const files *f = &versions[g->v2];
    tern_memory *m = ctx;
    char path[PATH_CAP];
    uint64_t limit, used = 0, inactive = 0, active = 0;
    if (!read_number(g, f->limit, &limit) || (!g->v2 && limit >= V1_NO_LIMIT))
        return; /* "max": none */
    (void)read_number(g, f->used, &used);
    (void)snprintf(path, sizeof path, "%s/memory.stat", g->folder);
    const entry entries[] = {{f->inactive, &inactive}, {f->active, &active}};
    read_entries(g->root, path, entries, 2);
    uint64_t cache = inactive > UINT64_MAX - active ? UINT64_MAX : inactive + active;
    uint64_t room = less(limit, less(used, cache));
    if (room < m->group_room) {
        m->group_room = room;
        m->group_limit = limit;
    }
}

/* ---- all of it ----------------------------------------------------------------------------- */

/* Number i of those in statm, in bytes: 0 is what is mapped, 1 what is resident. */
static uint64_t own_pages(int i)
{
    char line[128];
    uint64_t pages = 0;
    long page = sysconf(_SC_PAGESIZE);
    if (page <= 0 || !tern_root_line("", "/proc/self/statm", line, sizeof line))
        return 0;
    const char *s = line;
    for (; i > 0 && *s; i--)
        s += strcspn(s, " ") + strspn(s + strcspn(s, " "), " ");
    return tern_parse_u64(s, strcspn(s, " "), &pages) ? pages * (uint64_t)page : 0;
}

static void read_address(tern_memory *m)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_AS, &r) == 0 && r.rlim_cur != RLIM_INFINITY)
        m->address_limit = r.rlim_cur;
    m->address_used = own_pages(0);
}

void tern_memory_read(const char *root, tern_memory *out)
{
    uint64_t total = 0, free = 0, available = UINT64_MAX, swap = 0;
    const entry entries[] = {{"MemTotal", &total},
                             {"MemFree", &free},
                             {"MemAvailable", &available},
                             {"SwapFree", &swap}};
    read_entries(root, "/proc/meminfo", entries, sizeof entries / sizeof entries[0]);
    *out = (tern_memory){.total = kib(total),
                         .available = kib(available == UINT64_MAX ? free : available),
                         .swap_free = kib(swap),
                         .group_limit = TERN_NO_LIMIT,
                         .group_room = TERN_NO_LIMIT,
                         .address_limit = TERN_NO_LIMIT};
    tern_cgroup_each(root, "memory", read_group, out);
    read_address(out);
}

static const char *tests_root;

void tern_memory_root_set(const char *root)
{
    tests_root = root;
}

void tern_memory_get(tern_memory *out)
{
    tern_memory_read(tests_root ? tests_root : "", out);
}

uint64_t tern_memory_room(const tern_memory *m, const char **who)
{
    uint64_t machine = m->total ? m->available : TERN_NO_LIMIT;
    bool group = m->group_room < machine;
    *who = group ? "the control group" : "memory";
    return group ? m->group_room : machine;
}

uint64_t tern_memory_address_room(const tern_memory *m)
{
    return m->address_limit == TERN_NO_LIMIT ? TERN_NO_LIMIT
                                             : less(m->address_limit, m->address_used);
}

uint64_t tern_memory_resident(void)
{
    return own_pages(1);
}

uint64_t tern_memory_peak(void)
{
    uint64_t peak = 0;
    const entry e = {"VmHWM", &peak};
    read_entries("", "/proc/self/status", &e, 1);
    return kib(peak);
}
