/* What the prefix tree needs to know of a sequence's state, whatever blocks the model has. A state holds the
 * first tokens of a text; attention can go on from any of them, a recurrent block only from where somebody
 * took a snapshot (spec: state interface). What two states have in common they share.
 * Threads: one owner of all states that share something, but save: any thread, while the state is
 * neither changed nor freed. */
#ifndef TERN_STATE_STATES_H
#define TERN_STATE_STATES_H

#include "state/budget.h"

#include <stdint.h>

typedef struct tern_states {
    void *ctx;           /* for share */
    tern_budget *budget; /* which all states count in */
    int grain;           /* saved pieces of a text end at multiples of it, but the last one */
    /* A new state, kept for later, of the first n tokens of a state that can go on from there; NULL: no
     * memory. */
    void *(*share)(void *ctx, const void *from, int n);
    void (*free)(void *state);
    /* state holds fewer than the first n tokens of `from`: it becomes a copy of those; false: no memory,
     * unchanged. What it can go on from stays so. */
    bool (*extend)(void *state, const void *from, int n);
    /* Give up the end, at least one token and down to floor at most unless it cannot go on from there; a
     * small piece rather than a large one. Returns the tokens left. */
    int (*shorten)(void *state, int floor);
    /* The last position of 0..n from which it can go on. */
    int (*resume)(const void *state, int n);
    /* What with the state of n0 tokens makes the state of n1, as bytes; n0 is a multiple of grain and
     * n1 a position to go on from. load makes a state of at least n0 tokens, of which it keeps those, the
     * state of n0 + n; it refuses nothing but memory and sizes, and then no more than n0 are left. */
    size_t (*save_bytes)(const void *state, int n0, int n1);
    void (*save)(const void *state, int n0, int n1, uint8_t *to);
    /* The same where they lie; NULL: they lie nowhere. May be NULL. */
    const uint8_t *(*view)(const void *state, int n0, int n1);
    bool (*load)(void *state, int n0, const int32_t *ids, int n, const uint8_t *from, size_t bytes);
} tern_states;

#endif
