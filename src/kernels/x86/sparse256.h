/* 256-bit vectors of the row-major and column-major ternary products; vdot and v_dot come from the
 * file of the instruction set. */
#include <immintrin.h>
#include <stdint.h>

typedef __m256i vi;
typedef __m256 vf;
#define VL           8
#define v_load(p)    _mm256_loadu_si256((const __m256i *)(p))
#define v_and(a, b)  _mm256_and_si256(a, b)
#define v_shr(a, n)  _mm256_srli_epi32(a, n)
#define v_sra(a, n)  _mm256_srai_epi32(a, n)
#define v_add(a, b)  _mm256_add_epi32(a, b)
#define v_sub(a, b)  _mm256_sub_epi32(a, b)
#define v_set1(x)    _mm256_set1_epi32(x)
#define v_lo8(a, b)  _mm256_unpacklo_epi8(a, b)
#define v_hi8(a, b)  _mm256_unpackhi_epi8(a, b)
#define v_lo16(a, b) _mm256_unpacklo_epi16(a, b)
#define v_hi16(a, b) _mm256_unpackhi_epi16(a, b)
#define v_lo32(a, b) _mm256_unpacklo_epi32(a, b)
#define v_hi32(a, b) _mm256_unpackhi_epi32(a, b)
#define v_lo64(a, b) _mm256_unpacklo_epi64(a, b)
#define v_hi64(a, b) _mm256_unpackhi_epi64(a, b)
#define f_cvt(a)     _mm256_cvtepi32_ps(a)
#define f_set1(x)    _mm256_set1_ps(x)
#define f_load(p)    _mm256_loadu_ps(p)
#define f_mul(a, b)  _mm256_mul_ps(a, b)
#define f_div(a, b)  _mm256_div_ps(a, b)

/* The sum of the two 128-bit parts. */
static inline __m128i v_fold(vi a)
{
    return _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
}

/* The first n > 0 elements. */
static inline void v_store(void *p, vi v, int n)
{
    __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    if (n >= 8)
        _mm256_storeu_si256((__m256i *)p, v);
    else
        _mm256_maskstore_epi32((int *)p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), index), v);
}

static inline void f_store(float *p, vf v, int n)
{
    v_store(p, _mm256_castps_si256(v), n);
}
