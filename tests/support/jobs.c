#include "support/jobs.h"
#include "support/model.h"
#include "support/support.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

void test_prompt_fill(int32_t *ids, size_t n, int seed)
{
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)((i * 7 + (size_t)seed * 31 + i / 5) % TEST_MODEL_VOCAB);
}

tern_job_opts test_job_ask(int32_t n_predict, uint64_t seed)
{
    tern_job_opts o;
    tern_job_opts_init(&o);
    o.gen.n_predict = n_predict;
    o.gen.temp = 1.2f;
    o.gen.seed = seed;
    o.gen.ignore_eos = true;
    return o;
}

void test_job_init(test_job *t)
{
    memset(t, 0, sizeof *t);
    pthread_mutex_init(&t->mu, NULL);
    pthread_cond_init(&t->heard, NULL);
}

static void complain(test_job *t, const char *what)
{
    if (!t->wrong[0])
        snprintf(t->wrong, sizeof t->wrong, "%s", what);
}

static void put_token(test_job *t, test_answer *a, const tern_event *ev)
{
    if (a->n_id == TEST_JOB_TOKENS || ev->n_text > sizeof a->text - a->n_text ||
        ev->n_top > TERN_MAX_TOP) {
        complain(t, "more than there is room for");
        return;
    }
    if (ev->id >= 0) {
        a->ids[a->n_id] = ev->id;
        a->logprob[a->n_id] = ev->logprob;
        if (ev->n_top)
            memcpy(a->top[a->n_id], ev->top, ev->n_top * sizeof *ev->top);
        a->n_top += ev->n_top;
        a->n_id++;
    }
    if (ev->n_text)
        memcpy(a->text + a->n_text, ev->text, ev->n_text);
    a->n_text += ev->n_text;
}

static void put_echo(test_job *t, const tern_job_event *ev)
{
    if (t->n_echo == TEST_JOB_TOKENS || ev->n_done != t->n_echo || t->n_token) {
        complain(t, "an echo out of order");
        return;
    }
    t->echo_ids[t->n_echo] = ev->token.id;
    t->echo[t->n_echo] = ev->token.logprob;
    if (ev->token.n_top)
        memcpy(t->echo_top[t->n_echo], ev->token.top, ev->token.n_top * sizeof *ev->token.top);
    t->n_echo++;
}

static void hear(test_job *t, const tern_job_event *ev)
{
    if (t->ended)
        complain(t, "an event after the end");
    if (ev->kind != TERN_JOB_STARTED && ev->kind != TERN_JOB_END && !t->started)
        complain(t, "an event before the start");
    if (ev->answer < 0 || ev->answer >= TEST_JOB_ANSWERS) {
        complain(t, "no such answer");
        return;
    }
    test_answer *a = &t->answers[ev->answer];
    switch (ev->kind) {
    case TERN_JOB_STARTED:
        if (t->started)
            complain(t, "started twice");
        t->started = true;
        t->started_at = t->clock ? ++*t->clock : 0;
        t->n_cached = ev->n_done;
        break;
    case TERN_JOB_PROMPT:
        if (ev->n_done <= t->n_read || ev->n_done > ev->n_prompt)
            complain(t, "the prompt is read backwards");
        t->n_read = ev->n_done;
        break;
    case TERN_JOB_ECHO:
        put_echo(t, ev);
        break;
    case TERN_JOB_TOKEN:
        if (t->n_read != ev->n_prompt || a->finish != TERN_FINISH_NONE || ev->token.id < 0)
            complain(t, "a token out of order");
        put_token(t, a, &ev->token);
        t->n_token++;
        break;
    case TERN_JOB_ANSWER:
        if (a->finish != TERN_FINISH_NONE || ev->token.finish == TERN_FINISH_NONE || !ev->stats)
            complain(t, "an answer ended twice");
        put_token(t, a, &ev->token);
        a->finish = ev->token.finish;
        a->joules = ev->joules;
        if (ev->stats)
            a->stats = *ev->stats;
        t->n_answer++;
        break;
    case TERN_JOB_END:
        t->ended = true;
        t->ended_at = t->clock ? ++*t->clock : 0;
        t->code = ev->code;
        if ((ev->code == TERN_OK) != (ev->err == NULL))
            complain(t, "a code without an error");
        if (ev->err)
            t->err = *ev->err;
        break;
    }
}

