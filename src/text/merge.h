/* Joining neighbouring symbols of a word, the best-ranked pair first (of equal ranks the leftmost),
 * until no pair can be joined: what byte-pair encoding and SentencePiece have in common. A linked
 * list of symbols and a heap of pairs: O(n log n), no recursion. */
#ifndef TERN_TEXT_MERGE_H
#define TERN_TEXT_MERGE_H

#include "tern.h"

#define TERN_SYMBOL_NONE UINT32_MAX

typedef struct tern_symbol {
    uint32_t at, len;    /* extent in the word */
    uint32_t prev, next; /* neighbours, TERN_SYMBOL_NONE at the ends; set by tern_merge_run */
    int32_t id;          /* token; -1: not in the vocabulary */
} tern_symbol;

/* Scratch memory of one call, reused from word to word. */
typedef struct tern_merge_pair tern_merge_pair;
typedef struct tern_merge {
    tern_symbol *sym; /* owned */
    size_t n_sym, cap_sym;
    tern_merge_pair *heap; /* owned */
    size_t n_heap, cap_heap;
} tern_merge;

/* Whether l and r, neighbours, may be joined: then their rank (lower is earlier) and the id of what
 * they become. */
typedef bool (*tern_merge_rule)(const void *ctx, const tern_symbol *l, const tern_symbol *r,
                                uint32_t *rank, int32_t *id);

void tern_merge_init(tern_merge *m);
void tern_merge_done(tern_merge *m);
/* Forget all symbols and make room for n, less than 2^31. */
TERN_CHECK tern_code tern_merge_reset(tern_merge *m, size_t n, tern_err *err);
/* Append a symbol; room must have been made. */
void tern_merge_push(tern_merge *m, size_t at, size_t len, int32_t id);
/* Join what can be joined; then symbol 0 and what follows it by next is the result. */
TERN_CHECK tern_code tern_merge_run(tern_merge *m, tern_merge_rule rule, const void *ctx,
                                    tern_err *err);

#endif
