/* tests/golden/formats: bytes made by other software and the floats they mean. */
#include "base/reader.h"
#include "support/support.h"
#include "tensor/tensor.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "tests/golden/formats"

/* Equal bits, or two numbers that are none. */
static bool same(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static void check_unpack(tern_dtype dt, const tern_tensor *t, const uint8_t *values)
{
    size_t n = t->ne[0];
    float *out = malloc(n * sizeof *out);
    assert_non_null(out);
    for (size_t row = 0; row < t->ne[1]; row++) {
        tern_dtype_get(dt)->unpack_row(t, row, out);
        for (size_t i = 0; i < n; i++) {
            float want = tern_lef32(values + 4 * (row * n + i));
            if (!same(out[i], want))
                fail_msg("%s row %zu element %zu: %a, expected %a", t->name, row, i, (double)out[i],
                         (double)want);
        }
    }
    free(out);
}

static void check_pack(tern_dtype dt, const tern_tensor *t, const uint8_t *source)
{
    size_t n = t->ne[0] * t->ne[1];
    float *x = malloc(n * sizeof *x);
    uint8_t *out = malloc(t->bytes);
    assert_true(x && out);
    for (size_t i = 0; i < n; i++)
        x[i] = tern_lef32(source + 4 * i);
    tern_dtype_get(dt)->pack(x, t->ne[1], t->ne[0], NULL, out);
    for (size_t i = 0; i < t->bytes; i++)
        if (out[i] != t->data[i])
            fail_msg("%s byte %zu: %02x, expected %02x", t->name, i, out[i], t->data[i]);
    free(x);
    free(out);
}

static void check_file(const char *file, tern_dtype dt)
{
    char path[512];
    size_t size = 0;
    (void)snprintf(path, sizeof path, FOLDER "/%s", file);
    uint8_t *data = test_read_file(path, &size);
    assert_non_null(data);
    tern_reader r;
    tern_reader_init(&r, data, size);
    tern_tensor t = {.name = file, .dtype = dt, .n_dim = 2, .ne = {0, 0, 1, 1}};
    t.ne[0] = tern_read_u32(&r);
    t.ne[1] = tern_read_u32(&r);
    bool has_source = tern_read_u32(&r) != 0;
    size_t bytes = tern_read_u32(&r);
    assert_true(tern_dtype_bytes(dt, t.ne, &t.bytes));
    assert_int_equal(t.bytes, bytes);
    size_t floats = t.ne[0] * t.ne[1] * 4;
    const uint8_t *source = has_source ? tern_reader_take(&r, floats) : NULL;
    t.data = tern_reader_take(&r, bytes);
    const uint8_t *values = tern_reader_take(&r, floats);
    assert_false(r.failed);
    assert_int_equal(tern_reader_left(&r), 0);
    check_unpack(dt, &t, values);
    if (source)
        check_pack(dt, &t, source);
    free(data);
}

static void test_every_file_of_the_folder(void **state)
{
    (void)state;
    DIR *dir = opendir(FOLDER);
    assert_non_null(dir);
    int n_file = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        const char *dot = strrchr(e->d_name, '.');
        char name[64] = "";
        tern_dtype dt;
        if (!dot || strcmp(dot, ".bin") != 0)
            continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)(dot - e->d_name), e->d_name);
        assert_true(tern_dtype_find(name, &dt));
        check_file(e->d_name, dt);
        n_file++;
    }
    (void)closedir(dir);
    assert_int_equal(n_file, 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_file_of_the_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
