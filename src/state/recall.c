#include "state/recall.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "state/seq.h"

/* Files read at a time: some ten milliseconds, for which others wait. */
#define MOST_FILES 32
/* Texts handed to the shelf before they are waited for, when all ends. */
#define AT_A_TIME 8

static void reclaim(void *ctx, size_t most)
{
    tern_recall *r = ctx;
    tern_prefix_reclaim(&r->tree, most);
    if (r->budget->used > most && r->shelf)
        tern_shelf_give_up(r->shelf);
}

tern_code tern_recall_init(tern_recall *r, tern_budget *budget, const tern_shelf_opts *shelf,
                           tern_err *err)
{
    *r = (tern_recall){.budget = budget, .ops = tern_seq_states(budget)};
    TERN_TRY(tern_prefix_init(&r->tree, &r->ops, err));
    r->budget->reclaim = reclaim;
    r->budget->ctx = r;
    if (!shelf)
        return TERN_OK;
    tern_shelf_opts o = *shelf;
    o.ops = &r->ops;
    r->max_disk = o.max_bytes;
    return tern_shelf_open(&o, &r->shelf, err);
}

static int whole(const tern_recall *r, int n)
{
    return n / r->ops.grain * r->ops.grain;
}

/* See that ids[0..n) are on the shelf, and stay there. */
static void put_on_shelf(tern_recall *r, uint64_t owner, const int32_t *ids, int n,
                         const void *state)
{
    if (!r->shelf || n <= 0)
        return;
    bool there = tern_shelf_find(r->shelf, owner, ids, 0, n) == n;
    void *own = there ? NULL : r->ops.share(r->ops.ctx, state, n);
    if (there || own)
        tern_shelf_keep(r->shelf, owner, ids, n, own);
}

/* ---- uses ----------------------------------------------------------------------------------- */

static void look_on_shelf(tern_recall *r, tern_recall_use *u, const int32_t *ids, int n,
                          void *state, int *have)
{
    int n0 = whole(r, *have), to = tern_shelf_find(r->shelf, u->owner, ids, n0, n);
    u->more = to > n0 + MOST_FILES * r->ops.grain;
    if (to <= *have)
        return;
    *have = tern_shelf_load(r->shelf, u->owner, ids, n0, n, MOST_FILES, state);
    tern_prefix_insert(&r->tree, u->owner, ids, r->ops.resume(state, *have), state, &u->pin);
}

int tern_recall_begin(tern_recall *r, tern_recall_use *u, uint64_t owner, const int32_t *ids, int n,
                      int n_keep, void *state)
{
    *u = (tern_recall_use){.owner = owner, .n_keep = n_keep};
    int found = tern_prefix_find(&r->tree, owner, ids, n, state, 0, &u->pin), have = found;
    if (r->shelf)
        look_on_shelf(r, u, ids, n, state, &have);
    if (whole(r, found) > 0 || have > found)
        put_on_shelf(r, owner, ids, have > found ? have : whole(r, found), state);
    return have;
}

int tern_recall_follow(tern_recall *r, tern_recall_use *u, const int32_t *ids, int n, void *state,
                       int n_have)
{
    int have = tern_prefix_find(&r->tree, u->owner, ids, n, state, n_have, &u->pin);
    if (u->more)
        look_on_shelf(r, u, ids, n, state, &have);
    return have;
}

void tern_recall_grow(tern_recall *r, tern_recall_use *u, const int32_t *ids, int n,
                      const void *state)
{
    int to = r->ops.resume(state, whole(r, n));
    if (to > tern_prefix_pinned(&u->pin))
        tern_prefix_insert(&r->tree, u->owner, ids, to, state, &u->pin);
    if (u->n_keep > 0 && u->n_keep <= n && !u->keep_done) {
        u->keep_done = true;
        put_on_shelf(r, u->owner, ids, r->ops.resume(state, u->n_keep), state);
    }
}

void tern_recall_end(tern_recall *r, tern_recall_use *u, const int32_t *ids, int n,
                     const void *state)
{
    if (ids)
        tern_prefix_insert(&r->tree, u->owner, ids, r->ops.resume(state, n), state, &u->pin);
    tern_prefix_unpin(&r->tree, &u->pin);
}

void tern_recall_forget(tern_recall *r, uint64_t owner, const int32_t *ids, int n)
{
    int left = tern_prefix_forget(&r->tree, owner, ids, n);
    if (r->shelf && left < n)
        tern_shelf_forget(r->shelf, owner, ids, left, n);
}

size_t tern_recall_kept_bytes(const tern_recall *r)
{
    return r->budget->kept + r->tree.own_bytes;
}

void tern_recall_collect(tern_recall *r)
{
    if (r->shelf)
        tern_shelf_collect(r->shelf);
}

/* ---- the end -------------------------------------------------------------------------------- */

static void save_leaf(tern_recall *r, const tern_prefix_node *leaf, uint64_t *bytes)
{
    int n = r->ops.resume(leaf->state, whole(r, leaf->end));
    int32_t *ids = n > 0 ? tern_alloc((size_t)leaf->end * sizeof *ids) : NULL;
    if (!ids)
        return;
    uint64_t owner = tern_prefix_path(leaf, ids);
    *bytes += tern_statefile_bytes(&r->ops, leaf->state, 0, n);
    put_on_shelf(r, owner, ids, n, leaf->state);
    tern_free(ids);
}

/* What was used last, within half of what the folder may hold. */
static void save_hottest(tern_recall *r, double wait_s)
{
    uint64_t begin = tern_clock_ns(), bytes = 0;
    int n = 0;
    r->budget->limit = SIZE_MAX; /* nothing is given up while the list is gone through */
    for (const tern_prefix_node *node = r->tree.newest; node && bytes < r->max_disk / 2;
         node = node->older) {
        double left = wait_s - (double)(tern_clock_ns() - begin) * 1e-9;
        if (left <= 0)
            break;
        if (!node->state)
            continue;
        save_leaf(r, node, &bytes);
        if (++n % AT_A_TIME == 0)
            tern_shelf_flush(r->shelf, left);
    }
    double left = wait_s - (double)(tern_clock_ns() - begin) * 1e-9;
    tern_shelf_flush(r->shelf, left);
}

void tern_recall_done(tern_recall *r, double wait_s)
{
    if (r->shelf) {
        save_hottest(r, wait_s);
        tern_shelf_close(r->shelf, 0);
    }
    tern_prefix_done(&r->tree);
    *r = (tern_recall){0};
}
