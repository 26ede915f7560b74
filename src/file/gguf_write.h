/* Writes GGUF version 3: keys and tensor infos first, then the tensors' bytes as a stream, so that a
 * model larger than memory can be written. The file appears whole or not at all (base/os/outfile.h).
 *
 * Owner: the caller of tern_gguf_writer_new. One thread. In order: keys and tensors are declared,
 * tern_gguf_writer_begin writes the head, tern_gguf_writer_data takes the bytes of the tensors in the
 * order of their declaration, tern_gguf_writer_end gives the file its name. */
#ifndef TERN_FILE_GGUF_WRITE_H
#define TERN_FILE_GGUF_WRITE_H

#include "base/os/outfile.h"
#include "file/dir.h"

typedef struct tern_gguf_writer tern_gguf_writer;

/* Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code tern_gguf_writer_new(tern_gguf_writer **out, tern_err *err);
/* Removes what is half written. NULL is fine. */
void tern_gguf_writer_free(tern_gguf_writer *w);

/* Declarations. A mistake or exhausted memory is remembered and told by tern_gguf_writer_begin. Keys
 * and names are not empty; a key or name given twice is a mistake. */
void tern_gguf_key_u32(tern_gguf_writer *w, const char *key, uint32_t v);
void tern_gguf_key_f32(tern_gguf_writer *w, const char *key, float v);
void tern_gguf_key_bool(tern_gguf_writer *w, const char *key, bool v);
void tern_gguf_key_str(tern_gguf_writer *w, const char *key, const char *v);
void tern_gguf_key_strs(tern_gguf_writer *w, const char *key, const tern_slice *v, size_t n);
/* Numbers of one type (not BOOL, STRING or ARRAY), little-endian as they lie in the file. */
void tern_gguf_key_numbers(tern_gguf_writer *w, const char *key, tern_meta_type elem, const void *v,
                           size_t n);
/* A pair of another file, as it is there. */
void tern_gguf_key_meta(tern_gguf_writer *w, const tern_meta *m);
/* A tensor of n_dim dimensions, ne[0] contiguous; dt has a file id (tensor/dtype.def). */
void tern_gguf_tensor(tern_gguf_writer *w, const char *name, tern_dtype dt, int n_dim,
                      const size_t *ne);

/* Bytes of the finished file, as declared so far. */
uint64_t tern_gguf_writer_bytes(const tern_gguf_writer *w);

/* flags as of tern_outfile_open. Codes: TERN_E_USAGE (a mistake in a declaration), TERN_E_NOMEM,
 * TERN_E_IO. */
TERN_CHECK tern_code tern_gguf_writer_begin(tern_gguf_writer *w, const char *path, unsigned flags,
                                            tern_err *err);
/* The next n bytes; a call may end within a tensor, but not pass its end. Codes: TERN_E_USAGE,
 * TERN_E_IO. */
TERN_CHECK tern_code tern_gguf_writer_data(tern_gguf_writer *w, const void *bytes, size_t n,
                                           tern_err *err);
/* TERN_E_USAGE when bytes of a tensor are missing; then, as on TERN_E_IO, there is no file. */
TERN_CHECK tern_code tern_gguf_writer_end(tern_gguf_writer *w, tern_err *err);

#endif
