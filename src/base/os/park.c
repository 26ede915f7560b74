#include "base/os/park.h"

#if defined(__linux__)
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

bool tern_gate_init(tern_gate *g, uint32_t word)
{
    atomic_init(&g->word, word);
    return true;
}

void tern_gate_done(tern_gate *g)
{
    (void)g;
}

/* The system compares the word and queues the sleeper in one step, so a change in between is not
 * missed. Its failures (the word had changed, a signal) all mean: look again. */
void tern_gate_wait(tern_gate *g, uint32_t seen)
{
    (void)syscall(SYS_futex, &g->word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

void tern_gate_wake(tern_gate *g, bool all)
{
    (void)syscall(SYS_futex, &g->word, FUTEX_WAKE_PRIVATE, all ? INT_MAX : 1, NULL, NULL, 0);
}

#else

bool tern_gate_init(tern_gate *g, uint32_t word)
{
    atomic_init(&g->word, word);
    if (pthread_mutex_init(&g->mu, NULL) != 0)
        return false;
    if (pthread_cond_init(&g->changed, NULL) == 0)
        return true;
    (void)pthread_mutex_destroy(&g->mu);
    return false;
}

void tern_gate_done(tern_gate *g)
{
    (void)pthread_cond_destroy(&g->changed);
    (void)pthread_mutex_destroy(&g->mu);
}

void tern_gate_wait(tern_gate *g, uint32_t seen)
{
    (void)pthread_mutex_lock(&g->mu);
    if (atomic_load(&g->word) == seen)
        (void)pthread_cond_wait(&g->changed, &g->mu);
    (void)pthread_mutex_unlock(&g->mu);
}

/* Under the lock: a sleeper that saw the old word is then in its wait, not on the way to it. */
void tern_gate_wake(tern_gate *g, bool all)
{
    (void)pthread_mutex_lock(&g->mu);
    if (all)
        (void)pthread_cond_broadcast(&g->changed);
    else
        (void)pthread_cond_signal(&g->changed);
    (void)pthread_mutex_unlock(&g->mu);
}

#endif
