/* One step: rows of tokens in, logits of the wanted rows out. Embedding, then each block's mixer and
 * ffn on the residual stream, then the head. */
#include "base/alloc.h"
#include "model/exec.h"

#include <string.h>

typedef struct embed_task {
    const tern_exec *e;
    const tern_row *rows;
    int n_row;
} embed_task;

static void embed_lane(void *arg, int lane, int n_lane)
{
    const embed_task *t = arg;
    const tern_exec *e = t->e;
    const tern_weights *w = e->w;
    const tern_dtype_info *dt = tern_dtype_get(w->embed->dtype);
    int begin, end;
    tern_pool_split(t->n_row, 1, lane, n_lane, &begin, &end);
    for (int i = begin; i < end; i++) {
        dt->unpack_row(w->embed, (size_t)t->rows[i].id, e->x + (size_t)i * e->x_stride);
        tern_rope_row(w->inv_freq, w->rope_mscale, w->h.rope.n_rot, t->rows[i].pos,
                      e->cs + (size_t)i * (size_t)w->h.rope.n_rot);
    }
}

/* Head over the wanted rows, max_logit_rows at a time: they are gathered into e->out first. */
static void head(tern_exec *e, const tern_row *rows, int n_row, tern_logits_fn sink, void *ctx)
{
    const tern_weights *w = e->w;
    for (int at = 0; at < n_row;) {
        int picked[16], n = 0;
        for (; at < n_row && n < e->max_logit_rows; at++)
            if (rows[at].wants_logits) {
                memcpy(e->out + (size_t)n * e->x_stride, e->x + (size_t)at * e->x_stride,
                       e->x_stride * sizeof *e->out);
                picked[n++] = at;
            }
        if (n == 0)
            return;
        tern_input in;
        tern_prepare p = {.x = e->out,
                          .x_stride = e->x_stride,
                          .norm = w->output_norm,
                          .y = e->h,
                          .y_stride = e->x_stride,
                          .cols = w->h.d_model,
                          .n_tok = n,
                          .forms = w->head.form};
        tern_exec_prepare(e, &p, &in);
        tern_job job = {&w->head, &in, e->logits, e->vocab_stride};
        tern_exec_run(e, &job, 1, NULL);
        e->read_bytes += w->head.read_bytes;
        for (int i = 0; i < n; i++)
            sink(ctx, picked[i], e->logits + (size_t)i * e->vocab_stride);
    }
}

void tern_forward(tern_exec *e, const tern_row *rows, int n_row, tern_logits_fn sink, void *ctx)
{
    const tern_weights *w = e->w;
    embed_task task = {.e = e, .rows = rows, .n_row = n_row};
    TERN_NO_ALLOC_BEGIN("step");
    e->n_step++;
    e->n_row += (uint64_t)n_row;
    e->read_bytes += w->read_bytes - w->head.read_bytes; /* what is left out is taken off */
    if (n_row < 4)
        embed_lane(&task, 0, 1);
    else
        tern_pool_run(e->pool, embed_lane, &task);
    for (int i = 0; i < w->h.n_layer; i++) {
        const tern_block *b = &w->blocks[i];
        switch (b->mixer) {
        case TERN_MIXER_ATTENTION:
            tern_attention_forward(e, b, rows, n_row);
        }
        switch (b->ffn) {
        case TERN_FFN_DENSE:
            tern_dense_forward(e, b, n_row);
        }
    }
    TERN_NO_ALLOC_END();
    head(e, rows, n_row, sink, ctx);
}
