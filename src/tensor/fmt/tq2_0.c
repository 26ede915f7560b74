/* TQ2_0: 256 two-bit codes in two halves of 32 bytes.
 *
 *   | qs[64] | d f16 |    d * (code - 1); code 3 means +2, which no quantiser writes
 *
 *   qs[32 h + m]  bits 2n, 2n + 1: element 128 h + 32 n + m */
#include "tensor/fmt/fmt.h"

#include <stddef.h>

typedef struct block_tq2_0 {
    uint8_t qs[64];
    uint8_t d[2];
} block_tq2_0;
static_assert(sizeof(block_tq2_0) == TERN_TQ2_0_BYTES, "TQ2_0 block");

static void decode(const uint8_t *restrict block, uint8_t *restrict codes)
{
    const block_tq2_0 *b = (const void *)block;
    for (size_t h = 0; h < 2; h++)
        for (size_t m = 0; m < 32; m++) {
            uint8_t q = b->qs[32 * h + m];
            codes[128 * h + m] = q & 3;
            codes[128 * h + 32 + m] = q >> 2 & 3;
            codes[128 * h + 64 + m] = q >> 4 & 3;
            codes[128 * h + 96 + m] = q >> 6;
        }
}

static void encode(const uint8_t *codes, uint8_t *block)
{
    block_tq2_0 *b = (void *)block;
    for (size_t h = 0; h < 2; h++, codes += 128)
        for (size_t m = 0; m < 32; m++)
            b->qs[32 * h + m] =
                (uint8_t)(codes[m] | codes[32 + m] << 2 | codes[64 + m] << 4 | codes[96 + m] << 6);
}

static const tern_code_block tq2_0 = {
    TERN_TQ2_0_ELEMS, TERN_TQ2_0_BYTES, offsetof(block_tq2_0, d), 1, decode, encode};

void tern_tq2_0_unpack_row(const tern_tensor *t, size_t row, float *dst)
{
    tern_code_row(&tq2_0, t, row, dst);
}

void tern_tq2_0_unpack_codes(const tern_tensor *t, size_t row, uint8_t *codes, float *scales)
{
    tern_code_codes(&tq2_0, t, row, codes, scales);
}

void tern_tq2_0_pack(const float *src, size_t rows, size_t cols, const float *importance,
                     uint8_t *dst)
{
    (void)importance;
    tern_code_pack(&tq2_0, src, rows * cols, dst);
}
