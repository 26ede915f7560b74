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
 * One token at a time passes over a stripe: it comes from memory for the first and is in the first-level
 * cache for the others. */
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

INLINE void stripe(const tern_screen4 *k, int t, int row, int row1, const uint8_t *w, int ahead)
{
    const int8_t *hi = k->act.hi + (size_t)t * k->act.stride;
    const int8_t *lo = k->act.lo + (size_t)t * k->act.stride;
    int n_vec = (k->cols + 7) / 8;
    vi sum[PARTS][2][2]; /* [part][plane][half of the byte] */
    for (int i = 0; i < PARTS; i++)
        for (int j = 0; j < 4; j++)
            sum[i][j / 2][j % 2] = v_set1(0);
    for (int b = 0; b < n_vec; b++, w += 64, hi += 8, lo += 8) {
        const vi hi0 = v_set1(load_i32(hi)), hi1 = v_set1(load_i32(hi + 4));
        const vi lo0 = v_set1(load_i32(lo)), lo1 = v_set1(load_i32(lo + 4));
        if (ahead) /* the hardware's streams stop at each 4 KiB page */
            _mm_prefetch((const char *)w + ahead, _MM_HINT_T0);
        for (int i = 0; i < PARTS; i++) {
            vi c0, c1;
            v_halves(v_load(w + i * 32), c0, c1);
            sum[i][0][0] = v_dot(sum[i][0][0], c0, hi0);
            sum[i][0][1] = v_dot(sum[i][0][1], c1, hi1);
            sum[i][1][0] = v_dot(sum[i][1][0], c0, lo0);
            sum[i][1][1] = v_dot(sum[i][1][1], c1, lo1);
        }
    }
    const int32_t *all = k->act.sum + 2 * t;
    for (int i = 0; i < PARTS && row < row1; i++, row += VL) {
        vf y[2];
        for (int p = 0; p < 2; p++) {
            vi s = v_add(sum[i][p][0], v_sra(sum[i][p][1], HIGH_SHIFT));
            y[p] = f_cvt(v_sub(v_add(s, s), v_set1(15 * all[p])));
        }
        y[0] = f_add(f_mul(y[0], f_set1(128.0f)), y[1]);
        y[0] = f_mul(f_mul(y[0], f_set1(k->act.scale[t])), f_load(k->scale + row));
        f_store(k->y + (size_t)t * k->y_stride + (size_t)row, y[0], row1 - row);
    }
}

void SCREEN_FN(screen4)(const tern_screen4 *k, int row0, int row1)
{
    for (int r = row0; r < row1; r += 16) {
        const uint8_t *w = k->w + (size_t)(r / 16) * k->w_stride;
        if (k->n_tok > 0)
            stripe(k, 0, r, row1, w, 8192);
        for (int t = 1; t < k->n_tok; t++)
            stripe(k, t, r, row1, w, 0);
    }
}

void SCREEN_FN(screen2)(const tern_screen2 *k, int i0, int i1)
{
    enum { AHEAD = 4 }; /* rows are half a kilobyte and lie apart */
    int n_vec = (k->cols + 255) / 256;
    for (int n = i0; n < i1; n++) {
        const uint8_t *w = k->w + (size_t)k->row[n] * k->w_stride;
        const uint8_t *next = n + AHEAD < i1 ? k->w + (size_t)k->row[n + AHEAD] * k->w_stride : w;
        const int8_t *hi = k->act.hi, *lo = k->act.lo;
        vi sum[2][4]; /* [plane][place] */
        for (int j = 0; j < 8; j++)
            sum[j / 4][j % 4] = v_set1(0);
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
            vi a = sum[j][0];
#pragma GCC unroll 4
            for (int p = 1; p < 4; p++)
                a = v_add(a, v_sra(sum[j][p], PLACE_SHIFT(p)));
            s[j] = 2 * v_hsum(a) - 3 * k->act.sum[j];
        }
        k->y[n] = ((float)s[0] * 128.0f + (float)s[1]) * k->act.scale[0] * k->scale[k->row[n]];
    }
}
