/* Dot products with 512-bit vpdpbusd: a vector is one column quad of 16 rows. */
#ifndef TERN_KERNELS_DOT_VNNI_H
#define TERN_KERNELS_DOT_VNNI_H

#include <immintrin.h>
#include <stdint.h>

#if !defined(__AVX512VNNI__) || !defined(__AVX512BW__) || !defined(__AVX512VL__)
#error "needs -mavx512f -mavx512bw -mavx512vl -mavx512vnni"
#endif

typedef __m512i vi;
typedef int32_t vdot __attribute__((vector_size(64)));
typedef __m512 vf;
#define VL                16
#define v_load(p)         _mm512_loadu_si512(p)
#define v_store(p, v)     _mm512_storeu_si512(p, v)
#define v_and(a, b)       _mm512_and_si512(a, b)
#define v_shr(a, n)       _mm512_srli_epi32(a, n)
#define v_sub(a, b)       _mm512_sub_epi32(a, b)
#define v_set1(x)         _mm512_set1_epi32(x)
#define v_open(acc)       (vdot)(acc)
#define v_close(dot, acc) (vi)(dot)
#define v_dot(acc, c, x)  (vdot) _mm512_dpbusd_epi32((vi)(acc), c, x)
#define f_cvt(a)          _mm512_cvtepi32_ps(a)
#define f_set1(x)         _mm512_set1_ps(x)
#define f_load(p)         _mm512_loadu_ps(p)
#define f_add(a, b)       _mm512_add_ps(a, b)
#define f_mul(a, b)       _mm512_mul_ps(a, b)
#define f_div(a, b)       _mm512_div_ps(a, b)

static inline void f_store(float *p, vf v, int n)
{
    _mm512_mask_storeu_ps(p, n < 16 ? (__mmask16)((1u << n) - 1) : 0xffff, v);
}

#endif
