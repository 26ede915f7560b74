/* Packers against the bytes of the field's reference quantiser, with and without importance. The bytes
 * follow from each rounding of its sums: a reference built with fused multiplication and addition
 * writes a few others, see make.py beside them. */
#include "base/reader.h"
#include "support/support.h"
#include "tensor/tensor.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "tests/golden/formats/packed"

enum { MAX_TENSORS = 8 };

typedef struct source {
    size_t cols, rows;
    float *importance, *x; /* owned */
} source;

static float *take_floats(tern_reader *r, size_t n)
{
    const uint8_t *p = tern_reader_take(r, 4 * n);
    float *x = malloc(n * sizeof *x);
    assert_true(p && x);
    for (size_t i = 0; i < n; i++)
        x[i] = tern_lef32(p + 4 * i);
    return x;
}

static size_t read_sources(source s[MAX_TENSORS])
{
    size_t size = 0;
    uint8_t *data = test_read_file(FOLDER "/source.bin", &size);
    assert_non_null(data);
    tern_reader r;
    tern_reader_init(&r, data, size);
    size_t n = tern_read_u32(&r);
    assert_in_range(n, 1, MAX_TENSORS);
    for (size_t i = 0; i < n; i++) {
        s[i].cols = tern_read_u32(&r);
        s[i].rows = tern_read_u32(&r);
        s[i].importance = take_floats(&r, s[i].cols);
        s[i].x = take_floats(&r, s[i].cols * s[i].rows);
    }
    assert_int_equal(tern_reader_left(&r), 0);
    free(data);
    return n;
}

static void free_sources(source *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(s[i].importance);
        free(s[i].x);
    }
}

/* Packs to an odd address in a heap block that ends where the bytes do; free() base. */
static uint8_t *pack(tern_dtype dt, const source *s, const float *importance, size_t *bytes,
                     uint8_t **base)
{
    assert_true(tern_dtype_bytes(dt, (const size_t[4]){s->cols, s->rows, 1, 1}, bytes));
    *base = malloc(*bytes + 1);
    assert_non_null(*base);
    memset(*base, 0xaa, *bytes + 1);
    tern_dtype_get(dt)->pack(s->x, s->rows, s->cols, importance, *base + 1);
    return *base + 1;
}

static void check_bytes(tern_dtype dt, const source *s, const float *importance, tern_reader *r)
{
    const tern_dtype_info *d = tern_dtype_get(dt);
    size_t bytes, blk = (size_t)d->blk_bytes, per_row = s->cols / (size_t)d->blk_elems;
    uint8_t *base, *got = pack(dt, s, importance, &bytes, &base);
    const uint8_t *want = tern_reader_take(r, bytes);
    assert_non_null(want);
    for (size_t i = 0; i < bytes; i++)
        if (got[i] != want[i])
            fail_msg("%s%s, %zu columns, row %zu, block %zu, byte %zu: %02x, expected %02x",
                     d->name, importance ? " with importance" : "", s->cols, i / blk / per_row,
                     i / blk % per_row, i % blk, got[i], want[i]);
    free(base);
}

/* Whether importance counts is in the size of the file. */
static void check_file(const char *file, tern_dtype dt, const source *s, size_t n)
{
    char path[512];
    size_t size = 0, all = 0;
    (void)snprintf(path, sizeof path, FOLDER "/%s", file);
    uint8_t *data = test_read_file(path, &size);
    assert_non_null(data);
    tern_reader r;
    tern_reader_init(&r, data, size);
    size_t elems = (size_t)tern_dtype_get(dt)->blk_elems;
    for (size_t i = 0; i < n; i++)
        if (s[i].cols % elems == 0)
            all += s[i].cols * s[i].rows / elems * (size_t)tern_dtype_get(dt)->blk_bytes;
    bool weighted = size > all;
    for (size_t i = 0; i < n; i++)
        if (s[i].cols % elems == 0) {
            size_t start = size - tern_reader_left(&r);
            check_bytes(dt, &s[i], NULL, &r);
            if (!weighted) /* the same bytes again */
                tern_reader_init(&r, data + start, size - start);
            check_bytes(dt, &s[i], s[i].importance, &r);
        }
    assert_int_equal(tern_reader_left(&r), 0);
    free(data);
}

