/* How many rows of prompts go into a pass follows from what passes cost. */
#include "decode/cost.h"
#include "support/support.h"

#include <math.h>

static void test_prompts_stretch_a_pass_to_twice_its_time(void **state)
{
    (void)state;
    tern_cost c = {0};
    int first = tern_cost_prompt_rows(&c, 3);
    assert_true(first > 0 && first <= 64); /* nothing is known */
    for (int i = 0; i < 9; i++) {
        tern_cost_add(&c, 1, 40e6);
        tern_cost_add(&c, 8, 60e6);
        tern_cost_add_prompt(&c, 8, 10, 60e6 + 10 * 5e6);
    }
    assert_int_equal(tern_cost_prompt_rows(&c, 8), 12);
    assert_int_equal(tern_cost_prompt_rows(&c, 1), 8);
    assert_true(tern_cost_prompt_rows(&c, 64) > 12); /* more than is recorded */
    for (int i = 0; i < 9; i++) /* rows that cost next to nothing, and rows that cost too much */
        tern_cost_add_prompt(&c, 8, 100, i % 2 ? 50e6 : 60e6);
    assert_true(tern_cost_prompt_rows(&c, 8) > 1000);
    for (int i = 0; i < 9; i++)
        tern_cost_add_prompt(&c, 8, 1, 1e12);
    assert_in_range(tern_cost_prompt_rows(&c, 8), 1, 8); /* prompts get on all the same */
}

static void test_prompts_alone_are_brief(void **state)
{
    (void)state;
    tern_cost c = {0};
    for (int i = 0; i < 9; i++) /* one was interrupted */
        tern_cost_add_prompt(&c, 0, 256, i == 4 ? 1e12 : 256 * 5e6);
    assert_int_equal(tern_cost_prompt_rows(&c, 0), 16);
    assert_int_equal(tern_cost_prompt_rows(&c, 4), 32); /* of answers nothing is known yet */
    c.fixed_rows = 7;
    assert_int_equal(tern_cost_prompt_rows(&c, 0), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prompts_stretch_a_pass_to_twice_its_time),
        cmocka_unit_test(test_prompts_alone_are_brief),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
