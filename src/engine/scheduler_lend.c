/* Memory of the budget for states that are not the scheduler's: the caller keeps them in sessions of his own,
 * on his own thread, and only their bytes are counted here. They rank below jobs: what is lent never takes the
 * room of one full context, so that jobs get on however long it takes to come back. */
#include "base/error.h"
#include "engine/scheduler.h"

#include <inttypes.h>

static tern_code lend(tern_scheduler *s, tern_order *o, tern_err *err)
{
    size_t most = s->budget.limit - s->one_bytes;
    if (o->bytes > most)
        return tern_fail(err, TERN_E_LIMIT, "scheduler: %zu bytes wanted, %zu can be lent",
                         o->bytes, most);
    if (o->bytes > most - s->lent_bytes)
        return tern_fail(err, TERN_E_BUSY, "scheduler: %zu bytes wanted, %zu of %zu are lent",
                         o->bytes, s->lent_bytes, most);
    if (s->crowded || s->starves || !tern_scheduler_has_room(s, o->bytes) ||
        !tern_budget_take(&s->budget, o->bytes))
        return tern_fail(err, TERN_E_BUSY, "scheduler: jobs have the memory");
    s->lent_bytes += o->bytes;
    s->wanted = o->wanted;
    s->wanted_ctx = o->ctx;
    s->asked_back = false;
    return TERN_OK;
}

static tern_code give_back(tern_scheduler *s, tern_order *o, tern_err *err)
{
    (void)err;
    tern_budget_give(&s->budget, o->bytes);
    s->lent_bytes -= o->bytes;
    return TERN_OK;
}

bool tern_scheduler_ask_back(tern_scheduler *s)
{
    if (s->lent_bytes == 0 || s->asked_back)
        return false;
    s->asked_back = true;
    pthread_mutex_unlock(&s->mu);
    s->wanted(s->wanted_ctx);
    pthread_mutex_lock(&s->mu);
    return true;
}

tern_code tern_scheduler_lend(tern_scheduler *s, uint64_t bytes, void (*wanted)(void *ctx),
                              void *ctx, tern_err *err)
{
    tern_order o = {.wanted = wanted, .ctx = ctx};
    if (bytes > SIZE_MAX)
        return tern_fail(err, TERN_E_LIMIT, "scheduler: %" PRIu64 " bytes wanted", bytes);
    o.bytes = (size_t)bytes;
    return tern_scheduler_order(s, &o, lend, err);
}

void tern_scheduler_give_back(tern_scheduler *s, uint64_t bytes)
{
    tern_order o = {.bytes = (size_t)bytes};
    (void)tern_scheduler_order(s, &o, give_back, NULL);
}
