/* Bytes under one limit: what running sequences and the prefixes kept for later hold together. Who takes
 * more than is left asks the keeper of prefixes (state/prefix.h) to give some back first.
 * Threads: one owner, who also owns every sequence within the budget. */
#ifndef TERN_STATE_BUDGET_H
#define TERN_STATE_BUDGET_H

#include <stdbool.h>
#include <stddef.h>

typedef struct tern_budget {
    size_t limit;
    size_t used; /* never above limit */
    size_t kept; /* of used: held by nobody but kept sequences */
    /* Give bytes back until used is at most `most`; what it cannot give stays. NULL: nothing is kept. It
     * may free any kept sequence but one that its keeper knows to be in use. */
    void (*reclaim)(void *ctx, size_t most);
    void *ctx;
} tern_budget;

/* Without a budget (NULL) everything is granted. False: not granted, nothing changed. */
bool tern_budget_take(tern_budget *b, size_t n);
void tern_budget_give(tern_budget *b, size_t n);

#endif
