/* One generation, from the request to its last event.
 *
 * generate.c makes it: the prompts' ids, what the answers may be. generate_jobs.c gives a job per prompt to
 * the scheduler, at the client's pace. generate_events.c makes the endpoint's events of what jobs tell.
 * keeper.c is the thread that looks after all of them: it submits the jobs that had to wait, pings, and ends
 * what is over. Locks are taken in this order: tell, mu, the keeper's, which only tries
 * tell. */
#ifndef SERVER_GENERATION_H
#define SERVER_GENERATION_H

#include "server/compose.h"
#include "server/split.h"

typedef struct generation generation;

/* A token that no event has told of yet. */
typedef struct pending {
    int32_t id;
    float logprob;
    size_t n_top;
    tern_logprob top[TERN_MAX_TOP];
} pending;

/* One answer as it comes. Touched by the thread that tells events. */
typedef struct answer {
    generation *g; /* borrowed */
    int32_t index;
    splitter split;
    pending *pending; /* owned */
    size_t n_pending, cap_pending;
    generate_usage live; /* so far */
    uint64_t first_ns;   /* of the first token */
    int32_t stop;
} answer;

typedef struct prompt_job {
    composed prompt;
    generation *g; /* borrowed */
    int32_t index;
    size_t n_cached;
    uint64_t start_ns; /* it got a slot */
    tern_job *job;     /* owned; guarded by g->mu */
} prompt_job;

struct generation {
    exchange *x;      /* a reference */
    const serving *s; /* borrowed from x */
    const generate_words *w;
    void (*on_event)(void *ctx, const generate_event *ev);
    void *ctx;
    tern_job_opts opts; /* what all jobs have in common; its lists are owned */
    constraint limit;
    prompt_job *jobs; /* owned */
    answer *answers;  /* owned; [n_job * n_answer] */
    size_t n_job;
    int32_t n_answer;
    bool progress, logprobs;
    double ping_s;

    pthread_mutex_t tell; /* held while an event is told */
    uint64_t told_ns;     /* guarded by tell, and so are these */
    generate_usage usage;
    bool began; /* the prompt's first event has been told */

    pthread_mutex_t mu;          /* never held over a callback */
    size_t n_submitted, n_ended; /* guarded by mu, and so are these */
    bool started;                /* generation_begin is over */
    bool queued;                 /* on the keeper's list */
    bool stopped;                /* no more jobs */
    fault fault;

    generation *next_live, *prev_live, *next_work; /* guarded by the keeper's mu */
};

/* ---- generate.c ------------------------------------------------------------------------------ */

void generation_free(generation *g);

/* ---- generate_events.c ----------------------------------------------------------------------- */

/* Ready to read the answer. marks: reasoning is told apart; thinking: see composed. */
void answer_begin(answer *a, bool marks, bool thinking, const constraint *limit);
void answer_done(answer *a);
/* What a job tells, but its end. */
void generation_hear(generation *g, prompt_job *j, const tern_job_event *ev);
/* Tell an event that stands for no answer: a ping, the end. */
void generation_tell(generation *g, const generate_event *ev);

/* ---- generate_jobs.c ------------------------------------------------------------------------- */

/* Submit the first jobs. On success events come from now on, what fails is told by them, and g is the
 * keeper's to free. */
TERN_CHECK tern_code generation_begin(generation *g, fault *f);
/* On the keeper's thread: another job if there is room for it. True: all have ended. */
bool generation_go_on(generation *g);

/* ---- keeper.c -------------------------------------------------------------------------------- */

/* One per served model, made with its words. */
typedef struct keeper keeper;

TERN_CHECK tern_code keeper_new(keeper **out, tern_err *err);
/* Waits for the generations that are left. */
void keeper_free(keeper *k);
/* Look after g from now on, until it is freed. */
void keeper_add(keeper *k, generation *g);
/* Let g go on. g->mu is held. */
void keeper_queue(keeper *k, generation *g);

#endif
