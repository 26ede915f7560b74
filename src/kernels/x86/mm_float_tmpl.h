/* Matrices of floats in file order on the lanes of one instruction set; see ref/mm_rows_ref.c. Included
 * once per format: W names it (f32, f16 or bf16, as in vf_load_<W>), W_BYTES is the size of an element.
 *
 * A tile of rows x tokens keeps its sums in registers while it walks the columns. The tokens that one
 * pass over the rows meets are few enough to stay in the second-level cache. With one token
 * rows to come are asked for while these are read. */
#define W_FN(name) LANES_JOIN(name, W)

/* Columns [c, c + 16), of which the first n exist. Counts of rows and tokens are constants wherever
 * this is expanded. */
LANES_INLINE void W_FN(step_)(vf acc[4][4], const tern_mm *k, const uint8_t *w, const float *x,
                              int c, int n, const int n_row, const int n_tok)
{
    vf xv[4];
    size_t ahead = tern_rows_ahead(k->w_stride);
    LANES_UNROLL
    for (int j = 0; j < n_tok; j++)
        xv[j] = vf_load(x + (size_t)j * k->x_stride + c);
    LANES_UNROLL
    for (int i = 0; i < n_row; i++) {
        const uint8_t *p = w + (size_t)i * k->w_stride + (size_t)c * W_BYTES;
        if (n_tok < LANES_TILE_TOKS)
            _mm_prefetch((const char *)((uintptr_t)p + ahead), _MM_HINT_T1);
        vf wv = n == 16 ? W_FN(vf_load_)((const void *)p) : W_FN(vf_load_n_)((const void *)p, n);
        LANES_UNROLL
        for (int j = 0; j < n_tok; j++)
            acc[i][j] = vf_add(acc[i][j], vf_mul(wv, xv[j]));
    }
}

LANES_INLINE void W_FN(tile_)(const tern_mm *k, int r, int t, const int n_row, const int n_tok)
{
    const uint8_t *w = k->w + (size_t)r * k->w_stride;
    const float *x = k->x + (size_t)t * k->x_stride;
    vf acc[4][4];
    LANES_UNROLL
    for (int i = 0; i < n_row; i++) {
        LANES_UNROLL
        for (int j = 0; j < n_tok; j++)
            acc[i][j] = vf_zero();
    }
    int c = 0;
    for (; c + 16 <= k->cols; c += 16)
        W_FN(step_)(acc, k, w, x, c, 16, n_row, n_tok);
    if (c < k->cols)
        W_FN(step_)(acc, k, w, x, c, k->cols - c, n_row, n_tok);
    LANES_UNROLL
    for (int j = 0; j < n_tok; j++) {
        LANES_UNROLL
        for (int i = 0; i < n_row; i++)
            k->y[(size_t)(t + j) * k->y_stride + (size_t)(r + i)] = vf_fold(acc[i][j]);
    }
}

LANES_INLINE void W_FN(rows_)(const tern_mm *k, int r, int r1, int t, const int n_tok)
{
    for (; r + LANES_TILE_ROWS(n_tok) <= r1; r += LANES_TILE_ROWS(n_tok))
        W_FN(tile_)(k, r, t, LANES_TILE_ROWS(n_tok), n_tok);
    for (; r < r1; r++)
        W_FN(tile_)(k, r, t, 1, n_tok);
}

void LANES_FN(W_FN(mm_))(const tern_mm *k, int row0, int row1)
{
    int n_block = tern_tok_block((size_t)k->cols * sizeof(float));
    for (int t0 = 0; t0 < k->n_tok; t0 += n_block) {
        int t1 = k->n_tok - t0 < n_block ? k->n_tok : t0 + n_block;
        for (int r = row0; r < row1; r += TERN_ROW_TILE) {
            int r1 = row1 - r < TERN_ROW_TILE ? row1 : r + TERN_ROW_TILE, t = t0;
            for (; t + LANES_TILE_TOKS <= t1; t += LANES_TILE_TOKS)
                W_FN(rows_)(k, r, r1, t, LANES_TILE_TOKS);
            for (; t + 2 <= t1; t += 2)
                W_FN(rows_)(k, r, r1, t, 2);
            if (t < t1)
                W_FN(rows_)(k, r, r1, t, 1);
        }
    }
}

#undef W_FN
#undef W
#undef W_BYTES
