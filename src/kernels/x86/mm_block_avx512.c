#include "kernels/rows.h"
#include "kernels/x86/lanes_avx512.h"

/* |v| times q with v's sign, as in mm_block_avx2.c. */
typedef struct row_int {
    vi abs;
    __mmask64 negative;
} row_int;

LANES_INLINE row_int row_prepare(vi v)
{
    return (row_int){_mm512_abs_epi8(v), _mm512_movepi8_mask(v)};
}

LANES_INLINE vi tok_prepare(vi q)
{
    return q;
}

LANES_INLINE vi quad_dot(const row_int *r, vi q)
{
    __m512i s = _mm512_mask_sub_epi8(q, r->negative, _mm512_setzero_si512(), q);
    return _mm512_madd_epi16(_mm512_maddubs_epi16(r->abs, s), _mm512_set1_epi16(1));
}

#define MM_BLOCK  tern_mm_block_avx512
#define MM_EXPAND tern_expand_avx2
#include "kernels/x86/mm_block_tmpl.h"
