/* Column-major base-3 product with vpmaddubsw. */
#include "kernels/x86/dot_avx2.h"

/* Codes take more time than sums: panels, which have them once for all tokens, are faster (Intel Sapphire Rapids,
 * 2 tokens with all columns: 31 instead of 23 G products a second). */
#define FEW_TOKS 1

#include "kernels/x86/t3c1.h"

#include "kernels/x86/c1_256.h"

void tern_mm_t3c1_avx2(const tern_mm *k, int row0, int row1)
{
    run_cols(k, row0, row1, tern_panel_avx2);
}
