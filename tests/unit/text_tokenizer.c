/* Tokenizers against the ids that other software gives, and the rules for special tokens. */
#include "base/alloc.h"
#include "support/golden.h"
#include "support/support.h"
#include "support/vocab.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN "tests/golden/tokenizers/"

/* ---- golden vocabularies ----------------------------------------------------------------- */

static json_t *golden(const char *name, const char *suffix)
{
    char path[256];
    (void)snprintf(path, sizeof path, GOLDEN "%s%s", name, suffix);
    return test_golden(path);
}

static void ids_equal(const tern_tokenizer *t, const json_t *text, const json_t *want,
                      bool parse_special)
{
    tern_err err;
    tern_ids ids = {0};
    const char *s = json_string_value(text);
    size_t n = json_string_length(text), i = 0;
    assert_int_equal(tern_tokenize(t, s, n, false, parse_special, &ids, &err), TERN_OK);
    while (i < ids.n && i < json_array_size(want) &&
           json_integer_value(json_array_get(want, i)) == ids.v[i])
        i++;
    if (i < ids.n || i < json_array_size(want))
        fail_msg("'%s': id %zu is %d, not %d", s, i, i < ids.n ? (int)ids.v[i] : -1,
                 i < json_array_size(want) ? (int)json_integer_value(json_array_get(want, i)) : -1);
    tern_ids_done(&ids);
}

static const char *const goldens[] = {"gpt-2",     "qwen2",       "falcon",
                                      "llama-bpe", "deepseek-v3", "tok512"};
#define N_GOLDEN (sizeof goldens / sizeof goldens[0])

static void open_golden(test_tokenizer *tt, const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, GOLDEN "%s.gguf", name);
    test_tokenizer_open(tt, path, NULL);
}

static void test_golden_vocabularies(void **state)
{
    (void)state;
    json_t *texts = golden("texts", ".json");
    for (size_t k = 0; k < N_GOLDEN; k++) {
        test_tokenizer tt;
        json_t *rows = golden(goldens[k], ".json");
        open_golden(&tt, goldens[k]);
        assert_true(json_array_size(texts) > 150);
        assert_int_equal(json_array_size(rows), json_array_size(texts));
        for (size_t i = 0; i < json_array_size(rows); i++)
            ids_equal(tt.t, json_array_get(texts, i), json_array_get(rows, i), false);
        test_tokenizer_done(&tt);
        json_decref(rows);
    }
    json_decref(texts);
}

static void test_golden_special_tokens(void **state)
{
    (void)state;
    static const char *const names[] = {"llama-bpe", "deepseek-v3"};
    for (size_t k = 0; k < 2; k++) {
        test_tokenizer tt;
        json_t *rows = golden(names[k], "-special.json");
        open_golden(&tt, names[k]);
        for (size_t i = 0; i < json_array_size(rows); i++) {
            const json_t *row = json_array_get(rows, i);
            ids_equal(tt.t, json_array_get(row, 0), json_array_get(row, 1), true);
        }
        test_tokenizer_done(&tt);
        json_decref(rows);
    }
}

/* ---- whole vocabularies, where they are -------------------------------------------------- */

static const char *data_folder(void)
{
    const char *dir = getenv("TERN_TEST_DATA");
    return dir ? dir : "../shared/data";
}

/* Texts are separated by a line, ids stand in lines with a space before each. */
static void compare_fixture(const tern_tokenizer *t, char *texts, char *lines)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    int n_text = 0;
    for (char *text = texts, *line = lines; text; n_text++) {
        char *end = strstr(text, separator), *line_end = strchr(line, '\n');
        if (end)
            *end = 0;
        assert_true(line_end || !end);
        if (line_end)
            *line_end = 0;
        test_ids(t, text, strlen(text), false, false, line[0] == ' ' ? line + 1 : line);
        text = end ? end + sizeof separator - 1 : NULL;
        line = line_end ? line_end + 1 : line;
    }
    assert_int_equal(n_text, 47);
}

