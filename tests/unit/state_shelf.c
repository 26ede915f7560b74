/* States that survive in a folder: found by the next program, right or not at all, whatever happens to the
 * files and whenever their writer is killed. */
#include "base/alloc.h"
#include "base/os/folder.h"
#include "state/recall.h"
#include "state/seq.h"
#include "support/support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const tern_kv_shape shape = {
    .n_block = 2, .n_kv_head = 1, .d_k = 8, .d_v = 8, .k = TERN_KV_F16, .v = TERN_KV_I8};

#define N_CTX 1000

static char dir[64];
static int n_warning;
static char warning[400];

static void take_warning(void *ctx, const char *line)
{
    (void)ctx;
    n_warning++;
    (void)snprintf(warning, sizeof warning, "%s", line);
}

static void remove_file(void *ctx, const tern_folder_file *f)
{
    (void)ctx;
    (void)tern_folder_remove(f->path);
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/tern-shelf-XXXXXX");
    n_warning = 0;
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    tern_folder_each(dir, remove_file, NULL);
    return rmdir(dir);
}

static void count_file(void *ctx, const tern_folder_file *f)
{
    (void)f;
    ++*(int *)ctx;
}

static int n_files(void)
{
    int n = 0;
    tern_folder_each(dir, count_file, &n);
    return n;
}

static uint64_t n_bytes(void);

static void add_bytes(void *ctx, const tern_folder_file *f)
{
    *(uint64_t *)ctx += f->bytes;
}

static uint64_t n_bytes(void)
{
    uint64_t n = 0;
    tern_folder_each(dir, add_bytes, &n);
    return n;
}

/* ---- sequences whose rows tell which tokens led to them ------------------------------------------ */

static uint16_t *k_at(const tern_seq *s, int pos)
{
    tern_kv_rows r = tern_seq_k(s, 1, pos / TERN_PAGE_TOK, 0);
    return (uint16_t *)r.rows + (size_t)(pos % TERN_PAGE_TOK) * 8;
}

static void read_on(tern_seq *s, const int32_t *ids, int n)
{
    uint32_t h = 1;
    int n0 = s->n_tok;
    if (n <= n0)
        return;
    assert_int_equal(tern_seq_reserve(s, n - n0, NULL), TERN_OK);
    for (int i = 0; i < n; i++) {
        h = (h ^ (uint32_t)ids[i]) * 0x01000193u;
        if (i >= n0)
            k_at(s, i)[3] = (uint16_t)(h >> 16 ^ h);
    }
    tern_seq_commit(s, ids + n0, n - n0);
}

static bool rows_are_right(const tern_seq *s, const int32_t *ids, int n)
{
    uint32_t h = 1;
    bool ok = s->n_tok == n && memcmp(s->ids, ids, (size_t)n * sizeof *ids) == 0;
    for (int i = 0; ok && i < n; i++) {
        h = (h ^ (uint32_t)ids[i]) * 0x01000193u;
        ok = k_at(s, i)[3] == (uint16_t)(h >> 16 ^ h);
    }
    return ok;
}

static void count_up(int32_t *ids, int n, int32_t from)
{
    for (int i = 0; i < n; i++)
        ids[i] = from + i;
}

/* ---- one program after the other ------------------------------------------------------------------ */

typedef struct run_opts {
    uint64_t key, kind, max_bytes;
} run_opts;

static const run_opts usual = {.key = 77, .kind = 5, .max_bytes = 1 << 30};

static tern_budget budget; /* of one program at a time */

static void start(tern_recall *r, const run_opts *o)
{
    tern_err err;
    budget = (tern_budget){.limit = SIZE_MAX};
    const tern_shelf_opts so = {.dir = dir,
                                .max_bytes = o->max_bytes,
                                .key = o->key,
                                .kind = o->kind,
                                .title = "model",
                                .warn = take_warning};
    assert_int_equal(tern_recall_init(r, &budget, &so, &err), TERN_OK);
}

