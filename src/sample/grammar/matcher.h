/* Which tokens may come next: a compiled grammar with its cache of token masks, shared by the answers that
 * it holds for, and the place of one answer in it. */
#ifndef TERN_SAMPLE_GRAMMAR_MATCHER_H
#define TERN_SAMPLE_GRAMMAR_MATCHER_H

#include "sample/grammar/net.h"
#include "sample/grammar/trie.h"

/* Memory of a grammar's states and masks, beyond which all are made anew as they are needed. */
#define TERN_GRAMMAR_CACHE ((size_t)48 << 20)
/* Texts that a grammar may begin behind, and bytes of each. */
#define TERN_GRAMMAR_TRIGGERS      16
#define TERN_GRAMMAR_TRIGGER_BYTES 256

/* Takes net over, also on failure. trie is borrowed. cache_bytes 0: TERN_GRAMMAR_CACHE. Codes:
 * TERN_E_LIMIT, TERN_E_NOMEM. */
TERN_CHECK tern_code tern_grammar_make(tern_net *net, const tern_trie *trie, size_t cache_bytes,
                                       tern_grammar **out, tern_err *err);

const tern_trie *tern_grammar_trie(const tern_grammar *g);

/* One answer. Threads: one at a time, any number of matchers of one grammar beside each other. */
typedef struct tern_matcher tern_matcher;

/* Keeps a reference to g. Copies the n triggers: until the answer contains one of them everything may come.
 * may_stop: tokens that end the answer are allowed where the grammar can end. Codes: TERN_E_USAGE (a
 * trigger), TERN_E_NOMEM. */
TERN_CHECK tern_code tern_matcher_new(tern_grammar *g, const char *const *trigger, size_t n,
                                      bool may_stop, tern_matcher **out, tern_err *err);
void tern_matcher_free(tern_matcher *m);

typedef struct tern_allowed {
    const uint32_t
        *bits; /* [(n_vocab + 31) / 32], id i is bit i % 32 of word i / 32; NULL: all are */
    int n;     /* of them */
    bool over; /* none is, and the answer is whole */
} tern_allowed;

/* What may come next; bits are valid until the next call for m. Codes: TERN_E_LIMIT (the grammar is too
 * ambiguous here), TERN_E_UNSUPPORTED (no token goes on), TERN_E_NOMEM. */
TERN_CHECK tern_code tern_matcher_allowed(tern_matcher *m, tern_allowed *out, tern_err *err);
/* id came. One that is not allowed is TERN_E_USAGE, and m stays. */
TERN_CHECK tern_code tern_matcher_accept(tern_matcher *m, int32_t id, tern_err *err);
/* Nothing may come but the end. */
bool tern_matcher_is_over(tern_matcher *m);
/* How many of ids[0..n) may come, in order. */
int tern_matcher_agrees(tern_matcher *m, const int32_t *ids, int n);
/* The bytes that must come next, as far as there is no choice, at most cap; returns how many. */
int tern_matcher_must(tern_matcher *m, char *bytes, int cap);

#endif
