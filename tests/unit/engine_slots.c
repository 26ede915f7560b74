/* What slots remember: it survives its scheduler in a file, answers that go on from there are the same bits,
 * what is erased is gone in memory and on disk, and nothing of this disturbs jobs that run. */
#include "engine/engine.h"
#include "support/jobs.h"
#include "support/model.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_CTX  400
#define PROMPT 300
#define ANSWER 20
#define MINE   7
#define YOURS  8

static test_model file;
static tern_model *m;
static char dir[] = "/tmp/tern-slots-XXXXXX", path[64];
static test_job *job;
static test_answer *want;

static int set_up(void **state)
{
    (void)state;
    m = test_model_ternary(&file, 2, N_CTX, 2);
    job = calloc(8, sizeof *job);
    want = calloc(1, sizeof *want);
    if (!job || !want || !mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof path, "%s/slot", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tern_model_close(m);
    test_model_done(&file);
    free(job);
    free(want);
    (void)unlink(path);
    return rmdir(dir);
}

static tern_scheduler *make(tern_cache_type type, int n_ctx, bool no_prefix, const char *cache_dir)
{
    tern_scheduler *s;
    tern_scheduler_opts o;
    tern_scheduler_opts_init(&o);
    o.n_slot = 3;
    o.n_ctx = n_ctx;
    o.cache_k = o.cache_v = type;
    o.no_prefix = no_prefix;
    o.cache_dir = cache_dir;
    assert_int_equal(tern_scheduler_new(m, &o, &s, NULL), TERN_OK);
    return s;
}

/* Prompts that begin with the same 200 tokens. */
static void make_prompt(int32_t *prompt, int which)
{
    for (int i = 0; i < PROMPT; i++)
        prompt[i] = (i < 200 ? 3 + i * i % 61 : 5 + i * (which + 2)) % TEST_MODEL_VOCAB;
}

static void options(tern_job_opts *o)
{
    tern_job_opts_init(o);
    o->gen.n_predict = ANSWER;
    o->gen.temp = 1.1f;
    o->gen.seed = 5;
    o->gen.logprobs = true;
    o->gen.n_top = 3;
    o->gen.ignore_eos = true;
    o->owner = MINE;
}

/* The tokens that were cached; the answer must be the one it is alone. */
static size_t ask(tern_scheduler *s, int which)
{
    int32_t prompt[PROMPT];
    tern_job_opts o;
    make_prompt(prompt, which);
    options(&o);
    test_job_init(job);
    test_job_submit(job, s, prompt, PROMPT, &o);
    assert_int_equal(test_job_wait(job), TERN_OK);
    test_answer_alone(want, m, N_CTX, prompt, PROMPT, &o.gen);
    test_answer_same(&job->answers[0], want);
    size_t n = job->n_cached;
    test_job_done(job);
    return n;
}

static tern_code save(tern_scheduler *s, int slot, uint64_t owner, size_t *n)
{
    return tern_scheduler_slot_save(s, slot, owner, path, n, NULL);
}

static tern_code restore(tern_scheduler *s, int slot, uint64_t owner, size_t *n)
{
    return tern_scheduler_slot_restore(s, slot, owner, path, n, NULL);
}

static void test_a_file_is_a_prefix_of_the_next_scheduler(void **state)
{
    (void)state;
    size_t n, n_saved;
    tern_scheduler *s = make(TERN_CACHE_AUTO, 0, false, NULL);
    assert_int_equal(ask(s, 0), 0);
    assert_int_equal(save(s, 0, MINE, &n_saved), TERN_OK);
    assert_in_range(n_saved, PROMPT + ANSWER - 1, PROMPT + ANSWER);
    tern_scheduler_free(s);

    s = make(TERN_CACHE_AUTO, 0, false, NULL);
    assert_int_equal(restore(s, 2, MINE, &n), TERN_OK);
    assert_int_equal(n, n_saved);
    assert_int_equal(ask(s, 0), PROMPT - 1);
    assert_int_equal(ask(s, 1), 200); /* it begins so */
    /* what was restored can be saved again, from where it is */
    assert_int_equal(save(s, 2, MINE, &n), TERN_OK);
    assert_int_equal(n, n_saved);
    tern_scheduler_free(s);
}

static void test_what_is_erased_is_gone(void **state)
{
    (void)state;
    char cache[64];
    uint64_t n_file, n_bytes;
    (void)snprintf(cache, sizeof cache, "%s/cache", dir);
    for (int on_disk = 0; on_disk < 2; on_disk++) {
        tern_scheduler *s = make(TERN_CACHE_AUTO, 0, false, on_disk ? cache : NULL);
        size_t n;
        assert_int_equal(ask(s, 0), 0);
        assert_int_equal(ask(s, 0), PROMPT - 1); /* used again: it goes to disk */
        assert_int_equal(tern_scheduler_slot_erase(s, 0, MINE, &n, NULL), TERN_OK);
        assert_in_range(n, PROMPT + ANSWER - 1, PROMPT + ANSWER);
        assert_int_equal(tern_scheduler_slot_erase(s, 0, MINE, &n, NULL), TERN_E_NOT_FOUND);
        assert_int_equal(ask(s, 0), 0);
        /* what another text begins with stays */
        assert_int_equal(ask(s, 1), 200);
        assert_int_equal(tern_scheduler_slot_erase(s, 0, MINE, &n, NULL), TERN_OK);
        assert_int_equal(ask(s, 1), 200);
        assert_int_equal(ask(s, 0), PROMPT - 1);
        tern_scheduler_free(s);
        if (on_disk) { /* and the next one finds it */
            s = make(TERN_CACHE_AUTO, 0, false, cache);
            assert_int_equal(ask(s, 0), 256); /* whole pages of it */
            assert_int_equal(tern_scheduler_slot_erase(s, 0, MINE, &n, NULL), TERN_OK);
            tern_scheduler_free(s);
            s = make(TERN_CACHE_AUTO, 0, false, cache);
            assert_int_equal(ask(s, 0), 0); /* nothing else was in memory to keep its beginning */
            tern_scheduler_free(s);
        }
    }
    assert_int_equal(tern_cache_clear(cache, &n_bytes, NULL), TERN_OK);
    tern_cache_prefixes(cache, &n_file, &n_bytes);
    assert_int_equal(n_file, 0);
    (void)rmdir(cache);
}

static void damage(long at)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_END), 0);
    int c = fgetc(f);
    assert_int_equal(fseek(f, at, SEEK_END), 0);
    assert_int_equal(fputc(c ^ 1, f), c ^ 1);
    assert_int_equal(fclose(f), 0);
}

