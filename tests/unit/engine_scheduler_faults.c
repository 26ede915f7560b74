/* What goes wrong ends the jobs it concerns and nothing else: no memory, a model file that is cut; and many
 * threads at once. Made to run under the sanitizers. */
#include "base/alloc.h"
#include "base/os/map.h"
#include "engine/engine.h"
#include "support/jobs.h"
#include "support/model.h"
#include "support/support.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_CTX 256

static tern_code make(tern_model *m, int32_t n_slot, uint64_t mem, tern_scheduler **s,
                      tern_err *err)
{
    tern_scheduler_opts o;
    tern_scheduler_opts_init(&o);
    o.n_slot = n_slot;
    o.n_queue = 64;
    o.mem_bytes = mem;
    return tern_scheduler_new(m, &o, s, err);
}

/* ---- memory ------------------------------------------------------------------------------------ */

static atomic_int n_alloc, fails_at;

static bool fail_one(void *ctx, const char *site, size_t size)
{
    (void)site;
    (void)size;
    int n = atomic_fetch_add(&n_alloc, 1), at = atomic_load(&fails_at);
    return *(bool *)ctx ? n >= at : n == at;
}

static int32_t two_prompts[2][100];
static test_answer *two_wanted; /* [3] */

/* Two jobs, one of two answers, with one allocation failing. Returns whether all went well. */
static bool run_two(tern_model *m, test_job *t)
{
    tern_scheduler *s;
    tern_err err = {0};
    bool well = true, there[2] = {false, false};
    if (make(m, 2, 0, &s, &err) != TERN_OK) {
        assert_int_equal(err.code, TERN_E_NOMEM);
        return false;
    }
    for (int i = 0; i < 2; i++) {
        tern_job_opts o = test_job_ask(70, 5);
        o.n = 2 - i;
        o.echo_logprobs = i == 1;
        test_job_init(&t[i]);
        tern_code rc = test_job_try(&t[i], s, two_prompts[i], 100, &o, &err);
        there[i] = rc == TERN_OK;
        assert_true(rc == TERN_OK || rc == TERN_E_NOMEM);
        well &= there[i];
    }
    for (int i = 0; i < 2; i++)
        if (there[i]) {
            tern_code rc = test_job_wait(&t[i]);
            assert_true(rc == TERN_OK || rc == TERN_E_NOMEM);
            well &= rc == TERN_OK;
            for (int k = 0; k < 2 - i && rc == TERN_OK; k++)
                test_answer_same(&two_wanted[2 * i + k], &t[i].answers[k]);
        }
    for (int i = 0; i < 2; i++)
        test_job_done(&t[i]);
    tern_scheduler_free(s);
    return well;
}

static void test_allocations_fail(void **state)
{
    (void)state;
    test_model file;
    tern_model *m = test_model_ternary(&file, 1, N_CTX, 2);
    test_job *t = calloc(2, sizeof *t);
    bool from = false, well = false;
    int n_bad = 0;
    two_wanted = calloc(3, sizeof *two_wanted);
    for (int i = 0; i < 2; i++)
        test_prompt_fill(two_prompts[i], 100, i);
    for (int i = 0; i < 3; i++) {
        tern_job_opts o = test_job_ask(70, 5 + (uint64_t)(i & 1));
        test_answer_alone(&two_wanted[i], m, 0, two_prompts[i / 2], 100, &o.gen);
    }
    for (int mode = 0; mode < 2; mode++) {
        from = mode;
        for (int at = 0;; at++) {
            atomic_store(&n_alloc, 0);
            atomic_store(&fails_at, at);
            tern_alloc_hook_set(fail_one, &from);
            well = run_two(m, t);
            tern_alloc_hook_set(NULL, NULL);
            n_bad += !well;
            if (atomic_load(&n_alloc) <= at) /* none failed */
                break;
            assert_true(at < 2000);
        }
        assert_true(well);
    }
    assert_true(n_bad > 20);
    free(two_wanted);
    free(t);
    tern_model_close(m);
    test_model_done(&file);
}

/* ---- the file ---------------------------------------------------------------------------------- */

