/* Panels with AMX, and the matrix products that use them: for a few tokens vectors do as well. */
#include "kernels/x86/tiles.h"

#define TILE_CONFIG(c)           tiles_set(c)
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

/* From so many tokens on tiles are faster (Intel Sapphire Rapids). */
#define TILE_TOKS 12

/* Columns of each token's own are no matter for tiles. */
#define BY_TILES(layout)                                                                           \
    void tern_mm_##layout##_amx(const tern_mm *k, int row0, int row1)                              \
    {                                                                                              \
        if (k->own || k->n_tok < TILE_TOKS)                                                        \
            tern_mm_##layout##_vnni(k, row0, row1);                                                \
        else                                                                                       \
            tern_##layout##_batch_vnni(k, row0, row1, tern_panel_amx);                             \
    }
BY_TILES(t2r16)
BY_TILES(t3r16)
BY_TILES(t2r1)
BY_TILES(t3r1)
BY_TILES(t2c1)
BY_TILES(t3c1)
