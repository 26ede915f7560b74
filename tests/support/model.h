/* Tiny models written to memory: valid to begin with, then changed as a test wants. */
#ifndef TERN_TESTS_MODEL_H
#define TERN_TESTS_MODEL_H

#include "base/str.h"
#include "tensor/tensor.h"

/* The vocabulary is SentencePiece's: <unk>, <s>, </s>, the 256 byte tokens, then a to e. */
#define TEST_MODEL_VOCAB 264

/* Zero fields mean: llama, 2 layers, width 64, ffn 128, 4 heads, as many KV heads, context 64. */
typedef struct test_shape {
    const char *arch;
    int n_layer, d_model, d_ff, n_head, n_kv_head, n_ctx;
    tern_dtype matrices; /* of the blocks; TERN_DT_F32 */
    tern_dtype embed;
    bool head; /* a head of its own, of type embed */
} test_shape;

typedef struct test_tensor {
    char name[48];
    uint32_t type; /* the file's number */
    uint32_t n_dim;
    uint64_t ne[4];
    tern_str data;
} test_tensor;

typedef struct test_key {
    char name[80];
    tern_str value; /* type number and bytes */
} test_key;

typedef struct test_model {
    test_shape shape; /* with the defaults filled in */
    test_key keys[40];
    test_tensor tensors[96];
    size_t n_key, n_tensor;
    tern_str file; /* as it was opened last */
} test_model;

/* The architectures' own tensors are there: of qwen2 biases, of qwen3 and gemma3 norms per head, of gemma3
 * norms behind mixer and ffn, of the bitnet family norms within the block, of phi3 fused matrices. Values
 * are the same each time. */
void test_model_init(test_model *m, const test_shape *s);
void test_model_done(test_model *m);
/* Set a key to "TYPE VALUE" in the words of support/bytes.h, "u32:4 u32:7"; NULL removes it. A name
 * that begins with a dot is the architecture's. */
void test_model_key(test_model *m, const char *name, const char *script);
/* Fails the test when there is none. */
test_tensor *test_model_tensor(test_model *m, const char *name);
void test_model_drop(test_model *m, const char *name);
/* A matrix of small random values, or a vector (rows 0) of values around 1. */
void test_model_add(test_model *m, const char *name, tern_dtype dt, size_t rows, size_t cols);
/* The file's bytes, into m->file. */
void test_model_write(test_model *m);
/* Write and open with one thread. The model borrows m->file. */
tern_code test_model_open(test_model *m, tern_model **out, tern_err *err);
/* A small ternary model, made and opened; fails the test if that fails. The model borrows m->file. */
tern_model *test_model_ternary(test_model *m, int n_layer, int n_ctx, int n_thread);
/* A grammar for a model's answers; tern_grammar_free it. */
tern_grammar *test_model_grammar(const tern_model *m, tern_grammar_kind kind, const char *text);
/* Everything one does with a model: describe, tokenise, evaluate, generate greedily and by sampling
 * with every type of cache, detokenise. Each id must be in the vocabulary, each text valid UTF-8. */
void test_model_use(tern_model *m);

/* The model of a file, checked strictly; the test fails where it does not open. */
tern_model *test_model_file(const char *path, int n_thread, tern_head_mode head);

#endif
