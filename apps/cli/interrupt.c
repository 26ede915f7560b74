#include "cli.h"

#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

static _Atomic(tern_session *) target; /* read by the handler; sequentially consistent */
static atomic_int n_pending;

static void on_interrupt(int number)
{
    (void)number;
    tern_session *s = atomic_load(&target);
    int n = atomic_fetch_add(&n_pending, 1) + 1;
    if (s)
        tern_session_cancel(s);
    if (s ? n >= 3 : n >= 8) /* whatever hangs, the user can leave */
        _exit(130);
}

/* No SA_RESTART: a read from the terminal is to end. */
void cli_interrupt_init(void)
{
    struct sigaction a = {.sa_handler = on_interrupt};
    sigemptyset(&a.sa_mask);
    (void)sigaction(SIGINT, &a, NULL);
}

void cli_interrupt_target(tern_session *s)
{
    atomic_store(&target, s);
    atomic_store(&n_pending, 0); /* what came was for the work that ends, or for none */
}

bool cli_interrupt_take(void)
{
    return atomic_exchange(&n_pending, 0) > 0;
}

bool cli_interrupt_pending(void)
{
    return atomic_load(&n_pending) > 0;
}
