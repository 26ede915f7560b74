/* One character repeated to 1 MiB, the worst case for merging and for patterns that backtrack: at
 * most a second of CPU time on a stack of 64 KiB. */
#include "support/support.h"
#include "support/vocab.h"
#include "text/pretok.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GOLDEN "tests/golden/tokenizers/"
#define MIB    ((size_t)1 << 20)

#if TEST_INSTRUMENTED
#define LIMIT_MS    10000
#define STACK_BYTES MIB
#else
#define LIMIT_MS    1000
#define STACK_BYTES ((size_t)64 << 10)
#endif

/* One of each family of patterns. */
static const char *const families[] = {"llama-bpe",      "qwen2",        "qwen35",     "llada-moe",
                                       "seed-coder",     "gpt-4o",       "tekken",     "minicpm5",
                                       "gpt-2",          "starcoder",    "falcon",     "default",
                                       "deepseek-coder", "deepseek-llm", "deepseek-v3"};
static const char *const units[] = {"a", " ", "\n", "1", ".", "\xC3\xA9"};
#define N_UNIT (sizeof units / sizeof units[0])
/* For patterns only: letters of both cases at once, marks, runs of several kinds. */
static const char *const mixed[] = {"A",    "aA",       "\xCA\xB0", "\xCC\x81", "\xE4\xB8\xAD",
                                    "\r\n", " \n",      "a ",       "'",        "\t",
                                    " 1",   "A\xCC\x81"};
#define N_MIXED (sizeof mixed / sizeof mixed[0])

typedef struct job {
    const tern_tokenizer *t; /* or */
    const tern_pretok *p;
    const char *text;
    size_t n;
    /* result */
    tern_code rc;
    tern_err err;
    int64_t ms;
    size_t bytes; /* of all pieces or tokens together */
} job;

static int64_t cpu_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void *work(void *arg)
{
    job *j = arg;
    int64_t start = cpu_ms();
    if (j->t) {
        tern_ids ids = {0};
        j->rc = tern_tokenize(j->t, j->text, j->n, false, false, &ids, &j->err);
        j->ms = cpu_ms() - start;
        for (size_t i = 0; i < ids.n; i++)
            j->bytes += tern_token_bytes(j->t, ids.v[i]).n;
        tern_ids_done(&ids);
    } else {
        tern_pieces pieces;
        tern_pieces_init(&pieces);
        j->rc = tern_pretok_split(j->p, j->text, j->n, &pieces, &j->err);
        j->ms = cpu_ms() - start;
        j->bytes = pieces.n ? pieces.end[pieces.n - 1] : 0;
        tern_pieces_done(&pieces);
    }
    return NULL;
}

static void run(const char *name, job j, const char *unit, char *buf, size_t n)
{
    size_t len = strlen(unit);
    pthread_attr_t attr;
    pthread_t thread;
    n = n / len * len;
    for (size_t i = 0; i < n; i += len)
        memcpy(buf + i, unit, len);
    j.text = buf;
    j.n = n;
    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstacksize(&attr, STACK_BYTES), 0);
    assert_int_equal(pthread_create(&thread, &attr, work, &j), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(pthread_attr_destroy(&attr), 0);
    if (j.rc != TERN_OK)
        fail_msg("%s: '%s': %s", name, unit, j.err.msg);
    if (j.ms > LIMIT_MS)
        fail_msg("%s: '%s' repeated to %zu bytes took %d ms", name, unit, n, (int)j.ms);
    /* The SentencePiece model puts a space before a text and drops those at its ends. */
    bool spm = j.t && tern_tokenizer_pads(j.t);
    assert_int_equal(j.bytes, spm ? (unit[0] == ' ' ? 0 : n + 1) : n);
}

