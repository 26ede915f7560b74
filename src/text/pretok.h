/* Cutting text into words. A pre-tokeniser is compiled once and shared by threads; what one call
 * needs is its own. */
#ifndef TERN_TEXT_PRETOK_H
#define TERN_TEXT_PRETOK_H

#include "tern.h"

typedef struct tern_pretok tern_pretok;

/* Scratch memory of one call, reused from text to text. */
typedef struct tern_pieces {
    uint32_t *end; /* owned: piece i is text[end[i - 1] .. end[i]), the first begins at 0 */
    size_t n, cap;
    uint32_t *spare; /* owned: the same of the pass before */
    size_t cap_spare;
    struct pcre2_real_match_data_8 *match;    /* owned */
    struct pcre2_real_match_context_8 *limit; /* owned */
} tern_pieces;
void tern_pieces_init(tern_pieces *p);
void tern_pieces_done(tern_pieces *p);

/* Codes: TERN_E_UNSUPPORTED (no such name; no message is written), TERN_E_NOMEM. */
TERN_CHECK tern_code tern_pretok_new(const char *name, size_t n, tern_pretok **out, tern_err *err);
void tern_pretok_free(tern_pretok *p);
const char *tern_pretok_name_get(const tern_pretok *p);
/* What the name implies besides: whole words that are tokens are taken before any merge; a text
 * begins with BOS unless the file says otherwise. */
bool tern_pretok_ignores_merges(const tern_pretok *p);
bool tern_pretok_adds_bos(const tern_pretok *p);
/* The i-th name there is; NULL past the last. */
const char *tern_pretok_name_at(size_t i);

/* Cut text[0..n), valid UTF-8, n < 2^31, into out->end[0..out->n). Codes: TERN_E_NOMEM,
 * TERN_E_LIMIT. */
TERN_CHECK tern_code tern_pretok_split(const tern_pretok *p, const char *text, size_t n,
                                       tern_pieces *out, tern_err *err);

#endif
