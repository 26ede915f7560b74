/* Base-3 matrix products with vpmaddubsw. A stripe is two vectors. A pair of 16 bits grows by at most
 * 2 * 2 * 128 = 512 a column quad, so that 60 quads stay within 30720. */
#include "kernels/x86/dot_avx2.h"

#define T3_SPAN ((size_t)12)
#include "kernels/x86/panel_batch.h"
#include "kernels/x86/t3_tile.h"

/* clang-format off */
T3R16(1, 2) T3R16(2, 2) T3R16(3, 2) T3R16(4, 2)

static const tile_fn one[] = {NULL, t3r16_1x2, t3r16_2x2, t3r16_3x2, t3r16_4x2};
/* clang-format on */

void tern_mm_t3r16_avx2(const tern_mm *k, int row0, int row1)
{
    if (k->n_tok <= 4)
        run_tiles(k, row0, row1, 1, one, one, 4);
    else
        run_batch(k, row0, row1, 5, ((size_t)k->cols + 19) / 20, unpack_t3r16, tern_panel_avx2);
}
