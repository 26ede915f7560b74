/* Ternary matrix products with 256-bit vpdpbusd. */
#include "kernels/x86/dot_avxvnni.h"

#include "kernels/x86/t2_tile.h"

/* A stripe is two vectors. Two tokens take two stripes: two vpdpbusd start in a cycle and each waits
 * four for its forerunner, so eight must be under way. */
/* clang-format off */
STREAM(1, 8192)
T2R16(2, 4, 2048)
T2R16(2, 2, 4096)
T2R16(3, 2, 4096)
T2R16(4, 2, 4096)
T2R16(5, 2, 4096)
T2G(1, 2, 4096)
T2G(2, 2, 4096)
T2G(3, 2, 4096)
T2G(4, 2, 4096)

static const tile_fn one[] = {NULL, stream_1, t2r16_2x2, t2r16_3x2, t2r16_4x2, t2r16_5x2};
static const tile_fn two[] = {NULL, NULL, t2r16_2x4};
static const tile_fn group_one[] = {NULL, t2g_1x2, t2g_2x2, t2g_3x2, t2g_4x2};
/* clang-format on */

void tern_mm_t2r16_avxvnni(const tern_mm *k, int row0, int row1)
{
    if (k->n_tok == 2)
        run_tiles(k, row0, row1, 2, two, one, 2);
    else /* 10 accumulators, 2 packed, 2 codes, mask, activation */
        run_tiles(k, row0, row1, 1, one, one, 5);
}

void tern_mm_t2g_avxvnni(const tern_mm *k, int row0, int row1)
{
    run_tiles(k, row0, row1, 1, group_one, group_one, 4);
}
