#include "kernels/x86/lanes_avx512.h"

#define KV8_FN(name) LANES_JOIN(tern_, LANES_JOIN(name, _avx512))
#define KV8_BLOCKS   4
#define KV8_QUERIES  4

typedef __m512i wide_t;

LANES_INLINE wide_t wide_load(const int8_t *p)
{
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)p));
}

LANES_INLINE wide_t wide_set1(const int16_t *p)
{
    int32_t pair;
    __builtin_memcpy(&pair, p, sizeof pair);
    return _mm512_set1_epi32(pair);
}

LANES_INLINE vi wide_dot(vi acc, wide_t t, wide_t x)
{
    return _mm512_add_epi32(acc, _mm512_madd_epi16(t, x));
}

#include "kernels/x86/kv8_tmpl.h"
