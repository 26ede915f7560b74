/* From a ternary tensor in file order to a layout that kernels read (kernels/kernel.h), on all lanes. */
#ifndef TERN_MODEL_REPACK_H
#define TERN_MODEL_REPACK_H

#include "model/linear.h"

/* Fill l's op, form, weights, scales and sizes from l->src; l->rows and cols are set. pack is a wish: a
 * matrix whose rows have several scales, or more columns than the layout takes, gets one that fits.
 * Codes: TERN_E_NOMEM; l may then hold memory for tern_linear_done. */
TERN_CHECK tern_code tern_repack(tern_linear *l, tern_pack pack, bool token_act8, tern_pool *pool,
                                 tern_err *err);

#endif
