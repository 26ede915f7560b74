/* 512-bit vectors of the row-major and column-major ternary products. */
#include <immintrin.h>
#include <stdint.h>

typedef __m512i vi;
typedef __m512 vf;
typedef int32_t vdot __attribute__((vector_size(64)));
#define VL               16
#define v_load(p)        _mm512_loadu_si512(p)
#define v_and(a, b)      _mm512_and_si512(a, b)
#define v_shr(a, n)      _mm512_srli_epi32(a, n)
#define v_sra(a, n)      _mm512_srai_epi32(a, n)
#define v_add(a, b)      _mm512_add_epi32(a, b)
#define v_sub(a, b)      _mm512_sub_epi32(a, b)
#define v_set1(x)        _mm512_set1_epi32(x)
#define v_lo8(a, b)      _mm512_unpacklo_epi8(a, b)
#define v_hi8(a, b)      _mm512_unpackhi_epi8(a, b)
#define v_lo16(a, b)     _mm512_unpacklo_epi16(a, b)
#define v_hi16(a, b)     _mm512_unpackhi_epi16(a, b)
#define v_lo32(a, b)     _mm512_unpacklo_epi32(a, b)
#define v_hi32(a, b)     _mm512_unpackhi_epi32(a, b)
#define v_lo64(a, b)     _mm512_unpacklo_epi64(a, b)
#define v_hi64(a, b)     _mm512_unpackhi_epi64(a, b)
#define v_dot(acc, c, x) (vdot) _mm512_dpbusd_epi32((vi)(acc), c, x)
#define f_cvt(a)         _mm512_cvtepi32_ps(a)
#define f_set1(x)        _mm512_set1_ps(x)
#define f_load(p)        _mm512_loadu_ps(p)
#define f_mul(a, b)      _mm512_mul_ps(a, b)
#define f_div(a, b)      _mm512_div_ps(a, b)

/* The sum of the four 128-bit parts. */
static inline __m128i v_fold(vi a)
{
    __m256i b = _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1));
}

/* The first n > 0 elements. */
static inline void v_store(void *p, vi v, int n)
{
    _mm512_mask_storeu_epi32(p, n < 16 ? (__mmask16)((1u << n) - 1) : 0xffff, v);
}

static inline void f_store(float *p, vf v, int n)
{
    v_store(p, _mm512_castps_si512(v), n);
}
