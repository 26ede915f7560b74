/* Byte-level byte-pair encoding: the bytes of a pre-token, joined by rank of merge. */
#ifndef TERN_TEXT_BPE_H
#define TERN_TEXT_BPE_H

#include "text/merge.h"
#include "text/vocab.h"

typedef struct tern_bpe_rule tern_bpe_rule;
typedef struct tern_bpe {
    const tern_vocab *vocab; /* borrowed */
    tern_bpe_rule *rules;    /* owned: open addressing by the pair of ids, a power of two of them */
    size_t cap;
    bool ignore_merges; /* a pre-token that is a token is that token, whatever the merges give */
} tern_bpe;

/* Read the merges. Codes: TERN_E_FORMAT (a merge of what is not in the vocabulary), TERN_E_NOMEM.
 * Also after a failure _done frees what there is. */
TERN_CHECK tern_code tern_bpe_init(tern_bpe *b, const tern_vocab *v, const tern_dir *d,
                                   bool ignore_merges, tern_err *err);
void tern_bpe_done(tern_bpe *b);

/* A tern_merge_rule of a tern_bpe: two tokens that a merge joins. */
bool tern_bpe_join(const void *bpe, const tern_symbol *l, const tern_symbol *r, uint32_t *rank,
                   int32_t *id);

/* Append the ids of one pre-token word[0..n), n < 2^31. A byte without a token becomes the unknown
 * token, or nothing where the vocabulary has none. */
TERN_CHECK tern_code tern_bpe_encode(const tern_bpe *b, tern_merge *m, const char *word, size_t n,
                                     tern_ids *out, tern_err *err);

#endif
