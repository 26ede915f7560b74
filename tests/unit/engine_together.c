/* Several requests in one call: each answers as it would alone, whoever rides beside it and whatever
 * becomes of them. */
#include "engine/engine.h"
#include "support/model.h"
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#define N_REQUEST 6
#define N_ID      100
#define N_CTX     100

/* One request: what it asks and what came of it. */
typedef struct talk {
    int32_t prompt[N_CTX];
    size_t n_prompt;
    tern_gen_opts o;
    tern_session *s;
    tern_request *r;
    int32_t ids[N_ID];
    size_t n_id, n_text, n_wait; /* n_wait: events while the prompt was read */
    char text[2048];
    tern_finish finish;
    tern_request_stats stats;
} talk;

/* Prompts of 1 to 81 tokens; greedy and sampled, with penalties and stops; answers of all lengths, one
 * of none and one to the context's end. */
static void plan(talk *t, int i)
{
    static const char *const stop[] = {"e", "dd"};
    *t = (talk){.n_prompt = (size_t)(1 + 16 * i)};
    for (size_t j = 0; j < t->n_prompt; j++)
        t->prompt[j] = (int32_t)((j % (size_t)(3 + i)) * 7 + (size_t)i * 31) % TEST_MODEL_VOCAB;
    tern_gen_opts_init(&t->o);
    t->o.n_predict = i == 5 ? -1 : i == 4 ? 0 : 9 * i + 5;
    t->o.temp = i % 2 ? 1.2f : 0.0f;
    t->o.seed = (uint64_t)i;
    t->o.repeat_penalty = i == 3 ? 1.2f : 1.0f;
    t->o.ignore_eos = i != 2;
    if (i == 1) {
        t->o.stop = stop;
        t->o.n_stop = 2;
    }
}

