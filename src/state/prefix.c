#include "state/prefix.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"

#include <string.h>

/* The tree's own bytes for a node: itself, its place in the table, a state's head, what the heap adds. */
#define NODE_BYTES (sizeof(tern_prefix_node) + 256)
#define FIRST_CAP  64

/* ---- the table ----------------------------------------------------------------------------- */

static tern_prefix_node **place_of(const tern_prefix *t, uint64_t parent, uint64_t key)
{
    uint64_t h[2] = {parent, key};
    return &t->table[tern_hash64(h, sizeof h, 0) & (t->cap - 1)];
}

/* Serials begin at 1: roots have the parent 0. */
static uint64_t parent_serial(const tern_prefix_node *node)
{
    return node->parent ? node->parent->serial : 0;
}

static tern_prefix_node *child_of(const tern_prefix *t, const tern_prefix_node *parent,
                                  uint64_t key)
{
    tern_prefix_node *c = *place_of(t, parent ? parent->serial : 0, key);
    while (c && (c->parent != parent || c->key != key))
        c = c->next;
    return c;
}

static void table_add(tern_prefix *t, tern_prefix_node *node)
{
    tern_prefix_node **at = place_of(t, parent_serial(node), node->key);
    node->next = *at;
    *at = node;
}

static void table_remove(tern_prefix *t, tern_prefix_node *node)
{
    tern_prefix_node **at = place_of(t, parent_serial(node), node->key);
    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
}

/* Without memory places are shared by more nodes. */
static void table_grow(tern_prefix *t)
{
    size_t cap = t->cap, more = 2 * cap;
    if (t->n_node <= cap)
        return;
    tern_prefix_node **old = t->table, **table = tern_calloc(more, sizeof(tern_prefix_node *));
    if (!table)
        return;
    t->table = table;
    t->cap = more;
    for (size_t i = 0; i < cap; i++)
        for (tern_prefix_node *n = old[i], *next; n; n = next) {
            next = n->next;
            table_add(t, n);
        }
    tern_free(old);
}

/* ---- the list by last use, and pins --------------------------------------------------------- */

static void list_remove(tern_prefix *t, tern_prefix_node *n)
{
    *(n->newer ? &n->newer->older : &t->newest) = n->older;
    *(n->older ? &n->older->newer : &t->oldest) = n->newer;
    n->newer = n->older = NULL;
}

static void list_add(tern_prefix *t, tern_prefix_node *n)
{
    n->newer = NULL;
    n->older = t->newest;
    *(n->older ? &n->older->newer : &t->oldest) = n;
    t->newest = n;
}

static void sibling_remove(tern_prefix_node *n)
{
    if (!n->parent)
        return;
    *(n->left ? &n->left->right : &n->parent->child) = n->right;
    if (n->right)
        n->right->left = n->left;
    n->left = n->right = NULL;
}

static void sibling_add(tern_prefix_node *n)
{
    if (!n->parent)
        return;
    n->right = n->parent->child;
    if (n->right)
        n->right->left = n;
    n->parent->child = n;
}

static void pin_node(tern_prefix *t, tern_prefix_node *node)
{
    for (tern_prefix_node *n = node; n; n = n->parent) {
        if (n->n_pin++ == 0)
            list_remove(t, n);
        sibling_remove(n);
        sibling_add(n);
    }
}

/* From below, so that each comes to stand before its descendants. */
static void unpin_node(tern_prefix *t, tern_prefix_node *node)
{
    for (tern_prefix_node *n = node; n; n = n->parent)
        if (--n->n_pin == 0)
            list_add(t, n);
}

static void move_pin(tern_prefix *t, tern_prefix_pin *pin, tern_prefix_node *to)
{
    pin_node(t, to);
    if (pin->node)
        unpin_node(t, pin->node);
    pin->node = to;
}

void tern_prefix_unpin(tern_prefix *t, tern_prefix_pin *pin)
{
    if (pin->node)
        unpin_node(t, pin->node);
    pin->node = NULL;
}

int tern_prefix_pinned(const tern_prefix_pin *pin)
{
    return pin->node ? pin->node->end : 0;
}

/* ---- nodes --------------------------------------------------------------------------------- */

/* Memory is taken before anything is looked up: taking may remove nodes that are not pinned. */
static tern_prefix_node *node_new(tern_prefix *t, const int32_t *ids, int n)
{
    size_t bytes = NODE_BYTES + (size_t)n * sizeof *ids;
    if (!tern_budget_take(t->ops->budget, bytes))
        return NULL;
    tern_prefix_node *node = tern_calloc(1, sizeof *node);
    int32_t *copy = tern_alloc((size_t)n * sizeof *ids);
    if (!node || !copy) {
        tern_free(node);
        tern_free(copy);
        tern_budget_give(t->ops->budget, bytes);
        return NULL;
    }
    if (n)
        memcpy(copy, ids, (size_t)n * sizeof *ids);
    node->ids = copy;
    node->cap = n;
    node->serial = ++t->serial;
    t->own_bytes += bytes;
    t->n_node++;
    table_grow(t);
    return node;
}

