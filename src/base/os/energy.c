#include "base/os/energy.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/num.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#if defined(__linux__)
#include <linux/perf_event.h>
#include <sys/syscall.h>
#endif

/* Both sources end here: a counter that is read through a descriptor and has a unit. */
typedef struct counter {
    tern_energy_domain domain;
    int fd;
    double unit;    /* joules */
    uint64_t range; /* the value after which it begins anew; 0: 2^64 */
    uint64_t last;
} counter;

struct tern_energy {
    bool perf;
    char note[256];
    counter counters[TERN_ENERGY_MAX_DOMAIN];
    size_t n;
};

/* ---- small files --------------------------------------------------------------------------- */

/* Text of a small file without its last line end. TERN_E_NOT_FOUND, TERN_E_IO with the path. */
static tern_code read_fd(int fd, const char *path, char *buf, size_t cap, tern_err *err)
{
    ssize_t n = pread(fd, buf, cap - 1, 0);
    if (n < 0)
        return tern_fail(err, TERN_E_IO, "%s: %s", path, strerror(errno));
    while (n > 0 && (buf[n - 1] == '\n' || buf[n - 1] == ' '))
        n--;
    buf[n] = 0;
    return TERN_OK;
}

TERN_PRINTF(4, 5)
static tern_code read_text(char *buf, size_t cap, tern_err *err, const char *fmt, ...)
{
    char path[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(path, sizeof path, fmt, ap);
    va_end(ap);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return tern_fail(err, errno == ENOENT ? TERN_E_NOT_FOUND : TERN_E_IO, "%s: %s", path,
                         strerror(errno));
    tern_code rc = read_fd(fd, path, buf, cap, err);
    (void)close(fd);
    return rc;
}

/* ---- counters ------------------------------------------------------------------------------ */

static tern_code read_counter(const tern_energy *e, const counter *c, uint64_t *v, tern_err *err)
{
    char text[64];
    if (e->perf) {
        ssize_t n = read(c->fd, v, sizeof *v);
        return n == sizeof *v ? TERN_OK
                              : tern_fail(err, TERN_E_IO, "energy counter %s: %s", c->domain.name,
                                          n < 0 ? strerror(errno) : "short read");
    }
    TERN_TRY(read_fd(c->fd, c->domain.name, text, sizeof text, err));
    if (!tern_parse_u64(text, strlen(text), v))
        return tern_fail(err, TERN_E_IO, "energy counter %s: no number", c->domain.name);
    return TERN_OK;
}

/* Takes the descriptor in any case. */
static tern_code add_counter(tern_energy *e, const char *name, bool in_total, int fd, double unit,
                             uint64_t range, tern_err *err)
{
    counter *c = &e->counters[e->n];
    tern_code rc = TERN_OK;
    if (e->n == TERN_ENERGY_MAX_DOMAIN)
        rc = tern_fail(err, TERN_E_UNSUPPORTED, "more than %d energy counters",
                       TERN_ENERGY_MAX_DOMAIN);
    if (rc == TERN_OK) {
        *c = (counter){.fd = fd, .unit = unit, .range = range, .domain.in_total = in_total};
        (void)snprintf(c->domain.name, sizeof c->domain.name, "%s", name);
        rc = read_counter(e, c, &c->last, err);
    }
    if (rc != TERN_OK) {
        (void)close(fd);
        return rc;
    }
    e->n++;
    return TERN_OK;
}

static void drop_counters(tern_energy *e)
{
    for (size_t i = 0; i < e->n; i++)
        (void)close(e->counters[i].fd);
    e->n = 0;
}

tern_code tern_energy_sample(tern_energy *e, tern_err *err)
{
    for (size_t i = 0; i < e->n; i++) {
        counter *c = &e->counters[i];
        uint64_t v;
        TERN_TRY(read_counter(e, c, &v, err));
        /* Unsigned arithmetic is the wrap of a counter that uses all 64 bits. */
        uint64_t delta = v >= c->last || c->range == 0 ? v - c->last : v + (c->range - c->last);
        c->domain.joules += (double)delta * c->unit;
        c->last = v;
    }
    return TERN_OK;
}

double tern_energy_joules(const tern_energy *e)
{
    double sum = 0.0;
    for (size_t i = 0; i < e->n; i++)
        sum += e->counters[i].domain.in_total ? e->counters[i].domain.joules : 0.0;
    return sum;
}

const tern_energy_domain *tern_energy_domain_get(const tern_energy *e, size_t i)
{
    return i < e->n ? &e->counters[i].domain : NULL;
}

const char *tern_energy_source(const tern_energy *e)
{
    return e->perf ? "perf" : "powercap";
}

const char *tern_energy_note(const tern_energy *e)
{
    return e->note;
}

/* ---- powercap ------------------------------------------------------------------------------ */

#define POWERCAP "/sys/class/powercap/intel-rapl"

/* One zone, "0" or "0:1"; TERN_E_NOT_FOUND when there is none. */
static tern_code add_zone(tern_energy *e, const char *root, const char *zone, tern_err *err)
{
    char name[32], text[32], path[512];
    uint64_t range = 0;
    TERN_TRY(read_text(name, sizeof name, err, "%s" POWERCAP ":%s/name", root, zone));
    (void)snprintf(path, sizeof path, "%s" POWERCAP ":%s/energy_uj", root, zone);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == EACCES || errno == EPERM))
        return tern_fail(err, TERN_E_DENIED,
                         POWERCAP ":%s/energy_uj may be read by root only (chmod a+r it)", zone);
    if (fd < 0)
        return tern_fail(err, TERN_E_IO, "%s: %s", path, strerror(errno));
    if (read_text(text, sizeof text, NULL, "%s" POWERCAP ":%s/max_energy_range_uj", root, zone) !=
            TERN_OK ||
        !tern_parse_u64(text, strlen(text), &range))
        range = 0;
    bool in_total = strncmp(name, "package", 7) == 0 || strcmp(name, "dram") == 0;
    return add_counter(e, name, in_total, fd, 1e-6, range, err);
}

