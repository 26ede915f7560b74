#include "kernels/kernel.h"
#include "kernels/rows.h"

/* The expanded rows of MM_BLOCK; the others keep what they need in registers. */
size_t tern_mm_scratch_bytes(int cols, int n_tok)
{
    (void)n_tok;
    return TERN_ROW_TILE * tern_row_slot_bytes(cols);
}