static void node_free(tern_prefix *t, tern_prefix_node *node)
{
    size_t bytes = NODE_BYTES + (size_t)node->cap * sizeof *node->ids;
    if (node->state)
        t->ops->free(node->state);
    tern_free(node->ids);
    tern_free(node);
    tern_budget_give(t->ops->budget, bytes);
    t->own_bytes -= bytes;
    t->n_node--;
}

static void link_child(tern_prefix *t, tern_prefix_node *parent, tern_prefix_node *node)
{
    node->parent = parent;
    table_add(t, node);
    sibling_add(node);
}

static bool ids_reserve(tern_prefix *t, tern_prefix_node *node, int n)
{
    if (n <= node->cap)
        return true;
    int cap = n > INT32_MAX / 2 ? n : n + n / 4 + 16;
    size_t added = (size_t)(cap - node->cap) * sizeof *node->ids;
    if (!tern_budget_take(t->ops->budget, added))
        return false;
    int32_t *p = tern_realloc(node->ids, (size_t)node->cap * sizeof *p, (size_t)cap * sizeof *p);
    if (!p) {
        tern_budget_give(t->ops->budget, added);
        return false;
    }
    node->ids = p;
    node->cap = cap;
    t->own_bytes += added;
    return true;
}

/* The tokens of a pinned node before position `at`, which is inside it, become a node above it, pinned as
 * it is. NULL: no memory. */
static tern_prefix_node *split(tern_prefix *t, tern_prefix_node *node, int at)
{
    int n = at - node->begin;
    tern_prefix_node *upper = node_new(t, node->ids, n);
    if (!upper)
        return NULL;
    upper->begin = node->begin;
    upper->end = at;
    upper->key = node->key;
    upper->n_pin = node->n_pin;
    table_remove(t, node);
    sibling_remove(node);
    link_child(t, node->parent, upper);
    memmove(node->ids, node->ids + n, (size_t)(node->end - at) * sizeof *node->ids);
    node->begin = at;
    node->key = (uint32_t)node->ids[0];
    link_child(t, upper, node);
    return upper;
}

static tern_prefix_node *root_of(tern_prefix *t, uint64_t owner)
{
    tern_prefix_node *root = child_of(t, NULL, owner);
    if (root)
        return root;
    root = node_new(t, NULL, 0);
    if (!root)
        return NULL;
    root->key = owner;
    link_child(t, NULL, root);
    list_add(t, root);
    return root;
}

/* ---- giving up ------------------------------------------------------------------------------ */

/* The leaf's tokens are gone; its state may serve the parent that now is one. */
static void remove_leaf(tern_prefix *t, tern_prefix_node *leaf)
{
    tern_prefix_node *parent = leaf->parent;
    list_remove(t, leaf);
    table_remove(t, leaf);
    sibling_remove(leaf);
    if (parent && parent->parent && !parent->child) {
        parent->state = leaf->state;
        leaf->state = NULL;
    }
    node_free(t, leaf);
}

static void give_up_piece(tern_prefix *t, tern_prefix_node *leaf)
{
    int n = leaf->state ? t->ops->shorten(leaf->state, leaf->begin) : leaf->begin;
    if (n > leaf->begin)
        leaf->end = n < leaf->end ? n : leaf->end;
    else
        remove_leaf(t, leaf);
}

void tern_prefix_reclaim(tern_prefix *t, size_t most)
{
    while (t->ops->budget->used > most && t->oldest)
        give_up_piece(t, t->oldest);
}

static void reclaim(void *ctx, size_t most)
{
    tern_prefix_reclaim(ctx, most);
}

/* ---- finding -------------------------------------------------------------------------------- */

/* How far ids[at..n) go along the node's tokens. */
static int common(const tern_prefix_node *node, const int32_t *ids, int at, int n)
{
    int most = node->end - node->begin, i = 0;
    most = n - at < most ? n - at : most;
    while (i < most && node->ids[i] == ids[at + i])
        i++;
    return i;
}

/* The last node on the way of ids from node on; *at: tokens that agree, inside it or at its end. */
static tern_prefix_node *walk(const tern_prefix *t, tern_prefix_node *node, const int32_t *ids,
                              int n, int *at)
{
    *at = node->end;
    while (*at == node->end && *at < n) {
        tern_prefix_node *c = child_of(t, node, (uint32_t)ids[*at]);
        if (!c)
            break;
        *at += common(c, ids, *at, n);
        node = c;
    }
    return node;
}

const tern_prefix_node *tern_prefix_leaf(const tern_prefix_node *node)
{
    while (node->child)
        node = node->child;
    return node;
}