/* A request of n tokens, of which n_keep are named; returns what was found. */
static int ask(tern_recall *r, uint64_t owner, const int32_t *ids, int n, int n_keep)
{
    tern_seq s;
    tern_recall_use u;
    assert_int_equal(tern_seq_init_within(&s, &shape, N_CTX, r->budget, NULL), TERN_OK);
    int found = tern_recall_begin(r, &u, owner, ids, n - 1, n_keep, &s);
    assert_true(rows_are_right(&s, ids, found));
    for (int at = found; at < n; at += 100) {
        read_on(&s, ids, at + 100 < n ? at + 100 : n);
        tern_recall_grow(r, &u, ids, s.n_tok, &s);
    }
    tern_recall_end(r, &u, ids, n, &s);
    assert_true(rows_are_right(&s, ids, n));
    tern_seq_done(&s);
    return found;
}

static void stop(tern_recall *r, double wait_s)
{
    tern_recall_done(r, wait_s);
    assert_int_equal(budget.used, 0);
    assert_int_equal(budget.kept, 0);
}

/* The same as a killed program: nothing is written at the end. */
static void stop_hard(tern_recall *r)
{
    tern_shelf_flush(r->shelf, 30);
    tern_prefix_reclaim(&r->tree, 0);
    stop(r, 0);
}

static void test_what_is_named_is_found_by_the_next_program(void **state)
{
    (void)state;
    tern_recall r;
    int32_t a[500], b[500];
    count_up(a, 500, 1);
    start(&r, &usual);
    assert_int_equal(ask(&r, 1, a, 400, 290), 0);
    stop_hard(&r);
    assert_int_equal(n_files(), 5); /* 4 * 64 + 34 */
    start(&r, &usual);
    memcpy(b, a, sizeof a);
    b[290] = 9999;
    assert_int_equal(ask(&r, 1, b, 400, 290), 290);
    assert_int_equal(ask(&r, 1, b, 400, 290), 399); /* in memory now */
    assert_int_equal(ask(&r, 2, a, 400, 0), 0);
    stop_hard(&r);
    start(&r, &usual);
    assert_int_equal(ask(&r, 1, a, 200, 0), 192);
    assert_int_equal(ask(&r, 1, a, 400, 0), 290);
    stop(&r, 0);
    assert_int_equal(n_warning, 0);
}

static void test_the_second_use_and_the_end_save_too(void **state)
{
    (void)state;
    tern_recall r;
    int32_t a[300], b[300], c[300];
    count_up(a, 300, 1000);
    count_up(b, 300, 2000);
    count_up(c, 300, 3000);
    start(&r, &usual);
    assert_int_equal(ask(&r, 1, a, 300, 0), 0);
    assert_int_equal(ask(&r, 1, b, 300, 0), 0);
    tern_shelf_flush(r.shelf, 30);
    assert_int_equal(n_files(), 0);
    assert_int_equal(ask(&r, 1, a, 300, 0), 299);
    stop_hard(&r);
    assert_int_equal(n_files(), 4);
    start(&r, &usual);
    assert_int_equal(ask(&r, 1, b, 300, 0), 0);
    assert_int_equal(ask(&r, 1, a, 300, 0), 256);
    assert_int_equal(ask(&r, 1, c, 300, 0), 0);
    stop(&r, 30);
    assert_int_equal(n_files(), 12);
    start(&r, &usual);
    assert_int_equal(ask(&r, 1, b, 300, 0), 256);
    assert_int_equal(ask(&r, 1, c, 300, 0), 256);
    stop(&r, 0);
}

static void test_other_models_and_states_find_nothing(void **state)
{
    (void)state;
    tern_recall r;
    int32_t a[300];
    const run_opts other_model = {78, 5, 1 << 30}, other_kind = {77, 6, 1 << 30};
    count_up(a, 300, 1);
    start(&r, &usual);
    assert_int_equal(ask(&r, 1, a, 300, 256), 0);
    stop_hard(&r);
    start(&r, &other_model);
    assert_int_equal(ask(&r, 1, a, 300, 0), 0);
    stop_hard(&r);
    start(&r, &other_kind);
    assert_int_equal(ask(&r, 1, a, 300, 0), 0);
    stop_hard(&r);
    assert_int_equal(n_warning, 0);
}

/* ---- bad files -------------------------------------------------------------------------------------- */

