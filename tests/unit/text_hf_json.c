/* tokenizer.json against the ids that its own software gives: published forms, whole folders, and what
 * is said in several ways. */
#include "support/golden.h"
#include "support/hf.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *golden(const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, "tests/golden/hf/%s.json", name);
    return test_golden(path);
}

static const char *string_of(const test_hf *f, const char *key)
{
    static char text[256];
    const tern_meta *m = tern_dir_meta_find(f->dir, key);
    if (!m)
        return NULL;
    assert_int_equal(m->type, TERN_META_STRING);
    (void)snprintf(text, sizeof text, "%.*s", (int)m->v.s.n, m->v.s.p);
    return text;
}

/* ---- golden -------------------------------------------------------------------------------- */

static void published_forms(void **state)
{
    (void)state;
    json_t *all = golden("forms"), *list = json_object_get(all, "forms"), *row;
    size_t i;
    assert_true(json_array_size(list) >= 14);
    json_array_foreach(list, i, row)
    {
        test_hf f = {0};
        json_t *file = json_object();
        const char *pre = json_string_value(json_object_get(row, "pre"));
        assert_int_equal(json_object_set(file, "model", json_object_get(all, "model")), 0);
        assert_int_equal(json_object_set(file, "normalizer", json_object_get(row, "normalizer")),
                         0);
        assert_int_equal(
            json_object_set(file, "pre_tokenizer", json_object_get(row, "pre_tokenizer")), 0);
        test_hf_json(&f, TERN_HF_TOKENIZER, file);
        test_hf_open(&f, 0, NULL);
        assert_string_equal(tern_tokenizer_info_get(f.t)->pre, pre);
        test_hf_ids(&f, json_object_get(all, "texts"), json_object_get(row, "ids"), false, true);
        test_hf_done(&f);
        json_decref(file);
    }
    json_decref(all);
}

static void open_folder(test_hf *f, const json_t *all, const char *name, size_t n_vocab)
{
    const json_t *files =
        json_object_get(json_object_get(json_object_get(all, "folders"), name), "files");
    const json_t *config = json_object_get(files, "tokenizer_config.json");
    assert_non_null(files);
    test_hf_json(f, TERN_HF_TOKENIZER, json_object_get(files, "tokenizer.json"));
    if (config)
        test_hf_json(f, TERN_HF_CONFIG, config);
    test_hf_open(f, n_vocab, NULL);
}

static void folders(void **state)
{
    (void)state;
    json_t *all = golden("folders"), *list = json_object_get(all, "folders"), *row;
    const json_t *texts = json_object_get(all, "texts");
    const char *name;
    assert_int_equal(json_object_size(list), 7);
    json_object_foreach(list, name, row)
    {
        test_hf f = {0};
        open_folder(&f, all, name, 0);
        test_hf_ids(&f, texts, json_object_get(row, "ids"), false, true);
        test_hf_ids(&f, texts, json_object_get(row, "around"), true, true);
        /* Only merges that a training found cannot be said by scores. */
        assert_int_equal(test_hf_number(&f, "tokenizer.ggml.join_by_merges"),
                         strcmp(name, "trained") == 0 ? 1 : -1);
        test_hf_done(&f);
    }
    json_decref(all);
}

static void keys_of_a_folder(void **state)
{
    (void)state;
    json_t *all = golden("folders");
    test_hf f = {0};
    open_folder(&f, all, "byte-level", 520);
    const tern_tokenizer_info *info = tern_tokenizer_info_get(f.t);
    assert_string_equal(info->pre, "llama-bpe"); /* with ignore_merges */
    assert_int_equal(info->n_vocab, 520);
    assert_int_equal(info->bos, tern_token_find(f.t, "<|begin|>", 9));
    assert_int_equal(info->eos, tern_token_find(f.t, "<|halt|>", 8));
    assert_int_equal(info->pad, tern_token_find(f.t, "<|pad|>", 7));
    assert_true(info->bos > 0 && info->eos > 0 && info->pad > 0);
    assert_true(info->add_bos && !info->add_eos);
    assert_int_equal(tern_token_attr_get(f.t, info->bos), TERN_TOKEN_CONTROL);
    assert_int_equal(tern_token_attr_get(f.t, tern_token_find(f.t, "<tag>", 5)), TERN_TOKEN_USER);
    assert_int_equal(tern_token_attr_get(f.t, 519), TERN_TOKEN_UNUSED);
    assert_int_equal(tern_token_find(f.t, "[PAD519]", 8), 519);
    assert_string_equal(string_of(&f, "tokenizer.chat_template"), "{{ bos_token }}D");
    assert_string_equal(string_of(&f, "tokenizer.chat_template.tool_use"), "T");
    assert_int_equal(tern_dir_meta_find(f.dir, "tokenizer.chat_templates")->n_elem, 1);
    test_hf_done(&f);

    open_folder(&f, all, "llama", 0);
    info = tern_tokenizer_info_get(f.t);
    assert_string_equal(info->model, "llama");
    assert_true(info->bos == 1 && info->eos == 2 && info->unk == 0);
    assert_true(info->add_bos && info->add_eos);
    assert_int_equal(tern_token_attr_get(f.t, 0), TERN_TOKEN_UNKNOWN);
    assert_int_equal(tern_token_attr_get(f.t, 1), TERN_TOKEN_CONTROL);
    assert_int_equal(tern_token_attr_get(f.t, 3), TERN_TOKEN_BYTE);
    assert_int_equal(tern_token_attr_get(f.t, 300), TERN_TOKEN_NORMAL);
    test_hf_done(&f);
    json_decref(all);
}

