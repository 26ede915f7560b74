/* Ids back to text: nothing is lost, nothing comes out in halves. */
#include "base/utf8.h"
#include "support/support.h"
#include "support/vocab.h"

#include <stdio.h>
#include <string.h>

#define GOLDEN "tests/golden/tokenizers/"
#define FFFD   "\xEF\xBF\xBD"

/* ---- round trips ------------------------------------------------------------------------- */

/* What a text is with its invalid parts replaced, one sign for each longest beginning of a
 * sequence. */
static void put_valid(tern_str *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        size_t len = (size_t)tern_utf8_decode(s + i, n - i, &cp), part = 1;
        if (len) {
            tern_str_put(out, s + i, len);
            i += len;
            continue;
        }
        while (part < 3 && i + part < n && tern_utf8_partial_tail(s + i, part + 1) == part + 1)
            part++;
        if (tern_utf8_partial_tail(s + i, 1) != 1)
            part = 1;
        tern_str_puts(out, FFFD);
        i += part;
    }
}

static void round_trip(const tern_tokenizer *t, const char *text, size_t n)
{
    tern_err err;
    tern_ids ids = {0};
    tern_str bytes, shown, want;
    tern_detok d;
    tern_str_init(&bytes, 1 << 20);
    tern_str_init(&shown, 1 << 20);
    tern_str_init(&want, 1 << 20);
    assert_int_equal(tern_tokenize(t, text, n, false, false, &ids, &err), TERN_OK);
    tern_detok_init(&d, t, false, true);
    for (size_t i = 0; i < ids.n; i++) {
        tern_slice s = tern_token_bytes(t, ids.v[i]);
        tern_str_put(&bytes, s.p, s.n);
        tern_detok_push(&d, ids.v[i], &shown);
        assert_true(tern_utf8_valid(tern_str_get(&shown), shown.len));
    }
    tern_detok_finish(&d, &shown);
    size_t pad = tern_tokenizer_pads(t) && n; /* the artificial space */
    assert_int_equal(bytes.len, n + pad);
    assert_memory_equal(tern_str_get(&bytes) + pad, text, n);
    put_valid(&want, text, n);
    assert_string_equal(tern_str_get(&shown), tern_str_get(&want));
    tern_str_done(&bytes);
    tern_str_done(&shown);
    tern_str_done(&want);
    tern_ids_done(&ids);
}

/* Whole characters, pieces of characters and noise. */
static size_t random_text(char *out, size_t cap, uint32_t *seed)
{
    size_t n = 0, want = test_rand(seed) % (cap - 8);
    while (n < want) {
        uint32_t cp = test_rand(seed), pick = test_rand(seed) % 8;
        char u[4];
        int len;
        if (pick == 0) {
            out[n++] = (char)(cp & 255);
        } else if (pick < 4) {
            out[n++] = "ab 1\n\t.'"[cp % 8];
        } else {
            len = tern_utf8_encode(pick < 7 ? cp & 0x7FFF : 0x10000 + (cp & 0xFFFF), u);
            len -= len > 1 && test_rand(seed) % 16 == 0; /* cut */
            for (int i = 0; i < len; i++)
                out[n++] = u[i] ? u[i] : 'x'; /* strings are compared up to a NUL below */
        }
        if (!out[n - 1])
            out[n - 1] = 'y';
    }
    return n;
}

static void test_round_trips(void **state)
{
    (void)state;
    /* Not falcon: its vocabulary lacks 28 bytes. */
    static const char *const names[] = {"gpt-2", "qwen2", "llama-bpe", "deepseek-v3"};
    char path[256], text[400];
    uint32_t seed = 3;
    for (size_t k = 0; k < 4; k++) {
        test_tokenizer tt;
        (void)snprintf(path, sizeof path, GOLDEN "%s.gguf", names[k]);
        test_tokenizer_open(&tt, path, NULL);
        for (int i = 0; i < 300; i++)
            round_trip(tt.t, text, random_text(text, sizeof text, &seed));
        test_tokenizer_done(&tt);
    }
}

/* SentencePiece with all byte tokens and spaces as they are. */
static void test_round_trips_with_byte_tokens(void **state)
{
    (void)state;
    char tokens[4096] = "<unk> <s> </s> \xE2\x96\x81 a b ab \xE2\x96\x81"
                        "a",
         types[1024] = "2 3 3 1 1 1 1 1", scores[1024] = "0 0 0 -1 -2 -3 -4 -5", text[400],
         word[32];
    for (int b = 0; b < 256; b++) {
        (void)snprintf(word, sizeof word, " <0x%02X>", (unsigned)b);
        strncat(tokens, word, sizeof tokens - strlen(tokens) - 1);
        strncat(types, " 6", sizeof types - strlen(types) - 1);
        strncat(scores, " 0", sizeof scores - strlen(scores) - 1);
    }
    const test_vocab v = {.model = "llama", .tokens = tokens, .types = types, .scores = scores};
    test_tokenizer tt;
    tern_err err;
    uint32_t seed = 11;
    assert_int_equal(test_tokenizer_make(&tt, &v, NULL, &err), TERN_OK);
    for (int i = 0; i < 300; i++) {
        size_t n = random_text(text, sizeof text, &seed);
        /* U+2581 itself means a space here and does not come back. */
        for (size_t k = 0; k + 2 < n; k++)
            if (memcmp(text + k, "\xE2\x96\x81", 3) == 0)
                text[k] = 'q';
        round_trip(tt.t, text, n);
    }
    test_tokenizer_done(&tt);
}

/* ---- one id at a time -------------------------------------------------------------------- */

