/* SentencePiece's byte-pair encoding: the characters of a text, joined by score of token. */
#ifndef TERN_TEXT_SPM_H
#define TERN_TEXT_SPM_H

#include "text/merge.h"
#include "text/vocab.h"

/* Append the ids of text[0..n), 3 n + 3 < 2^31, in which no special token is left; space_prefix puts
 * a space before it. A character without a token becomes its bytes' tokens, else the unknown token,
 * or nothing where the vocabulary has neither. Codes: TERN_E_NOMEM, TERN_E_LIMIT. */
TERN_CHECK tern_code tern_spm_encode(const tern_vocab *v, tern_merge *m, tern_str *escaped,
                                     const char *text, size_t n, bool space_prefix, tern_ids *out,
                                     tern_err *err);

#endif
