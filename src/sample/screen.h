/* From a screened row of the head (model/head.h) to the id that the sampler would choose from all its
 * logits. Rows that no bound rules out are computed exactly and go through the same chain. */
#ifndef TERN_SAMPLE_SCREEN_H
#define TERN_SAMPLE_SCREEN_H

#include "model/screen.h"
#include "sample/chain.h"

/* Rows looked at for one choice. */
typedef struct tern_picked {
    int n_exact;   /* computed exactly */
    int n_refined; /* bounded by both planes */
} tern_picked;

/* Choose the id for sequence position pos. e is the caller's for the time, and its logits are not what
 * k points to. False: this chain, these biases or this row need all logits; nothing is chosen, and
 * *picked says what was read for that. */
bool tern_sampler_pick_screened(tern_sampler *s, tern_exec *e, const tern_screen *k, uint64_t pos,
                                int32_t *id, tern_picked *picked);

#endif
