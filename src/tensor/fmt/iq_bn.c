/* IQ1_BN and IQ2_BN: rows with a scale in front, then blocks of 64 codes.
 *
 *   IQ2_BN row | scale f32 | blocks of qs[16] |         block byte j  | 7..6: element 48 + j |
 *                                                       5..4: 32 + j | 3..2: 16 + j | 1..0: j |
 *   IQ1_BN row | scale f16 | blocks of ql[12], extra |  ql[3 g + k]: elements 16 g + 5 k + (0..4);
 *                                                       extra: digit g is element 16 g + 15
 *
 * A byte of IQ1_BN holds five digits as a fraction of 256, as trit.c describes, but with the least
 * significant digit first: digit j comes to the front by 3^(4 - j). */
#include "tensor/fmt/fmt.h"

typedef struct block_iq2_bn {
    uint8_t qs[16];
} block_iq2_bn;
static_assert(sizeof(block_iq2_bn) == TERN_IQ2_BN_BYTES, "IQ2_BN block");

typedef struct block_iq1_bn {
    uint8_t ql[12];
    uint8_t extra;
} block_iq1_bn;
static_assert(sizeof(block_iq1_bn) == TERN_IQ1_BN_BYTES, "IQ1_BN block");

#define ELEMS 64
static_assert(TERN_IQ1_BN_ELEMS == ELEMS, "IQ1_BN block");
static_assert(TERN_IQ2_BN_ELEMS == ELEMS, "IQ2_BN block");

static const uint8_t *iq2_bn_row(const tern_tensor *t, size_t row)
{
    return t->data + row * (TERN_IQ2_BN_HEAD + t->ne[0] / ELEMS * sizeof(block_iq2_bn));
}

/* n bytes to 4 n codes. */
static inline void decode_iq2_bn(const uint8_t *restrict q, size_t n, uint8_t *restrict codes)
{
    enum { C = sizeof(block_iq2_bn) };
    for (size_t i = 0; i < n; i += C, q += C, codes += ELEMS)
        for (size_t j = 0; j < C; j++) {
            codes[j] = q[j] & 3;
            codes[16 + j] = q[j] >> 2 & 3;
            codes[32 + j] = q[j] >> 4 & 3;
            codes[48 + j] = q[j] >> 6;
        }
}

void tern_iq2_bn_unpack_row(const tern_tensor *t, size_t row, float *dst)
{
    uint8_t codes[ELEMS];
    const uint8_t *p = iq2_bn_row(t, row);
    const uint8_t *q = p + TERN_IQ2_BN_HEAD;
    float scale = tern_bits_f32(load32(p));
    for (size_t i = 0; i < t->ne[0]; i += ELEMS, q += sizeof(block_iq2_bn)) {
        decode_iq2_bn(q, sizeof(block_iq2_bn), codes);
        tern_code_values(codes, ELEMS, scale, dst + i);
    }
}

void tern_iq2_bn_unpack_codes(const tern_tensor *t, size_t row, uint8_t *codes, float *scales)
{
    const uint8_t *p = iq2_bn_row(t, row);
    *scales = tern_bits_f32(load32(p));
    decode_iq2_bn(p + TERN_IQ2_BN_HEAD, t->ne[0] / 4, codes);
}

static const uint8_t *iq1_bn_row(const tern_tensor *t, size_t row)
{
    return t->data + row * (TERN_IQ1_BN_HEAD + t->ne[0] / ELEMS * sizeof(block_iq1_bn));
}

static inline uint8_t digit(uint8_t byte, unsigned j)
{
    static const uint8_t pow3[5] = {81, 27, 9, 3, 1};
    return (uint8_t)((uint8_t)(byte * pow3[j]) * 3 >> 8);
}

static void decode_iq1_bn(const block_iq1_bn *restrict b, uint8_t *restrict codes)
{
    for (unsigned g = 0; g < 4; g++, codes += 16) {
        for (unsigned k = 0; k < 3; k++)
            for (unsigned j = 0; j < 5; j++)
                codes[5 * k + j] = digit(b->ql[3 * g + k], j);
        codes[15] = digit(b->extra, g);
    }
}

void tern_iq1_bn_unpack_row(const tern_tensor *t, size_t row, float *dst)
{
    uint8_t codes[ELEMS];
    const uint8_t *p = iq1_bn_row(t, row);
    const block_iq1_bn *b = (const void *)(p + TERN_IQ1_BN_HEAD);
    float scale = load_half(p);
    for (size_t i = 0; i < t->ne[0]; i += ELEMS) {
        decode_iq1_bn(b++, codes);
        tern_code_values(codes, ELEMS, scale, dst + i);
    }
}

void tern_iq1_bn_unpack_codes(const tern_tensor *t, size_t row, uint8_t *codes, float *scales)
{
    const uint8_t *p = iq1_bn_row(t, row);
    const block_iq1_bn *b = (const void *)(p + TERN_IQ1_BN_HEAD);
    *scales = load_half(p);
    for (size_t i = 0; i < t->ne[0]; i += ELEMS)
        decode_iq1_bn(b++, codes + i);
}
