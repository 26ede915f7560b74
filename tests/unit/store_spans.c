/* Ranges that are there, against a plain array of bytes. */
#include "store/spans.h"
#include "support/support.h"

#include <string.h>

#define SIZE 400

static void check(const store_spans *s, const bool *there)
{
    uint64_t total = 0, begin, end;
    bool mine[SIZE] = {false};
    for (size_t i = 0; i < s->n; i++) {
        assert_true(s->v[i].begin < s->v[i].end && s->v[i].end <= SIZE);
        assert_true(i == 0 || s->v[i - 1].end < s->v[i].begin);
        memset(mine + s->v[i].begin, 1, s->v[i].end - s->v[i].begin);
    }
    assert_memory_equal(mine, there, SIZE);
    for (size_t i = 0; i < SIZE; i++)
        total += there[i];
    assert_int_equal(store_spans_bytes(s), total);
    size_t a = 0;
    while (a < SIZE && there[a])
        a++;
    size_t b = a;
    while (b < SIZE && !there[b])
        b++;
    assert_int_equal(store_spans_gap(s, SIZE, &begin, &end), a < SIZE);
    if (a < SIZE) {
        assert_int_equal(begin, a);
        assert_int_equal(end, b);
    }
}

static void test_random(void **state)
{
    (void)state;
    uint32_t seed = 7;
    for (int round = 0; round < 200; round++) {
        store_spans s = {.n = 0};
        bool there[SIZE] = {false};
        for (int i = 0; i < 40; i++) {
            uint32_t a = test_rand(&seed) % SIZE, n = test_rand(&seed) % 12;
            n = a + n > SIZE ? SIZE - a : n;
            assert_true(store_spans_add(&s, a, a + n));
            memset(there + a, 1, n);
            check(&s, there);
        }
    }
}

static void test_edges(void **state)
{
    (void)state;
    store_spans s = {.n = 0};
    uint64_t a, b;
    assert_false(store_spans_gap(&s, 0, &a, &b));
    assert_true(store_spans_gap(&s, 5, &a, &b) && a == 0 && b == 5);
    for (uint64_t i = 0; i < STORE_MAX_SPANS; i++)
        assert_true(store_spans_add(&s, 10 * i + 5, 10 * i + 6));
    assert_false(store_spans_add(&s, 0, 1)); /* one too many */
    assert_int_equal(s.n, STORE_MAX_SPANS);
    assert_true(store_spans_add(&s, 0, 5)); /* touches one */
    assert_true(store_spans_add(&s, 0, UINT64_MAX));
    assert_int_equal(s.n, 1);
    assert_false(store_spans_gap(&s, UINT64_MAX, &a, &b));
    assert_true(store_spans_add(&s, 9, 9)); /* nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random), cmocka_unit_test(test_edges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
