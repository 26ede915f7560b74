/* What the 256-bit screening kernels have in common; v_halves, v_places and v_dot are their own. */
typedef __m256i vi;
typedef vi vsum;
typedef __m256 vf;
#define VL          8
#define v_load(p)   _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define v_set1(x)   _mm256_set1_epi32(x)
#define v_add(a, b) _mm256_add_epi32(a, b)
#define v_sub(a, b) _mm256_sub_epi32(a, b)
#define v_sra(a, n) _mm256_srai_epi32(a, n)
#define f_cvt(a)    _mm256_cvtepi32_ps(a)
#define f_set1(x)   _mm256_set1_ps(x)
#define f_load(p)   _mm256_loadu_ps(p)
#define f_add(a, b) _mm256_add_ps(a, b)
#define f_mul(a, b) _mm256_mul_ps(a, b)

static inline int32_t v_hsum(vi a)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

static inline void f_store(float *p, vf v, int n)
{
    __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    if (n >= 8)
        _mm256_storeu_ps(p, v);
    else
        _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), index), v);
}

#include "kernels/x86/screen_tmpl.h"
