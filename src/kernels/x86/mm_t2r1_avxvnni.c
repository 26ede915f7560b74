/* Row-major ternary product with 256-bit vpdpbusd. */
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
#define AHEAD             8192

#include "kernels/x86/t2r1_tile.h"

T2R1(1, 2, true)
T2R1(2, 1, true)

void tern_mm_t2r1_avxvnni(const tern_mm *k, int row0, int row1)
{
    static const row_tile_fn fn[] = {NULL, t2r1_1, t2r1_2};
    run_rows(k, row0, row1, fn, 2);
}
