#include "bench/load.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "bench/connection.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- samples ------------------------------------------------------------------------------- */

void load_samples_add(load_samples *s, double v)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 64;
        double *p = tern_realloc(s->v, s->cap * sizeof *p, cap * sizeof *p);
        if (!p) {
            s->failed = true;
            return;
        }
        s->v = p;
        s->cap = cap;
    }
    s->v[s->n++] = v;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double load_percentile(load_samples *s, double q)
{
    if (s->n == 0)
        return (double)NAN;
    qsort(s->v, s->n, sizeof *s->v, compare);
    size_t k = (size_t)ceil(q * (double)s->n);
    return s->v[k > 0 ? k - 1 : 0];
}

void load_samples_done(load_samples *s)
{
    tern_free(s->v);
    *s = (load_samples){0};
}

/* ---- one request --------------------------------------------------------------------------- */

tern_code load_fetch(const load_target *t, const char *method, const char *path, const char *body,
                     load_reply *r, tern_str *reply, tern_err *err)
{
    load_address a;
    connection c;
    TERN_TRY(load_resolve(t, &a, err));
    connection_init(&c);
    load_put_request(t, method, path, body, &c.out);
    c.keep = reply;
    (void)connection_begin(&c, &a, t->timeout_s);
    while (c.phase != OVER) {
        struct pollfd p = {c.fd, connection_wants(&c), 0};
        if (tern_clock_ns() > c.deadline_ns)
            connection_end(&c, "timed out");
        else if (poll(&p, 1, 100) > 0)
            connection_work(&c);
    }
    *r = c.r;
    connection_done(&c);
    return r->status ? TERN_OK
                     : tern_fail(err, TERN_E_NETWORK, "%s%s: no answer from the server: %s",
                                 t->unix_path, t->host, r->why ? r->why : "cut off");
}

/* ---- hostile connections ------------------------------------------------------------------- */

typedef struct holder {
    int fd;
    load_hostile_kind kind;
    size_t sent;
    uint64_t next_ns; /* when a slow one sends its next byte, or one that was cut begins anew */
} holder;

struct load_hostile {
    load_address address;
    tern_str request[LOAD_KINDS];
    holder *v; /* owned */
    size_t n;
    size_t n_cut[LOAD_KINDS];
};

#define SECOND UINT64_C(1000000000)

static void open_holder(const load_hostile *h, holder *o)
{
    o->fd = load_connect(&h->address, o->kind == LOAD_STALLED);
    o->sent = 0;
    o->next_ns = tern_clock_ns() + (o->fd < 0 ? SECOND : 0);
}

static void raise_limit(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &l);
    }
}

tern_code load_hostile_new(const load_target *t, const size_t n[LOAD_KINDS], const char *path,
                           const char *body, load_hostile **out, tern_err *err)
{
    size_t total = n[LOAD_IDLE] + n[LOAD_SLOW] + n[LOAD_STALLED];
    load_hostile *h = tern_calloc(1, sizeof *h);
    *out = NULL;
    if (!h)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for %zu connections", total);
    h->v = tern_calloc(total + 1, sizeof *h->v);
    for (int k = 0; k < LOAD_KINDS; k++)
        tern_str_init(&h->request[k], SIZE_MAX / 4);
    tern_code rc = h->v ? load_resolve(t, &h->address, err)
                        : tern_fail(err, TERN_E_NOMEM, "out of memory for %zu connections", total);
    if (rc != TERN_OK) {
        load_hostile_free(h);
        return rc;
    }
    raise_limit();
    load_put_request(t, "POST", path, body, &h->request[LOAD_SLOW]);
    load_put_request(t, "POST", path, body, &h->request[LOAD_STALLED]);
    for (int k = 0; k < LOAD_KINDS; k++)
        for (size_t i = 0; i < n[k]; i++) {
            h->v[h->n].kind = (load_hostile_kind)k;
            open_holder(h, &h->v[h->n++]);
        }
    *out = h;
    return TERN_OK;
}

void load_hostile_count(const load_hostile *h, load_hostile_kind k, size_t *n_open, size_t *n_cut)
{
    *n_open = 0;
    *n_cut = h->n_cut[k];
    for (size_t i = 0; i < h->n; i++)
        *n_open += h->v[i].kind == k && h->v[i].fd >= 0;
}

void load_hostile_free(load_hostile *h)
{
    if (!h)
        return;
    for (size_t i = 0; h->v && i < h->n; i++)
        if (h->v[i].fd >= 0)
            (void)close(h->v[i].fd);
    for (int k = 0; k < LOAD_KINDS; k++)
        tern_str_done(&h->request[k]);
    tern_free(h->v);
    tern_free(h);
}

static bool sends(const holder *o)
{
    return o->fd >= 0 && o->kind != LOAD_IDLE && o->sent != SIZE_MAX;
}

/* Bytes of the request that are due. */
static void send_due(const load_hostile *h, holder *o, uint64_t now)
{
    const tern_str *q = &h->request[o->kind];
    if (o->kind == LOAD_SLOW && now < o->next_ns)
        return;
    size_t n = o->kind == LOAD_SLOW ? 1 : q->len - o->sent;
    ssize_t done = send(o->fd, q->data + o->sent, n, MSG_NOSIGNAL);
    if (done > 0)
        o->sent += (size_t)done;
    o->next_ns = now + SECOND;
    if (o->sent == q->len)
        o->sent = SIZE_MAX;
}

