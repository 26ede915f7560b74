/* A lock that is handed on in the order in which it was asked for. */
#include "base/turn.h"
#include "support/support.h"

#include <sched.h>

typedef struct other {
    tern_turn *t;
    int n_turn; /* guarded by the turn */
} other;

static void *take_once(void *arg)
{
    other *o = arg;
    tern_turn_take(o->t);
    o->n_turn++;
    tern_turn_give(o->t);
    return NULL;
}

/* Who gives it back and asks again at once comes after those who waited. */
static void test_whoever_waits_is_next(void **state)
{
    (void)state;
    tern_turn t;
    assert_true(tern_turn_init(&t));
    for (int i = 0; i < 200; i++) {
        other o = {&t, 0};
        pthread_t thread;
        tern_turn_take(&t);
        assert_false(tern_turn_is_awaited(&t));
        assert_int_equal(pthread_create(&thread, NULL, take_once, &o), 0);
        while (!tern_turn_is_awaited(&t))
            sched_yield();
        assert_int_equal(o.n_turn, 0);
        tern_turn_give(&t);
        tern_turn_take(&t);
        assert_int_equal(o.n_turn, 1);
        tern_turn_give(&t);
        pthread_join(thread, NULL);
    }
    tern_turn_done(&t);
}

static void test_the_holder_may_take_it_again(void **state)
{
    (void)state;
    tern_turn t;
    pthread_t thread;
    other o = {&t, 0};
    assert_true(tern_turn_init(&t));
    tern_turn_take(&t);
    assert_int_equal(pthread_create(&thread, NULL, take_once, &o), 0);
    while (!tern_turn_is_awaited(&t))
        sched_yield();
    tern_turn_take(&t); /* not behind the other, which would wait for ever */
    tern_turn_give(&t);
    assert_int_equal(o.n_turn, 0);
    tern_turn_give(&t);
    pthread_join(thread, NULL);
    assert_int_equal(o.n_turn, 1);
    tern_turn_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whoever_waits_is_next),
        cmocka_unit_test(test_the_holder_may_take_it_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
