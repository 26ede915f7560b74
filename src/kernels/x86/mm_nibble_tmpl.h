/* One token and rows of Q4_0 or Q4_1: decoding, which must keep up with memory. The nibbles go straight
 * into the products, as unsigned numbers u, without a pass through scratch; the sums are those of
 * mm_block_tmpl.h, bit for bit: Q4_0's v = u - 8 becomes a sum of u q that starts at -8 sum q. The includer
 * has what mm_block_tmpl.h wants, and quad_dot_u(sum, u, q) for u in 0..15.
 *
 * Four rows share the token's vectors; each asks for the row that follows four later. */

#include <string.h>

#define NIBBLE_ROWS 4

LANES_INLINE int half_at(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return h;
}

LANES_INLINE int two_halves_at(const uint8_t *p)
{
    int h;
    memcpy(&h, p, sizeof h);
    return h;
}

typedef struct nibble_rows {
    const uint8_t *w; /* block b of row i at w + i * w_stride + b * blk */
    size_t w_stride;
    float *min[NIBBLE_ROWS]; /* Q4_1: one per block, in scratch */
} nibble_rows;

/* Blocks b and b + 1 of n_row rows, at block `at` of m->w. d: the token's two scales. */
LANES_INLINE void nibble_step(vf acc[NIBBLE_ROWS], const nibble_rows *m, int at, int b,
                              const int8_t *q, const float *d, const int n_row, const int has_min)
{
    const size_t blk = has_min ? 20 : 18;
    vi qv = vi_load(q), start = vi_zero();
    if (!has_min)
        start = vi_neg(quad_dot_u(start, vi_set1_i8(8), qv));
    __m128 d2 = _mm_castpd_ps(_mm_load_sd((const double *)(const void *)d));
    LANES_UNROLL
    for (int i = 0; i < n_row; i++) {
        const uint8_t *p = m->w + (size_t)i * m->w_stride + (size_t)at * blk;
        _mm_prefetch((const char *)((uintptr_t)p + NIBBLE_ROWS * m->w_stride), _MM_HINT_T1);
        __m128 s;
        if (has_min) {
            __m128i h = _mm_cvtsi32_si128(two_halves_at(p));
            h = _mm_insert_epi32(h, two_halves_at(p + blk), 1);
            s = _mm_cvtph_ps(h); /* d m d m */
            _mm_storel_pi((__m64 *)(m->min[i] + b), _mm_shuffle_ps(s, s, 0x0d));
            s = _mm_shuffle_ps(s, s, 0x08);
        } else {
            __m128i h = _mm_cvtsi32_si128(half_at(p));
            s = _mm_cvtph_ps(_mm_insert_epi16(h, half_at(p + blk), 1));
        }
        vi u = vi_nibbles(p + blk - 16, p + blk + blk - 16);
        vf x = vf_from_i32(quad_dot_u(start, u, qv));
        acc[i] = vf_add(acc[i], vf_mul(x, vf_oct(_mm_mul_ps(s, d2))));
    }
}

/* Rows [r, r + n_row). */
LANES_INLINE void nibble_tile(const tern_mm *k, int r, const int n_row, const int has_min)
{
    const size_t blk = has_min ? 20 : 18;
    int n = k->cols / 32, b = 0;
    const float *d = k->act.scale;
    vf acc[NIBBLE_ROWS];
    nibble_rows m = {.w = k->w + (size_t)r * k->w_stride, .w_stride = k->w_stride};
    LANES_UNROLL
    for (int i = 0; i < n_row; i++) {
        acc[i] = vf_zero();
        m.min[i] = tern_row_slot_get(k->scratch, k->cols, i).min16;
    }
    for (; b + 2 <= n; b += 2)
        nibble_step(acc, &m, b, b, k->act.q + 32 * b, d + b, n_row, has_min);
    if (b < n) { /* the last block beside one of zeros, since nothing after it may be read */
        uint8_t last[NIBBLE_ROWS][40] = {{0}};
        const float d2[2] = {d[b], 0};
        for (int i = 0; i < n_row; i++)
            memcpy(last[i], m.w + (size_t)i * k->w_stride + (size_t)b * blk, blk);
        m.w = last[0];
        m.w_stride = sizeof last[0];
        nibble_step(acc, &m, 0, b, k->act.q + 32 * b, d2, n_row, has_min);
    }
    LANES_UNROLL
    for (int i = 0; i < n_row; i++)
        k->y[r + i] = vf_fold(acc[i]);
    if (!has_min)
        return;
    LANES_UNROLL
    for (int i = 0; i < n_row; i++)
        acc[i] = vf_zero();
    for (int g = 0; g < 2 * n; g += 16) {
        int h = 2 * n - g < 16 ? 2 * n - g : 16;
        vf x = vf_mul(vf_dup_scale_n(d + g / 2, h), vf_load_n_i32(k->act.sum + g, h));
        LANES_UNROLL
        for (int i = 0; i < n_row; i++)
            acc[i] = vf_add(acc[i], vf_mul(vf_dup_scale_n(m.min[i] + g / 2, h), x));
    }
    LANES_UNROLL
    for (int i = 0; i < n_row; i++)
        k->y[r + i] += vf_fold(acc[i]);
}

LANES_INLINE void nibble_rows_all(const tern_mm *k, int row0, int row1, const int has_min)
{
    int r = row0;
    for (; r + NIBBLE_ROWS <= row1; r += NIBBLE_ROWS)
        nibble_tile(k, r, NIBBLE_ROWS, has_min);
    for (; r < row1; r++)
        nibble_tile(k, r, 1, has_min);
}
