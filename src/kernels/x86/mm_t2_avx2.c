/* Ternary matrix products with vpmaddubsw. */
#include "kernels/x86/dot_avx2.h"

#include "kernels/x86/t2_tile.h"

/* A stripe is two vectors. */
/* clang-format off */
T2R16(1, 2, 4096)
T2R16(2, 2, 4096)
T2R16(3, 2, 4096)
T2R16(4, 2, 4096)
T2R16(5, 2, 4096)
T2G(1, 2, 4096)
T2G(2, 2, 4096)
T2G(3, 2, 4096)
T2G(4, 2, 4096)

static const tile_fn one[] = {NULL, t2r16_1x2, t2r16_2x2, t2r16_3x2, t2r16_4x2, t2r16_5x2};
static const tile_fn group_one[] = {NULL, t2g_1x2, t2g_2x2, t2g_3x2, t2g_4x2};
/* clang-format on */

void tern_mm_t2r16_avx2(const tern_mm *k, int row0, int row1)
{
    run_tiles(k, row0, row1, 1, one, one, 5); /* 10 accumulators, 2 codes, mask, activation */
}

void tern_mm_t2g_avx2(const tern_mm *k, int row0, int row1)
{
    run_tiles(k, row0, row1, 1, group_one, group_one, 4);
}
