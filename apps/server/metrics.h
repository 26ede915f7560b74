/* What the server counts. Any thread. */
#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include "base/str.h"

#include <pthread.h>

#define HISTOGRAM_MAX 20

typedef struct histogram {
    uint64_t count[HISTOGRAM_MAX + 1]; /* the last: beyond all bounds */
    double sum;
} histogram;

extern const double metrics_long[HISTOGRAM_MAX],
    metrics_short[HISTOGRAM_MAX]; /* bounds; 0: no more */

#define METRIC_ROUTES   128 /* more routes count as "other" */
#define METRIC_STATUSES 24

extern const int metrics_statuses[METRIC_STATUSES]; /* the first stands for all others */

typedef struct metrics {
    pthread_mutex_t mu; /* guards all */
    uint64_t requests[METRIC_ROUTES + 1][METRIC_STATUSES];
    uint64_t prompt, cached, hits, generated, cancelled, rejected, limited, shed;
    histogram first_token, between_tokens, request;
} metrics;

void metrics_init(metrics *m);
void metrics_done(metrics *m);
/* h is one of m's. */
void metrics_observe(metrics *m, histogram *h, double seconds);
void metrics_request(metrics *m, size_t route, int status, double seconds);
void metrics_add(metrics *m, uint64_t *counter, uint64_t n);

#endif
