#include "server/meter.h"

#include <math.h>
#include <string.h>

void meter_open(meter *m, const char *root)
{
    tern_err why;
    m->e = NULL;
    (void)pthread_mutex_init(&m->mu, NULL);
    if (tern_energy_open(root, NULL, NULL, &m->e, &why) != TERN_OK)
        m->e = NULL;
}

void meter_close(meter *m)
{
    tern_energy_close(m->e);
    m->e = NULL;
    (void)pthread_mutex_destroy(&m->mu);
}

double meter_joules(void *ctx)
{
    meter *m = ctx;
    tern_err why;
    double v = (double)NAN;
    pthread_mutex_lock(&m->mu);
    if (m->e && tern_energy_sample(m->e, &why) == TERN_OK)
        v = tern_energy_joules(m->e);
    pthread_mutex_unlock(&m->mu);
    return v;
}

/* mu is held. */
static void add_up(const meter *m, size_t i, tern_energy_domain *out)
{
    const tern_energy_domain *d;
    for (size_t k = 0; (d = tern_energy_domain_get(m->e, k)) != NULL; k++) {
        if (k == i || strcmp(d->name, out->name) != 0)
            continue;
        if (k < i) {
            out->name[0] = '\0';
            return;
        }
        out->joules += d->joules;
    }
}

bool meter_domain(meter *m, size_t i, tern_energy_domain *out)
{
    pthread_mutex_lock(&m->mu);
    const tern_energy_domain *d = m->e ? tern_energy_domain_get(m->e, i) : NULL;
    bool found = d != NULL;
    if (found) {
        *out = *d;
        add_up(m, i, out);
    }
    pthread_mutex_unlock(&m->mu);
    return found;
}
