/* Which type a tensor gets. */
#ifndef COMPRESS_POLICY_H
#define COMPRESS_POLICY_H

#include "compress/rewrite.h"

/* note->why says when it is not what was asked. Codes: TERN_E_UNSUPPORTED. */
TERN_CHECK tern_code compress_choose(const compress_opts *o, const tern_dir *in,
                                     const tern_tensor *t, compress_note *note, tern_err *err);
/* general.file_type of a file whose matrices are of this type; UINT32_MAX: there is no number for it. */
uint32_t compress_file_type(tern_dtype dt);

#endif
