/* Q4_0, Q4_1, IQ4_NL: 32 elements of four bits.
 *
 *   Q4_0   | d f16 | qs[16] |            d * (q - 8)
 *   Q4_1   | d f16 | m f16 | qs[16] |    d * q + m
 *   IQ4_NL | d f16 | qs[16] |            d * nl_values[q]
 *
 *   qs[j]  | 7..4: q of element 16 + j | 3..0: q of element j | */
#include "tensor/fmt/search.h"

#include <float.h>
#include <math.h>

typedef struct block_q4_0 {
    uint8_t d[2];
    uint8_t qs[16];
} block_q4_0;
static_assert(sizeof(block_q4_0) == TERN_Q4_0_BYTES, "Q4_0 block");
static_assert(sizeof(block_q4_0) == TERN_IQ4_NL_BYTES, "IQ4_NL block");

typedef struct block_q4_1 {
    uint8_t d[2], m[2];
    uint8_t qs[16];
} block_q4_1;
static_assert(sizeof(block_q4_1) == TERN_Q4_1_BYTES, "Q4_1 block");

/* Denser near zero than a line, as trained weights are. */
static const int8_t nl_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};

void tern_q4_0_unpack_row(const tern_tensor *t, size_t row, float *restrict dst)
{
    const block_q4_0 *b = (const void *)block_row(t, row, TERN_Q4_0_ELEMS, sizeof *b);
    for (size_t i = 0; i < t->ne[0]; i += TERN_Q4_0_ELEMS, b++) {
        float d = load_half(b->d);
        for (size_t j = 0; j < 16; j++) {
            dst[i + j] = d * (float)((b->qs[j] & 15) - 8);
            dst[i + 16 + j] = d * (float)((b->qs[j] >> 4) - 8);
        }
    }
}

void tern_q4_1_unpack_row(const tern_tensor *t, size_t row, float *restrict dst)
{
    const block_q4_1 *b = (const void *)block_row(t, row, TERN_Q4_1_ELEMS, sizeof *b);
    for (size_t i = 0; i < t->ne[0]; i += TERN_Q4_1_ELEMS, b++) {
        float d = load_half(b->d), m = load_half(b->m);
        for (size_t j = 0; j < 16; j++) {
            dst[i + j] = d * (float)(b->qs[j] & 15) + m;
            dst[i + 16 + j] = d * (float)(b->qs[j] >> 4) + m;
        }
    }
}

void tern_iq4_nl_unpack_row(const tern_tensor *t, size_t row, float *restrict dst)
{
    const block_q4_0 *b = (const void *)block_row(t, row, TERN_IQ4_NL_ELEMS, sizeof *b);
    for (size_t i = 0; i < t->ne[0]; i += TERN_IQ4_NL_ELEMS, b++) {
        float d = load_half(b->d);
        for (size_t j = 0; j < 16; j++) {
            dst[i + j] = d * (float)nl_values[b->qs[j] & 15];
            dst[i + 16 + j] = d * (float)nl_values[b->qs[j] >> 4];
        }
    }
}

static void encode(const uint8_t q[32], uint8_t qs[16])
{
    for (size_t j = 0; j < 16; j++)
        qs[j] = (uint8_t)(q[j] | q[16 + j] << 4);
}

/* The element of largest magnitude becomes q = 0, so its sign is the scale's sign, reversed. */
static void pack_q4_0(const float *src, size_t n, block_q4_0 *b)
{
    for (size_t i = 0; i < n; i += TERN_Q4_0_ELEMS, b++) {
        const float *x = src + i;
        float peak = 0.0f;
        for (size_t j = 0; j < TERN_Q4_0_ELEMS; j++)
            peak = fabsf(x[j]) > fabsf(peak) ? x[j] : peak;
        float d = peak / -8.0f, id = quant_inverse(d);
        store_half(b->d, d);
        for (size_t j = 0; j < 16; j++) {
            int lo = quant_trunc(x[j] * id + 8.5f, 15);
            int hi = quant_trunc(x[16 + j] * id + 8.5f, 15);
            b->qs[j] = (uint8_t)(lo | hi << 4);
        }
    }
}

static tern_f4 search_q4_0(tern_quad *g, tern_f4 *low)
{
    (void)low;
    return tern_quad_scale(g, 8);
}

static void store_q4_0(uint8_t *block, float scale, float low, const uint8_t codes[32])
{
    block_q4_0 *b = (void *)block;
    (void)low;
    store_half(b->d, scale);
    encode(codes, b->qs);
}

void tern_q4_0_pack(const float *src, size_t rows, size_t cols, const float *importance,
                    uint8_t *dst)
{
    static const tern_block32 q4_0 = {sizeof(block_q4_0), false, search_q4_0, store_q4_0};
    if (importance)
        tern_block32_pack(&q4_0, src, rows, cols, importance, dst);
    else
        pack_q4_0(src, rows * cols, (void *)dst);
}

static void pack_q4_1(const float *src, size_t n, block_q4_1 *b)
{
    for (size_t i = 0; i < n; i += TERN_Q4_1_ELEMS, b++) {
        const float *x = src + i;
        float lowest = FLT_MAX, highest = -FLT_MAX;
        for (size_t j = 0; j < TERN_Q4_1_ELEMS; j++) {
            lowest = x[j] < lowest ? x[j] : lowest;
            highest = x[j] > highest ? x[j] : highest;
        }
        float d = (highest - lowest) / 15.0f, id = quant_inverse(d);
        store_half(b->d, d);
        store_half(b->m, lowest);
        for (size_t j = 0; j < 16; j++) {
            int lo = quant_trunc((x[j] - lowest) * id + 0.5f, 15);
            int hi = quant_trunc((x[16 + j] - lowest) * id + 0.5f, 15);
            b->qs[j] = (uint8_t)(lo | hi << 4);
        }
    }
}

static tern_f4 search_q4_1(tern_quad *g, tern_f4 *low)
{
    static const tern_line_plan plan = {15, 36, -0.9f, 0.05f, false};
    return tern_quad_line(g, &plan, low);
}

static void store_q4_1(uint8_t *block, float scale, float low, const uint8_t codes[32])
{
    block_q4_1 *b = (void *)block;
    store_half(b->d, scale);
    store_half(b->m, -low);
    encode(codes, b->qs);
}

void tern_q4_1_pack(const float *src, size_t rows, size_t cols, const float *importance,
                    uint8_t *dst)
{
    static const tern_block32 q4_1 = {sizeof(block_q4_1), false, search_q4_1, store_q4_1};
    if (importance)
        tern_block32_pack(&q4_1, src, rows, cols, importance, dst);
    else
        pack_q4_1(src, rows * cols, (void *)dst);
}

static tern_f4 search_iq4_nl(tern_quad *g, tern_f4 *low)
{
    (void)low;
    return tern_quad_table(g, nl_values, 7);
}

void tern_iq4_nl_pack(const float *src, size_t rows, size_t cols, const float *importance,
                      uint8_t *dst)
{
    static const tern_block32 iq4_nl = {sizeof(block_q4_0), true, search_iq4_nl, store_q4_0};
    tern_block32_pack(&iq4_nl, src, rows, cols, importance, dst);
}
