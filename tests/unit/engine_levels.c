/* The same ids and the same logits on every instruction set that this CPU has, down to plain C: of ternary
 * matrices, of floats and of Q8_0. A process sees one CPU, so each level has one of its own.
 * TERN_TEST_LONG=1: 10,000 greedy tokens of each model. */
#include "base/cpu.h"
#include "support/bits.h"
#include "support/model.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Half of the lines are generated side by side, as kernels for several tokens are others than for one. */
#define N_LINE   40
#define N_PROMPT 8
#define LONG_TOK 250
#define SOME_TOK 4

/* As TERN_CPU has them; the whole CPU first. */
static const char *const masks[] = {
    "",        "none",  "avx2",      "avx2,avx_vnni", "avx2,avx512",
    "-avx512", "-vnni", "-avx_vnni", "-amx_int8",
};
#define N_MASK (sizeof masks / sizeof masks[0])

static bool is_long(void)
{
    const char *s = getenv("TERN_TEST_LONG");
    return s && *s && strcmp(s, "0") != 0;
}

/* ---- one level ---------------------------------------------------------------------------- */

typedef struct result {
    bool done;
    tern_err err;
    int32_t ids[N_LINE][LONG_TOK];
    uint64_t logits[N_LINE];
} result;

/* Of a file, or of what file holds. */
typedef struct source {
    const char *name;
    test_model *file; /* NULL: name is a path */
} source;

static tern_code open_source(const source *s, tern_model **m, tern_err *err)
{
    tern_model_opts o;
    tern_model_opts_init(&o);
    o.n_thread = 2;
    o.strict = true;
    o.ffn_sparse = TERN_FFN_SPARSE_ON; /* whatever is faster here: kernels with lists too */
    if (s->file)
        return tern_model_open_memory(s->file->file.data, s->file->file.len, s->name, &o, m, err);
    return tern_model_open(s->name, &o, m, err);
}

static void answer(const source *src, int n_tok, result *r)
{
    static int32_t prompt[N_LINE][N_PROMPT];
    static test_bits b[N_LINE];
    tern_model *m;
    if (open_source(src, &m, &r->err) != TERN_OK)
        return;
    for (int i = 0; i < N_LINE; i++) {
        for (int j = 0; j < N_PROMPT; j++)
            prompt[i][j] = 3 + (i * 37 + j * (i + 5) * 11) % 250;
        test_bits_init(&b[i], prompt[i], N_PROMPT, n_tok);
    }
    r->done = test_bits_generate(m, b, N_LINE / 2, &r->err) == TERN_OK;
    for (int i = N_LINE / 2; i < N_LINE && r->done; i++)
        r->done = test_bits_generate(m, &b[i], 1, &r->err) == TERN_OK;
    for (int i = 0; i < N_LINE; i++) {
        memcpy(r->ids[i], b[i].ids, sizeof r->ids[i]);
        r->logits[i] = b[i].logits;
    }
    tern_model_close(m);
}

/* In a child: the parent never opens a model, so there are no threads and no flags of the CPU yet. */
static void answer_on(const char *mask, const source *src, int n_tok, result *r)
{
    int to[2], status;
    memset(r, 0, sizeof *r);
    assert_int_equal(pipe(to), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        size_t at = 0;
        ssize_t n = setenv("TERN_CPU", mask, 1);
        (void)close(to[0]);
        answer(src, n_tok, r);
        while (n >= 0 && at < sizeof *r) {
            n = write(to[1], (const char *)r + at, sizeof *r - at);
            at += n > 0 ? (size_t)n : 0;
        }
        _exit(n < 0);
    }
    (void)close(to[1]);
    size_t at = 0;
    for (ssize_t n = 1; n > 0 && at<sizeof *r; at += n> 0 ? (size_t)n : 0)
        n = read(to[0], (char *)r + at, sizeof *r - at);
    (void)close(to[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (at < sizeof *r || status != 0 || !r->done)
        fail_msg("%s with TERN_CPU=%s: status %d, %s", src->name, mask, status, r->err.msg);
}

/* ---- all of them -------------------------------------------------------------------------- */

static void compare(const result *a, const result *b, int n_tok, const char *name, const char *mask)
{
    for (int i = 0; i < N_LINE; i++) {
        for (int k = 0; k < n_tok; k++)
            if (a->ids[i][k] != b->ids[i][k])
                fail_msg("%s with TERN_CPU=%s: token %d of line %d is %d, not %d", name, mask, k, i,
                         b->ids[i][k], a->ids[i][k]);
        if (a->logits[i] != b->logits[i])
            fail_msg("%s with TERN_CPU=%s: line %d has other logits", name, mask, i);
    }
}

static void check(const source *src)
{
    static result whole, level;
    int n_tok = is_long() ? LONG_TOK : SOME_TOK, n_seen = 0;
    unsigned seen[N_MASK], flags;
    for (size_t i = 0; i < N_MASK; i++) {
        bool twice = false;
        assert_int_equal(tern_cpu_mask(tern_cpu_detect(), masks[i], &flags, NULL), TERN_OK);
        for (int k = 0; k < n_seen; k++)
            twice |= seen[k] == flags;
        if (twice)
            continue;
        seen[n_seen++] = flags;
        answer_on(masks[i], src, n_tok, n_seen == 1 ? &whole : &level);
        if (n_seen > 1)
            compare(&whole, &level, n_tok, src->name, masks[i]);
    }
    print_message("%s: %d levels, %d tokens each\n", src->name, n_seen, n_tok * N_LINE);
}

static void test_ternary(void **state)
{
    (void)state;
    check(&(source){.name = is_long() ? "models/tern-stories.gguf"
                                      : "models/test/bitnet-tinystories-1M.gguf"});
}

static void test_float(void **state)
{
    (void)state;
    check(&(source){.name = "models/test/stories260K.gguf"});
}

static void test_q8(void **state)
{
    (void)state;
    test_model file;
    test_model_init(&file, &(test_shape){.d_model = 128,
                                         .d_ff = 256,
                                         .n_kv_head = 2,
                                         .matrices = TERN_DT_Q8_0,
                                         .embed = TERN_DT_Q8_0,
                                         .head = true,
                                         .n_ctx = 512});
    test_model_write(&file);
    check(&(source){.name = "q8", .file = &file});
    test_model_done(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ternary),
        cmocka_unit_test(test_float),
        cmocka_unit_test(test_q8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
