#include "kernels/x86/lanes_avx2.h"

#if !defined(__AVXVNNI__)
#error "build this file with -mavxvnni"
#endif

#define KV8_FN(name) LANES_JOIN(tern_, LANES_JOIN(name, _avxvnni))
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
    return (vi){_mm256_dpwssd_avx_epi32(acc.lo, t.lo, x.lo),
                _mm256_dpwssd_avx_epi32(acc.hi, t.hi, x.hi)};
}

#include "kernels/x86/kv8_tmpl.h"
