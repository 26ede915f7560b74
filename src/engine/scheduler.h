/* What the files of the scheduler share. A job is a prompt and its answers; an answer that runs has a slot.
 *
 * One lock, tern_scheduler.mu, guards what other threads may touch; it is never held over a pass, an
 * evaluation or a callback. All else belongs to the scheduler's thread, or, before a job is in the list,
 * to the thread that makes it. */
#ifndef TERN_ENGINE_SCHEDULER_H
#define TERN_ENGINE_SCHEDULER_H

#include "engine/engine.h"

/* Most slots and answers of a job: a pass holds a row of each. */
#define TERN_MAX_SLOT 64

typedef struct tern_answer {
    tern_job *job;
    int32_t index;
    tern_session *s; /* owned, as r is; NULL once it is over */
    tern_request *r;
    bool has_slot, over;
} tern_answer;

struct tern_job {
    tern_scheduler *s;
    tern_job_opts o; /* of what it points to, nothing is used after submission */
    size_t n_prompt;
    uint64_t number;      /* in the order of arrival, from 1 */
    uint64_t deadline_ns; /* UINT64_MAX: none */
    /* Guarded by s->mu. */
    tern_job *next, *prev; /* of s->jobs */
    bool cancelled, held;
    bool queued; /* no answer of it has ever had a slot */
    bool ended;  /* its last event is over: the thread does not know it any more */
    /* The thread's. */
    bool started;   /* and told so */
    bool skips;     /* held, as of the last look */
    tern_code code; /* it is to end with this, if not TERN_OK */
    tern_err err;
    size_t n_read; /* tokens of the prompt that an event told of */
    int32_t n_over;
    int32_t n_answer;
    tern_answer answers[]; /* [n_answer] */
};

struct tern_scheduler {
    tern_model *m; /* borrowed */
    tern_scheduler_opts o;
    int32_t n_ctx;
    tern_kv_shape shape;
    pthread_t thread;
    pthread_mutex_t mu;
    pthread_cond_t wake;  /* for the thread: there is something to look at */
    pthread_cond_t ended; /* for others: a job has ended */
    bool mu_ready, wake_ready, ended_ready, thread_ready;
    /* Guarded by mu. */
    tern_job *jobs, *last; /* in the order of arrival */
    bool draining, cancels_all, quits;
    int32_t n_queued, n_running; /* jobs without a slot so far; slots taken */
    tern_scheduler_stats stats;
    tern_slot *view; /* owned; [o.n_slot]: of the slots, as others may see them */
    /* The thread's. */
    tern_answer **slots; /* owned; [o.n_slot]; NULL: free */
    tern_request **list; /* owned; [o.n_slot]: of one pass, with their answers and events */
    tern_answer **who;
    tern_event *events;
};

/* The thread (engine/scheduler_run.c); arg is the scheduler. */
void *tern_scheduler_run(void *arg);
/* Bring view up to date; s->mu is held, by the thread. */
void tern_scheduler_look(tern_scheduler *s);
/* Release what an answer holds. */
void tern_answer_done(tern_answer *a);

#endif
