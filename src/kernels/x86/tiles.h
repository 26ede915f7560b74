/* Matrix tiles of AMX: their shapes, and how they are set. */
#ifndef TERN_KERNELS_TILES_H
#define TERN_KERNELS_TILES_H

#include <immintrin.h>

#include "kernels/x86/tile_config.h"

/* Older versions of clang spell them without the second line. */
#if !(defined(__AMX_TILE__) && defined(__AMX_INT8__)) &&                                           \
    !(defined(__AMXTILE__) && defined(__AMXINT8__))
#error "needs -mamx-tile -mamx-int8"
#endif

/* Take the shapes in *c, all tiles zero. gcc's intrinsic tells the compiler of the first 8 bytes alone: what was
 * stored to the others could come too late. */
static inline void tiles_set(const tile_config *c)
{
    __asm__ volatile("" : : "r"(c) : "memory");
    _tile_loadconfig(c);
}

#endif
