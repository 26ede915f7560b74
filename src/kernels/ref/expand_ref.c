/* Rows of the BLOCK-class formats as int8 with a scale, and for some a minimum, per 16 columns:
 * value = scale16 * v + min16. The formats' bit pictures are in tensor/fmt/; here the integer part is
 * kept apart from the scales. Every product below is exact (11-bit f16 times at most 8 bits), so the
 * values equal the unpacked ones bit for bit. */
#include "kernels/rows.h"
#include "tensor/half.h"

#include <string.h>

static float f16_at(const uint8_t *p)
{
    return tern_half_f32((uint16_t)(p[0] | p[1] << 8));
}

static uint32_t u32_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The nibble of element j of a 32-block: low half first. */
static int nibble(const uint8_t *qs, int j)
{
    return j < 16 ? qs[j] & 15 : qs[j - 16] >> 4;
}

static void expand_q4_0(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    (void)min16;
    for (int b = 0; b < cols / 32; b++, row += 18) {
        scale16[2 * b] = scale16[2 * b + 1] = f16_at(row);
        for (int j = 0; j < 32; j++)
            v[32 * b + j] = (int8_t)(nibble(row + 2, j) - 8);
    }
}

static void expand_q4_1(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    for (int b = 0; b < cols / 32; b++, row += 20) {
        scale16[2 * b] = scale16[2 * b + 1] = f16_at(row);
        min16[2 * b] = min16[2 * b + 1] = f16_at(row + 2);
        for (int j = 0; j < 32; j++)
            v[32 * b + j] = (int8_t)nibble(row + 4, j);
    }
}

static void expand_q5_0(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    (void)min16;
    for (int b = 0; b < cols / 32; b++, row += 22) {
        uint32_t qh = u32_at(row + 2);
        scale16[2 * b] = scale16[2 * b + 1] = f16_at(row);
        for (int j = 0; j < 32; j++)
            v[32 * b + j] = (int8_t)(nibble(row + 6, j) + 16 * (int)(qh >> j & 1) - 16);
    }
}

static void expand_q5_1(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    for (int b = 0; b < cols / 32; b++, row += 24) {
        uint32_t qh = u32_at(row + 4);
        scale16[2 * b] = scale16[2 * b + 1] = f16_at(row);
        min16[2 * b] = min16[2 * b + 1] = f16_at(row + 2);
        for (int j = 0; j < 32; j++)
            v[32 * b + j] = (int8_t)(nibble(row + 8, j) + 16 * (int)(qh >> j & 1));
    }
}

static void expand_q8_0(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    (void)min16;
    for (int b = 0; b < cols / 32; b++, row += 34) {
        scale16[2 * b] = scale16[2 * b + 1] = f16_at(row);
        memcpy(v + 32 * b, row + 2, 32);
    }
}

static void expand_iq4_nl(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    static const int8_t level[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};
    (void)min16;
    for (int b = 0; b < cols / 32; b++, row += 18) {
        scale16[2 * b] = scale16[2 * b + 1] = f16_at(row);
        for (int j = 0; j < 32; j++)
            v[32 * b + j] = level[nibble(row + 2, j)];
    }
}

static void expand_q2_k(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    for (int b = 0; b < cols / 256; b++, row += 84, v += 256, scale16 += 16, min16 += 16) {
        float d = f16_at(row + 80), dmin = f16_at(row + 82);
        for (int g = 0; g < 16; g++) {
            scale16[g] = d * (float)(row[g] & 15);
            min16[g] = -(dmin * (float)(row[g] >> 4));
        }
        for (int e = 0; e < 256; e++)
            v[e] = (int8_t)(row[16 + 32 * (e / 128) + e % 32] >> 2 * (e % 128 / 32) & 3);
    }
}

