/* What layouts cost on this machine: a short calibration, made before a model is packed. Timings
 * decide speed only; every layout gives the same bits. */
#ifndef TERN_MODEL_TUNE_H
#define TERN_MODEL_TUNE_H

#include "base/pool.h"
#include "kernels/kernel.h"
#include "model/hparams.h"

#define TERN_TUNE_SHAPES 5 /* d_model, the heads together, d_ff, and with lists up and down */

/* Of a batch so many rows of up at a time stay in a second-level cache while each token takes those that its own
 * gate lets through; the pool hands out up to four times as many, which 1 MiB still holds (AMD Zen 5: 0.40
 * instead of 0.44 ms per token for 30 layers of 6912 rows of 640 bytes). */
#define TERN_OWN_ROWS 256

/* Seconds to read 10^9 weights for one token with all lanes; with lists every other row or column, whose weights
 * count. */
typedef struct tern_tune_shape {
    tern_listed listed;
    int cols;
    double t2, t3; /* 2 bits, 1.6 bits */
    double together_2,
        together_3; /* the same for n_stream tokens in one pass, of all; 0: only one is asked for */
} tern_tune_shape;

typedef struct tern_tune {
    tern_tune_shape shape[TERN_TUNE_SHAPES];
    int n_shape, n_stream;
    /* Shares in (0, 1] from which reading every row of up, or column of down, is as fast as reading a
     * list of them, in the layout that is faster here; 1 for other activations than squared ReLU. */
    float up_limit, down_limit;
    /* The same of a batch: from which all rows of up in one product are as fast as each token's own, and all
     * columns of down. */
    float own_up_limit, own_down_limit;
} tern_tune;

/* Nothing was measured: every zero is skipped. */
#define TERN_TUNE_NONE                                                                             \
    (tern_tune)                                                                                    \
    {                                                                                              \
        .up_limit = 1.0f, .down_limit = 1.0f, .own_up_limit = 0.4f, .own_down_limit = 0.4f         \
    }

/* n_stream: sequences that are generated together at times. Takes about 0.1 s, twice that for several of them, less
 * for models smaller than the caches, whose weights are then timed from there. Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code tern_tune_measure(const tern_hparams *h, tern_pool *pool, unsigned cpu,
                                       int n_stream, tern_tune *out, tern_err *err);
/* Should a ternary matrix of so many columns, of which that may be left out, take 1.6 bits? One stream alone counts
 * as much as all together: which layout is faster in the geometric mean. */
bool tern_tune_base3(const tern_tune *t, tern_listed listed, int cols);
/* Should a matrix be packed so that rows or columns may be left out, in such bits (base3: 1.6), rather than as others
 * are, in theirs? By what trained models skip; several streams share few zeros and read all, in a layout that is
 * slower for them: the geometric mean decides here too. */
bool tern_tune_skips(const tern_tune *t, tern_listed listed, int rows, int cols, bool base3,
                     bool plain_base3);

#endif
