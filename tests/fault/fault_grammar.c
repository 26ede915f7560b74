/* Grammars while memory runs out: an error, and nothing leaks. */
#include "sample/grammar/gbnf.h"
#include "sample/grammar/matcher.h"
#include "sample/grammar/schema.h"
#include "support/fault.h"
#include "support/support.h"
#include "support/vocab.h"

#include <string.h>

static const char schema[] =
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"^x[0-9]+$\"},"
    "\"b\":{\"type\":\"integer\",\"minimum\":-3,\"maximum\":77},\"c\":{\"$ref\":\"#/$defs/l\"}},"
    "\"additionalProperties\":{\"enum\":[1,2.5]},\"$defs\":{\"l\":{\"type\":\"array\",\"items\":"
    "{\"$ref\":\"#/$defs/l\"}}}}";
static const char text[] = "{\"a\":\"x12\",\"b\":7,\"c\":[[],[[]]],\"d\":2.5}";

static tern_code follow(tern_grammar *g, const char *const *trigger, tern_err *err)
{
    tern_matcher *m;
    tern_allowed a;
    char must[8];
    tern_code rc = tern_matcher_new(g, trigger, trigger ? 1 : 0, true, &m, err);
    for (const char *p = text; rc == TERN_OK && *p; p++) {
        int32_t id = (uint8_t)*p;
        rc = tern_matcher_allowed(m, &a, err);
        if (rc == TERN_OK)
            rc = tern_matcher_accept(m, id, err);
        if (rc == TERN_OK)
            (void)tern_matcher_must(m, must, 8);
    }
    tern_matcher_free(m);
    return rc;
}

static tern_code use(void *ctx, tern_err *err)
{
    static const char *const trigger[] = {"never"};
    tern_trie *trie;
    tern_grammar *g = NULL;
    tern_net net = {0};
    tern_str rules;
    tern_str_init(&rules, TERN_GRAMMAR_TEXT);
    tern_code rc = tern_trie_new(ctx, &trie, err);
    if (rc == TERN_OK)
        rc = tern_schema_write(schema, strlen(schema), "root", &rules, err);
    if (rc == TERN_OK)
        rc = tern_gbnf_compile(tern_str_get(&rules), rules.len, &net, err);
    if (rc == TERN_OK)
        rc = tern_grammar_make(&net, trie, 0, &g, err);
    if (rc == TERN_OK)
        rc = follow(g, NULL, err);
    if (rc == TERN_OK)
        rc = follow(g, trigger, err);
    tern_grammar_free(g);
    tern_trie_free(trie);
    tern_str_done(&rules);
    return rc;
}

static void each_allocation(void **state)
{
    test_tokenizer tt;
    const test_vocab v = {
        .model = "gpt2", .pre = "gpt-2", .all_bytes = true, .tokens = "ab [[ ]] 12", .merges = ""};
    (void)state;
    assert_int_equal(test_tokenizer_make(&tt, &v, NULL, NULL), TERN_OK);
    assert_true(test_fault_sweep(use, tt.t, TEST_FAULT_ONCE, 20000) > 100);
    assert_true(test_fault_sweep(use, tt.t, TEST_FAULT_FROM, 20000) > 100);
    test_tokenizer_done(&tt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_allocation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
