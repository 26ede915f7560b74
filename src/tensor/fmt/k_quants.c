/* Q2_K .. Q6_K: blocks of 256 elements whose 16 or 32 element groups have small integer scales
 * (and minima) under one f16 scale (and minimum). Read only.
 *
 * Element e lies in half h = e / 128 and there in quarter n = e % 128 / 32 at l = e % 32 (Q2_K, Q3_K,
 * Q6_K); Q4_K and Q5_K count groups g = e / 32.
 *
 *   Q2_K | scales[16] | qs[64] | d f16 | dmin f16 |
 *     scales[e / 16]  | 7..4: minimum | 3..0: scale |
 *     qs[32 h + l]    bits 2n, 2n + 1: q               d * scale * q - dmin * minimum
 *   Q3_K | hmask[32] | qs[64] | scales[12] | d f16 |
 *     qs as Q2_K; bit 4 h + n of hmask[l] clear: q - 4  d * (scale - 32) * q
 *   Q4_K | d f16 | dmin f16 | scales[12] | qs[128] |
 *     qs[32 (g / 2) + l]  | 7..4: odd g | 3..0: even g |  d * scale * q - dmin * minimum
 *   Q5_K | d f16 | dmin f16 | scales[12] | qh[32] | qs[128] |
 *     as Q4_K; bit g of qh[l] is bit 4 of q
 *   Q6_K | ql[128] | qh[64] | scales[16] i8 | d f16 |
 *     ql[64 h + 32 (n & 1) + l]  | 7..4: n >= 2 | 3..0: n < 2 |, qh[32 h + l] bits 2n, 2n + 1 above
 *     them                                              d * scale * (q - 32) */
#include "tensor/fmt/fmt.h"

typedef struct block_q2_k {
    uint8_t scales[16];
    uint8_t qs[64];
    uint8_t d[2], dmin[2];
} block_q2_k;
static_assert(sizeof(block_q2_k) == TERN_Q2_K_BYTES, "Q2_K block");

typedef struct block_q3_k {
    uint8_t hmask[32];
    uint8_t qs[64];
    uint8_t scales[12];
    uint8_t d[2];
} block_q3_k;
static_assert(sizeof(block_q3_k) == TERN_Q3_K_BYTES, "Q3_K block");

typedef struct block_q4_k {
    uint8_t d[2], dmin[2];
    uint8_t scales[12];
    uint8_t qs[128];
} block_q4_k;
static_assert(sizeof(block_q4_k) == TERN_Q4_K_BYTES, "Q4_K block");

typedef struct block_q5_k {
    uint8_t d[2], dmin[2];
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t qs[128];
} block_q5_k;
static_assert(sizeof(block_q5_k) == TERN_Q5_K_BYTES, "Q5_K block");

typedef struct block_q6_k {
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    uint8_t d[2];
} block_q6_k;
static_assert(sizeof(block_q6_k) == TERN_Q6_K_BYTES, "Q6_K block");

void tern_q2_k_unpack_row(const tern_tensor *t, size_t row, float *restrict dst)
{
    const block_q2_k *b = (const void *)block_row(t, row, TERN_Q2_K_ELEMS, sizeof *b);
    for (size_t i = 0; i < t->ne[0]; i += TERN_Q2_K_ELEMS, b++) {
        float d = load_half(b->d), dmin = load_half(b->dmin);
        for (unsigned s = 0; s < 16; s++) { /* s = e / 16 = 8 h + 2 n + (l >= 16) */
            const uint8_t *q = b->qs + 32 * (s / 8) + 16 * (s % 2);
            unsigned shift = s % 8 / 2 * 2;
            float scale = d * (float)(b->scales[s] & 15), low = dmin * (float)(b->scales[s] >> 4);
            for (unsigned l = 0; l < 16; l++)
                dst[i + 16 * s + l] = scale * (float)(q[l] >> shift & 3) - low;
        }
    }
}

/* Sixteen 6-bit scales: low four bits in the nibbles of s[0..8), high two in those of s[8..12). */
static int q3_k_scale(const uint8_t s[12], unsigned j)
{
    int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
    int high = s[8 + j % 4] >> (2 * (j / 4)) & 3;
    return (low | high << 4) - 32;
}

