/* What layouts cost on this machine: a short calibration, made before a model is packed. Timings
 * decide speed only; every layout gives the same bits. */
#ifndef TERN_MODEL_TUNE_H
#define TERN_MODEL_TUNE_H

#include "base/pool.h"
#include "model/hparams.h"

#define TERN_TUNE_SHAPES 3 /* d_model, the heads together, d_ff */

/* Seconds to read 10^9 weights for one token with all lanes. */
typedef struct tern_tune_shape {
    int cols;
    double t2, t3; /* 2 bits, 1.6 bits */
} tern_tune_shape;

typedef struct tern_tune {
    tern_tune_shape shape[TERN_TUNE_SHAPES];
    int n_shape;
    /* Shares in (0, 1] from which reading every row of up, or column of down, is as fast as reading a
     * list of them; 1 for other activations than squared ReLU. */
    float up_limit, down_limit;
} tern_tune;

/* Takes about 0.1 s, less for models smaller than the caches, whose weights are then timed from
 * there. Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code tern_tune_measure(const tern_hparams *h, tern_pool *pool, unsigned cpu,
                                       tern_tune *out, tern_err *err);
/* Should a ternary matrix of so many columns take 1.6 bits? */
bool tern_tune_base3(const tern_tune *t, int cols);

#endif
