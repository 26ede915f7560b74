/* Row-major base-3 product with vpmaddubsw. */
#include "kernels/x86/dot_avx2.h"

#include "kernels/x86/t3r1.h"

#include "kernels/x86/r1_panel.h"

void tern_mm_t3r1_avx2(const tern_mm *k, int row0, int row1)
{
    const row_span_fn fn[] = {NULL, stream_of(k), rows_2};
    if (k->n_tok <= 4)
        run_rows(k, row0, row1, fn, 2);
    else
        run_batch(k, row0, row1, tern_panel_avx2);
}
