/* Screening planes with 512-bit vpdpbusd: one vector is eight columns of 16 rows. Codes stay where they
 * are in their byte and exact shifts undo the factors at the end. */
#include <immintrin.h>
#include <stdint.h>

#if !defined(__AVX512VNNI__) || !defined(__AVX512BW__) || !defined(__AVX512VL__)
#error "needs -mavx512f -mavx512bw -mavx512vl -mavx512vnni"
#endif

typedef __m512i vi;
/* In elements of its own, or gcc 12 copies each sum at each step. */
typedef int32_t vsum __attribute__((vector_size(64)));
typedef __m512 vf;
#define VL          16
#define v_load(p)   _mm512_loadu_si512(p)
#define v_set1(x)   _mm512_set1_epi32(x)
#define v_sub(a, b) _mm512_sub_epi32(a, b)
#define v_sra(a, n) _mm512_srai_epi32(a, (unsigned)(n))
#define v_sll(a, n) _mm512_slli_epi32(a, n)
#define WHOLE       1
#define HIGH_SHIFT  0
#define v_halves(v, c0, c1)                                                                        \
    do {                                                                                           \
        const vi bytes_ = (v);                                                                     \
        c0 = _mm512_and_si512(bytes_, _mm512_set1_epi8(0x0f));                                     \
        c1 = _mm512_and_si512(_mm512_srli_epi32(bytes_, 4), _mm512_set1_epi8(0x0f));               \
    } while (0)
#define BIT_SHIFT(p)   (p)
#define v_bits(v, p)   _mm512_and_si512(v, _mm512_set1_epi8((char)(1u << (p))))
#define v_dot(s, c, x) (vsum) _mm512_dpbusd_epi32((vi)(s), c, x)
#define f_cvt(a)       _mm512_cvtepi32_ps(a)
#define f_set1(x)      _mm512_set1_ps(x)
#define f_load(p)      _mm512_loadu_ps(p)
#define f_add(a, b)    _mm512_add_ps(a, b)
#define f_mul(a, b)    _mm512_mul_ps(a, b)

static inline void f_store(float *p, vf v, int n)
{
    _mm512_mask_storeu_ps(p, n < 16 ? (__mmask16)((1u << n) - 1) : 0xffff, v);
}

#define SCREEN_FN(name) tern_##name##_vnni
#include "kernels/x86/screen_tmpl.h"
