/* What becomes of jobs: cancelled wherever they are, several answers from one prompt, probabilities, too little
 * memory for all, owners and priorities. */
#include "engine/engine.h"
#include "support/jobs.h"
#include "support/model.h"
#include "support/support.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define N_CTX 384

typedef struct fixture {
    test_model file;
    tern_model *m;
    tern_scheduler *s;
} fixture;

static void set_up(fixture *f, const tern_scheduler_opts *o)
{
    tern_err err = {0};
    f->m = test_model_ternary(&f->file, 1, N_CTX, 2);
    if (tern_scheduler_new(f->m, o, &f->s, &err) != TERN_OK)
        fail_msg("%s", err.msg);
}

static void tear_down(fixture *f)
{
    tern_scheduler_free(f->s);
    tern_model_close(f->m);
    test_model_done(&f->file);
}

/* Milliseconds for test_job_slow. */
static atomic_int pace;

static tern_scheduler_opts slots(int32_t n_slot, int32_t n_queue)
{
    tern_scheduler_opts o;
    tern_scheduler_opts_init(&o);
    o.n_slot = n_slot;
    o.n_queue = n_queue;
    o.joules = test_job_slow;
    o.joules_ctx = &pace;
    return o;
}

static tern_scheduler_stats stats(tern_scheduler *s)
{
    tern_scheduler_stats st = {.size = sizeof st};
    tern_scheduler_stats_get(s, &st);
    return st;
}

/* ---- cancelling -------------------------------------------------------------------------------- */

/* One thousand jobs that go away at different places, beside one that stays. */
static void test_cancelling_frees_slots(void **state)
{
    (void)state;
    fixture f;
    tern_scheduler_opts so = slots(4, 8);
    set_up(&f, &so);
    int32_t ids[300], mine[40];
    test_answer *want = calloc(1, sizeof *want);
    test_job *jobs = calloc(7, sizeof *jobs);
    tern_job_opts o = test_job_ask(200, 1);
    test_prompt_fill(mine, 40, 1);
    test_prompt_fill(ids, 300, 2);
    test_answer_alone(want, f.m, 0, mine, 40, &o.gen);
    f.m->cost.fixed_rows = 24; /* so that prompts take a while */
    for (int trial = 0; trial < 1000 / 6; trial++) {
        bool look = trial % 16 == 0;
        if (look) {
            test_job_init(&jobs[6]);
            o = test_job_ask(200, 1);
            test_job_submit(&jobs[6], f.s, mine, 40, &o);
        }
        for (int i = 0; i < 6; i++) {
            test_job_init(&jobs[i]);
            o = test_job_ask(50, (uint64_t)i);
            o.n = i == 5 ? 3 : 1;
            jobs[i].cancel_at = i == 2 ? 3 : 0;
            test_job_submit(&jobs[i], f.s, ids, (size_t)(i < 2 ? 3 : 290), &o);
        }
        test_job_wait_start(&jobs[1]);
        for (int i = 0; i < 6; i++)
            if (i != 2 || trial % 2)
                test_job_done(&jobs[i]); /* without a word */
        if (trial % 2 == 0) {
            assert_int_equal(test_job_wait(&jobs[2]), TERN_E_CANCELLED);
            assert_int_equal(jobs[2].n_token, 3);
            test_job_done(&jobs[2]);
        }
        if (look) {
            assert_int_equal(test_job_wait(&jobs[6]), TERN_OK);
            test_answer_same(want, &jobs[6].answers[0]);
            test_job_done(&jobs[6]);
        }
    }
    tern_scheduler_stats st = stats(f.s);
    assert_int_equal(st.n_running, 0);
    assert_int_equal(st.n_queued, 0);
    assert_int_equal(st.kv_bytes, 0);
    uint64_t n_pass = 0, least = 0;
    for (size_t i = 0; i < TERN_ROW_BUCKETS; i++) {
        n_pass += st.n_pass_of[i];
        least += i > 0 ? st.n_pass_of[i] * (((uint64_t)1 << (i - 1)) + 1) : 0;
    }
    assert_int_equal(n_pass, st.n_pass);
    assert_true(st.n_pass_of[2] > 0 && least <= st.n_row);
    free(jobs);
    free(want);
    tear_down(&f);
}

/* ---- energy ------------------------------------------------------------------------------------ */

/* Each look adds a joule, so each pass takes one. */
static double one_more(void *ctx)
{
    double *v = ctx;
    return *v += 1.0;
}

