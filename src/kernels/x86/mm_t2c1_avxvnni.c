/* Column-major ternary product with 256-bit vpdpbusd. */
#include <immintrin.h>
#include <stdint.h>

#if !defined(__AVXVNNI__) || !defined(__AVX2__)
#error "needs -mavx2 -mavxvnni"
#endif

#include "kernels/x86/sparse256.h"

typedef int32_t vdot __attribute__((vector_size(32)));
#define v_open(acc)       (vdot)(acc)
#define v_close(dot, acc) (vi)(dot)
#define v_dot(acc, c, x)  (vdot) _mm256_dpbusd_avx_epi32((vi)(acc), c, x)

#include "kernels/x86/t2c1_256.h"

void tern_mm_t2c1_avxvnni(const tern_mm *k, int row0, int row1)
{
    run_cols(k, row0, row1, few);
}
