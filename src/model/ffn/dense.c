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

void tern_dense_forward(tern_exec *e, const tern_block *b, int n_row)
{
    const tern_dense *f = &b->f.dense;
    tern_job jobs[2] = {{&f->gate, NULL, e->gate, e->ff_stride},
                        {&f->up, NULL, e->up, e->ff_stride}};
    const float *const norm_in[2] = {f->gate_norm_in, f->up_norm_in};
    tern_exec_project(e, b->ffn_norm, jobs, norm_in, 2, glu_of(&e->k, f->act), n_row);
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
    tern_job job = {&f->down, &in, e->out, e->x_stride};
    tern_exec_run(e, &job, 1, NULL);
    tern_exec_residual(e, e->out, n_row);
}
