/* Jobs of a scheduler as tests see them: what came of each, and whether its events made sense. */
#ifndef TERN_TESTS_JOBS_H
#define TERN_TESTS_JOBS_H

#include "tern.h"

#include <pthread.h>

#define TEST_JOB_ANSWERS 8
#define TEST_JOB_TOKENS  512

typedef struct test_answer {
    int32_t ids[TEST_JOB_TOKENS];
    float logprob[TEST_JOB_TOKENS];
    tern_logprob top[TEST_JOB_TOKENS][TERN_MAX_TOP];
    size_t n_id, n_top, n_text;
    char text[4 * TEST_JOB_TOKENS];
    tern_finish finish;
    tern_request_stats stats;
    double joules;
} test_answer;

/* One job. The callback writes, others read once it has ended, or with mu. */
typedef struct test_job test_job;
struct test_job {
    pthread_mutex_t mu;
    pthread_cond_t heard;
    tern_job *job;
    test_answer answers[TEST_JOB_ANSWERS];
    size_t n_echo, n_cached, n_read, n_token, n_answer;
    float echo[TEST_JOB_TOKENS];
    int32_t echo_ids[TEST_JOB_TOKENS];
    tern_logprob echo_top[TEST_JOB_TOKENS][TERN_MAX_TOP];
    bool started, ended;
    tern_code code;
    tern_err err;
    size_t cancel_at; /* cancels itself at this token; 0: never */
    size_t hold_at;   /* holds itself at this token; 0: never */
    bool holds;       /* itself, from its start on */
    size_t *clock;    /* shared by jobs of one scheduler, counts events; NULL: none */
    size_t started_at, ended_at;
    test_job
        *frees[2]; /* are held no more once this one has read a part of its prompt; guarded by mu */
    char wrong[128]; /* what was wrong with the order of events; "" if nothing */
};

/* Ids of a small model's vocabulary, other ones for each seed. */
void test_prompt_fill(int32_t *ids, size_t n, int seed);
/* An answer of n_predict tokens that a seed chooses. */
tern_job_opts test_job_ask(int32_t n_predict, uint64_t seed);

void test_job_init(test_job *t);
/* Submit; fails the test if that fails. o's on_event and ctx are filled in. */
void test_job_submit(test_job *t, tern_scheduler *s, const int32_t *prompt, size_t n_tok,
                     const tern_job_opts *o);
/* The same, but a refusal is returned. */
tern_code test_job_try(test_job *t, tern_scheduler *s, const int32_t *prompt, size_t n_tok,
                       const tern_job_opts *o, tern_err *err);
/* Until n_token tokens came or it has ended. */
void test_job_wait_token(test_job *t, size_t n_token);
void test_job_wait_start(test_job *t);
/* Until its end, whose code is returned. Fails the test when events were out of order. */
tern_code test_job_wait(test_job *t);
/* Free the job and what belongs to it. */
void test_job_done(test_job *t);

/* For joules of a scheduler: each pass takes *ms more, twice; an atomic_int. So who runs keeps others waiting. */
double test_job_slow(void *ms);

/* The same answer from a lone request in a session of its own. */
void test_answer_alone(test_answer *a, tern_model *m, int32_t n_ctx, const int32_t *prompt,
                       size_t n_tok, const tern_gen_opts *o);
/* Fails the test when they differ in anything but times. */
void test_answer_same(const test_answer *a, const test_answer *b);

#endif
