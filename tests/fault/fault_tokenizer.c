/* Making a tokenizer and tokenising with every allocation failing in turn. */
#include "base/alloc.h"
#include "support/fault.h"
#include "support/support.h"
#include "support/vocab.h"

#include <string.h>

static const char text[] = "Hello, WORLD 1234  \n\n don't<s>\xF0\x9F\x98\x80 \xFF x";

typedef struct plan {
    const tern_dir *dir;
    const char *pre;
    const tern_tokenizer *t;
} plan;

static tern_code make(void *ctx, tern_err *err)
{
    const plan *p = ctx;
    tern_tokenizer *t;
    tern_code rc = tern_tokenizer_new(p->dir, p->pre, &t, err);
    if (rc == TERN_OK)
        tern_tokenizer_free(t);
    return rc;
}

static tern_code use(void *ctx, tern_err *err)
{
    const plan *p = ctx;
    tern_ids ids = {0};
    tern_code rc = tern_tokenize(p->t, text, sizeof text - 1, true, true, &ids, err);
    if (rc != TERN_OK)
        assert_int_equal(ids.n, 0);
    tern_ids_done(&ids);
    return rc;
}

/* Long enough that every buffer grows. */
static tern_code use_long(void *ctx, tern_err *err)
{
    const plan *p = ctx;
    static char words[3000];
    tern_ids ids = {0};
    for (size_t i = 0; i < sizeof words; i++)
        words[i] = i < 1500 ? "a b1 c"[i % 6] : "abc"[i % 3];
    tern_code rc = tern_tokenize(p->t, words, sizeof words, false, false, &ids, err);
    tern_ids_done(&ids);
    return rc;
}

static void sweep(test_fault_fn fn, plan *p, int n_min)
{
    assert_in_range(test_fault_sweep(fn, p, TEST_FAULT_ONCE, 400), n_min, 400);
    assert_in_range(test_fault_sweep(fn, p, TEST_FAULT_FROM, 400), n_min, 400);
}

static void test_byte_level(void **state)
{
    (void)state;
    test_tokenizer tt;
    test_tokenizer_open(&tt, "tests/golden/tokenizers/llama-bpe.gguf", NULL);
    plan p = {.dir = tt.dir, .t = tt.t};
    sweep(make, &p, 10);
    sweep(use, &p, 6);
    sweep(use_long, &p, 8);
    p.pre = "deepseek-llm";
    sweep(make, &p, 20);
    test_tokenizer_done(&tt);
}

/* Joining the best pair first leaves the pairs around it in the heap and adds two: it grows while
 * merging, not only when it is filled. */
static tern_code use_growing(void *ctx, tern_err *err)
{
    const plan *p = ctx;
    char word[4 * 15];
    tern_ids ids = {0};
    for (size_t i = 0; i < sizeof word; i++)
        word[i] = "axyb"[i % 4];
    tern_code rc = tern_tokenize(p->t, word, sizeof word, false, false, &ids, err);
    tern_ids_done(&ids);
    return rc;
}

static void test_growing_heap(void **state)
{
    (void)state;
    const test_vocab v = {.model = "gpt2",
                          .pre = "gpt-2",
                          .tokens = "a x y b xy ax yb ba axy xyb",
                          .merges = "x+y a+x y+b b+a a+xy xy+b"};
    test_tokenizer tt;
    tern_err err;
    assert_int_equal(test_tokenizer_make(&tt, &v, NULL, &err), TERN_OK);
    plan p = {.t = tt.t};
    sweep(use_growing, &p, 5);
    test_tokenizer_done(&tt);
}

static void test_sentence_piece(void **state)
{
    (void)state;
    test_tokenizer tt;
    test_tokenizer_open(&tt, "tests/golden/tokenizers/tok512.gguf", NULL);
    plan p = {.dir = tt.dir, .t = tt.t};
    sweep(make, &p, 8);
    sweep(use, &p, 4);
    sweep(use_long, &p, 4);
    test_tokenizer_done(&tt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_byte_level),
        cmocka_unit_test(test_growing_heap),
        cmocka_unit_test(test_sentence_piece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
