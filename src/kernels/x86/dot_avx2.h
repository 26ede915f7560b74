/* Dot products with vpmaddubsw: a vector is one column quad of 8 rows, summed in pairs of 16 bits. A
 * pair grows by at most 2 * 3 * 128 = 768 a column quad with codes up to 3, so that 32 quads stay
 * within 24576; then the pairs are added to 32-bit sums. */
#ifndef TERN_KERNELS_DOT_AVX2_H
#define TERN_KERNELS_DOT_AVX2_H

#include "kernels/x86/dot256.h"

#include <stdint.h>

#if !defined(__AVX2__)
#error "needs -mavx2"
#endif

typedef int16_t vdot __attribute__((vector_size(32)));
#define SPAN              32
#define v_open(acc)       (vdot) _mm256_setzero_si256()
#define v_close(dot, acc) _mm256_add_epi32(acc, _mm256_madd_epi16((vi)(dot), _mm256_set1_epi16(1)))

static inline vdot v_dot(vdot acc, __m256i c, __m256i x)
{
    acc += (vdot)_mm256_maddubs_epi16(c, x);
    __asm__("" : "+x"(acc)); /* else compilers put the sums off until products fill the registers */
    return acc;
}

#endif
