/* Every format against bytes published with their meaning, made by other software. */
#include "support/support.h"
#include "tensor/tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES 4096

static size_t from_hex(const char *hex, uint8_t *out)
{
    size_t n = 0;
    for (; hex[0] && hex[1]; hex += 2) {
        int v = 0;
        for (int i = 0; i < 2; i++)
            v = v * 16 + (hex[i] <= '9' ? hex[i] - '0' : hex[i] - 'a' + 10);
        out[n++] = (uint8_t)v;
    }
    return n;
}

/* The generators of the published vectors, seed 1 unless given. */
static void gen_trits(int8_t *t, size_t n)
{
    uint32_t s = 1;
    for (size_t i = 0; i < n; i++)
        t[i] = (int8_t)((int)(test_rand(&s) % 3) - 1);
}

static void gen_floats(float *x, size_t n)
{
    uint32_t s = 1;
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((int)(test_rand(&s) % 2001) - 1000) / 1000.0f;
}

static void gen_bytes(uint8_t *b, size_t n)
{
    uint32_t s = 1;
    for (size_t i = 0; i < n; i++)
        b[i] = test_rand(&s) >> 3 & 255;
}

static tern_tensor view(tern_dtype dt, size_t ne0, size_t ne1, const uint8_t *data)
{
    tern_tensor t = {.name = "t", .dtype = dt, .n_dim = 2, .ne = {ne0, ne1, 1, 1}, .data = data};
    assert_true(tern_dtype_bytes(dt, t.ne, &t.bytes));
    return t;
}

/* Both readings of a ternary tensor: each row's codes and scales, and its values. A copy at an odd
 * address that ends where its heap block ends catches reads outside and wrong alignment. */
static void assert_ternary(tern_dtype dt, size_t ne0, size_t ne1, const uint8_t *data,
                           const int8_t *trits, float scale)
{
    const tern_dtype_info *d = tern_dtype_get(dt);
    tern_tensor t = view(dt, ne0, ne1, data);
    uint8_t *copy = malloc(t.bytes + 1);
    uint8_t *codes = malloc(ne0);
    float *values = malloc(ne0 * sizeof *values);
    size_t n_scale = d->code_group > 0 ? ne0 / (size_t)d->code_group : 1;
    float *scales = malloc(n_scale * sizeof *scales);
    assert_true(copy && codes && values && scales);
    memcpy(copy + 1, data, t.bytes);
    t.data = copy + 1;
    for (size_t row = 0; row < ne1; row++) {
        d->unpack_codes(&t, row, codes, scales);
        d->unpack_row(&t, row, values);
        for (size_t i = 0; i < n_scale; i++)
            assert_true(scales[i] == scale);
        for (size_t i = 0; i < ne0; i++) {
            assert_int_equal((int)codes[i] - 1, trits[row * ne0 + i]);
            assert_true(values[i] == scale * (float)trits[row * ne0 + i]);
        }
    }
    free(copy);
    free(codes);
    free(values);
    free(scales);
}

static void assert_packs(tern_dtype dt, size_t rows, size_t cols, const float *x,
                         const uint8_t *want)
{
    const size_t ne[4] = {cols, rows, 1, 1};
    size_t bytes;
    assert_true(tern_dtype_bytes(dt, ne, &bytes));
    uint8_t *got = malloc(bytes);
    assert_non_null(got);
    memset(got, 0xaa, bytes);
    tern_dtype_get(dt)->pack(x, rows, cols, NULL, got);
    assert_memory_equal(got, want, bytes);
    free(got);
}

