#include "kernels/x86/lanes_avx2.h"

#define KV8_FN(name) LANES_JOIN(tern_, LANES_JOIN(name, _avx2))
#define KV8_BLOCKS   1
#define KV8_QUERIES  4

typedef vi wide_t;

LANES_INLINE vi wide_load(const int8_t *p)
{
    return (vi){_mm256_cvtepi8_epi16(load_16(p)), _mm256_cvtepi8_epi16(load_16(p + 16))};
}

LANES_INLINE vi wide_set1(const int16_t *p)
{
    int32_t pair;
    memcpy(&pair, p, sizeof pair);
    return (vi){_mm256_set1_epi32(pair), _mm256_set1_epi32(pair)};
}

LANES_INLINE vi wide_dot(vi acc, vi t, vi x)
{
    return (vi){_mm256_add_epi32(acc.lo, _mm256_madd_epi16(t.lo, x.lo)),
                _mm256_add_epi32(acc.hi, _mm256_madd_epi16(t.hi, x.hi))};
}

#include "kernels/x86/kv8_tmpl.h"
