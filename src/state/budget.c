#include "state/budget.h"

bool tern_budget_take(tern_budget *b, size_t n)
{
    if (!b)
        return true;
    if (n > b->limit)
        return false;
    if (n > b->limit - b->used && b->reclaim)
        b->reclaim(b->ctx, b->limit - n);
    if (n > b->limit - b->used)
        return false;
    b->used += n;
    return true;
}

void tern_budget_give(tern_budget *b, size_t n)
{
    if (b)
        b->used -= n;
}
