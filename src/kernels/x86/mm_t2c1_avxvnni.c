/* Column-major ternary product with 256-bit vpdpbusd. */
#include "kernels/x86/dot_avxvnni.h"

/* With more, panels are faster (AMD Zen 5). */
#define FEW_TOKS 8

#include "kernels/x86/t2c1.h"

#include "kernels/x86/c1_256.h"

void tern_mm_t2c1_avxvnni(const tern_mm *k, int row0, int row1)
{
    run_cols(k, row0, row1, tern_panel_avxvnni);
}
