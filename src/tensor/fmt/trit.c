/* TQ1_0 and PTQ1_0: five trits a byte.
 *
 * Five digits v0..v4 in 0..2 make V = ((((v0*3 + v1)*3 + v2)*3 + v3)*3 + v4), and the byte is the
 * fraction V / 243 in 256ths, rounded up. Multiplying the byte by 3^n modulo 256 brings digit n to the
 * front of the fraction, and one more multiplication by 3 carries it out of the top: no division, and
 * every one of the 256 bytes gives digits 0..2.
 *
 *   TQ1_0  | qs[48] | qh[4] | d f16 |    256 elements
 *   PTQ1_0 | qs[24] | qh[2] | d f16 |    128 elements
 *
 * The bytes fall into runs of c; digit n of byte m of a run is element n * c + m from the run's first:
 *
 *   TQ1_0   runs of 32 and 16 bytes with 5 digits, then 4 bytes with 4 (the fifth is 0)
 *   PTQ1_0  runs of 16 and 8 bytes with 5 digits, then 2 bytes with 4 */
#include "tensor/fmt/fmt.h"

#include <stddef.h>

typedef struct block_tq1_0 {
    uint8_t qs[48];
    uint8_t qh[4];
    uint8_t d[2];
} block_tq1_0;
static_assert(sizeof(block_tq1_0) == TERN_TQ1_0_BYTES, "TQ1_0 block");

typedef struct block_ptq1_0 {
    uint8_t qs[24];
    uint8_t qh[2];
    uint8_t d[2];
} block_ptq1_0;
static_assert(sizeof(block_ptq1_0) == TERN_PTQ1_0_BYTES, "PTQ1_0 block");

static inline uint8_t *decode_run(const uint8_t *restrict q, size_t c, unsigned n_digit,
                                  uint8_t *restrict codes)
{
    for (unsigned n = 0, pow3 = 1; n < n_digit; n++, pow3 *= 3, codes += c)
        for (size_t m = 0; m < c; m++)
            codes[m] = (uint8_t)((uint8_t)(q[m] * pow3) * 3 >> 8);
    return codes;
}

static const uint8_t *encode_run(const uint8_t *codes, size_t c, unsigned n_digit, uint8_t *q)
{
    for (size_t m = 0; m < c; m++) {
        unsigned v = 0;
        for (unsigned n = 0; n < 5; n++)
            v = v * 3 + (n < n_digit ? codes[n * c + m] : 0);
        q[m] = (uint8_t)((v * 256 + 242) / 243);
    }
    return codes + n_digit * c;
}

static void decode_tq1_0(const uint8_t *block, uint8_t *codes)
{
    const block_tq1_0 *b = (const void *)block;
    codes = decode_run(b->qs, 32, 5, codes);
    codes = decode_run(b->qs + 32, 16, 5, codes);
    decode_run(b->qh, 4, 4, codes);
}

static void encode_tq1_0(const uint8_t *codes, uint8_t *block)
{
    block_tq1_0 *b = (void *)block;
    codes = encode_run(codes, 32, 5, b->qs);
    codes = encode_run(codes, 16, 5, b->qs + 32);
    encode_run(codes, 4, 4, b->qh);
}

static void decode_ptq1_0(const uint8_t *block, uint8_t *codes)
{
    const block_ptq1_0 *b = (const void *)block;
    codes = decode_run(b->qs, 16, 5, codes);
    codes = decode_run(b->qs + 16, 8, 5, codes);
    decode_run(b->qh, 2, 4, codes);
}

static void encode_ptq1_0(const uint8_t *codes, uint8_t *block)
{
    block_ptq1_0 *b = (void *)block;
    codes = encode_run(codes, 16, 5, b->qs);
    codes = encode_run(codes, 8, 5, b->qs + 16);
    encode_run(codes, 2, 4, b->qh);
}

static const tern_code_block tq1_0 = {
    TERN_TQ1_0_ELEMS, TERN_TQ1_0_BYTES, offsetof(block_tq1_0, d), 1, decode_tq1_0, encode_tq1_0};
static const tern_code_block ptq1_0 = {
    TERN_PTQ1_0_ELEMS, TERN_PTQ1_0_BYTES, offsetof(block_ptq1_0, d), 1,
    decode_ptq1_0,     encode_ptq1_0};

void tern_tq1_0_unpack_row(const tern_tensor *t, size_t row, float *dst)
{
    tern_code_row(&tq1_0, t, row, dst);
}

void tern_tq1_0_unpack_codes(const tern_tensor *t, size_t row, uint8_t *codes, float *scales)
{
    tern_code_codes(&tq1_0, t, row, codes, scales);
}

void tern_tq1_0_pack(const float *src, size_t rows, size_t cols, const float *importance,
                     uint8_t *dst)
{
    (void)importance;
    tern_code_pack(&tq1_0, src, rows * cols, dst);
}

void tern_ptq1_0_unpack_row(const tern_tensor *t, size_t row, float *dst)
{
    tern_code_row(&ptq1_0, t, row, dst);
}

void tern_ptq1_0_unpack_codes(const tern_tensor *t, size_t row, uint8_t *codes, float *scales)
{
    tern_code_codes(&ptq1_0, t, row, codes, scales);
}

void tern_ptq1_0_pack(const float *src, size_t rows, size_t cols, const float *importance,
                      uint8_t *dst)
{
    (void)importance;
    tern_code_pack(&ptq1_0, src, rows * cols, dst);
}
