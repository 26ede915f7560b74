#include "server/metrics.h"

#include <string.h>

/* Seconds: of first tokens and of requests from a millisecond to minutes, between tokens a tenth of that. */
const double metrics_long[HISTOGRAM_MAX] = {
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500};
const double metrics_short[HISTOGRAM_MAX] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                             0.01,   0.025,   0.05,   0.1,   0.25,   0.5,
                                             1,      2.5,     5,      10,    25,     50};

const int metrics_statuses[METRIC_STATUSES] = {0,   200, 204, 304, 400, 401, 403, 404,
                                               405, 408, 409, 413, 414, 415, 422, 429,
                                               431, 499, 500, 501, 502, 503, 504, 507};

void metrics_init(metrics *m)
{
    memset(m, 0, sizeof *m);
    (void)pthread_mutex_init(&m->mu, NULL);
}

void metrics_done(metrics *m)
{
    (void)pthread_mutex_destroy(&m->mu);
}

static void observe(histogram *h, const double *bounds, double v)
{
    size_t i = 0;
    while (i < HISTOGRAM_MAX && bounds[i] > 0 && v > bounds[i])
        i++;
    if (i < HISTOGRAM_MAX && bounds[i] <= 0)
        i = HISTOGRAM_MAX;
    h->count[i]++;
    h->sum += v;
}

void metrics_observe(metrics *m, histogram *h, double seconds)
{
    pthread_mutex_lock(&m->mu);
    observe(h, h == &m->between_tokens ? metrics_short : metrics_long, seconds);
    pthread_mutex_unlock(&m->mu);
}

static size_t status_index(int status)
{
    for (size_t i = 1; i < METRIC_STATUSES; i++)
        if (metrics_statuses[i] == status)
            return i;
    return 0;
}

void metrics_request(metrics *m, size_t route, int status, double seconds)
{
    pthread_mutex_lock(&m->mu);
    m->requests[route < METRIC_ROUTES ? route : METRIC_ROUTES][status_index(status)]++;
    observe(&m->request, metrics_long, seconds);
    pthread_mutex_unlock(&m->mu);
}

void metrics_add(metrics *m, uint64_t *counter, uint64_t n)
{
    pthread_mutex_lock(&m->mu);
    *counter += n;
    pthread_mutex_unlock(&m->mu);
}
