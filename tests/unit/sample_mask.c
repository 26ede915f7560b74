/* Which tokens may come: llguidance's masks for the same grammars and tokens (tests/golden/grammar/make.py),
 * with a cache that keeps hardly anything too; triggers; and what the sampler makes of a mask. */
#include "base/alloc.h"
#include "sample/grammar/gbnf.h"
#include "sample/grammar/matcher.h"
#include "sample/grammar/regex.h"
#include "support/support.h"
#include "support/vocab.h"
#include "text/vocab.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct fixture {
    json_t *v;
    test_tokenizer tt;
    tern_trie *trie;
    int32_t end;
    bool skip[512]; /* tokens whose bits the masks do not tell */
} fixture;

static unsigned digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static unsigned byte_at(const char *hex, size_t i)
{
    return digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]);
}

/* The tokens behind the 256 bytes, spelled as a byte-level vocabulary does. */
static void spell_tokens(json_t *list, tern_str *words, tern_str *types)
{
    size_t n = json_array_size(list);
    for (size_t i = 256; i < n; i++) {
        const char *hex = json_string_value(json_array_get(list, i));
        bool last = i + 1 == n;
        tern_str_puts(words, i > 256 ? " " : "");
        for (size_t k = 0; hex[2 * k]; k++) {
            char utf8[2];
            int len = tern_byte_spell((uint8_t)byte_at(hex, k), utf8);
            for (int b = 0; b < len; b++)
                tern_str_printf(words, "\\x%02x", (unsigned)(uint8_t)utf8[b]);
        }
        tern_str_puts(types, last ? " 3" : i > 256 ? " 1" : "1");
    }
}

