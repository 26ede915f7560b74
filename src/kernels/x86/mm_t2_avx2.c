/* Ternary matrix products with vpmaddubsw: a vector is one column quad of 8 rows, summed in pairs of
 * 16 bits. A pair grows by at most 2 * 3 * 128 = 768 a column quad, so that 32 quads, 8 packed vectors,
 * stay within 24576; then the pairs are added to 32-bit sums. */
#include <immintrin.h>
#include <stdint.h>

#if !defined(__AVX2__)
#error "needs -mavx2"
#endif

typedef int16_t vdot __attribute__((vector_size(32)));
#define SPAN              8
#define v_open(acc)       (vdot) _mm256_setzero_si256()
#define v_close(dot, acc) _mm256_add_epi32(acc, _mm256_madd_epi16((vi)(dot), _mm256_set1_epi16(1)))

static inline vdot v_dot(vdot acc, __m256i c, __m256i x)
{
    acc += (vdot)_mm256_maddubs_epi16(c, x);
    __asm__("" : "+x"(acc)); /* else compilers put the sums off until products fill the registers */
    return acc;
}

#include "kernels/x86/t2_avx.h"
/* A stripe is two vectors. */
/* clang-format off */
T2R16(1, 2, 4096)
T2R16(2, 2, 4096)
T2R16(3, 2, 4096)
T2R16(4, 2, 4096)
T2R16(5, 2, 4096)
T2G(1, 2, 4096)
T2G(2, 2, 4096)
T2G(3, 2, 4096)
T2G(4, 2, 4096)

static const tile_fn one[] = {NULL, t2r16_1x2, t2r16_2x2, t2r16_3x2, t2r16_4x2, t2r16_5x2};
static const tile_fn group_one[] = {NULL, t2g_1x2, t2g_2x2, t2g_3x2, t2g_4x2};
/* clang-format on */

void tern_mm_t2r16_avx2(const tern_mm *k, int row0, int row1)
{
    run_tiles(k, row0, row1, 1, one, one, 5); /* 10 accumulators, 2 codes, mask, activation */
}

void tern_mm_t2g_avx2(const tern_mm *k, int row0, int row1)
{
    run_tiles(k, row0, row1, 1, group_one, group_one, 4);
}
