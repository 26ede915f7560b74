/* Energy counters on a made-up /sys. */
#include "base/os/energy.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RAPL "/sys/class/powercap/intel-rapl"
#define PMU  "/sys/bus/event_source/devices/power"

static char root[64];

/* Write a file and the folders above it. */
static void put(const char *path, const char *text)
{
    char full[256];
    int n = snprintf(full, sizeof full, "%s%s", root, path);
    for (int i = (int)strlen(root) + 1; i < n; i++)
        if (full[i] == '/') {
            full[i] = 0;
            (void)mkdir(full, 0755);
            full[i] = '/';
        }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void zone(const char *id, const char *name, const char *energy, const char *range)
{
    char path[128];
    (void)snprintf(path, sizeof path, RAPL ":%s/name", id);
    put(path, name);
    (void)snprintf(path, sizeof path, RAPL ":%s/energy_uj", id);
    put(path, energy);
    (void)snprintf(path, sizeof path, RAPL ":%s/max_energy_range_uj", id);
    put(path, range);
}

static int make_root(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof root, "/tmp/tern-energy-XXXXXX");
    return mkdtemp(root) ? 0 : 1;
}

static int remove_tree(const char *path)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r %s", path);
    return system(command);
}

static int remove_root(void **state)
{
    (void)state;
    return remove_tree(root);
}

/* What the CPU's work does to the counters: each gets a new value. */
typedef struct work {
    const char *zone[4], *value[4];
} work;

static void burn(void *ctx)
{
    const work *w = ctx;
    for (size_t i = 0; i < 4 && w->zone[i]; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, RAPL ":%s/energy_uj", w->zone[i]);
        put(path, w->value[i]);
    }
}

static tern_energy *open_ok(work *w)
{
    tern_energy *e;
    tern_err err;
    err.msg[0] = 0;
    if (tern_energy_open(root, burn, w, &e, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return e;
}

static void refused(work *w, const char *text)
{
    tern_energy *e;
    tern_err err;
    assert_int_equal(tern_energy_open(root, burn, w, &e, &err), TERN_E_UNSUPPORTED);
    assert_null(e);
    if (!strstr(err.msg, text))
        fail_msg("'%s' lacks '%s'", err.msg, text);
}

static void test_missing(void **state)
{
    (void)state;
    work none = {{NULL}, {NULL}};
    refused(&none, "no /sys/class/powercap/intel-rapl:0");
    refused(&none, "no PMU 'power'");
    put(PMU "/type", "9\n"); /* a PMU without events, as in some virtual machines */
    put(PMU "/cpumask", "0\n");
    refused(&none, "the PMU 'power' has no event energy-pkg");
    put(PMU "/events/energy-pkg", "event=0xzz\n");
    put(PMU "/events/energy-pkg.scale", "2.3283064365386962890625e-10\n");
    refused(&none, "event=0xzz");
    put(PMU "/events/energy-pkg", "event=0x02\n");
    put(PMU "/type", "4294967295\n"); /* the kernel knows no such PMU */
    refused(&none, "perf's energy-pkg");
}

/* Two packages with parts: core lies within a package, DRAM beside it, psys around all. */
static void test_nested(void **state)
{
    (void)state;
    tern_err err;
    zone("0", "package-0\n", "1000000\n", "262143328850\n");
    zone("0:0", "core\n", "500000\n", "262143328850\n");
    zone("0:1", "dram\n", "100000\n", "65712999613\n");
    zone("1", "package-1\n", "0\n", "262143328850\n");
    zone("2", "psys\n", "7\n", "262143328850\n");
    work w = {{"0"}, {"3000000"}};
    tern_energy *e = open_ok(&w);
    assert_string_equal(tern_energy_source(e), "powercap");
    assert_string_equal(tern_energy_note(e), "");
    assert_true(tern_energy_joules(e) == 2.0);
    zone("0:0", "core\n", "9500000\n", "262143328850\n");
    zone("0:1", "dram\n", "600000\n", "65712999613\n");
    zone("1", "package-1\n", "4000000\n", "262143328850\n");
    zone("2", "psys\n", "90000007\n", "262143328850\n");
    assert_int_equal(tern_energy_sample(e, &err), TERN_OK);
    assert_true(tern_energy_joules(e) == 6.5);
    static const char *const names[] = {"package-0", "core", "dram", "package-1", "psys"};
    static const double joules[] = {2, 9, 0.5, 4, 90};
    for (size_t i = 0; i < 5; i++) {
        const tern_energy_domain *d = tern_energy_domain_get(e, i);
        assert_non_null(d);
        assert_string_equal(d->name, names[i]);
        assert_true(d->joules == joules[i]);
        assert_int_equal(d->in_total, i == 0 || i == 2 || i == 3);
    }
    assert_null(tern_energy_domain_get(e, 5));
    tern_energy_close(e);
}

static void test_wrap(void **state)
{
    (void)state;
    tern_err err;
    zone("0", "package-0", "262143000000", "262143328850");
    work w = {{"0"}, {"262143328850"}};
    tern_energy *e = open_ok(&w);
    assert_true(tern_energy_joules(e) == 0.32885);
    put(RAPL ":0/energy_uj", "671150"); /* begun anew: 0.671150 J on */
    assert_int_equal(tern_energy_sample(e, &err), TERN_OK);
    assert_true(tern_energy_joules(e) > 0.999999 && tern_energy_joules(e) < 1.000001);
    assert_int_equal(tern_energy_sample(e, &err), TERN_OK);
    assert_true(tern_energy_joules(e) < 1.000001);
    put(RAPL ":0/energy_uj", "nothing");
    assert_int_equal(tern_energy_sample(e, &err), TERN_E_IO);
    tern_energy_close(e);
}

static void test_never_moves(void **state)
{
    (void)state;
    zone("0", "package-0", "12345", "262143328850");
    zone("0:0", "core", "1", "262143328850");
    work w = {{"0:0"}, {"500"}}; /* a part alone is no total */
    refused(&w, "the counter of powercap does not move");
}

static void test_denied(void **state)
{
    (void)state;
    zone("0", "package-0", "1", "262143328850");
    char path[128];
    (void)snprintf(path, sizeof path, "%s" RAPL ":0/energy_uj", root);
    assert_int_equal(chmod(path, 0), 0);
    if (geteuid() == 0 && access(path, R_OK) == 0) {
        /* Root reads everything: ask as nobody. */
        assert_int_equal(chmod(root, 0755), 0);
        assert_int_equal(seteuid(65534), 0);
    }
    tern_energy *e;
    tern_err err;
    tern_code rc = tern_energy_open(root, NULL, NULL, &e, &err);
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(rc, TERN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "may be read by root only (chmod a+r it)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_missing, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_nested, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_wrap, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_never_moves, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_denied, make_root, remove_root)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
