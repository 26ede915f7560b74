/* Matrices of a dense model as ternary ones, after training: what tern ternarize does (docs/TERNARIZE.md).
 * Matrices of blocks are changed, one after the other; embedding and head stay. */
#ifndef COMPRESS_TERNARIZE_H
#define COMPRESS_TERNARIZE_H

#include "compress/convert.h"
#include "compress/imatrix.h"
#include "compress/ternary.h"

/* Instead of a number of columns that share a scale. */
#define TERNARIZE_BLOCK  ((size_t)0)    /* as many as a block of the type has */
#define TERNARIZE_ROW    (SIZE_MAX - 1) /* a row */
#define TERNARIZE_TENSOR SIZE_MAX       /* the matrix */

/* What became of one matrix. */
typedef struct ternarize_report {
    const char *name;
    size_t group;    /* columns that share a scale, or TERNARIZE_TENSOR */
    double mse;      /* mean squared difference from what it was */
    double relative; /* that, of the mean square of what it was */
    double zeros;    /* share of zeros */
} ternarize_report;

typedef struct ternarize_opts {
    ternary_method method;
    size_t group;       /* columns, or one of the above */
    imatrix *weights;   /* OPTIMAL: how much errors weigh; NULL: all the same */
    const int32_t *ids; /* GPTQ: [n_seq][n_ctx], the texts to calibrate with */
    size_t n_seq;
    int n_ctx;
    double damp; /* GPTQ: added to the diagonal of the second moments, as a share of its mean */
    void (*report)(void *ctx, const ternarize_report *r);
    void *ctx;
} ternarize_opts;

/* Open `in` and write it with ternary matrices of o->type (TERN_DT_COUNT: TQ2_0), of Q2_0 where rows are no
 * multiple of its block. Memory: one matrix as floats; of GPTQ also the second moments of its inputs, and
 * what the model needs to read the texts. o as for compress_convert. Codes: TERN_E_USAGE (a type or group that
 * cannot be), TERN_E_FORMAT (weights that are not finite), those of compress_convert and tern_walk_new. */
TERN_CHECK tern_code compress_ternarize(const char *in, const tern_import_opts *io, const char *out,
                                        compress_opts *o, const ternarize_opts *t, int n_thread,
                                        tern_err *err);

#endif
