#include "kernels/rows.h"
#include "kernels/x86/lanes_avx2.h"

#if !defined(__AVXVNNI__)
#error "build this file with -mavxvnni"
#endif

/* The instruction wants one unsigned operand: sum v (q + 128) - 128 sum v. Exact in 32 bits. */
typedef struct row_int {
    vi v, bias;
} row_int;

LANES_INLINE __m256i bias_8(__m256i v)
{
    const __m256i zero = _mm256_setzero_si256();
    return _mm256_sub_epi32(zero, _mm256_dpbusd_avx_epi32(zero, _mm256_set1_epi8(-128), v));
}

LANES_INLINE row_int row_prepare(vi v)
{
    return (row_int){v, {bias_8(v.lo), bias_8(v.hi)}};
}

LANES_INLINE vi tok_prepare(vi q)
{
    const __m256i top = _mm256_set1_epi8(-128);
    return (vi){_mm256_xor_si256(q.lo, top), _mm256_xor_si256(q.hi, top)};
}

LANES_INLINE vi quad_dot(const row_int *r, vi q)
{
    return (vi){_mm256_dpbusd_avx_epi32(r->bias.lo, q.lo, r->v.lo),
                _mm256_dpbusd_avx_epi32(r->bias.hi, q.hi, r->v.hi)};
}

#define MM_BLOCK  tern_mm_block_avxvnni
#define MM_EXPAND tern_expand_avx2
#include "kernels/x86/mm_block_tmpl.h"
