/* tokenizer.model: a published SentencePiece file, small ones with each thing it can say, and files cut
 * or damaged anywhere. */
#include "base/alloc.h"
#include "support/hf.h"
#include "support/support.h"
#include "support/vocab.h"

#include <stdlib.h>
#include <string.h>

#define GOLDEN "tests/golden/"

static void set_bytes(test_hf *f, const void *p, size_t n)
{
    f->files[TERN_HF_SENTENCEPIECE] = (tern_slice){p, n};
}

/* ---- the published file -------------------------------------------------------------------- */

static void published_file(void **state)
{
    static const char *const lists[] = {"tokens", "scores", "token_type"};
    (void)state;
    test_hf f = {0};
    test_tokenizer tt;
    size_t n;
    uint8_t *bytes = test_read_file(GOLDEN "hf/tok512.model", &n);
    json_t *texts = json_load_file(GOLDEN "tokenizers/texts.json", 0, NULL);
    json_t *rows = json_load_file(GOLDEN "tokenizers/tok512.json", 0, NULL);
    assert_non_null(bytes);
    set_bytes(&f, bytes, n);
    test_hf_open(&f, 512, NULL);
    test_hf_ids(&f, texts, rows, false, false); /* as the package sentencepiece gives them */
    test_tokenizer_open(&tt, GOLDEN "tokenizers/tok512.gguf", NULL);
    for (size_t k = 0; k < 3; k++) {
        char key[64] = "tokenizer.ggml.";
        memcpy(key + strlen(key), lists[k], strlen(lists[k]) + 1);
        const tern_meta *a = tern_dir_meta_find(f.dir, key), *b = tern_dir_meta_find(tt.dir, key);
        assert_true(a && b && a->n_elem == 512 && b->n_elem == 512);
        for (size_t i = 0; i < 512; i++)
            if (a->strings) {
                assert_int_equal(a->strings[i].n, b->strings[i].n);
                assert_memory_equal(a->strings[i].p, b->strings[i].p, a->strings[i].n);
            } else {
                assert_true(tern_meta_elem_f64(a, i) == tern_meta_elem_f64(b, i));
            }
    }
    assert_int_equal(test_hf_number(&f, "tokenizer.ggml.bos_token_id"), 1);
    assert_int_equal(test_hf_number(&f, "tokenizer.ggml.eos_token_id"), 2);
    assert_int_equal(test_hf_number(&f, "tokenizer.ggml.unknown_token_id"), 0);
    assert_int_equal(test_hf_number(&f, "tokenizer.ggml.add_space_prefix"), 1);
    assert_int_equal(test_hf_number(&f, "tokenizer.ggml.remove_extra_whitespaces"), 1);
    test_tokenizer_done(&tt);
    test_hf_done(&f);
    json_decref(texts);
    json_decref(rows);
    free(bytes);
}

static void cut_anywhere(void **state)
{
    (void)state;
    test_hf f = {0};
    size_t n, n_ok = 0;
    tern_err err;
    uint8_t *bytes = test_read_file(GOLDEN "hf/tok512.model", &n);
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *part = malloc(cut + 1); /* so that a sanitizer sees the first byte too far */
        assert_non_null(part);
        memcpy(part, bytes, cut);
        set_bytes(&f, part, cut);
        tern_code rc = test_hf_read(&f, 0, &err);
        n_ok += rc == TERN_OK;
        if (rc != TERN_OK && rc != TERN_E_FORMAT)
            fail_msg("cut at %zu: code %d, %s", cut, rc, err.msg);
        free(part);
    }
    /* Only what stands behind all that is needed may be missing. */
    assert_in_range(n_ok, 0, 4);
    test_hf_done(&f);
    free(bytes);
}

static void damaged_anywhere(void **state)
{
    (void)state;
    test_hf f = {0};
    size_t n;
    tern_err err;
    uint8_t *bytes = test_read_file(GOLDEN "hf/tok512.model", &n);
    set_bytes(&f, bytes, n);
    for (size_t i = 0; i < n; i += 3) {
        uint8_t old = bytes[i];
        bytes[i] ^= (uint8_t)(1u << i % 8);
        (void)test_hf_read(&f, i % 2 ? 512 : 0, &err);
        bytes[i] = old;
    }
    test_hf_done(&f);
    free(bytes);
}

/* ---- small files --------------------------------------------------------------------------- */

/* A protobuf message of less than 128 bytes as a field. */
static void put_message(tern_str *out, unsigned number, const void *p, size_t n)
{
    assert_true(n < 128 && number < 16);
    tern_str_putc(out, (char)(number << 3 | 2));
    tern_str_putc(out, (char)n);
    tern_str_put(out, p, n);
}

