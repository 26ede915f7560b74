/* Paths that are no model files, and models of several files. */
#include "file/dir.h"
#include "support/bytes.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GOLDEN "tests/golden/gguf/"
#define ALIGN  "str:general.alignment "

static tern_code open_file(void *ctx, tern_err *err)
{
    tern_dir *d;
    tern_code rc = tern_gguf_open(ctx, NULL, &d, err);
    if (rc == TERN_OK)
        tern_dir_close(d);
    return rc;
}

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/tern-gguf-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static void path_of(char path[400], const char *name)
{
    (void)snprintf(path, 400, "%s/%s", folder, name);
}

static void write_bytes(const char *name, const void *data, size_t n)
{
    char path[400];
    path_of(path, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void write_script(const char *name, const char *script)
{
    tern_str s;
    tern_str_init(&s, 1 << 20);
    test_bytes(&s, script);
    write_bytes(name, tern_str_get(&s), s.len);
    tern_str_done(&s);
}

static void drop(const char *name)
{
    char path[400];
    path_of(path, name);
    assert_int_equal(unlink(path), 0);
}

static void check_open(const char *name, tern_code code, const char *says)
{
    char path[400];
    tern_err err = {TERN_OK, ""};
    path_of(path, name);
    tern_code rc = open_file(path, &err);
    if (rc != code || (says && !strstr(err.msg, says)))
        fail_msg("%s: code %d: %s", name, (int)rc, err.msg);
}

static void test_paths(void **state)
{
    (void)state;
    char path[400], sub[256];
    check_open("absent.gguf", TERN_E_NOT_FOUND, "absent.gguf");
    check_open(".", TERN_E_IO, "regular file");
    path_of(path, "pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    check_open("pipe", TERN_E_IO, "regular file");
    drop("pipe");
    write_bytes("empty.gguf", "", 0);
    check_open("empty.gguf", TERN_E_FORMAT, "empty.gguf: offset 0");
    drop("empty.gguf");
    (void)memset(sub, 'n', 180);
    (void)snprintf(sub + 180, 20, "\n.gguf");
    check_open(sub, TERN_E_NOT_FOUND, "nnn\\x0a.gguf: cannot open: "); /* the reason survives */
    write_bytes(sub, "GGUF", 4);
    check_open(sub, TERN_E_FORMAT, "nnn\\x0a.gguf: offset 4");
    drop(sub);
}

#define SPLIT(no, count) "str:split.no u32:2 u16:" #no " str:split.count u32:2 u16:" #count " "
#define TOTAL(n)         "str:split.tensors.count u32:5 u32:" #n " "
#define ONE(name)        "str:" name " u32:1 u64:4 u32:0 u64:0 pad:32 "

static const char first_of_2[] = "gguf:3,1,3 " SPLIT(0, 2) TOTAL(2) ONE("w") "zero:16";
static const char second_of_2[] = "gguf:3,1,2 " SPLIT(1, 2) ONE("x") "fill:16";

#define PART_1 "m-00001-of-00002.gguf"
#define PART_2 "m-00002-of-00002.gguf"

static void test_shards(void **state)
{
    (void)state;
    char path[400];
    tern_dir *d;
    tern_err err;
    path_of(path, PART_1);
    write_script(PART_1, first_of_2);
    check_open(PART_1, TERN_E_NOT_FOUND, "part 2 of 2 is missing");
    write_script(PART_2, second_of_2);
    assert_int_equal(tern_gguf_open(path, NULL, &d, &err), TERN_OK);
    assert_int_equal(d->n_tensor, 2);
    assert_int_equal(d->n_map, 2);
    assert_int_equal(tern_dir_tensor_find(d, "x")->data[15], 16);
    assert_int_equal(tern_dir_tensor_find(d, "w")->data[15], 0);
    tern_dir_close(d);
    check_open(PART_2, TERN_E_FORMAT, "part 2 of 2; open the first");

    static const struct {
        const char *script, *says;
    } bad_second[] = {
        {"gguf:3,1,2 " SPLIT(1, 2) ONE("w") "zero:16", "tensor 'w'"}, /* name of part 1 */
        {"gguf:3,1,2 " SPLIT(0, 2) ONE("x") "zero:16", "'split.no'"},
        {"gguf:3,1,2 " SPLIT(1, 3) ONE("x") "zero:16", "'split.count'"},
        {"gguf:3,1,0 " ONE("x") "zero:16", "'split.no'"},
        {"gguf:3,0,2 " SPLIT(1, 2), "'split.tensors.count' is 2, the 2 parts have 1"},
        {"gguf:3,1,2 " SPLIT(1, 2) ONE("x") "zero:15", "tensor 'x'"},
        {"gguf:3,1,2 " SPLIT(1, 2), "1 tensors"},
        {"gguf:3,1,3 " SPLIT(1, 2) ALIGN "u32:4 u32:0 " ONE("x") "zero:16", "general.alignment"},
        {"hex:00", "offset 0"},
        {"gguf:3,1,2 str:split.no u32:8 str:1 str:split.count u32:2 u16:2 " ONE("x") "zero:16",
         "'split.no'"},
        {"gguf:3,1,2 str:split.no u32:2 u16:1 str:split.count u32:8 str:2 " ONE("x") "zero:16",
         "'split.count'"},
    };
    for (size_t i = 0; i < sizeof bad_second / sizeof bad_second[0]; i++) {
        write_script(PART_2, bad_second[i].script);
        check_open(PART_1, TERN_E_FORMAT, bad_second[i].says);
    }
    static const struct {
        const char *script, *says;
    } bad_first[] = {
        {"gguf:3,1,2 str:split.no u32:8 str:0 str:split.count u32:2 u16:2 " ONE("w") "zero:16",
         "'split.no'"},
        {"gguf:3,1,3 " SPLIT(0, 2) "str:split.tensors.count u32:8 str:2 " ONE("w") "zero:16",
         "'split.tensors.count'"},
        {"gguf:3,1,3 " SPLIT(0, 2) TOTAL(2) ONE("w") "zero:15", "tensor 'w'"},
    };
    write_script(PART_2, second_of_2);
    for (size_t i = 0; i < sizeof bad_first / sizeof bad_first[0]; i++) {
        write_script(PART_1, bad_first[i].script);
        check_open(PART_1, TERN_E_FORMAT, bad_first[i].says);
    }
    /* The total may be left out. */
    write_script(PART_1, "gguf:3,1,2 " SPLIT(0, 2) ONE("w") "zero:16");
    check_open(PART_1, TERN_OK, NULL);
    drop(PART_2);
    drop(PART_1);
}

static void test_many_shards(void **state)
{
    (void)state;
    char path[400];
    tern_dir *d;
    tern_err err;
    for (unsigned i = 0; i < 6; i++) {
        char name[40], script[300];
        (void)snprintf(name, sizeof name, "m-%05u-of-00006.gguf", i + 1);
        (void)snprintf(script, sizeof script,
                       "gguf:3,1,2 str:split.no u32:2 u16:%u str:split.count u32:2 u16:6 " ONE(
                           "w%u") "fill:16",
                       i, i);
        write_script(name, script);
    }
    path_of(path, "m-00001-of-00006.gguf");
    assert_int_equal(tern_gguf_open(path, NULL, &d, &err), TERN_OK);
    assert_int_equal(d->n_tensor, 6);
    assert_int_equal(d->n_map, 6);
    for (unsigned i = 0; i < 6; i++) {
        char name[40];
        (void)snprintf(name, sizeof name, "w%u", i);
        assert_ptr_equal(tern_dir_tensor_find(d, name), &d->tensors[i]);
        assert_ptr_equal(d->tensors[i].data, d->maps[i].data + d->tensors[i].offset);
        assert_int_equal(d->tensors[i].data[3], 4);
    }
    tern_dir_close(d);
    for (unsigned i = 0; i < 6; i++) {
        char name[40];
        (void)snprintf(name, sizeof name, "m-%05u-of-00006.gguf", i + 1);
        drop(name);
    }
}

static void test_shard_names(void **state)
{
    (void)state;
    static const char *const names[] = {"m.gguf", "m-00001-of-00003.gguf", "m-00002-of-00002.gguf",
                                        "-00001-of-00002.ggu"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        write_script(names[i], first_of_2);
        check_open(names[i], TERN_E_FORMAT, "must end in -00001-of-00002.gguf");
        drop(names[i]);
    }
    char cwd[400];
    assert_non_null(getcwd(cwd, sizeof cwd));
    assert_int_equal(chdir(folder), 0);
    write_script("m", first_of_2);
    tern_err short_err;
    assert_int_equal(open_file((void *)(uintptr_t) "m", &short_err), TERN_E_FORMAT);
    assert_non_null(strstr(short_err.msg, "must end in"));
    drop("m");
    assert_int_equal(chdir(cwd), 0);
    /* The name alone makes no shard. */
    write_script(PART_1, "gguf:3,1,0 " ONE("w") "zero:16");
    check_open(PART_1, TERN_OK, NULL);
    write_script(PART_1, "gguf:3,0,2 " SPLIT(0, 1));
    check_open(PART_1, TERN_OK, NULL);
    write_script(PART_1, "gguf:3,0,1 str:split.count u32:4 u32:65536");
    check_open(PART_1, TERN_E_FORMAT, "65536 parts, at most 65535");
    write_script(PART_1, "gguf:3,0,1 str:split.count u32:8 str:2");
    check_open(PART_1, TERN_E_FORMAT, "split.count");
    drop(PART_1);

    tern_str s;
    tern_err err;
    tern_dir *d;
    tern_str_init(&s, 4096);
    test_bytes(&s, first_of_2);
    assert_int_equal(tern_gguf_open_memory(s.data, s.len, PART_1, NULL, &d, &err),
                     TERN_E_UNSUPPORTED);
    tern_str_done(&s);
}

static void test_big_endian_file(void **state)
{
    (void)state;
    tern_err err;
    static char path[] = GOLDEN "big-endian.gguf";
    assert_int_equal(open_file(path, &err), TERN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "big-endian"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),           cmocka_unit_test(test_shards),
        cmocka_unit_test(test_many_shards),     cmocka_unit_test(test_shard_names),
        cmocka_unit_test(test_big_endian_file),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
