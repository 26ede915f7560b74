/* Q2_0 and PQ2_0: two-bit codes in plain order; 64 or 128 of them per scale.
 *
 *   | d f16 | qs[16 or 32] |    d * (code - 1); code 3 means +2, which no quantiser writes
 *
 *   qs[j]  | 7..6: element 4 j + 3 | 5..4: 4 j + 2 | 3..2: 4 j + 1 | 1..0: 4 j | */
#include "tensor/fmt/fmt.h"

#include <stddef.h>

typedef struct block_q2_0 {
    uint8_t d[2];
    uint8_t qs[16];
} block_q2_0;
static_assert(sizeof(block_q2_0) == TERN_Q2_0_BYTES, "Q2_0 block");

typedef struct block_pq2_0 {
    uint8_t d[2];
    uint8_t qs[32];
} block_pq2_0;
static_assert(sizeof(block_pq2_0) == TERN_PQ2_0_BYTES, "PQ2_0 block");

/* A byte's four codes move to four bytes of a word by shifts of 6 = 8 - 2 each. */
static inline void decode_bytes(const uint8_t *restrict qs, size_t n, uint8_t *restrict codes)
{
    for (size_t j = 0; j < n; j++) {
        uint32_t q = qs[j];
        store32(codes + 4 * j, (q | q << 6 | q << 12 | q << 18) & 0x03030303);
    }
}

static void encode_bytes(const uint8_t *codes, size_t n, uint8_t *qs)
{
    for (size_t j = 0; j < n; j++, codes += 4)
        qs[j] = (uint8_t)(codes[0] | codes[1] << 2 | codes[2] << 4 | codes[3] << 6);
}

static void decode_64(const uint8_t *block, uint8_t *codes)
{
    decode_bytes(((const block_q2_0 *)(const void *)block)->qs, 16, codes);
}

static void encode_64(const uint8_t *codes, uint8_t *block)
{
    encode_bytes(codes, 16, ((block_q2_0 *)(void *)block)->qs);
}

static void decode_128(const uint8_t *block, uint8_t *codes)
{
    decode_bytes(((const block_pq2_0 *)(const void *)block)->qs, 32, codes);
}

static void encode_128(const uint8_t *codes, uint8_t *block)
{
    encode_bytes(codes, 32, ((block_pq2_0 *)(void *)block)->qs);
}

static const tern_code_block q2_0 = {TERN_Q2_0_ELEMS, TERN_Q2_0_BYTES, offsetof(block_q2_0, d), 0,
                                     decode_64,       encode_64};
static const tern_code_block pq2_0 = {
    TERN_PQ2_0_ELEMS, TERN_PQ2_0_BYTES, offsetof(block_pq2_0, d), 0, decode_128, encode_128};

void tern_q2_0_unpack_row(const tern_tensor *t, size_t row, float *dst)
{
    tern_code_row(&q2_0, t, row, dst);
}

void tern_q2_0_unpack_codes(const tern_tensor *t, size_t row, uint8_t *codes, float *scales)
{
    tern_code_codes(&q2_0, t, row, codes, scales);
}

void tern_q2_0_pack(const float *src, size_t rows, size_t cols, const float *importance,
                    uint8_t *dst)
{
    (void)importance;
    tern_code_pack(&q2_0, src, rows * cols, dst);
}

void tern_pq2_0_unpack_row(const tern_tensor *t, size_t row, float *dst)
{
    tern_code_row(&pq2_0, t, row, dst);
}

void tern_pq2_0_unpack_codes(const tern_tensor *t, size_t row, uint8_t *codes, float *scales)
{
    tern_code_codes(&pq2_0, t, row, codes, scales);
}

void tern_pq2_0_pack(const float *src, size_t rows, size_t cols, const float *importance,
                     uint8_t *dst)
{
    (void)importance;
    tern_code_pack(&pq2_0, src, rows * cols, dst);
}