static const struct {
    tern_dtype dt;
    size_t ne0, ne1;
    const char *hex;
} ternary_vectors[] = {
    {TERN_DT_I2_S, 128, 2,
     "a65022695894040428224682162585a02a01042195658514021a2a9852909586"
     "264444905a912a95a2510482556090106a5620a468a904882560966a66018655"
     "0000003f00000000000000000000000000000000000000000000000000000000"},
    {TERN_DT_I2_S_ARM, 128, 2,
     "8a44084a65962001080942a11529a1a86a01188591515150822a6a284a445512"
     "1a5142a656a608a48a5621925648a4156a524010a82598641904522a56011211"
     "0000003f00000000000000000000000000000000000000000000000000000000"},
    {TERN_DT_I2_S_ROWS4, 64, 4,
     "9145056866981219280451881514988026051009965a911a012429a645809995"
     "aa40a09446450a058aa5202265981484aa160898589910402968a64a6a415225"
     "0000003f00000000000000000000000000000000000000000000000000000000"},
    {TERN_DT_TQ1_0, 256, 1,
     "f47341a786d30a0c4e4166b42e47bae454050a3fd59db829073755dc7ac8d6bc"
     "f62a4392aa96c367e9902a429cab5975bbcb1a170038"},
    {TERN_DT_TQ2_0, 256, 1,
     "9a05886925161010288891829458520aa84010485659521480a4a82685065692"
     "98111106a546a8568a45108255090604a995081a296a1022580996a999409255"
     "0038"},
    {TERN_DT_Q2_0, 64, 1, "0038460990a0002680a9a6050a8982496415"},
    {TERN_DT_PQ2_0, 128, 1, "0038460990a0002680a9a6050a8982496415815612151255a8506200a81646152a92"},
    {TERN_DT_PTQ1_0, 128, 1, "c65f13719dd83a0516175de72b51e8f7c041a84a5d5a7672fab10038"},
    {TERN_DT_IQ2_BN, 128, 1,
     "0000003f"
     "a21120a1599608402060814a54684a2aa94024524645450582a8a928a1115584"},
    {TERN_DT_IQ1_BN, 128, 1, "00387803b3ab08f4a7e5439161811ce5477d61b95e32ab8e78e86b3d"},
};

static void test_ternary_vectors(void **state)
{
    (void)state;
    int8_t trits[256];
    uint8_t bytes[MAX_BYTES];
    float x[256];
    gen_trits(trits, 256);
    assert_int_equal(test_crc32(trits, 256), 0xaa17e00a);
    for (size_t i = 0; i < 256; i++)
        x[i] = 0.5f * (float)trits[i];
    for (size_t i = 0; i < sizeof ternary_vectors / sizeof ternary_vectors[0]; i++) {
        tern_dtype dt = ternary_vectors[i].dt;
        size_t ne0 = ternary_vectors[i].ne0, ne1 = ternary_vectors[i].ne1;
        size_t n = from_hex(ternary_vectors[i].hex, bytes);
        assert_int_equal(n, view(dt, ne0, ne1, bytes).bytes);
        assert_ternary(dt, ne0, ne1, bytes, trits, 0.5f);
        if (tern_dtype_get(dt)->pack)
            assert_packs(dt, ne1, ne0, x, bytes);
    }
}

static void test_q1_0_vector(void **state)
{
    (void)state;
    uint8_t bytes[18];
    int8_t signs[128];
    float x[128];
    uint32_t s = 1;
    assert_int_equal(from_hex("0038bcccc78d6cdc247e1a60e5daaa4a85d8", bytes), sizeof bytes);
    for (size_t i = 0; i < 128; i++) {
        signs[i] = test_rand(&s) & 1 ? 1 : -1;
        x[i] = 0.5f * (float)signs[i];
    }
    assert_ternary(TERN_DT_Q1_0, 128, 1, bytes, signs, 0.5f);
    assert_packs(TERN_DT_Q1_0, 1, 128, x, bytes);
    /* The 32-element kind has the same bits: four blocks, each with its scale. */
    uint8_t small[24];
    for (size_t i = 0; i < 4; i++) {
        memcpy(small + 6 * i, bytes, 2);
        memcpy(small + 6 * i + 2, bytes + 2 + 4 * i, 4);
    }
    assert_ternary(TERN_DT_Q1_0_G32, 64, 2, small, signs, 0.5f);
}

