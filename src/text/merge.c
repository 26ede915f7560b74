#include "text/merge.h"
#include "base/alloc.h"
#include "base/error.h"

struct tern_merge_pair {
    uint64_t key; /* rank, then the left symbol's index: the order of joining */
    uint32_t len; /* of both together when the pair was seen */
    int32_t id;   /* of the whole */
};

void tern_merge_init(tern_merge *m)
{
    *m = (tern_merge){0};
}

void tern_merge_done(tern_merge *m)
{
    tern_free(m->sym);
    tern_free(m->heap);
    *m = (tern_merge){0};
}

static tern_code no_memory(size_t n, tern_err *err)
{
    return tern_fail(err, TERN_E_NOMEM, "no memory to tokenise a word of %zu symbols", n);
}

tern_code tern_merge_reset(tern_merge *m, size_t n, tern_err *err)
{
    m->n_sym = 0;
    m->n_heap = 0;
    if (n <= m->cap_sym)
        return TERN_OK;
    size_t cap = n < 64 ? 64 : n;
    tern_free(m->sym);
    m->cap_sym = 0;
    m->sym = tern_calloc(cap, sizeof *m->sym);
    if (!m->sym)
        return no_memory(n, err);
    m->cap_sym = cap;
    return TERN_OK;
}

void tern_merge_push(tern_merge *m, size_t at, size_t len, int32_t id)
{
    m->sym[m->n_sym++] = (tern_symbol){.at = (uint32_t)at, .len = (uint32_t)len, .id = id};
}

/* The heap has four children to a node, and they share one cache line: slot i stands at i + 3, so
 * that the children 4i+1 .. 4i+4 begin at a multiple of 4. */
#define CHILDREN 4u
#define SHIFT    3u

/* Put x into the hole at i, moving up what is smaller below it. */
static void sift_down(tern_merge_pair *h, size_t n, size_t i, tern_merge_pair x)
{
    h += SHIFT;
    for (;;) {
        size_t first = CHILDREN * i + 1;
        if (first >= n)
            break;
        size_t end = first + CHILDREN < n ? first + CHILDREN : n, best = first;
        for (size_t c = first + 1; c < end; c++)
            if (h[c].key < h[best].key)
                best = c;
        if (h[best].key >= x.key)
            break;
        h[i] = h[best];
        i = best;
    }
    h[i] = x;
}

/* Put x into the hole at i, moving down what is greater above it. */
static void sift_up(tern_merge_pair *h, size_t i, tern_merge_pair x)
{
    h += SHIFT;
    while (i) {
        size_t parent = (i - 1) / CHILDREN;
        if (h[parent].key <= x.key)
            break;
        h[i] = h[parent];
        i = parent;
    }
    h[i] = x;
}

static tern_merge_pair pop(tern_merge *m)
{
    tern_merge_pair top = m->heap[SHIFT];
    if (--m->n_heap)
        sift_down(m->heap, m->n_heap, 0, m->heap[m->n_heap + SHIFT]);
    return top;
}

static bool heap_room(tern_merge *m)
{
    if (m->n_heap + SHIFT < m->cap_heap)
        return true;
    size_t cap = m->cap_heap ? 2 * m->cap_heap : 64;
    tern_merge_pair *h = tern_realloc(m->heap, m->cap_heap * sizeof *h, cap * sizeof *h);
    if (!h)
        return false;
    m->heap = h;
    m->cap_heap = cap;
    return true;
}

/* Note the pair that symbol l begins, if it may be joined; false when memory is exhausted. The caller
 * restores the heap's order. */
static bool note(tern_merge *m, uint32_t l, tern_merge_rule rule, const void *ctx, bool *added)
{
    *added = false;
    if (l == TERN_SYMBOL_NONE || m->sym[l].next == TERN_SYMBOL_NONE)
        return true;
    const tern_symbol *a = &m->sym[l], *b = &m->sym[a->next];
    uint32_t rank;
    int32_t id;
    if (!rule(ctx, a, b, &rank, &id))
        return true;
    if (!heap_room(m))
        return false;
    m->heap[m->n_heap++ + SHIFT] = (tern_merge_pair){(uint64_t)rank << 32 | l, a->len + b->len, id};
    *added = true;
    return true;
}

static bool note_ordered(tern_merge *m, uint32_t l, tern_merge_rule rule, const void *ctx)
{
    bool added;
    if (!note(m, l, rule, ctx, &added))
        return false;
    if (added)
        sift_up(m->heap, m->n_heap - 1, m->heap[m->n_heap - 1 + SHIFT]);
    return true;
}

/* Symbols only grow and a joined one has length 0, so a pair is as it was seen exactly when its
 * length still is. */
static bool is_current(const tern_merge *m, const tern_merge_pair *p)
{
    const tern_symbol *l = &m->sym[(uint32_t)p->key];
    return l->len && l->next != TERN_SYMBOL_NONE && l->len + m->sym[l->next].len == p->len;
}

tern_code tern_merge_run(tern_merge *m, tern_merge_rule rule, const void *ctx, tern_err *err)
{
    size_t n = m->n_sym;
    bool added;
    for (size_t i = 0; i < n; i++) {
        m->sym[i].prev = i ? (uint32_t)(i - 1) : TERN_SYMBOL_NONE;
        m->sym[i].next = i + 1 < n ? (uint32_t)(i + 1) : TERN_SYMBOL_NONE;
    }
    for (size_t i = 0; i < n; i++)
        if (!note(m, (uint32_t)i, rule, ctx, &added))
            return no_memory(n, err);
    for (size_t i = m->n_heap / CHILDREN + 1; i-- > 0;)
        if (i < m->n_heap)
            sift_down(m->heap, m->n_heap, i, m->heap[i + SHIFT]);
    while (m->n_heap) {
        tern_merge_pair p = pop(m);
        if (!is_current(m, &p))
            continue;
        uint32_t at = (uint32_t)p.key;
        tern_symbol *l = &m->sym[at], *r = &m->sym[l->next];
        l->len = p.len;
        l->id = p.id;
        l->next = r->next;
        r->len = 0;
        if (l->next != TERN_SYMBOL_NONE)
            m->sym[l->next].prev = at;
        if (!note_ordered(m, l->prev, rule, ctx) || !note_ordered(m, at, rule, ctx))
            return no_memory(n, err);
    }
    return TERN_OK;
}