static void begin(talk *t, tern_model *m)
{
    tern_err err = {0};
    if (tern_session_new(m, NULL, &t->s, &err) != TERN_OK ||
        tern_request_new(t->s, t->prompt, t->n_prompt, &t->o, &t->r, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    t->n_id = t->n_text = t->n_wait = 0;
    t->finish = TERN_FINISH_NONE;
}

static void end(talk *t)
{
    tern_request_stats_get(t->r, &t->stats);
    tern_request_free(t->r);
    tern_session_free(t->s);
    t->r = NULL;
    t->s = NULL;
}

static void hear(talk *t, const tern_event *ev)
{
    t->n_wait += ev->id < 0 && ev->finish == TERN_FINISH_NONE;
    if (ev->id >= 0)
        t->ids[t->n_id++] = ev->id;
    memcpy(t->text + t->n_text, ev->text, ev->n_text);
    t->n_text += ev->n_text;
    t->finish = ev->finish;
}

static void alone(talk *t, tern_model *m)
{
    tern_event ev;
    tern_err err = {0};
    begin(t, m);
    while (t->finish == TERN_FINISH_NONE) {
        if (tern_request_next(t->r, &ev, &err) != TERN_OK)
            fail_msg("%s", err.msg);
        hear(t, &ev);
    }
    assert_int_equal(t->n_wait, 0);
    end(t);
}

/* All of t[0..n) whose turn has come, until all are finished; request i joins at call join[i]. */
static void together(talk *t, size_t n, tern_model *m, const int *join)
{
    tern_err err = {0};
    for (int call = 0;; call++) {
        tern_request *list[N_REQUEST];
        tern_event ev[N_REQUEST];
        size_t who[N_REQUEST], k = 0, n_open = 0;
        for (size_t i = 0; i < n; i++) {
            if (join[i] == call)
                begin(&t[i], m);
            n_open += join[i] > call || t[i].finish == TERN_FINISH_NONE;
            if (join[i] <= call && t[i].finish == TERN_FINISH_NONE) {
                who[k] = i;
                list[k++] = t[i].r;
            }
        }
        if (n_open == 0)
            break;
        if (tern_requests_next(list, k, ev, &err) != TERN_OK)
            fail_msg("%s", err.msg);
        for (size_t i = 0; i < k; i++)
            hear(&t[who[i]], &ev[i]);
    }
    for (size_t i = 0; i < n; i++)
        end(&t[i]);
}

static void same(const talk *a, const talk *b)
{
    assert_int_equal(a->finish, b->finish);
    assert_int_equal(a->n_id, b->n_id);
    assert_memory_equal(a->ids, b->ids, a->n_id * sizeof *a->ids);
    assert_int_equal(a->n_text, b->n_text);
    assert_memory_equal(a->text, b->text, a->n_text);
    assert_int_equal(a->stats.n_generated, b->stats.n_generated);
    assert_int_equal(a->stats.n_prompt, b->stats.n_prompt);
}

static void test_together_equals_alone(void **state)
{
    (void)state;
    static const int joins[][N_REQUEST] = {
        {0, 0, 0, 0, 0, 0}, {0, 3, 1, 9, 2, 12}, {8, 0, 7, 1, 5, 3}};
    for (int n_thread = 1; n_thread <= 3; n_thread++) {
        test_model m;
        tern_model *opened = test_model_ternary(&m, 1, N_CTX, n_thread);
        talk want[N_REQUEST], got[N_REQUEST];
        for (int i = 0; i < N_REQUEST; i++) {
            plan(&want[i], i);
            want[i].o.spec = TERN_SPEC_OFF;
            alone(&want[i], opened);
        }
        for (size_t j = 0; j < 9; j++) {
            for (int i = 0; i < N_REQUEST; i++) {
                plan(&got[i], i);
                got[i].o.spec = (tern_spec_mode)(j / 3);
            }
            together(got, N_REQUEST, opened, joins[j % 3]);
            for (int i = 0; i < N_REQUEST; i++)
                same(&want[i], &got[i]);
        }
        tern_model_close(opened);
        test_model_done(&m);
    }
}

/* A long prompt beside an answer comes in parts, and the answer gets a token in each call. */
static void test_a_prompt_does_not_hold_up_answers(void **state)
{
    (void)state;
    test_model m;
    tern_model *opened = test_model_ternary(&m, 1, N_CTX, 2);
    talk t[2];
    tern_err err = {0};
    opened->cost.fixed_rows = 64; /* rather than what a busy machine makes of it */
    plan(&t[0], 0);
    plan(&t[1], 5);
    t[0].o.n_predict = 50;
    begin(&t[0], opened);
    begin(&t[1], opened);
    for (int call = 0; call < 10; call++) {
        tern_request *list[2] = {t[0].r, t[1].r};
        tern_event ev[2];
        assert_int_equal(tern_requests_next(list, call < 2 ? 1 : 2, ev, &err), TERN_OK);
        hear(&t[0], &ev[0]);
        assert_int_equal(t[0].n_id, call + 1);
        if (call >= 2)
            hear(&t[1], &ev[1]);
        if (call == 2) { /* 64 of 81 */
            size_t n_tok;
            assert_int_equal(t[1].n_wait, 1);
            (void)tern_session_tokens(t[1].s, &n_tok);
            assert_int_equal(n_tok, 64);
            assert_null(tern_session_logits(t[1].s));
        }
    }
    assert_int_equal(t[1].n_wait, 1);
    assert_int_equal(t[1].n_id, 7);
    end(&t[0]);
    end(&t[1]);
    tern_model_close(opened);
    test_model_done(&m);
}

/* One is cancelled, one finds its session filled up by somebody else: the third hears nothing of it. */
static void test_others_go_on(void **state)
{
    (void)state;
    test_model m;
    tern_model *opened = test_model_ternary(&m, 1, N_CTX, 2);
    talk t[3], want;
    tern_err err = {0};
    tern_event ev[3];
    int32_t more[N_CTX] = {0};
    opened->cost.fixed_rows = 64; /* all prompts are read when things happen */
    plan(&want, 3);
    alone(&want, opened);
    for (int i = 0; i < 3; i++) {
        plan(&t[i], i == 1 ? 3 : 5);
        begin(&t[i], opened);
    }
    tern_request *list[3] = {t[0].r, t[1].r, t[2].r};
    for (int call = 0; t[1].finish == TERN_FINISH_NONE; call++) {
        size_t n_tok;
        if (call == 4)
            tern_session_cancel(t[0].s);
        (void)tern_session_tokens(t[2].s, &n_tok);
        if (call == 6)
            assert_int_equal(tern_session_eval(t[2].s, more, N_CTX - n_tok, &err), TERN_OK);
        assert_int_equal(tern_requests_next(list, 3, ev, &err), TERN_OK);
        for (int i = 0; i < 3; i++)
            hear(&t[i], &ev[i]);
        assert_int_equal(ev[0].finish, call < 4 ? TERN_FINISH_NONE : TERN_FINISH_CANCELLED);
        assert_int_equal(ev[2].finish, call < 6 ? TERN_FINISH_NONE : TERN_FINISH_FAILED);
        if (call >= 6)
            assert_int_equal(tern_request_error(t[2].r)->code, TERN_E_LIMIT);
        assert_true(call < 4 || ev[0].id == -1);
    }
    /* It is sound again once there is room. */
    tern_session_rewind(t[2].s, 90);
    assert_int_equal(tern_requests_next(&list[2], 1, ev, &err), TERN_OK);
    assert_int_equal(ev[0].finish, TERN_FINISH_NONE);
    assert_true(ev[0].id >= 0);
    for (int i = 0; i < 3; i++)
        end(&t[i]);
    same(&want, &t[1]);
    tern_model_close(opened);
    test_model_done(&m);
}

static void test_bad_lists_are_refused(void **state)
{
    (void)state;
    test_model m1, m2;
    tern_model *one = test_model_ternary(&m1, 1, N_CTX, 1),
               *two = test_model_ternary(&m2, 1, N_CTX, 1);
    talk t[3];
    tern_err err = {0};
    tern_event ev[3];
    for (int i = 0; i < 3; i++) {
        plan(&t[i], i);
        begin(&t[i], i == 2 ? two : one);
    }
    tern_request *list[3] = {t[0].r, t[1].r, t[0].r};
    assert_int_equal(tern_requests_next(list, 3, ev, &err), TERN_E_USAGE);
    assert_non_null(strstr(err.msg, "session"));
    list[2] = t[2].r;
    assert_int_equal(tern_requests_next(list, 3, ev, &err), TERN_E_USAGE);
    assert_non_null(strstr(err.msg, "model"));
    assert_int_equal(tern_requests_next(NULL, 0, NULL, &err), TERN_OK);
    assert_int_equal(tern_requests_next(list, 2, ev, &err), TERN_OK);
    for (int i = 0; i < 3; i++)
        end(&t[i]);
    tern_model_close(one);
    tern_model_close(two);
    test_model_done(&m1);
    test_model_done(&m2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_together_equals_alone),
        cmocka_unit_test(test_a_prompt_does_not_hold_up_answers),
        cmocka_unit_test(test_others_go_on),
        cmocka_unit_test(test_bad_lists_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
