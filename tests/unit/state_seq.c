#include "base/alloc.h"
#include "state/seq.h"
#include "support/support.h"

#include <string.h>

static const tern_kv_shape shape = {
    .n_block = 3, .n_kv_head = 2, .d_k = 16, .d_v = 16, .k = TERN_KV_F16, .v = TERN_KV_I8};

static uint16_t *k_at(const tern_seq *s, int block, int pos, int head)
{
    tern_kv_rows r = tern_seq_k(s, block, pos / TERN_PAGE_TOK, head);
    return (uint16_t *)r.rows + (size_t)(pos % TERN_PAGE_TOK) * 16;
}

/* Append n tokens whose K is a mark of (block, position, head). */
static void append(tern_seq *s, int n, uint16_t mark)
{
    int32_t ids[300];
    assert_int_equal(tern_seq_reserve(s, n, NULL), TERN_OK);
    for (int i = 0; i < n; i++) {
        ids[i] = mark + i;
        for (int b = 0; b < 3; b++)
            for (int h = 0; h < 2; h++)
                k_at(s, b, s->n_tok + i, h)[5] = (uint16_t)(mark + 100 * b + 10 * h + s->n_tok + i);
    }
    tern_seq_commit(s, ids, n);
}

static void expect(const tern_seq *s, int pos, uint16_t mark)
{
    for (int b = 0; b < 3; b++)
        for (int h = 0; h < 2; h++)
            assert_int_equal(k_at(s, b, pos, h)[5], (uint16_t)(mark + 100 * b + 10 * h + pos));
}

static void test_rows_do_not_overlap(void **state)
{
    (void)state;
    tern_seq s;
    assert_int_equal(tern_seq_init(&s, &shape, 300, NULL), TERN_OK);
    append(&s, 200, 1000);
    for (int b = 0; b < 3; b++)
        for (int h = 0; h < 2; h++) {
            tern_kv_rows v = tern_seq_v(&s, b, 1, h);
            assert_non_null(v.scale);
            memset(v.rows, 0xee, TERN_PAGE_TOK * 16);
            memset(v.scale, 0xee, TERN_PAGE_TOK * sizeof(float));
        }
    for (int pos = 0; pos < 200; pos++)
        expect(&s, pos, 1000);
    tern_seq_done(&s);
}

static void test_a_snapshot_keeps_what_was_and_costs_no_pages(void **state)
{
    (void)state;
    tern_seq a, b;
    assert_int_equal(tern_seq_init(&a, &shape, 300, NULL), TERN_OK);
    append(&a, 100, 1000);
    assert_int_equal(tern_seq_snapshot(&a, &b, NULL), TERN_OK);
    assert_ptr_equal(a.pages[0], b.pages[0]);
    append(&a, 20, 7000); /* into the shared last page: a gets its own copy */
    append(&b, 5, 9000);
    assert_ptr_equal(a.pages[0], b.pages[0]);
    assert_ptr_not_equal(a.pages[1], b.pages[1]);
    for (int pos = 0; pos < 100; pos++) {
        expect(&a, pos, 1000);
        expect(&b, pos, 1000);
    }
    expect(&a, 101, 7000);
    expect(&b, 101, 9000);
    assert_int_equal(a.ids[100], 7000);
    assert_int_equal(b.ids[100], 9000);
    tern_seq_done(&a);
    expect(&b, 3, 1000); /* shared pages outlive the sequence they came from */
    tern_seq_done(&b);
}

static void test_truncate_forgets_and_frees(void **state)
{
    (void)state;
    tern_seq s;
    assert_int_equal(tern_seq_init(&s, &shape, 300, NULL), TERN_OK);
    append(&s, 200, 1000);
    tern_seq_truncate(&s, 70);
    assert_int_equal(s.n_tok, 70);
    assert_int_equal(s.n_page, 2);
    tern_seq_truncate(&s, 500);
    assert_int_equal(s.n_tok, 70);
    append(&s, 10, 5000);
    expect(&s, 69, 1000);
    expect(&s, 75, 5000);
    tern_seq_truncate(&s, 0);
    assert_int_equal(s.n_page, 0);
    tern_seq_done(&s);
}

static void test_the_context_is_a_limit(void **state)
{
    (void)state;
    tern_seq s;
    tern_err err;
    assert_int_equal(tern_seq_init(&s, &shape, 0, &err), TERN_E_USAGE);
    assert_int_equal(tern_seq_init(&s, &shape, 100, NULL), TERN_OK);
    append(&s, 90, 1);
    assert_int_equal(tern_seq_reserve(&s, 11, &err), TERN_E_LIMIT);
    assert_int_equal(s.n_tok, 90);
    append(&s, 10, 1);
    assert_int_equal(tern_seq_reserve(&s, 1, &err), TERN_E_LIMIT);
    tern_seq_done(&s);
}

static bool no_pages(void *ctx, const char *site, size_t size)
{
    (void)size;
    return strcmp(site, "pages") == 0 && (*(int *)ctx)-- <= 0;
}

static void test_failing_to_reserve_changes_nothing(void **state)
{
    (void)state;
    tern_seq s;
    tern_err err;
    int left = 2;
    assert_int_equal(tern_seq_init(&s, &shape, 300, NULL), TERN_OK);
    append(&s, 10, 1000);
    tern_alloc_hook_set(no_pages, &left);
    assert_int_equal(tern_seq_reserve(&s, 250, &err), TERN_E_NOMEM);
    tern_alloc_hook_set(NULL, NULL);
    assert_int_equal(s.n_page, 1);
    expect(&s, 5, 1000);
    append(&s, 250, 2000);
    tern_seq_done(&s);
}

static bool count(void *ctx, const char *site, size_t size)
{
    (void)site;
    *(size_t *)ctx += size;
    return false;
}

/* The longest context an int can name costs what its tokens cost. */
static void test_a_context_is_only_a_promise(void **state)
{
    (void)state;
    tern_seq s, copy;
    size_t bytes = 0;
    tern_alloc_hook_set(count, &bytes);
    assert_int_equal(tern_seq_init(&s, &shape, INT32_MAX, NULL), TERN_OK);
    tern_alloc_hook_set(NULL, NULL);
    assert_true(bytes < 4096);
    for (int i = 0; i < 40; i++)
        append(&s, 13, (uint16_t)(1000 + 13 * i));
    assert_int_equal(tern_seq_snapshot(&s, &copy, NULL), TERN_OK);
    for (int i = 0; i < 40 * 13; i++) {
        assert_int_equal(s.ids[i], 1000 + i);
        assert_int_equal(copy.ids[i], 1000 + i);
        expect(&copy, i, (uint16_t)(1000 + 13 * (i / 13)));
    }
    assert_int_equal(tern_seq_reserve(&s, INT32_MAX - 40 * 13 + 1, NULL), TERN_E_LIMIT);
    tern_seq_done(&copy);
    tern_seq_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_do_not_overlap),
        cmocka_unit_test(test_a_snapshot_keeps_what_was_and_costs_no_pages),
        cmocka_unit_test(test_truncate_forgets_and_frees),
        cmocka_unit_test(test_the_context_is_a_limit),
        cmocka_unit_test(test_failing_to_reserve_changes_nothing),
        cmocka_unit_test(test_a_context_is_only_a_promise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