static void test_a_cut_file_ends_jobs(void **state)
{
    (void)state;
    static const char source[] = "tests/golden/models/llama.gguf";
    char path[] = "/tmp/tern-sched-XXXXXX";
    size_t n;
    uint8_t *data = test_read_file(source, &n);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, n), n);
    close(fd);
    free(data);
    tern_map_guard(); /* the test driver takes the signal before each test */
    tern_model *m;
    tern_scheduler *s;
    tern_err err = {0};
    tern_model_opts o;
    tern_model_opts_init(&o);
    o.n_thread = 2;
    if (tern_model_open(path, &o, &m, &err) != TERN_OK || make(m, 2, 0, &s, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    test_job *t = calloc(3, sizeof *t);
    static const int32_t ids[] = {5, 6, 7};
    for (int i = 0; i < 3; i++) {
        tern_job_opts jo = test_job_ask(-1, (uint64_t)i);
        jo.gen.n_predict = 20;
        test_job_init(&t[i]);
        t[i].holds = true;
        test_job_submit(&t[i], s, ids, 3, &jo);
        if (i < 2)
            test_job_wait_start(&t[i]);
    }
    assert_int_equal(truncate(path, 100), 0);
    for (int i = 0; i < 3; i++)
        tern_job_hold(t[i].job, false);
    for (int i = 0; i < 3; i++) {
        if (i == 2)
            tern_job_hold(t[i].job, false);
        assert_int_equal(test_job_wait(&t[i]), TERN_E_IO);
        assert_non_null(strstr(t[i].err.msg, "was cut short"));
        test_job_done(&t[i]);
    }
    free(t);
    tern_scheduler_free(s);
    tern_model_close(m);
    unlink(path);
}

/* ---- many threads ------------------------------------------------------------------------------ */

#define N_THREAD 4
#define N_ROUND  30

typedef struct user {
    tern_model *m;
    tern_scheduler *s;
    int number;
    const test_answer *want; /* [N_THREAD] */
    atomic_bool *stop;
    atomic_int n_embed;
} user;

/* Jobs that run to their end, are given up, or wait; each that ends is what it should be. */
static void *use(void *arg)
{
    user *u = arg;
    test_job *t = calloc(1, sizeof *t);
    int32_t ids[120];
    for (int i = 0; t && i < N_ROUND; i++) {
        size_t n = (size_t)(10 + 30 * u->number);
        tern_job_opts o = test_job_ask(30, (uint64_t)u->number);
        test_prompt_fill(ids, n, u->number);
        o.owner = (uint64_t)u->number % 2;
        o.n = 1 + (i + u->number) % 3;
        o.priority = i % 2;
        o.deadline_s = i % 7 == 6 ? 1e-4 : 0.0;
        test_job_init(t);
        t->cancel_at = i % 5 == 4 ? 10 : 0;
        test_job_submit(t, u->s, ids, n, &o);
        tern_job_hold(t->job, i % 3 == 0);
        if (i % 4 != 3) {
            tern_job_hold(t->job, false);
            if (test_job_wait(t) == TERN_OK)
                test_answer_same(&u->want[u->number], &t->answers[0]);
        }
        test_job_done(t);
    }
    free(t);
    return NULL;
}

/* Another thread evaluates as well: neither keeps the other from getting on. */
static void *embed(void *arg)
{
    user *u = arg;
    int32_t ids[50];
    float out[128];
    tern_err err;
    test_prompt_fill(ids, 50, 9);
    while (!atomic_load(u->stop)) {
        const tern_embed_text text = {ids, 50};
        if (tern_model_embed(u->m, &text, 1, NULL, out, &err) == TERN_OK)
            atomic_fetch_add(&u->n_embed, 1);
    }
    return NULL;
}

static void test_many_threads(void **state)
{
    (void)state;
    test_model file;
    tern_model *m = test_model_ternary(&file, 1, N_CTX, 2);
    tern_scheduler *s;
    tern_err err = {0};
    pthread_t thread[N_THREAD + 1];
    user u[N_THREAD + 1];
    atomic_bool stop = false;
    test_answer *want = calloc(N_THREAD, sizeof *want);
    int32_t ids[120];
    if (make(m, 3, 0, &s, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    for (int i = 0; i < N_THREAD; i++) {
        tern_job_opts o = test_job_ask(30, (uint64_t)i);
        test_prompt_fill(ids, 120, i);
        test_answer_alone(&want[i], m, 0, ids, (size_t)(10 + 30 * i), &o.gen);
    }
    for (int i = 0; i <= N_THREAD; i++) {
        u[i] = (user){.m = m, .s = s, .number = i, .want = want, .stop = &stop};
        assert_int_equal(pthread_create(&thread[i], NULL, i < N_THREAD ? use : embed, &u[i]), 0);
    }
    tern_scheduler_stats st = {.size = sizeof st};
    for (int i = 0; i < N_THREAD; i++) {
        tern_scheduler_stats_get(s, &st);
        pthread_join(thread[i], NULL);
    }
    atomic_store(&stop, true);
    pthread_join(thread[N_THREAD], NULL);
    assert_true(atomic_load(&u[N_THREAD].n_embed) > 10);
    tern_scheduler_stats_get(s, &st);
    assert_int_equal(st.n_job, N_THREAD * N_ROUND);
    assert_int_equal(st.n_running, 0);
    assert_int_equal(st.n_queued, 0);
    assert_int_equal(st.kv_bytes, 0);
    free(want);
    tern_scheduler_free(s);
    tern_model_close(m);
    test_model_done(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocations_fail),
        cmocka_unit_test(test_a_cut_file_ends_jobs),
        cmocka_unit_test(test_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