/* Answers get all that passes took. */
static void test_joules_are_divided(void **state)
{
    (void)state;
    fixture f;
    double meter = 0.0, sum = 0.0;
    tern_scheduler_opts so = slots(3, 8);
    so.joules = one_more;
    so.joules_ctx = &meter;
    set_up(&f, &so);
    test_job *t = calloc(3, sizeof *t);
    int32_t ids[3][200];
    for (int i = 0; i < 3; i++) {
        tern_job_opts o = test_job_ask(20 + 10 * i, (uint64_t)i);
        o.n = i == 1 ? 3 : 1;
        test_prompt_fill(ids[i], 200, i);
        test_job_init(&t[i]);
        test_job_submit(&t[i], f.s, ids[i], (size_t)(5 + 90 * i), &o);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(test_job_wait(&t[i]), TERN_OK);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < (i == 1 ? 3 : 1); k++) {
            assert_true(t[i].answers[k].joules > 0.0);
            sum += t[i].answers[k].joules;
        }
    assert_float_equal(sum, (double)stats(f.s).n_pass, 1e-9);
    for (int i = 0; i < 3; i++)
        test_job_done(&t[i]);
    free(t);
    tear_down(&f);
}

/* ---- answers to one prompt --------------------------------------------------------------------- */

static void test_answers_from_one_prompt(void **state)
{
    (void)state;
    enum { N = 6 };
    test_answer *want = calloc(N, sizeof *want);
    test_job *t = calloc(2, sizeof *t);
    for (int n_slot = 1; n_slot <= 8; n_slot += 3) {
        fixture f;
        tern_scheduler_opts so = slots(n_slot, 8);
        set_up(&f, &so);
        int32_t ids[150];
        test_prompt_fill(ids, 150, 3);
        for (int i = 0; i < N; i++) {
            tern_job_opts o = test_job_ask(30, 77 + (uint64_t)i);
            test_answer_alone(&want[i], f.m, 0, ids, 150, &o.gen);
        }
        assert_memory_not_equal(want[0].ids, want[1].ids, sizeof want[0].ids);
        tern_job_opts o = test_job_ask(30, 77);
        o.n = N;
        test_job_init(&t[0]);
        test_job_init(&t[1]);
        test_job_submit(&t[0], f.s, ids, 150, &o);
        o.n = 1;
        test_job_submit(&t[1], f.s, ids, 149, &o);
        assert_int_equal(test_job_wait(&t[0]), TERN_OK);
        assert_int_equal(test_job_wait(&t[1]), TERN_OK);
        assert_int_equal(t[0].n_answer, N);
        for (int i = 0; i < N; i++)
            test_answer_same(&want[i], &t[0].answers[i]);
        /* The prompts, and all tokens that others followed: each was evaluated once. */
        tern_scheduler_stats st = stats(f.s);
        assert_int_equal(st.n_generated, 30 * (N + 1));
        assert_true(st.n_row <= 150 + 149 + (30 + 7) * (N + 1));
        assert_int_equal(st.n_preempted, 0);
        test_job_done(&t[0]);
        test_job_done(&t[1]);
        assert_int_equal(stats(f.s).kv_bytes, 0);
        tear_down(&f);
    }
    free(t);
    free(want);
}

/* ---- probabilities ----------------------------------------------------------------------------- */

typedef struct softmax {
    const int32_t *ids; /* the text */
    size_t n_given, n_done;
    const float *got; /* of the text's tokens from n_given on */
    const tern_logprob (*top)[TERN_MAX_TOP];
    int n_top;
} softmax;

/* Of one row, in doubles. */
static void check_row(void *ctx, int row, const float *logits)
{
    softmax *c = ctx;
    size_t next = (size_t)row + 1;
    double sum = 0.0;
    int rank = 0;
    if (next < c->n_given)
        return;
    size_t at = next - c->n_given;
    for (int i = 0; i < TEST_MODEL_VOCAB; i++)
        sum += exp((double)logits[i]);
    double want = (double)logits[c->ids[next]] - log(sum);
    assert_true(fabs((double)c->got[at] - want) < 2e-5);
    for (int k = 0; k < c->n_top; k++) {
        const tern_logprob *l = &c->top[at][k];
        assert_true(fabs((double)l->logprob - ((double)logits[l->id] - log(sum))) < 2e-5);
        rank = 0;
        for (int i = 0; i < TEST_MODEL_VOCAB; i++)
            rank += logits[i] > logits[l->id] || (logits[i] == logits[l->id] && i < l->id);
        assert_int_equal(rank, k);
    }
    c->n_done++;
}

