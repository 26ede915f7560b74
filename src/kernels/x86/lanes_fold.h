/* The end of a LANES sum, on fold_to_4 of lanes_<isa>.h: four lanes are left, +2 and +1 remain. */
#ifndef TERN_LANES_FOLD_H
#define TERN_LANES_FOLD_H

LANES_INLINE float vf_fold(vf x)
{
    __m128 a = fold_to_4(x);
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)));
}

/* Four folds at once, to four floats. */
LANES_INLINE __m128 vf_fold_4(vf a, vf b, vf c, vf d)
{
    __m128 x = fold_to_4(a), y = fold_to_4(b), z = fold_to_4(c), w = fold_to_4(d);
    __m128 xy = _mm_add_ps(_mm_movelh_ps(x, y), _mm_movehl_ps(y, x));
    __m128 zw = _mm_add_ps(_mm_movelh_ps(z, w), _mm_movehl_ps(w, z));
    return _mm_add_ps(_mm_shuffle_ps(xy, zw, 0x88), _mm_shuffle_ps(xy, zw, 0xdd));
}

/* n (a constant, 1 to 4) folds to n floats. */
LANES_INLINE void vf_fold_rows(float *to, const vf *x, const int n)
{
    if (n == 4) {
        _mm_storeu_ps(to, vf_fold_4(x[0], x[1], x[2], x[3]));
        return;
    }
    for (int i = 0; i < n; i++)
        to[i] = vf_fold(x[i]);
}

#define EXP_NAME                vf_exp
#define EXP_F                   vf
#define EXP_SET1(c)             vf_set1(c)
#define EXP_ADD(a, b)           vf_add(a, b)
#define EXP_SUB(a, b)           vf_sub(a, b)
#define EXP_MUL(a, b)           vf_mul(a, b)
#define EXP_MAX(a, b)           vf_max(a, b)
#define EXP_MIN(a, b)           vf_min(a, b)
#define EXP_POW2(t)             vf_pow2(t)
#define EXP_ZERO_BELOW(y, x, c) vf_zero_below(y, x, c)
#include "kernels/exp_tmpl.h"

#endif
