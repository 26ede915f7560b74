/* What a step reads next is known long before: while lanes wait at the end of a region, and during what
 * the caller does alone between two of them, the others bring the beginning of their parts of the next
 * matrix into their caches (base/pool.h), so that memory hardly ever idles. */
#include "base/num.h"
#include "model/exec.h"

/* Where row `row` of a matrix begins; it is a multiple of the grain. */
static const uint8_t *row_at(const tern_linear *l, int row)
{
    const tern_layout *layout = tern_layout_of(l->op);
    int unit = layout ? layout->unit : l->op == TERN_OP_MM_T2G ? 16 : 1;
    return l->w + (size_t)(row / unit) * l->w_stride;
}

void tern_exec_ahead(tern_exec *e, const tern_linear *const *l, int n)
{
    int n_lane = tern_pool_size(e->pool), grain = 16, n_row = 0;
    for (int j = 0; j < n; j++)
        grain = l[j]->grain > grain ? l[j]->grain : grain;
    for (int j = 0; j < n; j++)
        n_row += (int)tern_round_up((size_t)l[j]->rows, (size_t)grain);
    for (int lane = 0; lane < n_lane; lane++) {
        int j = 0, begin, end;
        tern_pool_split(n_row, grain, lane, n_lane, &begin, &end);
        for (; j + 1 < n && begin >= l[j]->rows; j++)
            begin -= (int)tern_round_up((size_t)l[j]->rows, (size_t)grain);
        const uint8_t *at = row_at(l[j], begin);
        size_t before = (size_t)(at - l[j]->w), all = l[j]->read_bytes;
        tern_pool_ahead(e->pool, lane, at, before < all ? all - before : 0);
    }
}

/* The coarse plane. */
static void ahead_screen(tern_exec *e)
{
    const tern_head *h = &e->w->screen;
    int n_lane = tern_pool_size(e->pool), begin, end;
    for (int lane = 0; lane < n_lane; lane++) {
        tern_pool_split(h->rows, TERN_HEAD_BLOCK, lane, n_lane, &begin, &end);
        tern_pool_ahead(e->pool, lane, h->w4 + (size_t)(begin / 16) * h->w4_stride,
                        (size_t)((end - begin) / 16) * h->w4_stride);
    }
}

void tern_exec_ahead_block(tern_exec *e, int i)
{
    const tern_weights *w = e->w;
    if (i == w->h.n_layer) {
        if (w->screen.l)
            ahead_screen(e);
        else
            tern_exec_ahead(e, (const tern_linear *[]){&w->head}, 1);
        return;
    }
    switch (w->blocks[i].mixer) {
    case TERN_MIXER_ATTENTION: {
        const tern_attention *a = &w->blocks[i].m.attention;
        tern_exec_ahead(e, (const tern_linear *[]){&a->q, &a->k, &a->v}, 3);
    }
    }
}
