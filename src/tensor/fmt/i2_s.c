/* I2_S: two-bit codes of a whole tensor under one scale, in three element orders that share the type
 * id and the size, so nothing in a file tells them apart.
 *
 *   | codes: ne0 * ne1 / 4 bytes | scale f32 | 28 bytes without meaning |    scale * (code - 1)
 *
 *   I2_S        blocks of 128:  byte 32 b + p  | 7..6: element 128 b + p | 5..4: + 32 | 3..2: + 64 |
 *                               1..0: + 96 |
 *   I2_S_ARM    blocks of 64:   byte 16 b + p  | 7..6: element 64 b + p | 5..4: + 16 | 3..2: + 32 |
 *                               1..0: + 48 |
 *   I2_S_ROWS4  column c of four rows: byte (row / 4) ne0 + c  | 7..6: row 0 | 5..4: 1 | 3..2: 2 |
 *                               1..0: 3 |
 *
 * Code 3 is never written and reads as zero, so it becomes code 1 here. */
#include "tensor/fmt/fmt.h"

#include <math.h>

typedef struct block_i2_s {
    uint8_t qs[32];
} block_i2_s;
static_assert(sizeof(block_i2_s) == TERN_I2_S_BYTES, "I2_S block");
static_assert(TERN_I2_S_ELEMS == 4 * TERN_I2_S_BYTES, "I2_S has 4 codes a byte");

typedef struct block_i2_s_arm {
    uint8_t qs[16];
} block_i2_s_arm;
static_assert(sizeof(block_i2_s_arm) == TERN_I2_S_ARM_BYTES, "I2_S_ARM block");
static_assert(TERN_I2_S_ARM_ELEMS == 4 * TERN_I2_S_ARM_BYTES, "I2_S_ARM has 4 codes a byte");

typedef struct block_i2_s_rows4 {
    uint8_t qs;
} block_i2_s_rows4;
static_assert(sizeof(block_i2_s_rows4) == TERN_I2_S_ROWS4_BYTES, "I2_S_ROWS4 block");

enum { TAIL_BYTES = 32, SPAN = 256 };

static float tensor_scale(const tern_tensor *t)
{
    return tern_bits_f32(load32(t->data + (t->tail ? t->tail : t->ne[0] * t->ne[1] / 4)));
}

/* n bytes to 4 n codes, in blocks of c bytes. */
static inline void decode_blocks(const uint8_t *restrict q, size_t n, size_t c,
                                 uint8_t *restrict codes)
{
    for (size_t i = 0; i < n; i += c, q += c, codes += 4 * c)
        for (size_t p = 0; p < c; p++) {
            uint8_t v = no_threes(q[p]);
            codes[p] = v >> 6;
            codes[c + p] = v >> 4 & 3;
            codes[2 * c + p] = v >> 2 & 3;
            codes[3 * c + p] = v & 3;
        }
}

static inline void values_of_blocks(const tern_tensor *t, size_t row, size_t c, float *dst)
{
    uint8_t codes[4 * sizeof(block_i2_s)];
    const uint8_t *q = t->data + row * (t->ne[0] / 4);
    float scale = tensor_scale(t);
    for (size_t i = 0; i < t->ne[0]; i += 4 * c, q += c) {
        decode_blocks(q, c, c, codes);
        tern_code_values(codes, 4 * c, scale, dst + i);
    }
}

void tern_i2_s_unpack_row(const tern_tensor *t, size_t row, float *dst)
{
    values_of_blocks(t, row, sizeof(block_i2_s), dst);
}

void tern_i2_s_unpack_codes(const tern_tensor *t, size_t row, uint8_t *codes, float *scales)
{
    decode_blocks(t->data + row * (t->ne[0] / 4), t->ne[0] / 4, sizeof(block_i2_s), codes);
    *scales = tensor_scale(t);
}

void tern_i2_s_arm_unpack_row(const tern_tensor *t, size_t row, float *dst)
{
    values_of_blocks(t, row, sizeof(block_i2_s_arm), dst);
}

void tern_i2_s_arm_unpack_codes(const tern_tensor *t, size_t row, uint8_t *codes, float *scales)
{
    decode_blocks(t->data + row * (t->ne[0] / 4), t->ne[0] / 4, sizeof(block_i2_s_arm), codes);
    *scales = tensor_scale(t);
}

void tern_i2_s_rows4_unpack_row(const tern_tensor *t, size_t row, float *dst)
{
    uint8_t codes[SPAN];
    const uint8_t *q = t->data + row / 4 * t->ne[0];
    unsigned shift = 6 - 2 * (unsigned)(row % 4);
    float scale = tensor_scale(t);
    for (size_t i = 0, n; i < t->ne[0]; i += n) {
        n = t->ne[0] - i < SPAN ? t->ne[0] - i : SPAN;
        tern_code_pairs(q + i, n, shift, codes);
        tern_code_values(codes, n, scale, dst + i);
    }
}

void tern_i2_s_rows4_unpack_codes(const tern_tensor *t, size_t row, uint8_t *codes, float *scales)
{
    tern_code_pairs(t->data + row / 4 * t->ne[0], t->ne[0], 6 - 2 * (unsigned)(row % 4), codes);
    *scales = tensor_scale(t);
}

/* The input is ternary already: its largest magnitude is the scale and the signs are the codes.
 * Below 1e-6 is zero, as the reference has it; NaN is zero too. */
void tern_i2_s_pack(const float *src, size_t rows, size_t cols, const float *importance,
                    uint8_t *dst)
{
    (void)importance;
    size_t n = rows * cols;
    float scale = 0.0f;
    for (size_t i = 0; i < n; i++)
        scale = fabsf(src[i]) > scale ? fabsf(src[i]) : scale;
    for (size_t i = 0; i < n; i += TERN_I2_S_ELEMS, dst += sizeof(block_i2_s)) {
        memset(dst, 0, sizeof(block_i2_s));
        for (size_t j = 0; j < TERN_I2_S_ELEMS; j++) {
            float x = src[i + j];
            int code = 1 + (x >= 1e-6f) - (x <= -1e-6f);
            size_t p = j % sizeof(block_i2_s), quarter = j / sizeof(block_i2_s);
            dst[p] = (uint8_t)(dst[p] | code << (6 - 2 * quarter));
        }
    }
    memset(dst, 0, TAIL_BYTES);
    store32(dst, tern_f32_bits(scale));
}