static void put_piece(tern_str *out, const char *text, float score, int type)
{
    char m[64];
    size_t n = strlen(text);
    m[0] = 0x0A;
    m[1] = (char)n;
    memcpy(m + 2, text, n);
    m[n + 2] = 0x15;
    memcpy(m + n + 3, &score, 4);
    m[n + 7] = 0x18;
    m[n + 8] = (char)type;
    put_message(out, 1, m, n + 9);
}

static void put_pieces(tern_str *out)
{
    put_piece(out, "<unk>", 0, 2);
    put_piece(out, "<s>", 0, 3);
    put_piece(out, "</s>", 0, 3);
    put_piece(out, "\xE2\x96\x81", -1, 1);
    put_piece(out, "a", -2, 1);
    put_piece(out, "b", -3, 1);
    put_piece(out, "ab", -4, 1);
    put_piece(out, "ba", -1, 1);
    put_piece(out, "\xE2\x96\x81\xE2\x96\x81", 0, 4);
    put_piece(out, "<unused0>", 0, 5);
}

#define BPE    "\x18\x02"
#define SIMPLE "\x18\x00\x20\x00" /* no space before, none removed */
#define PLAIN  "\x18\x01"

/* The pieces above, a trainer_spec and a normalizer_spec of these bytes. */
static tern_code read_small(test_hf *f, const char *trainer, size_t n_trainer,
                            const char *normalizer, size_t n_normalizer, tern_err *err)
{
    static tern_str file;
    tern_str_done(&file);
    tern_str_init(&file, 1 << 16);
    put_pieces(&file);
    if (trainer)
        put_message(&file, 2, trainer, n_trainer);
    if (normalizer)
        put_message(&file, 3, normalizer, n_normalizer);
    set_bytes(f, tern_str_get(&file), file.len);
    tern_code rc = test_hf_read(f, 0, err);
    if (rc != TERN_OK)
        tern_str_done(&file);
    return rc;
}
#define READ(f, trainer, normalizer, err)                                                          \
    read_small(f, trainer, sizeof trainer - 1, normalizer, sizeof normalizer - 1, err)

static void what_it_says(void **state)
{
    (void)state;
    test_hf f = {0};
    tern_err err;
    assert_int_equal(READ(&f, BPE, SIMPLE, &err), TERN_OK);
    test_hf_open(&f, 0, NULL);
    test_ids(f.t, "abab", 4, false, false, "4 7 5"); /* the best score first */
    test_ids(f.t, "ab", 2, true, false, "1 6");
    test_ids(f.t, "a   b", 5, false, false, "4 8 3 5"); /* its own symbols before all else */
    test_ids(f.t, "<unused0>", 9, false, true, "0 0 0 0 0 0 0 0 0");
    assert_int_equal(READ(&f, BPE, "\x28\x00", &err), TERN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "escape_whitespaces"));
    /* Another unknown token. */
    assert_int_equal(READ(&f, BPE "\xC0\x02\x04", SIMPLE, &err), TERN_OK);
    test_hf_open(&f, 0, NULL);
    test_ids(f.t, "x", 1, false, false, "4");
    /* Ids, also those that are not there (-1 is ten bytes). */
    assert_int_equal(
        READ(&f, BPE "\xC8\x02\x02\xD0\x02\x01\xD8\x02\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01",
             SIMPLE, &err),
        TERN_OK);
    test_hf_open(&f, 0, NULL);
    assert_int_equal(tern_tokenizer_info_get(f.t)->bos, 2);
    assert_int_equal(tern_tokenizer_info_get(f.t)->eos, 1);
    assert_int_equal(tern_tokenizer_info_get(f.t)->pad, -1);
    test_hf_done(&f);
}

static void ids_that_are_none(void **state)
{
    (void)state;
    test_hf f = {0};
    tern_err err;
    assert_int_equal(READ(&f, BPE "\xC8\x02\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", SIMPLE, &err),
                     TERN_OK);
    test_hf_open(&f, 0, NULL);
    assert_int_equal(tern_tokenizer_info_get(f.t)->bos, -1);
    test_hf_done(&f);
}

