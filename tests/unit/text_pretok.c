/* Cutting text into words, against the pieces that other software's regular expressions give. */
#include "support/golden.h"
#include "support/support.h"
#include "text/pretok.h"

#include <jansson.h>
#include <pthread.h>
#include <string.h>

#define GOLDEN "tests/golden/tokenizers/"

static tern_pretok *make(const char *name)
{
    tern_pretok *p;
    tern_err err;
    assert_int_equal(tern_pretok_new(name, strlen(name), &p, &err), TERN_OK);
    return p;
}

/* want: lengths of the pieces. */
static bool pieces_equal(const tern_pieces *p, const json_t *want, size_t *first_bad)
{
    uint32_t end = 0;
    size_t n = json_array_size(want);
    for (*first_bad = 0; *first_bad < n && *first_bad < p->n; ++*first_bad) {
        end += (uint32_t)json_integer_value(json_array_get(want, *first_bad));
        if (p->end[*first_bad] != end)
            return false;
    }
    return p->n == n;
}

static void test_golden_pieces(void **state)
{
    (void)state;
    json_t *texts = test_golden(GOLDEN "texts.json"), *all = test_golden(GOLDEN "pieces.json"),
           *rows;
    const char *name;
    tern_err err;
    assert_int_equal(json_object_size(all), 15);
    json_object_foreach(all, name, rows)
    {
        tern_pretok *p = make(name);
        tern_pieces pieces;
        tern_pieces_init(&pieces);
        assert_int_equal(json_array_size(rows), json_array_size(texts));
        for (size_t i = 0; i < json_array_size(rows); i++) {
            const json_t *text = json_array_get(texts, i), *want = json_array_get(rows, i);
            const char *s = json_string_value(text);
            size_t n = json_string_length(text), bad;
            if (!n) /* there is no piece of nothing */
                continue;
            assert_int_equal(tern_pretok_split(p, s, n, &pieces, &err), TERN_OK);
            if (!pieces_equal(&pieces, want, &bad))
                fail_msg("%s: text %zu '%s': piece %zu of %zu ends at %u", name, i, s, bad,
                         pieces.n, bad < pieces.n ? pieces.end[bad] : 0);
        }
        tern_pieces_done(&pieces);
        tern_pretok_free(p);
    }
    json_decref(all);
    json_decref(texts);
}

static void test_every_name_compiles_once(void **state)
{
    (void)state;
    tern_pretok *p;
    tern_err err;
    size_t n = 0;
    for (const char *name; (name = tern_pretok_name_at(n)); n++) {
        p = make(name);
        assert_string_equal(tern_pretok_name_get(p), name);
        tern_pretok_free(p);
        for (size_t i = 0; i < n; i++)
            assert_string_not_equal(tern_pretok_name_at(i), name);
    }
    assert_true(n >= 50);
    assert_int_equal(tern_pretok_new("", 0, &p, &err), TERN_E_UNSUPPORTED);
    assert_int_equal(tern_pretok_new("qwen", 4, &p, &err), TERN_E_UNSUPPORTED);
    assert_int_equal(tern_pretok_new("qwen22", 6, &p, &err), TERN_E_UNSUPPORTED);
    assert_int_equal(tern_pretok_new("qwen2", 5, &p, &err), TERN_OK);
    tern_pretok_free(p);
}

static void test_what_names_imply(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool ignore_merges, add_bos;
    } rows[] = {
        {"llama-bpe", true, true}, {"llama3", true, true},    {"falcon3", true, true},
        {"falcon_e", true, true},  {"lfm2", true, true},      {"tekken", true, true},
        {"glm4", true, false},     {"dbrx", false, false},    {"qwen2", false, false},
        {"gpt-2", false, false},   {"default", false, false}, {"deepseek-v3", false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tern_pretok *p = make(rows[i].name);
        assert_int_equal(tern_pretok_ignores_merges(p), rows[i].ignore_merges);
        assert_int_equal(tern_pretok_adds_bos(p), rows[i].add_bos);
        tern_pretok_free(p);
    }
}

/* One compiled pre-tokeniser, several threads. */
static void test_steps_by_name(void **state)
{
    static const char *const good[] = {"steps:words", "steps:digit+words",
                                       "steps:digit+digit+digit+digit+digit+words"};
    static const char *const bad[] = {
        "steps:",          "steps",
        "steps:word",      "steps:words+",
        "steps:+words",    "steps:words words",
        "words",           "steps:digit++",
        "steps:llama-bpe", "steps:digit+digit+digit+digit+digit+digit+words"};
    (void)state;
    tern_pretok *p;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(tern_pretok_new(good[i], strlen(good[i]), &p, NULL), TERN_OK);
        assert_string_equal(tern_pretok_name_get(p), good[i]);
        assert_false(tern_pretok_ignores_merges(p) || tern_pretok_adds_bos(p));
        tern_pretok_free(p);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(tern_pretok_new(bad[i], strlen(bad[i]), &p, NULL), TERN_E_UNSUPPORTED);
    tern_pieces pieces;
    tern_pieces_init(&pieces);
    assert_int_equal(tern_pretok_new("steps:words+ascii1", 18, &p, NULL), TERN_OK);
    assert_int_equal(tern_pretok_split(p, "ab 12", 5, &pieces, NULL), TERN_OK);
    assert_int_equal(pieces.n, 4); /* "ab" " " "1" "2" */
    assert_int_equal(pieces.end[1], 3);
    tern_pieces_done(&pieces);
    tern_pretok_free(p);
}

static void *split_often(void *arg)
{
    static const char text[] = "The 1234 words, of SEVERAL threads'll agree!\n\n  Yes.";
    const tern_pretok *p = arg;
    tern_pieces a;
    tern_err err;
    size_t bad = 0;
    tern_pieces_init(&a);
    for (int i = 0; i < 2000; i++)
        bad += tern_pretok_split(p, text, sizeof text - 1, &a, &err) != TERN_OK || a.n != 15;
    tern_pieces_done(&a);
    return (void *)bad;
}

static void test_threads_share_one(void **state)
{
    (void)state;
    tern_pretok *p = make("llama-bpe");
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, split_often, p), 0);
    for (int i = 0; i < 4; i++) {
        void *bad = p;
        assert_int_equal(pthread_join(t[i], &bad), 0);
        assert_null(bad);
    }
    tern_pretok_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_pieces),     cmocka_unit_test(test_every_name_compiles_once),
        cmocka_unit_test(test_what_names_imply),  cmocka_unit_test(test_steps_by_name),
        cmocka_unit_test(test_threads_share_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
