#include "kernels/rows.h"
#include "kernels/x86/lanes_avx512.h"

#if !defined(__AVX512VNNI__)
#error "build this file with -mavx512vnni"
#endif

/* The instruction wants one unsigned operand: sum v (q + 128) - 128 sum v. Exact in 32 bits. */
typedef struct row_int {
    pi v, bias;
} row_int;

LANES_INLINE row_int row_prepare(pi v)
{
    const __m512i zero = _mm512_setzero_si512();
    __m512i sum128 = _mm512_dpbusd_epi32(zero, _mm512_set1_epi8(-128), v);
    return (row_int){v, _mm512_sub_epi32(zero, sum128)};
}

LANES_INLINE pi tok_prepare(pi q)
{
    return _mm512_xor_si512(q, _mm512_set1_epi8(-128));
}

LANES_INLINE pi quad_dot(const row_int *r, pi q)
{
    return _mm512_dpbusd_epi32(r->bias, q, r->v);
}

LANES_INLINE vi quad_dot_u(vi sum, vi u, vi q)
{
    return _mm512_dpbusd_epi32(sum, u, q);
}

#define MM_BLOCK tern_mm_block_vnni
#include "kernels/x86/mm_block_tmpl.h"