/* Nobody takes a stalled one's answer; of the others what comes is looked at only for the end. */
static void look_after(load_hostile *h, holder *o, short seen, uint64_t now)
{
    char buf[512];
    if (o->fd < 0) {
        if (now >= o->next_ns)
            open_holder(h, o);
        return;
    }
    bool cut = (seen & (POLLERR | POLLHUP)) != 0;
    if (!cut && (seen & POLLIN) && o->kind != LOAD_STALLED)
        cut = recv(o->fd, buf, sizeof buf, 0) == 0;
    if (cut) {
        h->n_cut[o->kind]++;
        (void)close(o->fd);
        o->fd = -1;
        o->next_ns = now + SECOND;
    } else if (sends(o))
        send_due(h, o, now);
}

/* ---- many clients -------------------------------------------------------------------------- */

typedef struct runner {
    const load_target *t;
    const load_plan *p;
    load_address address;
    load_hostile *hostile;
    connection *c;     /* owned; [n_client] */
    size_t *n_asked;   /* owned; [n_client] */
    struct pollfd *fd; /* owned; [n_client + hostile] */
    size_t n_busy;     /* foreground clients that are not through */
    uint64_t begin_ns;
} runner;

static bool is_background(const runner *r, size_t i)
{
    return i < r->p->n_background;
}

/* A client's next request, or its end. */
static void ask(runner *r, size_t i, tern_str *body)
{
    const load_plan *p = r->p;
    connection *c = &r->c[i];
    bool late = p->seconds > 0 && (double)(tern_clock_ns() - r->begin_ns) * 1e-9 > p->seconds;
    if (is_background(r, i) ? r->n_busy == 0 : r->n_asked[i] == p->n_request || late) {
        r->n_asked[i] = SIZE_MAX;
        r->n_busy -= !is_background(r, i);
        return;
    }
    r->n_asked[i]++;
    tern_str_clear(body);
    p->body(p->ctx, i, body);
    tern_str_clear(&c->out);
    load_put_request(r->t, "POST", p->path, tern_str_get(body), &c->out);
    (void)connection_begin(c, &r->address, r->t->timeout_s);
}

static void told(runner *r, size_t i, tern_str *body)
{
    const connection *c = &r->c[i];
    if (!is_background(r, i))
        r->p->seen(r->p->ctx, i, &c->r, c->gaps.v, c->gaps.n);
    else if (!c->r.done && c->r.status != 200)
        (void)usleep(10000); /* a server that refuses is not asked without pause */
    ask(r, i, body);
}

static void wait_a_little(runner *r, int ms)
{
    size_t n = r->p->n_client, n_hostile = r->hostile ? r->hostile->n : 0;
    for (size_t i = 0; i < n; i++) {
        const connection *c = &r->c[i];
        r->fd[i] = (struct pollfd){c->phase == OVER ? -1 : c->fd, connection_wants(c), 0};
    }
    for (size_t i = 0; i < n_hostile; i++) {
        const holder *o = &r->hostile->v[i];
        r->fd[n + i] = (struct pollfd){o->fd, o->kind == LOAD_STALLED ? 0 : POLLIN, 0};
    }
    (void)poll(r->fd, n + n_hostile, ms);
}

static tern_code go_round(runner *r, tern_str *body, tern_err *err)
{
    size_t n = r->p->n_client;
    wait_a_little(r, 20);
    uint64_t now = tern_clock_ns();
    for (size_t i = 0; i < n; i++) {
        connection *c = &r->c[i];
        if (r->n_asked[i] == SIZE_MAX)
            continue;
        if (c->phase != OVER && r->fd[i].revents)
            connection_work(c);
        if (c->phase != OVER && now > c->deadline_ns)
            connection_end(c, "timed out");
        if (c->out.failed || c->gaps.failed)
            return tern_fail(err, TERN_E_NOMEM, "out of memory for a request");
        if (c->phase == OVER)
            told(r, i, body);
    }
    for (size_t i = 0; r->hostile && i < r->hostile->n; i++)
        look_after(r->hostile, &r->hostile->v[i], r->fd[n + i].revents, now);
    if (r->p->interrupted && r->p->interrupted())
        return tern_fail(err, TERN_E_CANCELLED, "interrupted");
    return TERN_OK;
}

static tern_code runner_init(runner *r, tern_err *err)
{
    size_t n = r->p->n_client, n_hostile = r->hostile ? r->hostile->n : 0;
    r->c = tern_calloc(n, sizeof *r->c);
    r->n_asked = tern_calloc(n, sizeof *r->n_asked);
    r->fd = tern_calloc(n + n_hostile + 1, sizeof *r->fd);
    for (size_t i = 0; r->c && i < n; i++)
        connection_init(&r->c[i]);
    r->n_busy = n - r->p->n_background;
    return r->c && r->n_asked && r->fd
               ? load_resolve(r->t, &r->address, err)
               : tern_fail(err, TERN_E_NOMEM, "out of memory for %zu clients", n);
}

tern_code load_run(const load_target *t, const load_plan *p, load_hostile *hostile, double *wall_s,
                   tern_err *err)
{
    runner r = {.t = t, .p = p, .hostile = hostile};
    tern_str body;
    tern_str_init(&body, SIZE_MAX / 4);
    tern_code rc = runner_init(&r, err);
    r.begin_ns = tern_clock_ns();
    for (size_t i = 0; rc == TERN_OK && i < p->n_client; i++)
        ask(&r, i, &body);
    while (rc == TERN_OK && r.n_busy > 0)
        rc = go_round(&r, &body, err);
    *wall_s = (double)(tern_clock_ns() - r.begin_ns) * 1e-9;
    for (size_t i = 0; r.c && i < p->n_client; i++)
        connection_done(&r.c[i]);
    tern_free(r.c);
    tern_free(r.n_asked);
    tern_free(r.fd);
    tern_str_done(&body);
    return rc;
}
