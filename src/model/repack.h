/* From a ternary tensor in file order to a layout that kernels read (kernels/kernel.h), on all lanes. */
#ifndef TERN_MODEL_REPACK_H
#define TERN_MODEL_REPACK_H

#include "model/linear.h"

/* Fill l's op, form, weights, scales and sizes from l->src; l->rows and cols are set. pack is a wish: a
 * matrix whose rows have several scales, or more columns than the layout takes, gets one that fits.
 * Codes: TERN_E_NOMEM; l may then hold memory for tern_linear_done. */
TERN_CHECK tern_code tern_repack(tern_linear *l, tern_pack pack, bool token_act8, tern_pool *pool,
                                 tern_err *err);

/* Fill what tern_repack would, but no weights: nothing is allocated. Rows of several scales are taken to
 * agree, as those of all ternary models do. */
void tern_repack_plan(tern_linear *l, tern_pack pack, bool token_act8);

/* For packed weights that come from elsewhere: fill all of l but w and scale, as tern_repack would if it
 * chose that layout. l->src, rows and cols are set. False: no such matrix can have it. */
TERN_CHECK bool tern_repack_describe(tern_linear *l, tern_pack pack, bool per_row, bool token_act8);
/* What depends on the scales. */
void tern_repack_finish(tern_linear *l);

#endif
