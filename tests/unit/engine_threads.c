/* Several threads, one model: steps take turns, and nobody's bits depend on who else is there. Made to
 * run under the thread sanitizer. */
#include "support/model.h"
#include "support/support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define N_SESSION 4
#define N_TOK     70 /* crosses a page */

static tern_model *open_model(test_model *m, int n_thread)
{
    tern_model *opened;
    tern_err err = {0};
    tern_model_opts o;
    tern_model_opts_init(&o);
    o.n_thread = n_thread;
    test_model_init(m, &(test_shape){.arch = "bitnet",
                                     .d_model = 128,
                                     .matrices = TERN_DT_I2_S,
                                     .embed = TERN_DT_F16,
                                     .n_ctx = 128});
    test_model_write(m);
    if (tern_model_open_memory(m->file.data, m->file.len, "tiny", &o, &opened, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return opened;
}

/* ---- the same bits ------------------------------------------------------------------------ */

/* What one session does: its own ids in its own chunks with its own cache, then an answer. */
typedef struct task {
    tern_model *m;
    int number;
    float logits[TEST_MODEL_VOCAB];
    int32_t answer[8];
    bool failed;
} task;

static tern_code work(task *t)
{
    tern_err err;
    tern_session *s;
    tern_session_opts so;
    tern_request *r = NULL;
    tern_event ev;
    tern_gen_opts go;
    int32_t ids[N_TOK];
    for (int i = 0; i < N_TOK; i++)
        ids[i] = (i * 7 + t->number * 31) % TEST_MODEL_VOCAB;
    tern_session_opts_init(&so);
    so.cache_k = so.cache_v = (tern_cache_type)(t->number % 3);
    tern_code rc = tern_session_new(t->m, &so, &s, &err);
    for (size_t at = 0, n; rc == TERN_OK && at < N_TOK; at += n) {
        n = 1 + (size_t)t->number * 5 % 9;
        n = n > N_TOK - at ? N_TOK - at : n;
        rc = tern_session_eval(s, ids + at, n, &err);
    }
    if (rc == TERN_OK)
        memcpy(t->logits, tern_session_logits(s), sizeof t->logits);
    tern_gen_opts_init(&go);
    go.n_predict = 8;
    go.seed = (uint64_t)t->number;
    go.ignore_eos = true;
    if (rc == TERN_OK)
        rc = tern_request_new(s, ids, N_TOK / 2, &go, &r, &err);
    for (int i = 0; rc == TERN_OK && i < 8; i++) {
        rc = tern_request_next(r, &ev, &err);
        t->answer[i] = ev.id;
    }
    tern_request_free(r);
    tern_session_free(s);
    return rc;
}

static void *work_thread(void *arg)
{
    task *t = arg;
    t->failed = work(t) != TERN_OK;
    return NULL;
}

static void test_sessions_in_parallel_equal_sessions_alone(void **state)
{
    (void)state;
    for (int n_thread = 1; n_thread <= 3; n_thread++) {
        test_model m;
        tern_model *opened = open_model(&m, n_thread);
        task alone[N_SESSION] = {0}, together[N_SESSION] = {0};
        pthread_t threads[N_SESSION];
        for (int i = 0; i < N_SESSION; i++) {
            alone[i].m = together[i].m = opened;
            alone[i].number = together[i].number = i;
            (void)work_thread(&alone[i]);
            assert_false(alone[i].failed);
        }
        for (int i = 0; i < N_SESSION; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, work_thread, &together[i]), 0);
        for (int i = 0; i < N_SESSION; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_false(together[i].failed);
            assert_memory_equal(alone[i].logits, together[i].logits, sizeof alone[i].logits);
            assert_memory_equal(alone[i].answer, together[i].answer, sizeof alone[i].answer);
        }
        tern_model_close(opened);
        test_model_done(&m);
    }
}

/* ---- groups ------------------------------------------------------------------------------- */

#define N_GROUP  3
#define N_MEMBER 3
#define N_ANSWER 30

/* Three requests of one thread, drafting: answered in one call each, or one by one. */
typedef struct group {
    tern_model *m;
    int number;
    bool apart, failed;
    int32_t answer[N_MEMBER][N_ANSWER];
} group;

static void *group_thread(void *arg)
{
    group *g = arg;
    tern_session *s[N_MEMBER] = {NULL};
    tern_request *r[N_MEMBER] = {NULL};
    tern_err err;
    bool ok = true;
    for (int i = 0; i < N_MEMBER && ok; i++) {
        tern_gen_opts o;
        int32_t prompt[40];
        for (int j = 0; j < 10 + 10 * i; j++)
            prompt[j] = (j % 5 * 7 + i + g->number * 31) % TEST_MODEL_VOCAB;
        tern_gen_opts_init(&o);
        o.ignore_eos = true;
        o.temp = i ? 0.3f : 0.0f;
        o.spec = (tern_spec_mode)(1 + i % 2);
        ok = tern_session_new(g->m, NULL, &s[i], &err) == TERN_OK &&
             tern_request_new(s[i], prompt, (size_t)(10 + 10 * i), &o, &r[i], &err) == TERN_OK;
    }
    int n[N_MEMBER] = {0};
    for (int step = 0; step < N_ANSWER + 5 && ok; step++) {
        tern_event ev[N_MEMBER];
        for (int i = 0; i < N_MEMBER && g->apart; i++)
            ok = ok && tern_request_next(r[i], &ev[i], &err) == TERN_OK;
        if (!g->apart)
            ok = tern_requests_next(r, N_MEMBER, ev, &err) == TERN_OK;
        for (int i = 0; i < N_MEMBER && ok; i++)
            if (ev[i].id >= 0 && n[i] < N_ANSWER)
                g->answer[i][n[i]++] = ev[i].id;
    }
    for (int i = 0; i < N_MEMBER; i++) {
        ok = ok && n[i] == N_ANSWER;
        tern_request_free(r[i]);
        tern_session_free(s[i]);
    }
    g->failed = !ok;
    return NULL;
}

static void test_groups_in_parallel(void **state)
{
    (void)state;
    test_model m;
    tern_model *opened = open_model(&m, 2);
    static group alone[N_GROUP], together[N_GROUP];
    pthread_t threads[N_GROUP];
    for (int i = 0; i < N_GROUP; i++) {
        alone[i] = (group){.m = opened, .number = i, .apart = true};
        together[i] = (group){.m = opened, .number = i, .apart = i == 1};
        (void)group_thread(&alone[i]);
        assert_false(alone[i].failed);
    }
    for (int i = 0; i < N_GROUP; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, group_thread, &together[i]), 0);
    for (int i = 0; i < N_GROUP; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(together[i].failed);
        assert_memory_equal(alone[i].answer, together[i].answer, sizeof alone[i].answer);
    }
    tern_model_close(opened);
    test_model_done(&m);
}

