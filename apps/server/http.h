/* What the files of the server share: the server, its connections, its exchanges.
 *
 * Threads. The web thread (libmicrohttpd's) runs all of http.c and what handlers with ROUTE_QUICK do. Workers
 * run the other handlers. The watcher looks at sockets of requests that wait, which the library does not,
 * and at deadlines. The main thread waits for signals, loads models and frees them.
 *
 * Locks, in this order: server.mu, exchange.call_mu, server.wire_mu, exchange.mu, then those of the library, keys
 * and metrics; none is held while a handler, a callback of one or the scheduler runs, but for call_mu. */
#ifndef SERVER_HTTP_H
#define SERVER_HTTP_H

#include "server/keys.h"
#include "server/meter.h"
#include "server/metrics.h"
#include "server/server.h"
#include "server/uri.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

/* ---- routes.c ------------------------------------------------------------------------------- */

typedef struct route {
    const char *method, *path;
    exchange_dialect dialect;
    unsigned flags;
    void (*handler)(exchange *x);
    const char *summary, *request, *reply;
} route;

extern const route routes[];
extern const size_t n_route;

/* The route of a path with this method ("HEAD" finds GET's). NULL: see allow, "GET, POST" of what the path has,
 * "" if there is no such path. */
const route *route_find(const char *method, const char *path, uri_params *params, char *allow,
                        size_t cap);

/* ---- connections ---------------------------------------------------------------------------- */

typedef enum phase {
    PHASE_IDLE, /* between requests */
    PHASE_HEAD, /* headers arrive */
    PHASE_BODY,
    PHASE_WAIT, /* for the reply to begin, or to grow */
    PHASE_SEND  /* the client takes the reply */
} phase;

typedef struct wire {
    struct wire *prev, *next; /* guarded by server.wire_mu, as all here */
    int fd;                   /* -1: closed */
    phase phase;
    uint64_t since_ns; /* of the phase; in PHASE_SEND, of the last byte taken */
    bool tells_bytes;  /* the watcher is woken by bytes: between requests alone */
    bool hung_up;      /* the client closed its side */
    bool late;         /* to be cut, whatever its phase */
    bool cut;          /* we shut it down */
    bool
        closed; /* its socket may be another connection's: only the watcher still has an event of it */
    exchange *x; /* the request there; borrowed: it is taken away before it ends. NULL */

    /* Of idle_list; web thread alone. */
    struct wire *idle_prev, *idle_next;
    char *room; /* the library's, for headers; NULL: not known */
    bool waits; /* in the list */
} wire;

/* Connections that wait for their next request, those that do so longest first (idle.c). */
typedef struct idle_list {
    wire *first, *last;
    size_t n, page; /* bytes of a page; 0: nothing can be done */
} idle_list;

/* The library's room for headers of a connection: the line, its copies and all headers with their places. */
#define HTTP_POOL ((size_t)36 * 1024)

void idle_init(idle_list *l);
/* A request begins, whose target stands here in the library's memory. */
void idle_begin(idle_list *l, wire *w, const char *target);
/* It is over; memory of those that wait longest is given back. */
void idle_wait(idle_list *l, wire *w);
void idle_leave(idle_list *l, wire *w);

/* ---- a model being served ------------------------------------------------------------------- */

typedef struct loaded {
    serving s;
    atomic_int refs;
    struct server *srv;
    struct loaded *next; /* in the list of those to free, guarded by server.mu */
} loaded;

loaded *loaded_ref(struct server *srv); /* NULL: none now */
void loaded_unref(loaded *l);

/* ---- the machine (bench_info.c) -------------------------------------------------------------- */

typedef struct server_machine {
    enum { MACHINE_UNKNOWN, MACHINE_MEASURED_NOW, MACHINE_KNOWN } state;
    char cpu[96];
    int cpus;
    double read_bytes_per_s, macs_per_s; /* of the model's number of threads; 0: it failed */
} server_machine;

/* ---- the server ----------------------------------------------------------------------------- */

typedef struct server {
    const server_opts *o;
    struct MHD_Daemon *daemon;
    server_limits limits;
    bool loopback; /* bound to an address of this machine alone: Host is looked at */
    bool local;    /* or to a unix socket */
    int port;
    char url[160];
    _Atomic(const char *) sandbox; /* level reached */
    char sandbox_text[40];

    pthread_mutex_t mu;
    loaded *now;            /* guarded by mu */
    loaded *dying;          /* guarded by mu: the main thread frees them */
    server_machine machine; /* guarded by mu */
    key_table *keys;
    exchange *queue_head, *queue_tail; /* for the workers, guarded by mu */
    pthread_cond_t queued;             /* with mu */
    bool workers_end;                  /* guarded by mu */
    pthread_t workers[64];
    int n_worker;

    pthread_mutex_t wire_mu;
    wire *wires; /* guarded by wire_mu, and so are those that the watcher is to free */
    wire *closed_wires;
    idle_list idle; /* web thread alone */
    pthread_t watcher;
    bool has_watcher;
    int watch_epoll, watch_wake;
    atomic_bool watch_end;

    atomic_int n_wire, n_exchange; /* alive */
    atomic_uint_fast64_t n_worked; /* exchanges that used the model and ended */
    atomic_bool draining, pressure;
    atomic_size_t body_bytes; /* of all exchanges */
    int wake_main;            /* an eventfd */
    uint64_t start_ns;
    int64_t start_unix;
    atomic_uint_fast64_t n_reload, n_reload_failed;
    metrics metrics;
    meter meter;
} server;

