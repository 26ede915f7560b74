#include "kernels/rows.h"
#include "kernels/x86/lanes_avx2.h"

/* |v| times q with v's sign: v and q are within -128..127 and -127..127, so a pair of products is at
 * most 2 * 128 * 127 < 2^15 and does not saturate. */
typedef struct row_int {
    pi v, abs;
} row_int;

LANES_INLINE row_int row_prepare(pi v)
{
    return (row_int){v, _mm256_abs_epi8(v)};
}

LANES_INLINE pi tok_prepare(pi q)
{
    return q;
}

LANES_INLINE pi quad_dot(const row_int *r, pi q)
{
    pi pairs = _mm256_maddubs_epi16(r->abs, _mm256_sign_epi8(q, r->v));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

LANES_INLINE __m256i quad_dot_u_8(__m256i sum, __m256i u, __m256i q)
{
    __m256i i = _mm256_madd_epi16(_mm256_maddubs_epi16(u, q), _mm256_set1_epi16(1));
    return _mm256_add_epi32(sum, i);
}

LANES_INLINE vi quad_dot_u(vi sum, vi u, vi q)
{
    return (vi){quad_dot_u_8(sum.lo, u.lo, q.lo), quad_dot_u_8(sum.hi, u.hi, q.hi)};
}

#define MM_BLOCK tern_mm_block_avx2
#include "kernels/x86/mm_block_tmpl.h"
