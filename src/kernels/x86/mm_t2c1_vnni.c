/* Column-major ternary product with 512-bit vpdpbusd. */
#include "kernels/x86/dot_vnni.h"

#define FEW_TOKS TERN_SPARSE_FEW

#include "kernels/x86/t2c1.h"

#include "kernels/x86/c1_512.h"

void tern_mm_t2c1_vnni(const tern_mm *k, int row0, int row1)
{
    run_cols(k, row0, row1, tern_panel_vnni);
}

void tern_t2c1_batch_vnni(const tern_mm *k, int row0, int row1, tern_panel_fn *dot)
{
    run_batch(k, row0, row1, dot);
}
