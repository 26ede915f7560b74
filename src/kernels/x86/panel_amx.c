/* Panels with AMX, and the matrix products that use them: for a few tokens vectors do as well. */
#include <immintrin.h>

/* Older versions of clang spell them without the second line. */
#if !(defined(__AMX_TILE__) && defined(__AMX_INT8__)) &&                                           \
    !(defined(__AMXTILE__) && defined(__AMXINT8__))
#error "needs -mamx-tile -mamx-int8"
#endif

#define TILE_CONFIG(c)           _tile_loadconfig(c)
#define TILE_ZERO(n)             _tile_zero(n)
#define TILE_LOAD(n, p, stride)  _tile_loadd(n, p, stride)
#define TILE_STORE(n, p, stride) _tile_stored(n, p, stride)
#define TILE_DOT(c, a, b)        _tile_dpbsud(c, a, b)
#define TILE_RELEASE()           _tile_release()

#include "kernels/x86/panel_amx.h"

void tern_panel_amx(const tern_panels *p)
{
    panel_tiles(p);
}

void tern_mm_t2r16_amx(const tern_mm *k, int row0, int row1)
{
    if (k->n_tok < 8)
        tern_mm_t2r16_vnni(k, row0, row1);
    else
        tern_t2r16_batch_vnni(k, row0, row1, tern_panel_amx);
}

void tern_mm_t3r16_amx(const tern_mm *k, int row0, int row1)
{
    if (k->n_tok < 8)
        tern_mm_t3r16_vnni(k, row0, row1);
    else
        tern_t3r16_batch_vnni(k, row0, row1, tern_panel_amx);
}