static void test_probabilities_are_softmax_of_logits(void **state)
{
    (void)state;
    enum { N_PROMPT = 100, N_ANSWER = 40 };
    fixture f;
    tern_scheduler_opts so = slots(3, 8);
    set_up(&f, &so);
    test_job *t = calloc(3, sizeof *t);
    int32_t text[N_PROMPT + N_ANSWER];
    tern_err err = {0};
    test_prompt_fill(text, N_PROMPT, 4);
    f.m->cost.fixed_rows = 33;
    for (int i = 0; i < 3; i++) { /* with drafts, without, and beside another */
        tern_job_opts o = test_job_ask(N_ANSWER, 5);
        o.gen.logprobs = true;
        o.gen.n_top = i == 1 ? 0 : 7;
        o.gen.spec = i == 0 ? TERN_SPEC_ALWAYS : TERN_SPEC_OFF;
        o.echo_logprobs = true;
        test_job_init(&t[i]);
        test_job_submit(&t[i], f.s, text, N_PROMPT, &o);
    }
    for (int i = 0; i < 3; i++) {
        tern_session *s;
        const test_answer *a = &t[i].answers[0];
        assert_int_equal(test_job_wait(&t[i]), TERN_OK);
        assert_int_equal(t[i].n_echo, N_PROMPT);
        assert_true(isnan(t[i].echo[0]));
        assert_memory_equal(t[i].echo_ids, text, N_PROMPT * sizeof *text);
        memcpy(text + N_PROMPT, a->ids, N_ANSWER * sizeof *text);
        assert_int_equal(tern_session_new(f.m, NULL, &s, &err), TERN_OK);
        softmax c[2] = {
            {text, 1, 0, t[i].echo + 1, t[i].echo_top + 1, i == 1 ? 0 : 7},
            {text, N_PROMPT, 0, a->logprob, a->top, i == 1 ? 0 : 7},
        };
        assert_int_equal(tern_session_eval_all(s, text, N_PROMPT - 1, check_row, &c[0], &err),
                         TERN_OK);
        tern_session_rewind(s, 0);
        assert_int_equal(
            tern_session_eval_all(s, text, N_PROMPT + N_ANSWER - 1, check_row, &c[1], &err),
            TERN_OK);
        assert_int_equal(c[0].n_done, N_PROMPT - 1);
        assert_int_equal(c[1].n_done, N_ANSWER);
        tern_session_free(s);
    }
    test_answer_same(&t[0].answers[0], &t[2].answers[0]);
    for (int i = 0; i < 3; i++)
        test_job_done(&t[i]);
    free(t);
    tear_down(&f);
}

/* ---- memory ------------------------------------------------------------------------------------ */

/* The least that is accepted: one full context. */
static void least_memory(fixture *f, tern_scheduler_opts *so)
{
    tern_err err;
    size_t refused = 0;
    tern_scheduler_free(f->s);
    for (size_t step = 1 << 20; step >= 64; step /= 2) {
        for (so->mem_bytes = refused + step;; so->mem_bytes += step) {
            if (tern_scheduler_new(f->m, so, &f->s, &err) == TERN_OK)
                break;
            refused = so->mem_bytes;
        }
        if (step > 64)
            tern_scheduler_free(f->s);
    }
    assert_int_equal(stats(f->s).mem_bytes, so->mem_bytes);
}

/* What is held has the memory: it goes to who can use it. */
static void test_held_jobs_do_not_block_others(void **state)
{
    (void)state;
    test_answer *want = calloc(2, sizeof *want);
    test_job *t = calloc(2, sizeof *t);
    fixture f;
    tern_scheduler_opts so = slots(2, 4);
    int32_t ids[2][300];
    set_up(&f, &so);
    least_memory(&f, &so);
    for (int i = 0; i < 2; i++) {
        tern_job_opts o = test_job_ask(40, (uint64_t)i);
        test_prompt_fill(ids[i], 300, i);
        test_answer_alone(&want[i], f.m, 0, ids[i], 300, &o.gen);
        test_job_init(&t[i]);
        t[i].hold_at = i == 0 ? 5 : 0;
        test_job_submit(&t[i], f.s, ids[i], 300, &o);
        if (i == 0)
            test_job_wait_token(&t[0], 5);
    }
    assert_int_equal(test_job_wait(&t[1]), TERN_OK);
    assert_false(t[0].ended);
    tern_job_hold(t[0].job, false);
    assert_int_equal(test_job_wait(&t[0]), TERN_OK);
    for (int i = 0; i < 2; i++) {
        test_answer_same(&want[i], &t[i].answers[0]);
        test_job_done(&t[i]);
    }
    assert_true(stats(f.s).n_preempted > 0);
    free(t);
    free(want);
    tear_down(&f);
}

