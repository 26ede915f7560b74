/* What models say, to the last bit: ids that are generated and a hash of the logits they were chosen from.
 * Nothing here ends a test, so that a child process may use it. */
#ifndef TERN_TESTS_BITS_H
#define TERN_TESTS_BITS_H

#include "tern.h"

#define TEST_BITS_TOKENS 256

typedef struct test_bits {
    const int32_t *prompt; /* [n_prompt]; borrowed */
    size_t n_prompt;
    tern_gen_opts gen; /* n_predict is 1..TEST_BITS_TOKENS, and ends are ignored */
    int32_t ids[TEST_BITS_TOKENS];
    uint64_t logits; /* FNV-1a of the rows the ids were chosen from, as they lie in memory */
} test_bits;

/* FNV-1a with 64 bits, which other software has as well. Begins with TEST_FNV. */
#define TEST_FNV 0xcbf29ce484222325u
uint64_t test_fnv(uint64_t hash, const void *data, size_t n);

/* Greedy without drafts, n_predict tokens. */
void test_bits_init(test_bits *b, const int32_t *prompt, size_t n_prompt, int n_predict);
/* Fill in ids and logits of b[0..n), generated side by side. */
tern_code test_bits_generate(tern_model *m, test_bits *b, size_t n, tern_err *err);
/* The same hash of logits, of prompt and ids read at once. */
tern_code test_bits_read(tern_model *m, const test_bits *b, uint64_t *logits, tern_err *err);

#endif
