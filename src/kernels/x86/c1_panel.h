/* The column-major ternary products of a batch: columns of half a slice, interleaved by fours, are the quads of
 * its panels (panel.h), four for each plane. t2c1.h and t3c1.h, see c1_tile.h, define for this
 *   PANEL_FORM(v)    what codes are taken from, of packed bytes
 *   PANEL_CODES(v)   those of the plane in front
 *   PANEL_NEXT(v)    the next plane in front */
#ifndef TERN_KERNELS_C1_PANEL_H
#define TERN_KERNELS_C1_PANEL_H

#include "kernels/x86/c1_tile.h"

/* Columns of a block. */
#define PANEL_COLS   (4 * TERN_PANEL_QUADS)
#define PANEL_STRIDE TERN_PANEL_STRIDE(TERN_PANEL_QUADS)

/* n columns of half a slice, listed or consecutive, into the panels of its first n_plane planes; columns up
 * to a multiple of 64 get code 0. */
static void unpack_cols(const uint8_t *w, const int32_t *list, int n, int n_plane, uint8_t *panels)
{
    const vi zero = v_set1(0);
    for (int g = 0; g < n; g += 4) {
        uint8_t *to = panels + 16 * (size_t)g;
        if (!list)
            for (int j = 0; j < 4; j++)
                _mm_prefetch((const char *)col_at(w, list, g + j + PANEL_COLS), _MM_HINT_T1);
        for (int h = 0; h < 64; h += PART, to += PART) {
            vi v0 = v_load(col_at(w, list, g) + h), v1 = v_load(col_at(w, list, g + 1) + h);
            vi v2 = v_load(col_at(w, list, g + 2) + h), v3 = v_load(col_at(w, list, g + 3) + h);
            vi a = PANEL_FORM(interleave(0, v0, v1, v2, v3));
            vi b = PANEL_FORM(interleave(1, v0, v1, v2, v3));
            vi c = PANEL_FORM(interleave(2, v0, v1, v2, v3));
            vi d = PANEL_FORM(interleave(3, v0, v1, v2, v3));
            for (int p = 0; p < n_plane; p++) {
                uint8_t *plane = to + 4 * (size_t)p * PANEL_STRIDE;
                v_store(plane, PANEL_CODES(a));
                v_store(plane + PANEL_STRIDE, PANEL_CODES(b));
                v_store(plane + 2 * PANEL_STRIDE, PANEL_CODES(c));
                v_store(plane + 3 * PANEL_STRIDE, PANEL_CODES(d));
                a = PANEL_NEXT(a);
                b = PANEL_NEXT(b);
                c = PANEL_NEXT(c);
                d = PANEL_NEXT(d);
            }
        }
    }
    for (int g = (n + 3) / 4; g % 16 != 0; g++)
        for (int i = 0; i < 4 * n_plane; i++)
            for (int h = 0; h < 64; h += PART)
                v_store(panels + (size_t)i * PANEL_STRIDE + 64 * g + h, zero);
}

static void batch_slice(const tern_mm *k, int row, int row1, tern_panels *p, uint8_t *panels,
                        tern_panel_fn *dot)
{
    const uint8_t *w = k->w + (size_t)(row / SLICE_ROWS) * k->w_stride +
                       (size_t)(row % SLICE_ROWS / HALF_ROWS * 64);
    const int8_t *x = p->q;
    int n = k->list ? k->n_list : k->cols;
    p->n_panel = row1 - row < HALF_ROWS ? (row1 - row + 15) / 16 : HALF_ROWS / 16;
    for (int c = 0, m; c < n; c += m) {
        m = n - c < PANEL_COLS ? n - c : PANEL_COLS;
        unpack_cols(k->list ? w : w + TERN_T2C1_BYTES * (size_t)c, k->list ? k->list + c : NULL, m,
                    (p->n_panel + 3) / 4, panels);
        p->n_quad = (m + 63) / 64 * 16;
        p->q = x + c;
        p->add = c > 0;
        dot(p);
    }
    p->q = x;
    if (n == 0)
        memset(p->acc, 0, tern_sparse_acc_bytes(p->n_tok));
}

static void run_batch(const tern_mm *k, int row0, int row1, tern_panel_fn *dot)
{
    sparse_scratch s = sparse_scratch_of(k);
    int most = tern_sparse_toks(k->cols, k->n_tok, k->list != NULL);
    tern_panels p = {
        .w = s.panels, .w_stride = PANEL_STRIDE, .acc = s.acc, .acc_stride = HALF_ROWS};
    for (int t = 0; t < k->n_tok; t += most) {
        p.n_tok = k->n_tok - t < most ? k->n_tok - t : most;
        p.q = k->act.q + (size_t)t * k->act.stride;
        p.q_stride = k->act.stride;
        if (k->list) {
            p.q = s.x;
            p.q_stride = tern_sparse_x_stride(k->cols);
            gather_acts(k, t, p.n_tok, s.x, p.q_stride);
        }
        for (int row = row0, end; row < row1; row = end) {
            end = row1 - row < HALF_ROWS ? row1 : row + HALF_ROWS;
            batch_slice(k, row, row1, &p, s.panels, dot);
            finish_rows(k, t, p.n_tok, row, end, s.acc, HALF_ROWS, false);
        }
    }
}

#endif
