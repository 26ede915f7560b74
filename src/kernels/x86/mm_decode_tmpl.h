/* One token and rows of Q4_0, Q4_1, Q8_0 or Q6_K: decoding, which must keep up with memory. The codes go
 * straight into the products without a pass through scratch; the sums are those of mm_block_tmpl.h, bit for
 * bit. Q4_0's v = u - 8 and Q6_K's v = u - 32 become sums of u q that start at -8 or -32 times the sum
 * of q. The includer has what mm_block_tmpl.h wants, and quad_dot_u(sum, u, q) for u in 0..63.
 *
 * Four rows share the token's vectors; each asks for memory far ahead of itself. */

#include <string.h>

#define DECODE_ROWS TERN_ROW_TILE

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

LANES_INLINE void ask(const uint8_t *p, size_t ahead)
{
    _mm_prefetch((const char *)((uintptr_t)p + ahead), _MM_HINT_T1);
}

/* sum over the vector's quads of -bias * q: what makes unsigned codes signed */
LANES_INLINE vi biased_start(vi q, int bias)
{
    return vi_neg(quad_dot_u(vi_zero(), vi_set1_i8((int8_t)bias), q));
}

/* ---- blocks of 32 ------------------------------------------------------------------------- */

typedef struct decode_rows {
    const uint8_t *w; /* block b of row i at w + i * w_stride + b * blk */
    size_t w_stride, ahead;
    float *min[DECODE_ROWS]; /* Q4_1: one per block, in scratch */
} decode_rows;

LANES_INLINE size_t decode_blk(const tern_dtype dt)
{
    return dt == TERN_DT_Q4_0 ? 18 : dt == TERN_DT_Q4_1 ? 20 : 34;
}

LANES_INLINE vf dot_q8(const uint8_t *p, const vi *q)
{
    vf x;
    LANES_UNROLL
    for (int h = 0; h < N_PART; h++) {
        row_int row = row_prepare(pi_load_q8(p, h));
        *vf_part(&x, h) = pf_from_i32(quad_dot(&row, tok_prepare(*vi_part(q, h))));
    }
    return x;
}

/* Blocks b and b + 1 of n_row rows, at block `at` of m->w. d: the token's two scales. */
LANES_INLINE void decode_step(vf acc[DECODE_ROWS], const decode_rows *m, int at, int b,
                              const int8_t *q, const float *d, const int n_row, const tern_dtype dt)
{
    const size_t blk = decode_blk(dt);
    vi qv = vi_load(q), start = dt == TERN_DT_Q4_0 ? biased_start(qv, 8) : vi_zero();
    __m128 d2 = _mm_castpd_ps(_mm_load_sd((const double *)(const void *)d));
    LANES_UNROLL
    for (int i = 0; i < n_row; i++) {
        const uint8_t *p = m->w + (size_t)i * m->w_stride + (size_t)at * blk;
        ask(p, m->ahead);
        if (dt == TERN_DT_Q8_0) /* 68 bytes a step: one line in sixteen would be left out */
            ask(p + 34, m->ahead);
        __m128 s;
        if (dt == TERN_DT_Q4_1) {
            __m128i h = _mm_cvtsi32_si128(two_halves_at(p));
            s = _mm_cvtph_ps(_mm_insert_epi32(h, two_halves_at(p + blk), 1)); /* d m d m */
            _mm_storel_pi((__m64 *)(m->min[i] + b), _mm_shuffle_ps(s, s, 0x0d));
            s = _mm_shuffle_ps(s, s, 0x08);
        } else {
            __m128i h = _mm_cvtsi32_si128(half_at(p));
            s = _mm_cvtph_ps(_mm_insert_epi16(h, half_at(p + blk), 1));
        }
        vf x;
        if (dt == TERN_DT_Q8_0)
            x = dot_q8(p, &qv);
        else
            x = vf_from_i32(quad_dot_u(start, vi_nibbles(p + blk - 16, p + blk + blk - 16), qv));
        acc[i] = vf_add(acc[i], vf_mul(x, vf_oct(_mm_mul_ps(s, d2))));
    }
}

/* The minima of Q4_1, kept by decode_step. */
LANES_INLINE void decode_minima(const tern_mm *k, int r, const decode_rows *m, const int n_row)
{
    vf acc[DECODE_ROWS];
    float y[DECODE_ROWS];
    LANES_UNROLL
    for (int i = 0; i < n_row; i++)
        acc[i] = vf_zero();
    int n = k->cols / 16;
    for (int g = 0; g < n; g += 16) {
        int h = n - g < 16 ? n - g : 16;
        vf x = vf_mul(vf_dup_scale_n(k->act.scale + g / 2, h), vf_load_n_i32(k->act.sum + g, h));
        LANES_UNROLL
        for (int i = 0; i < n_row; i++)
            acc[i] = vf_add(acc[i], vf_mul(vf_dup_scale_n(m->min[i] + g / 2, h), x));
    }
    vf_fold_rows(y, acc, n_row);
    for (int i = 0; i < n_row; i++)
        k->y[r + i] += y[i];
}

