/* Vocabularies that contradict themselves: what is refused and how it is said, and what is let
 * pass because real files have it. */
#include "base/alloc.h"
#include "support/support.h"
#include "support/vocab.h"

#include <stdlib.h>
#include <string.h>

#define BPE .model = "gpt2", .pre = "gpt-2"
#define SPM .model = "llama"

typedef struct bad_vocab {
    test_vocab v;
    const char *says[3]; /* all in the message */
} bad_vocab;

static const bad_vocab bad[] = {
    /* nothing there, or of the wrong type */
    {{.tokens = "a", .merges = ""}, {"tokenizer.ggml.model"}},
    {{.tokens = "a", .keys = "model=u32:1"}, {"tokenizer.ggml.model"}},
    {{BPE, .merges = ""}, {"no tokenizer.ggml.tokens"}},
    {{BPE, .merges = "", .keys = "tokens=a"}, {"tokenizer.ggml.tokens", "strings"}},
    {{BPE, .tokens = "", .merges = ""}, {"0 elements"}},
    {{BPE, .tokens = "a"}, {"no tokenizer.ggml.merges"}},
    {{BPE, .tokens = "a", .keys = "merges=a"}, {"tokenizer.ggml.merges", "strings"}},
    {{.model = "gpt2", .tokens = "a", .merges = "", .keys = "pre=u32:1"}, {"tokenizer.ggml.pre"}},
    {{SPM, .tokens = "a", .types = "1"}, {"no tokenizer.ggml.scores"}},
    {{SPM, .tokens = "a", .scores = "1", .keys = "token_type=u32:1"}, {"token_type", "integers"}},
    {{SPM, .tokens = "a", .keys = "scores=u32:1"}, {"scores", "numbers"}},
    {{SPM, .tokens = "a", .scores = "1", .keys = "add_space_prefix=u32:1"}, {"add_space_prefix"}},
    {{SPM, .tokens = "a", .scores = "1", .keys = "remove_extra_whitespaces=u32:1"},
     {"remove_extra_whitespaces"}},
    {{SPM, .tokens = "a", .scores = "1", .keys = "add_bos_token=u32:1"}, {"add_bos_token"}},
    {{SPM, .tokens = "a", .scores = "1", .keys = "add_eos_token=yes"}, {"add_eos_token"}},
    /* arrays of other lengths than the tokens' */
    {{BPE, .tokens = "a b", .types = "1", .merges = ""}, {"token_type", "1 elements", "2 tokens"}},
    {{BPE, .tokens = "a", .types = "1 1", .merges = ""}, {"token_type", "2 elements", "1 tokens"}},
    {{BPE, .tokens = "a", .scores = "1 1", .merges = ""}, {"scores", "2 elements"}},
    {{SPM, .tokens = "a b", .scores = "1"}, {"scores", "1 elements", "2 tokens"}},
    /* values */
    {{BPE, .tokens = "a b", .types = "1 7", .merges = ""}, {"token 1", "type 7"}},
    {{BPE, .tokens = "a b", .types = "-1 1", .merges = ""}, {"token 0", "type -1"}},
    {{SPM, .tokens = "a b", .scores = "1 nan"}, {"token 1", "not a number"}},
    {{SPM, .tokens = "<0x4G>", .types = "6", .scores = "0"}, {"byte token 0", "<0xHH>"}},
    {{SPM, .tokens = "<0x41", .types = "6", .scores = "0"}, {"byte token 0"}},
    {{SPM, .tokens = "a", .types = "6", .scores = "0"}, {"byte token 0"}},
    {{BPE, .tokens = "[] x", .types = "6 1", .merges = ""}, {"byte token 0"}},
    /* ids */
    {{BPE, .tokens = "a", .merges = "", .keys = "bos_token_id=u32:1"},
     {"bos_token_id", "is 1", "1 tokens"}},
    {{BPE, .tokens = "a", .merges = "", .keys = "eos_token_id=u64:4294967296"},
     {"eos_token_id", "4294967296"}},
    {{BPE, .tokens = "a", .merges = "", .keys = "eot_token_id=i32:-2"}, {"eot_token_id"}},
    {{BPE, .tokens = "a", .merges = "", .keys = "eom_token_id=u32:9"}, {"eom_token_id", "is 9"}},
    {{BPE, .tokens = "a", .merges = "", .keys = "bos_token_id=a"}, {"bos_token_id", "integer"}},
    {{BPE, .tokens = "a", .merges = "", .keys = "padding_token_id=true"},
     {"padding_token_id", "integer"}},
    /* merges */
    {{BPE, .tokens = "a b ab", .merges = "a+b b+x"}, {"merge 1", "'b x'"}},
    {{BPE, .tokens = "a b ab", .merges = "x+b"}, {"merge 0", "'x b'"}},
    {{BPE, .tokens = "a b", .merges = "a+b"}, {"merge 0", "'a b'"}},
    {{BPE, .tokens = "a b ab", .merges = "ab"}, {"merge 0"}},
    {{BPE, .tokens = "a b ab", .merges = "[]"}, {"merge 0"}},
    {{BPE, .tokens = "a b ab", .merges = "a+b a+"}, {"merge 1"}},
    {{BPE, .tokens = "a b ab", .merges = "+a+"}, {"merge 0"}},
    {{BPE, .tokens = "a b ab", .merges = "a+b a+bb"}, {"merge 1"}},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        test_tokenizer tt;
        tern_err err = {0};
        tern_code rc = test_tokenizer_make(&tt, &bad[i].v, NULL, &err);
        if (rc != TERN_E_FORMAT || err.code != rc)
            fail_msg("bad[%zu]: code %d, '%s'", i, (int)rc, err.msg);
        for (size_t k = 0; k < 3 && bad[i].says[k]; k++)
            if (!strstr(err.msg, bad[i].says[k]))
                fail_msg("bad[%zu]: '%s' does not say '%s'", i, err.msg, bad[i].says[k]);
        assert_true(strncmp(err.msg, "test.gguf: ", 11) == 0);
    }
}

