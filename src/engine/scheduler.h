/* What the files of the scheduler share. A job is a prompt and its answers; an answer that runs has a slot.
 * docs/SERVING.md says what is promised; scheduler_pick.c chooses whose turn it is, scheduler_state.c gives
 * answers their states, scheduler_run.c evaluates.
 *
 * One lock, tern_scheduler.mu, guards what other threads may touch; it is never held over a pass, an
 * evaluation or a callback. All else belongs to the scheduler's thread, or, before a job is in the list,
 * to the thread that makes it. All states are within one budget and belong to the scheduler's thread. */
#ifndef TERN_ENGINE_SCHEDULER_H
#define TERN_ENGINE_SCHEDULER_H

#include "engine/engine.h"
#include "state/recall.h"

/* Most slots and answers of a job: a pass holds a row of each. */
#define TERN_MAX_SLOT 64

/* Who jobs belong to, as long as there are any. All guarded by the scheduler's mu. */
typedef struct tern_owner tern_owner;
struct tern_owner {
    uint64_t id;
    tern_owner *next;
    int32_t n_job, n_slot;
    double used; /* rows it was given, as far ahead as its answers are expected to go */
};

typedef struct tern_answer {
    tern_job *job;
    int32_t index;
    tern_session *s; /* owned, as r is; NULL once it is over */
    tern_request *r;
    bool has_slot, over; /* written with s->mu held */
    /* The thread's. */
    double charged; /* rows that its owner was charged with when it got its slot */
    uint64_t n_row; /* those it has had since */
    double joules;
    int slot;   /* it has, or had until its state goes; -1: none */
    int n_tok;  /* that its state has */
    bool fresh; /* the slot is new: it has no state yet */
    bool begun; /* it had one before */
    bool uses;  /* prefixes, by */
    tern_recall_use use;
    bool shared; /* all pages of its prompt are in the tree */
} tern_answer;

/* The tokens of the last sequence that ended in a slot. */
typedef struct tern_slot_text {
    int32_t *ids; /* owned; [n]; NULL: none */
    size_t n;
    uint64_t owner;
} tern_slot_text;

/* Something to be done by the scheduler's thread between passes, for a caller that waits. */
typedef struct tern_order tern_order;
struct tern_order {
    tern_order *next;
    tern_code (*run)(tern_scheduler *s, tern_order *o, tern_err *err);
    tern_err *err;
    tern_code code;
    bool done;
    int32_t slot;
    uint64_t owner;
    int n;        /* tokens */
    tern_seq seq; /* lent to the caller from one order to another, as use is held */
    tern_recall_use use;
    bool good; /* seq is to be kept */
    size_t bytes;
    void (*wanted)(void *ctx);
    void *ctx;
};

struct tern_job {
    tern_scheduler *s;
    tern_job_opts o; /* of what it points to, nothing is used after submission */
    size_t n_prompt;
    uint64_t number;      /* in the order of arrival, from 1 */
    uint64_t deadline_ns; /* UINT64_MAX: none */
    /* Guarded by s->mu. */
    tern_job *next, *prev; /* of s->jobs */
    tern_owner *owner;     /* from submission to the end */
    bool cancelled, held;
    bool queued; /* no answer of it has ever had a slot */
    bool ended;  /* its last event is over: the thread does not know it any more */
    /* The thread's. */
    bool started;   /* and told so */
    bool skips;     /* held, as of the last look */
    tern_code code; /* it is to end with this, if not TERN_OK */
    tern_err err;
    size_t n_read;    /* tokens of the prompt that an event told of */
    size_t n_echo;    /* the same with their probabilities */
    bool prompt_read; /* answers may go on from the stem, or must read the prompt for themselves */
    bool has_stem;
    tern_stem stem;
    tern_detok detok; /* of echoed tokens */
    tern_str piece;
    int32_t n_begun, n_over;
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
    pthread_cond_t ended; /* for others: a job has ended, or an order is done */
    bool mu_ready, wake_ready, ended_ready, thread_ready;
    /* Guarded by mu. */
    tern_job *jobs, *last; /* in the order of arrival */
    tern_owner *owners;    /* owned, each */
    tern_order *orders;    /* borrowed, each */
    bool draining, cancels_all, quits, trims;
    int32_t n_queued, n_running; /* jobs without a slot so far, but for held ones; slots taken */
    tern_scheduler_stats stats;
    tern_slot *view; /* owned; [o.n_slot]: of the slots, as others may see them */
    /* The thread's. */
    tern_budget budget;
    size_t one_bytes;  /* what a full context takes at most */
    size_t lent_bytes; /* of budget.used */
    void (*wanted)(void *ctx);
    void *wanted_ctx;
    bool asked_back;    /* since something was lent last */
    bool crowded;       /* an answer waits for memory */
    tern_recall recall; /* keeper of the budget, if */
    bool reuses;        /* prefixes are kept */
    bool starves;       /* the last pass lacked memory: what runs has what there is */
    uint64_t n_row;
    tern_answer **slots;   /* owned; [o.n_slot]; NULL: free */
    tern_slot_text *texts; /* owned; [o.n_slot] */
    int n_lent;            /* sequences that orders hold */
    tern_request **list;   /* owned; [o.n_slot]: of one pass, with their answers and events */
    tern_answer **who;
    tern_event *events;
};

