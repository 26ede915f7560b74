/* tiktoken files against a plain rendering of how tiktoken joins bytes, and lines that are none. */
#include "support/golden.h"
#include "support/hf.h"
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

static void golden_ids(void **state)
{
    (void)state;
    json_t *all = test_golden("tests/golden/hf/tiktoken.json");
    const char *text = json_string_value(json_object_get(all, "file"));
    test_hf f = {0};
    test_hf_text(&f, TERN_HF_TIKTOKEN, text);
    test_hf_open(&f, 0, NULL);
    test_hf_ids(&f, json_object_get(all, "texts"), json_object_get(all, "ids"), false, false);
    /* Without a tokenizer_config.json there are Llama 3's tokens behind the ranks. */
    const tern_tokenizer_info *info = tern_tokenizer_info_get(f.t);
    int32_t n = info->n_vocab - 256;
    assert_string_equal(info->pre, "llama-bpe");
    assert_int_equal(info->bos, n);
    assert_int_equal(info->eos, n + 1);
    assert_int_equal(tern_token_find(f.t, "<|begin_of_text|>", 17), n);
    assert_int_equal(tern_token_find(f.t, "<|reserved_special_token_3|>", 28), n + 5);
    assert_int_equal(tern_token_find(f.t, "<|start_header_id|>", 19), n + 6);
    assert_int_equal(tern_token_find(f.t, "<|eot_id|>", 10), n + 9);
    assert_int_equal(tern_token_find(f.t, "<|reserved_special_token_250|>", 30), n + 255);
    assert_int_equal(tern_token_attr_get(f.t, n + 255), TERN_TOKEN_CONTROL);
    test_hf_done(&f);

    /* With one there are its own; it lies under the other name as well. */
    test_hf_text(&f, TERN_HF_SENTENCEPIECE, text);
    test_hf_text(&f, TERN_HF_CONFIG,
                 "{\"added_tokens_decoder\":{\"600\":{\"content\":\"<s>\",\"special\":true}},"
                 "\"bos_token\":\"<s>\"}");
    test_hf_open(&f, 640, "llama-bpe");
    test_hf_ids(&f, json_object_get(all, "texts"), json_object_get(all, "ids"), false, false);
    assert_int_equal(tern_tokenizer_info_get(f.t)->bos, 600);
    assert_int_equal(tern_tokenizer_info_get(f.t)->n_vocab, 640);
    assert_int_equal(tern_token_attr_get(f.t, 599), TERN_TOKEN_UNUSED);
    test_hf_done(&f);
    json_decref(all);
}

static void lines_that_are_none(void **state)
{
    static const char *const rows[] = {
        "YQ== 0\nYg==\n",
        "YQ== 0\nYg== \n",
        "YQ== 0\nYg== x\n",
        "YQ== 0\nYg== -1\n",
        "YQ== 0\nYg=  1\n",
        "YQ== 0\nYg 1\n",
        "YQ== 0\nY*== 1\n",
        "YQ== 0\n==== 1\n",
        "YQ== 0\n 1\n",
        "YQ== 0\n\n",
        "YQ== 0\nYg== 0\n",
        "YQ== 0\nYg== 4294967296\n",
        "YQ== 0\nYg== 99999999999999999999\n",
        "YQ== 0\nYg== 2147483647\n",
        "YQ== 0\nY===\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        test_hf f = {0};
        tern_err err = {0};
        test_hf_text(&f, TERN_HF_TIKTOKEN, rows[i]);
        if (test_hf_read(&f, 0, &err) != TERN_E_FORMAT || !strstr(err.msg, "original/"))
            fail_msg("row %zu: %s", i, err.msg);
        test_hf_done(&f);
    }
}

static void ends_of_lines(void **state)
{
    (void)state;
    test_hf f = {0};
    test_hf_text(&f, TERN_HF_TIKTOKEN, "YQ== 0\r\nYg== 1\r\nYWI= 2");
    test_hf_text(&f, TERN_HF_CONFIG, "{}");
    test_hf_open(&f, 0, "gpt-2");
    assert_int_equal(tern_token_find(f.t, "ab", 2), 2);
    assert_int_equal(tern_dir_meta_find(f.dir, "tokenizer.ggml.merges")->n_elem, 1);
    test_hf_done(&f);
}

static void a_token_too_long(void **state)
{
    (void)state;
    test_hf f = {0};
    tern_err err;
    char *line = malloc(1 << 20);
    assert_non_null(line);
    memset(line, 'A', 1 << 20);
    memcpy(line, "YQ== 0\n", 7);
    memcpy(line + (1 << 20) - 4, " 1\n", 4);
    test_hf_text(&f, TERN_HF_TIKTOKEN, line);
    assert_int_equal(test_hf_read(&f, 0, &err), TERN_E_FORMAT);
    assert_non_null(strstr(err.msg, "line 2"));
    test_hf_done(&f);
    free(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_ids),
        cmocka_unit_test(lines_that_are_none),
        cmocka_unit_test(ends_of_lines),
        cmocka_unit_test(a_token_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
