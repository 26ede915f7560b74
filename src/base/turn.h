/* A lock whose holders take turns: whoever asked first is next, so that a thread which gives it back and asks
 * again at once does not keep others from it. The holder may take it again; it is free once given as
 * often. For long work; a mutex costs less where nobody waits for long. */
#ifndef TERN_BASE_TURN_H
#define TERN_BASE_TURN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct tern_turn {
    pthread_mutex_t mu;
    pthread_cond_t given;
    /* Guarded by mu. */
    uint64_t next, now; /* the number that the next one to ask gets; the one whose turn it is */
    pthread_t holder;   /* if depth > 0 */
    int depth;
} tern_turn;

/* False: the system has no room for it. */
bool tern_turn_init(tern_turn *t);
void tern_turn_done(tern_turn *t);
void tern_turn_take(tern_turn *t);
void tern_turn_give(tern_turn *t);
/* Does anyone wait for the caller, who holds it? */
bool tern_turn_is_awaited(tern_turn *t);

#endif
