/* Column-major ternary product with 512-bit vpdpbusd: an interleaved vector is 16 rows. */
#include "kernels/x86/dot_vnni.h"

#define panel_fn tern_panel_vnni

#include "kernels/x86/t2c1_panel.h"

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
    if (k->n_tok <= TERN_SPARSE_FEW)
        run_few(k, row0, row1, fn);
    else
        run_batch(k, row0, row1);
}