/* ---- what small files say ------------------------------------------------------------------ */

#define BYTES "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define SMALL                                                                                      \
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}"
#define ADDED                                                                                      \
    "\"added_tokens\":[{\"id\":3,\"content\":\"<s>\",\"special\":true},{\"id\":5,\"content\":\"<"  \
    "e>\"}]"
#define GENERAL "{" ADDED ",\"pre_tokenizer\":" BYTES "," SMALL "}"

static void open_text(test_hf *f, const char *tokenizer, const char *config, size_t n_vocab)
{
    test_hf_text(f, TERN_HF_TOKENIZER, tokenizer);
    test_hf_text(f, TERN_HF_CONFIG, config);
    test_hf_open(f, n_vocab, NULL);
}

static void ids_with_a_meaning(void **state)
{
    (void)state;
    test_hf f = {0};
    open_text(&f, GENERAL, NULL, 0);
    assert_int_equal(tern_tokenizer_info_get(f.t)->bos, -1);
    assert_int_equal(tern_tokenizer_info_get(f.t)->n_vocab, 6);
    assert_int_equal(tern_token_attr_get(f.t, 4), TERN_TOKEN_UNUSED); /* a hole */
    /* special_tokens_map.json where tokenizer_config.json is silent, then the model's files. */
    test_hf_text(&f, TERN_HF_SPECIAL,
                 "{\"bos_token\":{\"content\":\"<s>\"},\"pad_token\":\"<e>\"}");
    test_hf_text(&f, TERN_HF_GENERATION, "{\"eos_token_id\":[5,0,3],\"bos_token_id\":0}");
    test_hf_text(&f, TERN_HF_MODEL, "{\"bos_token_id\":1,\"pad_token_id\":1}");
    test_hf_open(&f, 0, NULL);
    const tern_tokenizer_info *info = tern_tokenizer_info_get(f.t);
    assert_true(info->bos == 3 && info->eos == 5 && info->pad == 5);
    assert_true(tern_token_is_eog(f.t, 5) && tern_token_is_eog(f.t, 0) &&
                tern_token_is_eog(f.t, 3));
    assert_false(tern_token_is_eog(f.t, 1));
    test_hf_text(&f, TERN_HF_SPECIAL, NULL);
    test_hf_text(&f, TERN_HF_GENERATION, "{\"eos_token_id\":77}");
    test_hf_open(&f, 0, NULL);
    assert_int_equal(tern_tokenizer_info_get(f.t)->bos, 1);
    assert_int_equal(tern_tokenizer_info_get(f.t)->eos, -1);
    test_hf_done(&f);
}

static void more_tokens_than_rows(void **state)
{
    (void)state;
    test_hf f = {0};
    open_text(&f, GENERAL, NULL, 4); /* the one added behind the last row is left out */
    assert_int_equal(tern_tokenizer_info_get(f.t)->n_vocab, 4);
    assert_int_equal(tern_token_find(f.t, "<e>", 3), -1);
    assert_int_equal(tern_token_find(f.t, "<s>", 3), 3);
    test_hf_done(&f);
}

static void flags(void **state)
{
    (void)state;
    test_hf f = {0};
    open_text(&f, GENERAL,
              "{\"model_max_length\":1000000000000000019884624838656,\"bos_token\":\"<s>\",\"add_"
              "bos_token\":true,\"add_eos_token\":false}",
              0);
    assert_int_equal(test_hf_number(&f, "tokenizer.ggml.add_bos_token"), 1);
    assert_int_equal(test_hf_number(&f, "tokenizer.ggml.add_eos_token"), 0);
    assert_true(tern_tokenizer_info_get(f.t)->add_bos);
    open_text(&f, GENERAL, NULL, 0);
    assert_int_equal(test_hf_number(&f, "tokenizer.ggml.add_bos_token"), -1);
    /* What stands behind a text is EOS, whatever is called so; that one ends generation too. */
    open_text(&f,
              "{" ADDED ",\"pre_tokenizer\":" BYTES "," SMALL
              ",\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},"
              "{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\"}},"
              "{\"SpecialToken\":{\"id\":\"<s>\"}}],\"special_tokens\":{\"<s>\":{\"ids\":[3]}}}]}}",
              "{\"eos_token\":\"<e>\"}", 0);
    const tern_tokenizer_info *info = tern_tokenizer_info_get(f.t);
    assert_true(info->eos == 3 && info->add_eos && !info->add_bos);
    assert_true(tern_token_is_eog(f.t, 5));
    test_hf_done(&f);
}

