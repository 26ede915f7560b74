/* Text to token ids, for all apps. */
#ifndef COMMON_TEXT_IDS_H
#define COMMON_TEXT_IDS_H

#include "base/ids.h"

/* Append the ids of text; flags as of tern_model_tokenize. Codes: the same, TERN_E_NOMEM. */
TERN_CHECK tern_code text_ids_add(tern_ids *ids, const tern_model *m, const char *text, size_t n,
                                  unsigned flags, tern_err *err);

#endif
