/* What opening a model makes of its weights, kept in a file: packed matrices and the planes of a
 * screened head. Whoever opens the model again finds them there, checked, and reads nothing of the
 * original's tensors but those that are used as they are. Any bytes of a section are weights or bounds of
 * some model, so not even wrong ones could make a kernel read where it should not. */
#ifndef TERN_MODEL_PACKED_H
#define TERN_MODEL_PACKED_H

#include "file/packfile.h"
#include "model/head.h"

/* To be raised whenever the bytes of a layout of kernels/kernel.h, of a plane of model/head.h or of a
 * section change (tests/unit/model_packed.c notices). */
#define TERN_PACKED_VERSION 4

typedef struct tern_packed {
    tern_packfile file; /* owned; in.fd -1: none */
    bool map; /* weights are used where the file is mapped, else copied; then the file stays
                           open as long as they are used */
} tern_packed;

/* Fill l, whose src, rows and cols are set, from the sections of that tensor of dir. On failure l may hold
 * memory for tern_linear_done. Codes: TERN_E_FORMAT (not such a file after all), TERN_E_IO, TERN_E_NOMEM. */
TERN_CHECK tern_code tern_packed_linear(tern_packed *p, const tern_dir *dir, tern_linear *l,
                                        bool token_act8, tern_pool *pool, tern_err *err);
/* The same for the planes of l; h stays empty when the file has none. dir as of tern_head_init. */
TERN_CHECK tern_code tern_packed_head(tern_packed *p, const tern_dir *dir, const tern_linear *l,
                                      tern_head *h, tern_pool *pool, tern_err *err);

/* Write all packed matrices of l[0..n), of tensors of dir, and h unless that is empty. Codes: TERN_E_IO,
 * TERN_E_NOMEM. */
TERN_CHECK tern_code tern_packed_write(const char *path, uint64_t key, const char *title,
                                       const tern_dir *dir, const tern_linear *const *l, size_t n,
                                       const tern_head *h, tern_pool *pool, tern_err *err);

#endif