/* Blocks of generated bytes with scale 1/64 at d and minimum 1/32 at m (-1: none). */
static const struct {
    tern_dtype dt;
    int d_at, m_at;
    uint32_t block_crc, out_crc;
    float first[4], last[2];
} dense_vectors[] = {
    {TERN_DT_Q4_0,
     0,
     -1,
     0x015bae67,
     0x1aaee7e2,
     {-.125f, .078125f, .015625f, .109375f},
     {-.0625f, -.046875f}},
    {TERN_DT_Q4_1,
     0,
     2,
     0x3c7d474b,
     0xd65e9d5a,
     {.171875f, .265625f, .21875f, .265625f},
     {.09375f, .140625f}},
    {TERN_DT_Q5_0,
     0,
     -1,
     0x59a1d4e2,
     0xa3a756a6,
     {-.0625f, -.015625f, -.09375f, -.03125f},
     {-.21875f, .09375f}},
    {TERN_DT_Q5_1,
     0,
     2,
     0x377cf05a,
     0x6f43def4,
     {.4375f, .25f, .140625f, .453125f},
     {.03125f, .28125f}},
    {TERN_DT_Q8_0,
     0,
     -1,
     0xfc97d23d,
     0x5987394b,
     {-.25f, -1.796875f, .640625f, -1.015625f},
     {-.546875f, -.84375f}},
    {TERN_DT_IQ4_NL,
     0,
     -1,
     0x015bae67,
     0x42fcc578,
     {-1.984375f, 1.078125f, .203125f, 1.765625f},
     {-.765625f, -.546875f}},
    {TERN_DT_Q2_K,
     80,
     82,
     0x7b0870b4,
     0xb2f36b5e,
     {-.09375f, .28125f, .15625f, .28125f},
     {-.28125f, -.28125f}},
    {TERN_DT_Q3_K,
     108,
     -1,
     0x4d188622,
     0x778cfca2,
     {1.265625f, -.84375f, .84375f, -1.265625f},
     {.203125f, .203125f}},
    {TERN_DT_Q4_K,
     0,
     2,
     0x3cccd4d2,
     0x247b3904,
     {-1.3125f, 3.171875f, 2.53125f, 5.734375f},
     {4.71875f, 2.71875f}},
    {TERN_DT_Q5_K,
     0,
     2,
     0xc279cf4c,
     0xa617f156,
     {5.734375f, 8.9375f, 8.296875f, 10.859375f},
     {12.21875f, 12.71875f}},
    {TERN_DT_Q6_K,
     208,
     -1,
     0x165823df,
     0x653e9801,
     {10.5f, 40.6875f, 21.f, 17.0625f},
     {5.90625f, -6.5625f}},
};

static void test_dense_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof dense_vectors / sizeof dense_vectors[0]; i++) {
        tern_dtype dt = dense_vectors[i].dt;
        const tern_dtype_info *d = tern_dtype_get(dt);
        size_t n = (size_t)d->blk_elems;
        uint8_t block[256];
        float out[256];
        gen_bytes(block, (size_t)d->blk_bytes);
        memcpy(block + dense_vectors[i].d_at, "\x00\x24", 2);
        if (dense_vectors[i].m_at >= 0)
            memcpy(block + dense_vectors[i].m_at, "\x00\x28", 2);
        assert_int_equal(test_crc32(block, (size_t)d->blk_bytes), dense_vectors[i].block_crc);
        tern_tensor t = view(dt, n, 1, block);
        d->unpack_row(&t, 0, out);
        for (size_t k = 0; k < 4; k++)
            assert_true(out[k] == dense_vectors[i].first[k]);
        for (size_t k = 0; k < 2; k++)
            assert_true(out[n - 2 + k] == dense_vectors[i].last[k]);
        for (size_t k = 0; k < n; k++)
            out[k] = out[k] == 0.0f ? 0.0f : out[k]; /* -0 counts as +0 */
        assert_int_equal(test_crc32(out, n * sizeof *out), dense_vectors[i].out_crc);
    }
}

static void test_encoder_vectors(void **state)
{
    (void)state;
    static const struct {
        tern_dtype dt;
        const char *hex;
    } rows[] = {
        {TERN_DT_Q4_0, "b02f979e91dc888d482bb1008696f9e0414c"},
        {TERN_DT_Q4_1, "d32fb0bb869e91cc788d482bb1008696f9e0414c"},
        {TERN_DT_Q5_0, "b02bfa902f3d1d3d2198f10a704763010c2cf1c08389"},
        {TERN_DT_Q5_1, "932bb0bbfa902f3d2d3d21a9f10b805763011c3cf2c08389"},
        {TERN_DT_Q8_0, "c01fea648a43055300379787dfe00b8397470a171149fafdbca4308103127360bfbd"},
    };
    float x[32];
    uint8_t want[64];
    gen_floats(x, 32);
    assert_true(x[0] == -0.17f && x[7] == 0.416f);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        from_hex(rows[i].hex, want);
        assert_packs(rows[i].dt, 1, 32, x, want);
    }
}

