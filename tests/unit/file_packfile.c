/* A file of sections comes back as it was written, or is refused: whatever is wrong with it. */
#include "base/hash.h"
#include "file/packfile.h"
#include "support/support.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define VERSION 7
#define KEY     0x123456789abcdefu
#define N_PART  4
#define TABLE   (40 + TERN_PACKFILE_TITLE) /* the header's bytes */

static char dir[] = "/tmp/tern-packfile-XXXXXX", path[64];
static tern_pool *pool;
static uint8_t *data[N_PART];
static tern_packfile_part parts[N_PART];

/* One is empty, one of several pieces, one ends with a block. */
static const size_t sizes[N_PART] = {1000, 0, 700001, 4096};

static int set_up(void **state)
{
    (void)state;
    uint32_t rng = 5;
    for (int i = 0; i < N_PART; i++) {
        data[i] = malloc(sizes[i] + 1);
        for (size_t j = 0; j < sizes[i]; j++)
            data[i][j] = (uint8_t)test_rand(&rng);
        parts[i] = (tern_packfile_part){.id = (uint32_t)i * 3 + 1,
                                        .info = {(uint32_t)i, 8, UINT32_MAX},
                                        .data = data[i],
                                        .bytes = sizes[i]};
    }
    bool ok = mkdtemp(dir) && tern_pool_new(3, &pool, NULL) == TERN_OK;
    (void)snprintf(path, sizeof path, "%s/a.pack", dir);
    return ok ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    tern_pool_free(pool);
    for (int i = 0; i < N_PART; i++)
        free(data[i]);
    (void)unlink(path);
    return rmdir(dir); /* so nothing else was left in it */
}

static void write_file(void)
{
    tern_err err;
    if (tern_packfile_write(path, VERSION, KEY, "a title", parts, N_PART, pool, &err) != TERN_OK)
        fail_msg("%s", err.msg);
}

/* All sections are as they were written. */
static tern_code read_all(bool map, tern_err *err)
{
    tern_packfile p;
    tern_code rc = tern_packfile_open(path, VERSION, KEY, &p, err);
    if (rc != TERN_OK)
        return rc;
    assert_string_equal(p.title, "a title");
    assert_int_equal(p.n_section, N_PART);
    assert_null(tern_packfile_find(&p, 2));
    for (int i = 0; rc == TERN_OK && i < N_PART; i++) {
        const tern_packfile_section *s = tern_packfile_find(&p, (uint32_t)i * 3 + 1);
        assert_non_null(s);
        assert_int_equal(s->bytes, sizes[i]);
        assert_int_equal(s->info[0], i);
        assert_int_equal(s->info[2], UINT32_MAX);
        uint8_t *to = map ? NULL : malloc(sizes[i] + 1);
        const uint8_t *at = to;
        rc = map ? tern_packfile_map(&p, s, i % 2 == 0, &at, pool, err)
                 : tern_packfile_read(&p, s, to, pool, err);
        if (rc == TERN_OK && sizes[i] > 0)
            assert_memory_equal(at, data[i], sizes[i]);
        free(to);
    }
    tern_packfile_close(&p);
    return rc;
}

static void test_sections_come_back(void **state)
{
    (void)state;
    tern_err err;
    write_file();
    for (int map = 0; map < 2; map++)
        if (read_all(map, &err) != TERN_OK)
            fail_msg("%s", err.msg);
    tern_packfile p;
    assert_int_equal(tern_packfile_open(path, VERSION + 1, KEY, &p, &err), TERN_E_FORMAT);
    assert_int_equal(tern_packfile_open(path, VERSION, KEY + 1, &p, &err), TERN_E_FORMAT);
    assert_int_equal(tern_packfile_peek(path, VERSION, &p, &err), TERN_OK);
    assert_true(p.key == KEY);
    tern_packfile_close(&p);
    assert_int_equal(tern_packfile_open(dir, VERSION, KEY, &p, &err), TERN_E_IO);
    assert_int_equal(tern_packfile_open("/nonexistent/x", VERSION, KEY, &p, &err),
                     TERN_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "/nonexistent/x"));
}

static uint8_t *whole;
static size_t n_whole;

