/* What the 256-bit column-major products have in common: an interleaved vector is 8 rows, a column four
 * vectors; there are registers for the sums of two interleaved ones at a time, and tokens take turns. */
#include "kernels/x86/c1_tile.h"

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

#include "kernels/x86/c1_run.h"
