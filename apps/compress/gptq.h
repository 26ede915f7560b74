/* Rounding a matrix column by column, each column's error made good by those that follow: GPTQ (Frantar et
 * al., arXiv 2210.17323, section 3), which is Optimal Brain Surgeon (Hassibi and Stork, 1993) for all rows in
 * one order. With H = X^T X of the inputs X and U the upper Cholesky factor of its inverse, rounding column
 * j of a row to q costs e^2, e = (w_j - q) / U_jj, and the best the others can do is w_k -= e U_jk.
 *
 * Columns are kept last first: then H = L L^T gives U as the inverse M of L, read from its end, and no
 * matrix need be inverted before it is factored. H, then L and M, share one array.
 *
 * Owner: the caller of gptq_new. One thread, which works with the pool's. */
#ifndef COMPRESS_GPTQ_H
#define COMPRESS_GPTQ_H

#include "base/pool.h"
#include "compress/ternary.h"

typedef struct gptq gptq;

/* For matrices of n columns, a multiple of GPTQ_BLOCK. Codes: TERN_E_NOMEM. */
#define GPTQ_BLOCK 64
TERN_CHECK tern_code gptq_new(size_t n, tern_pool *pool, gptq **out, tern_err *err);
void gptq_free(gptq *g);
/* Forget all inputs. */
void gptq_reset(gptq *g);
/* Inputs x [n_row][stride], n floats each, which must be finite. */
void gptq_see(gptq *g, const float *x, size_t stride, size_t n_row);
size_t gptq_n_row(const gptq *g);
/* No more inputs: add damp times the mean of H's diagonal to it, and factor. A column whose input was always 0
 * then hardly counts. Codes: TERN_E_FORMAT (inputs that are not finite, or no inputs). */
TERN_CHECK tern_code gptq_factor(gptq *g, double damp, tern_err *err);

typedef struct gptq_rule {
    size_t
        group; /* columns that share a scale, a multiple of GPTQ_BLOCK; the last group may be shorter */
    bool half;   /* scales are stored as halves */
    float scale; /* > 0: of the whole matrix, groups do not matter */
} gptq_rule;
/* Round w [rows][n] in place. *loss: the sum of all e^2, which is the squared error of the products over all
 * inputs (and the damping). Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code gptq_round(const gptq *g, float *w, size_t rows, const gptq_rule *rule,
                                double *loss, tern_err *err);

#endif
