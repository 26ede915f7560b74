/* Q2_K .. Q6_K: blocks of 256 elements whose 16 or 32 element groups have small integer scales
 * (and minima) under one f16 scale (and minimum).
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
 *     them                                              d * scale * (q - 32)
 *
 * Packing searches a scale (and minimum) per group, rounds these to integers, and then gives each
 * element the code nearest to it under the rounded scale. Groups whose scale rounds to 0 keep the
 * codes of the search: they mean nothing, but the reference quantiser writes them. */
#include "tensor/fmt/search.h"

#include <math.h>

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

#define BLOCK      256
#define GROUPS_MAX 16
static_assert(BLOCK == TERN_Q2_K_ELEMS && BLOCK == TERN_Q3_K_ELEMS && BLOCK == TERN_Q4_K_ELEMS &&
                  BLOCK == TERN_Q5_K_ELEMS && BLOCK == TERN_Q6_K_ELEMS,
              "K block");

/* One block as the search left it, before the scales are rounded. */
typedef struct k_fit {
    float scale[GROUPS_MAX];
    float low[GROUPS_MAX];    /* minima, subtracted; not negative */
    float weight[GROUPS_MAX]; /* of all elements of the group */
    uint8_t code[BLOCK];
} k_fit;

/* How a format with minima is searched. */
typedef struct k_lines {
    int elems;     /* of a group */
    float spread;  /* times the block's mean square: the variance under importance */
    int level_top; /* largest integer scale */
    tern_line_plan plan, by_importance;
} k_lines;

static void keep(k_fit *f, const tern_quad *g, size_t at, tern_f4 scale, tern_f4 low)
{
    tern_f4 weight = tern_quad_weight(g);
    memcpy(f->scale + at, &scale, sizeof scale);
    memcpy(f->low + at, &low, sizeof low);
    memcpy(f->weight + at, &weight, sizeof weight);
    tern_quad_codes(g, TERN_QUAD_GROUPS, f->code + at * (size_t)g->n);
}

static void fit_lines(k_fit *f, const k_lines *k, const float *x, const float *importance)
{
    size_t n = (size_t)k->elems;
    float variance = importance ? k->spread * tern_sum_squares(x, BLOCK) / (float)BLOCK : 0.0f;
    for (size_t at = 0; at * n < BLOCK; at += TERN_QUAD_GROUPS) {
        tern_quad g;
        tern_f4 low;
        tern_quad_load(&g, x + at * n, k->elems, TERN_QUAD_GROUPS);
        if (importance)
            tern_quad_weigh(&g, importance + at * n, TERN_QUAD_GROUPS, tern_splat(variance));
        else if (k->plan.absolute)
            tern_quad_weigh_size(&g);
        else
            tern_quad_weigh_spread(&g);
        tern_f4 scale = tern_quad_line(&g, importance ? &k->by_importance : &k->plan, &low);
        keep(f, &g, at, scale, low);
    }
}

/* Integer levels of the groups' scales or minima under one scale, which is returned. */
static float round_levels(const k_fit *f, const k_lines *k, const float *v, bool weighted,
                          uint8_t *level)
{
    int n = BLOCK / k->elems;
    float most = 0.0f;
    if (weighted)
        return tern_fit_levels(v, f->weight, n, k->level_top, level);
    for (int g = 0; g < n; g++)
        most = v[g] > most ? v[g] : most;
    float inverse = most > 0.0f ? (float)k->level_top / most : 0.0f;
    for (int g = 0; g < n; g++) {
        uint8_t q = (uint8_t)tern_nearest(inverse * v[g]);
        level[g] = q < k->level_top ? q : (uint8_t)k->level_top;
    }
    return most / (float)k->level_top;
}

/* Codes of a group under its final scale: x ~ d * code - low, codes least..most, stored from 0. */
static void recode(const float *x, int n, float d, float low, int least, int most, uint8_t *code)
{
    if (d == 0.0f)
        return;
    for (int i = 0; i < n; i++)
        code[i] = (uint8_t)(tern_clamp(tern_nearest((x[i] + low) / d), least, most) - least);
}

/* Levels and the two f16 of a block with minima, and its final codes. */
static void settle_lines(k_fit *f, const k_lines *k, const float *x, bool weighted, uint8_t d[2],
                         uint8_t dmin[2], uint8_t *scale, uint8_t *low)
{
    int n = k->elems;
    store_half(d, round_levels(f, k, f->scale, weighted, scale));
    store_half(dmin, round_levels(f, k, f->low, weighted, low));
    float unit = load_half(d), unit_low = load_half(dmin);
    for (int g = 0; g < BLOCK / n; g++)
        recode(x + g * n, n, unit * (float)scale[g], unit_low * (float)low[g], 0, k->plan.top,
               f->code + g * n);
}

