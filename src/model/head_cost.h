/* Which is cheaper for several rows at once: the coarse plane and few rows of the head for each, or the
 * whole head, which comes from memory once for all of them? Either gives the same tokens, so that time
 * alone may decide. What the whole head takes is estimated while opening, what screening and choosing
 * take is measured as they go on. */
#ifndef TERN_MODEL_HEAD_COST_H
#define TERN_MODEL_HEAD_COST_H

#include <stdbool.h>

/* Numbers of rows are counted as 1, 2, 4, 8 or 16. */
#define TERN_HEAD_COSTS 5
/* Passes that read the whole head before screening is tried again. */
#define TERN_HEAD_COST_REST 32

typedef struct tern_head_cost {
    double whole_ns[TERN_HEAD_COSTS]; /* 0: unknown, and not chosen */
    double some_ns[TERN_HEAD_COSTS];  /* of late; 0: unknown */
    int rest[TERN_HEAD_COSTS];        /* passes that do not screen */
    double screen_ns;                 /* of the rows screened last, all together */
    int n_screened;
} tern_head_cost;

/* Of n rows, 1..16. */
static inline int tern_head_cost_class(int n)
{
    int k = 0;
    while (1 << k < n)
        k++;
    return k;
}

/* n rows were screened and their tokens chosen in ns. A sample that something interrupted counts little. */
static inline void tern_head_cost_add(tern_head_cost *c, int n, double ns)
{
    int k = tern_head_cost_class(n);
    double *some = &c->some_ns[k], x = ns * (1 << k) / n;
    if (*some == 0)
        *some = x;
    else
        *some += ((x < 2 * *some ? x : 2 * *some) - *some) / 4;
    bool dear = c->whole_ns[k] > 0 && *some > 1.1 * c->whole_ns[k];
    c->rest[k] = dear ? TERN_HEAD_COST_REST : 0;
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
