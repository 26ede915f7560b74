/* The beginnings of texts whose state is still there: a tree of tokens, in which a request finds the longest
 * beginning that it shares with earlier ones, and into which it puts its own while it is read.
 *
 * A node stands for a run of tokens behind its parent's. Its children begin with different tokens and are
 * found in one table by (parent, token). Each leaf has the state of all tokens that lead to it; what is
 * above needs none, as the state of any leaf below begins with it. Every owner has a root, and nothing
 * leads from one to another.
 *
 * Nodes that somebody uses are pinned, with all above them. The others stand in a list by last use, each
 * before its descendants, so that its end is a leaf: there tokens are given up, a piece at a time, when the
 * budget of the states asks for bytes. Pages that a running sequence shares are not freed by that, hence
 * the pins.
 *
 * No call costs more than the tokens it is given and the nodes it removes. Threads: one owner, who also
 * owns the states (state/seq.h says why). */
#ifndef TERN_STATE_PREFIX_H
#define TERN_STATE_PREFIX_H

#include "state/states.h"
#include "tern.h"

typedef struct tern_prefix_node tern_prefix_node;
struct tern_prefix_node {
    tern_prefix_node *parent, *child; /* child: the one used last; NULL: a leaf */
    tern_prefix_node *left, *right;   /* siblings */
    tern_prefix_node *newer, *older;  /* of the list, unless pinned */
    tern_prefix_node *next;           /* of a table's place */
    uint64_t serial;                  /* of no other node */
    uint64_t key;                     /* its first token; of a root the owner */
    int32_t *ids;                     /* owned; [end - begin] */
    int begin, end;                   /* tokens of the whole text */
    int cap;                          /* elements of ids */
    int n_pin;                        /* of it and of all below */
    void *state;                      /* owned; of a leaf that is no root, else NULL */
};

typedef struct tern_prefix {
    const tern_states *ops;   /* borrowed */
    tern_prefix_node **table; /* owned; [cap], a power of two */
    size_t n_node, cap;
    tern_prefix_node *newest, *oldest;
    uint64_t serial;
    size_t own_bytes; /* of the budget: nodes without their states */
} tern_prefix;

/* A place somebody uses; all 0: none. */
typedef struct tern_prefix_pin {
    tern_prefix_node *node;
} tern_prefix_pin;

/* Becomes the keeper of the budget of ops. Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code tern_prefix_init(tern_prefix *t, const tern_states *ops, tern_err *err);
/* All pins are released. */
void tern_prefix_done(tern_prefix *t);

/* Pin what the tree has of ids[0..n), and make `into` the state of it. into is a running state of
 * n_have tokens, which are the first of ids; pin holds a place that leads to ids from an earlier call, or
 * none, of this owner. Returns the tokens that into has then: n_have when there is no more to have, or no
 * memory. */
int tern_prefix_find(tern_prefix *t, uint64_t owner, const int32_t *ids, int n, void *into,
                     int n_have, tern_prefix_pin *pin);
/* Keep the first n tokens of from, a state that can go on from there; they lead on from the pin, which
 * moves there. Without memory less of it is kept. */
void tern_prefix_insert(tern_prefix *t, uint64_t owner, const int32_t *ids, int n, const void *from,
                        tern_prefix_pin *pin);
/* The tokens that lead to the pin. */
int tern_prefix_pinned(const tern_prefix_pin *pin);
void tern_prefix_unpin(tern_prefix *t, tern_prefix_pin *pin);

/* Give up the end of ids[0..n) that no other text here begins with and nobody uses. Returns the tokens of
 * ids that are left. */
int tern_prefix_forget(tern_prefix *t, uint64_t owner, const int32_t *ids, int n);
/* Give up what nobody uses until the budget holds at most so many bytes, if that suffices. */
void tern_prefix_reclaim(tern_prefix *t, size_t most);

/* A leaf under the node, or itself, whose state begins with all that leads to the node. */
const tern_prefix_node *tern_prefix_leaf(const tern_prefix_node *node);
/* The ids that lead to a node, from the first; ids [node->end]. Returns the owner. */
uint64_t tern_prefix_path(const tern_prefix_node *node, int32_t *ids);

#endif