static void fixture(const char *file, const char *expected, const char *pre_override)
{
    char path[512];
    size_t n;
    int dir = (int)strlen(data_folder()) > 400 ? 400 : (int)strlen(data_folder());
    test_tokenizer tt;
    (void)snprintf(path, sizeof path, "%.*s/tokenizers/ggml-vocab-%s.gguf.inp", dir, data_folder(),
                   expected);
    char *texts = (char *)test_read_file(path, &n);
    if (!texts)
        skip();
    (void)snprintf(path, sizeof path, "%.*s/tokenizers/ggml-vocab-%s.gguf.out", dir, data_folder(),
                   expected);
    char *lines = (char *)test_read_file(path, &n);
    assert_non_null(lines);
    (void)snprintf(path, sizeof path, "%.*s/tokenizers/ggml-vocab-%s.gguf", dir, data_folder(),
                   file);
    test_tokenizer_open(&tt, path, pre_override);
    compare_fixture(tt.t, texts, lines);
    test_tokenizer_done(&tt);
    free(texts);
    free(lines);
}

static void test_fixture_llama_bpe(void **state)
{
    (void)state;
    fixture("llama-bpe", "llama-bpe", NULL);
}

static void test_fixture_gpt_2(void **state)
{
    (void)state;
    fixture("gpt-2", "gpt-2", NULL);
}

static void test_fixture_falcon(void **state)
{
    (void)state;
    fixture("falcon", "falcon", NULL);
}

static void test_fixture_qwen2(void **state)
{
    (void)state;
    fixture("qwen2", "qwen2", NULL);
    fixture("qwen2", "deepseek-r1-qwen", "deepseek-r1-qwen");
}

static void test_fixture_deepseek_llm(void **state)
{
    (void)state;
    fixture("deepseek-llm", "deepseek-llm", NULL);
}

static void test_fixture_llama_spm(void **state)
{
    (void)state;
    fixture("llama-spm", "llama-spm", NULL);
}

/* ---- BOS, EOS and what ends generation --------------------------------------------------- */

static const test_vocab bpe = {
    .model = "gpt2",
    .pre = "llama-bpe",
    .all_bytes = true,
    .tokens = "ab abc <s> </s> <|eot_id|> USER <unk> <\xEF\xBD\x9C"
              "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
    .types = "1 1 3 3 1 4 2 1",
    .merges = "a+b ab+c",
    .keys = "bos_token_id=u32:258 eos_token_id=u32:259 unknown_token_id=u32:262",
};
enum { AB = 256, ABC, BOS, EOS, EOT, USER, UNK, DS_END };

static void make(test_tokenizer *tt, const test_vocab *v, const char *pre_override)
{
    tern_err err;
    if (test_tokenizer_make(tt, v, pre_override, &err) != TERN_OK)
        fail_msg("%s", err.msg);
}

static void ids_are(const test_vocab *v, const char *text, bool add_special, bool parse_special,
                    const char *want)
{
    test_tokenizer tt;
    make(&tt, v, NULL);
    test_ids(tt.t, text, strlen(text), add_special, parse_special, want);
    test_tokenizer_done(&tt);
}

static void test_bos_and_eos(void **state)
{
    (void)state;
    test_vocab v = bpe;
    /* Llama 3's family begins texts with BOS unless the file says otherwise; others do not. */
    ids_are(&v, "abc", true, false, "258 257");
    ids_are(&v, "abc", false, false, "257");
    ids_are(&v, "", true, false, "258");
    ids_are(&v, "", false, false, "");
    v.pre = "gpt-2";
    ids_are(&v, "abc", true, false, "257");
    v.keys = "bos_token_id=u32:258 eos_token_id=u32:259 add_bos_token=true add_eos_token=true";
    ids_are(&v, "abc", true, false, "258 257 259");
    ids_are(&v, "abc", false, true, "257");
    v.pre = "llama-bpe";
    v.keys = "bos_token_id=u32:258 eos_token_id=u32:259 add_bos_token=false add_eos_token=true";
    ids_are(&v, "abc", true, false, "257 259");
    /* Asked for without being there: nothing is added. */
    v.keys = "add_bos_token=true add_eos_token=true";
    ids_are(&v, "abc", true, false, "257");
}

