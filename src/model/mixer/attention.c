/* Softmax attention over paged KV with grouped heads. Each query row walks the pages of its sequence
 * with an online softmax (Milakov and Gimelshein 2018, arXiv 1805.02867; tiling as in FlashAttention,
 * arXiv 2205.14135). Tiles are pages, so what a row computes depends on its position alone: not on
 * the batch, the chunk of a prefill or the number of threads. */
#include "base/num.h"
#include "model/exec.h"

#include <math.h>
#include <string.h>

/* The shape of state has rows padded to 8; the padding stays zero. */
#define MAX_HEAD 512

typedef struct attn_task {
    const tern_exec *e;
    const tern_attention *a;
    const tern_row *rows;
    int n_row;
} attn_task;

/* ---- RoPE and KV store --------------------------------------------------------------------- */

static void store_row(const tern_kernels *k, tern_kv_dtype dt, tern_kv_rows dst, int at, int d,
                      const float *x)
{
    size_t first = (size_t)at * (size_t)d;
    switch (dt) {
    case TERN_KV_F16:
        k->f16_store(x, d, (uint16_t *)dst.rows + first);
        break;
    case TERN_KV_I8:
        dst.scale[at] = k->kv8_store(x, d, (int8_t *)dst.rows + first);
        break;
    case TERN_KV_F32:
        memcpy((float *)dst.rows + first, x, (size_t)d * sizeof *x);
        break;
    }
}

static void rope_and_store(const attn_task *t, int row)
{
    const tern_exec *e = t->e;
    const tern_hparams *h = &e->w->h;
    const tern_row *r = &t->rows[row];
    const float *cs = e->cs + (size_t)row * (size_t)h->rope.n_rot;
    float *q = e->q + (size_t)row * e->q_stride, *k = e->kv_k + (size_t)row * e->kv_stride;
    const float *v = e->kv_v + (size_t)row * e->kv_stride;
    int page = r->pos / TERN_PAGE_TOK, at = r->pos % TERN_PAGE_TOK, d_row = r->seq->shape.d_k;
    float padded[MAX_HEAD];
    memset(padded + h->d_head, 0, (size_t)(d_row - h->d_head) * sizeof *padded);
    for (int i = 0; i < h->n_head; i++) {
        float *head = q + (size_t)i * (size_t)h->d_head;
        if (t->a->q_head_norm)
            e->k.rmsnorm(head, t->a->q_head_norm, h->rms_eps, h->d_head, head);
        e->k.rope(head, cs, h->rope.n_rot, h->rope.neox);
    }
    for (int i = 0; i < h->n_kv_head; i++) {
        float *head = k + (size_t)i * (size_t)h->d_head;
        if (t->a->k_head_norm)
            e->k.rmsnorm(head, t->a->k_head_norm, h->rms_eps, h->d_head, head);
        e->k.rope(head, cs, h->rope.n_rot, h->rope.neox);
        memcpy(padded, head, (size_t)h->d_head * sizeof *padded);
        store_row(&e->k, r->seq->shape.k, tern_seq_k(r->seq, t->a->slot, page, i), at, d_row,
                  padded);
        memcpy(padded, v + (size_t)i * (size_t)h->d_head, (size_t)h->d_head * sizeof *padded);
        store_row(&e->k, r->seq->shape.v, tern_seq_v(r->seq, t->a->slot, page, i), at, d_row,
                  padded);
    }
}

static void rope_lane(void *arg, int lane, int n_lane)
{
    const attn_task *t = arg;
    int begin, end;
    tern_pool_split(t->n_row, 1, lane, n_lane, &begin, &end);
    for (int i = begin; i < end; i++)
        rope_and_store(t, i);
}

/* ---- scores and values --------------------------------------------------------------------- */

/* One query head over rows [row0, row1) of one sequence. */
typedef struct query_block {
    int row0, row1, head;
} query_block;

static tern_attn_tile tile_of(tern_kv_rows kv, int n_pos, int d)
{
    return (tern_attn_tile){.kv = kv.rows,
                            .stride = (size_t)d,
                            .kv_scale = kv.scale,
                            .kv_scale_stride = 1,
                            .n_pos = n_pos,
                            .d_head = d};
}

