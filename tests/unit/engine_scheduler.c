/* Jobs of a scheduler: each answer is what a lone request gives, whoever joins and leaves beside it. */
#include "engine/engine.h"
#include "support/jobs.h"
#include "support/model.h"
#include "support/support.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define N_CTX 160
#define N_JOB 32

/* Milliseconds for test_job_slow. */
static atomic_int pace;

static tern_scheduler *make(tern_model *m, int32_t n_slot, int32_t n_queue)
{
    tern_scheduler *s;
    tern_err err = {0};
    tern_scheduler_opts o;
    tern_scheduler_opts_init(&o);
    o.n_slot = n_slot;
    o.n_queue = n_queue;
    o.joules = test_job_slow;
    o.joules_ctx = &pace;
    if (tern_scheduler_new(m, &o, &s, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return s;
}

/* Prompts of 1 to 129 tokens; greedy and sampled, with penalties, stops and probabilities; answers of all
 * lengths, some of none and some to the context's end. */
typedef struct talk {
    int32_t prompt[N_CTX];
    size_t n_prompt;
    tern_job_opts o;
} talk;

static void plan(talk *t, int i)
{
    static const char *const stop[] = {"e", "dd"};
    t->n_prompt = (size_t)(1 + 16 * (i % 9));
    for (size_t j = 0; j < t->n_prompt; j++)
        t->prompt[j] = (int32_t)((j % (size_t)(3 + i)) * 7 + (size_t)i * 31) % TEST_MODEL_VOCAB;
    tern_job_opts_init(&t->o);
    tern_gen_opts *g = &t->o.gen;
    g->n_predict = i % 7 == 5 ? -1 : i % 11 == 4 ? 0 : 3 * i % 31 + 2;
    g->temp = i % 2 ? 1.2f : 0.0f;
    g->top_k = i % 4 == 3 ? 0 : 40;
    g->top_p = i % 8 == 7 ? 1.0f : 0.95f;
    g->min_p = i % 8 == 7 ? 0.0f : 0.05f;
    g->seed = (uint64_t)i;
    g->repeat_penalty = i == 3 ? 1.2f : 1.0f;
    g->ignore_eos = i % 3 != 2;
    g->logprobs = i % 5 == 1;
    g->logprobs_final = i % 10 == 1;
    g->n_top = i % 5 == 1 ? i % 7 : 0;
    if (i % 6 == 1) {
        g->stop = stop;
        g->n_stop = 2;
    }
}

static void test_answers_are_those_of_lone_requests(void **state)
{
    (void)state;
    static const struct {
        int n_thread, n_slot, n_job;
        tern_spec_mode spec;
        int n_row; /* of prompts in a pass; 0: as costs say */
    } cases[] = {
        {1, 1, 6, TERN_SPEC_NGRAM, 0},       {2, 3, 16, TERN_SPEC_OFF, 1},
        {2, 8, N_JOB, TERN_SPEC_NGRAM, 0},   {2, 8, N_JOB, TERN_SPEC_OFF, 7},
        {2, 32, N_JOB, TERN_SPEC_ALWAYS, 0}, {2, 32, N_JOB, TERN_SPEC_NGRAM, 50},
    };
    test_answer *want = calloc(N_JOB, sizeof *want);
    test_job *got = calloc(N_JOB, sizeof *got);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        test_model m;
        tern_model *opened = test_model_ternary(&m, 1, N_CTX, cases[c].n_thread);
        tern_scheduler *s = make(opened, cases[c].n_slot, N_JOB);
        talk t;
        opened->cost.fixed_rows = cases[c].n_row;
        for (int i = 0; i < cases[c].n_job; i++) {
            plan(&t, i);
            t.o.gen.spec = TERN_SPEC_OFF;
            test_answer_alone(&want[i], opened, 0, t.prompt, t.n_prompt, &t.o.gen);
        }
        for (int i = 0; i < cases[c].n_job; i++) {
            plan(&t, i);
            t.o.gen.spec = cases[c].spec;
            test_job_init(&got[i]);
            test_job_submit(&got[i], s, t.prompt, t.n_prompt, &t.o);
            if (i % 5 == 4) /* the next ones join later */
                test_job_wait_token(&got[i - 4], 2);
        }
        for (int i = 0; i < cases[c].n_job; i++) {
            assert_int_equal(test_job_wait(&got[i]), TERN_OK);
            assert_int_equal(got[i].n_answer, 1);
            test_answer_same(&want[i], &got[i].answers[0]);
            test_job_done(&got[i]);
        }
        tern_scheduler_free(s);
        tern_model_close(opened);
        test_model_done(&m);
    }
    free(got);
    free(want);
}

static void test_options_are_checked(void **state)
{
    (void)state;
    test_model m;
    tern_model *opened = test_model_ternary(&m, 1, N_CTX, 1);
    tern_scheduler *s = make(opened, 2, 2);
    tern_scheduler_opts so;
    tern_err err = {0};
    test_job t;
    talk k;
    static const int32_t bad[] = {0, TERN_CODE_COUNT + 1000};
    tern_scheduler_opts_init(&so);
    so.n_slot = 0;
    tern_scheduler *none;
    assert_int_equal(tern_scheduler_new(opened, &so, &none, &err), TERN_E_USAGE);
    assert_null(none);
    tern_scheduler_opts_init(&so);
    so.mem_bytes = 1000;
    assert_int_equal(tern_scheduler_new(opened, &so, &none, &err), TERN_E_NOMEM);
    assert_non_null(strstr(err.msg, "160 tokens"));
    test_job_init(&t);
    plan(&k, 1);
    assert_int_equal(test_job_try(&t, s, k.prompt, 0, &k.o, &err), TERN_E_USAGE);
    assert_int_equal(test_job_try(&t, s, k.prompt, N_CTX, &k.o, &err), TERN_E_LIMIT);
    assert_int_equal(test_job_try(&t, s, bad, 2, &k.o, &err), TERN_E_USAGE);
    k.o.n = 0;
    assert_int_equal(test_job_try(&t, s, k.prompt, k.n_prompt, &k.o, &err), TERN_E_USAGE);
    k.o.n = 1;
    k.o.gen.n_top = TERN_MAX_TOP + 1;
    assert_int_equal(test_job_try(&t, s, k.prompt, k.n_prompt, &k.o, &err), TERN_E_USAGE);
    k.o.gen.n_top = 0;
    k.o.gen.top_p = -1.0f;
    assert_int_equal(test_job_try(&t, s, k.prompt, k.n_prompt, &k.o, &err), TERN_E_USAGE);
    assert_null(t.job);
    assert_false(t.started || t.ended);
    test_job_done(&t);
    tern_scheduler_free(s);
    tern_model_close(opened);
    test_model_done(&m);
}

/* While one job runs the queue behind it fills. */
static void test_queue_is_bounded(void **state)
{
    (void)state;
    test_model m;
    tern_model *opened = test_model_ternary(&m, 1, N_CTX, 1);
    tern_scheduler *s = make(opened, 1, 2);
    test_job t[4];
    talk k;
    tern_err err = {0};
    tern_scheduler_stats st = {.size = sizeof st};
    plan(&k, 5);
    for (int i = 0; i < 4; i++)
        test_job_init(&t[i]);
    atomic_store(&pace, 20);
    test_job_submit(&t[0], s, k.prompt, k.n_prompt, &k.o);
    test_job_wait_start(&t[0]);
    test_job_submit(&t[1], s, k.prompt, k.n_prompt, &k.o);
    test_job_submit(&t[2], s, k.prompt, k.n_prompt, &k.o);
    assert_int_equal(test_job_try(&t[3], s, k.prompt, k.n_prompt, &k.o, &err), TERN_E_BUSY);
    assert_null(t[3].job);
    tern_scheduler_stats_get(s, &st);
    assert_int_equal(st.n_running, 1);
    assert_int_equal(st.n_queued, 2);
    tern_job_cancel(t[1].job); /* while it waits */
    assert_int_equal(test_job_wait(&t[1]), TERN_E_CANCELLED);
    assert_false(t[1].started);
    test_job_submit(&t[3], s, k.prompt, k.n_prompt, &k.o);
    atomic_store(&pace, 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(test_job_wait(&t[i]), i == 1 ? TERN_E_CANCELLED : TERN_OK);
    test_answer_same(&t[0].answers[0], &t[3].answers[0]);
    for (int i = 0; i < 4; i++)
        test_job_done(&t[i]);
    tern_scheduler_free(s);
    tern_model_close(opened);
    test_model_done(&m);
}

static void test_drain(void **state)
{
    (void)state;
    test_model m;
    tern_model *opened = test_model_ternary(&m, 1, N_CTX, 1);
    test_job t[3];
    talk k;
    tern_err err = {0};
    plan(&k, 5);
    for (int wait = 0; wait < 2; wait++) {
        tern_scheduler *s = make(opened, 1, 2);
        for (int i = 0; i < 3; i++) {
            test_job_init(&t[i]);
            t[i].holds = !wait; /* for ever, if nobody cancels */
            if (i < 2)
                test_job_submit(&t[i], s, k.prompt, k.n_prompt, &k.o);
        }
        tern_scheduler_drain(s, wait ? 1000.0 : 0.0);
        assert_int_equal(test_job_try(&t[2], s, k.prompt, k.n_prompt, &k.o, &err), TERN_E_BUSY);
        for (int i = 0; i < 2; i++) {
            assert_true(t[i].ended);
            assert_int_equal(t[i].code, wait ? TERN_OK : TERN_E_CANCELLED);
        }
        for (int i = 0; i < 3; i++)
            test_job_done(&t[i]);
        tern_scheduler_free(s);
    }
    tern_model_close(opened);
    test_model_done(&m);
}

static void test_deadlines(void **state)
{
    (void)state;
    test_model m;
    tern_model *opened = test_model_ternary(&m, 1, N_CTX, 1);
    tern_scheduler *s = make(opened, 1, 2);
    test_job t[3];
    talk k;
    plan(&k, 5);
    for (int i = 0; i < 3; i++) {
        test_job_init(&t[i]);
        atomic_store(&pace, 20); /* never done in time */
        k.o.deadline_s = i == 2 ? 0.0 : i == 0 ? 0.5 : 0.02;
        test_job_submit(&t[i], s, k.prompt, k.n_prompt, &k.o);
    }
    assert_int_equal(test_job_wait(&t[0]), TERN_E_TIMEOUT);
    assert_int_equal(test_job_wait(&t[1]), TERN_E_TIMEOUT);
    assert_false(t[1].started);
    atomic_store(&pace, 0);
    assert_int_equal(test_job_wait(&t[2]), TERN_OK);
    for (int i = 0; i < 3; i++)
        test_job_done(&t[i]);
    tern_scheduler_free(s);
    tern_model_close(opened);
    test_model_done(&m);
}

/* No further than the first token. */
static void hold_early(void *ctx, const tern_job_event *ev)
{
    tern_job **j = ctx;
    if (ev->kind == TERN_JOB_TOKEN)
        tern_job_hold(*j, true);
}

static void test_slots_can_be_seen(void **state)
{
    (void)state;
    test_model m;
    tern_model *opened = test_model_ternary(&m, 1, N_CTX, 1);
    tern_scheduler *s = make(opened, 2, 4);
    tern_slot v[2];
    tern_err err = {0};
    tern_job *j;
    talk k;
    assert_int_equal(tern_scheduler_slots_get(s, v, 2), 2);
    assert_false(v[0].busy || v[1].busy || v[0].job);
    plan(&k, 5);
    k.o.gen.n_predict = -1;
    k.o.owner = 7;
    k.o.on_event = hold_early;
    k.o.ctx = &j;
    assert_int_equal(tern_scheduler_submit(s, k.prompt, k.n_prompt, &k.o, &j, &err), TERN_OK);
    do
        assert_int_equal(tern_scheduler_slots_get(s, v, 2), 2);
    while (!v[0].held);
    assert_true(v[0].busy);
    assert_false(v[1].busy);
    assert_int_equal(v[0].job, 1);
    assert_int_equal(v[0].owner, 7);
    assert_int_equal(v[0].n_prompt, k.n_prompt);
    assert_int_equal(v[0].n_read, k.n_prompt);
    assert_int_equal(v[0].n_generated, 1);
    assert_int_equal(v[0].n_predict, -1);
    tern_job_free(j);
    do
        tern_scheduler_slots_get(s, v, 1);
    while (v[0].busy);
    assert_int_equal(v[0].job, 1);
    tern_scheduler_free(s);
    tern_model_close(opened);
    test_model_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_are_those_of_lone_requests),
        cmocka_unit_test(test_options_are_checked),
        cmocka_unit_test(test_queue_is_bounded),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_slots_can_be_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