/* Readers that take nothing: neither slots nor places in the queue are theirs, and when they read again they get
 * the rest as if nothing had been. */
static void test_held_jobs_give_their_slots(void **state)
{
    (void)state;
    enum { HELD = 12, MORE = 4, N = HELD + MORE };
    test_answer *want = calloc(N, sizeof *want);
    test_job *t = calloc(N, sizeof *t);
    fixture f;
    tern_scheduler_opts so = slots(2, 1);
    int32_t ids[N][60];
    set_up(&f, &so);
    for (int i = 0; i < N; i++) {
        tern_job_opts o = test_job_ask(30, (uint64_t)i);
        o.n = i % 3 == 1 ? 3 : 1;
        test_prompt_fill(ids[i], 60, i);
        test_answer_alone(&want[i], f.m, 0, ids[i], 60, &o.gen);
        test_job_init(&t[i]);
        t[i].hold_at = i < HELD ? 5 : 0;
        test_job_submit(&t[i], f.s, ids[i], 60, &o);
        if (i < HELD)
            test_job_wait_token(&t[i], 5);
        else
            assert_int_equal(test_job_wait(&t[i]), TERN_OK);
    }
    for (int i = 0; i < HELD; i++)
        assert_false(t[i].ended);
    assert_true(stats(f.s).n_preempted >= HELD - 2);
    test_job_done(&t[0]); /* without a word */
    for (int i = 1; i < N; i++) {
        if (i < HELD)
            tern_job_hold(t[i].job, false);
        assert_int_equal(test_job_wait(&t[i]), TERN_OK);
        test_answer_same(&want[i], &t[i].answers[0]);
    }
    for (int i = 1; i < N; i++)
        test_job_done(&t[i]);
    assert_int_equal(stats(f.s).n_queued, 0);
    assert_int_equal(stats(f.s).n_running, 0);
    free(t);
    free(want);
    tear_down(&f);
}

static void test_little_memory_gives_the_same_answers(void **state)
{
    (void)state;
    enum { N = 10 };
    test_answer *want = calloc(N, sizeof *want);
    test_job *t = calloc(N, sizeof *t);
    fixture f;
    tern_scheduler_opts so = slots(4, N);
    int32_t ids[N][100];
    set_up(&f, &so);
    least_memory(&f, &so); /* of which each of these jobs takes more than half */
    f.m->cost.fixed_rows = 16;
    for (int i = 0; i < N; i++) {
        tern_job_opts o = test_job_ask(i % 3 ? 120 : 60, (uint64_t)i);
        test_prompt_fill(ids[i], 100, i);
        o.gen.logprobs = i % 2;
        test_answer_alone(&want[i], f.m, 0, ids[i], 100, &o.gen);
        o.owner = (uint64_t)i % 3;
        o.echo_logprobs = i == 3;
        o.n = i == 4 ? 2 : 1;
        test_job_init(&t[i]);
        test_job_submit(&t[i], f.s, ids[i], 100, &o);
    }
    for (int i = 0; i < N; i++) {
        if (test_job_wait(&t[i]) != TERN_OK)
            fail_msg("job %d: %s", i, t[i].err.msg);
        test_answer_same(&want[i], &t[i].answers[0]);
        assert_int_equal(t[i].n_echo, i == 3 ? 100 : 0);
        test_job_done(&t[i]);
    }
    assert_true(stats(f.s).n_preempted > 0);
    assert_int_equal(stats(f.s).kv_bytes, 0);
    free(t);
    free(want);
    tear_down(&f);
}

/* ---- whose turn -------------------------------------------------------------------------------- */

/* A job that keeps a slot, as slow as it is, until it is freed; then pace is to be 0. */
static void occupy(test_job *t, tern_scheduler *s, const int32_t *ids)
{
    tern_job_opts o = test_job_ask(300, 0);
    o.owner = 99;
    o.priority = 99;
    test_job_init(t);
    atomic_store(&pace, 20);
    test_job_submit(t, s, ids, 20, &o);
    test_job_wait_start(t);
    assert_false(t->ended);
}

