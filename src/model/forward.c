/* One step: rows of tokens in, outputs of the wanted rows out. Embedding, then each block's mixer and
 * ffn on the residual stream, then the head. */
#include "base/alloc.h"
#include "base/clock.h"
#include "model/screen.h"

#include <string.h>

typedef struct embed_task {
    const tern_exec *e;
    const tern_row *rows;
    int n_row;
} embed_task;

/* The row is read from the file where that can be: each page touched in a map brings its neighbours, and a
 * long text would make the whole embedding resident. */
static void embed_row(const tern_exec *e, int lane, int id, float *out)
{
    const tern_tensor *t = e->w->embed;
    const tern_dtype_info *dt = tern_dtype_get(t->dtype);
    size_t row = t->bytes / t->ne[1];
    uint8_t *buf = e->head_rows + (size_t)lane * e->head_rows_stride;
    if (dt->unit != TERN_UNIT_TENSOR && dt->blk_rows == 1 && row <= e->head_rows_stride &&
        tern_dir_tensor_read(e->w->dir, t, (size_t)id * row, buf, row)) {
        tern_tensor one = *t;
        one.data = buf;
        one.bytes = row;
        one.ne[1] = 1;
        dt->unpack_row(&one, 0, out);
        return;
    }
    dt->unpack_row(t, (size_t)id, out);
}

static void embed_lane(void *arg, int lane, int n_lane)
{
    const embed_task *t = arg;
    const tern_exec *e = t->e;
    const tern_weights *w = e->w;
    int begin, end;
    tern_pool_split(t->n_row, 1, lane, n_lane, &begin, &end);
    for (int i = begin; i < end; i++) {
        const tern_row *r = &t->rows[i];
        float *x = e->x + (size_t)i * e->x_stride;
        size_t at = (size_t)i * (size_t)w->h.rope.n_rot;
        bool is_long = w->rope_long.inv_freq && r->seq->n_ctx > w->h.rope.n_ctx_orig;
        embed_row(e, lane, r->id, x);
        for (int j = 0; w->h.embed_scale != 1.0f && j < w->h.d_model; j++)
            x[j] *= w->h.embed_scale;
        tern_rope_row(is_long ? &w->rope_long : &w->rope, w->h.rope.n_rot, r->pos, e->cs + at);
        if (e->cs_local)
            tern_rope_row(&w->rope_local, w->h.rope.n_rot, r->pos, e->cs_local + at);
    }
}

/* Where head() is: the next row, and the next of those kept of e->x. */
typedef struct place {
    int row, kept;
} place;

/* Rows of one want, at most max_logit_rows, gathered into e->out from where `at` is. */
static int gather(tern_exec *e, const tern_row *rows, int n_row, place *at, int *picked)
{
    int n = 0;
    for (; at->row < n_row && n < e->max_logit_rows; at->row++) {
        if (rows[at->row].wants == TERN_WANT_NOTHING)
            continue;
        if (n > 0 && rows[at->row].wants != rows[picked[0]].wants)
            break;
        memcpy(e->out + (size_t)n * e->x_stride, e->x + (size_t)at->kept++ * e->x_stride,
               e->x_stride * sizeof *e->out);
        picked[n++] = at->row;
    }
    return n;
}

/* Screen n gathered rows, unless the last choices say that it does not help. */
static bool screens(tern_exec *e, tern_want want, int n, tern_screen *screen)
{
    if (want != TERN_WANT_CHOICE || !e->w->screen.l)
        return false;
    if (e->unscreened_left > 0) {
        e->unscreened_left -= n;
        return false;
    }
    if (tern_head_cost_rests(&e->head_cost, n))
        return false;
    return tern_screen_rows(e, e->h, n, screen);
}