static char some[300]; /* a file */
static const char *wanted;

static void take_path(void *ctx, const tern_folder_file *f)
{
    (void)ctx;
    if (strstr(f->name, wanted))
        (void)snprintf(some, sizeof some, "%s", f->path);
}

static void find_file(const char *what)
{
    wanted = what;
    tern_folder_each(dir, take_path, NULL);
}

static void write_file(const char *path, const uint8_t *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* With the second of four files as `bytes`: nothing from it is used, one warning, and it is made anew. */
static void expect_replaced(const uint8_t *bytes, size_t n, const uint8_t *good, size_t n_good)
{
    tern_recall r;
    int32_t a[300];
    size_t n_now;
    count_up(a, 300, 1);
    write_file(some, bytes, n);
    n_warning = 0;
    start(&r, &usual);
    assert_int_equal(ask(&r, 1, a, 300, 256), 64);
    assert_int_equal(n_warning, 1);
    assert_non_null(strstr(warning, "-00000080.kv"));
    stop_hard(&r);
    uint8_t *now = test_read_file(some, &n_now);
    assert_int_equal(n_now, n_good);
    assert_memory_equal(now, good, n_now);
    free(now);
    n_warning = 0;
    start(&r, &usual);
    assert_int_equal(ask(&r, 1, a, 300, 0), 256);
    stop_hard(&r);
    assert_int_equal(n_warning, 0);
}

static void test_bad_files_are_replaced(void **state)
{
    (void)state;
    tern_recall r;
    int32_t a[300];
    size_t n, n_other;
    count_up(a, 300, 1);
    start(&r, &usual);
    assert_int_equal(ask(&r, 1, a, 300, 256), 0);
    stop_hard(&r);
    find_file("-000000c0.kv");
    uint8_t *other = test_read_file(some, &n_other);
    find_file("-00000080.kv");
    uint8_t *good = test_read_file(some, &n), *bad = malloc(n);
    assert_non_null(bad);
    const size_t cuts[] = {0, 1, 100, 4096, 8192, n - 1};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++)
        expect_replaced(good, cuts[i], good, n);
    /* One bit in the magic, version, key, sizes, table; of the head section; of the rows. */
    const size_t bits[] = {0, 8, 16, 24, 33, 1064 + 20, 4096, 4096 + 20, 4096 + 30, 8192, 9000};
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) {
        memcpy(bad, good, n);
        bad[bits[i]] ^= 4;
        expect_replaced(bad, n, good, n);
    }
    expect_replaced(other, n_other, good, n); /* right in itself, but of other tokens */
    free(other);
    free(good);
    free(bad);
}

static void test_files_that_vanish_are_no_failure(void **state)
{
    (void)state;
    tern_recall r;
    int32_t a[300];
    count_up(a, 300, 1);
    start(&r, &usual);
    assert_int_equal(ask(&r, 1, a, 300, 256), 0);
    stop_hard(&r);
    start(&r, &usual);
    find_file("-00000080.kv");
    assert_int_equal(unlink(some), 0);
    assert_int_equal(ask(&r, 1, a, 300, 256), 64);
    stop_hard(&r);
    assert_int_equal(n_files(), 4);
    assert_int_equal(n_warning, 0);
}

static void test_a_folder_that_refuses_is_one_warning(void **state)
{
    (void)state;
    tern_recall r;
    int32_t a[300];
    struct rlimit had, none;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &had), 0);
    none = had;
    none.rlim_cur = 4096; /* as full as a disk can be */
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    count_up(a, 300, 1);
    start(&r, &usual);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    for (int i = 0; i < 4; i++) {
        a[0] = i;
        assert_int_equal(ask(&r, 1, a, 300, 256), 0);
    }
    stop_hard(&r);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &had), 0);
    (void)signal(SIGXFSZ, before);
    assert_int_equal(n_warning, 1);
    assert_int_equal(n_files(), 0);
}

/* ---- limits ------------------------------------------------------------------------------------------ */