static void test_bytes_of_the_reference(void **state)
{
    (void)state;
    source s[MAX_TENSORS];
    size_t n = read_sources(s);
    DIR *dir = opendir(FOLDER);
    assert_non_null(dir);
    int n_file = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        const char *dot = strrchr(e->d_name, '.');
        char name[64] = "";
        tern_dtype dt;
        if (!dot || strcmp(dot, ".bin") != 0 || strcmp(e->d_name, "source.bin") == 0)
            continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)(dot - e->d_name), e->d_name);
        assert_true(tern_dtype_find(name, &dt));
        check_file(e->d_name, dt, s, n);
        n_file++;
    }
    (void)closedir(dir);
    assert_int_equal(n_file, 13);
    free_sources(s, n);
}

/* Threads pack ranges of rows: each row has the bytes that it has in the whole. */
static void test_rows_are_independent(void **state)
{
    (void)state;
    source s[MAX_TENSORS];
    size_t n = read_sources(s);
    for (int i = 0; i < TERN_DT_COUNT; i++) {
        tern_dtype dt = (tern_dtype)i;
        const tern_dtype_info *d = tern_dtype_get(dt);
        if (!d->pack || d->unit != TERN_UNIT_BLOCK)
            continue;
        for (size_t k = 0; k < 2 * n; k++) {
            const source *of = &s[k / 2];
            const float *importance = k % 2 ? of->importance : NULL;
            size_t bytes, row_bytes;
            uint8_t *base, *row_base;
            if (of->cols % (size_t)d->blk_elems != 0)
                continue;
            uint8_t *all = pack(dt, of, importance, &bytes, &base);
            for (size_t row = 0; row < of->rows; row++) {
                source one = {of->cols, 1, NULL, of->x + row * of->cols};
                uint8_t *got = pack(dt, &one, importance, &row_bytes, &row_base);
                assert_memory_equal(got, all + row * row_bytes, row_bytes);
                free(row_base);
            }
            free(base);
        }
    }
    free_sources(s, n);
}

static float uniform(uint32_t *s)
{
    return (float)test_rand(s) / 32768.0f;
}

static float normal(uint32_t *s)
{
    float sum = -6.0f;
    for (int i = 0; i < 12; i++)
        sum += uniform(s);
    return sum;
}

/* Root of the mean of w (x - unpacked)^2 over one row; w NULL: 1. */
static double miss(tern_dtype dt, const source *row, const float *importance, const float *w)
{
    float *back = malloc(row->cols * sizeof *back);
    uint8_t *base;
    assert_non_null(back);
    tern_tensor t = {.name = "t", .dtype = dt, .n_dim = 2, .ne = {row->cols, 1, 1, 1}};
    t.data = pack(dt, row, importance, &t.bytes, &base);
    tern_dtype_get(dt)->unpack_row(&t, 0, back);
    double sum = 0.0, n = 0.0;
    for (size_t i = 0; i < row->cols; i++) {
        double d = (double)row->x[i] - (double)back[i], weight = w ? (double)w[i] : 1.0;
        sum += weight * d * d;
        n += weight;
    }
    free(base);
    free(back);
    return sqrt(sum / n);
}

/* Codes a step apart miss by up to half a step, and if all misses are equally likely by step / sqrt 12
 * in the mean. The extremes of a group of normal values lie 4.1 sigma apart in 32 and 3.5 in 16 (Q2_K),
 * and the largest magnitude is 2.2 sigma in 16 and 2.5 in 32. A tenth is added for scales rounded to
 * six or four bits. The table's steps differ; it beats Q4_0. Far smaller values would lose more: the
 * scales of blocks of 256 would be f16 subnormals. */
