/* Column-major ternary product with 512-bit vpdpbusd: an interleaved vector is 16 rows. */
#include <immintrin.h>
#include <stdint.h>

#if !defined(__AVX512VNNI__) || !defined(__AVX512BW__) || !defined(__AVX512VL__)
#error "needs -mavx512f -mavx512bw -mavx512vl -mavx512vnni"
#endif

#include "kernels/x86/sparse512.h"

#define v_open(acc)       (vdot)(acc)
#define v_close(dot, acc) (vi)(dot)

#include "kernels/x86/t2c1_tile.h"

/* At most 16 sums, 4 columns, 4 masks, codes. */
#define FEW(listed)                                                                                \
    static void block_1_##listed(const col_block *b)                                               \
    {                                                                                              \
        pass_t2c1(1, 4, 0, 0, 0, 0, 1, listed, b);                                                 \
    }                                                                                              \
    static void block_2_##listed(const col_block *b)                                               \
    {                                                                                              \
        pass_t2c1(2, 2, 0, 0, 0, 0, 2, listed, b);                                                 \
        pass_t2c1(2, 2, 2, 0, 0, 1, 2, listed, b);                                                 \
    }                                                                                              \
    static void block_3_##listed(const col_block *b)                                               \
    {                                                                                              \
        pass_t2c1(3, 1, 0, 0, 0, 0, 4, listed, b);                                                 \
        pass_t2c1(3, 1, 1, 0, 0, 1, 4, listed, b);                                                 \
        pass_t2c1(3, 1, 2, 0, 0, 2, 4, listed, b);                                                 \
        pass_t2c1(3, 1, 3, 0, 0, 3, 4, listed, b);                                                 \
    }                                                                                              \
    static void block_4_##listed(const col_block *b)                                               \
    {                                                                                              \
        pass_t2c1(4, 1, 0, 0, 0, 0, 4, listed, b);                                                 \
        pass_t2c1(4, 1, 1, 0, 0, 1, 4, listed, b);                                                 \
        pass_t2c1(4, 1, 2, 0, 0, 2, 4, listed, b);                                                 \
        pass_t2c1(4, 1, 3, 0, 0, 3, 4, listed, b);                                                 \
    }
FEW(0)
FEW(1)

void tern_mm_t2c1_vnni(const tern_mm *k, int row0, int row1)
{
    static const col_block_fn fn[] = {block_1_0, block_2_0, block_3_0, block_4_0,
                                      block_1_1, block_2_1, block_3_1, block_4_1};
    run_cols(k, row0, row1, fn);
}
