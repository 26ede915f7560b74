/* Products of codes that were unpacked to bytes: what a batch of tokens is multiplied with. Weights are
 * unpacked once to panels in the caller's scratch, a block of columns small enough for the first-level
 * cache at a time, and every token passes over them. Any layout whose codes come as columns quads of 16 rows
 * uses this; which columns those are, only the caller knows. Inside kernels/ and its tests only. */
#ifndef TERN_KERNELS_PANEL_H
#define TERN_KERNELS_PANEL_H

#include "kernels/kernel.h"

/* One block. For every token t, panel i and row r = 0..15
 *   acc[t * acc_stride + 16 i + r] (+)= sum over e < n_quad, j < 4 of w_i[64 e + 4 r + j] * q[t * q_stride + 4 e + j]
 * exactly, in 32 bits. Where a panel has columns of padding, q is 0 or the codes are. */
typedef struct tern_panels {
    const uint8_t
        *w; /* panel i at w + i * w_stride: [n_quad][16 rows][4 columns], codes 0..3; 64-byte
                         aligned, as w_stride is */
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
tern_panel_fn tern_panel_avx2, tern_panel_avxvnni, tern_panel_vnni;

/* Quads a block should have at most: with two panels, half of a first-level cache of 32 KiB or more. A
 * multiple of what the layouts and instruction sets like: 5 and 16. */
#define TERN_PANEL_QUADS 160

#endif