static const struct {
    tern_dtype dt;
    double step; /* in sigma */
} steps[] = {
    {TERN_DT_Q2_K, 3.5 / 3},   {TERN_DT_Q3_K, 2.2 / 4},  {TERN_DT_Q4_K, 4.1 / 15},
    {TERN_DT_Q5_K, 4.1 / 31},  {TERN_DT_Q6_K, 2.2 / 32}, {TERN_DT_Q4_0, 2.5 / 8},
    {TERN_DT_IQ4_NL, 2.5 / 8}, {TERN_DT_Q4_1, 4.1 / 15}, {TERN_DT_Q5_0, 2.5 / 16},
    {TERN_DT_Q5_1, 4.1 / 31},
};

static void test_round_trips(void **state)
{
    (void)state;
    enum { COLS = 4096 };
    static float x[COLS], w[COLS];
    uint32_t seed = 3;
    source row = {COLS, 1, w, x};
    for (int sigma = -1; sigma <= 1; sigma++) {
        for (size_t i = 0; i < COLS; i++) {
            x[i] = powf(10.0f, (float)sigma) * normal(&seed);
            w[i] = uniform(&seed) * uniform(&seed);
        }
        for (size_t k = 0; k < sizeof steps / sizeof steps[0]; k++) {
            tern_dtype dt = steps[k].dt;
            double bound = 1.1 * steps[k].step / sqrt(12.0) * pow(10.0, sigma);
            double plain = miss(dt, &row, NULL, NULL);
            if (plain > bound)
                fail_msg("%s misses by %g, bound %g", tern_dtype_get(dt)->name, plain, bound);
            /* What it is for: less error where it counts. */
            double unaware = miss(dt, &row, NULL, w), aware = miss(dt, &row, w, w);
            if (aware >= unaware)
                fail_msg("%s at 1e%d misses by %g with importance, by %g without",
                         tern_dtype_get(dt)->name, sigma, aware, unaware);
        }
    }
}

/* No input may reach an undefined conversion or a byte outside; sanitizers watch. */
static void test_packing_anything_is_defined(void **state)
{
    (void)state;
    enum { COLS = 768, ODD = 14 };
    static const float odd[ODD] = {NAN,    INFINITY, -INFINITY, 3e38f, -3e38f, 1e-45f, -1e-45f,
                                   1e-39f, -0.0f,    1e-6f,     0.0f,  1.0f,   1e-15f, 1e20f};
    static float x[COLS], w[COLS];
    uint32_t seed = 5;
    source row = {COLS, 1, w, x};
    for (int i = 0; i < TERN_DT_COUNT; i++) {
        tern_dtype dt = (tern_dtype)i;
        if (!tern_dtype_get(dt)->pack)
            continue;
        for (unsigned round = 0; round < 60; round++) {
            unsigned kinds = round < ODD ? 1 : 2 + test_rand(&seed) % 6;
            unsigned first = round < ODD ? round : test_rand(&seed) % ODD;
            unsigned w_kinds = 1 + test_rand(&seed) % 3, w_first = test_rand(&seed) % ODD;
            for (size_t k = 0; k < COLS; k++) {
                x[k] = odd[(first + test_rand(&seed) % kinds) % ODD];
                w[k] = odd[(w_first + test_rand(&seed) % w_kinds) % ODD];
            }
            size_t bytes;
            uint8_t *base, *again;
            uint8_t *got = pack(dt, &row, round % 2 ? w : NULL, &bytes, &base);
            assert_memory_equal(got, pack(dt, &row, round % 2 ? w : NULL, &bytes, &again), bytes);
            free(base);
            free(again);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_of_the_reference),
        cmocka_unit_test(test_rows_are_independent),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_packing_anything_is_defined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
