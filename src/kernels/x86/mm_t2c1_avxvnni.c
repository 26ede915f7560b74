/* Column-major ternary product with 256-bit vpdpbusd. */
#include "kernels/x86/dot_avxvnni.h"

/* With more, panels are faster (AMD Zen 5). */
#define FEW_TOKS 8
#define panel_fn tern_panel_avxvnni

#include "kernels/x86/t2c1_256.h"

void tern_mm_t2c1_avxvnni(const tern_mm *k, int row0, int row1)
{
    run_cols_256(k, row0, row1);
}
