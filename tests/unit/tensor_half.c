#include "support/support.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

static uint32_t bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* A half by its definition: sign, mantissa times a power of two. */
static double half_value(uint16_t h)
{
    int e = h >> 10 & 31, m = h & 0x3ff;
    double v = e == 0 ? ldexp(m, -24) : ldexp(m + 1024, e - 25);
    return h & 0x8000 ? -v : v;
}

static void test_every_half_widens_exactly(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float f = tern_f16_to_f32((uint16_t)h);
        if ((h & 0x7c00) == 0x7c00) {
            assert_int_equal(bits(f), (h & 0x8000) << 16 | 0x7f800000 | (h & 0x3ff) << 13);
            continue;
        }
        assert_true((double)f == half_value((uint16_t)h));
        assert_int_equal(bits(f) >> 31, h >> 15);
    }
}

static void test_every_half_comes_back(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        bool nan = (h & 0x7fff) > 0x7c00;
        uint16_t back = tern_f32_to_f16(tern_f16_to_f32((uint16_t)h));
        assert_int_equal(back, nan ? (h | 0x200) : h);
    }
}

/* Half way between two halves goes to the even one; one float to either side goes to the nearer. */
static void test_narrowing_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7c00; h++) {
        double next = h == 0x7bff ? 65536.0 : half_value((uint16_t)(h + 1));
        float mid = (float)((half_value((uint16_t)h) + next) / 2); /* 12 bits: exact */
        uint32_t even = h & 1 ? h + 1 : h;
        assert_int_equal(tern_f32_to_f16(mid), even);
        assert_int_equal(tern_f32_to_f16(-mid), even | 0x8000);
        assert_int_equal(tern_f32_to_f16(from_bits(bits(mid) + 1)), h + 1);
        assert_int_equal(tern_f32_to_f16(from_bits(bits(mid) - 1)), h);
    }
    assert_int_equal(tern_f32_to_f16(1e9f), 0x7c00);
    assert_int_equal(tern_f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(tern_f32_to_f16(from_bits(0x7f800001)), 0x7e00);
    assert_int_equal(tern_f32_to_f16(from_bits(1)), 0);
    assert_int_equal(tern_f32_to_f16(from_bits(0x80000001)), 0x8000);
}

static void test_every_bhalf_widens_and_comes_back(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        bool nan = (h & 0x7fff) > 0x7f80;
        float f = tern_bf16_to_f32((uint16_t)h);
        assert_int_equal(bits(f), h << 16);
        assert_int_equal(tern_f32_to_bf16(f), nan ? (h | 0x40) : h);
        if ((h & 0x7fff) >= 0x7f80)
            continue;
        uint32_t even = h & 1 ? h + 1 : h;
        assert_int_equal(tern_f32_to_bf16(from_bits(h << 16 | 0x8000)), even);
        assert_int_equal(tern_f32_to_bf16(from_bits(h << 16 | 0x8001)), h + 1);
        assert_int_equal(tern_f32_to_bf16(from_bits(h << 16 | 0x7fff)), h);
    }
    assert_int_equal(tern_f32_to_bf16(from_bits(0x7f800001)), 0x7fc0);
    assert_int_equal(tern_f32_to_bf16(from_bits(0xffffffff)), 0xffff);
}

static void test_published_values(void **state)
{
    (void)state;
    static const struct {
        float f;
        uint16_t f16, bf16;
    } rows[] = {{1.0f, 0x3c00, 0x3f80},
                {-0.17f, 0xb171, 0xbe2e},
                {0.756f, 0x3a0c, 0x3f42},
                {3.14159265f, 0x4248, 0x4049},
                {1e-34f, 0x0000, 0x0705}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(tern_f32_to_f16(rows[i].f), rows[i].f16);
        assert_int_equal(tern_f32_to_bf16(rows[i].f), rows[i].bf16);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_half_widens_exactly),
        cmocka_unit_test(test_every_half_comes_back),
        cmocka_unit_test(test_narrowing_rounds_to_nearest_even),
        cmocka_unit_test(test_every_bhalf_widens_and_comes_back),
        cmocka_unit_test(test_published_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
