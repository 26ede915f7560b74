/* Ternary matrices as Hugging Face folders hold them: the published vectors (9.9 and 9.15 of the format
 * notes), roundings at their edges, and what cannot be ternarised. */
#include "support/support.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

static void packed(void **state)
{
    static const uint8_t data[16] = {0xa2, 0x11, 0x20, 0xa1, 0x59, 0x96, 0x08, 0x40,
                                     0x20, 0x60, 0x81, 0x4a, 0x54, 0x68, 0x4a, 0x2a};
    const tern_dtype_info *d = tern_dtype_get(TERN_DT_HF_PACKED);
    tern_tensor t = {.dtype = TERN_DT_HF_PACKED, .n_dim = 2, .ne = {8, 8, 1, 1}, .scale = 0.5f};
    uint32_t s = 1;
    (void)state;
    assert_true(tern_dtype_bytes(t.dtype, t.ne, &t.bytes));
    assert_int_equal(t.bytes, 16);
    t.data = data;
    for (size_t row = 0; row < 8; row++) {
        uint8_t codes[8];
        float values[8], scale = 0.0f;
        d->unpack_codes(&t, row, codes, &scale);
        d->unpack_row(&t, row, values);
        assert_true(scale == 0.5f);
        for (size_t i = 0; i < 8; i++) {
            int trit = (int)(test_rand(&s) % 3) - 1;
            assert_int_equal((int)codes[i] - 1, trit);
            assert_true(values[i] == 0.5f * (float)trit);
        }
    }
    assert_false(tern_dtype_bytes(TERN_DT_HF_PACKED, (const size_t[]){8, 6, 1, 1}, &t.bytes));
}

static void code_three_means_nothing(void **state)
{
    static const uint8_t data[1] = {0xff};
    tern_tensor t = {
        .dtype = TERN_DT_HF_PACKED, .ne = {1, 4, 1, 1}, .data = data, .bytes = 1, .scale = 2.0f};
    (void)state;
    for (size_t row = 0; row < 4; row++) {
        uint8_t code;
        float scale, value;
        tern_dtype_get(t.dtype)->unpack_codes(&t, row, &code, &scale);
        tern_dtype_get(t.dtype)->unpack_row(&t, row, &value);
        assert_int_equal(code, 1);
        assert_true(value == 0.0f);
    }
}

static tern_tensor view(tern_dtype dt, size_t cols, size_t rows, const void *data)
{
    tern_tensor t = {.dtype = dt, .n_dim = 2, .ne = {cols, rows, 1, 1}, .data = data};
    assert_true(tern_dtype_bytes(dt, t.ne, &t.bytes));
    return t;
}

static void masters(void **state)
{
    static const float w[8] = {0.9f, -0.35f, 0.2f, -1.3f, 0.05f, 0.6f, -0.61f, 0.0f};
    static const int trits[8] = {1, -1, 0, -1, 0, 1, -1, 0};
    static const tern_dtype from[] = {TERN_DT_F32, TERN_DT_F16, TERN_DT_BF16};
    static const tern_dtype to[] = {TERN_DT_F32_MASTER, TERN_DT_F16_MASTER, TERN_DT_BF16_MASTER};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        uint8_t data[8 * sizeof(float)], codes[4];
        float values[4], scale;
        tern_dtype_get(from[i])->pack(w, 2, 4, NULL, data);
        tern_tensor t = view(from[i], 4, 2, data);
        assert_true(tern_master_ternarise(&t));
        assert_int_equal(t.dtype, to[i]);
        assert_true(fabsf(t.scale - 1.9950124f) < (i == 0 ? 1e-6f : 1e-2f));
        for (size_t row = 0; row < 2; row++) {
            tern_dtype_get(t.dtype)->unpack_codes(&t, row, codes, &scale);
            tern_dtype_get(t.dtype)->unpack_row(&t, row, values);
            assert_true(scale == 1.0f / t.scale);
            for (size_t k = 0; k < 4; k++) {
                assert_int_equal((int)codes[k] - 1, trits[row * 4 + k]);
                assert_true(values[k] == scale * (float)trits[row * 4 + k]);
            }
        }
    }
}

/* Rows longer than the pieces they are read in; halves round to zero. */
static void long_rows_and_halves(void **state)
{
    float w[2 * 700], values[700], scale;
    uint8_t codes[700];
    (void)state;
    for (size_t i = 0; i < 1400; i++) /* the mean magnitude is 1 */
        w[i] = i % 4 == 0 ? 0.5f : i % 4 == 1 ? -1.5f : i % 4 == 2 ? -0.5f : 1.5f;
    tern_tensor t = view(TERN_DT_F32, 700, 2, (const uint8_t *)w);
    assert_true(tern_master_ternarise(&t));
    assert_true(t.scale == 1.0f);
    for (size_t row = 0; row < 2; row++) {
        tern_dtype_get(t.dtype)->unpack_codes(&t, row, codes, &scale);
        tern_dtype_get(t.dtype)->unpack_row(&t, row, values);
        for (size_t i = 0; i < 700; i++) {
            int expected = i % 4 == 1 ? -1 : i % 4 == 3 ? 1 : 0;
            assert_int_equal((int)codes[i] - 1, expected);
            assert_true(values[i] == (float)expected);
        }
    }
}

static void edges(void **state)
{
    float zeros[4] = {0}, bad[4] = {1.0f, NAN, 0.0f, 0.0f};
    int32_t integers[4] = {0};
    (void)state;
    tern_tensor t = view(TERN_DT_F32, 4, 1, (const uint8_t *)zeros);
    assert_true(tern_master_ternarise(&t));
    assert_true(t.scale == 1.0f / 1e-5f);
    t = view(TERN_DT_F32, 4, 1, (const uint8_t *)bad);
    assert_false(tern_master_ternarise(&t));
    assert_int_equal(t.dtype, TERN_DT_F32);
    t = view(TERN_DT_I32, 4, 1, (const uint8_t *)integers);
    assert_false(tern_master_ternarise(&t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed),  cmocka_unit_test(code_three_means_nothing),
        cmocka_unit_test(masters), cmocka_unit_test(long_rows_and_halves),
        cmocka_unit_test(edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
