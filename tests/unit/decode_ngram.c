/* Drafts from the text so far, against a search through all of it. */
#include "base/alloc.h"
#include "decode/ngram.h"
#include "support/fault.h"
#include "support/support.h"

#include <string.h>

#define N_TOK 4000

static void init(tern_ngram *g)
{
    tern_err err = {0};
    if (tern_ngram_init(g, &err) != TERN_OK)
        fail_msg("%s", err.msg);
}

/* Tokens before a and before b that are equal, at most TERN_NGRAM_LONGEST. */
static int agreement(const int32_t *ids, int a, int b)
{
    int n = 0;
    while (n < TERN_NGRAM_LONGEST && n < a && ids[a - 1 - n] == ids[b - 1 - n])
        n++;
    return n;
}

/* The most recent earlier end of the last k tokens, 0 if there is none. */
static int last_place(const int32_t *ids, int n, int k)
{
    for (int pos = n - 1; pos >= k; pos--)
        if (agreement(ids, pos, n) >= k)
            return pos;
    return 0;
}

/* What is found is a place where the text stood before, and the agreement is as long as it says. A place
 * is missed only where others have taken its three slots. */
static void test_places_are_what_a_search_finds(void **state)
{
    (void)state;
    static const uint32_t kinds[] = {2, 5, 30, 400, 5000}; /* tokens in use */
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        static int32_t ids[N_TOK];
        uint32_t seed = 7;
        int n_there = 0, n_found = 0, n_best = 0;
        tern_ngram g;
        init(&g);
        for (int i = 0; i < N_TOK; i++) {
            bool copy = i > 100 && test_rand(&seed) % 4; /* half of the text repeats */
            ids[i] = copy ? ids[i - 100] : (int32_t)(test_rand(&seed) % kinds[k]);
            tern_ngram_push(&g, ids[i]);
            int place = last_place(ids, i + 1, TERN_NGRAM_LEAST), longest = 0;
            for (int n = TERN_NGRAM_LEAST; n <= 4; n++) {
                int at = last_place(ids, i + 1, n);
                int same = at ? agreement(ids, at, i + 1) : 0;
                longest = same > longest ? same : longest;
            }
            n_there += place > 0;
            n_found += g.found > 0;
            if (g.found) {
                assert_true(g.found <= (uint32_t)i);
                assert_int_equal(g.n_match, agreement(ids, (int)g.found, i + 1));
                assert_in_range(g.n_match, TERN_NGRAM_LEAST, longest);
                n_best += g.n_match == longest;
            }
        }
        print_message("%u tokens in use: %d places, %d found, %d of them the best\n", kinds[k],
                      n_there, n_found, n_best);
        assert_true(n_found <= n_there);
        assert_true(n_found * 100 >= n_there * 98);
        assert_true(n_best * 100 >= n_found * 95);
        tern_ngram_done(&g);
    }
}

static void push_all(tern_ngram *g, const int32_t *ids, int n)
{
    for (int i = 0; i < n; i++)
        tern_ngram_push(g, ids[i]);
}

static void test_drafts_continue_the_place(void **state)
{
    (void)state;
    static const int32_t text[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4};
    static const int32_t after[] = {5, 6, 7, 8, 9, 2, 3};
    static const int32_t later[] = {10, 3, 4};
    int32_t ids[20];
    tern_ngram g;
    init(&g);
    push_all(&g, text, 11);
    push_all(&g, text + 11, 1);
    assert_int_equal(g.n_match, 3);
    assert_int_equal(tern_ngram_draft(&g, ids, 7), 7);
    assert_memory_equal(ids, after, sizeof after);
    assert_int_equal(tern_ngram_draft(&g, ids, 0), 0);
    push_all(&g, later, 3); /* the most recent "3 4" is followed by 10 */
    assert_int_equal(g.n_match, 2);
    assert_int_equal(tern_ngram_draft(&g, ids, 1), 1);
    assert_int_equal(ids[0], 10);
    tern_ngram_push(&g, 77); /* never seen */
    assert_int_equal(tern_ngram_draft(&g, ids, 1), 0);
    tern_ngram_done(&g);

    /* A text that repeats itself goes on repeating itself, beyond what was said. */
    init(&g);
    for (int i = 0; i < 9; i++)
        tern_ngram_push(&g, 20 + i % 3);
    assert_int_equal(tern_ngram_draft(&g, ids, 20), 20);
    for (int i = 0; i < 20; i++)
        assert_int_equal(ids[i], 20 + i % 3);
    tern_ngram_done(&g);
}