/* ---- text beside steps -------------------------------------------------------------------- */

static void *text_thread(void *arg)
{
    task *t = arg;
    for (int i = 0; i < 20 && !t->failed; i++) {
        int32_t ids[16];
        char *text = NULL, *json = NULL;
        size_t n = 0, n_text;
        t->failed = tern_model_tokenize(t->m, "abc\xc3\xa4", 5, 0, ids, 16, &n, NULL) != TERN_OK ||
                    tern_model_detokenize(t->m, ids, n, true, &text, &n_text, NULL) != TERN_OK ||
                    tern_model_describe(t->m, &json, NULL) != TERN_OK;
        tern_string_free(text);
        tern_string_free(json);
    }
    return NULL;
}

static void test_text_runs_beside_steps(void **state)
{
    (void)state;
    test_model m;
    tern_model *opened = open_model(&m, 2);
    task tasks[3] = {{.m = opened}, {.m = opened}, {.m = opened, .number = 2}};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, i < 2 ? text_thread : work_thread, &tasks[i]), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(tasks[i].failed);
    }
    tern_model_close(opened);
    test_model_done(&m);
}

/* ---- cancelling --------------------------------------------------------------------------- */

typedef struct canceller {
    tern_session *s;
    _Atomic bool quit;
    _Atomic int n_begun;
} canceller;