/* Two-bit codes of Q2_K and Q3_K. */
static void encode_pairs(const uint8_t code[BLOCK], uint8_t qs[64])
{
    for (unsigned j = 0; j < 64; j++) {
        const uint8_t *q = code + 128 * (j / 32) + j % 32;
        qs[j] = (uint8_t)((q[0] & 3) | (q[32] & 3) << 2 | (q[64] & 3) << 4 | (q[96] & 3) << 6);
    }
}

void tern_q2_k_pack(const float *src, size_t rows, size_t cols, const float *importance,
                    uint8_t *dst)
{
    static const k_lines q2_k = {
        16, 1.0f, 15, {3, 15, -0.5f, 0.1f, true}, {3, 36, -0.9f, 0.05f, false}};
    block_q2_k *b = (void *)dst;
    k_fit f;
    uint8_t scale[16], low[16];
    for (size_t i = 0, n = rows * cols; i < n; i += BLOCK, b++) {
        const float *weigh = importance ? importance + i % cols : NULL;
        fit_lines(&f, &q2_k, src + i, weigh);
        settle_lines(&f, &q2_k, src + i, weigh != NULL, b->d, b->dmin, scale, low);
        for (unsigned g = 0; g < 16; g++)
            b->scales[g] = (uint8_t)(scale[g] | low[g] << 4);
        encode_pairs(f.code, b->qs);
    }
}

/* The inverse of q4_k_scale. */
static void encode_q4_k_scales(const uint8_t scale[8], const uint8_t low[8], uint8_t s[12])
{
    for (unsigned g = 0; g < 4; g++) {
        s[g] = (uint8_t)(scale[g] | scale[4 + g] >> 4 << 6);
        s[4 + g] = (uint8_t)(low[g] | low[4 + g] >> 4 << 6);
        s[8 + g] = (uint8_t)((scale[4 + g] & 15) | (low[4 + g] & 15) << 4);
    }
}

/* Low four bits of Q4_K and Q5_K. */
static void encode_nibbles(const uint8_t code[BLOCK], uint8_t qs[128])
{
    for (unsigned j = 0; j < 128; j++) {
        const uint8_t *q = code + 64 * (j / 32) + j % 32;
        qs[j] = (uint8_t)((q[0] & 15) | (q[32] & 15) << 4);
    }
}

void tern_q4_k_pack(const float *src, size_t rows, size_t cols, const float *importance,
                    uint8_t *dst)
{
    static const k_lines q4_k = {
        32, 2.0f, 63, {15, 20, -1.0f, 0.1f, false}, {15, 36, -0.9f, 0.05f, false}};
    block_q4_k *b = (void *)dst;
    k_fit f;
    uint8_t scale[8], low[8];
    for (size_t i = 0, n = rows * cols; i < n; i += BLOCK, b++) {
        const float *weigh = importance ? importance + i % cols : NULL;
        fit_lines(&f, &q4_k, src + i, weigh);
        settle_lines(&f, &q4_k, src + i, weigh != NULL, b->d, b->dmin, scale, low);
        encode_q4_k_scales(scale, low, b->scales);
        encode_nibbles(f.code, b->qs);
    }
}

void tern_q5_k_pack(const float *src, size_t rows, size_t cols, const float *importance,
                    uint8_t *dst)
{
    static const k_lines q5_k = {
        32, 2.0f, 63, {31, 15, -0.5f, 0.1f, false}, {31, 36, -0.9f, 0.05f, false}};
    block_q5_k *b = (void *)dst;
    k_fit f;
    uint8_t scale[8], low[8];
    for (size_t i = 0, n = rows * cols; i < n; i += BLOCK, b++) {
        const float *weigh = importance ? importance + i % cols : NULL;
        fit_lines(&f, &q5_k, src + i, weigh);
        settle_lines(&f, &q5_k, src + i, weigh != NULL, b->d, b->dmin, scale, low);
        encode_q4_k_scales(scale, low, b->scales);
        encode_nibbles(f.code, b->qs);
        memset(b->qh, 0, sizeof b->qh);
        for (unsigned e = 0; e < BLOCK; e++)
            b->qh[e % 32] = (uint8_t)(b->qh[e % 32] | f.code[e] >> 4 << e / 32);
    }
}

/* The scale of largest magnitude with its sign, the first of equals; 0 when none is a number. */
static float largest(const float scale[GROUPS_MAX])
{
    float most = 0.0f;
    for (int g = 0; g < GROUPS_MAX; g++)
        most = fabsf(scale[g]) > fabsf(most) ? scale[g] : most;
    return most;
}

/* Sixteen groups without minima. */
typedef tern_f4 search_scale(tern_quad *g, int half);

static void fit_scales(k_fit *f, const float *x, search_scale *search, int half,
                       const float *importance, const float *variance)
{
    for (size_t at = 0; at < GROUPS_MAX; at += TERN_QUAD_GROUPS) {
        tern_quad g;
        tern_f4 none = {0};
        tern_quad_load(&g, x + 16 * at, 16, TERN_QUAD_GROUPS);
        if (!importance)
            tern_quad_weigh_square(&g);
        else if (variance)
            tern_quad_weigh(&g, importance + 16 * at, TERN_QUAD_GROUPS, tern_splat(*variance));
        else
            tern_quad_weigh_flat(&g, importance + 16 * at, TERN_QUAD_GROUPS);
        tern_f4 scale = search(&g, half);
        keep(f, &g, at, scale, none);
    }
}