static void test_the_least_recently_used_leaves_the_folder(void **state)
{
    (void)state;
    tern_recall r;
    int32_t a[300];
    const run_opts small = {77, 5, 150000};
    for (int i = 0; i < 12; i++) {
        start(&r, &small);
        count_up(a, 300, 1000 * (i + 1));
        assert_int_equal(ask(&r, 1, a, 300, 256), 0);
        count_up(a, 300, 1000); /* the first text is used all the time */
        assert_int_equal(ask(&r, 1, a, 300, 256), i == 0 ? 299 : 256);
        stop_hard(&r);
        assert_true(n_bytes() <= small.max_bytes);
    }
    assert_true(n_files() > 4);
    start(&r, &small);
    assert_int_equal(ask(&r, 1, a, 300, 0), 256);
    count_up(a, 300, 2000);
    assert_int_equal(ask(&r, 1, a, 300, 0), 0);
    stop_hard(&r);
}

/* A text longer than the folder holds: its beginning stays. */
static void test_a_long_text_in_a_small_folder(void **state)
{
    (void)state;
    tern_recall r;
    int32_t a[900];
    const run_opts small = {77, 5, 150000};
    count_up(a, 900, 1);
    start(&r, &small);
    assert_int_equal(ask(&r, 1, a, 900, 896), 0);
    stop_hard(&r);
    assert_true(n_bytes() <= small.max_bytes);
    start(&r, &small);
    int found = ask(&r, 1, a, 900, 0);
    assert_true(found >= 128 && found % 64 == 0 && found / 64 == n_files());
    stop_hard(&r);
}

/* What waits to be written never keeps a running sequence from its memory. */
static void test_writing_gives_way_to_running(void **state)
{
    (void)state;
    tern_recall r;
    int32_t a[640];
    tern_err err;
    size_t one = tern_seq_bytes(&shape, 640);
    const tern_shelf_opts so = {.dir = dir, .max_bytes = 1 << 30, .key = 1, .kind = 2, .title = ""};
    budget = (tern_budget){.limit = one + one / 2};
    assert_int_equal(tern_recall_init(&r, &budget, &so, &err), TERN_OK);
    for (int i = 0; i < 30; i++) {
        count_up(a, 640, 1 + 1000 * i);
        assert_int_equal(ask(&r, 1, a, 640, 640), 0);
        assert_true(budget.used <= budget.limit);
    }
    stop(&r, 0);
}

/* ---- kill -9 ------------------------------------------------------------------------------------------ */

static void write_forever(void)
{
    tern_recall r;
    int32_t a[640];
    start(&r, &usual);
    for (int i = 0; i < 1000000; i++) {
        count_up(a, 640, 1000 * (i % 40));
        (void)ask(&r, 1, a, 640, 640);
        tern_prefix_reclaim(&r.tree, 0);
        if (i % 8 == 7)
            tern_shelf_flush(r.shelf, 1);
    }
    _exit(0);
}

static void test_a_writer_may_be_killed_at_any_moment(void **state)
{
    (void)state;
    int32_t a[640];
    int n_found = 0;
    for (int i = 0; i < 25; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            write_forever();
        (void)usleep((useconds_t)(1000 + i * 2711 % 30000));
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        tern_recall r;
        start(&r, &usual);
        for (int j = 0; j < 40; j++) {
            count_up(a, 640, 1000 * j);
            n_found += ask(&r, 1, a, 640, 0);
        }
        tern_prefix_reclaim(&r.tree, 0);
        stop_hard(&r);
        assert_int_equal(n_warning, 0);
    }
    assert_true(n_found > 0);
}

int main(void)
{
#define SHELF_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        SHELF_TEST(test_what_is_named_is_found_by_the_next_program),
        SHELF_TEST(test_the_second_use_and_the_end_save_too),
        SHELF_TEST(test_other_models_and_states_find_nothing),
        SHELF_TEST(test_bad_files_are_replaced),
        SHELF_TEST(test_files_that_vanish_are_no_failure),
        SHELF_TEST(test_a_folder_that_refuses_is_one_warning),
        SHELF_TEST(test_the_least_recently_used_leaves_the_folder),
        SHELF_TEST(test_a_long_text_in_a_small_folder),
        SHELF_TEST(test_writing_gives_way_to_running),
        SHELF_TEST(test_a_writer_may_be_killed_at_any_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