static void test_bos_is_not_doubled(void **state)
{
    (void)state;
    ids_are(&bpe, "<s>abc", true, true, "258 257");
    ids_are(&bpe, "<s><s>abc", true, true, "258 258 257");
    ids_are(&bpe, "abc<s>", true, true, "258 257 258");
    ids_are(&bpe, "</s>abc", true, true, "258 259 257");
    ids_are(&bpe, "<s>abc", true, false, "258 60 115 62 257"); /* written out, not meant */
}

static void test_ids_are_appended_or_nothing(void **state)
{
    (void)state;
    test_tokenizer tt;
    tern_err err;
    tern_ids ids = {0};
    make(&tt, &bpe, NULL);
    assert_int_equal(tern_ids_push(&ids, 7, &err), TERN_OK);
    assert_int_equal(tern_tokenize(tt.t, "ab", 2, true, false, &ids, &err), TERN_OK);
    assert_int_equal(ids.n, 3);
    assert_int_equal(ids.v[0], 7);
    assert_int_equal(ids.v[1], BOS);
    assert_int_equal(ids.v[2], AB);
    /* A text that is too long is refused before it is read. */
    assert_int_equal(tern_tokenize(tt.t, "", ((size_t)1 << 28) + 1, true, false, &ids, &err),
                     TERN_E_LIMIT);
    assert_non_null(strstr(err.msg, "268435457"));
    assert_int_equal(ids.n, 3);
    tern_ids_done(&ids);
    test_tokenizer_done(&tt);
}

static void test_special_tokens_in_text(void **state)
{
    (void)state;
    ids_are(&bpe, "abUSERab", false, false, "256 261 256"); /* user-defined: always */
    ids_are(&bpe, "ab<unk>ab", false, true, "256 262 256");
    ids_are(&bpe, "ab<unk>", false, false, "256 60 117 110 107 62");
    ids_are(&bpe, "<|eot_id|>", false, true, "260");
    ids_are(&bpe, "<|eot_id|", false, true, "60 124 101 111 116 95 105 100 124");
}

/* No plain text may become a control token: not by a merge, not as a whole word, not by score. */
static void test_plain_text_gives_no_control_token(void **state)
{
    (void)state;
    static const test_vocab whole = {.model = "gpt2",
                                     .pre = "llama-bpe",
                                     .all_bytes = true,
                                     .tokens = "ab abc",
                                     .types = "1 3",
                                     .merges = "a+b ab+c"};
    ids_are(&whole, "abc", false, false, "256 99");
    ids_are(&whole, "abc", false, true, "257");
    static const test_vocab spm = {.model = "llama",
                                   .tokens = "<unk> <s> </s> a b ab <0x61>",
                                   .types = "2 3 3 1 1 3 6",
                                   .scores = "0 0 0 -1 -2 -1 0",
                                   .keys = "add_space_prefix=false add_bos_token=false"};
    ids_are(&spm, "ab", false, false, "3 4");
    ids_are(&spm, "ab", false, true, "5");
    ids_are(&spm, "<s>", false, false, "0 0 0");
    for (size_t k = 0; k < N_GOLDEN; k++) {
        test_tokenizer tt;
        tern_err err;
        tern_ids ids = {0};
        open_golden(&tt, goldens[k]);
        for (int32_t id = 0; id < tern_tokenizer_info_get(tt.t)->n_vocab; id++) {
            tern_slice s = tern_token_text(tt.t, id);
            if (tern_token_attr_get(tt.t, id) == TERN_TOKEN_CONTROL)
                assert_int_equal(tern_tokenize(tt.t, s.p, s.n, false, false, &ids, &err), TERN_OK);
        }
        assert_true(ids.n > 0);
        for (size_t i = 0; i < ids.n; i++)
            assert_int_not_equal(tern_token_attr_get(tt.t, ids.v[i]), TERN_TOKEN_CONTROL);
        tern_ids_done(&ids);
        test_tokenizer_done(&tt);
    }
}

