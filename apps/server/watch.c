/* Sockets whose requests wait, which the library does not look at meanwhile, and deadlines of clients that
 * send or take nothing. */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "server/http.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_MS 250

/* ---- from the web thread -------------------------------------------------------------------- */

static void wake_watcher(server *srv)
{
    uint64_t one = 1;
    (void)!write(srv->watch_wake, &one, sizeof one);
}

/* With wire_mu. Bytes are told of only where the first one begins something: each one of a slow sender's would
 * wake the watcher for nothing. */
static bool tell_of(server *srv, wire *w, int how, bool bytes)
{
    struct epoll_event ev = {.events = EPOLLRDHUP | EPOLLET, .data = {.ptr = w}};
    if (bytes)
        ev.events |= EPOLLIN;
    w->tells_bytes = bytes;
    return epoll_ctl(srv->watch_epoll, how, w->fd, &ev) == 0;
}

/* So many connections that room must be made for others: a sixteenth of all is kept free. */
static uint64_t full_house(const server *srv)
{
    return srv->limits.connections - srv->limits.connections / 16;
}

wire *watch_open(server *srv, int fd)
{
    wire *w = tern_calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->fd = fd;
    w->phase = PHASE_HEAD;
    w->since_ns = tern_clock_ns();
    pthread_mutex_lock(&srv->wire_mu);
    w->next = srv->wires;
    if (w->next)
        w->next->prev = w;
    srv->wires = w;
    bool ok = tell_of(srv, w, EPOLL_CTL_ADD, false);
    pthread_mutex_unlock(&srv->wire_mu);
    int before = atomic_fetch_add(&srv->n_wire, 1);
    if (before == 0 || (uint64_t)before + 1 >= full_house(srv))
        wake_watcher(srv);
    if (!ok) {
        watch_close(srv, w);
        return NULL;
    }
    return w;
}

void watch_close(server *srv, wire *w)
{
    pthread_mutex_lock(&srv->wire_mu);
    (void)epoll_ctl(srv->watch_epoll, EPOLL_CTL_DEL, w->fd, NULL);
    if (w->prev)
        w->prev->next = w->next;
    else
        srv->wires = w->next;
    if (w->next)
        w->next->prev = w->prev;
    w->closed = true;
    w->next = srv->closed_wires;
    srv->closed_wires = w;
    pthread_mutex_unlock(&srv->wire_mu);
    (void)atomic_fetch_sub(&srv->n_wire, 1);
}

/* What events that the watcher has not looked at yet may point to stays until it has looked at them: another
 * connection must not get its address, and be cut in its place. */
static void free_closed(server *srv)
{
    pthread_mutex_lock(&srv->wire_mu);
    wire *w = srv->closed_wires;
    srv->closed_wires = NULL;
    pthread_mutex_unlock(&srv->wire_mu);
    for (wire *next; w; w = next) {
        next = w->next;
        tern_free(w);
    }
}

void watch_phase(server *srv, wire *w, phase p, exchange *x)
{
    pthread_mutex_lock(&srv->wire_mu);
    /* The time of headers runs from the first byte of a request, or from the connection's begin. */
    if (p != PHASE_HEAD || w->phase != PHASE_HEAD)
        w->since_ns = tern_clock_ns();
    w->phase = p;
    w->x = x;
    if (p == PHASE_IDLE && !w->tells_bytes)
        (void)tell_of(srv, w, EPOLL_CTL_MOD, true);
    bool look = p == PHASE_WAIT && w->hung_up;
    pthread_mutex_unlock(&srv->wire_mu);
    if (look)
        wake_watcher(srv);
}

/* With wire_mu. The web thread sees the end of the connection. */
static void cut(wire *w)
{
    w->cut = true;
    (void)shutdown(w->fd, SHUT_RDWR);
}

void watch_cut_idle(server *srv)
{
    pthread_mutex_lock(&srv->wire_mu);
    for (wire *w = srv->wires; w; w = w->next)
        if (!w->cut && !w->x)
            cut(w);
    pthread_mutex_unlock(&srv->wire_mu);
}

void watch_cut_all(server *srv)
{
    pthread_mutex_lock(&srv->wire_mu);
    for (wire *w = srv->wires; w; w = w->next)
        w->late = true;
    pthread_mutex_unlock(&srv->wire_mu);
    if (srv->has_watcher)
        wake_watcher(srv);
}

/* ---- the watcher ---------------------------------------------------------------------------- */

/* With wire_mu: whether its client has gone, or it has had its time. */
static bool is_late(const server *srv, const wire *w, uint64_t now)
{
    if (w->late || (w->hung_up && w->phase == PHASE_WAIT))
        return true;
    const server_limits *l = &srv->limits;
    const uint64_t seconds[] = {
        [PHASE_IDLE] = l->idle_s, [PHASE_HEAD] = l->header_s, [PHASE_BODY] = l->body_s,
        [PHASE_WAIT] = 0,         [PHASE_SEND] = l->stall_s,
    };
    uint64_t limit = seconds[w->phase];
    return limit > 0 && now - w->since_ns > limit * 1000000000u;
}

#define BATCH 64

