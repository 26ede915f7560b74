#include "sample/grammar/matcher.h"

#include "base/alloc.h"
#include "base/error.h"
#include "sample/grammar/lazy.h"

#include <pthread.h>
#include <string.h>

/* The allowed tokens of a state: their ids in rising order where they are few, else a bit for each id. */
typedef struct mask {
    uint32_t *v; /* owned */
    int n;
    bool few;
} mask;

struct tern_grammar {
    pthread_mutex_t mu;
    tern_net net;          /* owned */
    const tern_trie *trie; /* borrowed from the model */
    size_t n_word;         /* of a bit for each token */
    size_t cache_bytes;
    /* Guarded by mu. */
    int n_ref;
    tern_lazy lazy;
    mask *mask; /* owned; [n_mask] */
    size_t n_mask, cap_mask, mask_bytes;
    uint32_t *bits; /* owned; [n_word]: scratch */
    uint32_t *way;  /* owned; [max_depth + 1]: scratch, states along a token */
    tern_matcher *users;
};

/* Where a trigger is looked for: node k has been reached by the longest end of the text that begins one
 * (Aho and Corasick 1975). */
typedef struct trigger_node {
    uint16_t next[256];
    bool hit;        /* a trigger ends here */
    bool known, all; /* what may come next is known; it is everything, else */
    uint32_t *bits;  /* owned; this */
    int n;
} trigger_node;

struct tern_matcher {
    tern_grammar *g; /* a reference */
    tern_matcher *prev, *next;
    uint32_t state; /* guarded by g->mu, as it is renumbered there: to `moved` */
    uint32_t moved;
    bool may_stop;
    bool waits;         /* for a trigger: `at` counts, not state */
    trigger_node *node; /* owned; [n_node] */
    int n_node, at;
    uint32_t *bits; /* owned; [n_word] */
};

/* ---- a grammar ------------------------------------------------------------------------------- */

static void destroy(tern_grammar *g)
{
    for (size_t i = 0; i < g->n_mask; i++)
        tern_free(g->mask[i].v);
    tern_free(g->mask);
    tern_free(g->bits);
    tern_free(g->way);
    tern_lazy_done(&g->lazy);
    tern_net_done(&g->net);
    (void)pthread_mutex_destroy(&g->mu);
    tern_free(g);
}

const tern_trie *tern_grammar_trie(const tern_grammar *g)
{
    return g->trie;
}

tern_code tern_grammar_make(tern_net *net, const tern_trie *trie, size_t cache_bytes,
                            tern_grammar **out, tern_err *err)
{
    *out = NULL;
    tern_grammar *g = tern_calloc(1, sizeof *g);
    if (!g) {
        tern_net_done(net);
        return tern_fail(err, TERN_E_NOMEM, "grammar: out of memory");
    }
    (void)pthread_mutex_init(&g->mu, NULL);
    g->net = *net;
    *net = (tern_net){0};
    g->trie = trie;
    g->n_ref = 1;
    g->n_word = ((size_t)trie->n_vocab + 31) / 32;
    g->cache_bytes = cache_bytes ? cache_bytes : TERN_GRAMMAR_CACHE;
    g->bits = tern_calloc(g->n_word + 1, sizeof *g->bits);
    g->way = tern_calloc((size_t)trie->max_depth + 1, sizeof *g->way);
    tern_code rc = tern_lazy_init(&g->lazy, &g->net, err);
    if (rc == TERN_OK && (!g->bits || !g->way))
        rc = tern_fail(err, TERN_E_NOMEM, "grammar: out of memory");
    if (rc != TERN_OK) {
        destroy(g);
        return rc;
    }
    *out = g;
    return TERN_OK;
}

static void release(tern_grammar *g)
{
    pthread_mutex_lock(&g->mu);
    bool last = --g->n_ref == 0;
    pthread_mutex_unlock(&g->mu);
    if (last)
        destroy(g);
}

void tern_grammar_free(tern_grammar *g)
{
    if (g)
        release(g);
}

