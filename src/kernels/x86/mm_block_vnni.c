#include "kernels/rows.h"
#include "kernels/x86/lanes_avx512.h"

#if !defined(__AVX512VNNI__)
#error "build this file with -mavx512vnni"
#endif

/* The instruction wants one unsigned operand: sum v (q + 128) - 128 sum v. Exact in 32 bits. */
typedef struct row_int {
    vi v, bias;
} row_int;

LANES_INLINE row_int row_prepare(vi v)
{
    const __m512i zero = _mm512_setzero_si512();
    __m512i sum128 = _mm512_dpbusd_epi32(zero, _mm512_set1_epi8(-128), v);
    return (row_int){v, _mm512_sub_epi32(zero, sum128)};
}

LANES_INLINE vi tok_prepare(vi q)
{
    return _mm512_xor_si512(q, _mm512_set1_epi8(-128));
}

LANES_INLINE vi quad_dot(const row_int *r, vi q)
{
    return _mm512_dpbusd_epi32(r->bias, q, r->v);
}

#define MM_BLOCK  tern_mm_block_vnni
#define MM_EXPAND tern_expand_avx2
#include "kernels/x86/mm_block_tmpl.h"
