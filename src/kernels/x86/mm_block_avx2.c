#include "kernels/rows.h"
#include "kernels/x86/lanes_avx2.h"

/* |v| times q with v's sign: v and q are within -128..127 and -127..127, so a pair of products is at
 * most 2 * 128 * 127 < 2^15 and does not saturate. */
typedef struct row_int {
    vi v, abs;
} row_int;

LANES_INLINE row_int row_prepare(vi v)
{
    return (row_int){v, {_mm256_abs_epi8(v.lo), _mm256_abs_epi8(v.hi)}};
}

LANES_INLINE vi tok_prepare(vi q)
{
    return q;
}

LANES_INLINE __m256i quad_dot_8(__m256i abs, __m256i v, __m256i q)
{
    __m256i pairs = _mm256_maddubs_epi16(abs, _mm256_sign_epi8(q, v));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

LANES_INLINE vi quad_dot(const row_int *r, vi q)
{
    return (vi){quad_dot_8(r->abs.lo, r->v.lo, q.lo), quad_dot_8(r->abs.hi, r->v.hi, q.hi)};
}

#define MM_BLOCK  tern_mm_block_avx2
#define MM_EXPAND tern_expand_avx2
#include "kernels/x86/mm_block_tmpl.h"