void tern_q3_k_unpack_row(const tern_tensor *t, size_t row, float *restrict dst)
{
    const block_q3_k *b = (const void *)block_row(t, row, TERN_Q3_K_ELEMS, sizeof *b);
    for (size_t i = 0; i < t->ne[0]; i += TERN_Q3_K_ELEMS, b++) {
        float d = load_half(b->d);
        for (unsigned s = 0; s < 16; s++) {
            const uint8_t *q = b->qs + 32 * (s / 8) + 16 * (s % 2);
            const uint8_t *high = b->hmask + 16 * (s % 2);
            unsigned shift = s % 8 / 2 * 2, bit = s / 2;
            float scale = d * (float)q3_k_scale(b->scales, s);
            for (unsigned l = 0; l < 16; l++)
                dst[i + 16 * s + l] =
                    scale * (float)((q[l] >> shift & 3) + 4 * (high[l] >> bit & 1) - 4);
        }
    }
}

/* Eight 6-bit scales and minima: groups 0..3 lie whole in s[0..8); groups 4..7 have their low four
 * bits in s[8..12) and the high two in the top of s[0..8). */
static void q4_k_scale(const uint8_t s[12], unsigned g, int *scale, int *minimum)
{
    if (g < 4) {
        *scale = s[g] & 63;
        *minimum = s[g + 4] & 63;
    } else {
        *scale = (s[g + 4] & 15) | s[g - 4] >> 6 << 4;
        *minimum = s[g + 4] >> 4 | s[g] >> 6 << 4;
    }
}

void tern_q4_k_unpack_row(const tern_tensor *t, size_t row, float *restrict dst)
{
    const block_q4_k *b = (const void *)block_row(t, row, TERN_Q4_K_ELEMS, sizeof *b);
    for (size_t i = 0; i < t->ne[0]; i += TERN_Q4_K_ELEMS, b++) {
        float d = load_half(b->d), dmin = load_half(b->dmin);
        for (unsigned g = 0; g < 8; g++) {
            const uint8_t *q = b->qs + 32 * (g / 2);
            int sc, mn;
            q4_k_scale(b->scales, g, &sc, &mn);
            float scale = d * (float)sc, low = dmin * (float)mn;
            for (unsigned l = 0; l < 32; l++)
                dst[i + 32 * g + l] = scale * (float)(q[l] >> 4 * (g % 2) & 15) - low;
        }
    }
}

void tern_q5_k_unpack_row(const tern_tensor *t, size_t row, float *restrict dst)
{
    const block_q5_k *b = (const void *)block_row(t, row, TERN_Q5_K_ELEMS, sizeof *b);
    for (size_t i = 0; i < t->ne[0]; i += TERN_Q5_K_ELEMS, b++) {
        float d = load_half(b->d), dmin = load_half(b->dmin);
        for (unsigned g = 0; g < 8; g++) {
            const uint8_t *q = b->qs + 32 * (g / 2);
            int sc, mn;
            q4_k_scale(b->scales, g, &sc, &mn);
            float scale = d * (float)sc, low = dmin * (float)mn;
            for (unsigned l = 0; l < 32; l++)
                dst[i + 32 * g + l] =
                    scale * (float)((q[l] >> 4 * (g % 2) & 15) + 16 * (b->qh[l] >> g & 1)) - low;
        }
    }
}

void tern_q6_k_unpack_row(const tern_tensor *t, size_t row, float *restrict dst)
{
    const block_q6_k *b = (const void *)block_row(t, row, TERN_Q6_K_ELEMS, sizeof *b);
    for (size_t i = 0; i < t->ne[0]; i += TERN_Q6_K_ELEMS, b++) {
        float d = load_half(b->d);
        for (unsigned s = 0; s < 16; s++) {
            unsigned h = s / 8, n = s % 8 / 2, l0 = 16 * (s % 2);
            const uint8_t *low = b->ql + 64 * h + 32 * (n & 1) + l0;
            const uint8_t *high = b->qh + 32 * h + l0;
            float scale = d * (float)b->scales[s];
            for (unsigned l = 0; l < 16; l++)
                dst[i + 16 * s + l] = scale * (float)((low[l] >> 4 * (n / 2) & 15) +
                                                      16 * (high[l] >> 2 * n & 3) - 32);
        }
    }
}
