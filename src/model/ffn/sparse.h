/* What skipping for few tokens (sparse.c) and for batches (sparse_batch.c) share. Inside ffn/ only. */
#ifndef TERN_MODEL_FFN_SPARSE_H
#define TERN_MODEL_FFN_SPARSE_H

#include "model/exec.h"

/* Counters of lanes stand a cache line apart. */
#define TERN_LANE_STEP 16

static inline int32_t *tern_sparse_list(const tern_exec *e, int lane)
{
    return e->list + (size_t)lane * e->list_stride;
}

/* Kernels look ahead in a list. */
static inline void tern_sparse_pad(int32_t *list, int n)
{
    for (int i = 0; n > 0 && i < TERN_LIST_PAD; i++)
        list[n + i] = list[n - 1];
}

/* Whether a batch is worth looking at the gates' outputs. */
bool tern_sparse_batch_pays(tern_exec *e, const tern_block *b, int n_tok);

/* relu(gate)^2 * up into e->gate, from the gate's outputs there; uses e->up. */
void tern_sparse_batch_up(tern_exec *e, const tern_block *b, const tern_input *in);

/* down into e->out. False: nothing was done, for too little would be left out. */
bool tern_sparse_batch_down(tern_exec *e, const tern_linear *l, const tern_input *in);

#endif
