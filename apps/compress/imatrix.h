/* Importance matrices: of each matrix the sums of squares of its input's columns over a text, and over how
 * many rows. In the field's files: GGUF ("general.type" is "imatrix", tensors NAME.in_sum2 and NAME.counts)
 * and the older binary one. Owner: the caller of imatrix_init. Threads: one at a time. */
#ifndef COMPRESS_IMATRIX_H
#define COMPRESS_IMATRIX_H

#include "base/arena.h"
#include "base/hash.h"

#include "tensor/tensor.h"

typedef struct imatrix_entry {
    const char *name; /* of the tensor; in the arena */
    size_t n_col;
    size_t n_mat;   /* experts in the tensor, each with columns of its own; 1: a plain matrix */
    double *sum;    /* [n_mat][n_col]; in the arena */
    int64_t *count; /* [n_mat]: rows; of an older file: chunks, and sum is the mean times that */
    float *mean;    /* [n_mat][n_col] once it was asked for; in the arena */
} imatrix_entry;

typedef struct imatrix {
    const char *path; /* that it was read from; borrowed */
    tern_arena arena;
    tern_map by_name;
    imatrix_entry *entries; /* owned; [n] */
    size_t n, cap;
    const char *dataset; /* "": not known; in the arena */
    uint32_t n_chunk, chunk_size;
    bool older;          /* read from the older format */
    bool process_output; /* watch the output head as well */
    tern_err failed;     /* of imatrix_see: its first failure */
    size_t n_unknown;    /* of imatrix_weigh: matrices of blocks that are not in it, */
    char unknown[64];    /* the first of them */
} imatrix;

typedef enum imatrix_format { IMATRIX_GGUF, IMATRIX_DAT } imatrix_format;

void imatrix_init(imatrix *m);
void imatrix_done(imatrix *m);
/* A tern_watch_fn, ctx an imatrix: adds what matrices of blocks are multiplied with. */
void imatrix_see(void *ctx, const tern_matrix_input *in);
/* NULL when there is none. */
imatrix_entry *imatrix_find(const imatrix *m, const char *name);
/* Mean squares [n_mat][n_col], as llama.cpp's quantiser computes them; NULL when memory is exhausted. */
const float *imatrix_mean(imatrix *m, imatrix_entry *e);

/* How much errors in a tensor's columns weigh [ne[2]][ne[0]], by llama.cpp's rules: whatever is in the file
 * counts, embedding and head included; of what is not there *out is NULL, and so it is of an embedding of
 * another size. Codes: TERN_E_USAGE (another size), TERN_E_NOMEM. */
TERN_CHECK tern_code imatrix_weigh(imatrix *m, const tern_tensor *t, const float **out,
                                   tern_err *err);

/* m is initialised and empty; both formats. Codes: TERN_E_NOT_FOUND, TERN_E_IO, TERN_E_FORMAT (no such file,
 * or one that contradicts itself), TERN_E_NOMEM. */
TERN_CHECK tern_code imatrix_read(imatrix *m, const char *path, tern_err *err);
/* Entries in the order of their names. The file appears whole or not at all. Codes: TERN_E_USAGE (nothing
 * was seen), TERN_E_IO, TERN_E_NOMEM, and m->failed. */
TERN_CHECK tern_code imatrix_write(imatrix *m, const char *path, imatrix_format format,
                                   tern_err *err);

#endif
