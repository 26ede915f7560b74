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

void tern_mm_t2r16_amx(const tern_mm *k, int row0, int row1)
{
    if (k->n_tok < TILE_TOKS)
        tern_mm_t2r16_vnni(k, row0, row1);
    else
        tern_t2r16_batch_vnni(k, row0, row1, tern_panel_amx);
}

void tern_mm_t3r16_amx(const tern_mm *k, int row0, int row1)
{
    if (k->n_tok < TILE_TOKS)
        tern_mm_t3r16_vnni(k, row0, row1);
    else
        tern_t3r16_batch_vnni(k, row0, row1, tern_panel_amx);
}

void tern_mm_t2r1_amx(const tern_mm *k, int row0, int row1)
{
    if (k->n_tok < TILE_TOKS)
        tern_mm_t2r1_vnni(k, row0, row1);
    else
        tern_t2r1_batch_vnni(k, row0, row1, tern_panel_amx);
}

void tern_mm_t3r1_amx(const tern_mm *k, int row0, int row1)
{
    if (k->n_tok < TILE_TOKS)
        tern_mm_t3r1_vnni(k, row0, row1);
    else
        tern_t3r1_batch_vnni(k, row0, row1, tern_panel_amx);
}

void tern_mm_t2c1_amx(const tern_mm *k, int row0, int row1)
{
    if (k->own || k->n_tok < TILE_TOKS)
        tern_mm_t2c1_vnni(k, row0, row1);
    else
        tern_t2c1_batch_vnni(k, row0, row1, tern_panel_amx);
}

void tern_mm_t3c1_amx(const tern_mm *k, int row0, int row1)
{
    if (k->own || k->n_tok < TILE_TOKS)
        tern_mm_t3c1_vnni(k, row0, row1);
    else
        tern_t3c1_batch_vnni(k, row0, row1, tern_panel_amx);
}
