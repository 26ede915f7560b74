/* Grammars of tern.h: every kind becomes text in one notation, which is compiled for the model's
 * vocabulary. */
#include "base/error.h"
#include "engine/engine.h"
#include "sample/grammar/gbnf.h"

/* The vocabulary's trie, made for the first grammar. */
static tern_code find_trie(const tern_model *m, const tern_trie **out, tern_err *err)
{
    tern_model *own = (tern_model *)(uintptr_t)m; /* what is const is the model's meaning */
    tern_code rc = TERN_OK;
    pthread_mutex_lock(&own->trie_mu);
    if (!own->trie)
        rc = tern_trie_new(own->tok, &own->trie, err);
    *out = own->trie;
    pthread_mutex_unlock(&own->trie_mu);
    return rc;
}

static tern_code compile(tern_grammar_kind kind, const char *text, size_t n, tern_net *net,
                         tern_err *err)
{
    switch (kind) {
    case TERN_GRAMMAR_GBNF:
        return tern_gbnf_compile(text, n, net, err);
    default:
        return tern_fail(err, TERN_E_USAGE, "grammar: there is no kind %d", (int)kind);
    }
}

tern_code tern_grammar_new(const tern_model *m, tern_grammar_kind kind, const char *text, size_t n,
                           tern_grammar **out, tern_err *err)
{
    const tern_trie *trie;
    tern_net net;
    *out = NULL;
    TERN_TRY(compile(kind, text, n, &net, err));
    tern_code rc = find_trie(m, &trie, err);
    if (rc != TERN_OK) {
        tern_net_done(&net);
        return rc;
    }
    return tern_grammar_make(&net, trie, 0, out, err);
}