/* Rows [r, r + n_row). */
LANES_INLINE void decode_tile(const tern_mm *k, int r, const int n_row, const tern_dtype dt)
{
    const size_t blk = decode_blk(dt);
    int n = k->cols / 32, b = 0;
    vf acc[DECODE_ROWS];
    decode_rows m = {.w = k->w + (size_t)r * k->w_stride,
                     .w_stride = k->w_stride,
                     .ahead = tern_rows_ahead(k->w_stride)};
    LANES_UNROLL
    for (int i = 0; i < n_row; i++) {
        acc[i] = vf_zero();
        m.min[i] = tern_row_slot_get(k->scratch, k->cols, i).min16;
    }
    for (; b + 2 <= n; b += 2)
        decode_step(acc, &m, b, b, k->act.q + 32 * b, k->act.scale + b, n_row, dt);
    if (b < n) { /* the last block beside one of zeros, since nothing after it may be read */
        uint8_t last[DECODE_ROWS][80] = {{0}};
        const float d2[2] = {k->act.scale[b], 0};
        for (int i = 0; i < n_row; i++)
            memcpy(last[i], m.w + (size_t)i * k->w_stride + (size_t)b * blk, blk);
        m.w = last[0];
        m.w_stride = sizeof last[0];
        decode_step(acc, &m, 0, b, k->act.q + 32 * b, d2, n_row, dt);
    }
    vf_fold_rows(k->y + r, acc, n_row);
    if (dt == TERN_DT_Q4_1)
        decode_minima(k, r, &m, n_row);
}

/* ---- Q6_K --------------------------------------------------------------------------------- */

/* Block b of 256: four vectors of 64. The vector 2h + s holds the low (s = 0) or high nibbles of 64
 * bytes, and of 32 bytes the bit pairs 2s for its first and 2s + 1 for its second half. */
LANES_INLINE void q6_k_step(vf acc[DECODE_ROWS], const tern_mm *k, int r, int b, const int n_row)
{
    vf scale[DECODE_ROWS];
    const uint8_t *w = k->w + (size_t)r * k->w_stride + (size_t)b * 210;
    LANES_UNROLL
    for (int i = 0; i < n_row; i++) {
        const uint8_t *p = w + (size_t)i * k->w_stride;
        __m128 d = _mm_cvtph_ps(_mm_cvtsi32_si128(half_at(p + 208)));
        scale[i] = vf_mul(vf_load_i8(p + 192), vf_set1(_mm_cvtss_f32(d)));
    }
    LANES_UNROLL
    for (int v = 0; v < 4; v++) {
        vi q = vi_load(k->act.q + 256 * b + 64 * v), start = biased_start(q, 32);
        vf d = vf_oct_scale(k->act.scale + 8 * b + 2 * v);
        LANES_UNROLL
        for (int i = 0; i < n_row; i++) {
            const uint8_t *p = w + (size_t)i * k->w_stride;
            ask(p + 64 * v, tern_rows_ahead(k->w_stride));
            vi u = vi_six_bits(p + 64 * (v / 2), p + 128 + 32 * (v / 2), v & 1);
            vf x = vf_from_i32(quad_dot_u(start, u, q));
            acc[i] = vf_add(acc[i], vf_mul(x, vf_mul(vf_quad(scale[i], v), d)));
        }
    }
}

LANES_INLINE void q6_k_tile(const tern_mm *k, int r, const int n_row)
{
    vf acc[DECODE_ROWS];
    LANES_UNROLL
    for (int i = 0; i < n_row; i++)
        acc[i] = vf_zero();
    for (int b = 0; b < k->cols / 256; b++)
        q6_k_step(acc, k, r, b, n_row);
    vf_fold_rows(k->y + r, acc, n_row);
}

/* ---- all rows ----------------------------------------------------------------------------- */

LANES_INLINE void decode_all(const tern_mm *k, int row0, int row1, const tern_dtype dt)
{
    int r = row0;
    for (; r + DECODE_ROWS <= row1; r += DECODE_ROWS) {
        if (dt == TERN_DT_Q6_K)
            q6_k_tile(k, r, DECODE_ROWS);
        else
            decode_tile(k, r, DECODE_ROWS, dt);
    }
    for (; r < row1; r++) {
        if (dt == TERN_DT_Q6_K)
            q6_k_tile(k, r, 1);
        else
            decode_tile(k, r, 1, dt);
    }
}

/* False for a format that has no form of its own here. */
static bool decode(const tern_mm *k, int row0, int row1)
{
    switch (k->dtype) {
    case TERN_DT_Q4_0:
        decode_all(k, row0, row1, TERN_DT_Q4_0);
        return true;
    case TERN_DT_Q4_1:
        decode_all(k, row0, row1, TERN_DT_Q4_1);
        return true;
    case TERN_DT_Q8_0:
        decode_all(k, row0, row1, TERN_DT_Q8_0);
        return true;
    case TERN_DT_Q6_K:
        decode_all(k, row0, row1, TERN_DT_Q6_K);
        return true;
    default:
        return false;
    }
}
