/* What the kernels for weights in file order (W_ROWS) share: expansion of BLOCK-class rows and the
 * scratch it goes to. Inside kernels/, its tests and model/head.c only. */
#ifndef TERN_KERNELS_ROWS_H
#define TERN_KERNELS_ROWS_H

#include "kernels/kernel.h"

/* Rows expanded before the tokens pass over them: 4 rows x 4 tokens of sums fill the registers. */
#define TERN_ROW_TILE 4

/* The expansion of a dtype; NULL when it is not BLOCK class. Both write the same bits. */
tern_expand_fn tern_expand_ref(tern_dtype dt);
tern_expand_fn tern_expand_avx2(tern_dtype dt);
tern_expand_fn tern_expand_of(const tern_kernels *k, tern_dtype dt); /* that of MM_BLOCK */

/* One expanded row in scratch. Beyond the row's own elements v and scale16 are 0 up to the next
 * multiple of 64 columns, so that a vector of two blocks may be read whole. */
typedef struct tern_row_slot {
    int8_t *v;      /* [cols padded to 64], 64-byte aligned */
    float *scale16; /* [cols padded to 64 / 16] */
    float *min16;   /* likewise; written for formats with minima */
} tern_row_slot;

static inline size_t tern_row_pad(int cols)
{
    return ((size_t)cols + 63) / 64 * 64;
}

static inline size_t tern_row_slot_bytes(int cols)
{
    size_t pad = tern_row_pad(cols);
    return pad + 2 * tern_row_pad((int)(pad / 4));
}

/* Slot i of the scratch, padding cleared. */
static inline tern_row_slot tern_row_slot_get(void *scratch, int cols, int i)
{
    size_t pad = tern_row_pad(cols);
    uint8_t *p = (uint8_t *)scratch + (size_t)i * tern_row_slot_bytes(cols);
    tern_row_slot s = {.v = (int8_t *)p,
                       .scale16 = (float *)(void *)(p + pad),
                       .min16 = (float *)(void *)(p + pad + tern_row_pad((int)(pad / 4)))};
    for (size_t k = (size_t)cols; k < pad; k++)
        s.v[k] = 0;
    for (size_t g = (size_t)cols / 16; g < pad / 16; g++)
        s.scale16[g] = 0;
    return s;
}

/* Tokens of so many bytes each that a pass over the rows should meet at a time: half a megabyte of a
 * second-level cache, and a multiple of every tile's tokens. */
static inline int tern_tok_block(size_t tok_bytes)
{
    size_t n = (512 * 1024) / tok_bytes / 4 * 4;
    return n < 16 ? 16 : n > 4096 ? 4096 : (int)n;
}

/* How far ahead of a row that is being read to ask for memory, when a tile of rows is read side by side:
 * at least 8 KiB, since short rows would otherwise be asked for too late, and whole tiles, since anything
 * else would ask for what this tile has read already. */
static inline size_t tern_rows_ahead(size_t w_stride)
{
    size_t tile = TERN_ROW_TILE * w_stride;
    return tile * (1 + 8191 / tile);
}

#endif
