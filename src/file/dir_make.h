/* Making a directory (dir.h), as the readers of containers do: files are mapped, keys and tensors put
 * in. What is put is copied, but the tensors' bytes. A key or name given twice is TERN_E_FORMAT. */
#ifndef TERN_FILE_DIR_MAKE_H
#define TERN_FILE_DIR_MAKE_H

#include "file/dir.h"

/* An empty one; path is for messages. max_bytes: what keys and tensors may take; it can be raised.
 * Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code tern_dir_new(const char *path, size_t max_bytes, tern_dir **out,
                                  tern_err *err);
/* Map a file, d->maps[d->n_map - 1] then. Codes as of tern_map_open. */
TERN_CHECK tern_code tern_dir_map(tern_dir *d, const char *path, tern_err *err);

/* Codes of the rest: TERN_E_NOMEM, TERN_E_FORMAT. */
TERN_CHECK tern_code tern_dir_put_u32(tern_dir *d, const char *key, uint32_t v, tern_err *err);
TERN_CHECK tern_code tern_dir_put_f32(tern_dir *d, const char *key, float v, tern_err *err);
TERN_CHECK tern_code tern_dir_put_bool(tern_dir *d, const char *key, bool v, tern_err *err);
TERN_CHECK tern_code tern_dir_put_str(tern_dir *d, const char *key, const char *v, size_t n,
                                      tern_err *err);
TERN_CHECK tern_code tern_dir_put_strs(tern_dir *d, const char *key, const tern_slice *v, size_t n,
                                       tern_err *err);
/* Numbers of one type (not STRING or ARRAY), little-endian as in a file; BOOL are bytes 0 and 1. */
TERN_CHECK tern_code tern_dir_put_numbers(tern_dir *d, const char *key, tern_meta_type elem,
                                          const void *v, size_t n, tern_err *err);
/* A view that is valid (tensor.h); its name is copied. */
TERN_CHECK tern_code tern_dir_put_tensor(tern_dir *d, const tern_tensor *t, tern_err *err);

#endif
