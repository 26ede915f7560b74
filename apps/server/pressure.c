#include "server/pressure.h"
#include "base/num.h"
#include "base/os/cgroup.h"

#include <string.h>

#define MIB ((uint64_t)1 << 20)

/* A twentieth of what there is, where that is neither too little to act in nor much. */
static uint64_t low_mark(const tern_memory *m)
{
    uint64_t whole = m->group_limit < m->total || m->total == 0 ? m->group_limit : m->total;
    uint64_t low = whole / 20;
    return low < 64 * MIB ? 64 * MIB : low > 1024 * MIB ? 1024 * MIB : low;
}

pressure pressure_of(const tern_memory *m, double stalled, pressure before)
{
    const char *who;
    uint64_t room = tern_memory_room(m, &who), low = low_mark(m);
    if (m->total == 0 && m->group_limit == TERN_NO_LIMIT)
        return PRESSURE_NONE; /* the system does not say */
    if (room < low / 2 || (stalled > 50.0 && room < 2 * low))
        return PRESSURE_REFUSE;
    if (before == PRESSURE_REFUSE && room < low + low / 2)
        return PRESSURE_REFUSE;
    if (room < low || (before != PRESSURE_NONE && room < low + low / 2))
        return PRESSURE_SHRINK;
    return PRESSURE_NONE;
}

double pressure_stalled(const char *line)
{
    static const char key[] = "some avg10=";
    size_t n = sizeof key - 1;
    double v = 0.0;
    if (strncmp(line, key, n) != 0)
        return 0.0;
    return tern_parse_f64(line + n, strcspn(line + n, " "), &v) ? v : 0.0;
}

pressure pressure_now(const char *root, pressure before)
{
    char line[128] = "";
    tern_memory m;
    tern_memory_read(root, &m);
    (void)tern_root_line(root, "/proc/pressure/memory", line, sizeof line);
    return pressure_of(&m, pressure_stalled(line), before);
}
