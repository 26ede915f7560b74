/* Row-major base-3 product with 512-bit vpdpbusd. */
#include "kernels/x86/dot_vnni.h"

#include "kernels/x86/t3r1.h"

#include "kernels/x86/r1_panel.h"

/* At most 20 sums, 4 packed vectors, 4 codes, activations and two constants. */
TILE(3)
TILE(4)
TILE(5)

void tern_mm_t3r1_vnni(const tern_mm *k, int row0, int row1)
{
    const row_span_fn fn[] = {NULL, stream_of(k), rows_2, rows_3, rows_4, rows_5};
    if (k->n_tok <= 5)
        run_rows(k, row0, row1, fn, 5);
    else
        run_batch(k, row0, row1, tern_panel_vnni);
}

void tern_t3r1_batch_vnni(const tern_mm *k, int row0, int row1, tern_panel_fn *dot)
{
    run_batch(k, row0, row1, dot);
}
