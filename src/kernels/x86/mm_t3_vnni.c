/* Base-3 matrix products with 512-bit vpdpbusd. */
#include "kernels/x86/dot_vnni.h"

#define T3_SPAN SIZE_MAX
#include "kernels/x86/panel_batch.h"
#include "kernels/x86/t3_tile.h"

/* clang-format off */
T3_STREAM(1, 8192) T3_STREAM(2, 8192)
T3R16(3, 4) T3R16(4, 4)
T3R16(5, 2) T3R16(6, 2) T3R16(7, 2) T3R16(8, 2)
T3R16(9, 2) T3R16(10, 2) T3R16(11, 2) T3R16(12, 2)
T3R16(3, 1) T3R16(4, 1) T3R16(5, 1) T3R16(6, 1) T3R16(7, 1) T3R16(8, 1)
T3R16(9, 1) T3R16(10, 1) T3R16(11, 1) T3R16(12, 1)

static const tile_fn one[] = {
    NULL, t3_stream_1, t3_stream_2, t3r16_3x1, t3r16_4x1, t3r16_5x1, t3r16_6x1, t3r16_7x1,
    t3r16_8x1, t3r16_9x1, t3r16_10x1, t3r16_11x1, t3r16_12x1};
static const tile_fn two[] = {
    NULL, NULL, NULL, NULL, NULL, t3r16_5x2, t3r16_6x2, t3r16_7x2, t3r16_8x2, t3r16_9x2,
    t3r16_10x2, t3r16_11x2, t3r16_12x2};
static const tile_fn four[] = {NULL, NULL, NULL, t3r16_3x4, t3r16_4x4};
/* clang-format on */

void tern_t3r16_batch_vnni(const tern_mm *k, int row0, int row1, tern_panel_fn *dot)
{
    run_batch(k, row0, row1, 5, ((size_t)k->cols + 19) / 20, unpack_t3r16, dot);
}

void tern_mm_t3r16_vnni(const tern_mm *k, int row0, int row1)
{
    if (k->n_tok <= 2)
        run_tiles(k, row0, row1, 1, one, one, 2);
    else if (k->n_tok <= 4)
        run_tiles(k, row0, row1, 4, four, one, 4);
    else
        run_tiles(k, row0, row1, 2, two, one, 12);
}
