/* From a model's path to a GGUF file. */
#ifndef COMPRESS_CONVERT_H
#define COMPRESS_CONVERT_H

#include "compress/rewrite.h"
#include "model/import/import.h"

/* Open `in`, a GGUF file or a folder, and rewrite it. o->type TERN_DT_COUNT: what loses nothing; the
 * function chooses, and sets o->pool to n_thread lanes (0: one per core) while it runs. Codes: also those
 * of tern_import_open, and TERN_E_USAGE: out is a file that is read. */
TERN_CHECK tern_code compress_convert(const char *in, const tern_import_opts *io, const char *out,
                                      compress_opts *o, int n_thread, tern_err *err);

#endif