static void put_back(size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(whole, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void refused(const char *what, size_t at)
{
    tern_err err = {0};
    for (int map = 0; map < 2; map++)
        if (read_all(map, &err) != TERN_E_FORMAT || !strstr(err.msg, path))
            fail_msg("%s %zu: '%s'", what, at, err.msg);
}

static void test_what_is_cut_is_refused(void **state)
{
    (void)state;
    write_file();
    whole = test_read_file(path, &n_whole);
    for (size_t n = 0; n < n_whole; n += n < 1300 ? 1 : n_whole / 57) {
        put_back(n);
        refused("cut at", n);
    }
    put_back(n_whole - 1);
    refused("cut at", n_whole - 1);
    free(whole);
}

/* Every byte of header and table, and some of the sections, with every bit wrong once. */
static void test_what_is_damaged_is_refused(void **state)
{
    (void)state;
    tern_err err;
    write_file();
    whole = test_read_file(path, &n_whole);
    size_t table_end = TABLE + N_PART * 40;
    for (size_t at = 0; at < table_end; at += at < 60 || at >= TABLE ? 1 : 7) {
        whole[at] ^= (uint8_t)(1 << at % 8);
        put_back(n_whole);
        refused("byte", at);
        whole[at] ^= (uint8_t)(1 << at % 8);
    }
    tern_packfile p;
    put_back(n_whole);
    assert_int_equal(tern_packfile_open(path, VERSION, KEY, &p, NULL), TERN_OK);
    for (int i = 0; i < N_PART; i++)
        for (size_t j = 0; j < sizes[i]; j += sizes[i] / 5) {
            size_t at = (size_t)p.sections[i].offset + j;
            whole[at] ^= 0x10;
            put_back(n_whole);
            refused("byte", at);
            whole[at] ^= 0x10;
        }
    tern_packfile_close(&p);
    put_back(n_whole);
    assert_int_equal(read_all(false, &err), TERN_OK);
    free(whole);
}

static void put64(uint8_t *at, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(v >> (8 * i));
}

/* A table whose checksum is right may still say anything. */
static void test_what_lies_is_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint64_t v;
    } lies[] = {
        {TABLE + 40, 1},                       /* an id again */
        {TABLE + 16, 0},                       /* a section over the header */
        {TABLE + 16, 8192 + 8},                /* not aligned */
        {TABLE + 16, (uint64_t)1 << 62},       /* behind the end */
        {TABLE + 16, UINT64_MAX - 4095},       /* so that the end wraps round */
        {TABLE + 24, UINT64_MAX},              /* too long */
        {TABLE + 24, UINT64_MAX - 8191},       /* also with its offset */
        {TABLE + 3 * 40 + 24, 4096 + 1},       /* without the readable bytes behind it */
        {8, VERSION | (uint64_t)1 << 20 << 32} /* more sections than the file can have */
    };
    write_file();
    whole = test_read_file(path, &n_whole);
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        uint8_t was[TABLE + N_PART * 40];
        memcpy(was, whole, sizeof was);
        put64(whole + lies[i].at, lies[i].v);
        put64(whole + 32, 0);
        put64(whole + 32, tern_checksum64(whole, sizeof was));
        put_back(n_whole);
        refused("lie", i);
        memcpy(whole, was, sizeof was);
    }
    free(whole);
}

static void *write_often(void *arg)
{
    tern_pool *own;
    assert_int_equal(tern_pool_new(1, &own, NULL), TERN_OK);
    for (int i = 0; i < 20; i++)
        if (tern_packfile_write(path, VERSION, KEY, "a title", parts, N_PART, own, NULL) != TERN_OK)
            *(bool *)arg = false;
    tern_pool_free(own);
    return NULL;
}

static void test_writers_do_not_disturb(void **state)
{
    (void)state;
    pthread_t t[3];
    bool ok[3] = {true, true, true};
    tern_err err;
    write_file();
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&t[i], NULL, write_often, &ok[i]), 0);
    for (int i = 0; i < 50; i++)
        if (read_all(i % 2, &err) != TERN_OK)
            fail_msg("%s", err.msg);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(t[i], NULL), 0);
        assert_true(ok[i]);
    }
}

static void test_what_cannot_be_written_is_not(void **state)
{
    (void)state;
    tern_err err = {0};
    struct rlimit was, small = {.rlim_cur = 1 << 19, .rlim_max = RLIM_INFINITY};
    assert_int_equal(
        tern_packfile_write("/nonexistent/x.pack", VERSION, KEY, "", parts, N_PART, pool, &err),
        TERN_E_IO);
    assert_non_null(strstr(err.msg, "/nonexistent/x.pack"));
    /* No room: nothing stays behind, and what was there is as it was. */
    write_file();
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    small.rlim_max = was.rlim_max;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    tern_code rc = tern_packfile_write(path, VERSION, KEY + 1, "", parts, N_PART, pool, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_int_equal(rc, TERN_E_IO);
    assert_non_null(strstr(err.msg, path));
    assert_int_equal(read_all(false, NULL), TERN_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sections_come_back),
        cmocka_unit_test(test_what_is_cut_is_refused),
        cmocka_unit_test(test_what_is_damaged_is_refused),
        cmocka_unit_test(test_what_lies_is_refused),
        cmocka_unit_test(test_writers_do_not_disturb),
        cmocka_unit_test(test_what_cannot_be_written_is_not),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
