/* The loops over screening planes, shared by the x86 instruction sets. The file that includes this
 * defines its vectors first, as dot products need them:
 *   vi, vf, VL      integer and float vector; VL its 32-bit elements, 8 or 16
 *   vsum            sums under way
 *   v_load v_set1 v_sub v_sll v_sra   integers of 32 bits; v_halves(v, lo, hi) splits bytes into halves
 *   HIGH_SHIFT      what sums of high halves must be shifted by
 *   v_bits(v, p)    bit p of each byte, shifted left by BIT_SHIFT(p)
 *   v_dot(sum, c, x)  sum + products of unsigned codes c and signed x, both sums of 32 bits
 *   WHOLE           v_dot takes whole bytes of codes too
 *   f_cvt f_set1 f_load f_add f_mul   floats; f_store(p, v, n) writes the first n
 *   SCREEN_FN(name) the function's name
 * A stripe comes from memory for the first tokens and is in a cache for the others. */
#include "kernels/kernel.h"
#include "kernels/x86/interleave.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))
/* Stripes and tokens that are summed together: with 512 bits each vector of codes serves four tokens and each
 * input two stripes, in sixteen sums; with 256 there are no registers for more than one of each. */
#define STRIPES (VL == 16 ? 2 : 1)
#define TOKENS  (VL == 16 ? 4 : 1)
#define PARTS   (16 / VL) /* vectors of one packed 64-byte vector */
#define VECS    (STRIPES * PARTS)

