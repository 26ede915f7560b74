#include "base/error.h"
#include "support/support.h"

#include <string.h>

static void test_fail_fills_and_returns(void **state)
{
    (void)state;
    tern_err err = {0};
    assert_int_equal(tern_fail(&err, TERN_E_FORMAT, "%s: key %d", "m.gguf", 7), TERN_E_FORMAT);
    assert_int_equal(err.code, TERN_E_FORMAT);
    assert_string_equal(err.msg, "m.gguf: key 7");
    assert_int_equal(tern_fail(NULL, TERN_E_IO, "%d", 1), TERN_E_IO);
}

static void test_a_long_message_is_cut(void **state)
{
    (void)state;
    struct {
        tern_err err;
        char behind[8];
    } box;
    char text[1000];
    memset(text, 'x', sizeof text);
    text[999] = 0;
    memset(&box, '#', sizeof box);
    (void)tern_fail(&box.err, TERN_E_IO, "%s", text);
    assert_int_equal(strlen(box.err.msg), sizeof box.err.msg - 1);
    assert_memory_equal(box.behind, "########", 8);
}

static tern_code step(int *n_call, tern_code code)
{
    ++*n_call;
    return code;
}

static tern_code two_steps(int *n_call, tern_code first)
{
    TERN_TRY(step(n_call, first));
    return step(n_call, TERN_OK);
}

static tern_code two_steps_goto(int *n_call, tern_code first, int *n_clean)
{
    tern_code rc;
    TERN_TRY_GOTO(step(n_call, first));
    TERN_TRY_GOTO(step(n_call, TERN_OK));
fail:
    ++*n_clean;
    return rc;
}

static void test_try_stops_at_the_first_failure(void **state)
{
    (void)state;
    int n_call = 0, n_clean = 0;
    assert_int_equal(two_steps(&n_call, TERN_OK), TERN_OK);
    assert_int_equal(n_call, 2);
    assert_int_equal(two_steps(&n_call, TERN_E_NOMEM), TERN_E_NOMEM);
    assert_int_equal(n_call, 3);
    assert_int_equal(two_steps_goto(&n_call, TERN_OK, &n_clean), TERN_OK);
    assert_int_equal(two_steps_goto(&n_call, TERN_E_IO, &n_clean), TERN_E_IO);
    assert_int_equal(n_call, 6);
    assert_int_equal(n_clean, 2);
}

static void test_every_code_has_a_row(void **state)
{
    (void)state;
    for (int c = 0; c < TERN_CODE_COUNT; c++) {
        const tern_code_info *a = tern_code_info_get((tern_code)c);
        assert_non_null(a->name);
        assert_true(a->name[0] != 0);
        assert_non_null(a->openai_type);
        assert_true(a->http_status >= 200 && a->http_status <= 599);
        assert_int_equal(c == TERN_OK, a->http_status == 200);
        assert_int_equal(c == TERN_OK, a->exit_status == 0);
        assert_true(a->exit_status >= 0 && a->exit_status <= 255);
        for (int k = 0; k < c; k++)
            assert_string_not_equal(a->name, tern_code_info_get((tern_code)k)->name);
    }
    const tern_code_info *internal = tern_code_info_get(TERN_E_INTERNAL);
    assert_ptr_equal(tern_code_info_get(TERN_CODE_COUNT), internal);
    assert_ptr_equal(tern_code_info_get((tern_code)-1), internal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fail_fills_and_returns),
        cmocka_unit_test(test_a_long_message_is_cut),
        cmocka_unit_test(test_try_stops_at_the_first_failure),
        cmocka_unit_test(test_every_code_has_a_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
