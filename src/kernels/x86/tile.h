/* What the loops of the ternary matrix products share, whatever the packing and the x86 instruction
 * set. One of dot_<isa>.h is included first and defines the vectors:
 *   vi, vf             integer and float vector;  VL  its 32-bit elements, 8 or 16
 *   v_load v_store v_and v_shr v_set1 v_sub   integers; v_shr(v, n) shifts 32-bit elements
 *   vdot               sums of products, in what width suits the ISA; a type of its own, because
 *                      compilers keep two copies of a register that a loop converts
 *   v_dot(dot, c, x)   dot + products of unsigned codes c and signed x
 *   v_open(acc)        a vdot to begin with, given 32-bit sums; v_close(dot, acc) the sums again
 *   SPAN               column quads of codes v_dot may sum between the two; undefined where vdot is
 *                      32-bit
 *   f_cvt f_set1 f_load f_add f_mul f_div   floats; f_store(p, v, n) writes the first n (may be < 0)
 *
 * A tile is nw weight vectors of VL rows each by nt tokens. Codes are taken out of the packed bytes in
 * registers and each is used for all tokens, each activation for all rows. Functions are inlined with
 * constant nt and nw, so that arrays are registers. */

#ifndef TERN_KERNELS_TILE_H
#define TERN_KERNELS_TILE_H

#include "kernels/kernel.h"
#include "kernels/rows.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* For every token and weight vector of a tile, nt <= 12 and nw <= 4: a loop that is surely unrolled. */
/* clang-format off */
#define EACH_VEC(X, t)                                                                             \
    {X(t, 0)} if (nw > 1) {X(t, 1)} if (nw > 2) {X(t, 2)} if (nw > 3) {X(t, 3)}
#define EACH_TOKEN(X)                                                                              \
    {X(0)} if (nt > 1) {X(1)} if (nt > 2) {X(2)} if (nt > 3) {X(3)}                                \
    if (nt > 4) {X(4)} if (nt > 5) {X(5)} if (nt > 6) {X(6)} if (nt > 7) {X(7)}                    \
    if (nt > 8) {X(8)} if (nt > 9) {X(9)} if (nt > 10) {X(10)} if (nt > 11) {X(11)}
/* clang-format on */
#define VECS_OF(t) EACH_VEC(CELL, t) /* CELL(t, i) is what the user of EACH_CELL defines */
#define EACH_CELL  EACH_TOKEN(VECS_OF)
#define MAX_TOK    12
#define MAX_VEC    4

/* What a tile works on: the packed vectors of rows row.. and tokens tok.. */
typedef struct tile {
    const uint8_t *w;
    int row, row_end; /* rows from row_end on are not written */
    int tok;
} tile;

typedef void (*tile_fn)(const tern_mm *k, const tile *a);

INLINE int32_t load_i32(const void *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Weight vector i of a tile: the next 8 rows are half a vector on, the next 16 a stripe. */
INLINE size_t vec_at(int i, size_t w_stride)
{
    return VL == 16 ? (size_t)i * w_stride : (size_t)(i / 2) * w_stride + (size_t)(i % 2) * 32;
}

INLINE void put(const tern_mm *k, const tile *a, int i, int t, vf y)
{
    int row = a->row + i * VL;
    f_store(k->y + (size_t)(a->tok + t) * k->y_stride + row, y, a->row_end - row);
}

INLINE void finish(const tern_mm *k, const tile *a, int i, int t, vi acc)
{
    vf s = f_set1(k->act.scale[a->tok + t]);
    put(k, a, i, t, f_mul(f_div(f_cvt(acc), s), f_load(k->scale + a->row + i * VL)));
}

/* All rows and a block of tokens, with tiles of some stripes where so many are left and of one where
 * not, and of at most max tokens, as equal as they can be. fn[n] makes a tile of n tokens. */
static inline void run_rows(const tern_mm *k, int row0, int row1, int tok0, int tok1, int stripes,
                            const tile_fn *fn, const tile_fn *fn_one, int max)
{
    tile a = {.row = row0, .row_end = row1};
    while (a.row < row1) {
        bool all = a.row + 16 * (stripes - 1) < row1;
        a.w = k->w + (size_t)(a.row / 16) * k->w_stride;
        a.tok = tok0;
        for (int i = (tok1 - tok0 + max - 1) / max; i > 0; i--) {
            int nt = (tok1 - a.tok + i - 1) / i;
            (all ? fn : fn_one)[nt](k, &a);
            a.tok += nt;
        }
        a.row += all ? 16 * stripes : 16;
    }
}

/* All rows and tokens, in equal blocks of tokens that stay in the second-level cache while the rows
 * pass by. */
static inline void run_tiles(const tern_mm *k, int row0, int row1, int stripes, const tile_fn *fn,
                             const tile_fn *fn_one, int max)
{
    int most = tern_tok_block(k->act.stride), tok = 0;
    for (int left = (k->n_tok + most - 1) / most, end; left > 0; left--, tok = end) {
        end = tok + (k->n_tok - tok + left - 1) / left;
        run_rows(k, row0, row1, tok, end, stripes, fn, fn_one, max);
    }
}

#endif
