/* What the 256-bit screening kernels have in common; v_halves, v_bits and v_dot are their own. */
typedef __m256i vi;
typedef vi vsum;
typedef __m256 vf;
#define VL          8
#define v_load(p)   _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define v_set1(x)   _mm256_set1_epi32(x)
#define v_sub(a, b) _mm256_sub_epi32(a, b)
#define v_sra(a, n) _mm256_srai_epi32(a, n)
#define v_sll(a, n) _mm256_slli_epi32(a, n)
#define f_cvt(a)    _mm256_cvtepi32_ps(a)
#define f_set1(x)   _mm256_set1_ps(x)
#define f_load(p)   _mm256_loadu_ps(p)
#define f_add(a, b) _mm256_add_ps(a, b)
#define f_mul(a, b) _mm256_mul_ps(a, b)

static inline void f_store(float *p, vf v, int n)
{
    __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    if (n >= 8)
        _mm256_storeu_ps(p, v);
    else
        _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), index), v);
}

#include "kernels/x86/screen_tmpl.h"
