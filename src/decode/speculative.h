/* Several tokens per pass. A request's next token is known; others are proposed to follow it, and ride
 * in the same pass as rows of their own. The sampler then chooses at each of these rows as it would
 * have, one token per pass: same logits, same position, same key. While it chooses what was proposed
 * the next row is the right one; otherwise rows from there on are forgotten. So the tokens are those
 * of plain decoding whatever was proposed, sampled or greedy. (Exact-match verification; the general
 * rule is Leviathan et al. 2023, arXiv 2211.17192.)
 *
 * Proposals cost rows. How many a pass takes is decided by what passes cost, as measured, and by how
 * often proposals came true. The latter is learnt from every token, also when none was proposed. */
#ifndef TERN_DECODE_SPECULATIVE_H
#define TERN_DECODE_SPECULATIVE_H

#include "decode/cost.h"
#include "decode/ngram.h"

#define TERN_MAX_DRAFT    7
#define TERN_SPEC_BUCKETS 9

/* One request's drafts. */
typedef struct tern_spec {
    tern_ngram source;
    int n_max;   /* most drafted tokens of a pass, 0..TERN_MAX_DRAFT */
    bool always; /* whatever they cost */
    /* How often a proposal came true by how long the text had agreed with its place: recent counts. */
    double hit[TERN_SPEC_BUCKETS], seen[TERN_SPEC_BUCKETS];
    double sure_hit, sure_seen; /* the same of tokens that were as good as certain */
    /* The plan for one pass, made by tern_spec_plan. */
    int n_draft;
    double gain[TERN_MAX_DRAFT]; /* chance that draft i and all before it come true */
    struct tern_spec *next;      /* of the list given to tern_spec_plan */
} tern_spec;

/* Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code tern_spec_init(tern_spec *s, int n_max, bool always, tern_err *err);
void tern_spec_done(tern_spec *s);
/* A token of the prompt. */
void tern_spec_read(tern_spec *s, int32_t id);
/* A token of the answer: what would have been proposed is compared with it. */
void tern_spec_accept(tern_spec *s, int32_t id);
/* Before tern_spec_plan: at most n_room tokens may be drafted now. */
void tern_spec_offer(tern_spec *s, int n_room);
/* The same where the next n tokens are as good as certain, whatever the text so far says: a grammar leaves no
 * choice but how its text is cut into tokens. After the choice of the first one, whether it was that. */
void tern_spec_offer_sure(tern_spec *s, int n, int n_room);
void tern_spec_accept_sure(tern_spec *s, bool hit);
/* Set n_draft of each of list, whose tokens are among the n_row that the pass has anyway: as many as
 * give the most tokens per time over all. */
void tern_spec_plan(tern_spec *list, int n_row, const tern_cost *cost);

#endif