static void attend(const attn_task *t, query_block b, float *scratch)
{
    const tern_exec *e = t->e;
    const tern_hparams *h = &e->w->h;
    tern_seq *seq = t->rows[b.row0].seq;
    int d = seq->shape.d_k, n_q = b.row1 - b.row0, kv_head = b.head / (h->n_head / h->n_kv_head);
    size_t stride = tern_round_up((size_t)h->d_head, 64);
    float *q = scratch, *acc = q + TERN_ATTN_ROWS * stride, *score = acc + TERN_ATTN_ROWS * stride;
    float m[TERN_ATTN_ROWS], l[TERN_ATTN_ROWS];
    const tern_attn_qk_fn qks[] = {e->k.qk_f16, e->k.qk_i8, e->k.qk_f32}; /* by tern_kv_dtype */
    const tern_attn_av_fn avs[] = {e->k.av_f16, e->k.av_i8, e->k.av_f32};
    tern_attn_qk_fn qk = qks[seq->shape.k];
    tern_attn_av_fn av = avs[seq->shape.v];

    memset(scratch, 0, 2 * TERN_ATTN_ROWS * stride * sizeof *scratch);
    for (int i = 0; i < n_q; i++) {
        m[i] = -INFINITY;
        l[i] = 0.0f;
        memcpy(q + (size_t)i * stride,
               e->q + (size_t)(b.row0 + i) * e->q_stride + (size_t)b.head * (size_t)h->d_head,
               (size_t)h->d_head * sizeof *q);
    }
    int last_page = t->rows[b.row1 - 1].pos / TERN_PAGE_TOK;
    for (int page = 0; page <= last_page; page++) {
        tern_kv_rows k = tern_seq_k(seq, t->a->slot, page, kv_head);
        tern_kv_rows v = tern_seq_v(seq, t->a->slot, page, kv_head);
        for (int i = 0; i < n_q; i++) {
            int n_pos = t->rows[b.row0 + i].pos + 1 - page * TERN_PAGE_TOK;
            if (n_pos <= 0)
                continue;
            if (n_pos > TERN_PAGE_TOK)
                n_pos = TERN_PAGE_TOK;
            tern_attn_tile tk = tile_of(k, n_pos, d), tv = tile_of(v, n_pos, d);
            float *a = acc + (size_t)i * stride;
            qk(&tk, q + (size_t)i * stride, h->attn_scale, score);
            float c = e->k.softmax(score, n_pos, &m[i], &l[i]);
            if (c != 1.0f)
                for (int j = 0; j < d; j++)
                    a[j] *= c;
            av(&tv, score, a);
        }
    }
    for (int i = 0; i < n_q; i++) {
        float *out =
            e->att + (size_t)(b.row0 + i) * e->q_stride + (size_t)b.head * (size_t)h->d_head;
        for (int j = 0; j < h->d_head; j++)
            out[j] = acc[(size_t)i * stride + (size_t)j] / l[i];
    }
}

/* End of the block of rows that begins at row0: same sequence, at most TERN_ATTN_ROWS. */
static int block_end(const attn_task *t, int row0)
{
    int row1 = row0 + 1;
    while (row1 < t->n_row && row1 - row0 < TERN_ATTN_ROWS &&
           t->rows[row1].seq == t->rows[row0].seq)
        row1++;
    return row1;
}

static void attend_lane(void *arg, int lane, int n_lane)
{
    const attn_task *t = arg;
    float *scratch = tern_exec_scratch(t->e, lane);
    int item = 0;
    for (int row0 = 0, row1; row0 < t->n_row; row0 = row1) {
        row1 = block_end(t, row0);
        for (int head = 0; head < t->e->w->h.n_head; head++)
            if (item++ % n_lane == lane)
                attend(t, (query_block){row0, row1, head}, scratch);
    }
}

/* ---- the mixer ----------------------------------------------------------------------------- */

void tern_attention_forward(tern_exec *e, const tern_block *b, const tern_row *rows, int n_row)
{
    const tern_attention *a = &b->m.attention;
    attn_task task = {.e = e, .a = a, .rows = rows, .n_row = n_row};
    tern_job qkv[3] = {{&a->q, NULL, e->q, e->q_stride},
                       {&a->k, NULL, e->kv_k, e->kv_stride},
                       {&a->v, NULL, e->kv_v, e->kv_stride}};
    const float *const norm_in[3] = {a->q_norm_in, a->k_norm_in, a->v_norm_in};
    tern_exec_project(e, b->mixer_norm, qkv, norm_in, 3, NULL, n_row);
    if (n_row < 4)
        rope_lane(&task, 0, 1);
    else
        tern_pool_run(e->pool, rope_lane, &task);
    tern_pool_run(e->pool, attend_lane, &task);

    tern_input in;
    tern_prepare p = {.x = e->att,
                      .x_stride = e->q_stride,
                      .norm = a->sub_norm ? a->sub_norm : a->o_norm_in,
                      .y = e->mid,
                      .y_stride = e->q_stride,
                      .cols = a->o.cols,
                      .n_tok = n_row,
                      .forms = a->o.form};
    tern_exec_prepare(e, &p, &in);
    tern_job job = {&a->o, &in, e->out, e->x_stride};
    tern_exec_run(e, &job, 1, NULL);
    tern_exec_residual(e, e->out, n_row);
}
