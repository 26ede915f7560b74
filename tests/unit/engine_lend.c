/* Memory that the scheduler lends: within its limit together with jobs and prefixes, never in the way of a job,
 * and asked back when it is wanted. */
#include "support/jobs.h"
#include "support/model.h"
#include "support/support.h"

#include <stdatomic.h>
#include <stdlib.h>

#define N_CTX  256
#define N_SLOT 4

static test_model file;
static tern_model *m;
static atomic_int n_wanted;

static void wanted(void *ctx)
{
    atomic_fetch_add((atomic_int *)ctx, 1);
}

static tern_scheduler *make(uint64_t mem)
{
    tern_scheduler *s;
    tern_err err = {0};
    tern_scheduler_opts o;
    tern_scheduler_opts_init(&o);
    o.n_slot = N_SLOT;
    o.n_queue = 64;
    o.mem_bytes = mem;
    atomic_store(&n_wanted, 0);
    if (tern_scheduler_new(m, &o, &s, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return s;
}

static tern_scheduler_stats stats(tern_scheduler *s)
{
    tern_scheduler_stats st = {.size = sizeof st};
    tern_scheduler_stats_get(s, &st);
    return st;
}

/* Bytes that one full context takes at most. */
static uint64_t one_context(void)
{
    tern_scheduler *s = make(0);
    uint64_t all = stats(s).mem_bytes;
    tern_scheduler_free(s);
    assert_int_equal(all % N_SLOT, 0);
    return all / N_SLOT;
}

static tern_code lend(tern_scheduler *s, uint64_t bytes)
{
    tern_err err = {0};
    return tern_scheduler_lend(s, bytes, wanted, &n_wanted, &err);
}

static void test_one_context_is_never_lent(void **state)
{
    (void)state;
    uint64_t one = one_context(), mem = 3 * one;
    tern_scheduler *s = make(mem);
    assert_int_equal(lend(s, 2 * one + 1), TERN_E_LIMIT);
    assert_int_equal(lend(s, UINT64_MAX), TERN_E_LIMIT);
    assert_int_equal(lend(s, one), TERN_OK);
    assert_int_equal(lend(s, one + 1), TERN_E_BUSY);
    assert_int_equal(lend(s, one), TERN_OK);
    assert_int_equal(stats(s).lent_bytes, 2 * one);
    tern_scheduler_give_back(s, one);
    assert_int_equal(stats(s).lent_bytes, one);
    assert_int_equal(stats(s).kv_bytes, 0);
    assert_int_equal(atomic_load(&n_wanted), 0);
    tern_scheduler_trim(s);
    tern_scheduler_give_back(s, 0); /* behind it */
    assert_int_equal(atomic_load(&n_wanted), 1);
    tern_scheduler_give_back(s, one);
    tern_scheduler_free(s);
}

/* Eight answers as long as the context in memory for two of them, of which one is lent: they come out as they
 * are alone, all memory stays within the limit, and it is asked for. */
static void test_jobs_come_first(void **state)
{
    (void)state;
    enum { N = 8, PROMPT = 40 };
    uint64_t one = one_context(), mem = 2 * one, most = 0;
    tern_scheduler *s = make(mem);
    test_job *jobs = calloc(N, sizeof *jobs);
    test_answer *want = calloc(1, sizeof *want);
    int32_t ids[N][PROMPT];
    assert_int_equal(lend(s, one), TERN_OK);
    for (int i = 0; i < N; i++) {
        tern_job_opts o = test_job_ask(N_CTX - PROMPT, (uint64_t)i);
        test_prompt_fill(ids[i], PROMPT, i);
        test_job_init(&jobs[i]);
        test_job_submit(&jobs[i], s, ids[i], PROMPT, &o);
    }
    for (int i = 0; i < N; i++) {
        for (size_t n = 1; n <= N_CTX - PROMPT; n += 8) {
            test_job_wait_token(&jobs[i], n);
            tern_scheduler_stats st = stats(s);
            uint64_t sum = st.kv_bytes + st.prefix_bytes + st.lent_bytes;
            most = sum > most ? sum : most;
        }
        if (i == 1) { /* not at once, and jobs went on meanwhile */
            assert_true(atomic_load(&n_wanted) == 1);
            assert_int_equal(lend(s, 1), TERN_E_BUSY);
            tern_scheduler_give_back(s, one);
        }
    }
    for (int i = 0; i < N; i++) {
        tern_job_opts o = test_job_ask(N_CTX - PROMPT, (uint64_t)i);
        assert_int_equal(test_job_wait(&jobs[i]), TERN_OK);
        test_answer_alone(want, m, 0, ids[i], PROMPT, &o.gen);
        test_answer_same(want, &jobs[i].answers[0]);
        test_job_done(&jobs[i]);
    }
    assert_in_range(most, one, mem);
    assert_int_equal(stats(s).lent_bytes, 0);
    tern_scheduler_free(s);
    free(jobs);
    free(want);
}

/* Prefixes that nobody uses go for what is lent. */
static void test_prefixes_go_first(void **state)
{
    (void)state;
    uint64_t one = one_context(), mem = 2 * one;
    tern_scheduler *s = make(mem);
    test_job job;
    int32_t ids[200];
    for (int i = 0; i < 2; i++) {
        tern_job_opts o = test_job_ask(4, 1);
        test_prompt_fill(ids, 200, i);
        test_job_init(&job);
        test_job_submit(&job, s, ids, 200, &o);
        assert_int_equal(test_job_wait(&job), TERN_OK);
        test_job_done(&job);
    }
    assert_true(stats(s).prefix_bytes > one);
    assert_int_equal(lend(s, one), TERN_OK);
    tern_scheduler_stats st = stats(s);
    assert_int_equal(st.lent_bytes, one);
    assert_true(st.prefix_bytes + st.lent_bytes <= mem);
    tern_scheduler_give_back(s, one);
    tern_scheduler_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_context_is_never_lent),
        cmocka_unit_test(test_jobs_come_first),
        cmocka_unit_test(test_prefixes_go_first),
    };
    m = test_model_ternary(&file, 1, N_CTX, 2);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tern_model_close(m);
    test_model_done(&file);
    return failed;
}
