/* The column-major ternary products of tokens that each need few columns (tern_own_cols): a token's columns
 * of a part, while the part is in the second-level cache. The file that includes this defines before
 *   OWN_COLS      columns that one pass can sum
 *   own_pass(b, h, share, ahead)   pass_cols for one token and half h of each column's bytes */
#ifndef TERN_KERNELS_C1_OWN_H
#define TERN_KERNELS_C1_OWN_H

#include "kernels/x86/c1_tile.h"

static col_block own_block(const tern_own_cols *o, int t, int part, const uint8_t *w, int32_t *acc)
{
    size_t at = (size_t)t * o->stride + (size_t)part * TERN_T2C1_PART;
    return (col_block){.w = w, .list = o->list + at, .x = o->q + at, .acc = acc};
}

/* The next columns of a token, of n; b->n becomes how many. */
static void own_next(col_block *b, int n)
{
    b->list += b->n;
    b->x += b->n;
    b->n = n < OWN_COLS ? n : OWN_COLS;
}

/* How many columns come after those of a part, at most another part. */
static int part_after(const tern_mm *k, int col)
{
    return k->cols - col < TERN_T2C1_PART ? k->cols - col : TERN_T2C1_PART;
}

/* ---- few tokens ----------------------------------------------------------------------------- */

/* Columns that are wanted next: of `to` from col on; NULL: none. */
typedef struct own_ahead {
    const uint8_t *to;
    int col;
} own_ahead;

/* Token t and part p of a slice, its halves [h0, h1). The token asks for its share of what is ahead, and
 * spreads that over its passes: few tokens take a part faster than memory would answer at once (AMD Zen 5,
 * 8 tokens with 17 % of 6912 columns: 0.75 instead of 1.05 ms for 30 layers, each token). */
static void own_few(const tern_mm *k, const uint8_t *w, int p, int t, int h0, int h1,
                    own_ahead next, int32_t *acc)
{
    int n = k->own->n[t * k->own->n_part + p], n_next = next.to ? part_after(k, next.col) : 0;
    int ahead = n_next * t / k->n_tok, last = n_next * (t + 1) / k->n_tok;
    int steps = (h1 - h0) * ((n + 3) / 4);
    int share = steps ? (last - ahead + steps - 1) / steps : 0;
    col_block b = own_block(k->own, t, p, w, acc);
    if (next.to)
        b.next = b.far[0] = b.far[1] = next.to + TERN_T2C1_BYTES * (size_t)next.col;
    for (; n > 0; n -= b.n) {
        own_next(&b, n);
        for (int h = h0; h < h1; h++, ahead += share * ((b.n + 3) / 4))
            own_pass(&b, h, ahead < last ? share : 0, ahead);
    }
}

/* Whole slices: sums of few tokens stay in the first-level cache. */
static void run_own_few(const tern_mm *k, int row0, int row1)
{
    int32_t *acc = sparse_scratch_of(k).acc;
    int n_part = k->own->n_part;
    for (int row = row0, end; row < row1; row = end) {
        int slice = row / SLICE_ROWS, from = row % SLICE_ROWS;
        const uint8_t *w = k->w + (size_t)slice * k->w_stride;
        end = (slice + 1) * SLICE_ROWS < row1 ? (slice + 1) * SLICE_ROWS : row1;
        memset(acc, 0, (size_t)k->n_tok * TOKEN_SUMS * sizeof *acc);
        for (int p = 0; p < n_part; p++) {
            own_ahead next = {.to = w, .col = (p + 1) * TERN_T2C1_PART};
            if (p + 1 == n_part)
                next = (own_ahead){.to = end < row1 ? w + k->w_stride : NULL};
            for (int t = 0; t < k->n_tok; t++)
                own_few(k, w, p, t, from / HALF_ROWS,
                        (end - row + from + HALF_ROWS - 1) / HALF_ROWS, next, acc + TOKEN_SUMS * t);
        }
        finish_rows(k, 0, k->n_tok, row, end, acc + from / HALF_ROWS * HALF_SUMS, TOKEN_SUMS, true);
    }
}

/* ---- a batch -------------------------------------------------------------------------------- */

static void own_token(const tern_mm *k, int t, int p, const uint8_t *w, int32_t *acc)
{
    col_block b = own_block(k->own, t, p, w, acc);
    for (int n = k->own->n[t * k->own->n_part + p]; n > 0; n -= b.n) {
        own_next(&b, n);
        own_pass(&b, 0, 0, 0);
    }
}

/* Of the columns from c on that the next part has, the share of token t: all tokens together ask for each
 * once. */
static void prefetch_share(const tern_mm *k, const uint8_t *w, int c, int t, int n_tok)
{
    int n = part_after(k, c);
    for (int i = n * t / n_tok; i < n * (t + 1) / n_tok; i++)
        _mm_prefetch((const char *)w + TERN_T2C1_BYTES * (size_t)(c + i), _MM_HINT_T1);
}

static const uint8_t *half_slice(const tern_mm *k, int row)
{
    return k->w + (size_t)(row / SLICE_ROWS) * k->w_stride +
           (size_t)(row % SLICE_ROWS / HALF_ROWS * 64);
}

/* Half a slice at a time. */
static void run_own(const tern_mm *k, int row0, int row1)
{
    int32_t *acc = sparse_scratch_of(k).acc;
    int most = tern_sparse_toks(k->cols, k->n_tok, false);
    if (k->n_tok <= TERN_SPARSE_FEW) {
        run_own_few(k, row0, row1);
        return;
    }
    for (int t0 = 0, n; t0 < k->n_tok; t0 += n) {
        n = k->n_tok - t0 < most ? k->n_tok - t0 : most;
        for (int row = row0, end; row < row1; row = end) {
            const uint8_t *w = half_slice(k, row);
            end = row1 - row < HALF_ROWS ? row1 : row + HALF_ROWS;
            memset(acc, 0, (size_t)n * HALF_SUMS * sizeof *acc);
            for (int p = 0; p < k->own->n_part; p++) {
                bool more = p + 1 < k->own->n_part;
                for (int t = 0; t < n; t++) {
                    if (more || end < row1)
                        prefetch_share(k, more ? w : half_slice(k, end),
                                       more ? (p + 1) * TERN_T2C1_PART : 0, t, n);
                    own_token(k, t0 + t, p, w, acc + HALF_SUMS * t);
                }
            }
            finish_rows(k, t0, n, row, end, acc, HALF_SUMS, true);
        }
    }
}

#endif
