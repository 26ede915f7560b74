/* Tokens that are found in a text as they are spelled, before anything else happens to it. */
#ifndef TERN_TEXT_SPECIAL_H
#define TERN_TEXT_SPECIAL_H

#include "text/vocab.h"

typedef struct tern_special {
    tern_slice text; /* borrowed from the vocabulary */
    int32_t id;
} tern_special;

typedef struct tern_special_set {
    tern_special *v; /* owned; in byte order */
    size_t n;
    uint32_t first[257]; /* those beginning with byte b are [first[b], first[b + 1]) */
} tern_special_set;

/* User-defined tokens; with controls also control and unknown tokens. Also after a failure _done
 * frees what there is. Codes: TERN_E_FORMAT (a token too long), TERN_E_NOMEM. */
TERN_CHECK tern_code tern_special_init(tern_special_set *s, const tern_vocab *v, bool controls,
                                       tern_err *err);
void tern_special_done(tern_special_set *s);

/* The first place in text[0..n) where a token stands, and there the longest: its id, with its
 * extent in *at and *len. -1 when there is none. */
int32_t tern_special_find(const tern_special_set *s, const char *text, size_t n, size_t *at,
                          size_t *len);

#endif
