/* The column-major ternary product of tokens that each need few columns (tern_own_cols): a token's columns
 * of a part, one pass for 256 rows, while the part is in the second-level cache. The file that includes
 * this defines before
 *   OWN_COLS      columns that one pass can sum
 *   own_pass(b)   pass_t2c1 for one token and the 64 bytes of each column at b->w */
#ifndef TERN_KERNELS_T2C1_OWN_H
#define TERN_KERNELS_T2C1_OWN_H

#include "kernels/x86/t2c1_tile.h"

/* Half a slice, and how many columns there are. */
typedef struct own_block {
    const uint8_t *w;
    int row, row1;
} own_block;

static void own_token(const tern_own_cols *o, int t, int part, const uint8_t *w, int32_t *acc)
{
    size_t at = (size_t)t * o->stride + (size_t)part * TERN_T2C1_PART;
    int n = o->n[t * o->n_part + part];
    for (int i = 0, m; i < n; i += m, at += (size_t)m) {
        m = n - i < OWN_COLS ? n - i : OWN_COLS;
        col_block b = {.w = w, .list = o->list + at, .n = m, .x = o->q + at, .acc = acc};
        own_pass(&b);
    }
}

/* Of the columns from c on that the next part has, the share of token t: all tokens together ask for each
 * once. */
static void prefetch_share(const tern_mm *k, const uint8_t *w, int c, int t, int n_tok)
{
    int n = k->cols - c < TERN_T2C1_PART ? k->cols - c : TERN_T2C1_PART;
    for (int i = n * t / n_tok; i < n * (t + 1) / n_tok; i++)
        _mm_prefetch((const char *)w + TERN_T2C1_BYTES * (size_t)(c + i), _MM_HINT_T1);
}

static const uint8_t *half_slice(const tern_mm *k, int row)
{
    return k->w + (size_t)(row / TERN_T2C1_ROWS) * k->w_stride + (size_t)(row % TERN_T2C1_ROWS / 4);
}

static void run_own(const tern_mm *k, int row0, int row1)
{
    int32_t *acc = sparse_scratch_of(k).acc;
    int most = tern_sparse_toks(k->cols, k->n_tok, false);
    for (int t0 = 0, n; t0 < k->n_tok; t0 += n) {
        n = k->n_tok - t0 < most ? k->n_tok - t0 : most;
        for (int row = row0, end; row < row1; row = end) {
            const uint8_t *w = half_slice(k, row);
            end = row1 - row < 256 ? row1 : row + 256;
            memset(acc, 0, (size_t)n * 256 * sizeof *acc);
            for (int p = 0; p < k->own->n_part; p++) {
                bool more = p + 1 < k->own->n_part;
                for (int t = 0; t < n; t++) {
                    if (more || end < row1)
                        prefetch_share(k, more ? w : half_slice(k, end),
                                       more ? (p + 1) * TERN_T2C1_PART : 0, t, n);
                    own_token(k->own, t0 + t, p, w, acc + 256 * t);
                }
            }
            finish_rows(k, t0, n, row, end, acc, 256, true);
        }
    }
}

#endif
