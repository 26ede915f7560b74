/* SentencePiece's byte-pair encoding: the characters of a text, joined by score of token. */
#ifndef TERN_TEXT_SPM_H
#define TERN_TEXT_SPM_H

#include "text/bpe.h"
#include "text/merge.h"
#include "text/vocab.h"

/* How text is prepared. */
typedef struct tern_spm_opts {
    bool space_prefix;      /* put a space before it */
    bool not_twice;         /* but not where it begins with one */
    bool squeeze;           /* first drop spaces at its ends and all but one of several */
    const tern_bpe *merges; /* borrowed: what is joined, by rank; NULL: all tokens, by score */
} tern_spm_opts;

/* Append the ids of text[0..n), 3 n + 3 < 2^31, in which no special token is left. escaped is scratch
 * memory. A character without a token becomes its bytes' tokens, else the unknown token, or nothing
 * where the vocabulary has neither. Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code tern_spm_encode(const tern_vocab *v, tern_spm_opts opts, tern_merge *m,
                                     tern_str *escaped, const char *text, size_t n, tern_ids *out,
                                     tern_err *err);

#endif
