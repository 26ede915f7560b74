/* Q4_0, Q4_1, IQ4_NL: 32 elements of four bits.
 *
 *   Q4_0   | d f16 | qs[16] |            d * (q - 8)
 *   Q4_1   | d f16 | m f16 | qs[16] |    d * q + m
 *   IQ4_NL | d f16 | qs[16] |            d * nl_values[q]
 *
 *   qs[j]  | 7..4: q of element 16 + j | 3..0: q of element j | */
#include "tensor/fmt/fmt.h"

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

/* The element of largest magnitude becomes q = 0, so its sign is the scale's sign, reversed. */
void tern_q4_0_pack(const float *src, size_t rows, size_t cols, uint8_t *dst)
{
    block_q4_0 *b = (void *)dst;
    for (size_t i = 0, n = rows * cols; i < n; i += TERN_Q4_0_ELEMS, b++) {
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

void tern_q4_1_pack(const float *src, size_t rows, size_t cols, uint8_t *dst)
{
    block_q4_1 *b = (void *)dst;
    for (size_t i = 0, n = rows * cols; i < n; i += TERN_Q4_1_ELEMS, b++) {
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
