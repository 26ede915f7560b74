/* The energy that the machine counts while the server runs. Any thread. */
#ifndef SERVER_METER_H
#define SERVER_METER_H

#include "base/os/energy.h"

#include <pthread.h>

typedef struct meter {
    pthread_mutex_t mu;
    tern_energy *e; /* guarded by mu, owned; NULL: nothing can be measured */
} meter;

/* root: as of tern_energy_open. What can be read is opened now: later the sandbox knows no such files. */
void meter_open(meter *m, const char *root);
void meter_close(meter *m);
/* Look at the counters: joules so far; NAN: they cannot be read. */
double meter_joules(void *ctx); /* a meter */
/* Domains as they were at the last look, those of one name together; false: there is no number i. A name that
 * stood before has an empty name here. */
bool meter_domain(meter *m, size_t i, tern_energy_domain *out);

#endif
