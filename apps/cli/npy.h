/* NumPy's .npy format, version 1.0, for float32 arrays in C order. */
#ifndef CLI_NPY_H
#define CLI_NPY_H

#include <stddef.h>
#include <stdio.h>

/* The header of an array of shape dims[0..n_dim); its values follow as little-endian float32.
 * Failures stay in the stream's error flag. */
void cli_npy_header(FILE *f, const size_t *dims, size_t n_dim);
void cli_npy_values(FILE *f, const float *x, size_t n);

#endif
