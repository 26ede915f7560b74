/* Writes a model as a GGUF file with other tensor types: one tensor at a time, rows in parallel, so that
 * memory stays that of one piece whatever the model takes. The file appears whole or not at all. */
#ifndef COMPRESS_REWRITE_H
#define COMPRESS_REWRITE_H

#include "base/pool.h"
#include "file/gguf_write.h"

#include <regex.h>

/* What became of one tensor. */
typedef struct compress_note {
    const char *name;
    tern_dtype from, to;
    const char *why; /* NULL: as asked; else why it has another type */
    size_t bytes_in, bytes_out;
} compress_note;

typedef struct compress_override {
    regex_t name; /* owned */
    tern_dtype type;
} compress_override;

typedef struct compress_opts {
    tern_dtype type;        /* of matrices in blocks */
    tern_dtype embed, head; /* TERN_DT_COUNT: as fits type */
    bool keep;              /* leave matrices in blocks as they are, where a file can have it so */
    bool force;             /* also where a ternary type loses values */
    const compress_override *overrides; /* the first that fits counts */
    size_t n_override;
    /* How much errors in the columns of a matrix weigh, [ne[2]][ne[0]]; *out NULL: all the same. NULL:
     * of none anything is known. */
    tern_code (*importance)(void *ctx, const tern_tensor *t, tern_dtype to, const float **out,
                            tern_err *err);
    /* Other values for a matrix, [rows][ne[0]] in its order, valid until the next call; *out NULL: its own.
     * NULL: all keep theirs. */
    tern_code (*values)(void *ctx, const tern_tensor *t, tern_dtype to, const float **out,
                        tern_err *err);
    const size_t *order; /* [n_tensor]: in which tensors are written; NULL: the source's */
    void (*keys)(void *ctx, tern_gguf_writer *w);    /* further keys of the file; NULL: none */
    void (*note)(void *ctx, const compress_note *n); /* NULL: nobody asks */
    void (*progress)(void *ctx, uint64_t done_bytes, uint64_t bytes);
    bool (*cancelled)(void *ctx);
    void *ctx;
    tern_pool *pool; /* borrowed */
} compress_opts;

void compress_opts_init(compress_opts *o);
/* A type by name, if this engine writes it. Codes: TERN_E_USAGE, the message names what there is. */
TERN_CHECK tern_code compress_type_parse(const char *name, tern_dtype *out, tern_err *err);
/* Name number i of those it takes, in the table's order; NULL behind the last. */
const char *compress_type_name(int i);

/* Codes: TERN_E_UNSUPPORTED (a tensor cannot have its type: values that are not ternary, no type that
 * fits its shape), TERN_E_CANCELLED, TERN_E_IO, TERN_E_NOMEM. */
TERN_CHECK tern_code compress_rewrite(const tern_dir *in, const char *path, const compress_opts *o,
                                      tern_err *err);

#endif
