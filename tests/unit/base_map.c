#include "base/os/map.h"
#include "support/support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define N ((size_t)4 << 20)

static char path[] = "/tmp/tern-map-XXXXXX";

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 7 + i / 4096);
}

static int write_file(void **state)
{
    (void)state;
    static uint8_t buf[N + 123];
    int fd = mkstemp(path);
    for (size_t i = 0; i < sizeof buf; i++)
        buf[i] = byte_at(i);
    bool ok = fd >= 0 && write(fd, buf, sizeof buf) == (ssize_t)sizeof buf;
    return fd >= 0 && close(fd) == 0 && ok ? 0 : -1;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static size_t count_wrong(const tern_map_file *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->size; i++)
        n += m->data[i] != byte_at(i);
    return n;
}

static void test_hints_change_no_byte(void **state)
{
    (void)state;
    static const size_t ranges[][2] = {{0, 0},      {0, 1},           {4095, 2},     {65536, 65536},
                                       {N, 0},      {1, N},           {N + 122, 1},  {N - 1, 124},
                                       {70000, 10}, {N + 123, 0},     {0, N + 123},  {N, 123},
                                       {1, 65535},  {65535, 2 << 16}, {N - 9000, 1}, {5, 5}};
    tern_map_file m;
    assert_int_equal(tern_map_open(path, &m, NULL), TERN_OK);
    assert_int_equal(m.size, N + 123);
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        tern_map_want(&m, ranges[i][0], ranges[i][1]);
        tern_map_drop(&m, ranges[i][0], ranges[i][1]);
        assert_int_equal(count_wrong(&m), 0);
    }
    tern_map_close(&m);
}

/* Copies are the file's bytes wherever they begin and end; beyond the end there is nothing. */
static void test_read(void **state)
{
    (void)state;
    static const size_t ranges[][2] = {{0, 0},       {0, 1},       {4095, 2},   {65536, 65536},
                                       {N + 122, 1}, {7, N + 116}, {N + 123, 0}};
    static uint8_t got[N + 123];
    tern_map_file m;
    assert_int_equal(tern_map_open(path, &m, NULL), TERN_OK);
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        memset(got, 0, sizeof got);
        assert_true(tern_map_read(&m, ranges[i][0], got, ranges[i][1]));
        assert_memory_equal(got, m.data + ranges[i][0], ranges[i][1]);
    }
    assert_false(tern_map_read(&m, N + 120, got, 4));
    tern_map_close(&m);
}

/* A file that is cut while it is mapped: zeros, and only its own map knows. */
static void test_cut(void **state)
{
    (void)state;
    char cut[] = "/tmp/tern-cut-XXXXXX";
    static uint8_t buf[40000];
    tern_map_file m, other;
    int fd = mkstemp(cut);
    tern_map_guard(); /* the test driver takes the signal before each test */
    memset(buf, 7, sizeof buf);
    assert_true(fd >= 0 && write(fd, buf, sizeof buf) == (ssize_t)sizeof buf);
    assert_int_equal(tern_map_open(cut, &m, NULL), TERN_OK);
    assert_int_equal(tern_map_open(path, &other, NULL), TERN_OK);
    const volatile uint8_t *p = m.data;
    assert_int_equal(p[39999], 7);
    assert_int_equal(ftruncate(fd, 9000), 0);
    assert_false(tern_map_lost(&m));
    assert_int_equal(p[8999], 7);
    assert_int_equal(p[30000], 0);
    assert_true(tern_map_lost(&m));
    assert_false(tern_map_lost(&other));
    assert_int_equal(p[8999], 7);
    assert_int_equal(p[39999], 0);
    assert_int_equal(count_wrong(&other), 0);
    tern_map_close(&m);
    tern_map_close(&other);
    assert_int_equal(tern_map_open(cut, &m, NULL), TERN_OK);
    assert_false(tern_map_lost(&m));
    tern_map_close(&m);
    (void)close(fd);
    (void)unlink(cut);
}

/* A bus error of somebody else ends the process as ever. */
static void test_other_bus_errors(void **state)
{
    (void)state;
    char cut[] = "/tmp/tern-cut-XXXXXX";
    int status, fd = mkstemp(cut);
    assert_true(fd >= 0 && write(fd, "x", 1) == 1);
    pid_t pid = fork();
    if (pid == 0) {
        (void)signal(SIGBUS, SIG_DFL); /* a sanitizer's would tell of it */
        tern_map_guard();
        volatile const uint8_t *p = mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0);
        _exit(ftruncate(fd, 0) == 0 && p[0] == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    (void)close(fd);
    (void)unlink(cut);
}

#if defined(__linux__)
/* KiB of the file's map that this process holds, as the system counts them. */
static size_t resident_kib(const void *p)
{
    char line[256], head[32];
    size_t kib = 0;
    bool inside = false;
    FILE *f = fopen("/proc/self/smaps", "re");
    assert_non_null(f);
    (void)snprintf(head, sizeof head, "%lx-", (unsigned long)(uintptr_t)p);
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, head, strlen(head)) == 0)
            inside = true;
        if (inside && strncmp(line, "Rss:", 4) == 0) {
            for (const char *c = line + 4; *c; c++)
                if (*c >= '0' && *c <= '9')
                    kib = kib * 10 + (size_t)(*c - '0');
            break;
        }
    }
    (void)fclose(f);
    return kib;
}

static void test_dropped_pages_leave_the_process(void **state)
{
    (void)state;
    tern_map_file m;
    assert_int_equal(tern_map_open(path, &m, NULL), TERN_OK);
    assert_int_equal(count_wrong(&m), 0);
    assert_true(resident_kib(m.data) >= N / 1024);
    tern_map_drop(&m, N / 2, m.size - N / 2);
    assert_in_range(resident_kib(m.data), 1, N / 2 / 1024);
    tern_map_drop(&m, 0, m.size);
    assert_int_equal(resident_kib(m.data), 0);
    assert_int_equal(count_wrong(&m), 0);
    tern_map_close(&m);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hints_change_no_byte),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_other_bus_errors),
#if defined(__linux__)
        cmocka_unit_test(test_dropped_pages_leave_the_process),
#endif
    };
    return cmocka_run_group_tests(tests, write_file, remove_file);
}
