/* Screening planes with 256-bit vpdpbusd: a vector is eight columns of 8 rows. Codes stay where they
 * are in their byte and exact shifts undo the factors at the end. */
#include <immintrin.h>
#include <stdint.h>

#if !defined(__AVXVNNI__) || !defined(__AVX2__)
#error "needs -mavx2 -mavxvnni"
#endif

#define WHOLE      1
#define HIGH_SHIFT 4
#define v_halves(v, c0, c1)                                                                        \
    do {                                                                                           \
        const vi bytes_ = (v);                                                                     \
        c0 = _mm256_and_si256(bytes_, _mm256_set1_epi8(0x0f));                                     \
        c1 = _mm256_andnot_si256(_mm256_set1_epi8(0x0f), bytes_);                                  \
    } while (0)
#define BIT_SHIFT(p)    (p)
#define v_bits(v, p)    _mm256_and_si256(v, _mm256_set1_epi8((char)(1u << (p))))
#define v_dot(s, c, x)  _mm256_dpbusd_avx_epi32(s, c, x)
#define SCREEN_FN(name) tern_##name##_avxvnni
#include "kernels/x86/screen_avx.h"
