#include "sample/grammar/net.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/utf8.h"

#include <string.h>

void tern_net_done(tern_net *n)
{
    tern_free(n->first);
    tern_free(n->edge);
    tern_free(n->rule);
    tern_free(n->is_end);
    *n = (tern_net){0};
}

void tern_net_build_done(tern_net_build *b)
{
    tern_free(b->head);
    tern_free(b->next);
    tern_free(b->edge);
    tern_free(b->rule);
    *b = (tern_net_build){0};
}

/* Room for one more of an array of *cap elements. */
static bool grow(tern_net_build *b, void **v, uint32_t n, uint32_t *cap, size_t size)
{
    uint32_t want = *cap ? *cap * 2 : 64;
    void *p;
    if (n < *cap)
        return !b->failed;
    p = b->failed || want > UINT32_MAX / 4 ? NULL : tern_realloc(*v, *cap * size, want * size);
    if (!p) {
        b->failed = true;
        return false;
    }
    *v = p;
    *cap = want;
    return true;
}

uint32_t tern_net_add_node(tern_net_build *b)
{
    if (b->n_node >= TERN_GRAMMAR_NODES) {
        b->full = true;
        return 0;
    }
    if (!grow(b, (void **)&b->head, b->n_node, &b->cap_node, sizeof *b->head))
        return 0;
    b->head[b->n_node] = 0;
    return b->n_node++;
}

uint32_t tern_net_add_rule(tern_net_build *b)
{
    if (!grow(b, (void **)&b->rule, b->n_rule, &b->cap_rule, sizeof *b->rule))
        return 0;
    uint32_t start = tern_net_add_node(b), end = tern_net_add_node(b);
    b->rule[b->n_rule] = (tern_net_rule){start, end};
    return b->n_rule++;
}

static void add_edge(tern_net_build *b, uint32_t from, tern_net_edge e)
{
    uint32_t cap = b->cap_edge;
    if (b->full || !grow(b, (void **)&b->edge, b->n_edge, &cap, sizeof *b->edge))
        return;
    if (!grow(b, (void **)&b->next, b->n_edge, &b->cap_edge, sizeof *b->next))
        return;
    b->edge[b->n_edge] = e;
    b->next[b->n_edge] = b->head[from];
    b->head[from] = ++b->n_edge;
}

void tern_net_add_empty(tern_net_build *b, uint32_t from, uint32_t to)
{
    add_edge(b, from, (tern_net_edge){.to = to, .kind = TERN_NET_EMPTY});
}

void tern_net_add_byte(tern_net_build *b, uint32_t from, uint32_t to, uint8_t lo, uint8_t hi)
{
    add_edge(b, from, (tern_net_edge){.to = to, .kind = TERN_NET_BYTES, .lo = lo, .hi = hi});
}

void tern_net_add_call(tern_net_build *b, uint32_t from, uint32_t to, uint32_t rule)
{
    add_edge(b, from, (tern_net_edge){.to = to, .rule = rule, .kind = TERN_NET_CALL});
}

/* ---- characters ------------------------------------------------------------------------------ */

/* Of one class: node[k] leads to `to` over any k continuation bytes. */
typedef struct tails {
    tern_net_build *b;
    uint32_t to, node[3];
    bool made[3];
} tails;

static uint32_t tail(tails *t, int k)
{
    if (k == 0)
        return t->to;
    if (!t->made[k - 1]) {
        uint32_t rest = tail(t, k - 1);
        t->node[k - 1] = tern_net_add_node(t->b);
        t->made[k - 1] = true;
        tern_net_add_byte(t->b, t->node[k - 1], rest, 0x80, 0xbf);
    }
    return t->node[k - 1];
}

static bool all_are(const uint8_t *p, int n, uint8_t v)
{
    for (int i = 0; i < n; i++)
        if (p[i] != v)
            return false;
    return true;
}