/* The thread (engine/scheduler_run.c); arg is the scheduler. */
void *tern_scheduler_run(void *arg);
/* Bring view up to date; s->mu is held, by the thread. */
void tern_scheduler_look(tern_scheduler *s);

/* Whose turn it is (engine/scheduler_pick.c). s->mu is held. */

/* The job's owner, who is counted in. NULL: no memory. */
tern_owner *tern_owner_join(tern_scheduler *s, uint64_t id);
/* One job of it less; it may be gone after that. */
void tern_owner_leave(tern_scheduler *s, tern_owner *o);
/* The answer that is next to get a slot; NULL: none waits. */
tern_answer *tern_scheduler_next(tern_scheduler *s);
/* Take a slot, which must be free; leave it, if it has one. */
void tern_answer_take_slot(tern_scheduler *s, tern_answer *a);
void tern_answer_leave_slot(tern_scheduler *s, tern_answer *a);
/* The answer whose state is to go where there is no room for all: the youngest of the owner who has most.
 * But the oldest that runs always gets on. NULL: no other one has a slot. */
tern_answer *tern_scheduler_victim(const tern_scheduler *s);
/* One whose reader is behind, so that its slot is of no use to it; NULL: none has a slot. */
tern_answer *tern_scheduler_idle(const tern_scheduler *s);
/* Set both flags of a job and count it: those in the queue are bounded, but for held ones, which a connection
 * each bounds. */
void tern_job_queued(tern_scheduler *s, tern_job *j, bool queued, bool held);
/* Slots that who comes now may have: nobody has them, or somebody whose reader is behind. */
int32_t tern_scheduler_free_slots(const tern_scheduler *s);
/* The order in which prompts are read. */
void tern_scheduler_sort(tern_answer **who, size_t n);

/* States (engine/scheduler_state.c), the scheduler's thread alone; no lock is held unless it says so. */

/* Whether there is room for the state that an answer without one has to read. */
bool tern_answer_fits(const tern_scheduler *s, const tern_answer *a);
/* An answer that has just got a slot gets its state, with all that is known of its text. Codes:
 * TERN_E_NOMEM. */
TERN_CHECK tern_code tern_answer_begin(tern_scheduler *s, tern_answer *a, tern_err *err);
/* After each of its passes. */
void tern_answer_grow(tern_scheduler *s, tern_answer *a);
/* It is over, or its job ends: release what it holds. */
void tern_answer_end(tern_scheduler *s, tern_answer *a);
/* There is not enough memory: put an answer back into the queue. False: nothing is to be had. */
bool tern_scheduler_yield(tern_scheduler *s);
/* It waits with its ids until it has a slot again. */
void tern_answer_put_back(tern_scheduler *s, tern_answer *a);

/* Whether there is room for so many tokens, or bytes, besides what all that run have to read. */
bool tern_scheduler_fits(const tern_scheduler *s, int n_tok);
bool tern_scheduler_has_room(const tern_scheduler *s, size_t bytes);

/* What slots remember (engine/scheduler_slots.c). */

/* The answer's state is about to go; good: it may be kept. */
void tern_slot_remember(tern_scheduler *s, tern_answer *a, bool good);
/* Do what is ordered; s->mu is held, by the thread, but not meanwhile. */
void tern_scheduler_obey(tern_scheduler *s);
/* For other threads: have it done, and wait for that. */
tern_code tern_scheduler_order(tern_scheduler *s, tern_order *o,
                               tern_code (*run)(tern_scheduler *s, tern_order *o, tern_err *err),
                               tern_err *err);

/* Memory for others (engine/scheduler_lend.c). */

/* Tell who borrows that it is wanted, once; s->mu is held, by the thread, but not meanwhile. False: nothing
 * is lent, or he knows. */
bool tern_scheduler_ask_back(tern_scheduler *s);

/* Prefixes (engine/scheduler_prefix.c). */

/* Before the thread begins, and after its end. Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code tern_scheduler_prefix_open(tern_scheduler *s, tern_err *err);
void tern_scheduler_prefix_close(tern_scheduler *s);
/* Bring the statistics of memory up to date; s->mu is held, by the thread. */
void tern_scheduler_prefix_count(tern_scheduler *s);
/* The answer's state is new and empty: it gets what is known of its text. has_stem: it will get another
 * one, and only leaves what it adds to it. */
void tern_answer_recall(tern_scheduler *s, tern_answer *a, bool has_stem);
/* All that read take over what others have read meanwhile. */
void tern_scheduler_recall(tern_scheduler *s);
/* After a pass: others may have what it has read. */
void tern_answer_share(tern_scheduler *s, tern_answer *a);
/* Its state is about to go. */
void tern_answer_leave(tern_scheduler *s, tern_answer *a);
/* Whether who[i] lets another one of who[0..n) read what both need next. */
bool tern_answer_waits(tern_answer *const *who, size_t n, size_t i);

#endif