static void what_is_refused(void **state)
{
    static const struct {
        const char *trainer, *normalizer, *says;
        tern_code code;
    } rows[] = {
        {"\x18\x01", PLAIN, "unigram", TERN_E_UNSUPPORTED},
        {"\x18\x03", PLAIN, "word", TERN_E_UNSUPPORTED},
        {"\x18\x09", PLAIN, "no type", TERN_E_UNSUPPORTED},
        {"\x20\x02", PLAIN, "unigram", TERN_E_UNSUPPORTED}, /* unless said otherwise */
        {BPE "\xC0\x01\x01", PLAIN, "suffix", TERN_E_UNSUPPORTED},
        {BPE, "\x0A\x04nfkc\x12\x02zz", "nfkc", TERN_E_UNSUPPORTED},
        {BPE, "\x28\x80\x80", "normalizer_spec", TERN_E_FORMAT},
        {BPE, "\x28", "normalizer_spec", TERN_E_FORMAT},
        {BPE, "\x2B\x01", "normalizer_spec", TERN_E_FORMAT}, /* a group */
        {BPE "\x07", PLAIN, "trainer_spec", TERN_E_FORMAT},
        {BPE "\x1A\x7F", PLAIN, "trainer_spec", TERN_E_FORMAT}, /* longer than the message */
        {BPE "\x18\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", PLAIN, "trainer_spec",
         TERN_E_FORMAT},
        {BPE, NULL, "normalizer_spec", TERN_E_FORMAT},
        {NULL, PLAIN, "trainer_spec", TERN_E_FORMAT},
    };
    (void)state;
    test_hf f = {0};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tern_err err = {0};
        tern_code rc = read_small(&f, rows[i].trainer,
                                  rows[i].trainer ? strlen(rows[i].trainer) : 0, rows[i].normalizer,
                                  rows[i].normalizer ? strlen(rows[i].normalizer) : 0, &err);
        if (rc != rows[i].code || !strstr(err.msg, rows[i].says) ||
            !strstr(err.msg, "tokenizer.model"))
            fail_msg("row %zu: code %d, %s", i, rc, err.msg);
    }
    test_hf_done(&f);
}

static void pieces_that_are_none(void **state)
{
    static const char no_type[] = "\x0A\x05\x0A\x01x\x18\x07", cut[] = "\x0A\x03\x0A\x05x";
    static const char endless[] = "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF";
    (void)state;
    test_hf f = {0};
    tern_err err;
    set_bytes(&f, no_type, sizeof no_type - 1);
    assert_int_equal(test_hf_read(&f, 0, &err), TERN_E_FORMAT);
    assert_non_null(strstr(err.msg, "type 7"));
    set_bytes(&f, cut, sizeof cut - 1);
    assert_int_equal(test_hf_read(&f, 0, &err), TERN_E_FORMAT);
    set_bytes(&f, endless, sizeof endless - 1);
    assert_int_equal(test_hf_read(&f, 0, &err), TERN_E_FORMAT);
    test_hf_done(&f);
}

/* ---- what stands beside it ----------------------------------------------------------------- */

static void added_tokens(void **state)
{
    (void)state;
    test_hf f = {0};
    tern_err err;
    test_hf_text(&f, TERN_HF_ADDED, "{\"<more>\":10,\"<|turn|>\":11,\"<far>\":99}");
    test_hf_text(
        &f, TERN_HF_CONFIG,
        "{\"added_tokens_decoder\":{\"9\":{\"content\":\"<call>\",\"special\":false},"
        "\"10\":{\"content\":\"<more>\",\"special\":true},\"1\":{\"content\":\"<s>\","
        "\"special\":true}},\"bos_token\":{\"content\":\"<more>\"},\"add_bos_token\":false,"
        "\"add_prefix_space\":true,\"eos_token\":\"<call>\",\"pad_token\":\"<unused0>\"}");
    /* READ frees what it read from when it fails only. */
    assert_int_equal(READ(&f, BPE, SIMPLE, &err), TERN_OK);
    test_hf_open(&f, 14, NULL);
    const tern_tokenizer_info *info = tern_tokenizer_info_get(f.t);
    assert_int_equal(info->n_vocab, 14);
    assert_int_equal(info->bos, 10);
    assert_int_equal(info->eos, 9);  /* in the place of an unused one */
    assert_int_equal(info->pad, -1); /* what was called so is gone */
    assert_false(info->add_bos);
    assert_true(tern_tokenizer_pads(f.t));
    assert_int_equal(tern_token_attr_get(f.t, 9), TERN_TOKEN_USER);
    assert_int_equal(tern_token_attr_get(f.t, 10), TERN_TOKEN_CONTROL);
    assert_int_equal(tern_token_attr_get(f.t, 11), TERN_TOKEN_CONTROL); /* by its looks */
    assert_int_equal(tern_token_attr_get(f.t, 12), TERN_TOKEN_UNUSED);
    assert_int_equal(tern_token_find(f.t, "<far>", 5), -1);
    test_hf_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_file),       cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(damaged_anywhere),     cmocka_unit_test(what_it_says),
        cmocka_unit_test(ids_that_are_none),    cmocka_unit_test(what_is_refused),
        cmocka_unit_test(pieces_that_are_none), cmocka_unit_test(added_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