/* Sequences of n bytes from lo to hi, of one length. At most 3 levels deep. */
static void add_sequences(tails *t, uint32_t from, const uint8_t *lo, const uint8_t *hi, int n)
{
    static const uint8_t least[3] = {0x80, 0x80, 0x80}, most[3] = {0xbf, 0xbf, 0xbf};
    uint8_t first = lo[0], last = hi[0];
    if (n == 1) {
        tern_net_add_byte(t->b, from, t->to, first, last);
        return;
    }
    if (first == last && !(all_are(lo + 1, n - 1, 0x80) && all_are(hi + 1, n - 1, 0xbf))) {
        uint32_t mid = tern_net_add_node(t->b);
        tern_net_add_byte(t->b, from, mid, first, first);
        add_sequences(t, mid, lo + 1, hi + 1, n - 1);
        return;
    }
    if (!all_are(lo + 1, n - 1, 0x80)) {
        uint32_t mid = tern_net_add_node(t->b);
        tern_net_add_byte(t->b, from, mid, first, first);
        add_sequences(t, mid, lo + 1, most, n - 1);
        first++;
    }
    if (!all_are(hi + 1, n - 1, 0xbf)) {
        uint32_t mid = tern_net_add_node(t->b);
        tern_net_add_byte(t->b, from, mid, last, last);
        add_sequences(t, mid, least, hi + 1, n - 1);
        last--;
    }
    if (first <= last)
        tern_net_add_byte(t->b, from, tail(t, n - 1), first, last);
}

void tern_net_add_class(tern_net_build *b, uint32_t from, uint32_t to, const tern_net_span *s,
                        size_t n)
{
    /* borders of sequences of one length, the surrogates cut out */
    static const tern_net_span part[] = {
        {0, 0x7f}, {0x80, 0x7ff}, {0x800, 0xd7ff}, {0xe000, 0xffff}, {0x10000, 0x10ffff}};
    tails t = {.b = b, .to = to};
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < sizeof part / sizeof part[0]; k++) {
            uint32_t lo = s[i].lo > part[k].lo ? s[i].lo : part[k].lo;
            uint32_t hi = s[i].hi < part[k].hi ? s[i].hi : part[k].hi;
            char a[4], z[4];
            if (lo > hi)
                continue;
            int len = tern_utf8_encode(lo, a);
            (void)tern_utf8_encode(hi, z);
            add_sequences(&t, from, (const uint8_t *)a, (const uint8_t *)z, len);
        }
}

/* ---- checks ---------------------------------------------------------------------------------- */

/* Nodes are marked along edges, each once; a call waits in a list until its rule allows it. */
typedef struct check {
    const tern_net *n;
    uint32_t *from;    /* [n_edge]: whose edge it is */
    uint32_t *into;    /* [n_node]: edges that lead there, as a list of edge + 1 */
    uint32_t *next_in; /* [n_edge] */
    uint32_t *calls;   /* [n_rule]: calls of it, all or those that wait; the same */
    uint32_t *next_call;
    uint32_t *rule_at; /* [n_node]: rule + 1 that starts there */
    uint32_t *owner;   /* [n_node]: rule + 1 as whose part the node was marked; 0: it was not */
    uint32_t *todo;    /* [n_node]: marked nodes that were not looked at */
    uint32_t n_todo;
    void *block; /* owned: all of them */
} check;

static bool check_init(check *c, const tern_net *n)
{
    size_t node = n->n_node, edge = n->n_edge;
    uint32_t *p = tern_calloc(4 * node + 3 * edge + n->n_rule, sizeof *p);
    *c = (check){.n = n, .block = p};
    if (!p)
        return false;
    c->from = p;
    c->next_in = c->from + edge;
    c->next_call = c->next_in + edge;
    c->into = c->next_call + edge;
    c->rule_at = c->into + node;
    c->owner = c->rule_at + node;
    c->todo = c->owner + node;
    c->calls = c->todo + node;
    for (uint32_t i = 0; i < n->n_node; i++)
        for (uint32_t e = n->first[i]; e < n->first[i + 1]; e++)
            c->from[e] = i;
    for (uint32_t r = 0; r < n->n_rule; r++)
        c->rule_at[n->rule[r].start] = r + 1;
    return true;
}

static void mark(check *c, uint32_t node, uint32_t owner)
{
    if (c->owner[node])
        return;
    c->owner[node] = owner;
    c->todo[c->n_todo++] = node;
}

