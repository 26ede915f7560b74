#include "kernels/kernel.h"
#include "kernels/rows.h"
#include "kernels/x86/panel.h"
#include "kernels/x86/sparse_scratch.h"

/* The expanded rows of MM_BLOCK, the panels of a batch, or sums, panels and gathered activations of a row-major
 * or column-major ternary product; the others keep what they need in registers. */
size_t tern_mm_scratch_bytes(int cols, int n_tok)
{
    size_t bytes = TERN_ROW_TILE * tern_row_slot_bytes(cols);
    size_t sparse = tern_sparse_scratch_bytes(cols, n_tok);
    size_t panels = tern_panel_scratch_bytes(n_tok);
    bytes = bytes > sparse ? bytes : sparse;
    return bytes > panels ? bytes : panels;
}
