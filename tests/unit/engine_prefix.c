/* Prefixes across jobs and across schedulers: the answers are the same bits, what prompts have in common is
 * read once, owners share nothing, and memory stays within its limit at every event. */
#include "base/os/folder.h"
#include "engine/engine.h"
#include "support/jobs.h"
#include "support/model.h"
#include "support/support.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_CTX 400

static test_model file;
static tern_model *m;
static char dir[64];
static atomic_int n_warning;

static int set_up(void **state)
{
    (void)state;
    m = test_model_ternary(&file, 2, N_CTX, 2);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tern_model_close(m);
    test_model_done(&file);
    return 0;
}

static void warned(void *ctx, const char *line)
{
    (void)ctx;
    (void)line;
    atomic_fetch_add(&n_warning, 1);
}

static tern_scheduler *make(tern_cache_type type, bool no_prefix, const char *cache_dir,
                            uint64_t mem)
{
    tern_scheduler *s;
    tern_err err = {0};
    tern_scheduler_opts o;
    tern_scheduler_opts_init(&o);
    o.n_slot = 4;
    o.n_queue = 64;
    o.cache_k = o.cache_v = type;
    o.no_prefix = no_prefix;
    o.cache_dir = cache_dir;
    o.mem_bytes = mem;
    o.warn = warned;
    if (tern_scheduler_new(m, &o, &s, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return s;
}

/* Prompts that begin with the same n_common tokens. */
static void make_prompt(int32_t *prompt, int n_common, int n, int which)
{
    for (int i = 0; i < n; i++)
        prompt[i] = (i < n_common ? 3 + i * i % 61 : 5 + i * (which + 2)) % TEST_MODEL_VOCAB;
}

static void options(tern_job_opts *o, int n_predict)
{
    tern_job_opts_init(o);
    o->gen.n_predict = n_predict;
    o->gen.temp = 1.1f;
    o->gen.seed = 5;
    o->gen.logprobs = true;
    o->gen.n_top = 3;
    o->gen.ignore_eos = true;
}

static size_t ask(test_job *t, tern_scheduler *s, const int32_t *prompt, int n,
                  const tern_job_opts *o)
{
    test_job_init(t);
    test_job_submit(t, s, prompt, (size_t)n, o);
    assert_int_equal(test_job_wait(t), TERN_OK);
    return t->n_cached;
}

/* With the least memory that it takes. */
static tern_scheduler *make_small(bool no_prefix)
{
    tern_scheduler *s;
    tern_err err = {0};
    tern_scheduler_opts o;
    tern_scheduler_opts_init(&o);
    o.n_slot = 1;
    o.no_prefix = no_prefix;
    for (o.mem_bytes = 4096; tern_scheduler_new(m, &o, &s, &err) != TERN_OK; o.mem_bytes += 512)
        assert_int_equal(err.code, TERN_E_NOMEM);
    return s;
}

/* ---- the same bits ----------------------------------------------------------------------------- */

static void test_answers_are_the_same_with_and_without(void **state)
{
    (void)state;
    static const tern_cache_type types[] = {TERN_CACHE_Q8, TERN_CACHE_F16, TERN_CACHE_F32};
    static const int common[] = {0, 63, 64, 65, 150, 200, 299};
    test_job *a = calloc(2, sizeof *a);
    assert_non_null(a);
    for (int k = 0; k < 3; k++) {
        tern_scheduler *with = make(types[k], false, NULL, 0),
                       *without = make(types[k], true, NULL, 0);
        for (int i = 0; i < 7; i++) {
            int32_t prompt[N_CTX];
            tern_job_opts o;
            make_prompt(prompt, common[i], 300, i);
            options(&o, 20);
            size_t n = ask(&a[0], with, prompt, 300, &o);
            assert_int_equal(ask(&a[1], without, prompt, 300, &o), 0);
            assert_true(i == 0 || n >= (size_t)(i == 1 ? 0 : common[i - 1] < common[i] ? 60 : 0));
            test_answer_same(&a[0].answers[0], &a[1].answers[0]);
            assert_int_equal(a[0].answers[0].stats.n_cached, n);
            test_job_done(&a[0]);
            test_job_done(&a[1]);
            /* The same again, and its continuation. */
            n = ask(&a[0], with, prompt, 300, &o);
            assert_int_equal(n, 299);
            memcpy(prompt + 300, a[0].answers[0].ids, 20 * sizeof *prompt);
            test_job_done(&a[0]);
            make_prompt(prompt + 320, 0, 10, 3);
            assert_int_equal(ask(&a[0], with, prompt, 330, &o), 319);
            (void)ask(&a[1], without, prompt, 330, &o);
            test_answer_same(&a[0].answers[0], &a[1].answers[0]);
            test_job_done(&a[0]);
            test_job_done(&a[1]);
        }
        tern_scheduler_free(with);
        tern_scheduler_free(without);
    }
    free(a);
}

/* ---- once ---------------------------------------------------------------------------------------- */

#define N_JOB 8

/* Jobs that come at once: their common beginning is evaluated by one of them. */
static void test_what_is_common_is_read_once(void **state)
{
    (void)state;
    test_job *t = calloc(N_JOB, sizeof *t);
    test_answer *want = calloc(1, sizeof *want);
    assert_true(t && want);
    tern_scheduler_stats st = {.size = sizeof st};
    tern_scheduler *s = make(TERN_CACHE_AUTO, false, NULL, 0);
    int32_t prompt[N_JOB][N_CTX];
    tern_job_opts o;
    options(&o, 4);
    o.gen.spec = TERN_SPEC_OFF;
    for (int i = 0; i < N_JOB; i++) {
        make_prompt(prompt[i], 320, 330, i);
        test_job_init(&t[i]);
        test_job_submit(&t[i], s, prompt[i], 330, &o);
    }
    for (int i = 0; i < N_JOB; i++) {
        assert_int_equal(test_job_wait(&t[i]), TERN_OK);
        test_answer_alone(want, m, N_CTX, prompt[i], 330, &o.gen);
        test_answer_same(&t[i].answers[0], want);
    }
    tern_scheduler_stats_get(s, &st);
    /* Each has 10 tokens and 3 of its answer of its own. */
    assert_in_range(st.n_row, 330, 320 + N_JOB * 14 + 64);
    assert_in_range(st.n_cached, (N_JOB - 1) * 256, (N_JOB - 1) * 320);
    size_t n_cached = 0;
    for (int i = 0; i < N_JOB; i++)
        n_cached += t[i].answers[0].stats.n_cached;
    assert_int_equal(n_cached, st.n_cached);
    for (int i = 0; i < N_JOB; i++)
        test_job_done(&t[i]);
    tern_scheduler_free(s);
    free(want);
    free(t);
}

static void test_owners_share_nothing_and_some_want_nothing(void **state)
{
    (void)state;
    test_job *t = calloc(1, sizeof *t);
    assert_non_null(t);
    tern_scheduler *s = make(TERN_CACHE_AUTO, false, NULL, 0);
    int32_t prompt[N_CTX];
    tern_job_opts o;
    make_prompt(prompt, 0, 200, 1);
    options(&o, 2);
    o.owner = 1;
    assert_int_equal(ask(t, s, prompt, 200, &o), 0);
    test_job_done(t);
    o.owner = 2;
    assert_int_equal(ask(t, s, prompt, 200, &o), 0);
    test_job_done(t);
    o.owner = 1;
    o.no_prefix = true;
    assert_int_equal(ask(t, s, prompt, 200, &o), 0);
    test_job_done(t);
    o.no_prefix = false;
    o.echo_logprobs = true; /* all rows are needed */
    assert_int_equal(ask(t, s, prompt, 200, &o), 0);
    assert_int_equal(t->n_echo, 200);
    test_job_done(t);
    o.echo_logprobs = false;
    o.n = 3; /* answers from one reading, and that from what is kept */
    assert_int_equal(ask(t, s, prompt, 200, &o), 199);
    test_job_done(t);
    tern_scheduler_free(s);
    free(t);
}

/* ---- memory -------------------------------------------------------------------------------------- */

static bool has_ended(test_job *t)
{
    pthread_mutex_lock(&t->mu);
    bool ended = t->ended;
    pthread_mutex_unlock(&t->mu);
    return ended;
}

static void test_memory_stays_within_its_limit(void **state)
{
    (void)state;
    static test_job t[40];
    tern_kv_shape shape;
    assert_int_equal(tern_cache_shape(m, TERN_CACHE_AUTO, TERN_CACHE_AUTO, &shape, NULL), TERN_OK);
    uint64_t limit = 2 * (uint64_t)tern_seq_bytes(&shape, N_CTX) + 32768, most = 0;
    tern_scheduler *s = make(TERN_CACHE_AUTO, false, NULL, limit);
    int32_t prompt[N_CTX];
    tern_job_opts o;
    for (int i = 0; i < 40; i++) {
        options(&o, 1 + i % 30);
        o.owner = (uint64_t)(i % 3);
        make_prompt(prompt, i * 37 % 300, 300, i % 7);
        test_job_init(&t[i]);
        test_job_submit(&t[i], s, prompt, 300, &o);
    }
    for (int i = 0; i < 40; i++) {
        tern_scheduler_stats st = {.size = sizeof st};
        while (!has_ended(&t[i])) {
            tern_scheduler_stats_get(s, &st);
            assert_true(st.kv_bytes + st.prefix_bytes <= limit);
            most = st.kv_bytes + st.prefix_bytes > most ? st.kv_bytes + st.prefix_bytes : most;
            (void)usleep(300);
        }
        assert_int_equal(test_job_wait(&t[i]), TERN_OK);
    }
    assert_true(most > limit / 2);
    for (int i = 0; i < 40; i++)
        test_job_done(&t[i]);
    tern_scheduler_free(s);
}

/* ---- disk ---------------------------------------------------------------------------------------- */

/* A lone answer always fits, also where it goes on in the midst of a page that the tree has and keeps: then it
 * needs a page of its own besides. */
static void test_a_conversation_fills_its_context(void **state)
{
    (void)state;
    test_job *a = calloc(2, sizeof *a);
    tern_scheduler *with = make_small(false), *without = make_small(true);
    assert_non_null(a);
    for (int n = 60; n < N_CTX; n += 53) {
        int32_t prompt[N_CTX];
        tern_job_opts o;
        make_prompt(prompt, 0, n, n);
        options(&o, 3);
        (void)ask(&a[0], with, prompt, n, &o);
        memcpy(prompt + n, a[0].answers[0].ids, 2 * sizeof *prompt);
        test_job_done(&a[0]);
        prompt[n + 2] = 77; /* the user's turn */
        options(&o, -1);
        assert_int_equal(ask(&a[0], with, prompt, n + 3, &o), n + 2);
        (void)ask(&a[1], without, prompt, n + 3, &o);
        assert_int_equal(a[0].answers[0].finish, TERN_FINISH_LENGTH);
        test_answer_same(&a[0].answers[0], &a[1].answers[0]);
        test_job_done(&a[0]);
        test_job_done(&a[1]);
    }
    tern_scheduler_free(with);
    tern_scheduler_free(without);
    free(a);
}

static void test_prefixes_go_when_memory_is_short(void **state)
{
    (void)state;
    int32_t prompt[200];
    tern_job_opts o;
    test_job *t = calloc(1, sizeof *t);
    tern_scheduler_stats st = {.size = sizeof st};
    tern_scheduler *s = make(TERN_CACHE_Q8, false, NULL, 0);
    assert_non_null(t);
    options(&o, 3);
    make_prompt(prompt, 200, 200, 0);
    assert_int_equal(ask(t, s, prompt, 200, &o), 0);
    test_job_done(t);
    assert_true(ask(t, s, prompt, 200, &o) > 0);
    test_job_done(t);
    tern_scheduler_stats_get(s, &st);
    assert_true(st.prefix_bytes > 0);
    tern_scheduler_trim(s);
    for (int i = 0; i < 1000 && st.prefix_bytes > 0; i++) {
        (void)usleep(5000);
        tern_scheduler_stats_get(s, &st);
    }
    assert_int_equal(st.prefix_bytes, 0);
    assert_int_equal(ask(t, s, prompt, 200, &o), 0);
    test_job_done(t);
    tern_scheduler_free(s);
    free(t);
}

static void test_the_next_program_finds_it(void **state)
{
    (void)state;
    test_job *t = calloc(1, sizeof *t);
    test_answer *want = calloc(1, sizeof *want);
    assert_true(t && want);
    int32_t prompt[N_CTX];
    tern_job_opts o;
    uint64_t n_file, n_bytes;
    (void)snprintf(dir, sizeof dir, "/tmp/tern-prefix-XXXXXX");
    assert_non_null(mkdtemp(dir));
    options(&o, 10);
    o.n_keep = 290;
    for (int i = 0; i < 4; i++) {
        tern_scheduler_stats st = {.size = sizeof st};
        tern_scheduler *s = make(i == 3 ? TERN_CACHE_F32 : TERN_CACHE_Q8, false, dir, 0);
        make_prompt(prompt, 290, 320, i);
        size_t n = ask(t, s, prompt, 320, &o);
        assert_int_equal(n, i == 0 || i == 3 ? 0 : 290);
        if (i < 3) {
            tern_session_opts so;
            tern_session *session;
            tern_session_opts_init(&so);
            so.n_ctx = N_CTX;
            so.cache_k = so.cache_v = TERN_CACHE_Q8;
            assert_int_equal(tern_session_new(m, &so, &session, NULL), TERN_OK);
            tern_request *r;
            tern_event ev = {.finish = TERN_FINISH_NONE};
            assert_int_equal(tern_request_new(session, prompt, 320, &o.gen, &r, NULL), TERN_OK);
            for (size_t k = 0; ev.finish == TERN_FINISH_NONE; k++) {
                assert_int_equal(tern_request_next(r, &ev, NULL), TERN_OK);
                assert_int_equal(ev.id, t->answers[0].ids[k]);
                assert_memory_equal(&ev.logprob, &t->answers[0].logprob[k], sizeof ev.logprob);
            }
            tern_request_free(r);
            tern_session_free(session);
        }
        test_job_done(t);
        tern_scheduler_stats_get(s, &st);
        assert_true(i == 0 || st.prefix_disk_bytes > 0);
        tern_scheduler_free(s);
    }
    tern_cache_prefixes(dir, &n_file, &n_bytes);
    assert_true(n_file >= 10 && n_bytes > 0);
    assert_int_equal(tern_cache_clear(dir, &n_bytes, NULL), TERN_OK);
    tern_cache_prefixes(dir, &n_file, &n_bytes);
    assert_int_equal(n_file, 0);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(n_warning, 0);
    free(want);
    free(t);
}

static void test_without_a_folder_it_goes_on(void **state)
{
    (void)state;
    test_job *t = calloc(1, sizeof *t);
    assert_non_null(t);
    int32_t prompt[N_CTX];
    tern_job_opts o;
    tern_scheduler *s = make(TERN_CACHE_AUTO, false, "/nowhere/at/all", 0);
    assert_int_equal(n_warning, 1);
    n_warning = 0;
    options(&o, 2);
    make_prompt(prompt, 0, 100, 1);
    assert_int_equal(ask(t, s, prompt, 100, &o), 0);
    test_job_done(t);
    assert_int_equal(ask(t, s, prompt, 100, &o), 99);
    test_job_done(t);
    tern_scheduler_free(s);
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_are_the_same_with_and_without),
        cmocka_unit_test(test_what_is_common_is_read_once),
        cmocka_unit_test(test_owners_share_nothing_and_some_want_nothing),
        cmocka_unit_test(test_memory_stays_within_its_limit),
        cmocka_unit_test(test_a_conversation_fills_its_context),
        cmocka_unit_test(test_prefixes_go_when_memory_is_short),
        cmocka_unit_test(test_the_next_program_finds_it),
        cmocka_unit_test(test_without_a_folder_it_goes_on),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