static void wait_for_rule(check *c, uint32_t e)
{
    uint32_t *list = &c->calls[c->n->edge[e].rule];
    c->next_call[e] = *list;
    *list = e + 1;
}

/* Mark the nodes from which the end of their rule can be reached. */
static void mark_ending(check *c)
{
    const tern_net *n = c->n;
    for (uint32_t e = 0; e < n->n_edge; e++) {
        c->next_in[e] = c->into[n->edge[e].to];
        c->into[n->edge[e].to] = e + 1;
        if (n->edge[e].kind == TERN_NET_CALL)
            wait_for_rule(c, e);
    }
    for (uint32_t r = 0; r < n->n_rule; r++)
        mark(c, n->rule[r].end, 1);
    while (c->n_todo) {
        uint32_t node = c->todo[--c->n_todo];
        for (uint32_t e = c->into[node]; e; e = c->next_in[e - 1]) {
            const tern_net_edge *x = &n->edge[e - 1];
            if (x->kind != TERN_NET_CALL || c->owner[n->rule[x->rule].start])
                mark(c, c->from[e - 1], 1);
        }
        uint32_t r = c->rule_at[node];
        for (uint32_t e = r ? c->calls[r - 1] : 0; e; e = c->next_call[e - 1])
            if (c->owner[n->edge[e - 1].to])
                mark(c, c->from[e - 1], 1);
    }
}

/* Mark the nodes that are reached from the start of their rule before anything is read. */
static void mark_beginning(check *c)
{
    const tern_net *n = c->n;
    for (uint32_t r = 0; r < n->n_rule; r++)
        mark(c, n->rule[r].start, r + 1);
    while (c->n_todo) {
        uint32_t node = c->todo[--c->n_todo], owner = c->owner[node];
        for (uint32_t e = n->first[node]; e < n->first[node + 1]; e++) {
            const tern_net_edge *x = &n->edge[e];
            if (x->kind == TERN_NET_EMPTY ||
                (x->kind == TERN_NET_CALL && c->owner[n->rule[x->rule].end]))
                mark(c, x->to, owner);
            else if (x->kind == TERN_NET_CALL)
                wait_for_rule(c, e);
        }
        if (!n->is_end[node])
            continue;
        /* the rule may read nothing: what waited for that goes on */
        for (uint32_t e = c->calls[owner - 1]; e; e = c->next_call[e - 1])
            mark(c, n->edge[e - 1].to, c->owner[c->from[e - 1]]);
        c->calls[owner - 1] = 0;
    }
}

/* A rule that calls itself before anything is read; n_rule: there is none. After mark_beginning: its lists
 * are used anew. */
static uint32_t find_left_recursion(check *c)
{
    const tern_net *n = c->n;
    uint32_t *at = c->next_in, *list = c->calls; /* calls that a rule begins with */
    uint8_t *state = (uint8_t *)c->into;         /* 0 new, 1 on the way, 2 done */
    uint32_t *way = c->todo;
    memset(list, 0, n->n_rule * sizeof *list);
    memset(state, 0, n->n_rule);
    for (uint32_t e = 0; e < n->n_edge; e++) {
        uint32_t owner = c->owner[c->from[e]];
        if (n->edge[e].kind == TERN_NET_CALL && owner) {
            at[e] = list[owner - 1];
            list[owner - 1] = e + 1;
        }
    }
    for (uint32_t r = 0; r < n->n_rule; r++) {
        uint32_t depth = 0;
        if (state[r])
            continue;
        way[depth++] = r;
        state[r] = 1;
        while (depth) {
            uint32_t top = way[depth - 1], e = list[top];
            if (!e) {
                state[top] = 2;
                depth--;
                continue;
            }
            list[top] = at[e - 1];
            uint32_t to = n->edge[e - 1].rule;
            if (state[to] == 1)
                return to;
            if (state[to] == 0) {
                state[to] = 1;
                way[depth++] = to;
            }
        }
    }
    return n->n_rule;
}

