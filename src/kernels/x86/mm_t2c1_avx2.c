/* Column-major ternary product with vpmaddubsw, summed in pairs of 16 bits. A pair grows by at most
 * 2 * 3 * 128 = 768 with each four columns, so that 128 columns stay within 24576. */
#include <immintrin.h>
#include <stdint.h>

#if !defined(__AVX2__)
#error "needs -mavx2"
#endif

#include "kernels/x86/sparse256.h"

typedef int16_t vdot __attribute__((vector_size(32)));
#define SPAN              128
#define v_open(acc)       (vdot) _mm256_setzero_si256()
#define v_close(dot, acc) _mm256_add_epi32(acc, _mm256_madd_epi16((vi)(dot), _mm256_set1_epi16(1)))

static inline vdot v_dot(vdot acc, __m256i c, __m256i x)
{
    acc += (vdot)_mm256_maddubs_epi16(c, x);
    __asm__("" : "+x"(acc)); /* else compilers put the sums off until products fill the registers */
    return acc;
}

#include "kernels/x86/t2c1_256.h"

void tern_mm_t2c1_avx2(const tern_mm *k, int row0, int row1)
{
    run_cols(k, row0, row1, few);
}
