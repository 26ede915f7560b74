/* From screened rows of the head (model/head.h) to the ids that samplers would choose from all their
 * logits. Rows that no bound rules out are computed exactly and go through the same chain. */
#ifndef TERN_SAMPLE_SCREEN_H
#define TERN_SAMPLE_SCREEN_H

#include "model/screen.h"
#include "sample/chain.h"

/* Rows looked at for one choice. */
typedef struct tern_picked {
    int n_exact;                /* computed exactly */
    int n_fine[TERN_HEAD_FINE]; /* bounded by so many finer planes, and one more */
} tern_picked;

/* What was read of the finer planes. */
static inline size_t tern_picked_fine_bytes(const tern_picked *p, const tern_head *h)
{
    size_t bytes = 0;
    for (int i = 0; i < h->n_fine; i++)
        bytes += (size_t)p->n_fine[i] * h->w1_stride;
    return bytes;
}

/* One choice of several that are made together. */
typedef struct tern_pick {
    tern_sampler *s; /* borrowed; of no other choice */
    uint64_t pos;    /* in its sequence */
    /* What comes out. */
    bool done;  /* false: this chain, these biases or this row need all logits; nothing is chosen */
    int32_t id; /* if done */
    tern_picked picked; /* also if not: what was read for that */
} tern_pick;

/* Choose p[i] from row k[i], n <= e->max_logit_rows of them; what k must be is said at tern_screening. e
 * is the caller's for the time. */
void tern_sampler_pick_screened(tern_exec *e, const tern_screen *k, tern_pick *p, int n);

#endif
