/* What a lane keeps in tern_mm.scratch for a column-major ternary product. */
#ifndef TERN_KERNELS_T2C1_SCRATCH_H
#define TERN_KERNELS_T2C1_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

/* Sums of one slice, [token][256], then activations of the columns of the list. */
#define TERN_T2C1_FEW 4

static inline size_t tern_t2c1_acc_bytes(int n_tok)
{
    return (size_t)n_tok * 256 * sizeof(int32_t);
}

static inline size_t tern_t2c1_x_stride(int cols)
{
    return ((size_t)cols + 63) / 64 * 64;
}

static inline size_t tern_t2c1_scratch_bytes(int cols, int n_tok)
{
    int few = n_tok < TERN_T2C1_FEW ? n_tok : TERN_T2C1_FEW;
    return tern_t2c1_acc_bytes(few) + (size_t)few * tern_t2c1_x_stride(cols);
}

#endif
