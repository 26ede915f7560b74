/* Sleeping on a 32-bit word until another thread changes it: a futex where the system has one, a
 * condition variable elsewhere. */
#ifndef TERN_BASE_OS_PARK_H
#define TERN_BASE_OS_PARK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct tern_gate {
    _Atomic uint32_t word;
#if !defined(__linux__)
    pthread_mutex_t mu; /* guards the sleep itself */
    pthread_cond_t changed;
#endif
} tern_gate;

/* False when the system has no room for one more. */
bool tern_gate_init(tern_gate *g, uint32_t word);
void tern_gate_done(tern_gate *g);
/* Sleep unless the word differs from seen. May return early, so look at the word again. */
void tern_gate_wait(tern_gate *g, uint32_t seen);
/* Wake sleepers, after the word was changed: one, or all. */
void tern_gate_wake(tern_gate *g, bool all);

#endif
