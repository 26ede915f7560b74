/* Which is cheaper for several rows at once: the coarse plane and few rows of the head for each, or the
 * whole head, which comes from memory once for all of them? Either gives the same tokens, so that time
 * alone may decide. It is measured as choices are made, with an estimate of the whole head before it was
 * ever read; of the last samples the fastest counts, for other programs only ever add time. */
#ifndef TERN_MODEL_HEAD_COST_H
#define TERN_MODEL_HEAD_COST_H

#include <stdbool.h>

/* Numbers of rows are counted as 1, 2, 4, 8 or 16. */
#define TERN_HEAD_COSTS        5
#define TERN_HEAD_COST_SAMPLES 4
/* Passes that read the whole head before screening is tried again. */
#define TERN_HEAD_COST_REST 64

typedef struct tern_head_samples {
    double ns[TERN_HEAD_COST_SAMPLES]; /* a ring */
    int n;                             /* ever */
} tern_head_samples;

typedef struct tern_head_cost {
    double estimate_ns[TERN_HEAD_COSTS];      /* of the whole head; 0: unknown, and not chosen */
    tern_head_samples of[TERN_HEAD_COSTS][2]; /* screened; whole */
    int rest[TERN_HEAD_COSTS];                /* passes that will not screen */
    /* The last rows that choices are made from: their head's time, all together. */
    double last_ns;
    int n_last; /* 0: there are none */
    bool last_whole;
} tern_head_cost;

/* Of n rows, 1..16. */
static inline int tern_head_cost_class(int n)
{
    int k = 0;
    while (1 << k < n)
        k++;
    return k;
}

static inline double tern_head_samples_least(const tern_head_samples *s)
{
    double least = s->ns[0];
    for (int i = 1; i < TERN_HEAD_COST_SAMPLES && i < s->n; i++)
        least = s->ns[i] < least ? s->ns[i] : least;
    return least;
}

/* The head of n rows was read, and their tokens were chosen, in ns. */
static inline void tern_head_cost_add(tern_head_cost *c, bool whole, int n, double ns)
{
    int k = tern_head_cost_class(n);
    tern_head_samples *s = &c->of[k][whole], *some = &c->of[k][0], *all = &c->of[k][1];
    s->ns[s->n++ % TERN_HEAD_COST_SAMPLES] = ns * (1 << k) / n;
    if (c->estimate_ns[k] == 0 || some->n < TERN_HEAD_COST_SAMPLES)
        return;
    /* A first product of the whole head maps it, which later ones need not. */
    bool known = all->n >= TERN_HEAD_COST_SAMPLES;
    double most = known ? tern_head_samples_least(all) : c->estimate_ns[k];
    bool dear = tern_head_samples_least(some) > 1.1 * most;
    if (!dear)
        c->rest[k] = 0;
    else if (!whole)
        c->rest[k] = TERN_HEAD_COST_REST;
}

/* Whether the next n rows should read the whole head. */
static inline bool tern_head_cost_rests(tern_head_cost *c, int n)
{
    int k = tern_head_cost_class(n);
    if (c->rest[k] == 0)
        return false;
    c->rest[k]--;
    return true;
}

#endif