static void test_end_of_generation(void **state)
{
    (void)state;
    test_tokenizer tt;
    make(&tt, &bpe, NULL);
    const tern_tokenizer_info *info = tern_tokenizer_info_get(tt.t);
    assert_int_equal(info->eos, EOS);
    assert_int_equal(info->eot, EOT); /* by its spelling: no key names it */
    assert_true(tern_token_is_eog(tt.t, EOS));
    assert_true(tern_token_is_eog(tt.t, EOT));
    assert_true(tern_token_is_eog(tt.t, DS_END));
    for (int32_t id = 0; id <= USER; id++)
        assert_int_equal(tern_token_is_eog(tt.t, id), id == EOS || id == EOT);
    assert_false(tern_token_is_eog(tt.t, -1));
    assert_false(tern_token_is_eog(tt.t, info->n_vocab));
    /* Marked as an ordinary token in the file, but no text may become it unparsed. */
    assert_int_equal(tern_token_attr_get(tt.t, EOT), TERN_TOKEN_CONTROL);
    test_tokenizer_done(&tt);

    test_vocab v = bpe;
    v.tokens = "ab abc A B C D <|endoftext|> <|eom_id|>";
    v.keys = "eot_token_id=u32:258 eom_token_id=u32:259 eos_token_id=u32:260";
    make(&tt, &v, NULL);
    for (int32_t id = 256; id < 264; id++)
        assert_int_equal(tern_token_is_eog(tt.t, id), id >= 258 && id != 261 && id != 263);
    test_tokenizer_done(&tt);
    v.keys = "eos_token_id=u32:260";
    make(&tt, &v, NULL);
    for (int32_t id = 256; id < 264; id++)
        assert_int_equal(tern_token_is_eog(tt.t, id), id == 260 || id >= 262);
    assert_int_equal(tern_tokenizer_info_get(tt.t)->eot, 262);
    assert_int_equal(tern_token_attr_get(tt.t, 263), TERN_TOKEN_CONTROL);
    test_tokenizer_done(&tt);
}

/* ---- look-ups and names ------------------------------------------------------------------ */