/* ---- exchanges ------------------------------------------------------------------------------ */

#define MAX_HEADERS 1000

typedef struct header {
    char *name, *value; /* owned */
} header;

struct exchange {
    atomic_int refs, holders; /* holders, as handlers count them, have one reference together */
    server *srv;
    wire *wire; /* web thread alone */
    char id[32];
    uint64_t begin_ns;
    const char *method; /* of a small fixed set, or "?" */
    bool head;
    uri uri;
    const char *path; /* in uri, behind the prefix */
    uri_params params;
    const route *route; /* NULL: none */
    header *headers;    /* owned */
    size_t n_header;
    tern_str body;
    size_t body_counted; /* in server.body_bytes */
    uint64_t body_seen;  /* of it, kept or not */
    loaded *serving;
    key_ref key;
    exchange *next_queued;

    /* What is wrong with it, known before its body was read; status 0: nothing. Web thread alone. */
    int refused_status;
    char refused_code[48];
    char refused_text[200];
    bool close;         /* the connection, behind this reply */
    unsigned retry_s;   /* of Retry-After */
    bool started, read; /* headers are checked; the body is complete */
    bool counted;       /* key_begin said yes */

    pthread_mutex_t call_mu; /* held while a callback runs, and where they change */
    exchange_fn on_gone, on_room;
    void *gone_ctx, *room_ctx;

    pthread_mutex_t mu;          /* guards what follows */
    struct MHD_Connection *conn; /* NULL: over */
    bool suspended, replied, streaming, ended, gone, full;
    int status;
    char type[80];
    header *more; /* further headers of the reply; owned */
    size_t n_more;
    tern_str out; /* what the client has yet to take begins at out_at */
    size_t out_at;
    const char *fixed; /* a reply that is not copied, instead of out */
    size_t n_total;    /* of a reply that is not a stream */
    uint64_t n_sent;

    uint64_t count[COUNT_KINDS];
    uint64_t first_ns, last_ns; /* of tokens; 0: none */
};

/* exchange.c */
exchange *exchange_new(server *srv); /* NULL: no memory */
/* The reply that route, limits or keys make; message of our own. */
void exchange_set_refused(exchange *x, int status, const char *code, const char *fmt, ...)
    TERN_PRINTF(4, 5);
/* A reference of the server's own, not counted as a holder. */
void exchange_drop(exchange *x);
TERN_CHECK tern_code exchange_parse_json(const char *s, size_t n, size_t max_depth, json_t **out,
                                         tern_err *err);
/* Mark as gone and tell; any thread, no lock held. */
void exchange_lose(exchange *x);
/* Tell on_room when there is room. */
void exchange_tell_room(exchange *x);
bool header_add(header **list, size_t *n, const char *name, size_t n_name, const char *value,
                size_t n_value);
void headers_free(header *list, size_t n);

/* http.c */
TERN_CHECK tern_code http_start(server *srv, int listen_fd, tern_err *err);
/* No new connections; those that wait for requests are closed. */
void http_quiesce(server *srv);
void http_stop(server *srv);

/* worker.c */
TERN_CHECK tern_code workers_start(server *srv, tern_err *err);
void workers_stop(server *srv);
void workers_add(server *srv, exchange *x); /* takes a reference */

/* watch.c */
TERN_CHECK tern_code watch_start(server *srv, tern_err *err);
void watch_stop(server *srv);
wire *watch_open(server *srv, int fd); /* NULL: no memory */
void watch_close(server *srv, wire *l);
void watch_phase(server *srv, wire *l, phase p, exchange *x);
void watch_cut_idle(server *srv);
/* All connections; their exchanges are lost. */
void watch_cut_all(server *srv);

/* listen.c */
typedef struct listening {
    int fd;
    bool loopback, unix_socket, inherited;
    int port;
    char url[160];
    const char *path; /* of a unix socket that is to be removed; NULL */
} listening;
TERN_CHECK tern_code listen_open(const server_opts *o, listening *l, tern_err *err);
void listen_close(listening *l);
/* To systemd, if it listens: "READY=1". */
void listen_notify(const char *text);

/* log.c */
/* Its line, and what the metrics count; returns its tokens. */
uint64_t log_exchange(exchange *x);
void log_line(const server *srv, const char *level, const char *text);

#endif
