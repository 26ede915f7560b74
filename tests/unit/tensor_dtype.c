#include "support/support.h"
#include "tensor/tensor.h"

#include <string.h>

static bool bytes_of(tern_dtype dt, size_t a, size_t b, size_t c, size_t d, size_t *out)
{
    const size_t ne[4] = {a, b, c, d};
    return tern_dtype_bytes(dt, ne, out);
}

static void assert_bytes(tern_dtype dt, size_t ne0, size_t ne1, size_t want)
{
    size_t n = 0;
    assert_true(bytes_of(dt, ne0, ne1, 1, 1, &n));
    assert_int_equal(n, want);
}

static void test_sizes_are_the_published_ones(void **state)
{
    (void)state;
    assert_bytes(TERN_DT_I2_S, 2560, 2560, 1638432);
    assert_bytes(TERN_DT_I2_S, 2560, 6912, 4423712);
    assert_bytes(TERN_DT_I2_S, 640, 2560, 409632);
    assert_bytes(TERN_DT_I2_S_ARM, 640, 2560, 409632);
    assert_bytes(TERN_DT_I2_S_ROWS4, 640, 2560, 409632);
    assert_bytes(TERN_DT_TQ1_0, 256, 3, 162);
    assert_bytes(TERN_DT_TQ2_0, 512, 3, 396);
    assert_bytes(TERN_DT_IQ1_BN, 128, 5, 5 * 28);
    assert_bytes(TERN_DT_IQ2_BN, 128, 5, 5 * 36);
    assert_bytes(TERN_DT_Q1_0_G32, 64, 2, 24);
    assert_bytes(TERN_DT_PTQ1_0, 128, 2, 56);
    assert_bytes(TERN_DT_Q6_K, 256, 2, 420);
    assert_bytes(TERN_DT_F64, 3, 5, 120);
    assert_bytes(TERN_DT_BF16, 1, 1, 2);
    size_t n;
    assert_true(bytes_of(TERN_DT_Q8_0, 32, 2, 3, 4, &n));
    assert_int_equal(n, 34 * 24);
}

static void test_shapes_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    size_t n = 77;
    for (int dt = 0; dt < TERN_DT_COUNT; dt++) {
        const tern_dtype_info *d = tern_dtype_get((tern_dtype)dt);
        size_t e = (size_t)d->blk_elems, r = (size_t)d->blk_rows;
        assert_false(bytes_of((tern_dtype)dt, 0, r, 1, 1, &n));
        assert_false(bytes_of((tern_dtype)dt, e, 0, 1, 1, &n));
        assert_false(bytes_of((tern_dtype)dt, e, r, 0, 1, &n));
        assert_false(bytes_of((tern_dtype)dt, e, r, 1, 0, &n));
        if (e > 1) {
            assert_false(bytes_of((tern_dtype)dt, e - 1, r, 1, 1, &n));
            assert_false(bytes_of((tern_dtype)dt, e + 1, r, 1, 1, &n));
        }
    }
    assert_false(bytes_of(TERN_DT_I2_S, 128, 1, 2, 1, &n));
    assert_false(bytes_of(TERN_DT_I2_S, 128, 1, 1, 2, &n));
    assert_false(bytes_of(TERN_DT_I2_S_ROWS4, 128, 6, 1, 1, &n));
    assert_false(bytes_of(TERN_DT_COUNT, 1, 1, 1, 1, &n));
    assert_false(bytes_of((tern_dtype)-1, 1, 1, 1, 1, &n));
    assert_int_equal(n, 77);
}

static void test_sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    const size_t top = SIZE_MAX, half = (size_t)1 << 32;
    size_t n = 77;
    assert_false(bytes_of(TERN_DT_F32, top, 1, 1, 1, &n));
    assert_false(bytes_of(TERN_DT_F32, half, half, 1, 1, &n));
    assert_false(bytes_of(TERN_DT_F32, 1, half, half, 1, &n));
    assert_false(bytes_of(TERN_DT_F32, 1, half, 1, half, &n));
    assert_false(bytes_of(TERN_DT_F32, top / 4 + 1, 1, 1, 1, &n));
    assert_false(bytes_of(TERN_DT_I2_S, half, half, 1, 1, &n));
    assert_false(bytes_of(TERN_DT_IQ2_BN, 64, top / 64 + 1, 1, 1, &n));
    assert_false(bytes_of(TERN_DT_F64, 1, top / 8 + 1, 1, 1, &n));
    assert_int_equal(n, 77);
    assert_true(bytes_of(TERN_DT_F32, top / 4, 1, 1, 1, &n));
    assert_int_equal(n, top / 4 * 4);
}

static void test_names_and_rows(void **state)
{
    (void)state;
    tern_dtype dt;
    for (int i = 0; i < TERN_DT_COUNT; i++) {
        const tern_dtype_info *d = tern_dtype_get((tern_dtype)i);
        assert_true(tern_dtype_find(d->name, &dt));
        assert_int_equal(dt, i);
        assert_int_equal(d->cls == TERN_CLASS_OTHER, d->unpack_row == NULL);
        assert_int_equal(d->cls == TERN_CLASS_TERNARY, d->unpack_codes != NULL);
        for (int k = 0; k < i; k++)
            assert_true(d->file_id == UINT32_MAX ||
                        d->file_id != tern_dtype_get((tern_dtype)k)->file_id);
    }
    assert_true(tern_dtype_find("q4_0", &dt));
    assert_int_equal(dt, TERN_DT_Q4_0);
    assert_true(tern_dtype_find("i2_s_Arm", &dt));
    assert_int_equal(dt, TERN_DT_I2_S_ARM);
    static const char *const unknown[] = {"", "q4", "q4_00", "I2_S_", "q4-0", "Q4_0 "};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        assert_false(tern_dtype_find(unknown[i], &dt));
    assert_null(tern_dtype_get(TERN_DT_COUNT));
    assert_null(tern_dtype_get((tern_dtype)-1));
    tern_tensor t = {.ne = {7, 2, 3, 5}};
    assert_int_equal(tern_tensor_rows(&t), 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_are_the_published_ones),
        cmocka_unit_test(test_shapes_that_do_not_fit_are_refused),
        cmocka_unit_test(test_sizes_that_overflow_are_refused),
        cmocka_unit_test(test_names_and_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
