/* Products of codes that were unpacked to bytes: what a batch of tokens is multiplied with. Weights are
 * unpacked once to panels in the caller's scratch, a block of columns small enough for the first-level
 * cache at a time, and every token passes over them. Any layout whose codes come as column quads of 16 rows
 * uses this; which columns those are, only the caller knows. Inside kernels/ and its tests only. */
#ifndef TERN_KERNELS_PANEL_H
#define TERN_KERNELS_PANEL_H

#include "kernels/kernel.h"

/* One block. For every token t, panel i and row r = 0..15
 *   acc[t * acc_stride + 16 i + r] (+)= sum over e < n_quad, j < 4 of w_i[64 e + 4 r + j] * q[t * q_stride + 4 e + j]
 * exactly, in 32 bits. Where a panel has columns of padding, q is 0 or the codes are. */
typedef struct tern_panels {
    /* Panel i at w + i * w_stride: [n_quad][16 rows][4 columns], codes 0..3; w and w_stride are multiples
     * of 64 bytes. */
    const uint8_t *w;
    size_t w_stride;
    int n_panel, n_quad; /* n_quad > 0, for AMX a multiple of 16 */
    const int8_t *q;     /* [n_tok][q_stride], any alignment (quads are read whole) */
    size_t q_stride;
    int n_tok;
    int32_t *acc; /* [n_tok][acc_stride] */
    size_t acc_stride;
    bool add; /* to what acc holds; else acc is overwritten */
} tern_panels;

typedef void tern_panel_fn(const tern_panels *p);
tern_panel_fn tern_panel_avx2, tern_panel_avxvnni, tern_panel_vnni, tern_panel_amx;

/* Ternary products by way of panels, multiplied by another instruction set; all else is AVX-512. Column-major
 * ones without k->own. */
void tern_t2r16_batch_vnni(const tern_mm *k, int row0, int row1, tern_panel_fn *dot);
void tern_t3r16_batch_vnni(const tern_mm *k, int row0, int row1, tern_panel_fn *dot);
void tern_t2r1_batch_vnni(const tern_mm *k, int row0, int row1, tern_panel_fn *dot);
void tern_t3r1_batch_vnni(const tern_mm *k, int row0, int row1, tern_panel_fn *dot);
void tern_t2c1_batch_vnni(const tern_mm *k, int row0, int row1, tern_panel_fn *dot);
void tern_t3c1_batch_vnni(const tern_mm *k, int row0, int row1, tern_panel_fn *dot);

/* A block of two panels and the sums of at most so many tokens, in a lane's scratch. Quads: half of a
 * first-level cache of 32 KiB or more, and a multiple of what the layouts and instruction sets like, 5 and
 * 16; a layout whose last vector reaches further may unpack the whole of it. Tokens: enough to make unpacking
 * cheap, and few enough that their sums stay near. */
#define TERN_PANEL_QUADS 160
#define TERN_PANEL_BYTES ((TERN_PANEL_QUADS + 4) * 64)
#define TERN_PANEL_ROWS  32
#define TERN_PANEL_TOK   128

static inline size_t tern_panel_scratch_bytes(int n_tok)
{
    size_t toks = n_tok < TERN_PANEL_TOK ? (size_t)n_tok : TERN_PANEL_TOK;
    return 2 * TERN_PANEL_BYTES + toks * TERN_PANEL_ROWS * sizeof(int32_t);
}

#endif