typedef struct step {
    int32_t id;
    const char *out; /* what this id completes */
} step;

static void steps(const tern_tokenizer *t, bool special, bool at_start, const step *s, size_t n,
                  const char *rest)
{
    tern_detok d;
    tern_str out;
    tern_str_init(&out, 1024);
    tern_detok_init(&d, t, special, at_start);
    for (size_t i = 0; i < n; i++) {
        tern_str_clear(&out);
        tern_detok_push(&d, s[i].id, &out);
        assert_string_equal(tern_str_get(&out), s[i].out);
    }
    tern_str_clear(&out);
    tern_detok_finish(&d, &out);
    assert_string_equal(tern_str_get(&out), rest);
    tern_str_clear(&out);
    tern_detok_finish(&d, &out); /* nothing is left */
    assert_int_equal(out.len, 0);
    tern_str_done(&out);
}
#define STEPS(t, special, at_start, rest, ...)                                                     \
    do {                                                                                           \
        const step list[] = {__VA_ARGS__};                                                         \
        steps(t, special, at_start, list, sizeof list / sizeof list[0], rest);                     \
    } while (0)

static void test_sequences_are_never_split(void **state)
{
    (void)state;
    static const test_vocab v = {.model = "gpt2",
                                 .pre = "gpt-2",
                                 .all_bytes = true,
                                 .tokens = "<s> U\xC3\xA9 ab",
                                 .types = "3 4 5",
                                 .merges = ""};
    test_tokenizer tt;
    tern_err err;
    assert_int_equal(test_tokenizer_make(&tt, &v, NULL, &err), TERN_OK);
    STEPS(tt.t, false, true, "", {'a', "a"}, {0xC3, ""}, {0xA9, "\xC3\xA9"}, {' ', " "});
    STEPS(tt.t, false, true, "", {0xF0, ""}, {0x9F, ""}, {0x98, ""}, {0x80, "\xF0\x9F\x98\x80"});
    STEPS(tt.t, false, true, FFFD, {0xF0, ""}, {0x9F, ""}, {0x98, ""});
    STEPS(tt.t, false, true, FFFD, {0xE2, ""});
    /* What breaks a sequence may begin the next one. */
    STEPS(tt.t, false, true, "", {0xE2, ""}, {0x82, ""}, {'a', FFFD "a"});
    STEPS(tt.t, false, true, FFFD, {0xE2, ""}, {0xC3, FFFD});
    STEPS(tt.t, false, true, "", {0xE2, ""}, {0xC3, FFFD}, {0xA9, "\xC3\xA9"});
    /* Bytes that begin nothing, an overlong form, a surrogate. */
    STEPS(tt.t, false, true, "", {0x80, FFFD}, {0xFF, FFFD}, {0xC0, FFFD}, {0x80, FFFD});
    STEPS(tt.t, false, true, "", {0xE0, ""}, {0x80, FFFD FFFD}, {0xED, ""}, {0xA0, FFFD FFFD});
    /* Control tokens print nothing, or their spelling; unused ones too; a stray id is nothing. */
    STEPS(tt.t, false, true, "", {256, ""}, {257, "U\xC3\xA9"}, {258, ""}, {259, ""}, {-1, ""});
    STEPS(tt.t, true, true, "", {256, "<s>"}, {257, "U\xC3\xA9"}, {258, "ab"}, {'x', "x"});
    test_tokenizer_done(&tt);
}

static void test_sentence_piece_spaces(void **state)
{
    (void)state;
    static const test_vocab v = {
        .model = "llama",
        .tokens = "<unk> <s> </s> <0xE2> <0x82> <0xAC> <0x20> \xE2\x96\x81"
                  "a \xE2\x96\x81 b \xE2\x96\x81U",
        .types = "2 3 3 6 6 6 6 1 1 1 4",
        .scores = "0 0 0 0 0 0 0 -1 -2 -3 0",
    };
    test_vocab w = v;
    test_tokenizer tt;
    tern_err err;
    assert_int_equal(test_tokenizer_make(&tt, &v, NULL, &err), TERN_OK);
    STEPS(tt.t, false, true, "", {7, "a"}, {7, " a"}, {9, "b"});
    STEPS(tt.t, false, false, "", {7, " a"}, {7, " a"});
    STEPS(tt.t, false, true, "", {8, ""}, {8, " "}); /* one artificial space, not two */
    STEPS(tt.t, false, true, "", {1, ""}, {7, "a"}); /* BOS does not begin the text */
    STEPS(tt.t, true, true, "", {1, "<s>"}, {7, "a"});
    STEPS(tt.t, false, true, "", {9, "b"}, {7, " a"});   /* no space was there to drop */
    STEPS(tt.t, false, true, "", {6, " "}, {7, " a"});   /* a byte is a byte */
    STEPS(tt.t, false, true, "", {10, " U"}, {7, " a"}); /* the user's own spelling */
    STEPS(tt.t, false, true, "", {3, ""}, {4, ""}, {5, "\xE2\x82\xAC"});
    STEPS(tt.t, false, true, "", {3, ""}, {7, FFFD " a"});
    test_tokenizer_done(&tt);
    w.keys = "add_space_prefix=false";
    assert_int_equal(test_tokenizer_make(&tt, &w, NULL, &err), TERN_OK);
    STEPS(tt.t, false, true, "", {7, " a"}, {7, " a"});
    test_tokenizer_done(&tt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_round_trips_with_byte_tokens),
        cmocka_unit_test(test_sequences_are_never_split),
        cmocka_unit_test(test_sentence_piece_spaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
