/* Row-major ternary product with 512-bit vpdpbusd. */
#include <immintrin.h>
#include <stdint.h>

#if !defined(__AVX512VNNI__) || !defined(__AVX512BW__) || !defined(__AVX512VL__)
#error "needs -mavx512f -mavx512bw -mavx512vl -mavx512vnni"
#endif

#include "kernels/x86/sparse512.h"

#define v_open(acc)       (vdot)(acc)
#define v_close(dot, acc) (vi)(dot)
#define AHEAD             8192

#include "kernels/x86/t2r1_tile.h"

/* At most 24 accumulators, 4 codes, mask, activations. */
T2R1(1, 4, true)
T2R1(2, 1, true)
T2R1(3, 1, true)
T2R1(4, 1, true)
T2R1(5, 1, false)
T2R1(6, 1, false)

void tern_mm_t2r1_vnni(const tern_mm *k, int row0, int row1)
{
    static const row_tile_fn fn[] = {NULL, t2r1_1, t2r1_2, t2r1_3, t2r1_4, t2r1_5, t2r1_6};
    run_rows(k, row0, row1, fn, 6);
}
