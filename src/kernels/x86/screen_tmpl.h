/* The loops over screening planes, shared by the x86 instruction sets. The file that includes this
 * defines its vectors first, as dot products need them:
 *   vi, vf, VL      integer and float vector; VL its 32-bit elements, 8 or 16
 *   vsum            sums under way
 *   v_load v_set1 v_add v_sub v_mul   integers of 32 bits; v_halves(v, lo, hi) splits bytes into halves
 *   HIGH_SHIFT      what sums of high halves must be shifted by; PLACE_SHIFT(p) likewise for 2-bit codes
 *   v_places(v, p)  the 2-bit codes at place p
 *   v_dot(sum, c, x)  sum + products of unsigned codes c and signed x, both sums of 32 bits
 *   f_cvt f_set1 f_load f_add f_mul   floats; f_store(p, v, n) writes the first n
 *   v_hsum(v)       all 32-bit elements added
 *   SCREEN_FN(name) the function's name
 * A stripe comes from memory for the first tokens and is in the first-level cache for the others. */
#include "kernels/kernel.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define PARTS  (16 / VL) /* vectors of one packed 64-byte vector */
INLINE int32_t load_i32(const void *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Of the sums of the high and the low plane, each with both halves of the bytes. */
INLINE void put_sums(const tern_screen4 *k, int t, const vsum sum[4], int row, int row1)
{
    const int32_t *all = k->act.sum + 2 * t;
    vi h = v_add((vi)sum[0], v_sra((vi)sum[1], HIGH_SHIFT));
    vi l = v_add((vi)sum[2], v_sra((vi)sum[3], HIGH_SHIFT));
    vf y = f_mul(f_cvt(v_sub(v_add(h, h), v_set1(15 * all[0]))), f_set1(128.0f));
    y = f_add(y, f_cvt(v_sub(v_add(l, l), v_set1(15 * all[1]))));
    y = f_mul(f_mul(y, f_set1(k->act.scale[t])), f_load(k->scale + row));
    f_store(k->y + (size_t)t * k->y_stride + (size_t)row, y, row1 - row);
}

/* Tokens that pass over a stripe together. With 512 bits the four sums of one do not hide what adding
 * takes; with 256 there are eight, and no registers for more. */
#define TOKENS (VL == 16 ? 4 : 1)

/* Eight columns of a stripe and n tokens. */
INLINE void eight(vsum sum[][PARTS][4], const int n, const uint8_t *w, const int8_t *hi,
                  const int8_t *lo, size_t stride)
{
#pragma GCC unroll 2
    for (int i = 0; i < PARTS; i++) {
        vi c0, c1;
        v_halves(v_load(w + i * 32), c0, c1);
#pragma GCC unroll 4
        for (int t = 0; t < n; t++) {
            const int8_t *h = hi + (size_t)t * stride, *l = lo + (size_t)t * stride;
            sum[t][i][0] = v_dot(sum[t][i][0], c0, v_set1(load_i32(h)));
            sum[t][i][1] = v_dot(sum[t][i][1], c1, v_set1(load_i32(h + 4)));
            sum[t][i][2] = v_dot(sum[t][i][2], c0, v_set1(load_i32(l)));
            sum[t][i][3] = v_dot(sum[t][i][3], c1, v_set1(load_i32(l + 4)));
        }
    }
}

/* Tokens t0..t0 + n; n is a constant, at most TOKENS. A single one has other sums for every second
 * packed vector instead (AMD Zen 5, in cache: 63 and 74 GB/s a core). */
INLINE void stripe(const tern_screen4 *k, int t0, const int n, int row, int row1, const uint8_t *w,
                   int ahead)
{
    const int chains = n == 1 && TOKENS > 1 ? 2 : 1;
    const size_t stride = k->act.stride;
    const int8_t *hi = k->act.hi + (size_t)t0 * stride;
    const int8_t *lo = k->act.lo + (size_t)t0 * stride;
    int n_vec = (k->cols + 7) / 8;
    vsum sum[TOKENS][PARTS][4];
#pragma GCC unroll 4
    for (int t = 0; t < n * chains; t++)
        for (int i = 0; i < PARTS; i++)
            for (int j = 0; j < 4; j++)
                sum[t][i][j] = (vsum)v_set1(0);
    for (; n_vec >= chains; n_vec -= chains, w += 64 * chains, hi += 8 * chains, lo += 8 * chains) {
        if (ahead) /* the hardware's streams stop at each 4 KiB page */
            _mm_prefetch((const char *)w + ahead, _MM_HINT_T0);
        eight(sum, n, w, hi, lo, stride);
        if (chains == 2) {
            if (ahead)
                _mm_prefetch((const char *)w + ahead + 64, _MM_HINT_T0);
            eight(sum + 1, n, w + 64, hi + 8, lo + 8, stride);
        }
    }
    if (n_vec > 0)
        eight(sum, n, w, hi, lo, stride);
    if (chains == 2)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++)
            sum[0][0][j] += sum[1 % TOKENS][0][j];
#pragma GCC unroll 4
    for (int t = 0; t < n; t++)
        for (int i = 0; i < PARTS; i++)
            if (row + i * VL < row1)
                put_sums(k, t0 + t, sum[t][i], row + i * VL, row1);
}