static void on_event(void *ctx, const tern_job_event *ev)
{
    test_job *t = ctx;
    bool cancel, hold = t->holds && ev->kind == TERN_JOB_STARTED;
    test_job *frees[2] = {NULL, NULL};
    pthread_mutex_lock(&t->mu);
    hear(t, ev);
    if (ev->kind == TERN_JOB_PROMPT)
        memcpy(frees, t->frees, sizeof frees);
    hold |= ev->kind == TERN_JOB_TOKEN && t->n_token == t->hold_at;
    cancel = ev->kind == TERN_JOB_TOKEN && t->n_token == t->cancel_at;
    pthread_cond_broadcast(&t->heard);
    pthread_mutex_unlock(&t->mu);
    for (int i = 0; i < 2; i++)
        if (frees[i])
            tern_job_hold(frees[i]->job, false);
    if (hold)
        tern_job_hold(t->job, true);
    if (cancel)
        tern_job_cancel(t->job);
}

double test_job_slow(void *ms)
{
    struct timespec t = {.tv_nsec = atomic_load((atomic_int *)ms) * 1000000L};
    (void)nanosleep(&t, NULL);
    return (double)NAN;
}

tern_code test_job_try(test_job *t, tern_scheduler *s, const int32_t *prompt, size_t n_tok,
                       const tern_job_opts *o, tern_err *err)
{
    tern_job_opts own = *o;
    own.on_event = on_event;
    own.ctx = t;
    return tern_scheduler_submit(s, prompt, n_tok, &own, &t->job, err);
}

void test_job_submit(test_job *t, tern_scheduler *s, const int32_t *prompt, size_t n_tok,
                     const tern_job_opts *o)
{
    tern_err err = {0};
    if (test_job_try(t, s, prompt, n_tok, o, &err) != TERN_OK)
        fail_msg("%s", err.msg);
}

void test_job_wait_token(test_job *t, size_t n_token)
{
    pthread_mutex_lock(&t->mu);
    while (t->n_token < n_token && !t->ended)
        pthread_cond_wait(&t->heard, &t->mu);
    pthread_mutex_unlock(&t->mu);
}

void test_job_wait_start(test_job *t)
{
    pthread_mutex_lock(&t->mu);
    while (!t->started && !t->ended)
        pthread_cond_wait(&t->heard, &t->mu);
    pthread_mutex_unlock(&t->mu);
}

tern_code test_job_wait(test_job *t)
{
    pthread_mutex_lock(&t->mu);
    while (!t->ended)
        pthread_cond_wait(&t->heard, &t->mu);
    pthread_mutex_unlock(&t->mu);
    if (t->wrong[0])
        fail_msg("%s", t->wrong);
    return t->code;
}

void test_job_done(test_job *t)
{
    tern_job_free(t->job);
    pthread_cond_destroy(&t->heard);
    pthread_mutex_destroy(&t->mu);
}

void test_answer_alone(test_answer *a, tern_model *m, int32_t n_ctx, const int32_t *prompt,
                       size_t n_tok, const tern_gen_opts *o)
{
    test_job t = {.n_read = n_tok};
    tern_session *s;
    tern_request *r;
    tern_event ev;
    tern_err err = {0};
    tern_session_opts so;
    tern_session_opts_init(&so);
    so.n_ctx = n_ctx;
    memset(a, 0, sizeof *a);
    if (tern_session_new(m, &so, &s, &err) != TERN_OK ||
        tern_request_new(s, prompt, n_tok, o, &r, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    while (a->finish == TERN_FINISH_NONE) {
        if (tern_request_next(r, &ev, &err) != TERN_OK)
            fail_msg("%s", err.msg);
        put_token(&t, a, &ev);
        a->finish = ev.finish;
    }
    if (t.wrong[0])
        fail_msg("%s", t.wrong);
    tern_request_stats_get(r, &a->stats);
    tern_request_free(r);
    tern_session_free(s);
}

void test_answer_same(const test_answer *a, const test_answer *b)
{
    assert_int_equal(a->finish, b->finish);
    assert_int_equal(a->n_id, b->n_id);
    assert_memory_equal(a->ids, b->ids, a->n_id * sizeof *a->ids);
    assert_memory_equal(a->logprob, b->logprob, a->n_id * sizeof *a->logprob);
    assert_int_equal(a->n_top, b->n_top);
    for (size_t i = 0; i < a->n_id; i++)
        for (size_t k = 0; k < TERN_MAX_TOP; k++) {
            assert_int_equal(a->top[i][k].id, b->top[i][k].id);
            assert_memory_equal(&a->top[i][k].logprob, &b->top[i][k].logprob, sizeof(float));
        }
    assert_int_equal(a->n_text, b->n_text);
    assert_memory_equal(a->text, b->text, a->n_text);
    assert_int_equal(a->stats.n_generated, b->stats.n_generated);
    assert_int_equal(a->stats.n_prompt, b->stats.n_prompt);
}
