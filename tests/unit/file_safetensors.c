/* The safetensors container: the specification's vector, several files, and files that lie. */
#include "base/reader.h"
#include "file/dir_make.h"
#include "file/safetensors.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/tern-safetensors-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : 1;
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"x.safetensors", "1.safetensors", "2.safetensors",
                                        "index.json"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        (void)unlink(in_folder(names[i]));
    return rmdir(folder);
}

static void write_file(const char *name, const void *bytes, size_t n)
{
    FILE *f = fopen(in_folder(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* A file of this head and n_data bytes 0, 1, 2... behind it. */
static void write_container(const char *name, const char *head, size_t n_data)
{
    size_t n = strlen(head);
    uint8_t *p = calloc(1, 8 + n + n_data);
    assert_non_null(p);
    for (size_t i = 0; i < 8; i++)
        p[i] = (uint8_t)((uint64_t)n >> (8 * i));
    memcpy(p + 8, head, n);
    for (size_t i = 0; i < n_data; i++)
        p[8 + n + i] = (uint8_t)i;
    write_file(name, p, 8 + n + n_data);
    free(p);
}

static void test_ok(tern_code rc, const tern_err *err)
{
    if (rc != TERN_OK)
        fail_msg("%s", err->msg);
}

static tern_dir *new_dir(void)
{
    tern_dir *d;
    assert_int_equal(tern_dir_new("x", 1 << 20, &d, NULL), TERN_OK);
    return d;
}

/* Section 9.12 of the format notes: a packed ternary matrix and its scale. */
static void vector(void **state)
{
    static const char head[] =
        "{\"w\":{\"dtype\":\"U8\",\"shape\":[2,8],\"data_offsets\":[0,16]},"
        "\"w_scale\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[16,18]}}  ";
    static const uint8_t data[18] = {0xa2, 0x11, 0x20, 0xa1, 0x59, 0x96, 0x08, 0x40, 0x20,
                                     0x60, 0x81, 0x4a, 0x54, 0x68, 0x4a, 0x2a, 0x00, 0x3f};
    uint8_t file[8 + sizeof head - 1 + sizeof data] = {sizeof head - 1};
    tern_err err;
    (void)state;
    assert_int_equal(sizeof file, 146);
    memcpy(file + 8, head, sizeof head - 1);
    memcpy(file + 8 + sizeof head - 1, data, sizeof data);
    write_file("x.safetensors", file, sizeof file);
    tern_dir *d = new_dir();
    test_ok(tern_safetensors_read(d, in_folder("x.safetensors"), &err), &err);
    assert_int_equal(d->n_tensor, 2);
    const tern_tensor *w = tern_dir_tensor_find(d, "w"), *s = tern_dir_tensor_find(d, "w_scale");
    assert_non_null(w);
    assert_non_null(s);
    assert_int_equal(w->dtype, TERN_DT_U8);
    assert_int_equal(w->n_dim, 2);
    assert_int_equal(w->ne[0], 8);
    assert_int_equal(w->ne[1], 2);
    assert_memory_equal(w->data, data, 16);
    float scale;
    tern_dtype_get(s->dtype)->unpack_row(s, 0, &scale);
    assert_true(scale == 0.5f);
    tern_dir_close(d);
}

static void scalar_and_metadata(void **state)
{
    tern_err err;
    (void)state;
    write_container("x.safetensors",
                    "{\"__metadata__\":{\"format\":\"pt\"},"
                    "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}",
                    4);
    tern_dir *d = new_dir();
    test_ok(tern_safetensors_read(d, in_folder("x.safetensors"), &err), &err);
    assert_int_equal(d->n_tensor, 1);
    assert_int_equal(d->tensors[0].n_dim, 1);
    assert_int_equal(d->tensors[0].ne[0], 1);
    tern_dir_close(d);
}

typedef struct lie {
    const char *head;
    size_t n_data;
    tern_code code;
    const char *says;
} lie;

#define T(dtype, shape, from, to)                                                                  \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"

static void lies(void **state)
{
    static const lie all[] = {
        {"{\"a\":" T("F32", "[2]", "0", "4") "}", 4, TERN_E_FORMAT, "not what F32"},
        {"{\"a\":" T("F32", "[1]", "0", "8") "}", 8, TERN_E_FORMAT, "not what F32"},
        {"{\"a\":" T("F32", "[1]", "0", "4") "}", 3, TERN_E_FORMAT, "has 3 bytes"},
        {"{\"a\":" T("F32", "[1]", "0", "4") "}", 5, TERN_E_FORMAT, "1 bytes behind"},
        {"{\"a\":" T("F32", "[1]", "4", "8") "}", 8, TERN_E_FORMAT, "where 0 is expected"},
        {"{\"a\":" T("F32", "[1]", "4", "0") "}", 8, TERN_E_FORMAT, "data [4, 0)"},
        {"{\"a\":" T("F32", "[1]", "0", "4") ",\"b\":" T("F32", "[1]", "0", "4") "}", 4,
         TERN_E_FORMAT, "where 4 is expected"},
        {"{\"a\":" T("F32", "[1]", "0", "4") ",\"b\":" T("F32", "[1]", "8", "12") "}", 12,
         TERN_E_FORMAT, "where 4 is expected"},
        {"{\"a\":" T("F32", "[1]", "0", "4") ",\"a\":" T("F32", "[1]", "4", "8") "}", 8,
         TERN_E_FORMAT, "not JSON"},
        {"{\"a\":" T("F32", "[4294967296,4294967296,4294967296]", "0", "4") "}", 4, TERN_E_FORMAT,
         "not what F32"},
        {"{\"a\":" T("F32", "[0]", "0", "0") "}", 0, TERN_E_FORMAT, "from 1 on"},
        {"{\"a\":" T("F32", "[-1]", "0", "4") "}", 4, TERN_E_FORMAT, "from 1 on"},
        {"{\"a\":" T("F32", "[1.0]", "0", "4") "}", 4, TERN_E_FORMAT, "from 1 on"},
        {"{\"a\":" T("F32", "[1,1,1,1,1]", "0", "4") "}", 4, TERN_E_FORMAT, "4 dimensions"},
        {"{\"a\":" T("F32", "{}", "0", "4") "}", 4, TERN_E_FORMAT, "4 dimensions"},
        {"{\"a\":" T("F8_E4M3", "[4]", "0", "4") "}", 4, TERN_E_UNSUPPORTED, "'F8_E4M3'"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, TERN_E_FORMAT,
         "pair"},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, TERN_E_FORMAT, "no 'dtype'"},
        {"{\"a\":3}", 0, TERN_E_FORMAT, "no 'dtype'"},
        {"[]", 0, TERN_E_FORMAT, "no JSON object"},
        {"{", 0, TERN_E_FORMAT, "not JSON"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        tern_err err = {0};
        tern_dir *d = new_dir();
        write_container("x.safetensors", all[i].head, all[i].n_data);
        tern_code rc = tern_safetensors_read(d, in_folder("x.safetensors"), &err);
        if (rc != all[i].code || !strstr(err.msg, all[i].says))
            fail_msg("%s: code %d, '%s'", all[i].head, rc, err.msg);
        tern_dir_close(d);
    }
}

/* Cut at every byte, and with every length in its first field that has one bit set. */
static void cut_and_lengths(void **state)
{
    static const char head[] = "{\"a\":" T("F32", "[1]", "0", "4") "}";
    uint8_t file[8 + sizeof head - 1 + 4] = {sizeof head - 1};
    (void)state;
    memcpy(file + 8, head, sizeof head - 1);
    for (size_t n = 0; n < sizeof file; n++) {
        tern_dir *d = new_dir();
        write_file("x.safetensors", file, n);
        assert_int_equal(tern_safetensors_read(d, in_folder("x.safetensors"), NULL), TERN_E_FORMAT);
        tern_dir_close(d);
    }
    for (int bit = 0; bit < 64; bit++) {
        tern_dir *d = new_dir();
        for (int i = 0; i < 8; i++)
            file[i] = (uint8_t)(((uint64_t)1 << bit) >> (8 * i));
        write_file("x.safetensors", file, sizeof file);
        assert_int_equal(tern_safetensors_read(d, in_folder("x.safetensors"), NULL), TERN_E_FORMAT);
        tern_dir_close(d);
    }
}

static tern_code read_index(const char *index, tern_dir *d, tern_err *err)
{
    write_file("index.json", index, strlen(index));
    return tern_safetensors_read_index(d, in_folder("index.json"), err);
}

static void several_files(void **state)
{
    tern_err err = {0};
    (void)state;
    write_container("1.safetensors", "{\"a\":" T("I8", "[3]", "0", "3") "}", 3);
    write_container("2.safetensors", "{\"b\":" T("I8", "[2]", "0", "2") "}", 2);
    tern_dir *d = new_dir();
    test_ok(read_index("{\"metadata\":{\"total_size\":5},\"weight_map\":{\"a\":\"1.safetensors\","
                       "\"b\":\"2.safetensors\"}}",
                       d, &err),
            &err);
    assert_int_equal(d->n_tensor, 2);
    assert_int_equal(tern_dir_tensor_find(d, "b")->ne[0], 2);
    tern_dir_close(d);

    static const struct {
        const char *index;
        tern_code code;
        const char *says;
    } bad[] = {
        {"{\"weight_map\":{\"c\":\"1.safetensors\"}}", TERN_E_FORMAT, "'c': not in the file"},
        {"{\"weight_map\":{\"c\":\"../1.safetensors\"}}", TERN_E_FORMAT, "plain name"},
        {"{\"weight_map\":{\"c\":\"/etc/passwd\"}}", TERN_E_FORMAT, "plain name"},
        {"{\"weight_map\":{\"c\":\"..\"}}", TERN_E_FORMAT, "plain name"},
        {"{\"weight_map\":{\"c\":7}}", TERN_E_FORMAT, "plain name"},
        {"{\"weight_map\":{\"c\":\"3.safetensors\"}}", TERN_E_NOT_FOUND, "3.safetensors"},
        {"{\"weight_map\":[]}", TERN_E_FORMAT, "weight_map"},
        {"[1]", TERN_E_FORMAT, "weight_map"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        d = new_dir();
        tern_code rc = read_index(bad[i].index, d, &err);
        if (rc != bad[i].code || !strstr(err.msg, bad[i].says))
            fail_msg("%s: code %d, '%s'", bad[i].index, rc, err.msg);
        tern_dir_close(d);
    }
}

/* One name in two files of one model. */
static void twice(void **state)
{
    tern_err err = {0};
    (void)state;
    write_container("1.safetensors", "{\"a\":" T("I8", "[3]", "0", "3") "}", 3);
    write_container("2.safetensors", "{\"a\":" T("I8", "[3]", "0", "3") "}", 3);
    tern_dir *d = new_dir();
    assert_int_equal(
        read_index("{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}}", d, &err),
        TERN_E_FORMAT);
    assert_non_null(strstr(err.msg, "'a' is there twice"));
    tern_dir_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vector),        cmocka_unit_test(scalar_and_metadata),
        cmocka_unit_test(lies),          cmocka_unit_test(cut_and_lengths),
        cmocka_unit_test(several_files), cmocka_unit_test(twice),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
