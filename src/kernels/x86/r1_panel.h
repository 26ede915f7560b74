/* The row-major ternary products of a batch: 16 rows transposed by quads of columns are a panel
 * (panel.h). t2r1.h and t3r1.h, see r1_tile.h, define for this
 *   PANEL_FORM(v)           what codes are taken from
 *   PANEL_CODES(v)          those of the plane in front
 *   PANEL_NEXT(v)           the next plane in front */
#ifndef TERN_KERNELS_R1_PANEL_H
#define TERN_KERNELS_R1_PANEL_H

#include "kernels/x86/r1_tile.h"
#include "kernels/x86/sparse_scratch.h"

#define PANEL_ROWS   (16 * TERN_R1_PANELS)
#define PANEL_STRIDE TERN_PANEL_STRIDE(TERN_R1_VECS * 16 * PLANES)

/* Rows of a block, those past its end like the last; then those of the block to come. */
typedef struct row_block {
    int n;
    int row[2 * PANEL_ROWS];
    float scale[PANEL_ROWS];
} row_block;

/* Rows from the i-th on, of n. */
static void take_rows(const tern_mm *k, int row0, int i, int n, row_block *b)
{
    b->n = n - i < PANEL_ROWS ? n - i : PANEL_ROWS;
    for (int j = 0; j < 2 * PANEL_ROWS; j++) {
        int at = i + j < n ? i + j : n - 1;
        b->row[j] = k->list ? k->list[at] : row0 + at;
    }
    for (int j = 0; j < PANEL_ROWS; j++)
        b->scale[j] = k->scale[b->row[j]];
}

/* n planes of one packed vector of 16 rows: 16 quads each. From rows `next` so many bytes from their
 * beginning are prefetched meanwhile. */
INLINE void unpack_rows(const int n, const tern_mm *k, const int *row, size_t at, const int *next,
                        size_t next_at, uint8_t *panel)
{
    enum { PART = 4 * VL };
    for (int r = 0; r < 16; r += VL)
        for (int h = 0; h < 64; h += PART) {
            const uint8_t *w = k->w + at + h, *far = k->w + next_at;
            uint8_t *to = panel + 16 * h + 4 * r;
            vi a[VL];
#define LOAD(i)                                                                                    \
    a[i] = v_load(w + (size_t)row[r + i] * k->w_stride);                                           \
    if (h == 0)                                                                                    \
        _mm_prefetch((const char *)far + (size_t)next[r + i] * k->w_stride, _MM_HINT_T0);
#define PLANE(i, p)                                                                                \
    if (n > p) {                                                                                   \
        v_store(to + 64 * i + 1024 * p, PANEL_CODES(a[i]));                                        \
        a[i] = PANEL_NEXT(a[i]);                                                                   \
    }
#define STORE(i)                                                                                   \
    a[i] = PANEL_FORM(a[i]);                                                                       \
    PLANE(i, 0) PLANE(i, 1) PLANE(i, 2) PLANE(i, 3) PLANE(i, 4)
            V_EACH(LOAD)
            v_transpose(a);
            V_EACH(STORE)
#undef LOAD
#undef STORE
#undef PLANE
        }
}

/* Packed vector v of 16 rows and, far enough ahead of it, those of the next columns or rows. */
static void unpack_vec(const tern_mm *k, const row_block *b, int r, size_t v, size_t n64,
                       uint8_t *panel)
{
    const size_t at = 64 * v, n_vec = (n64 + PLANES - 1) / PLANES, far = v + TERN_R1_VECS;
    const int *row = b->row + r, *next = far < n_vec ? row : row + PANEL_ROWS;
    const size_t next_at = 64 * (far < n_vec ? far : far % n_vec % TERN_R1_VECS);
    switch (n64 - PLANES * v) {
    case 1:
        unpack_rows(1, k, row, at, next, next_at, panel);
        break;
    case 2:
        unpack_rows(2, k, row, at, next, next_at, panel);
        break;
    case 3:
        unpack_rows(3, k, row, at, next, next_at, panel);
        break;
#if PLANES > 4
    case 4:
        unpack_rows(4, k, row, at, next, next_at, panel);
        break;
#endif
    default:
        unpack_rows(PLANES, k, row, at, next, next_at, panel);
    }
}

static void finish_block(const tern_mm *k, const row_block *b, int t0, int nt, const int32_t *acc)
{
    for (int t = t0; t < t0 + nt; t++, acc += PANEL_ROWS) {
        float *y = k->y + (size_t)t * k->y_stride;
        for (int i = 0; i < b->n; i += VL) {
            float part[VL];
            vf v = f_cvt(v_sub(v_load(acc + i), v_set1(k->act.sum[t])));
            v = f_mul(f_div(v, f_set1(k->act.scale[t])), f_load(b->scale + i));
            if (!k->list) {
                f_store(y + b->row[i], v, b->n - i);
                continue;
            }
            f_store(part, v, VL);
            for (int j = 0; j < VL && i + j < b->n; j++)
                y[b->row[i + j]] = part[j];
        }
    }
}

static void batch_block(const tern_mm *k, const row_block *b, tern_panels *p, uint8_t *panels,
                        tern_panel_fn *dot)
{
    size_t n64 = ((size_t)k->cols + 63) / 64;
    const int8_t *q = p->q;
    p->n_panel = (b->n + 15) / 16;
    for (size_t c = 0, n; c < n64; c += n) {
        n = n64 - c < PLANES * TERN_R1_VECS ? n64 - c : PLANES * TERN_R1_VECS;
        for (int i = 0; i < p->n_panel; i++)
            for (size_t v = 0; v < n; v += PLANES)
                unpack_vec(k, b, 16 * i, (c + v) / PLANES, n64,
                           panels + (size_t)i * PANEL_STRIDE + v * 1024);
        p->n_quad = (int)n * 16;
        p->q = q + 64 * c;
        p->add = c > 0;
        dot(p);
    }
    p->q = q;
}

static void run_batch(const tern_mm *k, int row0, int row1, tern_panel_fn *dot)
{
    sparse_scratch s = sparse_scratch_of(k);
    int n = k->list ? k->n_list : row1 - row0, most = tern_sparse_toks(k->cols, k->n_tok, false);
    tern_panels p = {.w = s.panels,
                     .w_stride = PANEL_STRIDE,
                     .q_stride = k->act.stride,
                     .acc = s.acc,
                     .acc_stride = PANEL_ROWS};
    for (int t = 0; t < k->n_tok; t += most) {
        p.n_tok = k->n_tok - t < most ? k->n_tok - t : most;
        p.q = k->act.q + (size_t)t * k->act.stride;
        for (int i = 0; i < n; i += PANEL_ROWS) {
            row_block b;
            take_rows(k, row0, i, n, &b);
            batch_block(k, &b, &p, s.panels, dot);
            finish_block(k, &b, t, p.n_tok, s.acc);
        }
    }
}

#endif