static bool slice_is(tern_slice s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

static void test_look_ups(void **state)
{
    (void)state;
    test_tokenizer tt;
    make(&tt, &bpe, NULL);
    const tern_tokenizer_info *i = tern_tokenizer_info_get(tt.t);
    assert_string_equal(i->model, "gpt2");
    assert_string_equal(i->pre, "llama-bpe");
    assert_int_equal(i->n_vocab, 264);
    assert_int_equal(i->bos, BOS);
    assert_int_equal(i->unk, UNK);
    assert_int_equal(i->pad, -1);
    assert_true(i->add_bos);
    assert_false(i->add_eos);
    assert_true(slice_is(tern_token_text(tt.t, ' '), "\xC4\xA0"));
    assert_true(slice_is(tern_token_bytes(tt.t, ' '), " "));
    assert_true(slice_is(tern_token_text(tt.t, 0xAD), "\xC5\x83"));
    assert_true(slice_is(tern_token_bytes(tt.t, 0xAD), "\xAD"));
    assert_true(slice_is(tern_token_bytes(tt.t, BOS), "<s>"));
    assert_int_equal(tern_token_find(tt.t, "abc", 3), ABC);
    assert_int_equal(tern_token_find(tt.t, "abcd", 4), -1);
    assert_int_equal(tern_token_find(tt.t, "", 0), -1);
    assert_int_equal(tern_token_attr_get(tt.t, USER), TERN_TOKEN_USER);
    assert_int_equal(tern_token_attr_get(tt.t, AB), TERN_TOKEN_NORMAL);
    assert_int_equal(tern_token_text(tt.t, -1).n, 0);
    assert_int_equal(tern_token_text(tt.t, i->n_vocab).n, 0);
    assert_int_equal(tern_token_bytes(tt.t, i->n_vocab).n, 0);
    for (int b = 0; b < 256; b++) {
        assert_int_equal(tern_token_bytes(tt.t, b).n, 1);
        assert_int_equal((uint8_t)tern_token_bytes(tt.t, b).p[0], b);
    }
    test_tokenizer_done(&tt);
}

/* Ordinary tokens that are not spelled as bytes stand for their spelling. */
static void test_tokens_with_other_spellings(void **state)
{
    (void)state;
    static const test_vocab v = {.model = "gpt2",
                                 .pre = "gpt-2",
                                 .merges = "",
                                 .tokens = "\xE4\xB8\xAD \\x20\\x20 \\xC4\\xA0\\xFF [] a"};
    test_tokenizer tt;
    make(&tt, &v, NULL);
    assert_true(slice_is(tern_token_bytes(tt.t, 0), "\xE4\xB8\xAD"));
    assert_true(slice_is(tern_token_bytes(tt.t, 1), "  "));
    assert_true(slice_is(tern_token_bytes(tt.t, 2), "\xC4\xA0\xFF"));
    assert_int_equal(tern_token_bytes(tt.t, 3).n, 0);
    assert_int_equal(tern_token_find(tt.t, "", 0), -1);
    assert_int_equal(tern_token_find(tt.t, "a", 1), 4);
    test_tokenizer_done(&tt);
}

static void pre_is(const char *pre, const char *arch, const char *pre_override, const char *want)
{
    test_vocab v = bpe;
    test_tokenizer tt;
    v.pre = pre;
    v.arch = arch;
    make(&tt, &v, pre_override);
    assert_string_equal(tern_tokenizer_info_get(tt.t)->pre, want);
    test_tokenizer_done(&tt);
}

static void test_which_pre_tokeniser(void **state)
{
    (void)state;
    pre_is("qwen2", "llama", NULL, "qwen2");
    pre_is(NULL, "bitnet-b1.58", NULL, "llama-bpe");
    pre_is(NULL, "bitnet", NULL, "llama-bpe");
    pre_is("", "bitnet-25", NULL, "llama-bpe");
    pre_is("falcon_e", "bitnet", NULL, "falcon_e");
    pre_is(NULL, "llama", NULL, "default");
    pre_is(NULL, NULL, NULL, "default");
    pre_is("no-such", "llama", "gpt-2", "gpt-2");
    pre_is("qwen2", "bitnet", "falcon3", "falcon3");

    test_vocab v = bpe;
    test_tokenizer tt;
    tern_err err;
    v.pre = "no-such";
    assert_int_equal(test_tokenizer_make(&tt, &v, NULL, &err), TERN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "'no-such'"));
    assert_non_null(strstr(err.msg, "--pre"));
    assert_non_null(strstr(err.msg, "test.gguf"));
    assert_int_equal(test_tokenizer_make(&tt, &bpe, "Qwen2", &err), TERN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "'Qwen2'"));
    v.model = "bert";
    assert_int_equal(test_tokenizer_make(&tt, &v, NULL, &err), TERN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "'bert'"));
}

/* ---- SentencePiece ----------------------------------------------------------------------- */

#define SP "\xE2\x96\x81"
static const test_vocab spm = {
    .model = "llama",
    .tokens = "<unk> <s> </s> <0x21> <0xC3> <0xA9> " SP " a b ab " SP "a bb USER " SP SP
              " <0xZZ> <" SP ">",
    .types = "2 3 3 6 6 6 1 1 1 1 1 1 4 1 1 3",
    .scores = "0 0 0 0 0 0 -1 -2 -3 -4 -5 -4 0 -6 -9 0",
};