static void open_fixture(fixture *f)
{
    json_error_t why;
    tern_err err = {0};
    char keys[64];
    tern_str words, types;
    json_t *id;
    size_t i;
    *f = (fixture){0};
    f->v = json_load_file("tests/golden/grammar/masks.json", 0, &why);
    if (!f->v)
        fail_msg("%s", why.text);
    f->end = (int32_t)json_integer_value(json_object_get(f->v, "end"));
    assert_true(f->end < 512);
    json_array_foreach(json_object_get(f->v, "skip"), i, id) f->skip[json_integer_value(id)] = true;
    tern_str_init(&words, 1 << 16);
    tern_str_init(&types, 1 << 16);
    spell_tokens(json_object_get(f->v, "tokens"), &words, &types);
    (void)snprintf(keys, sizeof keys, "eos_token_id=u32:%d", f->end);
    test_vocab v = {.model = "gpt2",
                    .pre = "gpt-2",
                    .all_bytes = true,
                    .tokens = tern_str_get(&words),
                    .types = tern_str_get(&types),
                    .merges = "",
                    .keys = keys};
    if (test_tokenizer_make(&f->tt, &v, NULL, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    tern_str_done(&words);
    tern_str_done(&types);
    assert_int_equal(tern_trie_new(f->tt.t, &f->trie, NULL), TERN_OK);
}

static void close_fixture(fixture *f)
{
    tern_trie_free(f->trie);
    test_tokenizer_done(&f->tt);
    json_decref(f->v);
}

static tern_grammar *compile(const fixture *f, const char *kind, const char *text, size_t cache)
{
    tern_net net;
    tern_grammar *g = NULL;
    tern_str rules;
    tern_err err = {0};
    tern_str_init(&rules, 1 << 16);
    if (strcmp(kind, "regex") == 0) {
        tern_str_puts(&rules, "root ::= ");
        assert_int_equal(
            tern_regex_to_gbnf(text, strlen(text), &(tern_regex_opts){0}, &rules, &err), TERN_OK);
    } else {
        tern_str_puts(&rules, text);
    }
    if (tern_gbnf_compile(tern_str_get(&rules), rules.len, &net, &err) != TERN_OK ||
        tern_grammar_make(&net, f->trie, cache, &g, &err) != TERN_OK)
        fail_msg("%s: %s", text, err.msg);
    tern_str_done(&rules);
    return g;
}

static bool has(const tern_allowed *a, int32_t id)
{
    return !a->bits || (a->bits[id / 32] >> id % 32 & 1);
}

/* Every mask of a walk; and every token alone is agreed to just when its bit is set. */
static void follow(const fixture *f, tern_grammar *g, json_t *walk, const char *text)
{
    json_t *ids = json_object_get(walk, "ids"), *masks = json_object_get(walk, "masks"), *v;
    tern_matcher *m;
    tern_err err = {0};
    size_t i;
    assert_int_equal(tern_matcher_new(g, NULL, 0, true, &m, &err), TERN_OK);
    json_array_foreach(masks, i, v)
    {
        tern_allowed a;
        int n = 0;
        if (tern_matcher_allowed(m, &a, &err) != TERN_OK)
            fail_msg("%s: step %zu: %s", text, i, err.msg);
        for (int32_t id = 0; id <= f->end; id++) {
            bool want = f->skip[id] ? has(&a, id)
                                    : byte_at(json_string_value(v), (size_t)id / 8) >> id % 8 & 1;
            n += want;
            if (has(&a, id) != want)
                fail_msg("%s: step %zu: token %d, expected %d", text, i, id, want);
            assert_int_equal(tern_matcher_agrees(m, &id, 1), want);
        }
        assert_int_equal(a.n, n);
        assert_false(a.over);
        if (i < json_array_size(ids))
            assert_int_equal(
                tern_matcher_accept(m, (int32_t)json_integer_value(json_array_get(ids, i)), &err),
                TERN_OK);
    }
    tern_matcher_free(m);
}

static void masks_of_others(void **state)
{
    static const size_t caches[] = {0, 1}; /* 1: all is made anew at each token */
    fixture f;
    json_t *row, *walk;
    size_t i, k, n = 0;
    (void)state;
    open_fixture(&f);
    for (size_t c = 0; c < 2; c++)
        json_array_foreach(json_object_get(f.v, "grammars"), i, row)
        {
            const char *text = json_string_value(json_object_get(row, "text"));
            tern_grammar *g =
                compile(&f, json_string_value(json_object_get(row, "kind")), text, caches[c]);
            json_array_foreach(json_object_get(row, "walks"), k, walk)
            {
                follow(&f, g, walk, text);
                n += json_array_size(json_object_get(walk, "masks"));
            }
            tern_grammar_free(g);
        }
    assert_true(n > 1000);
    close_fixture(&f);
}

static void accept_bytes(tern_matcher *m, const char *text)
{
    for (; *text; text++)
        assert_int_equal(tern_matcher_accept(m, (uint8_t)*text, NULL), TERN_OK);
}

static int32_t token(const fixture *f, const char *text)
{
    for (int32_t id = f->end; id-- > 0;) {
        tern_slice s = tern_token_bytes(f->tt.t, id);
        if (s.n == strlen(text) && memcmp(s.p, text, s.n) == 0)
            return id;
    }
    fail_msg("no token '%s'", text);
    return -1;
}

static void the_end(void **state)
{
    fixture f;
    tern_matcher *m;
    tern_allowed a;
    tern_err err = {0};
    (void)state;
    open_fixture(&f);
    tern_grammar *g = compile(&f, "gbnf", "root ::= \"ab\" \"c\"?", 0);
    assert_int_equal(tern_matcher_new(g, NULL, 0, true, &m, NULL), TERN_OK);
    assert_int_equal(tern_matcher_allowed(m, &a, NULL), TERN_OK);
    assert_int_equal(a.n, 3); /* a, ab, abc */
    assert_int_equal(tern_matcher_accept(m, 'x', &err), TERN_E_USAGE);
    assert_int_equal(tern_matcher_accept(m, f.end, &err), TERN_E_USAGE);
    assert_int_equal(tern_matcher_accept(m, -1, &err), TERN_E_USAGE);
    assert_int_equal(tern_matcher_accept(m, f.end + 1, &err), TERN_E_USAGE);
    char must[8];
    assert_int_equal(tern_matcher_must(m, must, 8), 2);
    assert_memory_equal(must, "ab", 2);
    int32_t ids[] = {token(&f, "ab"), 'c', 'c'};
    assert_int_equal(tern_matcher_agrees(m, ids, 3), 2);
    accept_bytes(m, "ab");
    assert_false(tern_matcher_is_over(m));
    assert_int_equal(tern_matcher_allowed(m, &a, NULL), TERN_OK);
    assert_int_equal(a.n, 2); /* c, the end */
    assert_int_equal(tern_matcher_must(m, must, 8), 0);
    accept_bytes(m, "c");
    assert_true(tern_matcher_is_over(m));
    assert_int_equal(tern_matcher_allowed(m, &a, NULL), TERN_OK);
    assert_int_equal(a.n, 1);
    assert_true(has(&a, f.end));
    tern_matcher_free(m);
    /* who may not stop is over instead */
    assert_int_equal(tern_matcher_new(g, NULL, 0, false, &m, NULL), TERN_OK);
    accept_bytes(m, "abc");
    assert_int_equal(tern_matcher_allowed(m, &a, NULL), TERN_OK);
    assert_true(a.over);
    tern_grammar_free(g); /* the matcher keeps it */
    assert_true(tern_matcher_is_over(m));
    tern_matcher_free(m);
    close_fixture(&f);
}

/* Characters in pieces: any split of their bytes will do, and no other. */
static void pieces(void **state)
{
    fixture f;
    tern_matcher *m;
    (void)state;
    open_fixture(&f);
    tern_grammar *g = compile(&f, "gbnf", "root ::= [😀-😎é] \"x\"", 0);
    int32_t begin = token(&f, "\xf0\x9f"), end = token(&f, "\x98\x80"), wide = token(&f, "\xa9x");
    int32_t grin[] = {begin, end, 'x'}, bytes[] = {0xf0, 0x9f, 0x98, 0x8e, 'x'};
    int32_t acute[] = {0xc3, wide}, wrong[] = {0xc3, end}, late[] = {begin, 0x98, 0x8f};
    assert_int_equal(tern_matcher_new(g, NULL, 0, true, &m, NULL), TERN_OK);
    assert_int_equal(tern_matcher_agrees(m, grin, 3), 3);
    assert_int_equal(tern_matcher_agrees(m, bytes, 5), 5);
    assert_int_equal(tern_matcher_agrees(m, acute, 2), 2);
    assert_int_equal(tern_matcher_agrees(m, wrong, 2), 1);
    assert_int_equal(tern_matcher_agrees(m, late, 3), 2);
    tern_matcher_free(m);
    tern_grammar_free(g);
    close_fixture(&f);
}

/* Free until a trigger; a token that holds one goes on as the grammar allows. */
static void triggers(void **state)
{
    static const char *const list[] = {"oba", "x12"};
    fixture f;
    tern_matcher *m;
    tern_allowed a;
    tern_err err = {0};
    (void)state;
    open_fixture(&f);
    tern_grammar *g = compile(&f, "gbnf", "root ::= \"r\" [0-9]+ \"!\"", 0);
    assert_int_equal(tern_matcher_new(g, list, 2, true, &m, NULL), TERN_OK);
    assert_int_equal(tern_matcher_allowed(m, &a, NULL), TERN_OK);
    assert_int_equal(a.n, f.end + 1);
    assert_true(has(&a, token(&f, "foobar")) && has(&a, f.end) && has(&a, token(&f, "oba")));
    accept_bytes(m, "xx1x12");
    assert_int_equal(tern_matcher_accept(m, 'x', &err), TERN_E_USAGE);
    accept_bytes(m, "r");
    tern_matcher_free(m);
    assert_int_equal(tern_matcher_new(g, list, 2, true, &m, NULL), TERN_OK);
    accept_bytes(m, "x");
    assert_int_equal(tern_matcher_allowed(m, &a, NULL), TERN_OK);
    assert_false(has(&a, token(&f, "123"))); /* x12 and a 3 that may not come */
    assert_true(has(&a, token(&f, "12")));
    assert_true(has(&a, token(&f, "foobar"))); /* foobar: oba, then r */
    assert_int_equal(a.n, f.end);
    assert_int_equal(tern_matcher_accept(m, token(&f, "foobar"), NULL), TERN_OK);
    assert_int_equal(tern_matcher_allowed(m, &a, NULL), TERN_OK);
    assert_int_equal(a.n, 10 + 3); /* digits, 12, 123, 2024 */
    accept_bytes(m, "7!");
    assert_true(tern_matcher_is_over(m));
    tern_matcher_free(m);
    static const char *const bad[] = {""};
    assert_int_equal(tern_matcher_new(g, bad, 1, true, &m, &err), TERN_E_USAGE);
    assert_int_equal(tern_matcher_new(g, list, 17, true, &m, &err), TERN_E_USAGE);
    tern_grammar_free(g);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_of_others),
        cmocka_unit_test(the_end),
        cmocka_unit_test(pieces),
        cmocka_unit_test(triggers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