/* Levels 0..63 of Q3_K's scales; level - 32 counts. The largest gets -32. Returns their scale. */
static float round_q3_k(const k_fit *f, bool weighted, uint8_t level[GROUPS_MAX])
{
    if (weighted) {
        tern_quad g;
        tern_quad_load(&g, f->scale, GROUPS_MAX, 1);
        tern_quad_weigh_flat(&g, f->weight, 1);
        tern_f4 d = tern_quad_scale(&g, 32);
        tern_quad_codes(&g, 1, level);
        return d[0];
    }
    float most = largest(f->scale);
    if (most == 0.0f) {
        memset(level, 0, GROUPS_MAX);
        return 0.0f;
    }
    float inverse = -32.0f / most;
    for (int g = 0; g < GROUPS_MAX; g++)
        level[g] = (uint8_t)(tern_clamp(tern_nearest(inverse * f->scale[g]), -32, 31) + 32);
    return 1.0f / inverse;
}

/* The inverse of q3_k_scale. */
static void encode_q3_k_scales(const uint8_t level[GROUPS_MAX], uint8_t s[12])
{
    for (unsigned j = 0; j < 8; j++)
        s[j] = (uint8_t)((level[j] & 15) | (level[8 + j] & 15) << 4);
    for (unsigned j = 0; j < 4; j++)
        s[8 + j] = (uint8_t)(level[j] >> 4 | level[4 + j] >> 4 << 2 | level[8 + j] >> 4 << 4 |
                             level[12 + j] >> 4 << 6);
}

void tern_q3_k_pack(const float *src, size_t rows, size_t cols, const float *importance,
                    uint8_t *dst)
{
    block_q3_k *b = (void *)dst;
    k_fit f;
    uint8_t level[GROUPS_MAX];
    for (size_t i = 0, n = rows * cols; i < n; i += BLOCK, b++) {
        const float *x = src + i, *weigh = importance ? importance + i % cols : NULL;
        float variance = weigh ? 2.0f * tern_sum_squares(x, BLOCK) / (float)BLOCK : 0.0f;
        fit_scales(&f, x, weigh ? tern_quad_scale : tern_quad_descend, 4, weigh, &variance);
        store_half(b->d, round_q3_k(&f, weigh != NULL, level));
        float unit = load_half(b->d);
        for (int g = 0; g < GROUPS_MAX; g++)
            recode(x + 16 * g, 16, unit * (float)(level[g] - 32), 0.0f, -4, 3, f.code + 16 * g);
        encode_q3_k_scales(level, b->scales);
        encode_pairs(f.code, b->qs);
        memset(b->hmask, 0, sizeof b->hmask);
        for (unsigned e = 0; e < BLOCK; e++)
            b->hmask[e % 32] = (uint8_t)(b->hmask[e % 32] | f.code[e] >> 2 << e / 32);
    }
}

static void encode_q6_k(const uint8_t code[BLOCK], block_q6_k *b)
{
    for (unsigned j = 0; j < 64; j++) { /* j = 32 h + l */
        const uint8_t *q = code + 128 * (j / 32) + j % 32;
        uint8_t *low = b->ql + 64 * (j / 32) + j % 32;
        low[0] = (uint8_t)((q[0] & 15) | (q[64] & 15) << 4);
        low[32] = (uint8_t)((q[32] & 15) | (q[96] & 15) << 4);
        b->qh[j] = (uint8_t)(q[0] >> 4 | q[32] >> 4 << 2 | q[64] >> 4 << 4 | q[96] >> 4 << 6);
    }
}

/* Importance is the weight itself here. A block whose scales are all below 1e-15 is zero bytes. */
void tern_q6_k_pack(const float *src, size_t rows, size_t cols, const float *importance,
                    uint8_t *dst)
{
    block_q6_k *b = (void *)dst;
    k_fit f;
    for (size_t i = 0, n = rows * cols; i < n; i += BLOCK, b++) {
        const float *x = src + i, *weigh = importance ? importance + i % cols : NULL;
        fit_scales(&f, x, tern_quad_scale, 32, weigh, NULL);
        float most = largest(f.scale), inverse = -128.0f / most;
        if (fabsf(most) < 1e-15f) {
            memset(b, 0, sizeof *b);
            continue;
        }
        store_half(b->d, 1.0f / inverse);
        float unit = load_half(b->d);
        for (int g = 0; g < GROUPS_MAX; g++) {
            int level = tern_nearest(inverse * f.scale[g]);
            b->scales[g] = (int8_t)(level < 127 ? level : 127);
            recode(x + 16 * g, 16, unit * (float)b->scales[g], 0.0f, -32, 31, f.code + 16 * g);
        }
        encode_q6_k(f.code, b);
    }
}
