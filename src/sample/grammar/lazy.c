#include "sample/grammar/lazy.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

/* Room for n elements; false, and z->rc set, when memory is exhausted. */
static bool reserve(tern_lazy *z, void **v, size_t n, size_t *cap, size_t size)
{
    size_t want = *cap ? *cap : 256;
    if (n <= *cap)
        return true;
    while (want < n)
        want *= 2;
    void *p = tern_realloc(*v, *cap * size, want * size);
    if (!p) {
        z->rc = TERN_E_NOMEM;
        return false;
    }
    *v = p;
    *cap = want;
    return true;
}

static uint64_t hash_pair(uint32_t a, uint32_t b)
{
    uint64_t h = ((uint64_t)a << 32 | b) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

/* ---- stacks ---------------------------------------------------------------------------------- */

static bool grow_frame_table(tern_lazy *z)
{
    size_t cap = z->cap_frame_table ? 2 * z->cap_frame_table : 1024;
    uint32_t *t = tern_calloc(cap, sizeof *t);
    if (!t) {
        z->rc = TERN_E_NOMEM;
        return false;
    }
    for (size_t i = 1; i < z->n_frame; i++) {
        size_t at = hash_pair(z->frame[i].back, z->frame[i].under) & (cap - 1);
        while (t[at])
            at = (at + 1) & (cap - 1);
        t[at] = (uint32_t)i;
    }
    tern_free(z->frame_table);
    z->frame_table = t;
    z->cap_frame_table = cap;
    return true;
}

/* The stack with `back` on top of `under`; 0: it would be too deep, or memory is exhausted. */
static uint32_t push(tern_lazy *z, uint32_t back, uint32_t under)
{
    uint32_t depth = z->frame[under].depth + 1;
    if (depth > TERN_LAZY_DEPTH)
        return 0;
    if (2 * z->n_frame >= z->cap_frame_table && !grow_frame_table(z))
        return 0;
    size_t at = hash_pair(back, under) & (z->cap_frame_table - 1);
    for (uint32_t i; (i = z->frame_table[at]) != 0; at = (at + 1) & (z->cap_frame_table - 1))
        if (z->frame[i].back == back && z->frame[i].under == under)
            return i;
    if (z->n_frame >= UINT32_MAX ||
        !reserve(z, (void **)&z->frame, z->n_frame + 1, &z->cap_frame, sizeof *z->frame))
        return 0;
    z->frame[z->n_frame] = (tern_lazy_frame){back, under, depth};
    z->frame_table[at] = (uint32_t)z->n_frame;
    return (uint32_t)z->n_frame++;
}

/* ---- sets of places --------------------------------------------------------------------------- */

static bool spend(tern_lazy *z, uint64_t n)
{
    if (z->work < n) {
        z->work = 0;
        z->rc = z->rc != TERN_OK ? z->rc : TERN_E_LIMIT;
        return false;
    }
    z->work -= n;
    return true;
}

static bool grow_seen(tern_lazy *z)
{
    size_t cap = z->cap_seen ? 2 * z->cap_seen : 1024;
    uint32_t *t = tern_calloc(cap, sizeof *t);
    if (!t) {
        z->rc = TERN_E_NOMEM;
        return false;
    }
    for (size_t i = 0; i < z->n_list; i++) {
        size_t at = hash_pair(z->list[i].node, z->list[i].stack) & (cap - 1);
        while (t[at])
            at = (at + 1) & (cap - 1);
        t[at] = (uint32_t)i + 1;
    }
    tern_free(z->seen);
    z->seen = t;
    z->cap_seen = cap;
    return true;
}

/* Add a place to the list unless it is there. */
static void reach(tern_lazy *z, uint32_t node, uint32_t stack)
{
    if (z->rc != TERN_OK || !spend(z, 1))
        return;
    if (2 * z->n_list >= z->cap_seen && !grow_seen(z))
        return;
    size_t at = hash_pair(node, stack) & (z->cap_seen - 1);
    for (uint32_t i; (i = z->seen[at]) != 0; at = (at + 1) & (z->cap_seen - 1))
        if (z->list[i - 1].node == node && z->list[i - 1].stack == stack)
            return;
    if (z->n_list >= TERN_LAZY_PLACES) {
        z->rc = TERN_E_LIMIT;
        return;
    }
    if (!reserve(z, (void **)&z->list, z->n_list + 1, &z->cap_list, sizeof *z->list))
        return;
    z->list[z->n_list++] = (tern_lazy_place){node, stack};
    z->seen[at] = (uint32_t)z->n_list;
}

static void forget_list(tern_lazy *z)
{
    for (size_t i = 0; i < z->n_list; i++) {
        size_t at = hash_pair(z->list[i].node, z->list[i].stack) & (z->cap_seen - 1);
        while (z->seen[at]) { /* its whole run goes: all of it is in the list */
            z->seen[at] = 0;
            at = (at + 1) & (z->cap_seen - 1);
        }
    }
    z->n_list = 0;
}

/* Follow what reads nothing from every place of the list. Keep those that read a byte; true: one may end. */
static bool close_list(tern_lazy *z)
{
    const tern_net *n = z->net;
    bool may_end = false;
    for (size_t i = 0; i < z->n_list && z->rc == TERN_OK; i++) {
        tern_lazy_place p = z->list[i];
        if (n->is_end[p.node]) {
            if (p.stack)
                reach(z, z->frame[p.stack].back, z->frame[p.stack].under);
            may_end |= p.stack == 0;
        }
        for (uint32_t e = n->first[p.node]; e < n->first[p.node + 1]; e++) {
            const tern_net_edge *x = &n->edge[e];
            if (x->kind == TERN_NET_EMPTY) {
                reach(z, x->to, p.stack);
            } else if (x->kind == TERN_NET_CALL) {
                /* nothing is left to do behind a call at the end: it comes back further down */
                uint32_t stack = n->is_end[x->to] ? p.stack : push(z, x->to, p.stack);
                if (stack || n->is_end[x->to])
                    reach(z, n->rule[x->rule].start, stack);
            }
        }
    }
    return may_end;
}

static bool reads(const tern_net *n, uint32_t node)
{
    for (uint32_t e = n->first[node]; e < n->first[node + 1]; e++)
        if (n->edge[e].kind == TERN_NET_BYTES)
            return true;
    return false;
}

static int by_place(const void *a, const void *b)
{
    const tern_lazy_place *x = a, *y = b;
    if (x->node != y->node)
        return x->node < y->node ? -1 : 1;
    return (x->stack > y->stack) - (x->stack < y->stack);
}

/* ---- states ---------------------------------------------------------------------------------- */

static uint64_t hash_state(const tern_lazy_place *p, size_t n, bool may_end)
{
    return tern_hash64(p, n * sizeof *p, may_end);
}

static bool grow_state_table(tern_lazy *z)
{
    size_t cap = z->cap_state_table ? 2 * z->cap_state_table : 1024;
    uint32_t *t = tern_calloc(cap, sizeof *t);
    if (!t) {
        z->rc = TERN_E_NOMEM;
        return false;
    }
    for (size_t i = TERN_LAZY_DEAD + 1; i < z->n_state; i++) {
        const tern_lazy_state *s = &z->state[i];
        size_t at = hash_state(z->place + s->place, s->n_place, s->may_end) & (cap - 1);
        while (t[at])
            at = (at + 1) & (cap - 1);
        t[at] = (uint32_t)i;
    }
    tern_free(z->state_table);
    z->state_table = t;
    z->cap_state_table = cap;
    return true;
}

static uint32_t add_state(tern_lazy *z, const tern_lazy_place *p, size_t n, bool may_end)
{
    size_t n_class = (size_t)z->net->n_class;
    if (z->n_place + n >= UINT32_MAX || tern_lazy_bytes(z) > TERN_LAZY_BYTES)
        z->rc = TERN_E_LIMIT;
    if (z->rc != TERN_OK ||
        !reserve(z, (void **)&z->state, z->n_state + 1, &z->cap_state, sizeof *z->state) ||
        !reserve(z, (void **)&z->next, (z->n_state + 1) * n_class, &z->cap_next, sizeof *z->next) ||
        !reserve(z, (void **)&z->place, z->n_place + n, &z->cap_place, sizeof *z->place))
        return TERN_LAZY_DEAD;
    memset(z->next + z->n_state * n_class, 0, n_class * sizeof *z->next);
    if (n)
        memcpy(z->place + z->n_place, p, n * sizeof *p);
    z->state[z->n_state] = (tern_lazy_state){
        .place = (uint32_t)z->n_place, .n_place = (uint32_t)n, .may_end = may_end};
    z->n_place += n;
    return (uint32_t)z->n_state++;
}

/* The state of sorted places. */
static uint32_t intern(tern_lazy *z, const tern_lazy_place *p, size_t n, bool may_end)
{
    if (n == 0 && !may_end)
        return TERN_LAZY_DEAD;
    if (2 * z->n_state >= z->cap_state_table && !grow_state_table(z))
        return TERN_LAZY_DEAD;
    size_t at = hash_state(p, n, may_end) & (z->cap_state_table - 1);
    for (uint32_t i; (i = z->state_table[at]) != 0; at = (at + 1) & (z->cap_state_table - 1)) {
        const tern_lazy_state *s = &z->state[i];
        if (s->n_place == n && s->may_end == may_end &&
            (n == 0 || memcmp(z->place + s->place, p, n * sizeof *p) == 0))
            return i;
    }
    uint32_t s = add_state(z, p, n, may_end);
    if (s != TERN_LAZY_DEAD)
        z->state_table[at] = s;
    return s;
}

/* The state that the list stands for; the list is empty then. */
static uint32_t take_list(tern_lazy *z)
{
    bool may_end = close_list(z);
    uint32_t s = TERN_LAZY_DEAD;
    if (z->rc == TERN_OK && spend(z, z->n_list)) {
        tern_lazy_place *p = z->list;
        size_t n = z->n_list, kept = 0;
        forget_list(z);
        for (size_t i = 0; i < n; i++)
            if (reads(z->net, p[i].node))
                p[kept++] = p[i];
        qsort(p, kept, sizeof *p, by_place);
        return intern(z, p, kept, may_end);
    }
    forget_list(z);
    return s;
}

uint32_t tern_lazy_step(tern_lazy *z, uint32_t s, uint8_t c)
{
    const tern_net *n = z->net;
    size_t at = (size_t)s * (size_t)n->n_class + n->class_of[c];
    if (s == TERN_LAZY_DEAD || z->rc != TERN_OK)
        return TERN_LAZY_DEAD;
    for (uint32_t i = 0; i < z->state[s].n_place && z->rc == TERN_OK; i++) {
        tern_lazy_place p = z->place[z->state[s].place + i];
        if (!spend(z, 1))
            break;
        for (uint32_t e = n->first[p.node]; e < n->first[p.node + 1]; e++)
            if (n->edge[e].kind == TERN_NET_BYTES && c >= n->edge[e].lo && c <= n->edge[e].hi)
                reach(z, n->edge[e].to, p.stack);
    }
    uint32_t to = take_list(z);
    if (z->rc == TERN_OK)
        z->next[at] = to;
    return z->rc == TERN_OK ? to : TERN_LAZY_DEAD;
}

int tern_lazy_only(const tern_lazy *z, uint32_t s)
{
    const tern_net *n = z->net;
    int only = -1;
    if (z->state[s].may_end)
        return -1;
    for (uint32_t i = 0; i < z->state[s].n_place; i++) {
        uint32_t node = z->place[z->state[s].place + i].node;
        for (uint32_t e = n->first[node]; e < n->first[node + 1]; e++) {
            const tern_net_edge *x = &n->edge[e];
            if (x->kind != TERN_NET_BYTES)
                continue;
            if (x->lo != x->hi || (only >= 0 && only != x->lo))
                return -1;
            only = x->lo;
        }
    }
    return only;
}

/* ---- the whole ------------------------------------------------------------------------------- */

tern_code tern_lazy_why(const tern_lazy *z, tern_err *err)
{
    if (z->rc == TERN_E_NOMEM)
        return tern_fail(err, TERN_E_NOMEM, "grammar: out of memory");
    return tern_fail(
        err, TERN_E_LIMIT,
        "grammar: too ambiguous: one token needs more than %u million steps or %d ways "
        "to read the text so far",
        (unsigned)(TERN_LAZY_WORK / 1000000), TERN_LAZY_PLACES);
}

tern_code tern_lazy_init(tern_lazy *z, const tern_net *net, tern_err *err)
{
    *z = (tern_lazy){.net = net, .work = TERN_LAZY_WORK};
    if (reserve(z, (void **)&z->frame, 1, &z->cap_frame, sizeof *z->frame)) {
        z->frame[z->n_frame++] = (tern_lazy_frame){0};
        (void)add_state(z, NULL, 0, false);
        (void)add_state(z, NULL, 0, false);
        for (int i = 0; z->rc == TERN_OK && i < 2 * net->n_class; i++)
            z->next[i] = TERN_LAZY_DEAD;
        reach(z, net->rule[0].start, 0);
        z->start = take_list(z);
    }
    if (z->rc == TERN_OK)
        return TERN_OK;
    tern_code rc = tern_lazy_why(z, err);
    tern_lazy_done(z);
    return rc;
}

void tern_lazy_done(tern_lazy *z)
{
    tern_free(z->state);
    tern_free(z->place);
    tern_free(z->frame);
    tern_free(z->next);
    tern_free(z->state_table);
    tern_free(z->frame_table);
    tern_free(z->list);
    tern_free(z->seen);
    *z = (tern_lazy){0};
}

size_t tern_lazy_bytes(const tern_lazy *z)
{
    return z->cap_state * sizeof *z->state + z->cap_place * sizeof *z->place +
           z->cap_frame * sizeof *z->frame + z->cap_next * sizeof *z->next +
           (z->cap_state_table + z->cap_frame_table + z->cap_seen) * sizeof(uint32_t) +
           z->cap_list * sizeof *z->list;
}

/* A stack of another machine, from the bottom: at most TERN_LAZY_DEPTH deep. */
static uint32_t copy_stack(tern_lazy *z, const tern_lazy *from, uint32_t stack)
{
    uint32_t back[TERN_LAZY_DEPTH], n = 0, copy = 0;
    for (; stack; stack = from->frame[stack].under)
        back[n++] = from->frame[stack].back;
    while (n > 0 && z->rc == TERN_OK)
        copy = push(z, back[--n], copy);
    return copy;
}

uint32_t tern_lazy_copy(tern_lazy *z, const tern_lazy *from, uint32_t s)
{
    if (s <= TERN_LAZY_DEAD)
        return s;
    const tern_lazy_state *x = &from->state[s];
    for (uint32_t i = 0; i < x->n_place && z->rc == TERN_OK; i++) {
        const tern_lazy_place *p = &from->place[x->place + i];
        reach(z, p->node, copy_stack(z, from, p->stack));
    }
    uint32_t to = TERN_LAZY_DEAD;
    tern_lazy_place *p = z->list;
    size_t n = z->n_list;
    forget_list(z);
    if (z->rc == TERN_OK) {
        if (n)
            qsort(p, n, sizeof *p, by_place);
        to = intern(z, p, n, x->may_end);
    }
    return to;
}
