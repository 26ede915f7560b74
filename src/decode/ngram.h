/* Drafts at no cost: the text so far, searched for the tokens it ends with. Where the last 4, 3, 2 or
 * 1 tokens stood before, most recently, what followed them there is proposed (prompt lookup: Saxena
 * 2023; Yang et al. 2023, arXiv 2304.04487). Memory is bounded: the last TERN_NGRAM_MAX tokens. */
#ifndef TERN_DECODE_NGRAM_H
#define TERN_DECODE_NGRAM_H

#include "tern.h"

#define TERN_NGRAM_MAX     65536
#define TERN_NGRAM_LEAST   1  /* tokens that agree before a place counts as found */
#define TERN_NGRAM_LONGEST 32 /* agreement is not counted beyond */

typedef struct tern_ngram {
    int32_t *ids;   /* owned; ring of cap, a power of two */
    uint32_t *next; /* owned; [4 * cap]: hash -> position that followed, 0: none */
    uint32_t cap, n_tok;
    uint32_t found; /* position whose token is proposed; 0: none */
    int n_match;    /* tokens before it that agree with the end of the text */
} tern_ngram;

/* Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code tern_ngram_init(tern_ngram *g, tern_err *err);
void tern_ngram_done(tern_ngram *g);
/* Append the text's next token, and look for what may follow it. Grows; when memory is exhausted it
 * remembers less. */
void tern_ngram_push(tern_ngram *g, int32_t id);
/* Proposed tokens in order, at most n; returns how many: 0 or n. */
int tern_ngram_draft(const tern_ngram *g, int32_t *ids, int n);

#endif