static void test_sentence_piece(void **state)
{
    (void)state;
    const tern_tokenizer_info *i;
    test_tokenizer tt;
    make(&tt, &spm, NULL);
    i = tern_tokenizer_info_get(tt.t);
    assert_string_equal(i->model, "llama");
    assert_string_equal(i->pre, "");
    assert_int_equal(i->bos, 1); /* the customary ids, no key names them */
    assert_int_equal(i->eos, 2);
    assert_int_equal(i->unk, 0);
    assert_true(i->add_bos && !i->add_eos);
    assert_true(tern_token_is_eog(tt.t, 2));
    assert_true(slice_is(tern_token_bytes(tt.t, 13), "  "));
    assert_true(slice_is(tern_token_bytes(tt.t, 4), "\xC3"));
    assert_true(slice_is(tern_token_bytes(tt.t, 15), "<" SP ">")); /* a control token as spelled */
    test_ids(tt.t, "a<" SP ">", 6, false, true, "10 15");
    test_ids(tt.t, "a", 1, true, false, "1 10");
    test_ids(tt.t, "", 0, true, false, "1");
    test_ids(tt.t, "ab", 2, false, false, "6 9");     /* score -4 before -5 */
    test_ids(tt.t, "bbb", 3, false, false, "6 11 8"); /* equal scores: the leftmost */
    test_ids(tt.t, "abb", 3, false, false, "6 9 8");  /* equal scores: the leftmost */
    test_ids(tt.t, "  a", 3, false, false, "13 10");  /* the artificial space counts */
    test_ids(tt.t, "!\xC3\xA9", 3, false, false, "6 3 4 5");
    test_ids(tt.t, "\xC3", 1, false, false, "6 4");        /* invalid UTF-8: its bytes */
    test_ids(tt.t, "c", 1, false, false, "6 0");           /* no token for the byte: unknown */
    test_ids(tt.t, "\xC3\xA8", 2, false, false, "6 0");    /* one unknown for one character */
    test_ids(tt.t, "aUSERa", 6, false, false, "10 12 10"); /* a space behind special tokens */
    test_ids(tt.t, "<s>a</s>", 8, true, true, "1 10 2");
    test_tokenizer_done(&tt);

    test_vocab v = spm;
    v.keys = "add_space_prefix=false add_bos_token=false add_eos_token=true";
    make(&tt, &v, NULL);
    test_ids(tt.t, "a a", 3, true, false, "7 10 2");
    test_tokenizer_done(&tt);
    v.keys = "remove_extra_whitespaces=true add_bos_token=false";
    make(&tt, &v, NULL);
    test_ids(tt.t, "  a   a ", 8, false, false, "10 10");
    test_ids(tt.t, "   ", 3, false, false, "");
    test_ids(tt.t, " a<s>  a", 8, false, true, "10 1 10");
    test_tokenizer_done(&tt);
    v.keys = "unknown_token_id=i32:-1 bos_token_id=u32:4294967295";
    make(&tt, &v, NULL);
    test_ids(tt.t, "ac", 2, true, false, "10");
    test_tokenizer_done(&tt);
}

/* A token with a space behind another character: then a text may not be taken word by word. */
static void test_sentence_piece_across_spaces(void **state)
{
    (void)state;
    static const test_vocab v = {.model = "llama",
                                 .tokens = "<unk> <s> </s> " SP " a b a" SP " a" SP "b " SP "b",
                                 .types = "2 3 3 1 1 1 1 1 1",
                                 .scores = "0 0 0 -1 -2 -3 -4 -5 -6",
                                 .keys = "add_space_prefix=false add_bos_token=false"};
    ids_are(&v, "a b", false, false, "7");
    test_vocab w = v;
    w.tokens = "<unk> <s> </s> " SP " a b x xx " SP "b";
    ids_are(&w, "a b", false, false, "4 8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_vocabularies),
        cmocka_unit_test(test_golden_special_tokens),
        cmocka_unit_test(test_fixture_llama_bpe),
        cmocka_unit_test(test_fixture_gpt_2),
        cmocka_unit_test(test_fixture_falcon),
        cmocka_unit_test(test_fixture_qwen2),
        cmocka_unit_test(test_fixture_deepseek_llm),
        cmocka_unit_test(test_fixture_llama_spm),
        cmocka_unit_test(test_bos_and_eos),
        cmocka_unit_test(test_bos_is_not_doubled),
        cmocka_unit_test(test_ids_are_appended_or_nothing),
        cmocka_unit_test(test_special_tokens_in_text),
        cmocka_unit_test(test_plain_text_gives_no_control_token),
        cmocka_unit_test(test_end_of_generation),
        cmocka_unit_test(test_look_ups),
        cmocka_unit_test(test_tokens_with_other_spellings),
        cmocka_unit_test(test_which_pre_tokeniser),
        cmocka_unit_test(test_sentence_piece),
        cmocka_unit_test(test_sentence_piece_across_spaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
