/* The attention mixer: projections, rotation, storing K and V, attending (attend.c), output. */
#include "model/mixer/attend.h"

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

typedef void (*put_fn)(int8_t *page, int j, const int8_t *row, int d_head);

static void store_row(const tern_kernels *k, tern_kv_dtype dt, tern_kv_rows dst, put_fn put, int at,
                      int d, const float *x)
{
    size_t first = (size_t)at * (size_t)d;
    int8_t row[MAX_HEAD];
    switch (dt) {
    case TERN_KV_F16:
        k->f16_store(x, d, (uint16_t *)dst.rows + first);
        break;
    case TERN_KV_I8:
        dst.scale[at] = k->kv8_store(x, d, row);
        put(dst.rows, at, row, d);
        break;
    case TERN_KV_F32:
        memcpy((float *)dst.rows + first, x, (size_t)d * sizeof *x);
        break;
    }
}

/* Of one row the heads that share a KV head: their queries, K and V. */
static void rope_and_store(const attn_task *t, int row, int kv_head)
{
    const tern_exec *e = t->e;
    const tern_hparams *h = &e->w->h;
    const tern_row *r = &t->rows[row];
    const float *cs =
        (t->a->local_rope ? e->cs_local : e->cs) + (size_t)row * (size_t)h->rope.n_rot;
    float *q = e->q + (size_t)row * e->q_stride, *k = e->kv_k + (size_t)row * e->kv_stride;
    const float *v = e->kv_v + (size_t)row * e->kv_stride;
    int page = r->pos / TERN_PAGE_TOK, at = r->pos % TERN_PAGE_TOK, d_row = r->seq->shape.d_k;
    int group = h->n_head / h->n_kv_head;
    float padded[MAX_HEAD];
    memset(padded + h->d_head, 0, (size_t)(d_row - h->d_head) * sizeof *padded);
    for (int i = kv_head * group; i < (kv_head + 1) * group; i++) {
        float *head = q + (size_t)i * (size_t)h->d_head;
        if (t->a->q_head_norm)
            e->k.rmsnorm(head, t->a->q_head_norm, h->rms_eps, h->d_head, head);
        e->k.rope(head, cs, h->rope.n_rot, h->rope.neox);
        if (r->seq->shape.k == TERN_KV_I8)
            e->k.hadamard(head, h->d_head);
    }
    float *head = k + (size_t)kv_head * (size_t)h->d_head;
    if (t->a->k_head_norm)
        e->k.rmsnorm(head, t->a->k_head_norm, h->rms_eps, h->d_head, head);
    e->k.rope(head, cs, h->rope.n_rot, h->rope.neox);
    if (r->seq->shape.k == TERN_KV_I8)
        e->k.hadamard(head, h->d_head);
    memcpy(padded, head, (size_t)h->d_head * sizeof *padded);
    store_row(&e->k, r->seq->shape.k, tern_seq_k(r->seq, t->a->slot, page, kv_head), tern_kv8_put_k,
              at, d_row, padded);
    memcpy(padded, v + (size_t)kv_head * (size_t)h->d_head, (size_t)h->d_head * sizeof *padded);
    store_row(&e->k, r->seq->shape.v, tern_seq_v(r->seq, t->a->slot, page, kv_head), tern_kv8_put_v,
              at, d_row, padded);
}

static void rope_range(void *arg, int lane, int begin, int end)
{
    const attn_task *t = arg;
    int n_kv_head = t->e->w->h.n_kv_head;
    (void)lane;
    for (int i = begin; i < end; i++)
        rope_and_store(t, i / n_kv_head, i % n_kv_head);
}

/* Heads worth handing out by themselves: 512 elements take about as long as a region does. */
static int rope_grain(const tern_hparams *h)
{
    return 1 + 512 / ((h->n_head / h->n_kv_head + 2) * h->d_head);
}

/* ---- the mixer ----------------------------------------------------------------------------- */

void tern_attention_forward(tern_exec *e, const tern_block *b, const tern_row *rows, int n_row)
{
    const tern_attention *a = &b->m.attention;
    attn_task task = {.e = e, .a = a, .rows = rows, .n_row = n_row};
    tern_product qkv[3] = {{&a->q, NULL, e->q, e->q_stride},
                           {&a->k, NULL, e->kv_k, e->kv_stride},
                           {&a->v, NULL, e->kv_v, e->kv_stride}};
    const float *const norm_in[3] = {a->q_norm_in, a->k_norm_in, a->v_norm_in};
    tern_exec_ahead(e, (const tern_linear *[]){&a->o}, 1);
    tern_exec_project(e, TERN_SPAN_QKV, b->mixer_norm, qkv, norm_in, 3, NULL, n_row);
    tern_exec_span(e, TERN_SPAN_ROPE);
    tern_pool_for(e->pool, n_row * e->w->h.n_kv_head, rope_grain(&e->w->h), rope_range, &task);
    tern_exec_span(e, TERN_SPAN_ATTEND);
    tern_attend(e, a->slot, a->window, rows, n_row);

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
    tern_product job = {&a->o, &in, e->out, e->x_stride};
    tern_exec_ahead(e, (const tern_linear *[]){&b->f.dense.gate}, 1);
    tern_exec_run(e, TERN_SPAN_O, &job, 1, NULL);
    tern_exec_residual(e, e->out, b->mixer_post_norm, n_row);
}