void SCREEN_FN(screen4)(const tern_screen4 *k, int row0, int row1)
{
    for (int r = row0; r < row1; r += 16) {
        const uint8_t *w = k->w + (size_t)(r / 16) * k->w_stride;
        int t = 0, ahead = 8192;
#if VL == 16
        for (; t + 4 <= k->n_tok; t += 4, ahead = 0)
            stripe(k, t, 4, r, row1, w, ahead);
        for (; t + 2 <= k->n_tok; t += 2, ahead = 0)
            stripe(k, t, 2, r, row1, w, ahead);
#endif
        for (; t < k->n_tok; t++, ahead = 0)
            stripe(k, t, 1, r, row1, w, ahead);
    }
}

void SCREEN_FN(screen2)(const tern_screen2 *k, int i0, int i1)
{
    enum { AHEAD = 16 }; /* rows are half a kilobyte and lie apart */
    int n_vec = (k->cols + 255) / 256;
    for (int n = i0; n < i1; n++) {
        const uint8_t *w = k->w + (size_t)k->row[n] * k->w_stride;
        const uint8_t *next = n + AHEAD < i1 ? k->w + (size_t)k->row[n + AHEAD] * k->w_stride : w;
        const int8_t *hi = k->act.hi, *lo = k->act.lo;
        vsum sum[2][4]; /* [plane][place] */
        for (int j = 0; j < 8; j++)
            sum[j / 4][j % 4] = (vsum)v_set1(0);
        for (int b = 0; b < n_vec; b++, w += 64, next += 64, hi += 256, lo += 256) {
            _mm_prefetch((const char *)next, _MM_HINT_T0);
            for (int i = 0; i < PARTS; i++) {
                vi v = v_load(w + i * 32);
#pragma GCC unroll 4
                for (int p = 0; p < 4; p++) {
                    vi c = v_places(v, p);
                    sum[0][p] = v_dot(sum[0][p], c, v_load(hi + 64 * p + 32 * i));
                    sum[1][p] = v_dot(sum[1][p], c, v_load(lo + 64 * p + 32 * i));
                }
            }
        }
        int32_t s[2];
        for (int j = 0; j < 2; j++) {
            vi a = (vi)sum[j][0];
#pragma GCC unroll 4
            for (int p = 1; p < 4; p++)
                a = v_add(a, v_sra((vi)sum[j][p], PLACE_SHIFT(p)));
            s[j] = 2 * v_hsum(a) - 3 * k->act.sum[j];
        }
        k->y[n] = ((float)s[0] * 128.0f + (float)s[1]) * k->act.scale[0] * k->scale[k->row[n]];
    }
}