static void *cancel_thread(void *arg)
{
    canceller *c = arg;
    while (!c->quit)
        if (c->n_begun > 0)
            tern_session_cancel(c->s);
    return NULL;
}

/* Every answer is cancelled somewhere, and the session is sound each time. */
static void test_cancel_from_another_thread(void **state)
{
    (void)state;
    test_model m;
    tern_model *opened = open_model(&m, 2);
    tern_err err;
    canceller c = {0};
    pthread_t thread;
    const int32_t prompt[] = {1, 60, 61, 62};
    tern_gen_opts go;
    tern_gen_opts_init(&go);
    go.ignore_eos = true;
    assert_int_equal(tern_session_new(opened, NULL, &c.s, &err), TERN_OK);
    assert_int_equal(pthread_create(&thread, NULL, cancel_thread, &c), 0);
    for (int round = 0; round < 20; round++) {
        tern_request *r;
        tern_event ev = {0};
        int n = 0;
        c.n_begun = 0;
        assert_int_equal(tern_request_new(c.s, prompt, 4, &go, &r, &err), TERN_OK);
        while (ev.finish == TERN_FINISH_NONE) {
            if (n++ == round % 4)
                c.n_begun = 1;
            assert_int_equal(tern_request_next(r, &ev, &err), TERN_OK);
        }
        assert_true(ev.finish == TERN_FINISH_CANCELLED || ev.finish == TERN_FINISH_LENGTH);
        tern_request_free(r);
        size_t n_tok;
        (void)tern_session_tokens(c.s, &n_tok);
        assert_true(n_tok <= 128);
    }
    c.quit = true;
    assert_int_equal(pthread_join(thread, NULL), 0);
    tern_session_rewind(c.s, 2);
    assert_int_equal(tern_session_eval(c.s, prompt, 1, &err), TERN_OK);
    tern_session_free(c.s);
    tern_model_close(opened);
    test_model_done(&m);
}

static void cancel_at_once(void *ctx, size_t done, size_t total)
{
    (void)done;
    (void)total;
    tern_session_cancel(*(tern_session **)ctx);
}

static void count_rows(void *ctx, int row, const float *logits)
{
    (void)row;
    (void)logits;
    ++*(int *)ctx;
}

/* Cancelled between two chunks: rows were shown, but the session is what it was. */
static void test_a_cancelled_evaluation_changes_nothing(void **state)
{
    (void)state;
    test_model m;
    tern_model *opened;
    tern_session *s;
    tern_session_opts so;
    tern_err err;
    int32_t ids[300];
    float before[TEST_MODEL_VOCAB];
    int n_row = 0;
    size_t n_tok;
    for (int i = 0; i < 300; i++)
        ids[i] = i % TEST_MODEL_VOCAB;
    test_model_init(&m, &(test_shape){.n_layer = 1, .n_ctx = 400});
    assert_int_equal(test_model_open(&m, &opened, &err), TERN_OK);
    tern_session_opts_init(&so);
    so.progress = cancel_at_once;
    so.ctx = &s;
    assert_int_equal(tern_session_new(opened, &so, &s, &err), TERN_OK);
    assert_int_equal(tern_session_eval(s, ids, 3, &err), TERN_OK);
    memcpy(before, tern_session_logits(s), sizeof before);
    assert_int_equal(tern_session_eval_all(s, ids, 300, count_rows, &n_row, &err),
                     TERN_E_CANCELLED);
    assert_in_range(n_row, 1, 299);
    assert_memory_equal(before, tern_session_logits(s), sizeof before);
    (void)tern_session_tokens(s, &n_tok);
    assert_int_equal(n_tok, 3);
    tern_session_free(s);
    tern_model_close(opened);
    test_model_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sessions_in_parallel_equal_sessions_alone),
        cmocka_unit_test(test_groups_in_parallel),
        cmocka_unit_test(test_text_runs_beside_steps),
        cmocka_unit_test(test_cancel_from_another_thread),
        cmocka_unit_test(test_a_cancelled_evaluation_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
