#include "kernels/rows.h"
#include "kernels/x86/lanes_avx512.h"

/* |v| times q with v's sign, as in mm_block_avx2.c. */
typedef struct row_int {
    pi abs;
    __mmask64 negative;
} row_int;

LANES_INLINE row_int row_prepare(pi v)
{
    return (row_int){_mm512_abs_epi8(v), _mm512_movepi8_mask(v)};
}

LANES_INLINE pi tok_prepare(pi q)
{
    return q;
}

LANES_INLINE pi quad_dot(const row_int *r, pi q)
{
    __m512i s = _mm512_mask_sub_epi8(q, r->negative, _mm512_setzero_si512(), q);
    return _mm512_madd_epi16(_mm512_maddubs_epi16(r->abs, s), _mm512_set1_epi16(1));
}

LANES_INLINE vi quad_dot_u(vi sum, vi u, vi q)
{
    __m512i i = _mm512_madd_epi16(_mm512_maddubs_epi16(u, q), _mm512_set1_epi16(1));
    return _mm512_add_epi32(sum, i);
}

#define MM_BLOCK tern_mm_block_avx512
#include "kernels/x86/mm_block_tmpl.h"
