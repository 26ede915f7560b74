#include "sample/grammar/trie.h"

#include "base/alloc.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

bool tern_trie_has(const tern_trie *t, int32_t id)
{
    tern_token_attr a = tern_token_attr_get(t->tok, id);
    return (a == TERN_TOKEN_NORMAL || a == TERN_TOKEN_USER || a == TERN_TOKEN_BYTE) &&
           !tern_token_is_eog(t->tok, id) && tern_token_bytes(t->tok, id).n > 0;
}

typedef struct entry {
    const char *p;
    size_t n;
    int32_t id;
} entry;

static int in_order(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    if (c != 0)
        return c;
    if (x->n != y->n)
        return x->n < y->n ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static size_t shared(const entry *a, const entry *b)
{
    size_t n = 0;
    while (n < a->n && n < b->n && a->p[n] == b->p[n])
        n++;
    return n;
}

static entry *list_tokens(tern_trie *t, uint32_t *n_eog)
{
    entry *v = tern_calloc((size_t)t->n_vocab + 1, sizeof *v);
    *n_eog = 0;
    for (int32_t id = 0; v && id < t->n_vocab; id++) {
        *n_eog += tern_token_is_eog(t->tok, id);
        if (!tern_trie_has(t, id))
            continue;
        tern_slice s = tern_token_bytes(t->tok, id);
        v[t->n_id++] = (entry){(const char *)s.p, s.n, id};
    }
    if (v)
        qsort(v, t->n_id, sizeof *v, in_order);
    return v;
}

/* Each token adds the bytes that it does not share with the one before. A node that only leads on begins
 * with the same token as the node behind it, so it has none. */
static void fill(tern_trie *t, const entry *v, uint32_t *open)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n_id; i++) {
        size_t from = i ? shared(&v[i - 1], &v[i]) : 0;
        t->id[i] = v[i].id;
        for (size_t k = from; i > 0 && k < v[i - 1].n; k++)
            t->node[open[k]].end = n;
        for (size_t k = from; k < v[i].n; k++) {
            t->node[n] = (tern_trie_node){
                .token = i, .depth = (uint16_t)(k + 1), .byte = (uint8_t)v[i].p[k]};
            open[k] = n++;
        }
    }
    for (size_t k = 0; t->n_id > 0 && k < v[t->n_id - 1].n; k++)
        t->node[open[k]].end = n;
    t->node[n] = (tern_trie_node){.token = t->n_id};
}

static tern_code make(tern_trie *t, const entry *v, uint32_t n_eog, tern_err *err)
{
    size_t n_node = 0;
    for (uint32_t i = 0; i < t->n_id; i++) {
        n_node += v[i].n - (i ? shared(&v[i - 1], &v[i]) : 0);
        if (v[i].n > (size_t)t->max_depth)
            t->max_depth = (int)v[i].n;
    }
    if (n_node >= UINT32_MAX || t->max_depth > UINT16_MAX)
        return tern_fail(err, TERN_E_LIMIT, "grammar: the vocabulary has too much text");
    uint32_t *open = tern_calloc((size_t)t->max_depth + 1, sizeof *open);
    t->n_node = (uint32_t)n_node;
    t->node = tern_calloc(n_node + 1, sizeof *t->node);
    t->id = tern_calloc((size_t)t->n_id + 1, sizeof *t->id);
    t->eog = tern_calloc((size_t)n_eog + 1, sizeof *t->eog);
    if (open && t->node && t->id && t->eog) {
        fill(t, v, open);
        for (int32_t id = 0; id < t->n_vocab; id++)
            if (tern_token_is_eog(t->tok, id))
                t->eog[t->n_eog++] = id;
    }
    bool ok = open && t->node && t->id && t->eog;
    tern_free(open);
    return ok ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "grammar: out of memory");
}

tern_code tern_trie_new(const tern_tokenizer *tok, tern_trie **out, tern_err *err)
{
    uint32_t n_eog = 0;
    *out = NULL;
    tern_trie *t = tern_calloc(1, sizeof *t);
    if (!t)
        return tern_fail(err, TERN_E_NOMEM, "grammar: out of memory");
    t->tok = tok;
    t->n_vocab = tern_tokenizer_info_get(tok)->n_vocab;
    entry *v = list_tokens(t, &n_eog);
    tern_code rc =
        v ? make(t, v, n_eog, err) : tern_fail(err, TERN_E_NOMEM, "grammar: out of memory");
    tern_free(v);
    if (rc != TERN_OK) {
        tern_trie_free(t);
        return rc;
    }
    *out = t;
    return TERN_OK;
}

void tern_trie_free(tern_trie *t)
{
    if (!t)
        return;
    tern_free(t->node);
    tern_free(t->id);
    tern_free(t->eog);
    tern_free(t);
}
