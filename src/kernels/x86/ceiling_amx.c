#include "kernels/ceiling.h"
#include "kernels/x86/tiles.h"

#include <string.h>

/* Four sums of 16 x 16, 64 products each: a step of one takes as long as those of the others. */
int64_t tern_ceiling_macs_amx(int64_t n_step)
{
    tile_config shape;
    memset(&shape, 0, sizeof shape);
    shape.palette = 1;
    for (int i = 0; i < 8; i++) {
        shape.row_bytes[i] = 64;
        shape.rows[i] = 16;
    }
    tiles_set(&shape);
    for (int64_t i = 0; i < n_step; i++) {
        _tile_dpbsud(0, 4, 6);
        _tile_dpbsud(1, 4, 7);
        _tile_dpbsud(2, 5, 6);
        _tile_dpbsud(3, 5, 7);
    }
    _tile_release();
    return n_step * 4 * 16 * 16 * 64;
}