/* Forget all states but those that answers are in, and all masks, when they take too much. On failure all
 * stays as it is. */
static void make_room(tern_grammar *g)
{
    tern_lazy fresh;
    if (tern_lazy_bytes(&g->lazy) + g->mask_bytes <= g->cache_bytes ||
        tern_lazy_init(&fresh, &g->net, NULL) != TERN_OK)
        return;
    fresh.work = UINT64_MAX;
    for (tern_matcher *m = g->users; m && fresh.rc == TERN_OK; m = m->next)
        m->moved = tern_lazy_copy(&fresh, &g->lazy, m->state);
    if (fresh.rc != TERN_OK) {
        tern_lazy_done(&fresh);
        return;
    }
    for (tern_matcher *m = g->users; m; m = m->next)
        m->state = m->moved;
    fresh.work = g->lazy.work;
    tern_lazy_done(&g->lazy);
    g->lazy = fresh;
    for (size_t i = 0; i < g->n_mask; i++)
        tern_free(g->mask[i].v);
    g->n_mask = 0;
    g->mask_bytes = 0;
}

/* ---- masks ----------------------------------------------------------------------------------- */

static inline int set_tokens(const tern_trie *t, uint32_t node, uint32_t *bits)
{
    uint32_t i = t->node[node].token, end = t->node[node + 1].token;
    for (uint32_t k = i; k < end; k++)
        bits[(uint32_t)t->id[k] / 32] |= 1u << (uint32_t)t->id[k] % 32;
    return (int)(end - i);
}

/* Set the bits of tokens that may follow state s; how many. g->lazy.rc tells of a failure. */
static int walk(tern_grammar *g, uint32_t s, uint32_t *bits)
{
    const tern_trie *t = g->trie;
    const uint8_t *class_of = g->net.class_of;
    size_t n_class = (size_t)g->net.n_class;
    const uint32_t *next = g->lazy.next;
    uint32_t *way = g->way;
    int n = 0;
    way[0] = s;
    for (uint32_t i = 0; i < t->n_node;) {
        const tern_trie_node *x = &t->node[i];
        uint32_t from = way[x->depth - 1], to = next[from * n_class + class_of[x->byte]];
        if (to == TERN_LAZY_UNKNOWN) {
            to = tern_lazy_step(&g->lazy, from, x->byte);
            next = g->lazy.next;
            if (g->lazy.rc != TERN_OK)
                return 0;
        }
        if (to == TERN_LAZY_DEAD) {
            i = x->end;
            continue;
        }
        way[x->depth] = to;
        n += set_tokens(t, i, bits);
        i++;
    }
    return n;
}

static bool keep_mask(tern_grammar *g, const uint32_t *bits, int n, uint32_t *out)
{
    mask k = {.n = n, .few = (size_t)n < g->n_word};
    size_t words = k.few ? (size_t)n : g->n_word, at = 0;
    if (g->n_mask == g->cap_mask) {
        size_t cap = g->cap_mask ? 2 * g->cap_mask : 64;
        mask *p = tern_realloc(g->mask, g->cap_mask * sizeof *p, cap * sizeof *p);
        if (!p)
            return false;
        g->mask = p;
        g->cap_mask = cap;
    }
    k.v = tern_alloc((words + 1) * sizeof *k.v);
    if (!k.v)
        return false;
    for (size_t w = 0; k.few && w < g->n_word; w++)
        for (uint32_t b = bits[w]; b; b &= b - 1)
            k.v[at++] = (uint32_t)(w * 32) + (uint32_t)__builtin_ctz(b);
    if (!k.few)
        memcpy(k.v, bits, words * sizeof *bits);
    g->mask[g->n_mask++] = k;
    g->mask_bytes += words * sizeof *bits + sizeof k;
    *out = (uint32_t)g->n_mask;
    return true;
}

