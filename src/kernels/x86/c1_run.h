/* The column-major ternary product of any number of tokens. The file that includes this defines before what c1_own.h
 * wants, and
 *   FEW_TOKS                    above which panels are faster
 *   block_few(nt, listed, b)    all passes over a block of columns for nt tokens, 1..4 */
#ifndef TERN_KERNELS_C1_RUN_H
#define TERN_KERNELS_C1_RUN_H

#include "kernels/x86/c1_own.h"
#include "kernels/x86/c1_panel.h"

_Static_assert(FEW_TOKS <= TERN_SPARSE_FEW, "their activations have room");

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
#undef FEW

static void run_cols(const tern_mm *k, int row0, int row1, tern_panel_fn *dot)
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

#endif