/* Edges that lead to no end go. */
static void prune(tern_net *n, const check *c)
{
    uint32_t kept = 0, e = 0;
    for (uint32_t i = 0; i < n->n_node; i++) {
        uint32_t end = n->first[i + 1];
        n->first[i] = kept;
        for (; e < end; e++) {
            const tern_net_edge *x = &n->edge[e];
            if (c->owner[x->to] && (x->kind != TERN_NET_CALL || c->owner[n->rule[x->rule].start]))
                n->edge[kept++] = *x;
        }
    }
    n->first[n->n_node] = n->n_edge = kept;
}

/* ---- finishing ------------------------------------------------------------------------------- */

/* Edges in order of their nodes, each node's as they were added. */
static bool order_edges(const tern_net_build *b, tern_net *n)
{
    uint32_t at = b->n_edge;
    n->first = tern_calloc((size_t)b->n_node + 1, sizeof *n->first);
    n->edge = tern_calloc((size_t)b->n_edge + 1, sizeof *n->edge);
    n->rule = tern_calloc((size_t)b->n_rule + 1, sizeof *n->rule);
    n->is_end = tern_calloc((size_t)b->n_node + 1, 1);
    if (!n->first || !n->edge || !n->rule || !n->is_end)
        return false;
    n->n_node = b->n_node;
    n->n_edge = b->n_edge;
    n->n_rule = b->n_rule;
    for (uint32_t i = b->n_node; i-- > 0;) {
        n->first[i + 1] = at;
        for (uint32_t e = b->head[i]; e; e = b->next[e - 1])
            n->edge[--at] = b->edge[e - 1];
    }
    memcpy(n->rule, b->rule, b->n_rule * sizeof *n->rule);
    for (uint32_t r = 0; r < b->n_rule; r++)
        n->is_end[b->rule[r].end] = 1;
    return true;
}

static void make_classes(tern_net *n)
{
    bool border[257] = {[0] = true};
    for (uint32_t e = 0; e < n->n_edge; e++)
        if (n->edge[e].kind == TERN_NET_BYTES)
            border[n->edge[e].lo] = border[n->edge[e].hi + 1] = true;
    n->n_class = 0;
    for (int i = 0; i < 256; i++) {
        if (border[i])
            n->class_byte[n->n_class++] = (uint8_t)i;
        n->class_of[i] = (uint8_t)(n->n_class - 1);
    }
}

static tern_code check_net(tern_net *n, const char *(*name_of)(void *ctx, uint32_t rule), void *ctx,
                           tern_err *err)
{
    tern_code rc = TERN_OK;
    check c;
    if (!check_init(&c, n))
        return tern_fail(err, TERN_E_NOMEM, "grammar: out of memory");
    mark_beginning(&c);
    uint32_t r = find_left_recursion(&c);
    tern_free(c.block);
    if (r < n->n_rule)
        return tern_fail(
            err, TERN_E_USAGE,
            "grammar: rule '%s' calls itself before it reads anything (left recursion)",
            name_of(ctx, r));
    if (!check_init(&c, n))
        return tern_fail(err, TERN_E_NOMEM, "grammar: out of memory");
    mark_ending(&c);
    if (!c.owner[n->rule[0].start])
        rc = tern_fail(err, TERN_E_USAGE, "grammar: no text satisfies rule '%s'", name_of(ctx, 0));
    prune(n, &c);
    tern_free(c.block);
    return rc;
}

tern_code tern_net_finish(tern_net_build *b, tern_net *out,
                          const char *(*name_of)(void *ctx, uint32_t rule), void *ctx,
                          tern_err *err)
{
    *out = (tern_net){0};
    if (b->full)
        return tern_fail(err, TERN_E_LIMIT, "grammar: too large: more than %u states",
                         (unsigned)TERN_GRAMMAR_NODES);
    if (b->failed || !order_edges(b, out)) {
        tern_net_done(out);
        return tern_fail(err, TERN_E_NOMEM, "grammar: out of memory");
    }
    tern_code rc = check_net(out, name_of, ctx, err);
    if (rc != TERN_OK) {
        tern_net_done(out);
        return rc;
    }
    make_classes(out);
    return TERN_OK;
}
