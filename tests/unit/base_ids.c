/* Lists of token ids. */
#include "base/ids.h"
#include "support/support.h"

static void test_lists_grow(void **state)
{
    (void)state;
    tern_ids ids = {0};
    const int32_t three[] = {7, -1, INT32_MAX};
    tern_err err = {0};
    assert_int_equal(tern_ids_put(&ids, NULL, 0, &err), TERN_OK);
    for (int32_t i = 0; i < 1000; i++)
        assert_int_equal(tern_ids_push(&ids, i, &err), TERN_OK);
    assert_int_equal(tern_ids_put(&ids, three, 3, &err), TERN_OK);
    assert_int_equal(ids.n, 1003);
    assert_true(ids.cap >= ids.n);
    for (int32_t i = 0; i < 1000; i++)
        assert_int_equal(ids.v[i], i);
    assert_memory_equal(ids.v + 1000, three, sizeof three);
    tern_ids_done(&ids);
    assert_null(ids.v);
    assert_int_equal(ids.n, 0);
}

static void test_too_many_are_refused(void **state)
{
    (void)state;
    tern_ids ids = {0};
    tern_err err = {0};
    assert_int_equal(tern_ids_push(&ids, 5, &err), TERN_OK);
    assert_int_equal(tern_ids_reserve(&ids, SIZE_MAX, &err), TERN_E_NOMEM);
    assert_int_equal(tern_ids_reserve(&ids, SIZE_MAX / 8, &err), TERN_E_NOMEM);
    assert_int_equal(ids.n, 1); /* and nothing is lost */
    assert_int_equal(ids.v[0], 5);
    tern_ids_done(&ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists_grow),
        cmocka_unit_test(test_too_many_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
