/* Decisions of one served model: a queue, and a thread that takes from it in turns. */
#ifndef SERVER_DECIDER_H
#define SERVER_DECIDER_H

#include "tern.h"

typedef struct decider decider;

/* The model, and its scheduler if there is one, outlive it. Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code decider_new(tern_model *m, tern_scheduler *s, const tern_scheduler_opts *opts,
                                 decider **out, tern_err *err);
/* Nothing is in the queue any more. */
void decider_free(decider *d);

#endif