INLINE int32_t load_i32(const void *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Sums of one token and VL rows: of high bytes times both halves of the codes, and of low ones. */
enum { HIGH0, HIGH1, LOW0, LOW1, N_SUM };

INLINE void put_sums(const tern_screen4 *k, int t, const vsum sum[N_SUM], int row, int row1)
{
    const int32_t *all = k->act.sum + 2 * t;
    vi h = v_add((vi)sum[HIGH0], v_sra((vi)sum[HIGH1], HIGH_SHIFT));
    vi l = WHOLE ? (vi)sum[LOW0] : v_add((vi)sum[LOW0], v_sll((vi)sum[LOW1], 4));
    vf y = f_mul(f_cvt(v_sub(v_add(h, h), v_set1(15 * all[0]))), f_set1(256.0f));
    y = f_add(y, f_cvt(v_sub(v_add(l, l), v_set1(15 * all[1]))));
    y = f_mul(f_mul(y, f_set1(k->act.scale[t])), f_load(k->scale + row));
    f_store(k->y + (size_t)t * k->y_stride + (size_t)row, y, row1 - row);
}

/* Eight columns of some stripes and n tokens. apart: sums of both halves of the codes, for more that can
 * be under way. */
INLINE void eight(vsum sum[][VECS][N_SUM], const int n, const int stripes, const bool apart,
                  const uint8_t *w, size_t w_stride, const int8_t *hi, const int8_t *lo,
                  size_t stride)
{
    const int second = apart || HIGH_SHIFT ? HIGH1 : HIGH0;
    vi v[VECS], c0[VECS], c1[VECS];
#pragma GCC unroll 2
    for (int i = 0; i < stripes * PARTS; i++) {
        v[i] = v_load(w + (size_t)(i / PARTS) * w_stride + i % PARTS * 32);
        v_halves(v[i], c0[i], c1[i]);
    }
#pragma GCC unroll 4
    for (int t = 0; t < n; t++) {
        vi x0 = v_set1(load_i32(hi + (size_t)t * stride));
        vi x1 = v_set1(load_i32(hi + (size_t)t * stride + 4));
        vi x = v_set1(load_i32(lo + (size_t)t * stride));
#pragma GCC unroll 2
        for (int i = 0; i < stripes * PARTS; i++) {
            vsum *s = sum[t][i];
            s[HIGH0] = v_dot(s[HIGH0], c0[i], x0);
            s[second] = v_dot(s[second], c1[i], x1);
            s[LOW0] = v_dot(s[LOW0], WHOLE ? v[i] : c0[i], x);
            if (!WHOLE)
                s[LOW1] = v_dot(s[LOW1], c1[i], x);
        }
    }
}

/* Some stripes and tokens t0..t0 + n; n is a constant, at most TOKENS. A single one has other sums for every
 * second packed vector instead. Bytes are prefetched `ahead` of their use. */
INLINE void tile(const tern_screen4 *k, int t0, const int n, const int stripes, int row, int row1,
                 size_t ahead)
{
    const int chains = n * stripes == 1 && VL == 16 ? 2 : 1;
    const size_t stride = k->act.stride, w_stride = k->w_stride;
    const uint8_t *w = k->w + (size_t)(row / 16) * w_stride;
    const int8_t *hi = k->act.hi + (size_t)t0 * stride;
    const int8_t *lo = k->act.lo + (size_t)t0 * stride;
    int n_vec = (k->cols + 7) / 8;
    vsum sum[TOKENS][VECS][N_SUM];
#pragma GCC unroll 4
    for (int t = 0; t < n * chains; t++)
#pragma GCC unroll 2
        for (int i = 0; i < stripes * PARTS; i++)
#pragma GCC unroll 4
            for (int j = 0; j < N_SUM; j++)
                sum[t][i][j] = (vsum)v_set1(0);
    for (; n_vec >= chains; n_vec -= chains, w += 64 * chains, hi += 8 * chains, lo += 4 * chains) {
        if (ahead) /* the hardware's streams stop at each 4 KiB page */
#pragma GCC unroll 2
            for (int i = 0; i < stripes; i++)
                _mm_prefetch((const char *)w + (size_t)i * w_stride + ahead, _MM_HINT_T0);
        eight(sum, n, stripes, n == 1, w, w_stride, hi, lo, stride);
        if (chains == 2) {
            if (ahead)
                _mm_prefetch((const char *)w + ahead + 64, _MM_HINT_T0);
            eight(sum + 1, n, stripes, n == 1, w + 64, w_stride, hi + 8, lo + 4, stride);
        }
    }
    if (n_vec > 0)
        eight(sum, n, stripes, n == 1, w, w_stride, hi, lo, stride);
    if (chains == 2)
#pragma GCC unroll 4
        for (int j = 0; j < N_SUM; j++)
            sum[0][0][j] += sum[1 % TOKENS][0][j];
#pragma GCC unroll 4
    for (int t = 0; t < n; t++)
#pragma GCC unroll 2
        for (int i = 0; i < stripes * PARTS; i++)
            if (row + i * VL < row1)
                put_sums(k, t0 + t, sum[t][i], row + i * VL, row1);
}

void SCREEN_FN(screen4)(const tern_screen4 *k, int row0, int row1)
{
    int r = row0;
#if VL == 16
    for (; k->n_tok > 1 && r + 16 < row1; r += 32) {
        size_t ahead = 2 * k->w_stride;
        int t = 0;
        for (; t + 4 <= k->n_tok; t += 4, ahead = 0)
            tile(k, t, 4, 2, r, row1, ahead);
        if (k->n_tok - t == 3)
            tile(k, t, 3, 2, r, row1, ahead);
        else if (k->n_tok - t == 2)
            tile(k, t, 2, 2, r, row1, ahead);
        else if (k->n_tok - t == 1)
            tile(k, t, 1, 2, r, row1, ahead);
    }
#endif
    for (; r < row1; r += 16) {
        size_t ahead = 8192;
        for (int t = 0; t < k->n_tok; t++, ahead = 0)
            tile(k, t, 1, 1, r, row1, ahead);
    }
}

/* Listed rows whose sums are folded together, and of these how many go side by side, each vector of inputs
 * for all. Codes that stay at their place in a byte have sums of their own there. */
enum { ROWS1 = 4, ASIDE1 = VL == 16 ? 2 : 1, PLACES = BIT_SHIFT(7) ? 8 : 1 };

/* out[r]: the sum of the inputs where row w[r] has a bit, as a vector yet; rows to come are prefetched. */
INLINE void rows1(const tern_screen1 *k, const uint8_t *const *w, const uint8_t *const *next,
                  vi *out)
{
    const size_t bytes = tern_n1_row_bytes(k->cols), stride = tern_n1_input_stride(k->cols);
    vsum sum[ASIDE1][PLACES];
#pragma GCC unroll 2
    for (int r = 0; r < ASIDE1; r++)
#pragma GCC unroll 8
        for (int p = 0; p < PLACES; p++)
            sum[r][p] = (vsum)v_set1(0);
    for (size_t at = 0; at < bytes; at += 4 * VL) {
        vi v[ASIDE1];
#pragma GCC unroll 2
        for (int r = 0; r < ASIDE1; r++) {
            v[r] = v_load(w[r] + at);
            if (at % 64 == 0)
                _mm_prefetch((const char *)next[r] + at, _MM_HINT_T0);
        }
#pragma GCC unroll 8
        for (int p = 0; p < 8; p++) {
            vi x = v_load(k->x + (size_t)p * stride + at);
#pragma GCC unroll 2
            for (int r = 0; r < ASIDE1; r++)
                sum[r][p % PLACES] = v_dot(sum[r][p % PLACES], v_bits(v[r], p), x);
        }
    }
#pragma GCC unroll 2
    for (int r = 0; r < ASIDE1; r++) {
        out[r] = (vi)sum[r][0];
#pragma GCC unroll 8
        for (int p = 1; p < PLACES; p++)
            out[r] = v_add(out[r], v_sra((vi)sum[r][p], p));
    }
}

void SCREEN_FN(screen1)(const tern_screen1 *k, int i0, int i1)
{
    enum {
        AHEAD = 16
    }; /* rows are a few hundred bytes and lie apart; lists may be as short as that */
    for (int n = i0; n < i1 && n < i0 + AHEAD; n++)
        for (size_t at = 0; at < k->w_stride; at += 64)
            _mm_prefetch((const char *)k->w + (size_t)k->row[n] * k->w_stride + at, _MM_HINT_T0);
    for (int n = i0; n < i1; n += ROWS1) {
        const uint8_t *w[ROWS1], *next[ROWS1];
        float scale[ROWS1], y[ROWS1];
        vi sum[ROWS1];
        for (int r = 0; r < ROWS1; r++) {
            int i = n + r < i1 ? n + r : i1 - 1, far = i + AHEAD < i1 ? i + AHEAD : i1 - 1;
            w[r] = k->w + (size_t)k->row[i] * k->w_stride;
            next[r] = k->w + (size_t)k->row[far] * k->w_stride;
            scale[r] = k->scale[k->row[i]];
        }
#pragma GCC unroll 4
        for (int r = 0; r < ROWS1; r += ASIDE1)
            rows1(k, w + r, next + r, sum + r);
        v_transpose4(sum);
        __m128i s = v_fold(v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
        s = _mm_sub_epi32(_mm_add_epi32(s, s), _mm_set1_epi32(k->x_sum));
        __m128 v = _mm_mul_ps(_mm_cvtepi32_ps(s), _mm_set1_ps(k->x_scale));
        _mm_storeu_ps(y, _mm_mul_ps(v, _mm_loadu_ps(scale)));
        for (int r = 0; r < ROWS1 && n + r < i1; r++)
            k->y[n + r] = y[r];
    }
}