static void beside_tokenizer_json(void **state)
{
    (void)state;
    test_hf f = {0};
    /* What tokenizer_config.json adds, and says again of what is there. */
    open_text(&f, GENERAL,
              "{\"added_tokens_decoder\":{\"3\":{\"content\":\"<other>\"},\"4\":{\"content\":\"<"
              "pad>\"}}}",
              0);
    assert_int_equal(tern_token_find(f.t, "<s>", 3), 3);
    assert_int_equal(tern_token_find(f.t, "<other>", 7), -1);
    assert_int_equal(tern_token_attr_get(f.t, 4), TERN_TOKEN_CONTROL);
    /* The general class puts no BOS before a text unless told; those of families do. */
    static const char spaces[] =
        "{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},"
        "\"content\":\"\xE2\x96\x81\"}," SMALL "}";
    open_text(&f, spaces, "{\"bos_token\":\"b\",\"tokenizer_class\":\"PreTrainedTokenizerFast\"}",
              0);
    assert_false(tern_tokenizer_info_get(f.t)->add_bos);
    open_text(&f, spaces, "{\"bos_token\":\"b\",\"tokenizer_class\":\"LlamaTokenizerFast\"}", 0);
    assert_true(tern_tokenizer_info_get(f.t)->add_bos);
    assert_int_equal(tern_tokenizer_info_get(f.t)->eos, -1);
    /* What ends a turn by its spelling needs no key. */
    open_text(&f,
              "{\"added_tokens\":[{\"id\":3,\"content\":\"<|eot_id|>\"}],\"pre_tokenizer\":" BYTES
              "," SMALL "}",
              "{\"eos_token\":\"a\"}", 0);
    test_hf_text(&f, TERN_HF_GENERATION, "{\"eos_token_id\":[3,1]}");
    test_hf_open(&f, 0, NULL);
    assert_int_equal(test_hf_number(&f, "tokenizer.ggml.eot_token_id"), 1);
    assert_true(tern_token_is_eog(f.t, 0) && tern_token_is_eog(f.t, 1) &&
                tern_token_is_eog(f.t, 3));
    test_hf_done(&f);
}

static void ignoring_merges(void **state)
{
    (void)state;
    test_hf f = {0};
    /* gpt-2 has no name that implies it. */
    open_text(&f,
              "{\"pre_tokenizer\":" BYTES ",\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},"
              "\"merges\":[],\"ignore_merges\":true}}",
              NULL, 0);
    assert_int_equal(test_hf_number(&f, "tokenizer.ggml.ignore_merges"), 1);
    tern_ids ids = {0};
    assert_int_equal(tern_tokenize(f.t, "ab", 2, false, false, &ids, NULL), TERN_OK);
    assert_true(ids.n == 1 && ids.v[0] == 2);
    tern_ids_done(&ids);
    test_hf_done(&f);
}

static void a_form_that_is_not_known(void **state)
{
    (void)state;
    test_hf f = {0};
    tern_err err;
    test_hf_text(&f, TERN_HF_TOKENIZER,
                 "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
                 "\"pattern\":{\"Regex\":\"[xyz]{7}\"},\"behavior\":\"Isolated\"}," BYTES
                 "]}," SMALL "}");
    assert_int_equal(test_hf_read(&f, 0, &err), TERN_OK);
    assert_int_equal(tern_tokenizer_new(f.dir, NULL, &f.t, &err), TERN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "[xyz]{7}"));
    assert_non_null(strstr(err.msg, "--pre"));
    test_hf_open(&f, 0, "gpt-2");
    test_hf_done(&f);
}

static void templates(void **state)
{
    (void)state;
    test_hf f = {0};
    open_text(&f, GENERAL, "{\"chat_template\":\"from config\"}", 0);
    assert_string_equal(string_of(&f, "tokenizer.chat_template"), "from config");
    test_hf_text(&f, TERN_HF_JINJA, "from the file");
    test_hf_open(&f, 0, NULL);
    assert_string_equal(string_of(&f, "tokenizer.chat_template"), "from the file");
    test_hf_text(&f, TERN_HF_JINJA, NULL);
    test_hf_text(&f, TERN_HF_CONFIG, NULL);
    test_hf_text(&f, TERN_HF_TEMPLATE, "{\"chat_template\":\"from json\"}");
    test_hf_open(&f, 0, NULL);
    assert_string_equal(string_of(&f, "tokenizer.chat_template"), "from json");
    test_hf_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_forms),          cmocka_unit_test(folders),
        cmocka_unit_test(keys_of_a_folder),         cmocka_unit_test(ids_with_a_meaning),
        cmocka_unit_test(more_tokens_than_rows),    cmocka_unit_test(flags),
        cmocka_unit_test(beside_tokenizer_json),    cmocka_unit_test(ignoring_merges),
        cmocka_unit_test(a_form_that_is_not_known), cmocka_unit_test(templates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
