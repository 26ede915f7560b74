/* What running sequences take over from earlier ones, and leave to later ones: the prefix tree in memory and
 * the shelf on disk behind it, under one budget. A sequence begins with what either has of its text, keeps
 * its tokens in the tree while it reads them, a grain at a time, so that others can follow at once, and
 * all of them at its end.
 *
 * On disk comes what is likely to come again: the beginning that its user named (n_keep), as soon as it is
 * read; what was found in the tree, so used a second time; and when all ends, what was used last.
 * Threads: one owner, as of the tree and all its states. */
#ifndef TERN_STATE_RECALL_H
#define TERN_STATE_RECALL_H

#include "state/prefix.h"
#include "state/shelf.h"

/* Stays where it was initialised. */
typedef struct tern_recall {
    tern_budget *budget; /* borrowed */
    tern_states ops;
    tern_prefix tree;
    tern_shelf *shelf; /* owned; NULL: memory only */
    uint64_t max_disk;
} tern_recall;

/* Becomes the keeper of the budget, within which all sequences are that share something. shelf: ops is set
 * here; NULL: memory only. Codes: TERN_E_NOMEM, TERN_E_IO (then it is ready all the same, without a shelf). */
TERN_CHECK tern_code tern_recall_init(tern_recall *r, tern_budget *budget,
                                      const tern_shelf_opts *shelf, tern_err *err);
/* All uses are over, and all sequences within the budget are freed. Spends up to wait_s seconds on writing
 * what was used last. */
void tern_recall_done(tern_recall *r, double wait_s);

/* One running sequence. */
typedef struct tern_recall_use {
    tern_prefix_pin pin;
    uint64_t owner;
    int n_keep;
    bool keep_done; /* the beginning of n_keep tokens is on its way to disk */
    bool more;      /* there is more of it on disk than was read at once */
} tern_recall_use;

/* Begin a sequence with all that is there of ids[0..n): state, which has none, gets it. Returns tokens. */
int tern_recall_begin(tern_recall *r, tern_recall_use *u, uint64_t owner, const int32_t *ids, int n,
                      int n_keep, void *state);
/* Another may have read more of it meanwhile: state has n_have tokens and gets what there is beyond them.
 * Returns tokens. */
int tern_recall_follow(tern_recall *r, tern_recall_use *u, const int32_t *ids, int n, void *state,
                       int n_have);
/* The first n of ids are read into state: others may have what of them is whole. */
void tern_recall_grow(tern_recall *r, tern_recall_use *u, const int32_t *ids, int n,
                      const void *state);
/* It ends, and leaves its n tokens. ids NULL: it leaves no more than it has so far. */
void tern_recall_end(tern_recall *r, tern_recall_use *u, const int32_t *ids, int n,
                     const void *state);
/* Give up what only ids[0..n) have, in memory and on disk; what a running sequence uses stays. */
void tern_recall_forget(tern_recall *r, uint64_t owner, const int32_t *ids, int n);
/* Bytes that only the tree holds. */
size_t tern_recall_kept_bytes(const tern_recall *r);
/* Free what is written; now and then. */
void tern_recall_collect(tern_recall *r);

#endif
