#include "kernels/kernel.h"
#include "kernels/rows.h"
#include "kernels/x86/t2c1_scratch.h"

/* The expanded rows of MM_BLOCK, or the sums and gathered activations of MM_T2C1; the others keep what
 * they need in registers. */
size_t tern_mm_scratch_bytes(int cols, int n_tok)
{
    size_t rows = TERN_ROW_TILE * tern_row_slot_bytes(cols);
    size_t slice = tern_t2c1_scratch_bytes(cols, n_tok);
    return rows > slice ? rows : slice;
}