static void test_refusals(void **state)
{
    (void)state;
    size_t n;
    tern_scheduler *s = make(TERN_CACHE_Q8, 0, false, NULL);
    (void)unlink(path);
    assert_int_equal(save(s, 0, MINE, &n), TERN_E_NOT_FOUND);
    assert_int_equal(ask(s, 0), 0);
    assert_int_equal(save(s, 0, YOURS, &n), TERN_E_NOT_FOUND);
    assert_int_equal(save(s, 1, MINE, &n), TERN_E_NOT_FOUND);
    assert_int_equal(save(s, 3, MINE, &n), TERN_E_USAGE);
    assert_int_equal(save(s, -1, MINE, &n), TERN_E_USAGE);
    assert_int_equal(tern_scheduler_slot_erase(s, 0, YOURS, &n, NULL), TERN_E_NOT_FOUND);
    assert_int_equal(restore(s, 0, MINE, &n), TERN_E_NOT_FOUND);
    assert_int_equal(tern_scheduler_slot_save(s, 0, MINE, "/nowhere/at/all", &n, NULL), TERN_E_IO);
    assert_int_equal(save(s, 0, MINE, &n), TERN_OK);
    assert_int_equal(restore(s, 0, YOURS, &n), TERN_E_FORMAT);
    tern_scheduler_free(s);

    tern_scheduler *other = make(TERN_CACHE_F32, 0, false, NULL);
    assert_int_equal(restore(other, 0, MINE, &n), TERN_E_FORMAT);
    tern_scheduler_free(other);
    tern_scheduler *narrow = make(TERN_CACHE_Q8, 100, false, NULL);
    assert_int_equal(restore(narrow, 0, MINE, &n), TERN_E_LIMIT);
    tern_scheduler_free(narrow);
    tern_scheduler *forgetful = make(TERN_CACHE_Q8, 0, true, NULL);
    assert_int_equal(ask(forgetful, 0), 0);
    assert_int_equal(save(forgetful, 0, MINE, &n), TERN_E_UNSUPPORTED);
    assert_int_equal(restore(forgetful, 0, MINE, &n), TERN_E_UNSUPPORTED);
    tern_scheduler_free(forgetful);

    tern_scheduler_stats st = {.size = sizeof st};
    s = make(TERN_CACHE_Q8, 0, false, NULL);
    damage(-5000);
    assert_int_equal(restore(s, 0, MINE, &n), TERN_E_FORMAT);
    assert_int_equal(save(s, 0, MINE, &n), TERN_E_NOT_FOUND);
    tern_scheduler_stats_get(s, &st);
    assert_int_equal(st.kv_bytes, 0); /* what it was lent is back */
    assert_int_equal(ask(s, 0), 0);
    tern_scheduler_free(s);
}

static void test_jobs_that_run_are_not_disturbed(void **state)
{
    (void)state;
    int32_t prompt[8][PROMPT];
    tern_job_opts o;
    size_t n, n_ok = 0;
    tern_scheduler *s = make(TERN_CACHE_AUTO, 0, false, NULL);
    assert_int_equal(ask(s, 9), 0);
    assert_int_equal(save(s, 0, MINE, &n), TERN_OK);
    options(&o);
    o.gen.n_predict = 60;
    for (int i = 0; i < 8; i++) {
        make_prompt(prompt[i], i);
        test_job_init(&job[i]);
        test_job_submit(&job[i], s, prompt[i], PROMPT, &o);
    }
    for (int i = 0; i < 12; i++) {
        n_ok += restore(s, 2, MINE, &n) == TERN_OK;
        n_ok += save(s, i % 3, MINE, &n) == TERN_OK;
        if (i % 4 == 3)
            n_ok += tern_scheduler_slot_erase(s, 2, MINE, &n, NULL) == TERN_OK;
    }
    assert_true(n_ok > 0);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(test_job_wait(&job[i]), TERN_OK);
        test_answer_alone(want, m, N_CTX, prompt[i], PROMPT, &o.gen);
        test_answer_same(&job[i].answers[0], want);
        test_job_done(&job[i]);
    }
    tern_scheduler_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_is_a_prefix_of_the_next_scheduler),
        cmocka_unit_test(test_what_is_erased_is_gone),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_jobs_that_run_are_not_disturbed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