/* One token over and over, and no two alike. */
static void test_extremes(void **state)
{
    (void)state;
    int32_t id;
    tern_ngram g;
    init(&g);
    for (int i = 0; i < 5000; i++)
        tern_ngram_push(&g, 3);
    assert_int_equal(g.n_match, TERN_NGRAM_LONGEST);
    assert_int_equal(tern_ngram_draft(&g, &id, 1), 1);
    assert_int_equal(id, 3);
    for (int i = 0; i < 5000; i++) {
        tern_ngram_push(&g, 10 + i);
        assert_int_equal(tern_ngram_draft(&g, &id, 1), 0);
    }
    tern_ngram_done(&g);
}

/* ---- memory ------------------------------------------------------------------------------- */

static tern_code push_many(void *ctx, tern_err *err)
{
    tern_ngram g;
    tern_code rc = tern_ngram_init(&g, err);
    for (int i = 0; rc == TERN_OK && i < *(int *)ctx; i++)
        tern_ngram_push(&g, i % 70000);
    tern_ngram_done(&g);
    return rc;
}

static void test_memory_is_bounded(void **state)
{
    (void)state;
    tern_code rc;
    tern_err err;
    int few = 200, most = TERN_NGRAM_MAX, more = 10 * TERN_NGRAM_MAX;
    size_t little = test_alloc_bytes(push_many, &few, &rc, &err);
    size_t all = test_alloc_bytes(push_many, &most, &rc, &err);
    assert_int_equal(rc, TERN_OK);
    assert_true(little <= 8192);
    assert_true(all <=
                (size_t)TERN_NGRAM_MAX * 48); /* 20 bytes a token, and all the halves before */
    assert_int_equal(test_alloc_bytes(push_many, &more, &rc, &err), all);
}

/* What has left the window is not found; what is in it is. */
static void test_the_window_moves_on(void **state)
{
    (void)state;
    int32_t ids[3];
    tern_ngram g;
    init(&g);
    for (int i = 0; i < 5; i++)
        tern_ngram_push(&g, 900000 + i);
    for (int i = 0; i < 2 * TERN_NGRAM_MAX; i++)
        tern_ngram_push(&g, i);
    tern_ngram_push(&g, 900000);
    tern_ngram_push(&g, 900001);
    assert_int_equal(tern_ngram_draft(&g, ids, 1), 0);
    int recent = 2 * TERN_NGRAM_MAX - 60000;
    tern_ngram_push(&g, recent);
    tern_ngram_push(&g, recent + 1);
    assert_int_equal(tern_ngram_draft(&g, ids, 3), 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(ids[i], recent + 2 + i);
    tern_ngram_done(&g);
}

/* Positions run out after 2^32 tokens: then it begins anew. */
static void test_positions_run_out(void **state)
{
    (void)state;
    int32_t id;
    tern_ngram g;
    init(&g);
    for (int i = 0; i < TERN_NGRAM_MAX; i++)
        tern_ngram_push(&g, i);
    g.n_tok = UINT32_MAX - 2;
    for (int i = 0; i < 300; i++)
        tern_ngram_push(&g, i % 10);
    assert_true(g.n_tok < 300);
    assert_int_equal(tern_ngram_draft(&g, &id, 1), 1);
    assert_int_equal(id, 0);
    tern_ngram_done(&g);
}

static bool always(void *ctx, const char *site, size_t size)
{
    (void)ctx;
    (void)site;
    (void)size;
    return true;
}

static void test_without_memory_it_remembers_less(void **state)
{
    (void)state;
    int32_t id;
    tern_ngram g;
    tern_err err;
    init(&g);
    tern_alloc_hook_set(always, NULL);
    for (int i = 0; i < 10000; i++)
        tern_ngram_push(&g, i % 100);
    int n = tern_ngram_draft(&g, &id, 1);
    tern_ngram none;
    tern_code rc = tern_ngram_init(&none, &err);
    tern_alloc_hook_set(NULL, NULL);
    assert_int_equal(n, 1);
    assert_int_equal(id, 0);
    assert_int_equal(rc, TERN_E_NOMEM);
    tern_ngram_done(&none);
    tern_ngram_done(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places_are_what_a_search_finds),
        cmocka_unit_test(test_drafts_continue_the_place),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_the_window_moves_on),
        cmocka_unit_test(test_positions_run_out),
        cmocka_unit_test(test_without_memory_it_remembers_less),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