/* Cut connections that are late; exchanges that were there are told without the lock, some at a time. */
static void look_at_deadlines(server *srv)
{
    exchange *lost[BATCH];
    size_t n;
    do {
        n = 0;
        pthread_mutex_lock(&srv->wire_mu);
        uint64_t now = tern_clock_ns(); /* not before: no phase began later */
        for (wire *w = srv->wires; w && n < BATCH; w = w->next) {
            if (w->cut || !is_late(srv, w, now))
                continue;
            cut(w);
            if (w->x) {
                (void)atomic_fetch_add(&w->x->refs, 1);
                lost[n++] = w->x;
            }
        }
        pthread_mutex_unlock(&srv->wire_mu);
        for (size_t i = 0; i < n; i++) {
            exchange_lose(lost[i]);
            exchange_drop(lost[i]);
        }
    } while (n == BATCH);
}

/* With wire_mu: whether `a` should make room rather than `b`, which may be none. Between requests rather than before
 * the first one, then whoever has waited longer. */
static bool sooner(const wire *a, const wire *b)
{
    if (!b || (a->phase == PHASE_IDLE) != (b->phase == PHASE_IDLE))
        return !b || a->phase == PHASE_IDLE;
    return a->since_ns < b->since_ns;
}

/* How soon a connection without a request may be closed for another one. */
#define IDLE_NS 250000000u

/* The library accepts nobody beyond the limit: a crowd that says nothing would keep clients out. */
static void make_room(server *srv)
{
    pthread_mutex_lock(&srv->wire_mu);
    uint64_t now = tern_clock_ns(), n = 0;
    for (const wire *w = srv->wires; w; w = w->next)
        n += !w->cut;
    for (int i = 0; i < BATCH && n >= full_house(srv); i++, n--) {
        wire *gone = NULL;
        for (wire *w = srv->wires; w; w = w->next)
            if (!w->cut && !w->x && now - w->since_ns >= IDLE_NS && sooner(w, gone))
                gone = w;
        if (!gone)
            break;
        cut(gone);
    }
    pthread_mutex_unlock(&srv->wire_mu);
}

/* A client that has closed its side may take what is ready for it, but is not waited for. */
static void on_event(server *srv, wire *w, uint32_t events, uint64_t seen_ns)
{
    pthread_mutex_lock(&srv->wire_mu);
    /* Events may be older than the connection's end, and bytes may be those of a request that is over. */
    if (!w->closed && (events != EPOLLIN || w->since_ns <= seen_ns)) {
        if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
            w->hung_up = true;
        } else {
            if (w->phase == PHASE_IDLE) {
                w->phase = PHASE_HEAD;
                w->since_ns = tern_clock_ns();
            }
            (void)tell_of(srv, w, EPOLL_CTL_MOD, false);
        }
    }
    pthread_mutex_unlock(&srv->wire_mu);
}

static void *watch(void *ctx)
{
    server *srv = ctx;
    uint64_t looked = 0;
    while (!atomic_load(&srv->watch_end)) {
        struct epoll_event ev[64];
        int n = epoll_wait(srv->watch_epoll, ev, 64, atomic_load(&srv->n_wire) > 0 ? TICK_MS : -1);
        bool look = false;
        uint64_t seen = tern_clock_ns();
        for (int i = 0; i < n; i++) {
            look = look || !ev[i].data.ptr || (ev[i].events & ~(uint32_t)EPOLLIN);
            if (ev[i].data.ptr) {
                on_event(srv, ev[i].data.ptr, ev[i].events, seen);
            } else {
                uint64_t drop;
                (void)!read(srv->watch_wake, &drop, sizeof drop);
            }
        }
        free_closed(srv);
        uint64_t now = tern_clock_ns();
        if (look || now - looked >= (uint64_t)TICK_MS * 1000000u) {
            looked = now;
            look_at_deadlines(srv);
            if ((uint64_t)atomic_load(&srv->n_wire) >= full_house(srv))
                make_room(srv);
        }
    }
    return NULL;
}

tern_code watch_start(server *srv, tern_err *err)
{
    srv->watch_epoll = epoll_create1(EPOLL_CLOEXEC);
    srv->watch_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN};
    if (srv->watch_epoll < 0 || srv->watch_wake < 0 ||
        epoll_ctl(srv->watch_epoll, EPOLL_CTL_ADD, srv->watch_wake, &ev) != 0)
        return tern_fail(err, TERN_E_IO, "cannot watch connections: %s", strerror(errno));
    int why = pthread_create(&srv->watcher, NULL, watch, srv);
    if (why != 0)
        return tern_fail(err, TERN_E_NOMEM, "cannot start a thread: %s", strerror(why));
    srv->has_watcher = true;
    return TERN_OK;
}

void watch_stop(server *srv)
{
    atomic_store(&srv->watch_end, true);
    if (srv->has_watcher) {
        wake_watcher(srv);
        (void)pthread_join(srv->watcher, NULL);
    }
    srv->has_watcher = false;
    free_closed(srv);
    if (srv->watch_epoll >= 0)
        (void)close(srv->watch_epoll);
    if (srv->watch_wake >= 0)
        (void)close(srv->watch_wake);
    srv->watch_epoll = srv->watch_wake = -1;
}
