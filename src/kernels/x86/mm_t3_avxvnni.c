/* Base-3 matrix products with 256-bit vpdpbusd. A stripe is two vectors. */
#include "kernels/x86/dot_avxvnni.h"

#define T3_SPAN SIZE_MAX
#include "kernels/x86/panel_batch.h"
#include "kernels/x86/t3_tile.h"

/* clang-format off */
T3_STREAM(1, 8192) T3_STREAM(2, 8192)
T3R16(3, 2) T3R16(4, 2) T3R16(5, 2)

static const tile_fn one[] = {NULL, t3_stream_1, t3_stream_2, t3r16_3x2, t3r16_4x2, t3r16_5x2};
/* clang-format on */

void tern_mm_t3r16_avxvnni(const tern_mm *k, int row0, int row1)
{
    if (k->n_tok <= 5)
        run_tiles(k, row0, row1, 1, one, one, 5);
    else
        run_batch(k, row0, row1, 5, ((size_t)k->cols + 19) / 20, unpack_t3r16, tern_panel_avxvnni);
}
