/* Folders of Hugging Face files in memory. */
#ifndef TERN_TESTS_HF_H
#define TERN_TESTS_HF_H

#include "text/hf_tokenizer.h"
#include "text/tokenizer.h"

#include <jansson.h>

typedef struct test_hf {
    tern_slice files[TERN_HF_FILE_COUNT]; /* p NULL: not there */
    char *owned[TERN_HF_FILE_COUNT];      /* what test_hf_json wrote */
    tern_dir *dir;
    tern_tokenizer *t;
} test_hf;

/* The JSON of a file. */
void test_hf_json(test_hf *f, tern_hf_file file, const json_t *v);
/* Its text, borrowed. */
void test_hf_text(test_hf *f, tern_hf_file file, const char *text);
/* Read them; what was read before is dropped. */
tern_code test_hf_read(test_hf *f, size_t n_vocab, tern_err *err);
/* Read them and make the tokenizer; fails the test when that does not work. */
void test_hf_open(test_hf *f, size_t n_vocab, const char *pre_override);
void test_hf_done(test_hf *f);

/* A key of the directory: the number, or -1 if there is none. */
int64_t test_hf_number(const test_hf *f, const char *key);
/* The ids of each text are those of rows; fails the test if not. */
void test_hf_ids(const test_hf *f, const json_t *texts, const json_t *rows, bool add_special,
                 bool parse_special);

#endif
