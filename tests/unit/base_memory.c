/* Room for memory on made-up trees of the files a Linux system shows. */
#include "base/memory.h"
#include "support/root.h"
#include "support/support.h"

#include <string.h>
#include <sys/resource.h>

#define MIB (UINT64_C(1) << 20)

static tern_memory read_all(void)
{
    tern_memory m;
    tern_memory_read(test_root(), &m);
    return m;
}

static void expect_room(uint64_t bytes, const char *who)
{
    const char *found;
    tern_memory m = read_all();
    assert_int_equal(tern_memory_room(&m, &found), bytes);
    assert_string_equal(found, who);
}

static const char meminfo[] = "MemTotal:       2048000 kB\nMemFree:         100000 kB\n"
                              "MemAvailable:    1024000 kB\nBuffers: 1 kB\nSwapFree: 7 kB\n";

static void test_machine(void **state)
{
    (void)state;
    expect_room(TERN_NO_LIMIT, "memory"); /* nothing is known: nothing is refused */
    test_root_put("/proc/meminfo", meminfo);
    expect_room(1000 * MIB, "memory");
    tern_memory m = read_all();
    assert_int_equal(m.total, 2000 * MIB);
    assert_int_equal(m.swap_free, 7 * 1024);
    test_root_put("/proc/meminfo", "MemTotal: 2048 kB\nMemFree: 1024 kB\nMemAvailableX: 1 kB\n");
    expect_room(MIB, "memory"); /* before Linux 3.14 */
    test_root_put("/proc/meminfo", "MemTotal: 99999999999999999 kB\nMemAvailable: x kB\n");
    expect_room(0, "memory");
}

static void test_group2(void **state)
{
    (void)state;
    test_root_put("/proc/meminfo", meminfo);
    test_root_put("/proc/self/cgroup", "0::/a/b\n");
    test_root_put("/sys/fs/cgroup/a/b/memory.max", "max\n");
    expect_room(1000 * MIB, "memory");
    test_root_put("/sys/fs/cgroup/a/memory.max", "524288000\n");
    expect_room(500 * MIB, "the control group");
    test_root_put("/sys/fs/cgroup/a/memory.current", "419430400\n");
    expect_room(100 * MIB, "the control group");
    test_root_put("/sys/fs/cgroup/a/memory.stat",
                  "anon 1\nfile 99999999\nactive_file 10485760\ninactive_file 20971520\n");
    expect_room(130 * MIB, "the control group");
    /* The strictest counts, whichever limit is the smaller number. */
    test_root_put("/sys/fs/cgroup/memory.max", "1048576000\n");
    test_root_put("/sys/fs/cgroup/memory.current", "1043333120\n");
    expect_room(5 * MIB, "the control group");
    assert_int_equal(read_all().group_limit, 1000 * MIB);
    test_root_put("/sys/fs/cgroup/memory.current", "9000000000\n");
    expect_room(0, "the control group");
    test_root_put("/sys/fs/cgroup/memory.max", "nonsense\n");
    expect_room(130 * MIB, "the control group");
}

static void test_group1(void **state)
{
    (void)state;
    test_root_put("/proc/meminfo", meminfo);
    test_root_put("/proc/self/cgroup", "5:cpu:/x\n4:memory:/docker/x\n0::/\n");
    test_root_put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    expect_room(1000 * MIB, "memory");
    test_root_put("/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "104857600\n");
    test_root_put("/sys/fs/cgroup/memory/docker/x/memory.usage_in_bytes", "52428800\n");
    test_root_put("/sys/fs/cgroup/memory/docker/x/memory.stat",
                  "inactive_file 1\ntotal_inactive_file 1048576\ntotal_active_file 0\n");
    expect_room(51 * MIB, "the control group");
    assert_int_equal(read_all().group_limit, 100 * MIB);
}

static void test_address(void **state)
{
    (void)state;
    struct rlimit old, now;
    tern_memory m = read_all();
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    now = old;
    now.rlim_cur = (rlim_t)1 << 42; /* sanitizers map more than this machine has */
    if (old.rlim_cur != RLIM_INFINITY || setrlimit(RLIMIT_AS, &now) != 0)
        skip();
    assert_int_equal(tern_memory_address_room(&m), TERN_NO_LIMIT);
    m = read_all();
    assert_int_equal(m.address_limit, UINT64_C(1) << 42);
    assert_true(m.address_used > MIB);
    uint64_t room = tern_memory_address_room(&m);
    assert_int_equal(room, m.address_used < m.address_limit ? m.address_limit - m.address_used : 0);
    assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
}

static void test_peak(void **state)
{
    (void)state;
    uint64_t before = tern_memory_peak();
    char *p = test_malloc(64 * MIB);
    memset(p, 1, 64 * MIB);
    assert_in_range(tern_memory_peak(), before + 30 * MIB, before + 200 * MIB);
    test_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_machine, test_root_make, test_root_remove),
        cmocka_unit_test_setup_teardown(test_group2, test_root_make, test_root_remove),
        cmocka_unit_test_setup_teardown(test_group1, test_root_make, test_root_remove),
        cmocka_unit_test_setup_teardown(test_address, test_root_make, test_root_remove),
        cmocka_unit_test(test_peak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
