/* Small vocabularies written as text, and tokenizers made of them. */
#ifndef TERN_TESTS_VOCAB_H
#define TERN_TESTS_VOCAB_H

#include "text/tokenizer.h"

/* Lists are words separated by spaces, \xNN is one byte, "" an empty list, NULL leaves the key out. */
typedef struct test_vocab {
    const char *model;  /* "gpt2" */
    const char *pre;    /* tokenizer.ggml.pre */
    const char *arch;   /* general.architecture */
    bool all_bytes;     /* the 256 byte tokens stand first, in order of byte */
    const char *tokens; /* "a b ab"; the word [] is an empty token */
    const char *types;  /* of tokens, "1 3": those of all_bytes are 1 */
    const char *scores; /* numbers */
    const char *merges; /* "a+b ab+c" */
    const char
        *keys; /* further keys under tokenizer.ggml: "bos_token_id=u32:1 add_bos_token=true" */
} test_vocab;

/* The GGUF file of it; fails the test at a mistake in v. */
void test_vocab_file(tern_str *out, const test_vocab *v);

/* A tokenizer with the file it stands on. */
typedef struct test_tokenizer {
    tern_str file;
    tern_dir *dir;
    tern_tokenizer *t;
} test_tokenizer;

tern_code test_tokenizer_make(test_tokenizer *tt, const test_vocab *v, const char *pre_override,
                              tern_err *err);
/* The same from a file; fails the test when that does not work. */
void test_tokenizer_open(test_tokenizer *tt, const char *path, const char *pre_override);
void test_tokenizer_done(test_tokenizer *tt);

/* The ids of text[0..n) are want (numbers separated by spaces); fails the test if not. */
void test_ids(const tern_tokenizer *t, const char *text, size_t n, bool add_special,
              bool parse_special, const char *want);

#endif
