/* Files that contradict themselves or ask for too much: an error that names the file, no crash, no
 * memory that the file does not account for. */
#include "file/dir_make.h"
#include "support/fault.h"
#include "support/hf.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BYTES "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
#define MARKS                                                                                      \
    "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\" "                             \
    "\"},\"content\":\"\xE2\x96\x81\"}"

/* What tokenizer.json says beyond ByteLevel or the marks for spaces. */
static tern_code read_json(const char *head, const char *rest, size_t n_vocab, tern_err *err)
{
    test_hf f = {0};
    char *text = malloc(strlen(head) + strlen(rest) + 4);
    assert_non_null(text);
    (void)snprintf(text, strlen(head) + strlen(rest) + 4, "{%s,%s}", head, rest);
    test_hf_text(&f, TERN_HF_TOKENIZER, text);
    *err = (tern_err){0};
    tern_code rc = test_hf_read(&f, n_vocab, err);
    if (rc == TERN_OK)
        rc = tern_tokenizer_new(f.dir, NULL, &f.t, err);
    test_hf_done(&f);
    free(text);
    return rc;
}

static void wrong_tokenizers(void **state)
{
#define MODEL(vocab, merges) "\"model\":{\"vocab\":" vocab ",\"merges\":" merges "}"
    static const struct {
        const char *head, *rest, *says;
        tern_code code;
    } rows[] = {
        {BYTES, MODEL("{\"a\":0,\"b\":1}", "[]"), "", TERN_OK},
        {MARKS, MODEL("{\"a\":0,\"b\":1}", "[]"), "", TERN_OK},
        {BYTES, MODEL("{\"a\":0,\"b\":0}", "[]"), "id 0", TERN_E_FORMAT},
        {BYTES, MODEL("{\"a\":0,\"a\":1}", "[]"), "duplicate", TERN_E_FORMAT},
        {BYTES, MODEL("{\"a\":0,\"b\":-1}", "[]"), "id -1", TERN_E_FORMAT},
        {BYTES, MODEL("{\"a\":0,\"b\":1.5}", "[]"), "no integer", TERN_E_FORMAT},
        {BYTES, MODEL("{\"a\":0,\"b\":\"1\"}", "[]"), "no integer", TERN_E_FORMAT},
        {BYTES, MODEL("{\"a\":0,\"b\":2147483648}", "[]"), "2147483648", TERN_E_FORMAT},
        {BYTES, MODEL("{\"a\":0,\"b\":99999999999999999999}", "[]"), "too big", TERN_E_FORMAT},
        {BYTES, MODEL("{\"a\":0,\"b\":1e999}", "[]"), "tokenizer.json", TERN_E_FORMAT},
        {BYTES, MODEL("{\"a\":0,\"b\":1000000}", "[]"), "1000000", TERN_E_FORMAT}, /* a hole */
        {BYTES, MODEL("{\"a\":0,\"\\u0000\":1}", "[]"), "tokenizer.json", TERN_E_FORMAT},
        {BYTES, MODEL("{\"a\":0,\"\\ud800\":1}", "[]"), "tokenizer.json", TERN_E_FORMAT},
        {BYTES, MODEL("{\"a\":0,\"\xFF\":1}", "[]"), "tokenizer.json", TERN_E_FORMAT},
        {BYTES, MODEL("{}", "[]"), "0 tokens", TERN_E_FORMAT},
        {BYTES, MODEL("[\"a\"]", "[]"), "vocab", TERN_E_FORMAT},
        {BYTES, MODEL("{\"a\":0}", "{}"), "merges", TERN_E_FORMAT},
        {BYTES, MODEL("{\"a\":0}", "[\"a\"]"), "merge 0", TERN_E_FORMAT},
        {BYTES, MODEL("{\"a\":0}", "[\"a \"]"), "merge 0", TERN_E_FORMAT},
        {BYTES, MODEL("{\"a\":0}", "[\" a\"]"), "merge 0", TERN_E_FORMAT},
        {BYTES, MODEL("{\"a\":0}", "[\"a a a\"]"), "merge 0", TERN_E_FORMAT},
        {BYTES, MODEL("{\"a\":0}", "[7]"), "merge 0", TERN_E_FORMAT},
        {BYTES, MODEL("{\"a\":0}", "[[\"a\"]]"), "merge 0", TERN_E_FORMAT},
        {BYTES, MODEL("{\"a\":0}", "[[\"a\",\"\"]]"), "merge 0", TERN_E_FORMAT},
        {BYTES, MODEL("{\"a\":0}", "[[\"a\",\"a b\"]]"), "merge 0", TERN_E_FORMAT},
        {BYTES, MODEL("{\"a\":0}", "[[\"a\",\"a\",\"a\"]]"), "merge 0", TERN_E_FORMAT},
        {BYTES, MODEL("{\"a\":0,\"aa\":1}", "[\"a a\",\"a b\"]"), "merge 1", TERN_E_FORMAT},
        {MARKS, MODEL("{\"a\":0,\"aa\":1}", "[\"a a\",\"a b\"]"), "merge 1", TERN_E_FORMAT},
        {MARKS, MODEL("{\"a\":0}", "[\"a a\"]"), "merge 0", TERN_E_FORMAT},
        {BYTES, "\"model\":7", "model", TERN_E_FORMAT},
        {BYTES, "\"x\":7", "model", TERN_E_FORMAT},
        {BYTES, "\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}", "WordPiece", TERN_E_UNSUPPORTED},
        {BYTES, "\"model\":{\"vocab\":[[\"a\",0]]}", "Unigram", TERN_E_UNSUPPORTED},
        {BYTES, "\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"end_of_word_suffix\":\"</w>\"}",
         "end_of_word_suffix", TERN_E_UNSUPPORTED},
        {"\"x\":0", MODEL("{\"a\":0}", "[]"), "ByteLevel", TERN_E_UNSUPPORTED},
        {BYTES ",\"normalizer\":{\"type\":\"Lowercase\"}", MODEL("{\"a\":0}", "[]"), "Lowercase",
         TERN_E_UNSUPPORTED},
        {MARKS ",\"pre_tokenizer\":{\"type\":\"Whitespace\"}", MODEL("{\"a\":0}", "[]"),
         "Whitespace", TERN_E_UNSUPPORTED},
        {"\"pre_tokenizer\":{\"type\":\"ByteLevel\"}", MODEL("{\"a\":0}", "[]"), "add_prefix_space",
         TERN_E_UNSUPPORTED},
        {"\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\"}",
         MODEL("{\"a\":0,\"\xE2\x96\x81\":1,\"\xE2\x96\x81\xE2\x96\x81\":2}", "[]"), "split",
         TERN_E_UNSUPPORTED},
        {"\"pre_tokenizer\":[]", MODEL("{\"a\":0}", "[]"), "no object", TERN_E_FORMAT},
        {"\"pre_tokenizer\":{\"type\":\"Sequence\"}", MODEL("{\"a\":0}", "[]"), "Sequence",
         TERN_E_FORMAT},
        {BYTES ",\"post_processor\":{\"type\":\"RobertaProcessing\"}", MODEL("{\"a\":0}", "[]"),
         "RobertaProcessing", TERN_E_UNSUPPORTED},
        {BYTES ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}",
         MODEL("{\"a\":0}", "[]"), "without a text", TERN_E_FORMAT},
        {BYTES ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":"
               "{\"id\":\"<s>\"}},{\"Sequence\":{}}]}",
         MODEL("{\"a\":0}", "[]"), "names no token", TERN_E_FORMAT},
        {BYTES ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{},{},{"
               "\"Sequence\":{}}]}",
         MODEL("{\"a\":0}", "[]"), "2 tokens before", TERN_E_UNSUPPORTED},
        {"\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
         "\"pattern\":"
         "{\"Regex\":\"x\"},\"behavior\":\"MergedWithNext\"},{\"type\":\"ByteLevel\","
         "\"add_prefix_space\":false}]}",
         MODEL("{\"a\":0}", "[]"), "Split(MergedWithNext)", TERN_E_UNSUPPORTED},
        {"\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":"
         "false}",
         MODEL("{\"a\":0}", "[]"), "no pre_tokenizer", TERN_E_UNSUPPORTED},
        {"\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\"}",
         MODEL("{\"a\":0}", "[]"), "Metaspace", TERN_E_UNSUPPORTED},
        {"\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\"}",
         MODEL("{\"a\":0}", "[]"), "", TERN_OK},
        {BYTES "," MARKS, MODEL("{\"a\":0}", "[]"), "ByteLevel with", TERN_E_UNSUPPORTED},
        {MARKS, "\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"ignore_merges\":true}",
         "ignore_merges", TERN_E_UNSUPPORTED},
        {BYTES
         ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{},{\"Sequence\":{}}]}",
         MODEL("{\"a\":0}", "[]"), "names no token", TERN_E_FORMAT},
        {BYTES ",\"added_tokens\":{}", MODEL("{\"a\":0}", "[]"), "added_tokens", TERN_E_FORMAT},
        {BYTES ",\"added_tokens\":[{\"id\":1,\"content\":\"x\",\"single_word\":true}]",
         MODEL("{\"a\":0}", "[]"), "single_word", TERN_E_UNSUPPORTED},
        {BYTES ",\"added_tokens\":[{\"id\":1}]", MODEL("{\"a\":0}", "[]"), "added token 0",
         TERN_E_FORMAT},
        {BYTES ",\"added_tokens\":[{\"id\":0,\"content\":\"x\"}]", MODEL("{\"a\":0}", "[]"), "id 0",
         TERN_E_FORMAT},
        {BYTES ",\"added_tokens\":[{\"id\":-2,\"content\":\"x\"}]", MODEL("{\"a\":0}", "[]"),
         "id -2", TERN_E_FORMAT},
        {BYTES ",\"added_tokens\":[{\"id\":4000000000,\"content\":\"x\"}]",
         MODEL("{\"a\":0}", "[]"), "4000000000", TERN_E_FORMAT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tern_err err;
        tern_code rc = read_json(rows[i].head, rows[i].rest, 0, &err);
        if (rc != rows[i].code || !strstr(err.msg, rows[i].says) ||
            (rc != TERN_OK && !strstr(err.msg, "folder")))
            fail_msg("row %zu: code %d, %s", i, rc, err.msg);
    }
}

static void more_ids_than_rows(void **state)
{
    (void)state;
    tern_err err;
    assert_int_equal(read_json(BYTES, MODEL("{\"a\":0,\"b\":1,\"c\":2}", "[]"), 2, &err),
                     TERN_E_FORMAT);
    assert_non_null(strstr(err.msg, "the model has 2 tokens"));
}

/* n times `open`, in a row. */
static char *deep(size_t n, const char *open)
{
    size_t len = strlen(open);
    char *text = malloc(n * len + 1);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++)
        memcpy(text + i * len, open, len);
    text[n * len] = 0;
    return text;
}

static void deep_json(void **state)
{
    static const tern_hf_file files[] = {TERN_HF_TOKENIZER, TERN_HF_CONFIG, TERN_HF_ADDED,
                                         TERN_HF_GENERATION};
    static const char *const opens[] = {"[",
                                        "{\"a\":", "{\"type\":\"Sequence\",\"pretokenizers\":["};
    (void)state;
    tern_err err;
    for (size_t k = 0; k < 3; k++) {
        char *text = deep(100000, opens[k]);
        for (size_t i = 0; i < 4; i++) {
            test_hf f = {0};
            test_hf_text(&f, TERN_HF_TIKTOKEN, "YQ== 0\n");
            test_hf_text(&f, files[i], text);
            assert_int_equal(test_hf_read(&f, 0, &err), TERN_E_FORMAT);
            test_hf_done(&f);
        }
        free(text);
    }
    /* As deep as JSON may be is still deeper than steps. */
    char *open = deep(500, opens[2]), *close = deep(500, "]}");
    char *rest = malloc(strlen(open) + strlen(close) + 100);
    assert_non_null(rest);
    (void)snprintf(rest, strlen(open) + strlen(close) + 100, "\"pre_tokenizer\":%s%s", open, close);
    assert_int_equal(read_json(MODEL("{\"a\":0}", "[]"), rest, 0, &err), TERN_E_FORMAT);
    assert_non_null(strstr(err.msg, "8 deep"));
    free(open);
    free(close);
    free(rest);
}

static void long_tokens(void **state)
{
    (void)state;
    tern_err err;
    char *a = deep(1 << 20, "a"), *rest = malloc((1 << 20) + 70000);
    assert_non_null(rest);
    (void)snprintf(rest, (1 << 20) + 70000,
                   "\"model\":{\"vocab\":{\"a\":0,\"%s\":1},\"merges\":[]}", a);
    assert_int_equal(read_json(BYTES, rest, 0, &err), TERN_E_FORMAT);
    assert_non_null(strstr(err.msg, "1048576 bytes"));
    (void)snprintf(rest, (1 << 20) + 70000, "\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a %s\"]}",
                   a);
    assert_int_equal(read_json(MARKS, rest, 0, &err), TERN_E_FORMAT);
    assert_int_equal(read_json(BYTES, rest, 0, &err), TERN_E_FORMAT);
    (void)snprintf(rest, (1 << 20) + 70000,
                   "\"added_tokens\":[{\"id\":1,\"content\":\"%s\"}]," MODEL("{\"a\":0}", "[]"), a);
    assert_int_equal(read_json(BYTES, rest, 0, &err), TERN_E_FORMAT);
    (void)snprintf(
        rest, (1 << 20) + 70000,
        "\"x\":{\"type\":\"%s\"},\"normalizer\":{\"type\":\"%.60000s\"}," MODEL("{\"a\":0}", "[]"),
        a, a);
    assert_int_equal(read_json(BYTES, rest, 0, &err), TERN_E_UNSUPPORTED);
    free(a);
    free(rest);
}

/* ---- other files --------------------------------------------------------------------------- */

static void wrong_files_beside(void **state)
{
    static const struct {
        tern_hf_file file;
        const char *text, *says;
        tern_code code;
    } rows[] = {
        {TERN_HF_CONFIG, "{", "tokenizer_config.json", TERN_E_FORMAT},
        {TERN_HF_CONFIG, "[]", "", TERN_OK},
        {TERN_HF_CONFIG, "{\"bos_token\":7,\"eos_token\":{\"content\":[]}}", "", TERN_OK},
        {TERN_HF_CONFIG, "{\"added_tokens_decoder\":{\"x\":{\"content\":\"y\"}}}",
         "added_tokens_decoder", TERN_E_FORMAT},
        {TERN_HF_CONFIG, "{\"added_tokens_decoder\":{\"3\":\"y\"}}", "added_tokens_decoder",
         TERN_E_FORMAT},
        {TERN_HF_CONFIG, "{\"added_tokens_decoder\":{\"99999999999\":{\"content\":\"y\"}}}",
         "added_tokens_decoder", TERN_E_FORMAT},
        {TERN_HF_CONFIG, "{\"chat_template\":[{\"name\":\"a/b\",\"template\":\"x\"}]}",
         "chat template 0", TERN_E_FORMAT},
        {TERN_HF_CONFIG, "{\"chat_template\":[{\"name\":\"a\"}]}", "chat template 0",
         TERN_E_FORMAT},
        {TERN_HF_CONFIG,
         "{\"chat_template\":[{\"name\":\"a\",\"template\":\"x\"},{\"name\":\"a\",\"template\":"
         "\"x\"}]}",
         "twice", TERN_E_FORMAT},
        {TERN_HF_ADDED, "{\"x\":\"y\"}", "added_tokens.json", TERN_E_FORMAT},
        {TERN_HF_ADDED, "{\"x\":-1}", "added_tokens.json", TERN_E_FORMAT},
        {TERN_HF_ADDED, "{\"x\":1e30}", "added_tokens.json", TERN_E_FORMAT},
        {TERN_HF_GENERATION, "{\"eos_token_id\":[-1,1e300,\"x\",null]}", "", TERN_OK},
        {TERN_HF_GENERATION, "{\"eos_token_id\":\"x\"}", "", TERN_OK},
        {TERN_HF_MODEL, "{\"bos_token_id\":4294967295}", "", TERN_OK},
        {TERN_HF_SPECIAL, "nothing", "special_tokens_map.json", TERN_E_FORMAT},
        {TERN_HF_SENTENCEPIECE, "", "tokenizer.model", TERN_E_FORMAT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        test_hf f = {0};
        tern_err err = {0};
        test_hf_text(&f, TERN_HF_TIKTOKEN, "YQ== 0\nYg== 1\n");
        test_hf_text(&f, rows[i].file, rows[i].text);
        tern_code rc = test_hf_read(&f, 0, &err);
        if (rc != rows[i].code || (rc != TERN_OK && !strstr(err.msg, rows[i].says)))
            fail_msg("row %zu: code %d, %s", i, rc, err.msg);
        test_hf_done(&f);
    }
}

static void too_much(void **state)
{
    (void)state;
    tern_err err;
    test_hf f = {0};
    char *a = deep((1 << 20) + 1, "a"), *text = malloc((1 << 20) + 300);
    assert_non_null(text);
    test_hf_text(&f, TERN_HF_TIKTOKEN, "YQ== 0\n");
    test_hf_text(&f, TERN_HF_JINJA, a);
    assert_int_equal(test_hf_read(&f, 0, &err), TERN_E_LIMIT);
    assert_non_null(strstr(err.msg, "chat_template.jinja"));
    test_hf_text(&f, TERN_HF_JINJA, NULL);
    json_t *list = json_array(), *config = json_object();
    for (int i = 0; i < 33; i++)
        assert_int_equal(json_array_append_new(list, json_object()), 0);
    assert_int_equal(json_object_set_new(config, "chat_template", list), 0);
    test_hf_json(&f, TERN_HF_CONFIG, config);
    assert_int_equal(test_hf_read(&f, 0, &err), TERN_E_LIMIT);
    assert_non_null(strstr(err.msg, "33 chat templates"));
    test_hf_done(&f);
    json_decref(config);
    (void)snprintf(text, (1 << 20) + 300,
                   "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"%.70000s\"},"
                   "\"behavior\":\"Isolated\"}," MODEL("{\"a\":0}", "[]"),
                   a);
    assert_int_equal(read_json("\"x\":0", text, 0, &err), TERN_E_LIMIT);
    test_hf_text(&f, TERN_HF_TOKENIZER, "[]");
    assert_int_equal(test_hf_read(&f, 0, &err), TERN_E_FORMAT);
    assert_non_null(strstr(err.msg, "no JSON object"));
    test_hf_done(&f);
    free(a);
    free(text);
}

static void nothing_there(void **state)
{
    (void)state;
    test_hf f = {0};
    tern_err err;
    assert_int_equal(test_hf_read(&f, 0, &err), TERN_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "folder: no tokenizer"));
    test_hf_done(&f);
}

/* Keys of our own may stand in any file. */
static void wrong_keys_of_our_own(void **state)
{
    (void)state;
    test_hf f = {0};
    tern_err err;
    test_hf_text(&f, TERN_HF_TIKTOKEN, "YQ== 0\nYg== 1\n");
    test_hf_text(&f, TERN_HF_CONFIG, "{}");
    assert_int_equal(test_hf_read(&f, 0, &err), TERN_OK);
    assert_int_equal(
        tern_dir_put_numbers(f.dir, "tokenizer.ggml.token_strip", TERN_META_U8, "xyz", 3, NULL),
        TERN_OK);
    assert_int_equal(tern_tokenizer_new(f.dir, "gpt-2", &f.t, &err), TERN_E_FORMAT);
    assert_non_null(strstr(err.msg, "token_strip"));
    test_hf_done(&f);
}

/* ---- memory -------------------------------------------------------------------------------- */

static tern_code read_once(void *ctx, tern_err *err)
{
    return test_hf_read(ctx, 0, err);
}

static void memory_of_refused_files(void **state)
{
    (void)state;
    test_hf f = {0};
    tern_code rc;
    tern_err err;
    /* The greatest id there may be, and then a mistake. */
    test_hf_text(&f, TERN_HF_TOKENIZER,
                 "{" BYTES ",\"model\":{\"vocab\":{\"a\":0,\"b\":4000,\"c\":0},\"merges\":[]}}");
    size_t bytes = test_alloc_bytes(read_once, &f, &rc, &err);
    assert_int_equal(rc, TERN_E_FORMAT);
    assert_in_range(bytes, 1, 1 << 20);
    test_hf_done(&f);
}

/* ---- a folder on disk ---------------------------------------------------------------------- */

static void a_folder(void **state)
{
    (void)state;
    char folder[] = "/tmp/tern-hf-XXXXXX", path[64];
    tern_dir *d;
    tern_err err;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(tern_dir_new(folder, 1 << 12, &d, NULL), TERN_OK);
    assert_int_equal(tern_hf_tokenizer_read(d, folder, 0, &err), TERN_E_NOT_FOUND);
    (void)snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs("{" BYTES "," MODEL("{\"a\":0,\"b\":1}", "[]") "}", file) > 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(tern_hf_tokenizer_read(d, folder, 8, &err), TERN_OK);
    assert_int_equal(tern_dir_meta_find(d, "tokenizer.ggml.tokens")->n_elem, 8);
    tern_dir_close(d);
    /* A folder under the name of a file is no file. */
    (void)unlink(path);
    assert_int_equal(tern_dir_new(folder, 1 << 12, &d, NULL), TERN_OK);
    (void)snprintf(path, sizeof path, "%s/tokenizer.model", folder);
    assert_int_equal(symlink("/tmp", path), 0);
    assert_int_equal(tern_hf_tokenizer_read(d, folder, 8, &err), TERN_E_IO);
    assert_non_null(strstr(err.msg, "tokenizer.model"));
    tern_dir_close(d);
    (void)unlink(path);
    (void)rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_tokenizers),
        cmocka_unit_test(more_ids_than_rows),
        cmocka_unit_test(deep_json),
        cmocka_unit_test(long_tokens),
        cmocka_unit_test(wrong_files_beside),
        cmocka_unit_test(too_much),
        cmocka_unit_test(nothing_there),
        cmocka_unit_test(wrong_keys_of_our_own),
        cmocka_unit_test(memory_of_refused_files),
        cmocka_unit_test(a_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
