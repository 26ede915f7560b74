/* The safetensors container (huggingface/safetensors, README "Format"): a JSON head that says where each
 * tensor lies, then their bytes. Names and shapes are those of the program that wrote the file; what they
 * mean is model/import's business. */
#ifndef TERN_FILE_SAFETENSORS_H
#define TERN_FILE_SAFETENSORS_H

#include "file/dir.h"

/* Map path and put its tensors into d under their own names; shapes are turned round, so that ne[0] is
 * contiguous, and a scalar is one element. Every byte behind the head must belong to one tensor. Codes:
 * TERN_E_NOT_FOUND, TERN_E_IO, TERN_E_FORMAT, TERN_E_UNSUPPORTED (a type), TERN_E_NOMEM. */
TERN_CHECK tern_code tern_safetensors_read(tern_dir *d, const char *path, tern_err *err);
/* All files that an index ("model.safetensors.index.json") names, which lie beside it; each of its
 * tensors must be in one of them. Codes: also TERN_E_LIMIT. */
TERN_CHECK tern_code tern_safetensors_read_index(tern_dir *d, const char *path, tern_err *err);

#endif
