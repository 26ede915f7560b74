/* Reading a Hugging Face folder with every allocation failing in turn. */
#include "file/dir_make.h"
#include "support/fault.h"
#include "support/hf.h"
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

typedef struct plan {
    tern_slice files[TERN_HF_FILE_COUNT];
    const char *text; /* to tokenise */
} plan;

static tern_code use(void *ctx, tern_err *err)
{
    const plan *p = ctx;
    tern_dir *d;
    tern_tokenizer *t = NULL;
    tern_ids ids = {0};
    tern_code rc = tern_dir_new("folder", 1 << 12, &d, err);
    if (rc != TERN_OK)
        return rc;
    rc = tern_hf_tokenizer_read_files(d, "folder", p->files, 0, err);
    if (rc == TERN_OK)
        rc = tern_tokenizer_new(d, NULL, &t, err);
    if (rc == TERN_OK)
        rc = tern_tokenize(t, p->text, strlen(p->text), true, true, &ids, err);
    tern_ids_done(&ids);
    tern_tokenizer_free(t);
    tern_dir_close(d);
    return rc;
}

static void sweep(plan *p, int n_min)
{
    assert_in_range(test_fault_sweep(use, p, TEST_FAULT_ONCE, 2000), n_min, 2000);
    assert_in_range(test_fault_sweep(use, p, TEST_FAULT_FROM, 2000), n_min, 2000);
}

static void golden_folders(void **state)
{
    (void)state;
    json_t *all = json_load_file("tests/golden/hf/folders.json", 0, NULL), *row;
    const char *name;
    json_object_foreach(json_object_get(all, "folders"), name, row)
    {
        const json_t *files = json_object_get(row, "files");
        char *tokenizer = json_dumps(json_object_get(files, "tokenizer.json"), JSON_COMPACT);
        char *config = json_dumps(json_object_get(files, "tokenizer_config.json"), JSON_COMPACT);
        assert_true(tokenizer && config);
        plan p = {.text = "Hello <tag> cafe\xCC\x81  <|halt|> x"};
        p.files[TERN_HF_TOKENIZER] = (tern_slice){tokenizer, strlen(tokenizer)};
        p.files[TERN_HF_CONFIG] = (tern_slice){config, strlen(config)};
        sweep(&p, 20);
        free(tokenizer);
        free(config);
    }
    json_decref(all);
}

static void composing(void **state)
{
    static const char tokenizer[] =
        "{\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_"
        "space\":"
        "false},\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}}";
    (void)state;
    plan p = {.text = "abe\xCC\x81"};
    p.files[TERN_HF_TOKENIZER] = (tern_slice){tokenizer, sizeof tokenizer - 1};
    sweep(&p, 15);
}

static void other_files(void **state)
{
    (void)state;
    size_t n;
    uint8_t *model = test_read_file("tests/golden/hf/tok512.model", &n);
    assert_non_null(model);
    plan p = {.text = "Hello there"};
    p.files[TERN_HF_SENTENCEPIECE] = (tern_slice){(const char *)model, n};
    sweep(&p, 15);
    p = (plan){.text = "abab"};
    p.files[TERN_HF_TIKTOKEN] = (tern_slice){"YQ== 0\nYg== 1\nYWI= 2\n", 21};
    sweep(&p, 15);
    free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_folders),
        cmocka_unit_test(composing),
        cmocka_unit_test(other_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