/* The mask of state s, made if need be; NULL: memory is exhausted, or g->lazy.rc says why not. */
static const mask *mask_of(tern_grammar *g, uint32_t s)
{
    if (!g->lazy.state[s].mask) {
        uint32_t number;
        memset(g->bits, 0, g->n_word * sizeof *g->bits);
        int n = walk(g, s, g->bits);
        if (g->lazy.rc != TERN_OK || !keep_mask(g, g->bits, n, &number))
            return NULL;
        g->lazy.state[s].mask = number;
    }
    return &g->mask[g->lazy.state[s].mask - 1];
}

/* ---- triggers -------------------------------------------------------------------------------- */

/* A node for each beginning of a trigger; node 0 for none. Gives the number of nodes. */
static int add_triggers(trigger_node *node, const char *const *trigger, size_t n)
{
    int n_node = 1;
    for (size_t i = 0; i < n; i++) {
        int at = 0;
        for (const char *p = trigger[i]; *p; p++) {
            uint16_t *next = &node[at].next[(uint8_t)*p];
            if (!*next)
                *next = (uint16_t)n_node++;
            at = *next;
        }
        node[at].hit = true;
    }
    return n_node;
}

/* Fill in what happens where no trigger goes on: the longest end of the text that begins one counts. */
static void link_triggers(trigger_node *node, int n_node, uint16_t *fail, uint16_t *queue)
{
    int begin = 0, end = 0;
    for (int c = 0; c < 256; c++)
        if (node[0].next[c])
            queue[end++] = node[0].next[c];
    (void)n_node;
    while (begin < end) {
        uint16_t at = queue[begin++];
        node[at].hit |= node[fail[at]].hit;
        for (int c = 0; c < 256; c++) {
            uint16_t to = node[at].next[c], other = node[fail[at]].next[c];
            if (to) {
                fail[to] = other;
                queue[end++] = to;
            } else {
                node[at].next[c] = other;
            }
        }
    }
}

static tern_code make_triggers(tern_matcher *m, const char *const *trigger, size_t n, tern_err *err)
{
    size_t n_byte = 0;
    if (n > TERN_GRAMMAR_TRIGGERS)
        return tern_fail(err, TERN_E_USAGE, "grammar: %zu triggers, expected at most %d", n,
                         TERN_GRAMMAR_TRIGGERS);
    for (size_t i = 0; i < n; i++) {
        size_t len = trigger[i] ? strlen(trigger[i]) : 0;
        if (len < 1 || len > TERN_GRAMMAR_TRIGGER_BYTES)
            return tern_fail(err, TERN_E_USAGE,
                             "grammar: trigger %zu has %zu bytes, expected 1..%d", i + 1, len,
                             TERN_GRAMMAR_TRIGGER_BYTES);
        n_byte += len;
    }
    m->node = tern_calloc(n_byte + 1, sizeof *m->node);
    uint16_t *scratch = tern_calloc(2 * (n_byte + 1), sizeof *scratch);
    if (m->node && scratch) {
        m->n_node = add_triggers(m->node, trigger, n);
        link_triggers(m->node, m->n_node, scratch, scratch + n_byte + 1);
        m->waits = true;
    }
    tern_free(scratch);
    return m->waits ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "grammar: out of memory");
}

/* Where an answer is within a token: it waits for a trigger at node `state`, or not. */
typedef struct place {
    bool waits;
    uint32_t state;
} place;

static place step(tern_matcher *m, place p, uint8_t c)
{
    if (!p.waits) {
        p.state = tern_lazy_next(&m->g->lazy, p.state, c);
        return p;
    }
    p.state = m->node[p.state].next[c];
    if (m->node[p.state].hit)
        return (place){.state = m->g->lazy.start};
    return p;
}