/* A stored code outside 0..2, and scales that are no number. */
static void test_codes_no_quantiser_writes(void **state)
{
    (void)state;
    uint8_t bytes[96], codes[256];
    float values[256], scale[4];
    memset(bytes, 0xff, sizeof bytes);
    static const tern_dtype orders[] = {TERN_DT_I2_S, TERN_DT_I2_S_ARM, TERN_DT_I2_S_ROWS4};
    for (size_t k = 0; k < 3; k++) {
        tern_tensor t = view(orders[k], 64 * (k == 2 ? 1 : 4), k == 2 ? 4 : 1, bytes);
        memcpy(bytes + 64, "\x00\x00\x80\x7f", 4); /* infinity */
        tern_dtype_get(orders[k])->unpack_codes(&t, 0, codes, scale);
        assert_true(isinf(scale[0]));
        memcpy(bytes + 64, "\x00\x00\x00\x3f", 4);
        tern_dtype_get(orders[k])->unpack_row(&t, 0, values);
        for (size_t i = 0; i < t.ne[0]; i++) {
            assert_int_equal(codes[i], 1);
            assert_true(values[i] == 0.0f);
        }
    }
    /* Neighbours of a 3 keep their codes: 3 0 1 2 and 2 3 1 0 from the top. */
    memset(bytes, 0xc6, 16);
    memset(bytes + 16, 0xb4, 16);
    tern_tensor t = view(TERN_DT_I2_S_ARM, 128, 1, bytes);
    tern_dtype_get(TERN_DT_I2_S_ARM)->unpack_codes(&t, 0, codes, scale);
    static const uint8_t want[8] = {1, 0, 1, 2, 2, 1, 1, 0};
    for (size_t i = 0; i < 128; i++)
        assert_int_equal(codes[i], want[i / 16]);

    static const tern_dtype twos[] = {TERN_DT_TQ2_0, TERN_DT_Q2_0, TERN_DT_PQ2_0};
    memset(bytes, 0xff, sizeof bytes);
    for (size_t k = 0; k < 3; k++) {
        const tern_dtype_info *d = tern_dtype_get(twos[k]);
        t = view(twos[k], (size_t)d->blk_elems, 1, bytes);
        size_t d_at = twos[k] == TERN_DT_TQ2_0 ? 64 : 0;
        memcpy(bytes + d_at, "\x00\x38", 2);
        d->unpack_codes(&t, 0, codes, scale);
        d->unpack_row(&t, 0, values);
        for (size_t i = 0; i < t.ne[0]; i++)
            assert_true(codes[i] == 3 && values[i] == 1.0f);
        memcpy(bytes + d_at, "\x00\x7e", 2);
        d->unpack_row(&t, 0, values);
        assert_true(isnan(values[0]));
        memset(bytes, 0xff, sizeof bytes);
    }
}

static void every_byte_is_three_valued(tern_dtype dt)
{
    const tern_dtype_info *d = tern_dtype_get(dt);
    for (int v = 0; v < 256; v++) {
        uint8_t bytes[64], codes[256];
        float scale[1];
        memset(bytes, v, sizeof bytes);
        tern_tensor t = view(dt, (size_t)d->blk_elems, (size_t)d->blk_rows, bytes);
        t.scale = 1.0f;
        for (size_t row = 0; row < t.ne[1]; row++) {
            d->unpack_codes(&t, row, codes, scale);
            for (size_t i = 0; i < t.ne[0]; i++)
                assert_true(codes[i] <= 2);
        }
    }
}

/* Trits, and what has one scale for the whole tensor. */
static void test_every_byte_is_three_valued(void **state)
{
    (void)state;
    every_byte_is_three_valued(TERN_DT_TQ1_0);
    every_byte_is_three_valued(TERN_DT_PTQ1_0);
    every_byte_is_three_valued(TERN_DT_IQ1_BN);
    for (tern_dtype dt = 0; dt < TERN_DT_COUNT; dt++) {
        const tern_dtype_info *d = tern_dtype_get(dt);
        if (d->cls == TERN_CLASS_TERNARY && d->code_group < 0)
            every_byte_is_three_valued(dt);
    }
}

