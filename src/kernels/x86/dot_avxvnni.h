/* Dot products with 256-bit vpdpbusd: a vector is one column quad of 8 rows. */
#ifndef TERN_KERNELS_DOT_AVXVNNI_H
#define TERN_KERNELS_DOT_AVXVNNI_H

#include "kernels/x86/dot256.h"

#include <stdint.h>

#if !defined(__AVXVNNI__) || !defined(__AVX2__)
#error "needs -mavx2 -mavxvnni"
#endif

#define v_open(acc)       (vdot)(acc)
#define v_close(dot, acc) (vi)(dot)
#define v_dot(acc, c, x)  (vdot) _mm256_dpbusd_avx_epi32((vi)(acc), c, x)
typedef int32_t vdot __attribute__((vector_size(32)));

#endif
