/* Pieces that the scalar references share. */
#ifndef TERN_KERNELS_REF_H
#define TERN_KERNELS_REF_H

#include "kernels/kernel.h"

#include <string.h>

/* The end of a LANES sum. */
static inline float tern_fold_ref(const float acc[TERN_LANES])
{
    float a[TERN_LANES];
    memcpy(a, acc, sizeof(a));
    for (int half = TERN_LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            a[l] += a[l + half];
    return a[0];
}

/* (bits(t) + 127) << 23 as a float, see exp_tmpl.h */
static inline float tern_pow2_ref(float t)
{
    uint32_t u;
    memcpy(&u, &t, sizeof(u));
    u = (u + 127) << 23;
    memcpy(&t, &u, sizeof(t));
    return t;
}

#define EXP_NAME                tern_exp_ref
#define EXP_F                   float
#define EXP_SET1(c)             (c)
#define EXP_ADD(a, b)           ((a) + (b))
#define EXP_SUB(a, b)           ((a) - (b))
#define EXP_MUL(a, b)           ((a) * (b))
#define EXP_MAX(a, b)           ((a) > (b) ? (a) : (b))
#define EXP_MIN(a, b)           ((a) < (b) ? (a) : (b))
#define EXP_POW2(t)             tern_pow2_ref(t)
#define EXP_ZERO_BELOW(y, x, c) ((x) < (c) ? 0.0f : (y))
#include "kernels/exp_tmpl.h"

#endif