/* Zones are numbered without gaps: packages (and psys), and under each its parts. */
static tern_code open_powercap(tern_energy *e, const char *root, tern_err *err)
{
    char zone[16];
    tern_code rc;
    for (int i = 0; i < 16; i++) {
        (void)snprintf(zone, sizeof zone, "%d", i);
        rc = add_zone(e, root, zone, err);
        if (rc == TERN_E_NOT_FOUND && i > 0)
            break;
        if (rc == TERN_E_NOT_FOUND)
            return tern_fail(err, rc, "no " POWERCAP ":0");
        TERN_TRY(rc);
        for (int j = 0; j < 8; j++) {
            (void)snprintf(zone, sizeof zone, "%d:%d", i, j);
            rc = add_zone(e, root, zone, err);
            if (rc == TERN_E_NOT_FOUND)
                break;
            TERN_TRY(rc);
        }
    }
    return TERN_OK;
}

/* ---- perf ---------------------------------------------------------------------------------- */

#define PMU "/sys/bus/event_source/devices/power"

#if defined(__linux__)
/* "0,28" or "0-1,4": the next CPU of a list, from *p on; -1 at its end. */
static int next_cpu(const char **p, int *range_end, int last)
{
    uint64_t v;
    if (last < *range_end)
        return last + 1;
    size_t n = strspn(*p, "0123456789");
    if (n == 0 || !tern_parse_u64(*p, n, &v) || v > 65535)
        return -1;
    *p += n;
    *range_end = (int)v;
    if (**p == '-') {
        uint64_t end;
        n = strspn(*p + 1, "0123456789");
        if (n == 0 || !tern_parse_u64(*p + 1, n, &end) || end > 65535 || end < v)
            return -1;
        *p += n + 1;
        *range_end = (int)end;
    }
    if (**p == ',')
        (*p)++;
    return (int)v;
}

static tern_code open_event(tern_energy *e, uint32_t type, uint64_t config, double scale, int cpu,
                            const char *name, tern_err *err)
{
    struct perf_event_attr a = {.type = type, .size = sizeof a, .config = config};
    int fd = (int)syscall(SYS_perf_event_open, &a, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0 && (errno == EACCES || errno == EPERM))
        return tern_fail(err, TERN_E_DENIED,
                         "perf's %s is refused (root, CAP_PERFMON, or "
                         "kernel.perf_event_paranoid = 0)",
                         name);
    if (fd < 0)
        return tern_fail(err, TERN_E_IO, "perf's %s: %s", name, strerror(errno));
    bool in_total = strcmp(name, "energy-pkg") == 0 || strcmp(name, "energy-ram") == 0;
    return add_counter(e, name, in_total, fd, scale, 0, err);
}