/* While a trigger is waited for: everything but tokens that contain one and go on as the grammar forbids. */
static bool free_mask(tern_matcher *m, trigger_node *node)
{
    tern_grammar *g = m->g;
    const tern_trie *t = g->trie;
    bool all = true;
    place *way = tern_calloc((size_t)t->max_depth + 1, sizeof *way);
    node->bits = tern_alloc((g->n_word + 1) * sizeof *node->bits);
    if (!way || !node->bits) {
        tern_free(way);
        tern_free(node->bits);
        node->bits = NULL;
        return false;
    }
    memset(node->bits, 0xff, g->n_word * sizeof *node->bits);
    node->n = t->n_vocab;
    way[0] = (place){.waits = true, .state = (uint32_t)m->at};
    for (uint32_t i = 0; i < t->n_node && g->lazy.rc == TERN_OK;) {
        const tern_trie_node *x = &t->node[i];
        place to = step(m, way[x->depth - 1], x->byte);
        way[x->depth] = to;
        i++;
        if (to.waits || to.state != TERN_LAZY_DEAD)
            continue;
        i = x->end;
        for (uint32_t k = x->token; k < t->node[i].token; k++, node->n--)
            node->bits[(uint32_t)t->id[k] / 32] &= ~(1u << (uint32_t)t->id[k] % 32);
        all = false;
    }
    tern_free(way);
    node->known = g->lazy.rc == TERN_OK;
    node->all = all;
    if (all || !node->known) {
        tern_free(node->bits);
        node->bits = NULL;
    }
    return node->known;
}

/* ---- an answer ------------------------------------------------------------------------------- */

tern_code tern_matcher_new(tern_grammar *g, const char *const *trigger, size_t n, bool may_stop,
                           tern_matcher **out, tern_err *err)
{
    *out = NULL;
    tern_matcher *m = tern_calloc(1, sizeof *m);
    if (!m)
        return tern_fail(err, TERN_E_NOMEM, "grammar: out of memory");
    m->may_stop = may_stop;
    m->bits = tern_calloc(g->n_word + 1, sizeof *m->bits);
    tern_code rc = m->bits ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "grammar: out of memory");
    if (rc == TERN_OK && n)
        rc = make_triggers(m, trigger, n, err);
    if (rc != TERN_OK) {
        tern_matcher_free(m);
        return rc;
    }
    pthread_mutex_lock(&g->mu);
    g->n_ref++;
    m->g = g;
    m->state = g->lazy.start;
    m->next = g->users;
    if (m->next)
        m->next->prev = m;
    g->users = m;
    pthread_mutex_unlock(&g->mu);
    *out = m;
    return TERN_OK;
}

void tern_matcher_free(tern_matcher *m)
{
    if (!m)
        return;
    if (m->g) {
        pthread_mutex_lock(&m->g->mu);
        *(m->prev ? &m->prev->next : &m->g->users) = m->next;
        if (m->next)
            m->next->prev = m->prev;
        pthread_mutex_unlock(&m->g->mu);
        release(m->g);
    }
    for (int i = 0; i < m->n_node; i++)
        tern_free(m->node[i].bits);
    tern_free(m->node);
    tern_free(m->bits);
    tern_free(m);
}

/* The lock is held from here to unlock(), with a budget of work. */
static void lock(tern_matcher *m)
{
    pthread_mutex_lock(&m->g->mu);
    m->g->lazy.work = TERN_LAZY_WORK;
    m->g->lazy.rc = TERN_OK;
}

static void unlock(tern_matcher *m)
{
    pthread_mutex_unlock(&m->g->mu);
}

static tern_code why(const tern_grammar *g, tern_err *err)
{
    if (g->lazy.rc != TERN_OK)
        return tern_lazy_why(&g->lazy, err);
    return tern_fail(err, TERN_E_NOMEM, "grammar: out of memory");
}

/* The mask of m's state into m->bits. The lock is held. */
static tern_code fetch(tern_matcher *m, tern_allowed *out, tern_err *err)
{
    tern_grammar *g = m->g;
    const mask *k = mask_of(g, m->state);
    bool may_end = g->lazy.state[m->state].may_end;
    if (!k)
        return why(g, err);
    if (k->few) {
        memset(m->bits, 0, g->n_word * sizeof *m->bits);
        for (int i = 0; i < k->n; i++)
            m->bits[k->v[i] / 32] |= 1u << k->v[i] % 32;
    } else {
        memcpy(m->bits, k->v, g->n_word * sizeof *m->bits);
    }
    *out = (tern_allowed){.bits = m->bits, .n = k->n};
    if (may_end && m->may_stop)
        for (uint32_t i = 0; i < g->trie->n_eog; i++, out->n++)
            m->bits[(uint32_t)g->trie->eog[i] / 32] |= 1u << (uint32_t)g->trie->eog[i] % 32;
    out->over = out->n == 0 && may_end;
    if (out->n == 0 && !may_end)
        return tern_fail(err, TERN_E_UNSUPPORTED,
                         "grammar: no token of the model's vocabulary can come next");
    return TERN_OK;
}

