/* Statistics of tensors, and what no writer writes. */
#include "support/support.h"
#include "verify/tensors.h"

#include <math.h>
#include <string.h>

#define COLS 256
#define ROWS 8
#define MOST (COLS * ROWS * 4 + 64)

/* Bytes of ternary values with scale 0.5, a quarter of them zero. */
static tern_tensor pack(tern_dtype dt, uint8_t *data)
{
    float src[ROWS * COLS];
    tern_tensor t = {.name = "t", .dtype = dt, .n_dim = 2, .ne = {COLS, ROWS, 1, 1}, .data = data};
    for (int i = 0; i < ROWS * COLS; i++)
        src[i] = i % 4 == 0 ? 0.0f : i % 3 ? -0.5f : 0.5f;
    assert_true(tern_dtype_bytes(dt, t.ne, &t.bytes));
    assert_true(t.bytes <= MOST);
    tern_dtype_get(dt)->pack(src, ROWS, COLS, NULL, data);
    return t;
}

/* The same with any number of threads. */
static verify_stats look(const tern_tensor *t)
{
    verify_stats s[2];
    for (int i = 0; i < 2; i++) {
        tern_pool *pool;
        tern_err err;
        assert_int_equal(tern_pool_new(1 + 2 * i, &pool, &err), TERN_OK);
        assert_true(verify_tensor(t, pool, &s[i]));
        tern_pool_free(pool);
    }
    assert_int_equal(s[0].n_zero, s[1].n_zero);
    assert_int_equal(s[0].n_wild, s[1].n_wild);
    assert_int_equal(s[0].n_code, s[1].n_code);
    assert_int_equal(s[0].n_two, s[1].n_two);
    assert_true(s[0].min == s[1].min && s[0].max == s[1].max);
    return s[0];
}

static void test_whole(void **state)
{
    (void)state;
    static const tern_dtype types[] = {TERN_DT_I2_S, TERN_DT_TQ1_0, TERN_DT_TQ2_0, TERN_DT_PTQ1_0,
                                       TERN_DT_Q2_0, TERN_DT_F32,   TERN_DT_F16,   TERN_DT_Q8_0};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        uint8_t data[MOST];
        tern_tensor t = pack(types[i], data);
        verify_stats s = look(&t);
        assert_int_equal(s.n, ROWS * COLS);
        assert_int_equal(s.n_zero, ROWS * COLS / 4);
        assert_int_equal(s.n_wild + s.n_code + s.n_two + s.n_negative, 0);
        assert_true(fabs(s.max - 0.5) < 1e-3);
        assert_true(s.ternary ? s.min == s.max : s.min == 0);
    }
}

static void test_codes(void **state)
{
    (void)state;
    uint8_t data[MOST];
    tern_tensor t = pack(TERN_DT_I2_S, data);
    for (unsigned n = 1; n <= 4; n++) { /* in one byte, at either end, whatever the order */
        data[0] = (uint8_t)(0xff << (8 - 2 * n));
        assert_int_equal(look(&t).n_code, n);
        data[COLS * ROWS / 4 - 1] = 0xc0;
        t.dtype = TERN_DT_I2_S_ARM;
        assert_int_equal(look(&t).n_code, n + 1);
        t.dtype = TERN_DT_I2_S_ROWS4;
        assert_int_equal(look(&t).n_code, n + 1);
        t = pack(TERN_DT_I2_S, data);
    }
    t = pack(TERN_DT_TQ2_0, data);
    data[0] |= 3;
    assert_int_equal(look(&t).n_code, 1);
    t = pack(TERN_DT_Q2_0, data);
    memset(data + 2, 0xff, 16);
    assert_int_equal(look(&t).n_two, 64);
    assert_int_equal(look(&t).n_code, 0);
}

/* At each place of a block exactly 243 bytes mean five trits, or 81 four. */
static void test_trits(void **state)
{
    (void)state;
    static const struct {
        tern_dtype dt;
        size_t n5, n4;
    } formats[] = {{TERN_DT_TQ1_0, 48, 4}, {TERN_DT_PTQ1_0, 24, 2}};
    for (size_t f = 0; f < 2; f++) {
        const size_t n5 = formats[f].n5, all = n5 + formats[f].n4;
        const size_t places[] = {0, n5 - 1, n5, all - 1};
        uint8_t data[MOST];
        tern_tensor t = pack(formats[f].dt, data);
        for (size_t i = 0; i < 4; i++) {
            int good = 0;
            uint8_t was = data[places[i]];
            for (int byte = 0; byte < 256; byte++) {
                data[places[i]] = (uint8_t)byte;
                good += look(&t).n_code == 0;
            }
            data[places[i]] = was;
            assert_int_equal(good, places[i] < n5 ? 243 : 81);
        }
    }
}

static void test_wild(void **state)
{
    (void)state;
    uint8_t data[MOST];
    const float nan = NAN, minus = -2.0f;
    tern_tensor t = pack(TERN_DT_F32, data);
    memcpy(data + 4 * COLS, &nan, sizeof nan);
    memset(data + t.bytes - 4, 0xff, 4);
    assert_int_equal(look(&t).n_wild, 2);
    t = pack(TERN_DT_I2_S, data);
    memcpy(data + ROWS * COLS / 4, &nan, sizeof nan);
    assert_int_equal(look(&t).n_wild, 1);
    memcpy(data + ROWS * COLS / 4, &minus, sizeof minus);
    assert_int_equal(look(&t).n_negative, 1);
    assert_true(look(&t).min == -2.0);
    t = pack(TERN_DT_Q8_0, data);
    data[0] = 0, data[1] = 0x7c; /* an infinite scale: its 32 values are infinite, or NaN */
    assert_int_equal(look(&t).n_wild, 32);
    t.dtype = TERN_DT_I32; /* no weights: only counted */
    assert_int_equal(look(&t).n, COLS * ROWS);
    assert_int_equal(look(&t).n_zero, 0);
}

static void test_unused(void **state)
{
    (void)state;
    tern_map_file map = {.size = 1000};
    tern_tensor t[2] = {{.offset = 100, .bytes = 300}, {.offset = 400, .bytes = 400}};
    tern_dir d = {.maps = &map, .n_map = 1, .tensors = t, .n_tensor = 2};
    assert_int_equal(verify_unused(&d), 200);
    map.size = 800;
    assert_int_equal(verify_unused(&d), 0);
    map.size = 1000;
    d.n_map = 2; /* of several files nobody knows which */
    assert_int_equal(verify_unused(&d), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole), cmocka_unit_test(test_codes),  cmocka_unit_test(test_trits),
        cmocka_unit_test(test_wild),  cmocka_unit_test(test_unused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