static void expand_q3_k(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    (void)min16;
    for (int b = 0; b < cols / 256; b++, row += 110, v += 256, scale16 += 16) {
        const uint8_t *s = row + 96;
        float d = f16_at(row + 108);
        for (int g = 0; g < 16; g++) {
            int low = g < 8 ? s[g] & 15 : s[g - 8] >> 4;
            int high = s[8 + g % 4] >> 2 * (g / 4) & 3;
            scale16[g] = d * (float)((low | high << 4) - 32);
        }
        for (int e = 0; e < 256; e++) {
            int low = row[32 + 32 * (e / 128) + e % 32] >> 2 * (e % 128 / 32) & 3;
            int keep = row[e % 32] >> e / 32 & 1;
            v[e] = (int8_t)(low - (keep ? 0 : 4));
        }
    }
}

/* Scale and minimum of the eight 32-element groups of Q4_K and Q5_K: 6 bits each in 12 bytes. */
static void k_scales(const uint8_t *blk, float *scale16, float *min16)
{
    float d = f16_at(blk), dmin = f16_at(blk + 2);
    const uint8_t *s = blk + 4;
    for (int g = 0; g < 8; g++) {
        int sc = g < 4 ? s[g] & 63 : (s[g + 4] & 15) | s[g - 4] >> 6 << 4;
        int mn = g < 4 ? s[g + 4] & 63 : s[g + 4] >> 4 | s[g] >> 6 << 4;
        scale16[2 * g] = scale16[2 * g + 1] = d * (float)sc;
        min16[2 * g] = min16[2 * g + 1] = -(dmin * (float)mn);
    }
}

static void expand_q4_k(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    for (int b = 0; b < cols / 256; b++, row += 144, v += 256, scale16 += 16, min16 += 16) {
        k_scales(row, scale16, min16);
        for (int e = 0; e < 256; e++)
            v[e] = (int8_t)(row[16 + 32 * (e / 64) + e % 32] >> 4 * (e / 32 & 1) & 15);
    }
}

static void expand_q5_k(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    for (int b = 0; b < cols / 256; b++, row += 176, v += 256, scale16 += 16, min16 += 16) {
        k_scales(row, scale16, min16);
        for (int e = 0; e < 256; e++) {
            int low = row[48 + 32 * (e / 64) + e % 32] >> 4 * (e / 32 & 1) & 15;
            v[e] = (int8_t)(low + 16 * (row[16 + e % 32] >> e / 32 & 1));
        }
    }
}

static void expand_q6_k(const uint8_t *row, int cols, int8_t *v, float *scale16, float *min16)
{
    (void)min16;
    for (int b = 0; b < cols / 256; b++, row += 210, v += 256, scale16 += 16) {
        float d = f16_at(row + 208);
        for (int g = 0; g < 16; g++)
            scale16[g] = d * (float)(row[192 + g] - (row[192 + g] & 128 ? 256 : 0));
        for (int e = 0; e < 256; e++) {
            int h = e / 128, n = e % 128 / 32, l = e % 32;
            int low = row[64 * h + 32 * (n & 1) + l] >> (n < 2 ? 0 : 4) & 15;
            int high = row[128 + 32 * h + l] >> 2 * n & 3;
            v[e] = (int8_t)((low | high << 4) - 32);
        }
    }
}

tern_expand_fn tern_expand_ref(tern_dtype dt)
{
    switch (dt) {
    case TERN_DT_Q4_0:
        return expand_q4_0;
    case TERN_DT_Q4_1:
        return expand_q4_1;
    case TERN_DT_Q5_0:
        return expand_q5_0;
    case TERN_DT_Q5_1:
        return expand_q5_1;
    case TERN_DT_Q8_0:
        return expand_q8_0;
    case TERN_DT_IQ4_NL:
        return expand_iq4_nl;
    case TERN_DT_Q2_K:
        return expand_q2_k;
    case TERN_DT_Q3_K:
        return expand_q3_k;
    case TERN_DT_Q4_K:
        return expand_q4_k;
    case TERN_DT_Q5_K:
        return expand_q5_k;
    case TERN_DT_Q6_K:
        return expand_q6_k;
    default:
        return NULL;
    }
}

bool tern_expand_has_min(tern_dtype dt)
{
    return dt == TERN_DT_Q4_1 || dt == TERN_DT_Q5_1 || dt == TERN_DT_Q2_K || dt == TERN_DT_Q4_K ||
           dt == TERN_DT_Q5_K;
}
