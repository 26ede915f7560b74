/* Grammars of tern.h: every kind becomes text in one notation, which is compiled for the model's
 * vocabulary. */
#include "base/error.h"
#include "engine/engine.h"
#include "sample/grammar/choice.h"
#include "sample/grammar/gbnf.h"
#include "sample/grammar/regex.h"
#include "sample/grammar/schema.h"

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

static tern_code regex_rule(const char *text, size_t n, tern_str *out, tern_err *err)
{
    tern_str_puts(out, "root ::= ");
    return tern_regex_to_gbnf(text, n, &(tern_regex_opts){0}, out, err);
}

static tern_code compile(tern_grammar_kind kind, const char *text, size_t n, tern_net *net,
                         tern_err *err)
{
    tern_str rules;
    tern_code rc;
    tern_str_init(&rules, TERN_GRAMMAR_TEXT);
    switch (kind) {
    case TERN_GRAMMAR_GBNF:
        return tern_gbnf_compile(text, n, net, err);
    case TERN_GRAMMAR_JSON_SCHEMA:
        rc = tern_schema_write(text, n, "root", &rules, err);
        break;
    case TERN_GRAMMAR_REGEX:
        rc = regex_rule(text, n, &rules, err);
        break;
    case TERN_GRAMMAR_CHOICE:
        rc = tern_choice_write(text, n, &rules, err);
        break;
    default:
        return tern_fail(err, TERN_E_USAGE, "grammar: there is no kind %d", (int)kind);
    }
    if (rc == TERN_OK)
        rc = tern_gbnf_compile(tern_str_get(&rules), rules.len, net, err);
    tern_str_done(&rules);
    return rc;
}

tern_code tern_grammar_new(const tern_model *m, tern_grammar_kind kind, const char *text, size_t n,
                           tern_grammar **out, tern_err *err)
{
    const tern_trie *trie;
    tern_net net = {0};
    *out = NULL;
    TERN_TRY(compile(kind, text, n, &net, err));
    tern_code rc = find_trie(m, &trie, err);
    if (rc != TERN_OK) {
        tern_net_done(&net);
        return rc;
    }
    return tern_grammar_make(&net, trie, 0, out, err);
}

tern_code tern_schema_to_gbnf(const char *schema, size_t n, const char *prefix, char **gbnf,
                              tern_err *err)
{
    tern_str rules;
    *gbnf = NULL;
    tern_str_init(&rules, TERN_GRAMMAR_TEXT);
    tern_code rc = tern_schema_write(schema, n, prefix, &rules, err);
    if (rc == TERN_OK && !(*gbnf = tern_str_take(&rules)))
        rc = tern_fail(err, TERN_E_NOMEM, "schema: out of memory");
    tern_str_done(&rules);
    return rc;
}

int tern_matcher_forced(tern_matcher *m, const tern_tokenizer *tok, int32_t *ids, int cap)
{
    char text[64];
    tern_ids list = {0};
    int n = 0;
    if (tern_tokenizer_pads(tok)) /* it would put a space before them */
        return 0;
    int n_text = tern_matcher_must(m, text, sizeof text);
    if (n_text > 0 &&
        tern_tokenize(tok, text, (size_t)n_text, false, false, &list, NULL) == TERN_OK)
        for (; n < cap && (size_t)n < list.n; n++)
            ids[n] = list.v[n];
    tern_ids_done(&list);
    return n;
}
