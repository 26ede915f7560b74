/* Q1_0 and Q1_0_G32: one sign bit per element; 128 or 32 of them per scale. There is no zero: the
 * codes are 0 and 2.
 *
 *   | d f16 | qs[16 or 4] |    bit set: +d, clear: -d
 *
 *   qs[j]  bit i: element 8 j + i */
#include "tensor/fmt/fmt.h"

#include <math.h>
#include <stddef.h>

typedef struct block_q1_0 {
    uint8_t d[2];
    uint8_t qs[16];
} block_q1_0;
static_assert(sizeof(block_q1_0) == TERN_Q1_0_BYTES, "Q1_0 block");

typedef struct block_q1_0_g32 {
    uint8_t d[2];
    uint8_t qs[4];
} block_q1_0_g32;
static_assert(sizeof(block_q1_0_g32) == TERN_Q1_0_G32_BYTES, "Q1_0_G32 block");

/* Copy the byte to all eight of a word and keep bit i in byte i. Adding 0x7f then sets a byte's top
 * bit exactly when it was not zero, without carry into the next. */
static inline void decode_bytes(const uint8_t *restrict qs, size_t n, uint8_t *restrict codes)
{
    for (size_t j = 0; j < n; j++) {
        uint64_t bit = qs[j] * 0x0101010101010101u & 0x8040201008040201u;
        store64(codes + 8 * j, (bit + 0x7f7f7f7f7f7f7f7fu) >> 6 & 0x0202020202020202u);
    }
}

static void decode_128(const uint8_t *block, uint8_t *codes)
{
    decode_bytes(((const block_q1_0 *)(const void *)block)->qs, 16, codes);
}

static void decode_32(const uint8_t *block, uint8_t *codes)
{
    decode_bytes(((const block_q1_0_g32 *)(const void *)block)->qs, 4, codes);
}

static const tern_code_block q1_0 = {
    TERN_Q1_0_ELEMS, TERN_Q1_0_BYTES, offsetof(block_q1_0, d), 1, decode_128, NULL};
static const tern_code_block q1_0_g32 = {
    TERN_Q1_0_G32_ELEMS, TERN_Q1_0_G32_BYTES, offsetof(block_q1_0_g32, d), 1, decode_32, NULL};

void tern_q1_0_unpack_row(const tern_tensor *t, size_t row, float *dst)
{
    tern_code_row(&q1_0, t, row, dst);
}

void tern_q1_0_unpack_codes(const tern_tensor *t, size_t row, uint8_t *codes, float *scales)
{
    tern_code_codes(&q1_0, t, row, codes, scales);
}

/* The scale is the mean magnitude, which is the best one for signs alone; the reference adds in
 * element order in f32. */
void tern_q1_0_pack(const float *src, size_t rows, size_t cols, const float *importance,
                    uint8_t *dst)
{
    (void)importance;
    block_q1_0 *b = (void *)dst;
    for (size_t i = 0, n = rows * cols; i < n; i += TERN_Q1_0_ELEMS, b++) {
        const float *x = src + i;
        float sum = 0.0f;
        for (size_t j = 0; j < TERN_Q1_0_ELEMS; j++)
            sum += fabsf(x[j]);
        store_half(b->d, sum / (float)TERN_Q1_0_ELEMS);
        for (size_t j = 0; j < sizeof b->qs; j++, x += 8) {
            unsigned q = 0;
            for (unsigned bit = 0; bit < 8; bit++)
                q |= (unsigned)(x[bit] >= 0.0f) << bit;
            b->qs[j] = (uint8_t)q;
        }
    }
}

void tern_q1_0_g32_unpack_row(const tern_tensor *t, size_t row, float *dst)
{
    tern_code_row(&q1_0_g32, t, row, dst);
}

void tern_q1_0_g32_unpack_codes(const tern_tensor *t, size_t row, uint8_t *codes, float *scales)
{
    tern_code_codes(&q1_0_g32, t, row, codes, scales);
}
