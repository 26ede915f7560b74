/* Going through a text block by block: the residual stream of all its rows is kept, so that one block at a
 * time can be looked at, changed, and passed. For calibration, which puts other weights into a block before
 * the next one sees what comes out. Memory: the rows' floats and the buffers of a step.
 *
 * Owner: the caller of tern_walk_new. One thread. dir and pool outlive it. */
#ifndef TERN_MODEL_WALK_H
#define TERN_MODEL_WALK_H

#include "base/pool.h"
#include "file/dir.h"

typedef struct tern_walk tern_walk;

/* The model in dir over n_seq texts of n_ctx ids each, one behind the other, which are copied. Codes:
 * TERN_E_USAGE (a bad id), those of tern_weights_read and tern_weights_bind. */
TERN_CHECK tern_code tern_walk_new(const tern_dir *dir, const int32_t *ids, size_t n_seq, int n_ctx,
                                   tern_pool *pool, tern_walk **out, tern_err *err);
void tern_walk_free(tern_walk *w);
int tern_walk_n_layer(const tern_walk *w);

/* Run block i, to which all before it have been passed, over all rows; fn sees what its matrices are multiplied
 * with (tern.h; NULL: nobody looks). pass: what comes out is what the next block sees. After every text
 * stop(ctx) may end it. Codes: TERN_E_CANCELLED, TERN_E_NOMEM. */
TERN_CHECK tern_code tern_walk_block(tern_walk *w, int i, bool pass, tern_watch_fn fn, void *ctx,
                                     bool (*stop)(void *ctx), tern_err *err);
/* Put a matrix, which need not stay, in place of block i's of the same name and shape. It is multiplied as
 * one of its format is when the model runs. Codes: TERN_E_UNSUPPORTED, TERN_E_NOMEM. */
TERN_CHECK tern_code tern_walk_replace(tern_walk *w, int i, const tern_tensor *with, tern_err *err);
/* Whether matrices of block i that read one normed input have norms of their own behind it. */
bool tern_walk_own_norms(const tern_walk *w, int i);

#endif
