/* Row-major ternary product with 512-bit vpdpbusd. */
#include "kernels/x86/dot_vnni.h"

#include "kernels/x86/t2r1.h"

#include "kernels/x86/r1_panel.h"

/* At most 24 sums, 4 codes, mask, activations. */
TILE(3)
TILE(4)
TILE(5)
TILE(6)

void tern_mm_t2r1_vnni(const tern_mm *k, int row0, int row1)
{
    const row_span_fn fn[] = {NULL, stream_of(k), rows_2, rows_3, rows_4, rows_5, rows_6};
    if (k->n_tok <= 48)
        run_rows(k, row0, row1, fn, 6);
    else
        run_batch(k, row0, row1, tern_panel_vnni);
}

void tern_t2r1_batch_vnni(const tern_mm *k, int row0, int row1, tern_panel_fn *dot)
{
    run_batch(k, row0, row1, dot);
}
