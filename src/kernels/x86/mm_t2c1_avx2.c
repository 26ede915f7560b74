/* Column-major ternary product with vpmaddubsw. */
#include "kernels/x86/dot_avx2.h"

/* With more, panels are faster (AMD Zen 5). */
#define FEW_TOKS 4

#include "kernels/x86/t2c1.h"

#include "kernels/x86/c1_256.h"

void tern_mm_t2c1_avx2(const tern_mm *k, int row0, int row1)
{
    run_cols(k, row0, row1, tern_panel_avx2);
}