static void test_owners_get_equal_parts(void **state)
{
    (void)state;
    enum { N = 24 };
    fixture f;
    tern_scheduler_opts so = slots(2, 64);
    set_up(&f, &so);
    test_job *t = calloc(N + 2, sizeof *t), *busy = calloc(2, sizeof *busy);
    int32_t ids[20];
    size_t clock = 0, late = 0;
    test_prompt_fill(ids, 20, 1);
    occupy(&busy[0], f.s, ids);
    occupy(&busy[1], f.s, ids);
    for (int i = 0; i < N + 2; i++) {
        tern_job_opts o = test_job_ask(20, (uint64_t)i);
        o.owner = i < N ? 1 : 2;
        test_job_init(&t[i]);
        t[i].clock = &clock;
        test_job_submit(&t[i], f.s, ids, 20, &o);
    }
    atomic_store(&pace, 0);
    test_job_done(&busy[0]);
    test_job_done(&busy[1]);
    for (int i = 0; i < N + 2; i++)
        assert_int_equal(test_job_wait(&t[i]), TERN_OK);
    for (int i = 0; i < N; i++)
        late += t[i].started_at > t[N + 1].started_at;
    assert_true(late >= N - 4); /* nearly all of the many come after both of the few */
    for (int i = 1; i < N; i++)
        assert_true(t[i].started_at > t[i - 1].started_at); /* in turn among themselves */
    for (int i = 0; i < N + 2; i++)
        test_job_done(&t[i]);
    free(t);
    free(busy);
    tear_down(&f);
}

static void test_priorities(void **state)
{
    (void)state;
    enum { N = 8 };
    fixture f;
    tern_scheduler_opts so = slots(1, 64);
    set_up(&f, &so);
    test_job *t = calloc(N + 1, sizeof *t);
    int32_t ids[20];
    size_t clock = 0;
    test_prompt_fill(ids, 20, 1);
    occupy(&t[N], f.s, ids);
    for (int i = 0; i < N; i++) {
        tern_job_opts o = test_job_ask(3, (uint64_t)i);
        o.priority = i - 4;
        o.owner = (uint64_t)i % 2;
        test_job_init(&t[i]);
        t[i].clock = &clock;
        test_job_submit(&t[i], f.s, ids, 20, &o);
    }
    atomic_store(&pace, 0);
    test_job_done(&t[N]);
    for (int i = 0; i < N; i++)
        assert_int_equal(test_job_wait(&t[i]), TERN_OK);
    for (int i = 1; i < N; i++)
        assert_true(t[i].started_at < t[i - 1].started_at);
    for (int i = 0; i < N; i++)
        test_job_done(&t[i]);
    free(t);
    tear_down(&f);
}

/* A short prompt does not wait for the end of a long one that came before. */
static void test_short_prompts_pass_long_ones(void **state)
{
    (void)state;
    fixture f;
    tern_scheduler_opts so = slots(3, 8);
    set_up(&f, &so);
    test_job *t = calloc(3, sizeof *t);
    int32_t ids[380];
    size_t clock = 0;
    test_prompt_fill(ids, 380, 1);
    f.m->cost.fixed_rows = 8;
    for (int i = 0; i < 3; i++) {
        tern_job_opts o = test_job_ask(i == 2 ? 3 : 1, (uint64_t)i);
        test_job_init(&t[i]);
        t[i].clock = &clock;
        t[i].holds = true;
        test_job_submit(&t[i], f.s, ids, i == 2 ? 16 : 380, &o);
        test_job_wait_start(&t[i]);
    }
    pthread_mutex_lock(&t[0].mu);
    t[0].frees[0] = &t[1];
    t[0].frees[1] = &t[2];
    pthread_mutex_unlock(&t[0].mu);
    tern_job_hold(t[0].job, false);
    for (int i = 0; i < 3; i++)
        assert_int_equal(test_job_wait(&t[i]), TERN_OK);
    assert_true(t[2].ended_at < t[0].ended_at);
    assert_true(t[0].ended_at < t[1].ended_at); /* of equal ones the first */
    for (int i = 0; i < 3; i++)
        test_job_done(&t[i]);
    free(t);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancelling_frees_slots),
        cmocka_unit_test(test_joules_are_divided),
        cmocka_unit_test(test_answers_from_one_prompt),
        cmocka_unit_test(test_probabilities_are_softmax_of_logits),
        cmocka_unit_test(test_held_jobs_do_not_block_others),
        cmocka_unit_test(test_held_jobs_give_their_slots),
        cmocka_unit_test(test_little_memory_gives_the_same_answers),
        cmocka_unit_test(test_owners_get_equal_parts),
        cmocka_unit_test(test_priorities),
        cmocka_unit_test(test_short_prompts_pass_long_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
