/* What a lane keeps in tern_mm.scratch for a row-major or column-major ternary product,
 * in this order: sums [tokens][rows of a block], panels, and activations of the columns listed.
 * Tokens come in blocks, so that it is bounded whatever the batch. */
#ifndef TERN_KERNELS_SPARSE_SCRATCH_H
#define TERN_KERNELS_SPARSE_SCRATCH_H

#include "kernels/x86/panel.h"

#include <stddef.h>
#include <stdint.h>

/* A row block of a batch is half a slice of a column-major layout; sums of T3C1 are more than its rows (t3c1.h). */
#define TERN_SPARSE_ROWS 320
#define TERN_SPARSE_SUMS 384
#define TERN_SPARSE_TOKS 256
/* Of a row-major layout it is two panels of so many packed vectors, which stay in the first-level cache with all
 * else. */
#define TERN_R1_PANELS 2
#define TERN_R1_VECS   2
/* Tokens whose gathered activations always have room. */
#define TERN_SPARSE_FEW 24
/* One panel and a line, lest panels share the sets of a cache. */
#define TERN_PANEL_STRIDE(quads) ((size_t)(quads)*64 + 64)
#define TERN_SPARSE_PANELS       (TERN_SPARSE_ROWS / 16 * TERN_PANEL_STRIDE(TERN_PANEL_QUADS))

static inline size_t tern_sparse_acc_bytes(int n_tok)
{
    return (size_t)n_tok * TERN_SPARSE_SUMS * sizeof(int32_t);
}

/* Panels are read in steps of 16 quads, 64 columns. */
static inline size_t tern_sparse_x_stride(int cols)
{
    return ((size_t)cols + 63) / 64 * 64;
}

/* Tokens of a block: with a list about 1 MiB of gathered activations. */
static inline int tern_sparse_toks(int cols, int n_tok, bool listed)
{
    size_t most = TERN_SPARSE_TOKS;
    if (listed && most * tern_sparse_x_stride(cols) > (size_t)1 << 20)
        most = ((size_t)1 << 20) / tern_sparse_x_stride(cols) / 12 * 12;
    if (most < TERN_SPARSE_FEW)
        most = TERN_SPARSE_FEW;
    return (size_t)n_tok < most ? n_tok : (int)most;
}

/* Sums of a block of tokens, or of few and a whole slice. */
static inline size_t tern_sparse_acc_room(int cols, int n_tok)
{
    size_t block = tern_sparse_acc_bytes(tern_sparse_toks(cols, n_tok, false));
    size_t slice = TERN_SPARSE_FEW * 2 * TERN_SPARSE_SUMS * sizeof(int32_t);
    return block > slice ? block : slice;
}

static inline size_t tern_sparse_scratch_bytes(int cols, int n_tok)
{
    return tern_sparse_acc_room(cols, n_tok) + TERN_SPARSE_PANELS +
           (size_t)tern_sparse_toks(cols, n_tok, true) * tern_sparse_x_stride(cols);
}

typedef struct sparse_scratch {
    int32_t *acc;
    uint8_t *panels;
    int8_t *x;
} sparse_scratch;

static inline sparse_scratch sparse_scratch_of(const tern_mm *k)
{
    sparse_scratch s = {.acc = k->scratch};
    s.panels = (uint8_t *)k->scratch + tern_sparse_acc_room(k->cols, k->n_tok);
    s.x = (int8_t *)s.panels + TERN_SPARSE_PANELS;
    return s;
}

#endif