/* An event that the PMU does not list is TERN_E_NOT_FOUND. */
static tern_code add_event(tern_energy *e, const char *root, uint32_t type, const char *mask,
                           const char *name, tern_err *err)
{
    char text[64];
    uint64_t config = 0;
    double scale;
    int range_end = -1;
    TERN_TRY(read_text(text, sizeof text, err, "%s" PMU "/events/%s", root, name));
    const char *digits = strncmp(text, "event=0x", 8) == 0 ? text + 8 : "";
    for (const char *p = digits; *p; p++) {
        const char *hex = "0123456789abcdef", *at = strchr(hex, *p);
        if (!at || config >> 56)
            return tern_fail(err, TERN_E_FORMAT, PMU "/events/%s: '%s'", name, text);
        config = config << 4 | (uint64_t)(at - hex);
    }
    TERN_TRY(read_text(text, sizeof text, err, "%s" PMU "/events/%s.scale", root, name));
    if (!*digits || !tern_parse_f64(text, strlen(text), &scale))
        return tern_fail(err, TERN_E_FORMAT, PMU "/events/%s: no event and scale", name);
    for (int cpu = next_cpu(&mask, &range_end, range_end); cpu >= 0;
         cpu = next_cpu(&mask, &range_end, cpu))
        TERN_TRY(open_event(e, type, config, scale, cpu, name, err));
    return TERN_OK;
}

static tern_code open_perf(tern_energy *e, const char *root, tern_err *err)
{
    static const char *const events[] = {"energy-pkg", "energy-ram", "energy-cores", "energy-gpu",
                                         "energy-psys"};
    char text[32], mask[128];
    uint64_t type;
    if (read_text(text, sizeof text, err, "%s" PMU "/type", root) != TERN_OK ||
        !tern_parse_u64(text, strlen(text), &type) || type > UINT32_MAX)
        return tern_fail(err, TERN_E_NOT_FOUND, "no PMU 'power'");
    TERN_TRY(read_text(mask, sizeof mask, err, "%s" PMU "/cpumask", root));
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        tern_code rc = add_event(e, root, (uint32_t)type, mask, events[i], err);
        if (rc == TERN_E_NOT_FOUND && i == 0)
            return tern_fail(err, rc, "the PMU 'power' has no event energy-pkg");
        if (rc != TERN_E_NOT_FOUND)
            TERN_TRY(rc);
    }
    return TERN_OK;
}
#else
static tern_code open_perf(tern_energy *e, const char *root, tern_err *err)
{
    (void)e;
    (void)root;
    return tern_fail(err, TERN_E_NOT_FOUND, "no perf events on this system");
}
#endif

/* ---- choosing ------------------------------------------------------------------------------ */

static void spin(void *ctx)
{
    uint64_t end = tern_clock_ns() + 20000000u;
    (void)ctx;
    while (tern_clock_ns() < end)
        continue;
}

/* A source whose total moves. The reason why not is left in err. */
static tern_code try_source(tern_energy *e, const char *root, bool perf, void (*burn)(void *ctx),
                            void *ctx, tern_err *err)
{
    e->perf = perf;
    tern_code rc = perf ? open_perf(e, root, err) : open_powercap(e, root, err);
    if (rc == TERN_OK) {
        burn(ctx);
        rc = tern_energy_sample(e, err);
    }
    if (rc == TERN_OK && tern_energy_joules(e) > 0.0)
        return TERN_OK;
    if (rc == TERN_OK)
        rc = tern_fail(err, TERN_E_UNSUPPORTED, "the counter of %s does not move",
                       tern_energy_source(e));
    drop_counters(e);
    return rc;
}

tern_code tern_energy_open(const char *root, void (*burn)(void *ctx), void *ctx, tern_energy **out,
                           tern_err *err)
{
    tern_err first, second;
    tern_energy *e = tern_calloc(1, sizeof *e);
    *out = e;
    if (!e)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    if (try_source(e, root, false, burn ? burn : spin, ctx, &first) == TERN_OK)
        return TERN_OK;
    (void)snprintf(e->note, sizeof e->note, "%s", first.msg);
    if (try_source(e, root, true, burn ? burn : spin, ctx, &second) == TERN_OK)
        return TERN_OK;
    tern_energy_close(e);
    *out = NULL;
    return tern_fail(err, TERN_E_UNSUPPORTED, "%.120s; %.120s", first.msg, second.msg);
}

void tern_energy_close(tern_energy *e)
{
    if (!e)
        return;
    drop_counters(e);
    tern_free(e);
}
