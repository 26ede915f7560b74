/* Screening planes with vpmaddubsw. Codes are shifted to the low bits, so that a 16-bit pair is at
 * most 2 * 15 * 127. */
#include <immintrin.h>
#include <stdint.h>

#if !defined(__AVX2__)
#error "needs -mavx2"
#endif

#define WHOLE      0
#define HIGH_SHIFT 0
#define v_halves(v, c0, c1)                                                                        \
    do {                                                                                           \
        const vi bytes_ = (v);                                                                     \
        c0 = _mm256_and_si256(bytes_, _mm256_set1_epi8(0x0f));                                     \
        c1 = _mm256_and_si256(_mm256_srli_epi32(bytes_, 4), _mm256_set1_epi8(0x0f));               \
    } while (0)
#define BIT_SHIFT(p) 0
#define v_bits(v, p) _mm256_and_si256(_mm256_srli_epi32(v, p), _mm256_set1_epi8(1))
#define v_dot(s, c, x)                                                                             \
    _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_maddubs_epi16(c, x), _mm256_set1_epi16(1)))
#define SCREEN_FN(name) tern_##name##_avx2
#include "kernels/x86/screen_avx.h"
