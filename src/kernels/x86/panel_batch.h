/* A batch of tokens times stripes of 16 rows, by way of panels (panel.h); shared by the x86 instruction
 * sets and the layouts, see tile.h for what the file that includes this defines first. */
#include "kernels/x86/panel.h"
#include "kernels/x86/tile.h"

/* Unpack n_quad quads of a panel from the packed vectors at w, of which n_vec are left in the stripe;
 * zeros when they end earlier. Room for 4 quads more may be used. Prefetches next_tile bytes on. */
typedef void unpack_fn(const uint8_t *w, size_t n_vec, size_t n_quad, size_t next_tile,
                       uint8_t *to);

INLINE void finish_batch(const tern_mm *k, int row, int row_end, int tok, int n_tok,
                         const int32_t *acc)
{
    for (int t = tok; t < tok + n_tok; t++, acc += TERN_PANEL_ROWS)
        for (int i = 0; row + i * VL < row_end && i * VL < TERN_PANEL_ROWS; i++) {
            tile a = {.row = row, .row_end = row_end, .tok = t};
            finish(k, &a, i, 0, v_sub(v_load(acc + i * VL), v_set1(k->act.sum[t])));
        }
}

/* Layouts hold quads_per_vec quads in a vector of 64 bytes and n_vec vectors in a stripe. */
INLINE void run_batch(const tern_mm *k, int row0, int row1, int quads_per_vec, size_t n_vec,
                      unpack_fn *unpack, tern_panel_fn *dot)
{
    const int n_quad = (k->cols + 63) / 64 * 16; /* the activations end no earlier */
    uint8_t *panel = k->scratch;
    int32_t *acc = (int32_t *)(void *)(panel + 2 * TERN_PANEL_BYTES);
    for (int row = row0; row < row1; row += TERN_PANEL_ROWS)
        for (int tok = 0, n_tok; tok < k->n_tok; tok += n_tok) {
            n_tok = k->n_tok - tok < TERN_PANEL_TOK ? k->n_tok - tok : TERN_PANEL_TOK;
            tern_panels p = {.w = panel,
                             .w_stride = TERN_PANEL_BYTES,
                             .n_panel = row + 16 < row1 ? 2 : 1,
                             .q = k->act.q + (size_t)tok * k->act.stride,
                             .q_stride = k->act.stride,
                             .n_tok = n_tok,
                             .acc = acc,
                             .acc_stride = TERN_PANEL_ROWS};
            for (int e = 0; e < n_quad; e += p.n_quad, p.q += 4 * p.n_quad, p.add = true) {
                p.n_quad = n_quad - e < TERN_PANEL_QUADS ? n_quad - e : TERN_PANEL_QUADS;
                size_t b = (size_t)(e / quads_per_vec), left = n_vec > b ? n_vec - b : 0;
                for (int i = 0; i < p.n_panel; i++)
                    unpack(k->w + (size_t)(row / 16 + i) * k->w_stride + 64 * b, left,
                           (size_t)p.n_quad, 2 * k->w_stride, panel + (size_t)i * TERN_PANEL_BYTES);
                dot(&p);
            }
            finish_batch(k, row, row1, tok, n_tok, acc);
        }
}
