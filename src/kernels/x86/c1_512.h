/* What the 512-bit column-major products have in common: an interleaved vector is 16 rows. The file that includes
 * this defines FEW_TOKS, above which panels are faster. */
#include "kernels/x86/c1_tile.h"

/* Sums of four cells at most: 16 or 24, beside 4 columns, 4 masks, codes. A part is a line. */
INLINE void block_few(const int nt, const bool listed, const col_block *b)
{
    int step = (b->n + 3) / 4;
    for (int h = b->h0; h < b->h1; h++) {
        int at = 2 * h * step;
        if (nt == 1) {
            pass_cols(1, 4, 0, h, 0, 2, at, listed, b);
        } else if (nt == 2) {
            pass_cols(2, 2, 0, h, 0, 1, at, listed, b);
            pass_cols(2, 2, 2, h, 0, 1, at + step, listed, b);
        } else {
            pass_cols(nt, 1, 0, h, 0, 1, at, listed, b);
            pass_cols(nt, 1, 1, h, 0, 0, 0, listed, b);
            pass_cols(nt, 1, 2, h, 0, 1, at + step, listed, b);
            pass_cols(nt, 1, 3, h, 0, 0, 0, listed, b);
        }
    }
}

/* Sums have 32 bits. */
#define OWN_COLS TERN_T2C1_PART

INLINE void own_pass(const col_block *b, int h, int share, int ahead)
{
    if (share == 0)
        pass_cols(1, 4, 0, h, 0, 0, 0, true, b);
    else if (share == 1)
        pass_cols(1, 4, 0, h, 0, 1, ahead, true, b);
    else
        pass_cols(1, 4, 0, h, 0, share, ahead, true, b);
}

#include "kernels/x86/c1_run.h"
