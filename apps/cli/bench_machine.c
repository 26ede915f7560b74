/* The machine that was measured, and what it could do at best. */
#include "base/error.h"
#include "base/num.h"
#include "base/str.h"
#include "bench.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static tern_code system_json(int32_t n_thread, bool measure, json_t **out, tern_err *err)
{
    char *text;
    TERN_TRY(tern_system_describe(n_thread, measure, &text, err));
    *out = json_loads(text, 0, NULL);
    tern_string_free(text);
    return *out ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "out of memory for the description");
}

static double number_at(const json_t *o, const char *group, const char *key)
{
    return json_number_value(json_object_get(json_object_get(o, group), key));
}

tern_code bench_walls_measure(bench_walls *w, int32_t n_thread, tern_err *err)
{
    json_t *o;
    TERN_TRY(system_json(n_thread, true, &o, err));
    bench_sample_add(&w->read_bytes, number_at(o, "memory", "read_bytes_per_s"));
    bench_sample_add(&w->macs, number_at(o, "compute", "int8_macs_per_s"));
    json_decref(o);
    return TERN_OK;
}

/* The first line of a small file of the system, without its end; false when it cannot be read. */
static bool first_line(const char *path, char *buf, size_t cap)
{
    FILE *f = fopen(path, "re");
    bool ok = f && fgets(buf, (int)cap, f);
    if (f)
        (void)fclose(f);
    if (ok)
        buf[strcspn(buf, "\n")] = 0;
    return ok;
}

/* "VmHWM:    1234 kB" and its like. */
static uint64_t kib_after(const char *path, const char *key)
{
    char line[128];
    uint64_t kib = 0;
    size_t n_key = strlen(key);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, n_key) == 0) {
            const char *p = line + n_key + strspn(line + n_key, ": \t");
            if (!tern_parse_u64(p, strspn(p, "0123456789"), &kib))
                kib = 0;
            break;
        }
    if (f)
        (void)fclose(f);
    return kib;
}

static json_t *text_or_null(const char *path)
{
    char line[128];
    return first_line(path, line, sizeof line) ? json_string(line) : json_null();
}

tern_code bench_machine_describe(json_t **out, tern_err *err)
{
    struct utsname u;
    double load = 0.0;
    json_t *o;
    TERN_TRY(system_json(1, false, &o, err));
    if (uname(&u) != 0)
        memset(&u, 0, sizeof u);
    (void)json_object_del(o, "kernels"); /* all that were compiled: `tern doctor` has them */
    (void)json_object_del(o, "libraries");
    json_t *system = json_pack("{s:s, s:s, s:s, s:s?}", "system", u.sysname, "kernel", u.release,
                               "machine", u.machine, "cpu_mask", getenv("TERN_CPU"));
    (void)json_object_set_new(
        system, "governor", text_or_null("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"));
    (void)json_object_set_new(system, "huge_pages",
                              text_or_null("/sys/kernel/mm/transparent_hugepage/enabled"));
    (void)json_object_set_new(
        system, "memory_bytes",
        json_integer((json_int_t)kib_after("/proc/meminfo", "MemTotal") * 1024));
    (void)json_object_set_new(system, "load",
                              getloadavg(&load, 1) == 1 ? json_real(load) : json_null());
    *out = json_object_update(system, o) == 0 ? system : NULL;
    if (!*out)
        json_decref(system);
    json_decref(o);
    return *out ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "out of memory for the description");
}

uint64_t bench_peak_rss(void)
{
    return kib_after("/proc/self/status", "VmHWM") * 1024;
}

/* proc(5): writing 5 resets VmHWM to what is resident now. */
void bench_peak_rss_reset(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)!write(fd, "5", 1);
    (void)close(fd);
}