tern_code tern_matcher_allowed(tern_matcher *m, tern_allowed *out, tern_err *err)
{
    tern_code rc = TERN_OK;
    *out = (tern_allowed){.n = m->g->trie->n_vocab};
    trigger_node *node = m->waits ? &m->node[m->at] : NULL;
    if (node && node->all)
        return TERN_OK;
    lock(m);
    make_room(m->g);
    if (!node)
        rc = fetch(m, out, err);
    else if (!node->known && !free_mask(m, node))
        rc = why(m->g, err);
    else if (!node->all)
        *out = (tern_allowed){.bits = node->bits, .n = node->n};
    unlock(m);
    return rc;
}

/* Where m is after id; state TERN_LAZY_DEAD: it may not come. The lock is held. */
static place after(tern_matcher *m, place p, int32_t id)
{
    const tern_trie *t = m->g->trie;
    bool text = id >= 0 && id < t->n_vocab && tern_trie_has(t, id);
    if (id < 0 || id >= t->n_vocab)
        return (place){.state = TERN_LAZY_DEAD};
    if (!text && !p.waits) { /* it ends the answer or may not come */
        if (!m->g->lazy.state[p.state].may_end || !m->may_stop || !tern_token_is_eog(t->tok, id))
            p.state = TERN_LAZY_DEAD;
        return p;
    }
    tern_slice s = tern_token_bytes(t->tok, id);
    for (size_t i = 0; i < s.n && (p.waits || p.state != TERN_LAZY_DEAD); i++)
        p = step(m, p, (uint8_t)s.p[i]);
    return p;
}

static place here(const tern_matcher *m)
{
    return (place){m->waits, m->waits ? (uint32_t)m->at : m->state};
}

tern_code tern_matcher_accept(tern_matcher *m, int32_t id, tern_err *err)
{
    tern_code rc = TERN_OK;
    lock(m);
    place p = after(m, here(m), id);
    if (!p.waits && p.state == TERN_LAZY_DEAD) {
        rc = m->g->lazy.rc != TERN_OK
                 ? why(m->g, err)
                 : tern_fail(err, TERN_E_USAGE, "grammar: token %d may not come here", id);
    } else {
        m->waits = p.waits;
        m->at = p.waits ? (int)p.state : 0;
        m->state = p.waits ? m->state : p.state;
    }
    unlock(m);
    return rc;
}

bool tern_matcher_is_over(tern_matcher *m)
{
    lock(m);
    bool over = !m->waits && tern_lazy_is_over(&m->g->lazy, m->state);
    unlock(m);
    return over;
}

int tern_matcher_agrees(tern_matcher *m, const int32_t *ids, int n)
{
    int i = 0;
    lock(m);
    for (place p = here(m); i < n; i++) {
        p = after(m, p, ids[i]);
        if (!p.waits && p.state == TERN_LAZY_DEAD)
            break;
    }
    unlock(m);
    return i;
}

int tern_matcher_must(tern_matcher *m, char *bytes, int cap)
{
    int n = 0, c;
    lock(m);
    uint32_t s = m->state;
    while (!m->waits && n < cap && s != TERN_LAZY_DEAD &&
           (c = tern_lazy_only(&m->g->lazy, s)) >= 0) {
        bytes[n++] = (char)c;
        s = tern_lazy_next(&m->g->lazy, s, (uint8_t)c);
    }
    unlock(m);
    return n;
}