/* The end of the model for the wanted rows, which are the first of e->x. */
static void head(tern_exec *e, const tern_row *rows, int n_row, tern_output_fn sink, void *ctx)
{
    const tern_weights *w = e->w;
    int picked[16], n;
    for (place at = {0}; (n = gather(e, rows, n_row, &at, picked)) > 0;) {
        tern_screen screen[16];
        tern_want want = rows[picked[0]].wants;
        tern_input in;
        tern_prepare p = {.x = e->out,
                          .x_stride = e->x_stride,
                          .norm = w->output_norm,
                          .y = e->h,
                          .y_stride = e->x_stride,
                          .cols = w->h.d_model,
                          .n_tok = n,
                          .keep = true,
                          .forms = want == TERN_WANT_HIDDEN ? 0 : w->head.form};
        tern_exec_prepare(e, &p, &in);
        tern_exec_ahead_block(e, 0);
        uint64_t begin = tern_clock_ns(); /* decides what is read, and nothing else */
        bool screened = screens(e, want, n, screen), whole = want != TERN_WANT_HIDDEN && !screened;
        if (whole)
            tern_exec_head(e, &in);
        e->head_mapped |= whole;
        e->head_cost.n_last = want == TERN_WANT_CHOICE ? n : 0;
        e->head_cost.last_whole = whole;
        e->head_cost.last_ns = (double)(tern_clock_ns() - begin);
        tern_exec_span(e, TERN_SPAN_BETWEEN);
        for (int i = 0; i < n; i++) {
            const tern_output out = {.hidden = e->h + (size_t)i * e->x_stride,
                                     .logits =
                                         whole ? e->logits + (size_t)i * e->vocab_stride : NULL,
                                     .screen = screened ? &screen[i] : NULL};
            sink(ctx, picked[i], &out);
        }
    }
}

void tern_forward_embed(tern_exec *e, const tern_row *rows, int n_row)
{
    embed_task task = {.e = e, .rows = rows, .n_row = n_row};
    tern_exec_span(e, TERN_SPAN_EMBED);
    if (n_row < 4)
        embed_lane(&task, 0, 1);
    else
        tern_pool_run(e->pool, embed_lane, &task);
}

static void mix(tern_exec *e, const tern_block *b, const tern_row *rows, int n_row)
{
    switch (b->mixer) {
    case TERN_MIXER_ATTENTION:
        tern_attention_forward(e, b, rows, n_row);
    }
}

static void feed_forward(tern_exec *e, const tern_block *b, int n_row)
{
    switch (b->ffn) {
    case TERN_FFN_DENSE:
        tern_dense_forward(e, b, n_row);
    }
}

void tern_forward_block(tern_exec *e, int i, const tern_row *rows, int n_row)
{
    mix(e, &e->w->blocks[i], rows, n_row);
    feed_forward(e, &e->w->blocks[i], n_row);
    tern_exec_settle(e, n_row);
}

/* Move the wanted rows of e->x to the front; returns how many they are. */
static int keep_wanted(tern_exec *e, const tern_row *rows, int n_row)
{
    int n = 0;
    for (int i = 0; i < n_row; i++) {
        if (rows[i].wants == TERN_WANT_NOTHING)
            continue;
        if (n < i)
            memcpy(e->x + (size_t)n * e->x_stride, e->x + (size_t)i * e->x_stride,
                   e->x_stride * sizeof *e->x);
        n++;
    }
    return n;
}

void tern_forward(tern_exec *e, const tern_row *rows, int n_row, tern_output_fn sink, void *ctx)
{
    const tern_weights *w = e->w;
    int last = w->h.n_layer - 1, n_kept = n_row;
    TERN_NO_ALLOC_BEGIN("step");
    e->n_step++;
    e->n_row += (uint64_t)n_row;
    tern_forward_embed(e, rows, n_row);
    for (int i = 0; i <= last; i++) {
        mix(e, &w->blocks[i], rows, n_row);
        if (i == last)
            tern_exec_settle(e, n_row);
        /* Of a row that nobody wants only what later ones look back at matters, and the last block's
         * is there now. Who counts or watches means all rows. */
        if (i == last && !e->count_zeros && !e->watch)
            n_kept = keep_wanted(e, rows, n_row);
        if (n_kept > 0)
            feed_forward(e, &w->blocks[i], n_kept);
    }
    tern_exec_settle(e, n_kept);
    if (n_kept == n_row)
        (void)keep_wanted(e, rows, n_row);
    TERN_NO_ALLOC_END();
    head(e, rows, n_row, sink, ctx);
    tern_exec_span(e, TERN_SPAN_BETWEEN);
}
