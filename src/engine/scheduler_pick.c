/* Whose turn it is. Of the answers that wait, those of the highest priority come first; of these, those of
 * the owner that has been given the least; of these, the oldest. What an owner has been given are rows of
 * passes: an answer is charged when it gets a slot, by the length of what it has to read and by what it
 * may be expected to generate, and the difference when it leaves. Owners that come begin with as much as
 * the least of those there are: nobody is rewarded for having been away (start-time fair queueing).
 * Nobody overtakes one for whose state there is no room. */
#include "base/alloc.h"
#include "engine/scheduler.h"

#include <string.h>

/* Tokens of an answer that says nothing of its length. */
#define USUAL_ANSWER 256

tern_owner *tern_owner_join(tern_scheduler *s, uint64_t id)
{
    tern_owner *o;
    for (o = s->owners; o && o->id != id;)
        o = o->next;
    if (!o) {
        o = tern_calloc(1, sizeof *o);
        if (!o)
            return NULL;
        o->id = id;
        o->next = s->owners;
        for (const tern_owner *p = s->owners; p; p = p->next)
            o->used = p == s->owners || p->used < o->used ? p->used : o->used;
        s->owners = o;
    }
    o->n_job++;
    return o;
}

void tern_owner_leave(tern_scheduler *s, tern_owner *o)
{
    tern_owner **at = &s->owners;
    if (--o->n_job > 0)
        return;
    while (*at != o)
        at = &(*at)->next;
    *at = o->next;
    tern_free(o);
}

/* One that is held would only be in the way. */
static bool waits(const tern_answer *a)
{
    return !a->has_slot && !a->over && (a->index == 0 || a->job->prompt_read) && !a->job->skips;
}

/* a before b, where a is older. */
static bool before(const tern_answer *a, const tern_answer *b)
{
    const tern_job *j = a->job, *k = b->job;
    if (j->o.priority != k->o.priority)
        return j->o.priority > k->o.priority;
    if (j->owner->used != k->owner->used)
        return j->owner->used < k->owner->used;
    return j->owner->n_slot <= k->owner->n_slot;
}

tern_answer *tern_scheduler_next(tern_scheduler *s)
{
    tern_answer *best = NULL;
    for (tern_job *j = s->jobs; j; j = j->next)
        for (int32_t i = 0; i < j->n_answer && j->code == TERN_OK; i++)
            if (waits(&j->answers[i]) && (!best || !before(best, &j->answers[i])))
                best = &j->answers[i];
    return best;
}

tern_answer *tern_scheduler_idle(const tern_scheduler *s)
{
    for (int32_t i = 0; i < s->o.n_slot; i++) {
        tern_answer *a = s->slots[i];
        if (a && a->job->skips && a->job->started) /* the first slot of a job is to be told of */
            return a;
    }
    return NULL;
}

void tern_job_queued(tern_scheduler *s, tern_job *j, bool queued, bool held)
{
    s->n_queued += (queued && !held) - (j->queued && !j->held);
    j->queued = queued;
    j->held = held;
}

int32_t tern_scheduler_free_slots(const tern_scheduler *s)
{
    int32_t n = 0;
    for (int32_t i = 0; i < s->o.n_slot; i++)
        n += !s->slots[i] || s->slots[i]->job->held;
    return n;
}

static double expected_rows(const tern_answer *a)
{
    tern_request_stats st;
    size_t n_read;
    int32_t most = a->job->o.gen.n_predict;
    tern_request_stats_get(a->r, &st);
    (void)tern_request_ids(a->r, &n_read);
    if (a->index > 0 && a->job->has_stem && st.n_generated == 0)
        n_read = 0;
    double left = (double)(most < 0 ? USUAL_ANSWER : most) - (double)st.n_generated;
    return (double)n_read + (left > 1.0 ? left : 1.0);
}

void tern_answer_take_slot(tern_scheduler *s, tern_answer *a)
{
    tern_job *j = a->job;
    for (int32_t i = 0; i < s->o.n_slot && !a->has_slot; i++)
        if (!s->slots[i]) {
            s->slots[i] = a;
            a->slot = i;
            a->has_slot = true;
        }
    s->n_running++;
    tern_job_queued(s, j, false, j->held);
    j->owner->n_slot++;
    a->fresh = true;
    a->n_row = 0;
    a->charged = expected_rows(a);
    j->owner->used += a->charged;
}

void tern_answer_leave_slot(tern_scheduler *s, tern_answer *a)
{
    if (!a->has_slot)
        return;
    for (int32_t i = 0; i < s->o.n_slot; i++)
        if (s->slots[i] == a)
            s->slots[i] = NULL;
    a->has_slot = false;
    s->n_running--;
    a->job->owner->n_slot--;
    a->job->owner->used += (double)a->n_row - a->charged;
}

static bool is_older(const tern_answer *a, const tern_answer *b)
{
    return a->job != b->job ? a->job->number < b->job->number : a->index < b->index;
}

tern_answer *tern_scheduler_victim(const tern_scheduler *s)
{
    const tern_answer *oldest = NULL;
    tern_answer *best = NULL;
    size_t most = 0;
    for (int32_t i = 0; i < s->o.n_slot; i++) {
        const tern_answer *a = s->slots[i];
        if (a && !a->job->skips && (!oldest || is_older(a, oldest)))
            oldest = a;
    }
    for (int32_t i = 0; i < s->o.n_slot; i++) {
        tern_answer *a = s->slots[i];
        size_t n_page = 0;
        if (!a || a == oldest)
            continue;
        for (int32_t k = 0; k < s->o.n_slot; k++)
            if (s->slots[k] && s->slots[k]->job->owner == a->job->owner)
                n_page += (size_t)s->slots[k]->s->seq.n_page;
        if (!best || n_page > most || (n_page == most && is_older(best, a))) {
            most = n_page;
            best = a;
        }
    }
    return best;
}

void tern_scheduler_sort(tern_answer **who, size_t n)
{
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k > 0; k--) {
            tern_answer *a = who[k - 1], *b = who[k];
            int32_t pa = a->job->o.priority, pb = b->job->o.priority;
            if (pa > pb || (pa == pb && is_older(a, b)))
                break;
            who[k - 1] = b;
            who[k] = a;
        }
}
