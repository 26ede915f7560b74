#include "support/hf.h"
#include "file/dir_make.h"
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

void test_hf_json(test_hf *f, tern_hf_file file, const json_t *v)
{
    char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    assert_non_null(text);
    free(f->owned[file]);
    f->owned[file] = text;
    test_hf_text(f, file, text);
}

void test_hf_text(test_hf *f, tern_hf_file file, const char *text)
{
    f->files[file] = (tern_slice){text, text ? strlen(text) : 0};
}

static void drop(test_hf *f)
{
    tern_tokenizer_free(f->t);
    tern_dir_close(f->dir);
    f->t = NULL;
    f->dir = NULL;
}

tern_code test_hf_read(test_hf *f, size_t n_vocab, tern_err *err)
{
    drop(f);
    assert_int_equal(tern_dir_new("folder", 1 << 12, &f->dir, NULL), TERN_OK);
    return tern_hf_tokenizer_read_files(f->dir, "folder", f->files, n_vocab, err);
}

void test_hf_open(test_hf *f, size_t n_vocab, const char *pre_override)
{
    tern_err err;
    if (test_hf_read(f, n_vocab, &err) != TERN_OK ||
        tern_tokenizer_new(f->dir, pre_override, &f->t, &err) != TERN_OK)
        fail_msg("%s", err.msg);
}

void test_hf_done(test_hf *f)
{
    drop(f);
    for (size_t i = 0; i < TERN_HF_FILE_COUNT; i++)
        free(f->owned[i]);
    *f = (test_hf){0};
}

int64_t test_hf_number(const test_hf *f, const char *key)
{
    const tern_meta *m = tern_dir_meta_find(f->dir, key);
    return m ? (int64_t)m->v.u : -1;
}

static void row_equal(const tern_tokenizer *t, const json_t *text, const json_t *want,
                      bool add_special, bool parse_special)
{
    tern_err err;
    tern_ids ids = {0};
    const char *s = json_string_value(text);
    size_t n = json_string_length(text), i = 0, n_want = json_array_size(want);
    assert_int_equal(tern_tokenize(t, s, n, add_special, parse_special, &ids, &err), TERN_OK);
    while (i < ids.n && i < n_want && json_integer_value(json_array_get(want, i)) == ids.v[i])
        i++;
    if (i < ids.n || i < n_want)
        fail_msg("'%s': id %zu of %zu is %d, not %d", s, i, ids.n, i < ids.n ? (int)ids.v[i] : -1,
                 i < n_want ? (int)json_integer_value(json_array_get(want, i)) : -1);
    tern_ids_done(&ids);
}

void test_hf_ids(const test_hf *f, const json_t *texts, const json_t *rows, bool add_special,
                 bool parse_special)
{
    assert_true(json_array_size(texts) > 0);
    assert_int_equal(json_array_size(rows), json_array_size(texts));
    for (size_t i = 0; i < json_array_size(rows); i++)
        row_equal(f->t, json_array_get(texts, i), json_array_get(rows, i), add_special,
                  parse_special);
}