/* Two scales: rows and blocks are told apart, and the stored scale is the block's own. */
static void test_ternary_round_trips(void **state)
{
    (void)state;
    enum { COLS = 512, ROWS = 3 };
    static int8_t trits[COLS * ROWS];
    static float x[COLS * ROWS], back[COLS];
    static uint8_t bytes[MAX_BYTES], codes[COLS];
    float scales[16];
    gen_trits(trits, COLS * ROWS);
    for (int dt = 0; dt < TERN_DT_COUNT; dt++) {
        const tern_dtype_info *d = tern_dtype_get((tern_dtype)dt);
        if (d->cls != TERN_CLASS_TERNARY || !d->pack || dt == TERN_DT_Q1_0)
            continue;
        size_t group = d->code_group > 0 ? (size_t)d->code_group : (size_t)COLS * ROWS;
        for (size_t i = 0; i < COLS * ROWS; i++)
            x[i] = (float)trits[i] * (float)(1 + i / group) * 0.25f;
        tern_tensor t = view((tern_dtype)dt, COLS, ROWS, bytes);
        assert_true(t.bytes <= sizeof bytes);
        d->pack(x, ROWS, COLS, NULL, bytes);
        for (size_t row = 0; row < ROWS; row++) {
            d->unpack_row(&t, row, back);
            d->unpack_codes(&t, row, codes, scales);
            assert_memory_equal(back, x + row * COLS, sizeof back);
            for (size_t i = 0; i < COLS; i++)
                assert_int_equal(codes[i] - 1, trits[row * COLS + i]);
            for (size_t i = 0; i < COLS; i += group)
                assert_true(scales[i / group] == (float)(1 + (row * COLS + i) / group) * 0.25f);
        }
    }
}

/* No input may reach an undefined conversion (sanitizers watch) or a code out of range. */
static void test_packing_anything_is_defined(void **state)
{
    (void)state;
    static const float odd[] = {NAN,     INFINITY, -INFINITY, 3e38f, -3e38f, 1e-45f,
                                -1e-45f, 1e-39f,   -0.0f,     1e-6f, 0.0f,   9.9e-7f};
    static float x[512], back[512];
    static uint8_t bytes[MAX_BYTES], codes[512];
    float scales[16];
    uint32_t s = 5;
    for (int dt = 0; dt < TERN_DT_COUNT; dt++) {
        const tern_dtype_info *d = tern_dtype_get((tern_dtype)dt);
        if (!d->pack)
            continue;
        for (int round = 0; round < 40; round++) {
            unsigned kinds = round < 12 ? 1 : 2 + test_rand(&s) % 6, first = test_rand(&s) % 12;
            for (size_t i = 0; i < 512; i++)
                x[i] = odd[(round < 12 ? (unsigned)round : first + test_rand(&s) % kinds) % 12];
            tern_tensor t = view((tern_dtype)dt, 512, 1, bytes);
            d->pack(x, 1, 512, NULL, bytes);
            d->unpack_row(&t, 0, back);
            if (!d->unpack_codes)
                continue;
            d->unpack_codes(&t, 0, codes, scales);
            for (size_t i = 0; i < 512; i++)
                assert_true(codes[i] <= 2);
        }
    }
    /* I2_S: the threshold of zero, and all zero. */
    memset(x, 0, sizeof x);
    x[0] = 1e-6f, x[1] = -1e-6f, x[2] = 9.9e-7f, x[3] = NAN;
    tern_tensor t = view(TERN_DT_I2_S, 512, 1, bytes);
    tern_dtype_get(TERN_DT_I2_S)->pack(x, 1, 512, NULL, bytes);
    tern_dtype_get(TERN_DT_I2_S)->unpack_codes(&t, 0, codes, scales);
    assert_true(scales[0] == 1e-6f);
    assert_true(codes[0] == 2 && codes[1] == 0 && codes[2] == 1 && codes[3] == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ternary_vectors),
        cmocka_unit_test(test_q1_0_vector),
        cmocka_unit_test(test_dense_vectors),
        cmocka_unit_test(test_encoder_vectors),
        cmocka_unit_test(test_codes_no_quantiser_writes),
        cmocka_unit_test(test_every_byte_is_three_valued),
        cmocka_unit_test(test_ternary_round_trips),
        cmocka_unit_test(test_packing_anything_is_defined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
