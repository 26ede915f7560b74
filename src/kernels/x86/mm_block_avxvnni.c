#include "kernels/rows.h"
#include "kernels/x86/lanes_avx2.h"

#if !defined(__AVXVNNI__)
#error "build this file with -mavxvnni"
#endif

/* The instruction wants one unsigned operand: sum v (q + 128) - 128 sum v. Exact in 32 bits. */
typedef struct row_int {
    pi v, bias;
} row_int;

LANES_INLINE row_int row_prepare(pi v)
{
    const pi zero = _mm256_setzero_si256();
    pi sum128 = _mm256_dpbusd_avx_epi32(zero, _mm256_set1_epi8(-128), v);
    return (row_int){v, _mm256_sub_epi32(zero, sum128)};
}

LANES_INLINE pi tok_prepare(pi q)
{
    return _mm256_xor_si256(q, _mm256_set1_epi8(-128));
}

LANES_INLINE pi quad_dot(const row_int *r, pi q)
{
    return _mm256_dpbusd_avx_epi32(r->bias, q, r->v);
}

LANES_INLINE vi quad_dot_u(vi sum, vi u, vi q)
{
    return (vi){_mm256_dpbusd_avx_epi32(sum.lo, u.lo, q.lo),
                _mm256_dpbusd_avx_epi32(sum.hi, u.hi, q.hi)};
}

#define MM_BLOCK tern_mm_block_avxvnni
#include "kernels/x86/mm_block_tmpl.h"
