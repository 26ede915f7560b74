/* 256-bit vectors of the integer dot products; v_dot and its like come from the file of the
 * instruction set. */
#ifndef TERN_KERNELS_DOT256_H
#define TERN_KERNELS_DOT256_H

#include <immintrin.h>

typedef __m256i vi;
typedef __m256 vf;
#define VL            8
#define v_load(p)     _mm256_loadu_si256((const __m256i *)(p))
#define v_store(p, v) _mm256_storeu_si256((__m256i *)(p), v)
#define v_and(a, b)   _mm256_and_si256(a, b)
#define v_shr(a, n)   _mm256_srli_epi32(a, n)
#define v_sub(a, b)   _mm256_sub_epi32(a, b)
#define v_set1(x)     _mm256_set1_epi32(x)
#define f_cvt(a)      _mm256_cvtepi32_ps(a)
#define f_set1(x)     _mm256_set1_ps(x)
#define f_load(p)     _mm256_loadu_ps(p)
#define f_add(a, b)   _mm256_add_ps(a, b)
#define f_mul(a, b)   _mm256_mul_ps(a, b)
#define f_div(a, b)   _mm256_div_ps(a, b)

static inline void f_store(float *p, vf v, int n)
{
    __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    if (n >= 8)
        _mm256_storeu_ps(p, v);
    else
        _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), index), v);
}

#endif
