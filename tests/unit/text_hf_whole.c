/* Published tokenizer files against the GGUF vocabularies that other software made of the same models,
 * and the ids it gives; where the data is (TERN_TEST_DATA). */
#include "support/hf.h"
#include "support/support.h"
#include "support/vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *data(const char *name, size_t *n)
{
    char path[512];
    const char *dir = getenv("TERN_TEST_DATA");
    (void)snprintf(path, sizeof path, "%.300s/tokenizers/%.150s", dir ? dir : "../shared/data",
                   name);
    return test_read_file(path, n);
}

static void lists_equal(const tern_dir *a, const tern_dir *b, const char *key)
{
    const tern_meta *x = tern_dir_meta_find(a, key), *y = tern_dir_meta_find(b, key);
    if (!x != !y || (x && x->n_elem != y->n_elem))
        fail_msg("%s: only one has it, or they differ in length", key);
    for (size_t i = 0; x && i < x->n_elem; i++) {
        bool equal = x->strings ? x->strings[i].n == y->strings[i].n &&
                                      memcmp(x->strings[i].p, y->strings[i].p, x->strings[i].n) == 0
                                : tern_meta_elem_f64(x, i) == tern_meta_elem_f64(y, i);
        if (!equal)
            fail_msg("%s: element %zu differs", key, i);
    }
}

static void ids_equal(const test_hf *f, char *texts, char *lines)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    int n_text = 0;
    for (char *text = texts, *line = lines; text; n_text++) {
        char *end = strstr(text, separator), *line_end = strchr(line, '\n');
        if (end)
            *end = 0;
        if (line_end)
            *line_end = 0;
        test_ids(f->t, text, strlen(text), false, false, line[0] == ' ' ? line + 1 : line);
        text = end ? end + sizeof separator - 1 : NULL;
        line = line_end ? line_end + 1 : line;
    }
    assert_int_equal(n_text, 47);
}

static void whole(tern_hf_file file, const char *name, const char *gguf, size_t n_vocab)
{
    static const char *const lists[] = {"tokenizer.ggml.tokens", "tokenizer.ggml.token_type",
                                        "tokenizer.ggml.scores", "tokenizer.ggml.merges"};
    char other[128];
    test_hf f = {0};
    tern_dir *d;
    tern_err err;
    size_t n, n_gguf, n_text;
    uint8_t *bytes = data(name, &n);
    if (!bytes)
        skip();
    (void)snprintf(other, sizeof other, "%s.inp", gguf);
    char *texts = (char *)data(other, &n_text);
    (void)snprintf(other, sizeof other, "%s.out", gguf);
    char *lines = (char *)data(other, &n_text);
    uint8_t *vocab = data(gguf, &n_gguf);
    assert_true(texts && lines && vocab);
    f.files[file] = (tern_slice){(const char *)bytes, n};
    test_hf_open(&f, n_vocab, NULL);
    assert_int_equal(tern_gguf_open_memory(vocab, n_gguf, gguf, NULL, &d, &err), TERN_OK);
    for (size_t i = 0; i < 4; i++)
        lists_equal(f.dir, d, lists[i]);
    ids_equal(&f, texts, lines);
    tern_dir_close(d);
    test_hf_done(&f);
    free(bytes);
    free(texts);
    free(lines);
    free(vocab);
}

static void gpt_2(void **state)
{
    (void)state;
    whole(TERN_HF_TOKENIZER, "gpt2-tokenizer.json", "ggml-vocab-gpt-2.gguf", 50257);
}

static void llama_2(void **state)
{
    (void)state;
    whole(TERN_HF_SENTENCEPIECE, "llama2-tokenizer.model", "ggml-vocab-llama-spm.gguf", 32000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt_2),
        cmocka_unit_test(llama_2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
