/* What the 256-bit column-major products have in common: an interleaved vector is 8 rows, a column four
 * vectors; there are registers for the sums of two interleaved ones at a time, and tokens take turns. */
#include "kernels/x86/c1_panel.h"

INLINE void block_few(const int nt, const bool listed, const col_block *b)
{
    int step = (b->n + 3) / 4;
    for (int h = b->h0; h < b->h1; h++) {
        pass_cols(1, 2, 0, h, 0, 1, h * step, listed, b);
        pass_cols(1, 2, 2, h, 0, 0, 0, listed, b);
    }
    for (int t = 1; t < nt; t++)
        for (int h = b->h0; h < b->h1; h++) {
            pass_cols(1, 2, 0, h, t, 0, 0, listed, b);
            pass_cols(1, 2, 2, h, t, 0, 0, listed, b);
        }
}

/* What 16-bit sums hold. */
#define OWN_COLS BLOCK_OF(2)

INLINE void own_pass(const col_block *b, int h, int share, int ahead)
{
    pass_cols(1, 2, 0, 2 * h, 0, share, ahead, true, b);
    pass_cols(1, 2, 2, 2 * h, 0, 0, 0, true, b);
    pass_cols(1, 2, 0, 2 * h + 1, 0, 0, 0, true, b);
    pass_cols(1, 2, 2, 2 * h + 1, 0, 0, 0, true, b);
}

#include "kernels/x86/c1_own.h"

#define FEW(nt, listed)                                                                            \
    static void block_##nt##_##listed(const col_block *b)                                          \
    {                                                                                              \
        block_few(nt, listed, b);                                                                  \
    }
FEW(1, 0)
FEW(2, 0)
FEW(3, 0)
FEW(4, 0)
FEW(1, 1)
FEW(2, 1)
FEW(3, 1)
FEW(4, 1)

static void run_cols_256(const tern_mm *k, int row0, int row1, tern_panel_fn *dot)
{
    static const col_block_fn few[] = {block_1_0, block_2_0, block_3_0, block_4_0,
                                       block_1_1, block_2_1, block_3_1, block_4_1};
    if (k->own)
        run_own(k, row0, row1);
    else if (k->n_tok <= FEW_TOKS)
        run_few(k, row0, row1, few);
    else
        run_batch(k, row0, row1, dot);
}
