/* Q5_0, Q5_1: 32 elements of five bits, the fifth bits together.
 *
 *   Q5_0   | d f16 | qh u32 | qs[16] |            d * (q - 16)
 *   Q5_1   | d f16 | m f16 | qh u32 | qs[16] |    d * q + m
 *
 *   qs[j]  | 7..4: low four bits of element 16 + j | 3..0: of element j |
 *   qh     bit e is bit 4 of element e, 0..31 */
#include "tensor/fmt/search.h"

#include <float.h>
#include <math.h>

typedef struct block_q5_0 {
    uint8_t d[2];
    uint8_t qh[4];
    uint8_t qs[16];
} block_q5_0;
static_assert(sizeof(block_q5_0) == TERN_Q5_0_BYTES, "Q5_0 block");

typedef struct block_q5_1 {
    uint8_t d[2], m[2];
    uint8_t qh[4];
    uint8_t qs[16];
} block_q5_1;
static_assert(sizeof(block_q5_1) == TERN_Q5_1_BYTES, "Q5_1 block");

/* The 32 values 0..31. */
static void decode(const uint8_t qh[4], const uint8_t qs[16], int16_t *restrict q)
{
    uint32_t high = load32(qh);
    for (unsigned j = 0; j < 16; j++) {
        q[j] = (int16_t)((qs[j] & 15) | (high >> j & 1) << 4);
        q[16 + j] = (int16_t)((qs[j] >> 4) | (high >> (16 + j) & 1) << 4);
    }
}

static void encode(const uint8_t q[32], uint8_t qh[4], uint8_t qs[16])
{
    uint32_t high = 0;
    for (unsigned j = 0; j < 16; j++) {
        qs[j] = (uint8_t)((q[j] & 15) | (q[16 + j] & 15) << 4);
        high |= (uint32_t)(q[j] >> 4) << j | (uint32_t)(q[16 + j] >> 4) << (16 + j);
    }
    store32(qh, high);
}

void tern_q5_0_unpack_row(const tern_tensor *t, size_t row, float *restrict dst)
{
    const block_q5_0 *b = (const void *)block_row(t, row, TERN_Q5_0_ELEMS, sizeof *b);
    for (size_t i = 0; i < t->ne[0]; i += TERN_Q5_0_ELEMS, b++) {
        int16_t q[TERN_Q5_0_ELEMS];
        float d = load_half(b->d);
        decode(b->qh, b->qs, q);
        for (size_t j = 0; j < TERN_Q5_0_ELEMS; j++)
            dst[i + j] = d * (float)(q[j] - 16);
    }
}

void tern_q5_1_unpack_row(const tern_tensor *t, size_t row, float *restrict dst)
{
    const block_q5_1 *b = (const void *)block_row(t, row, TERN_Q5_1_ELEMS, sizeof *b);
    for (size_t i = 0; i < t->ne[0]; i += TERN_Q5_1_ELEMS, b++) {
        int16_t q[TERN_Q5_1_ELEMS];
        float d = load_half(b->d), m = load_half(b->m);
        decode(b->qh, b->qs, q);
        for (size_t j = 0; j < TERN_Q5_1_ELEMS; j++)
            dst[i + j] = d * (float)q[j] + m;
    }
}

/* As Q4_0: the element of largest magnitude becomes q = 0. */
static void pack_q5_0(const float *src, size_t n, block_q5_0 *b)
{
    for (size_t i = 0; i < n; i += TERN_Q5_0_ELEMS, b++) {
        const float *x = src + i;
        float peak = 0.0f;
        uint8_t q[TERN_Q5_0_ELEMS];
        for (size_t j = 0; j < TERN_Q5_0_ELEMS; j++)
            peak = fabsf(x[j]) > fabsf(peak) ? x[j] : peak;
        float d = peak / -16.0f, id = quant_inverse(d);
        for (size_t j = 0; j < TERN_Q5_0_ELEMS; j++)
            q[j] = (uint8_t)quant_trunc(x[j] * id + 16.5f, 31);
        store_half(b->d, d);
        encode(q, b->qh, b->qs);
    }
}

static tern_f4 search_q5_0(tern_quad *g, tern_f4 *low)
{
    (void)low;
    return tern_quad_scale(g, 16);
}

static void store_q5_0(uint8_t *block, float scale, float low, const uint8_t codes[32])
{
    block_q5_0 *b = (void *)block;
    (void)low;
    store_half(b->d, scale);
    encode(codes, b->qh, b->qs);
}

void tern_q5_0_pack(const float *src, size_t rows, size_t cols, const float *importance,
                    uint8_t *dst)
{
    static const tern_block32 q5_0 = {sizeof(block_q5_0), false, search_q5_0, store_q5_0};
    if (importance)
        tern_block32_pack(&q5_0, src, rows, cols, importance, dst);
    else
        pack_q5_0(src, rows * cols, (void *)dst);
}

static void pack_q5_1(const float *src, size_t n, block_q5_1 *b)
{
    for (size_t i = 0; i < n; i += TERN_Q5_1_ELEMS, b++) {
        const float *x = src + i;
        float lowest = FLT_MAX, highest = -FLT_MAX;
        uint8_t q[TERN_Q5_1_ELEMS];
        for (size_t j = 0; j < TERN_Q5_1_ELEMS; j++) {
            lowest = x[j] < lowest ? x[j] : lowest;
            highest = x[j] > highest ? x[j] : highest;
        }
        float d = (highest - lowest) / 31.0f, id = quant_inverse(d);
        for (size_t j = 0; j < TERN_Q5_1_ELEMS; j++)
            q[j] = (uint8_t)quant_trunc((x[j] - lowest) * id + 0.5f, 31);
        store_half(b->d, d);
        store_half(b->m, lowest);
        encode(q, b->qh, b->qs);
    }
}

static tern_f4 search_q5_1(tern_quad *g, tern_f4 *low)
{
    static const tern_line_plan plan = {31, 36, -0.9f, 0.05f, false};
    return tern_quad_line(g, &plan, low);
}

static void store_q5_1(uint8_t *block, float scale, float low, const uint8_t codes[32])
{
    block_q5_1 *b = (void *)block;
    store_half(b->d, scale);
    store_half(b->m, -low);
    encode(codes, b->qh, b->qs);
}

void tern_q5_1_pack(const float *src, size_t rows, size_t cols, const float *importance,
                    uint8_t *dst)
{
    static const tern_block32 q5_1 = {sizeof(block_q5_1), false, search_q5_1, store_q5_1};
    if (importance)
        tern_block32_pack(&q5_1, src, rows, cols, importance, dst);
    else
        pack_q5_1(src, rows * cols, (void *)dst);
}
