#include "decode/ngram.h"
#include "base/alloc.h"
#include "base/error.h"

#include <string.h>

#define FIRST_CAP 256u

static int32_t id_at(const tern_ngram *g, uint32_t pos)
{
    return g->ids[pos & (g->cap - 1)];
}

/* First of the two slots for the n tokens that end the text. Four lengths share the table; each token
 * makes at most one entry of each, and there are four slots per token. */
static uint32_t *slots_of(const tern_ngram *g, uint32_t n)
{
    uint64_t h = n;
    for (uint32_t i = 1; i <= n; i++)
        h = (h ^ (uint32_t)id_at(g, g->n_tok - i)) * 0x9e3779b97f4a7c15u;
    return &g->next[(uint32_t)(h >> 32) & (4 * g->cap - 2)];
}

/* Tokens before position pos that equal those at the end of the text, as far as both are kept. */
static int agreement(const tern_ngram *g, uint32_t pos)
{
    uint32_t oldest = g->n_tok > g->cap ? g->n_tok - g->cap : 0;
    int n = 0;
    if (pos < oldest) /* overwritten since */
        return 0;
    while (n < TERN_NGRAM_LONGEST && pos - oldest > (uint32_t)n &&
           id_at(g, pos - 1 - (uint32_t)n) == id_at(g, g->n_tok - 1 - (uint32_t)n))
        n++;
    return n;
}

/* Enter the last n tokens, and note the place where they stood before if it agrees for longer than the
 * one noted. Other tokens may hold both slots: then the older entry makes way. */
static void enter(tern_ngram *g, uint32_t n)
{
    uint32_t *slot = slots_of(g, n), *mine = slot[0] <= slot[1] ? &slot[0] : &slot[1];
    for (int i = 0; i < 2; i++) {
        /* Lengths that share a slot may have written this very place just now. */
        int same = slot[i] && slot[i] != g->n_tok ? agreement(g, slot[i]) : 0;
        if (same >= (int)n)
            mine = &slot[i];
        if (same >= (int)n && same > g->n_match) {
            g->found = slot[i];
            g->n_match = same;
        }
    }
    *mine = g->n_tok;
}

static void index_end(tern_ngram *g)
{
    g->found = 0;
    g->n_match = 0;
    for (uint32_t n = 4; n >= TERN_NGRAM_LEAST; n--)
        if (n <= g->n_tok)
            enter(g, n);
}

static bool allocate(tern_ngram *g, uint32_t cap)
{
    int32_t *ids = tern_calloc(cap, sizeof *ids);
    uint32_t *next = tern_calloc(4 * (size_t)cap, sizeof *next);
    if (!ids || !next) {
        tern_free(ids);
        tern_free(next);
        return false;
    }
    tern_free(g->ids);
    tern_free(g->next);
    g->ids = ids;
    g->next = next;
    g->cap = cap;
    return true;
}

tern_code tern_ngram_init(tern_ngram *g, tern_err *err)
{
    *g = (tern_ngram){0};
    if (!allocate(g, FIRST_CAP))
        return tern_fail(err, TERN_E_NOMEM, "drafts: out of memory");
    return TERN_OK;
}

void tern_ngram_done(tern_ngram *g)
{
    tern_free(g->ids);
    tern_free(g->next);
    *g = (tern_ngram){0};
}

static void append(tern_ngram *g, int32_t id)
{
    g->ids[g->n_tok++ & (g->cap - 1)] = id;
    index_end(g);
}

/* Twice the room; the tokens are entered again. */
static void grow(tern_ngram *g)
{
    tern_ngram old = *g;
    g->ids = NULL;
    g->next = NULL;
    if (!allocate(g, 2 * old.cap)) {
        *g = old;
        return;
    }
    g->n_tok = 0;
    for (uint32_t i = 0; i < old.n_tok; i++)
        append(g, old.ids[i]);
    tern_ngram_done(&old);
}

void tern_ngram_push(tern_ngram *g, int32_t id)
{
    if (g->n_tok == g->cap && g->cap < TERN_NGRAM_MAX)
        grow(g);
    if (g->n_tok == UINT32_MAX) { /* positions are used up: begin anew */
        memset(g->next, 0, 4 * (size_t)g->cap * sizeof *g->next);
        g->n_tok = 0;
    }
    append(g, id);
}

int tern_ngram_draft(const tern_ngram *g, int32_t *ids, int n)
{
    if (!g->found)
        return 0;
    for (int i = 0; i < n; i++) {
        uint32_t pos = g->found + (uint32_t)i;
        ids[i] = pos < g->n_tok ? id_at(g, pos) : ids[pos - g->n_tok]; /* it repeats itself */
    }
    return n;
}