static void test_cutting(void **state)
{
    (void)state;
    char *buf = malloc(MIB);
    assert_non_null(buf);
    for (size_t k = 0; k < sizeof families / sizeof families[0]; k++) {
        job j = {0};
        tern_pretok *p;
        assert_int_equal(tern_pretok_new(families[k], strlen(families[k]), &p, &j.err), TERN_OK);
        j.p = p;
        for (size_t i = 0; i < N_UNIT; i++)
            run(families[k], j, units[i], buf, MIB);
        for (size_t i = 0; i < N_MIXED; i++)
            run(families[k], j, mixed[i], buf, MIB / 8);
        tern_pretok_free(p);
    }
    free(buf);
}

static void tokenise(const char *name)
{
    char path[256], *buf = malloc(MIB);
    test_tokenizer tt;
    assert_non_null(buf);
    (void)snprintf(path, sizeof path, GOLDEN "%s.gguf", name);
    test_tokenizer_open(&tt, path, NULL);
    job j = {.t = tt.t};
    for (size_t i = 0; i < N_UNIT; i++)
        run(name, j, units[i], buf, MIB);
    test_tokenizer_done(&tt);
    free(buf);
}

static void test_tokenising_bpe(void **state)
{
    (void)state;
    tokenise("llama-bpe");
}

static void test_tokenising_sentence_piece(void **state)
{
    (void)state;
    tokenise("tok512");
}

/* The worst of merging: a vocabulary in which the whole text becomes one chain of joins. */
static void test_tokenising_doubled(void **state)
{
    (void)state;
    char tokens[16384] = "", merges[32768] = "", *buf = malloc(MIB);
    assert_non_null(buf);
    for (size_t len = 1; len <= 1024; len *= 2) {
        char word[1026];
        memset(word, 'a', len);
        word[len] = ' ';
        word[len + 1] = 0;
        strcat(tokens, word);
        if (len == 1024)
            break;
        word[len] = '+';
        strcat(merges, word);
        word[len] = ' ';
        strcat(merges, word);
    }
    const test_vocab v = {.model = "gpt2", .pre = "gpt-2", .tokens = tokens, .merges = merges};
    test_tokenizer tt;
    tern_err err;
    assert_int_equal(test_tokenizer_make(&tt, &v, NULL, &err), TERN_OK);
    run("doubled", (job){.t = tt.t}, "a", buf, MIB);
    test_tokenizer_done(&tt);
    free(buf);
}

/* Many special tokens that nearly match everywhere. */
static void test_many_special_tokens(void **state)
{
    (void)state;
    char *tokens = malloc(150 * 256 + 8), *types = malloc(2048), *p = tokens, *buf = malloc(MIB);
    assert_true(tokens && types && buf);
    memcpy(p, "a b", 3);
    memcpy(types, "1 1", 4);
    p += 3;
    for (size_t i = 0; i < 150; i++) { /* a...ab, each longer by one */
        *p++ = ' ';
        memset(p, 'a', i + 100);
        p += i + 100;
        *p++ = 'b';
        memcpy(types + 3 + 2 * i, " 3", 3);
    }
    *p = 0;
    const test_vocab v = {
        .model = "gpt2", .pre = "gpt-2", .tokens = tokens, .types = types, .merges = ""};
    test_tokenizer tt;
    tern_err err;
    tern_ids ids = {0};
    assert_int_equal(test_tokenizer_make(&tt, &v, NULL, &err), TERN_OK);
    memset(buf, 'a', MIB);
    int64_t start = cpu_ms();
    assert_int_equal(tern_tokenize(tt.t, buf, MIB / 4, false, true, &ids, &err), TERN_OK);
    assert_true(cpu_ms() - start < LIMIT_MS);
    assert_int_equal(ids.n, MIB / 4);
    tern_ids_done(&ids);
    test_tokenizer_done(&tt);
    free(buf);
    free(tokens);
    free(types);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cutting),
        cmocka_unit_test(test_tokenising_bpe),
        cmocka_unit_test(test_tokenising_sentence_piece),
        cmocka_unit_test(test_tokenising_doubled),
        cmocka_unit_test(test_many_special_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
