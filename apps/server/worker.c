/* Threads that run the handlers of routes: parsing, templates, tokenising, vectors. */
#include "base/error.h"
#include "server/http.h"

#include <string.h>

static exchange *take(server *srv)
{
    pthread_mutex_lock(&srv->mu);
    while (!srv->queue_head && !srv->workers_end)
        pthread_cond_wait(&srv->queued, &srv->mu);
    exchange *x = srv->queue_head;
    if (x) {
        srv->queue_head = x->next_queued;
        if (!srv->queue_head)
            srv->queue_tail = NULL;
    }
    pthread_mutex_unlock(&srv->mu);
    return x;
}

static void *work(void *ctx)
{
    server *srv = ctx;
    exchange *x;
    while ((x = take(srv)) != NULL) {
        if (!exchange_is_gone(x))
            x->route->handler(x);
        exchange_unref(x);
    }
    return NULL;
}

tern_code workers_start(server *srv, tern_err *err)
{
    int n = srv->o->n_worker;
    for (srv->n_worker = 0; srv->n_worker < n; srv->n_worker++) {
        int why = pthread_create(&srv->workers[srv->n_worker], NULL, work, srv);
        if (why != 0)
            return tern_fail(err, TERN_E_NOMEM, "cannot start a thread: %s", strerror(why));
    }
    return TERN_OK;
}

void workers_stop(server *srv)
{
    pthread_mutex_lock(&srv->mu);
    srv->workers_end = true;
    pthread_cond_broadcast(&srv->queued);
    pthread_mutex_unlock(&srv->mu);
    for (int i = 0; i < srv->n_worker; i++)
        (void)pthread_join(srv->workers[i], NULL);
    srv->n_worker = 0;
}

void workers_add(server *srv, exchange *x)
{
    pthread_mutex_lock(&srv->mu);
    x->next_queued = NULL;
    if (srv->queue_tail)
        srv->queue_tail->next_queued = x;
    else
        srv->queue_head = x;
    srv->queue_tail = x;
    pthread_cond_signal(&srv->queued);
    pthread_mutex_unlock(&srv->mu);
}
