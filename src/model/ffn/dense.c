/* Gated feed-forward (Shazeer 2020, arXiv 2002.05202), with BitNet's norm before the down
 * projection: y = down(norm(act(gate x) * up x)). */
#include "model/exec.h"

static tern_glu_fn glu_of(const tern_kernels *k, tern_act_kind act)
{
    switch (act) {
    case TERN_ACT_RELU2:
        return k->relu2_mul;
    case TERN_ACT_GELU:
        return k->gelu_mul;
    case TERN_ACT_SILU:
        break;
    }
    return k->silu_mul;
}

/* One after the other, with a look at the gate's outputs in between. */
static void counted_gate_up(tern_exec *e, const tern_block *b, const tern_product *jobs, int n_row)
{
    tern_exec_run(e, TERN_SPAN_GATE_UP, &jobs[0], 1, NULL);
    tern_count_gate_zeros(e, b, n_row);
    tern_exec_run(e, TERN_SPAN_GATE_UP, &jobs[1], 1, NULL);
    for (int i = 0; i < n_row; i++) {
        float *g = e->gate + (size_t)i * e->ff_stride;
        e->k.relu2_mul(g, e->up + (size_t)i * e->ff_stride, e->w->h.d_ff, g);
    }
}

/* e->gate = act(gate x) * up x */
static void gate_up(tern_exec *e, const tern_block *b, int n_row)
{
    const tern_dense *f = &b->f.dense;
    tern_product jobs[2] = {{&f->gate, NULL, e->gate, e->ff_stride},
                            {&f->up, NULL, e->up, e->ff_stride}};
    const float *const norm_in[2] = {f->gate_norm_in, f->up_norm_in};
    if (!norm_in[0] && !norm_in[1]) {
        tern_input in;
        tern_exec_input(e, b->ffn_norm, f->gate.form | f->up.form, n_row, &in);
        jobs[0].in = jobs[1].in = &in;
        if (e->count_zeros && f->act == TERN_ACT_RELU2)
            counted_gate_up(e, b, jobs, n_row);
        else if (!tern_sparse_gate_up(e, b, &in))
            tern_exec_run(e, TERN_SPAN_GATE_UP, jobs, 2, glu_of(&e->k, f->act));
    } else {
        tern_exec_project(e, TERN_SPAN_GATE_UP, b->ffn_norm, jobs, norm_in, 2,
                          glu_of(&e->k, f->act), n_row);
    }
}

void tern_dense_forward(tern_exec *e, const tern_block *b, int n_row)
{
    const tern_dense *f = &b->f.dense;
    int next = (int)(b - e->w->blocks) + 1;
    if (tern_linear_listed(&f->down) ==
        TERN_LISTED_COLS) /* of which columns are read is not known yet */
        tern_exec_ahead_block(e, next);
    else
        tern_exec_ahead(e, (const tern_linear *[]){&f->down}, 1);
    gate_up(e, b, n_row);
    tern_prepare p = {.x = e->gate,
                      .x_stride = e->ff_stride,
                      .norm = f->sub_norm ? f->sub_norm : f->down_norm_in,
                      .y = e->mid,
                      .y_stride = e->ff_stride,
                      .cols = e->w->h.d_ff,
                      .n_tok = n_row,
                      .forms = f->down.form};
    tern_input in;
    tern_exec_prepare(e, &p, &in);
    if (e->count_zeros)
        tern_count_input_zeros(e, b, &in);
    tern_exec_ahead_block(e, next);
    if (!tern_sparse_down(e, b, &in)) {
        tern_product job = {&f->down, &in, e->out, e->x_stride};
        tern_exec_run(e, TERN_SPAN_DOWN, &job, 1, NULL);
    }
    tern_exec_residual(e, e->out, b->ffn_post_norm, n_row);
}