uint64_t tern_prefix_path(const tern_prefix_node *node, int32_t *ids)
{
    for (; node->parent; node = node->parent)
        memcpy(ids + node->begin, node->ids, (size_t)(node->end - node->begin) * sizeof *ids);
    return node->key;
}

/* Move the pin to position `at` of the pinned node, or above it without memory. */
static void pin_inside(tern_prefix *t, tern_prefix_pin *pin, int at)
{
    if (at == pin->node->end)
        return;
    tern_prefix_node *upper = split(t, pin->node, at);
    move_pin(t, pin, upper ? upper : pin->node->parent);
}

static bool make_pin(tern_prefix *t, uint64_t owner, tern_prefix_pin *pin)
{
    tern_prefix_node *root = pin->node ? pin->node : root_of(t, owner);
    if (root && !pin->node)
        move_pin(t, pin, root);
    return root != NULL;
}

int tern_prefix_find(tern_prefix *t, uint64_t owner, const int32_t *ids, int n, void *into,
                     int n_have, tern_prefix_pin *pin)
{
    int at;
    if (!make_pin(t, owner, pin))
        return n_have;
    tern_prefix_node *node = walk(t, pin->node, ids, n, &at);
    /* Nothing the list could lose is looked at once memory is taken. */
    tern_prefix_pin leaf = {0};
    tern_prefix_node *deepest = node;
    while (deepest->child)
        deepest = deepest->child;
    int to = deepest->state ? t->ops->resume(deepest->state, at) : 0;
    if (to <= n_have || to <= pin->node->end)
        return n_have;
    while (to <= node->begin)
        node = node->parent;
    move_pin(t, &leaf, deepest);
    move_pin(t, pin, node);
    bool ok = t->ops->extend(into, deepest->state, to);
    pin_inside(t, pin, to);
    tern_prefix_unpin(t, &leaf);
    return ok ? to : n_have;
}

int tern_prefix_forget(tern_prefix *t, uint64_t owner, const int32_t *ids, int n)
{
    int at;
    tern_prefix_node *node = child_of(t, NULL, owner);
    if (!node)
        return 0;
    node = walk(t, node, ids, n, &at);
    while (node->end == at && node->parent && !node->child && node->n_pin == 0) {
        tern_prefix_node *parent = node->parent;
        remove_leaf(t, node);
        node = parent;
        at = node->end;
    }
    return at;
}

/* ---- keeping -------------------------------------------------------------------------------- */

/* A leaf that only this pin uses grows; else a new one does. */
static void add_tokens(tern_prefix *t, const int32_t *ids, int n, const void *from,
                       tern_prefix_pin *pin)
{
    tern_prefix_node *at = pin->node;
    int more = n - at->end;
    if (at->state && at->n_pin == 1) {
        if (!ids_reserve(t, at, n - at->begin) || !t->ops->extend(at->state, from, n))
            return;
        memcpy(at->ids + (at->end - at->begin), ids + at->end, (size_t)more * sizeof *ids);
        at->end = n;
        return;
    }
    tern_prefix_node *node = node_new(t, ids + at->end, more);
    if (!node)
        return;
    node->state = t->ops->share(t->ops->ctx, from, n);
    if (!node->state) {
        node_free(t, node);
        return;
    }
    node->begin = at->end;
    node->end = n;
    node->key = (uint32_t)node->ids[0];
    link_child(t, at, node);
    list_add(t, node);
    move_pin(t, pin, node);
    if (at->state) /* the leaf below has it all */
        t->ops->free(at->state);
    at->state = NULL;
}

void tern_prefix_insert(tern_prefix *t, uint64_t owner, const int32_t *ids, int n, const void *from,
                        tern_prefix_pin *pin)
{
    int at;
    if (!make_pin(t, owner, pin) || n <= pin->node->end)
        return;
    tern_prefix_node *node = walk(t, pin->node, ids, n, &at);
    move_pin(t, pin, node);
    pin_inside(t, pin, at);
    if (pin->node->end == at && at < n)
        add_tokens(t, ids, n, from, pin);
}

/* ---- the tree ------------------------------------------------------------------------------- */

tern_code tern_prefix_init(tern_prefix *t, const tern_states *ops, tern_err *err)
{
    *t = (tern_prefix){.ops = ops, .cap = FIRST_CAP};
    t->table = tern_calloc(t->cap, sizeof(tern_prefix_node *));
    if (!t->table)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the prefix cache");
    ops->budget->reclaim = reclaim;
    ops->budget->ctx = t;
    return TERN_OK;
}

void tern_prefix_done(tern_prefix *t)
{
    if (!t->table)
        return;
    while (t->oldest)
        remove_leaf(t, t->oldest);
    tern_free(t->table);
    t->ops->budget->reclaim = NULL;
    *t = (tern_prefix){0};
}
