/* The row-major ternary product of a batch: 16 rows transposed by quads of columns are a panel
 * (panel.h). */
#ifndef TERN_KERNELS_T2R1_PANEL_H
#define TERN_KERNELS_T2R1_PANEL_H

#include "kernels/x86/sparse_scratch.h"
#include "kernels/x86/t2r1_tile.h"

#define PANEL_ROWS (TERN_SPARSE_ROWS / 2)
/* Packed vectors of a block, 256 columns each. */
#define PANEL_VECS (TERN_PANEL_QUADS / 64)

/* Rows of a block, those past its end like the last. */
typedef struct row_block {
    int n;
    int row[PANEL_ROWS];
    float scale[PANEL_ROWS];
} row_block;

static void take_rows(const tern_mm *k, int row0, int n, row_block *b)
{
    b->n = n;
    for (int i = 0; i < PANEL_ROWS; i++) {
        b->row[i] = k->list ? k->list[i < n ? i : n - 1] : row0 + (i < n ? i : n - 1);
        b->scale[i] = k->scale[b->row[i]];
    }
}

/* Up to n planes of one packed vector of 16 rows: 16 quads each. */
static void unpack_rows(const tern_mm *k, const int *row, size_t at, size_t n, uint8_t *panel)
{
    enum { PART = 4 * VL };
    const vi mask = v_set1(0x03030303);
    for (int r = 0; r < 16; r += VL)
        for (int h = 0; h < 64; h += PART) {
            vi a[VL];
            for (int i = 0; i < VL; i++) {
                const uint8_t *w = k->w + (size_t)row[r + i] * k->w_stride + at + h;
                a[i] = v_load(w);
                _mm_prefetch((const char *)w + 64 * PANEL_VECS, _MM_HINT_T0);
            }
            v_transpose(a);
            for (size_t p = 0; p < n; p++)
                for (int i = 0; i < VL; i++) {
                    v_store(panel + 1024 * p + 16 * h + 64 * i + 4 * r, v_and(a[i], mask));
                    a[i] = v_shr(a[i], 2);
                }
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

static void batch_block(const tern_mm *k, const row_block *b, tern_panels *p, uint8_t *panels)
{
    size_t n64 = ((size_t)k->cols + 63) / 64;
    const int8_t *q = p->q;
    p->n_panel = (b->n + 15) / 16;
    for (size_t c = 0, n; c < n64; c += n) {
        n = n64 - c < 4 * PANEL_VECS ? n64 - c : 4 * PANEL_VECS;
        for (int i = 0; i < p->n_panel; i++)
            for (size_t v = 0; v < n; v += 4)
                unpack_rows(k, b->row + 16 * i, (c + v) * 16, n - v < 4 ? n - v : 4,
                            panels + (size_t)i * TERN_PANEL_STRIDE + v * 1024);
        p->n_quad = (int)n * 16;
        p->q = q + 64 * c;
        p->add = c > 0;
        panel_fn(p);
    }
    p->q = q;
}

static void run_batch(const tern_mm *k, int row0, int row1)
{
    sparse_scratch s = sparse_scratch_of(k);
    int n = k->list ? k->n_list : row1 - row0, most = tern_sparse_toks(k->cols, k->n_tok, false);
    tern_panels p = {.w = s.panels,
                     .w_stride = TERN_PANEL_STRIDE,
                     .q_stride = k->act.stride,
                     .acc = s.acc,
                     .acc_stride = PANEL_ROWS};
    for (int t = 0; t < k->n_tok; t += most) {
        p.n_tok = k->n_tok - t < most ? k->n_tok - t : most;
        p.q = k->act.q + (size_t)t * k->act.stride;
        for (int i = 0; i < n; i += PANEL_ROWS) {
            row_block b;
            tern_mm part = *k;
            if (k->list)
                part.list += i;
            take_rows(&part, row0 + i, n - i < PANEL_ROWS ? n - i : PANEL_ROWS, &b);
            batch_block(k, &b, &p, s.panels);
            finish_block(k, &b, t, p.n_tok, s.acc);
        }
    }
}

#endif