static void ids_are(test_vocab v, const char *text, const char *want)
{
    test_tokenizer tt;
    tern_err err;
    if (test_tokenizer_make(&tt, &v, NULL, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    test_ids(tt.t, text, strlen(text), true, true, want);
    test_tokenizer_done(&tt);
}

static void test_let_pass(void **state)
{
    (void)state;
    /* Of equal spellings the lowest id. */
    ids_are((test_vocab){BPE, .tokens = "a b ab ab a", .merges = "a+b"}, "aab", "0 2");
    ids_are((test_vocab){SPM, .tokens = "<unk> <s> </s> a b ab ab", .types = "2 3 3 1 1 1 1",
                         .scores = "0 0 0 -1 -1 -1 -1", .keys = "add_space_prefix=false"},
            "ab", "1 5");
    /* Of equal merges the first. */
    ids_are((test_vocab){BPE, .tokens = "a b c ab bc", .merges = "a+b b+c a+b"}, "abc", "3 2");
    ids_are((test_vocab){BPE, .tokens = "a b c ab bc", .merges = "b+c a+b b+c"}, "abc", "0 4");
    /* Empty tokens mean nothing; type 0 is an ordinary one. */
    ids_are((test_vocab){BPE, .tokens = "[] a [] b", .types = "3 0 4 1", .merges = ""}, "ab",
            "1 3");
    /* Bytes without a token are dropped, or unknown. */
    ids_are((test_vocab){BPE, .tokens = "a b", .merges = ""}, "axb", "0 1");
    ids_are((test_vocab){BPE, .tokens = "a b ?", .merges = "", .keys = "unknown_token_id=u32:2"},
            "axb", "0 2 1");
    /* A user-defined token spelled like a byte means the character. */
    ids_are((test_vocab){BPE, .tokens = "a \xC3\xB8 \xC3\x83", .types = "1 4 1", .merges = ""},
            "a\xC3\xB8\xF8", "0 1");
    /* -1 in any width is no id; padding and unknown ids may lie outside. */
    ids_are((test_vocab){.model = "gpt2",
                         .pre = "llama-bpe",
                         .tokens = "a",
                         .merges = "",
                         .keys = "bos_token_id=u32:4294967295 eos_token_id=i32:-1 "
                                 "eot_token_id=i64:-1 padding_token_id=u32:1 "
                                 "unknown_token_id=u64:18446744073709551614"},
            "ab", "0");
    ids_are((test_vocab){BPE, .tokens = "a b", .merges = "",
                         .keys = "bos_token_id=i64:1 "
                                 "add_bos_token=true"},
            "a", "1 0");
    /* Customary ids only where the vocabulary has them. */
    ids_are((test_vocab){SPM, .tokens = "a", .scores = "0", .keys = "add_space_prefix=false"}, "a",
            "0");
    /* No types: byte tokens are known by their spelling, infinite scores compare. */
    ids_are((test_vocab){SPM, .tokens = "<unk> <s> </s> <0x61> <0x62> <0x6z>",
                         .scores = "0 0 0 0 0 0", .keys = "add_space_prefix=false"},
            "ab", "1 3 4");
    /* Lower case digits, equal byte tokens: the first. */
    ids_are((test_vocab){SPM, .tokens = "<unk> <s> </s> <0xc3> <0xA9> <0xC3>",
                         .types = "2 3 3 6 6 6", .scores = "0 0 0 0 0 0",
                         .keys = "add_space_prefix=false"},
            "\xC3\xA9", "1 3 4");
    ids_are((test_vocab){BPE, .tokens = "<0x61> b", .types = "6 1", .merges = ""}, "ab", "0 1");
    /* Unused tokens are not made of text. */
    ids_are((test_vocab){SPM, .tokens = "<unk> <s> </s> a b ab", .types = "2 3 3 1 1 5",
                         .scores = "0 0 0 0 0 0", .keys = "add_space_prefix=false"},
            "ab", "1 3 4");
    /* The order of scores: below zero, zero of either sign, above. */
    ids_are((test_vocab){SPM, .tokens = "<unk> <s> </s> a b c d ab bc cd",
                         .types = "2 3 3 1 1 1 1 1 1 1", .scores = "0 0 0 0 0 0 0 -2 -1 3",
                         .keys = "add_space_prefix=false"},
            "abcd", "1 7 9");
    ids_are((test_vocab){SPM, .tokens = "<unk> <s> </s> a b c ab bc", .types = "2 3 3 1 1 1 1 1",
                         .scores = "0 0 0 0 0 0 -5 -5", .keys = "add_space_prefix=false"},
            "abc", "1 6 5");
}

/* A token of n letters: the file is made directly since it is too long for a list. */
static tern_code long_token(size_t n, int type, tern_err *err)
{
    const char *types[] = {NULL, "1 1", NULL, "3 1"};
    char *tokens = malloc(n + 3);
    assert_non_null(tokens);
    memset(tokens, 'a', n);
    memcpy(tokens + n, " b", 3);
    test_tokenizer tt;
    const test_vocab v = {BPE, .tokens = tokens, .types = types[type], .merges = ""};
    tern_code rc = test_tokenizer_make(&tt, &v, NULL, err);
    if (rc == TERN_OK)
        test_tokenizer_done(&tt);
    free(tokens);
    return rc;
}

static void test_long_tokens(void **state)
{
    (void)state;
    tern_err err;
    assert_int_equal(long_token(16384, TERN_TOKEN_NORMAL, &err), TERN_OK);
    assert_int_equal(long_token(16385, TERN_TOKEN_NORMAL, &err), TERN_E_FORMAT);
    assert_non_null(strstr(err.msg, "token 0 has 16385 bytes"));
    assert_int_equal(long_token((size_t)1 << 20, TERN_TOKEN_NORMAL, &err), TERN_E_FORMAT);
    assert_int_equal(long_token(256, TERN_TOKEN_CONTROL, &err), TERN_OK);
    assert_int_equal(long_token(257, TERN_TOKEN_CONTROL, &err), TERN_E_FORMAT);
    assert_non_null(strstr(err.msg, "special token 0 has 257 bytes"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_let_pass),
        cmocka_unit_test(test_long_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
