/* Topologies on made-up trees of the files a Linux system shows. */
#include "base/topology.h"
#include "support/root.h"
#include "support/support.h"

#include <stdio.h>
#include <string.h>

static void put_core(int cpu, const char *file, const char *list)
{
    char path[128];
    (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/%s", cpu, file);
    test_root_put(path, list);
}

/* CPUs in their order of preference, cores behind the slash: "0 1/0 1". */
static void expect(const int *allowed, int n, int n_core, int quota, const char *order)
{
    tern_topology t;
    char cpus[256] = "", cores[128] = "";
    tern_topology_read(test_root(), allowed, n, &t);
    for (int i = 0; i < t.n_cpu; i++) {
        (void)snprintf(cpus + strlen(cpus), sizeof cpus - strlen(cpus), "%s%d", i ? " " : "",
                       t.cpus[i]);
        (void)snprintf(cores + strlen(cores), sizeof cores - strlen(cores), "%s%d", i ? " " : "",
                       t.cores[i]);
    }
    (void)snprintf(cpus + strlen(cpus), sizeof cpus - strlen(cpus), "/%s", cores);
    assert_string_equal(cpus, order);
    assert_int_equal(t.n_core, n_core);
    assert_int_equal(t.quota, quota);
    assert_int_equal(tern_topology_threads(&t), quota && quota < n_core ? quota : n_core);
}

static void test_without_files_each_cpu_is_a_core(void **state)
{
    (void)state;
    expect((const int[]){0}, 1, 1, 0, "0/0");
    expect((const int[]){2, 5, 9}, 3, 3, 0, "2 5 9/0 1 2");
}

static void test_siblings_come_after_all_cores(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        char list[16];
        (void)snprintf(list, sizeof list, "%d,%d\n", i, i + 4);
        put_core(i, "core_cpus_list", list);
        put_core(i + 4, "core_cpus_list", list);
    }
    expect((const int[]){0, 1, 2, 3, 4, 5, 6, 7}, 8, 4, 0, "0 1 2 3 4 5 6 7/0 1 2 3 0 1 2 3");
    /* A mask that holds only the second thread of a core makes that one the first. */
    expect((const int[]){1, 3, 4, 5}, 4, 3, 0, "1 3 4 5/0 1 2 0");
    expect((const int[]){0, 4}, 2, 1, 0, "0 4/0 0");
}

static void test_neighbouring_siblings_and_the_older_name(void **state)
{
    (void)state;
    put_core(0, "thread_siblings_list", "0-1\n");
    put_core(1, "thread_siblings_list", "0-1\n");
    put_core(2, "thread_siblings_list", "2-3");
    put_core(3, "thread_siblings_list", "2-3");
    expect((const int[]){0, 1, 2, 3}, 4, 2, 0, "0 2 1 3/0 1 0 1");
    expect((const int[]){1, 2, 3}, 3, 2, 0, "1 2 3/0 1 1");
}

static void test_larger_cores_come_first(void **state)
{
    (void)state;
    test_root_put("/sys/devices/system/cpu/cpu0/cpu_capacity", "446\n");
    test_root_put("/sys/devices/system/cpu/cpu1/cpu_capacity", "446\n");
    test_root_put("/sys/devices/system/cpu/cpu2/cpu_capacity", "1024\n");
    test_root_put("/sys/devices/system/cpu/cpu3/cpu_capacity", "1024\n");
    expect((const int[]){0, 1, 2, 3}, 4, 4, 0, "2 3 0 1/0 1 2 3");
}

static void test_lists_that_make_no_sense_are_ignored(void **state)
{
    (void)state;
    static const char *const lists[] = {"",     "x\n", ",",    "-",
                                        "1-0",  "0-",  "-1",   "0x0,1",
                                        ",,,,", "5-",  "0-1-", "99999999999999999999",
                                        "1-1",  "2\n"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        put_core(1, "core_cpus_list", lists[i]);
        expect((const int[]){0, 1}, 2, 2, 0, "0 1/0 1");
    }
    put_core(1, "core_cpus_list", "0-18446744073709551615\n");
    expect((const int[]){0, 1}, 2, 1, 0, "0 1/0 0");
}

static void test_quota_of_version_2_is_the_least_of_all_levels(void **state)
{
    (void)state;
    const int all[] = {0, 1, 2, 3, 4, 5, 6, 7};
    test_root_put("/proc/self/cgroup", "0::/a/b\n");
    test_root_put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    expect(all, 8, 8, 0, "0 1 2 3 4 5 6 7/0 1 2 3 4 5 6 7");
    test_root_put("/sys/fs/cgroup/a/cpu.max", "350000 100000\n");
    expect(all, 8, 8, 4, "0 1 2 3 4 5 6 7/0 1 2 3 4 5 6 7");
    test_root_put("/sys/fs/cgroup/a/b/cpu.max", "50000 100000\n");
    expect(all, 8, 8, 1, "0 1 2 3 4 5 6 7/0 1 2 3 4 5 6 7");
    test_root_put("/sys/fs/cgroup/cpu.max",
                  "200000 100000"); /* what a container sees of its own group */
    test_root_put("/proc/self/cgroup", "0::/\n");
    expect(all, 8, 8, 2, "0 1 2 3 4 5 6 7/0 1 2 3 4 5 6 7");
}

static void test_quota_of_version_1(void **state)
{
    (void)state;
    const int all[] = {0, 1, 2, 3};
    test_root_put("/proc/self/cgroup", "9:cpuset:/\n4:cpuacct,cpu:/docker/x\n0::/\n");
    test_root_put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    test_root_put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    expect(all, 4, 4, 0, "0 1 2 3/0 1 2 3");
    test_root_put("/sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us", "150000\n");
    test_root_put("/sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us", "100000\n");
    expect(all, 4, 4, 2, "0 1 2 3/0 1 2 3");
}

static void test_quotas_that_make_no_sense_are_ignored(void **state)
{
    (void)state;
    static const char *const quotas[] = {
        "", "\n", "0 100000", "100000 0", "100000", "x 100000", "18446744073709551615 2", "5 x",
    };
    const int all[] = {0, 1, 2, 3};
    test_root_put("/proc/self/cgroup", "0::/../x\nnonsense\n:\n::\n0::/a\n");
    for (size_t i = 0; i < sizeof quotas / sizeof quotas[0]; i++) {
        test_root_put("/sys/fs/cgroup/a/cpu.max", quotas[i]);
        expect(all, 4, 4, 0, "0 1 2 3/0 1 2 3");
    }
}

static void test_this_machine_has_a_core(void **state)
{
    (void)state;
    tern_topology t;
    tern_topology_get(&t);
    assert_in_range(t.n_core, 1, t.n_cpu);
    assert_in_range(tern_topology_threads(&t), 1, t.n_core);
    for (int i = 0; i < t.n_cpu; i++)
        assert_in_range(t.cores[i], 0, t.n_core - 1);
}

#define TREE_TEST(f) cmocka_unit_test_setup_teardown(f, test_root_make, test_root_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TREE_TEST(test_without_files_each_cpu_is_a_core),
        TREE_TEST(test_siblings_come_after_all_cores),
        TREE_TEST(test_neighbouring_siblings_and_the_older_name),
        TREE_TEST(test_larger_cores_come_first),
        TREE_TEST(test_lists_that_make_no_sense_are_ignored),
        TREE_TEST(test_quota_of_version_2_is_the_least_of_all_levels),
        TREE_TEST(test_quota_of_version_1),
        TREE_TEST(test_quotas_that_make_no_sense_are_ignored),
        cmocka_unit_test(test_this_machine_has_a_core),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
