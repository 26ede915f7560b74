/* Rows of quantised blocks with int8 activations on the lanes of one instruction set; see
 * ref/mm_rows_ref.c. The includer defines
 *   MM_BLOCK    the function's name
 *   quad_dot_u  see mm_decode_tmpl.h
 *   row_int     what a register of a row is prepared to, row_prepare(v) and tok_prepare(q) once per
 *               register, and quad_dot(row, tok): its exact sums of four products.
 *
 * One token goes to mm_decode_tmpl.h if it knows the format. Else four rows are expanded into scratch,
 * which stays in the first-level cache while the tokens pass over it, a tile of rows x tokens at a time;
 * the tokens of one pass stay in the second-level cache. */

#include "kernels/x86/mm_decode_tmpl.h"

typedef struct block_tile {
    const tern_row_slot *s; /* of the tile's first row */
    const int8_t *q;        /* of its first token, likewise */
    const float *d;
    size_t q_stride, d_stride;
} block_tile;

/* The blocks of one register, from b on: two, or one, or (single) one of two. The sums of part h. */
LANES_INLINE void block_part(vf acc[4][4], const block_tile *m, int b, const int h,
                             const int single, const int n_row, const int n_tok)
{
    pi q[4];
    pf d[4];
    LANES_UNROLL
    for (int j = 0; j < n_tok; j++) {
        q[j] = tok_prepare(pi_load(m->q + (size_t)j * m->q_stride + 32 * b));
        d[j] = pf_oct_scale(m->d + (size_t)j * m->d_stride + b, single);
    }
    LANES_UNROLL
    for (int i = 0; i < n_row; i++) {
        row_int row = row_prepare(pi_load(m->s[i].v + 32 * b));
        pf scale = pf_quad_scale(m->s[i].scale16 + 2 * b);
        LANES_UNROLL
        for (int j = 0; j < n_tok; j++) {
            pf x = pf_from_i32(quad_dot(&row, q[j]));
            pf *sum = vf_part(&acc[i][j], h);
            *sum = pf_add(*sum, pf_mul(x, pf_mul(scale, d[j])));
        }
    }
}

/* Blocks b and b + 1. */
LANES_INLINE void block_step(vf acc[4][4], const block_tile *m, int b, const int n_row,
                             const int n_tok)
{
    LANES_UNROLL
    for (int h = 0; h < N_PART; h++)
        block_part(acc, m, b + h, h, 0, n_row, n_tok);
}

/* The minima: half-blocks in the 16 lanes. */
LANES_INLINE void block_minima(vf mac[4][4], const tern_mm *k, const tern_row_slot *s, int t,
                               const int n_row, const int n_tok)
{
    int n = k->cols / 16;
    for (int g = 0; g < n; g += 16) {
        int m = n - g < 16 ? n - g : 16;
        vf low[4], p[4];
        LANES_UNROLL
        for (int i = 0; i < n_row; i++)
            low[i] = vf_load_n(s[i].min16 + g, m);
        LANES_UNROLL
        for (int j = 0; j < n_tok; j++) {
            size_t half = (size_t)(t + j) * (k->act.stride / 16) + (size_t)g;
            p[j] = vf_mul(vf_dup_scale_n(k->act.scale + half / 2, m),
                          vf_load_n_i32(k->act.sum + half, m));
        }
        LANES_UNROLL
        for (int i = 0; i < n_row; i++) {
            LANES_UNROLL
            for (int j = 0; j < n_tok; j++)
                mac[i][j] = vf_add(mac[i][j], vf_mul(low[i], p[j]));
        }
    }
}

LANES_INLINE void clear_tile(vf acc[4][4], const int n_row, const int n_tok)
{
    LANES_UNROLL
    for (int i = 0; i < n_row; i++) {
        LANES_UNROLL
        for (int j = 0; j < n_tok; j++)
            acc[i][j] = vf_zero();
    }
}

/* Rows [r, r + n_row), expanded in s, of tokens [t, t + n_tok). */
LANES_INLINE void block_rows_toks(const tern_mm *k, const tern_row_slot *s, int r, int t,
                                  bool has_min, const int n_row, const int n_tok)
{
    vf acc[4][4];
    block_tile m = {.s = s,
                    .q_stride = k->act.stride,
                    .d_stride = k->act.stride / 32,
                    .q = k->act.q + (size_t)t * k->act.stride,
                    .d = k->act.scale + (size_t)t * (k->act.stride / 32)};
    int n = k->cols / 32, b = 0;
    clear_tile(acc, n_row, n_tok);
    for (; b + 2 <= n; b += 2)
        block_step(acc, &m, b, n_row, n_tok);
    if (b < n)
        block_part(acc, &m, b, 0, 1, n_row, n_tok);
    LANES_UNROLL
    for (int j = 0; j < n_tok; j++) {
        LANES_UNROLL
        for (int i = 0; i < n_row; i++)
            k->y[(size_t)(t + j) * k->y_stride + (size_t)(r + i)] = vf_fold(acc[i][j]);
    }
    if (!has_min)
        return;
    clear_tile(acc, n_row, n_tok);
    block_minima(acc, k, s, t, n_row, n_tok);
    LANES_UNROLL
    for (int j = 0; j < n_tok; j++) {
        LANES_UNROLL
        for (int i = 0; i < n_row; i++)
            k->y[(size_t)(t + j) * k->y_stride + (size_t)(r + i)] += vf_fold(acc[i][j]);
    }
}

LANES_INLINE void block_rows(const tern_mm *k, const tern_row_slot *s, int r, int n, int t,
                             bool has_min, const int n_tok)
{
    int i = 0;
    for (; i + LANES_TILE_ROWS(n_tok) <= n; i += LANES_TILE_ROWS(n_tok))
        block_rows_toks(k, s + i, r + i, t, has_min, LANES_TILE_ROWS(n_tok), n_tok);
    for (; i < n; i++)
        block_rows_toks(k, s + i, r + i, t, has_min, 1, n_tok);
}

void MM_BLOCK(const tern_mm *k, int row0, int row1)
{
    if (k->n_tok == 1 && decode(k, row0, row1))
        return;
    tern_expand_fn expand = tern_expand_avx2(k->dtype);
    bool has_min = tern_expand_has_min(k->dtype);
    tern_row_slot s[TERN_ROW_TILE];
    for (int i = 0; i < TERN_ROW_TILE; i++)
        s[i] = tern_row_slot_get(k->scratch, k->cols, i);
    int n_block = tern_tok_block(k->act.stride + k->act.stride / 8);
    for (int t0 = 0; t0 < k->n_tok; t0 += n_block) {
        int t1 = k->n_tok - t0 < n_block ? k->n_tok : t0 + n_block;
        for (int r = row0; r < row1; r += TERN_ROW_TILE) {
            int n = row1 - r < TERN_ROW_TILE ? row1 - r : TERN_ROW_TILE, t = t0;
            for (int i = 0; i < n; i++)
                expand(k->w + (size_t)(r + i) * k->w_stride, k->cols, s[i].v, s[i].scale16,
                       s[i].min16);
            for (; t + LANES_TILE_TOKS <= t1; t += LANES_TILE_TOKS)
                block_rows(k, s, r, n, t, has_min, LANES_TILE_TOKS);
            for (; t + 2 <= t1; t += 2)
                block_rows(k, s, r, n, t, has_min, 2);
            if (t < t1)
                block_rows(k, s, r, n, t, has_min, 1);
        }
    }
}
