/* Clients of an HTTP server, many at a time on one thread: ordinary ones that ask and take time, and bad
 * ones that hold connections. Speaks plain HTTP/1.1 over TCP or a unix socket; knows of OpenAI-compatible
 * replies only what it takes to tell that text came and how many tokens there were. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "base/str.h"

/* Where the server is. */
typedef struct load_target {
    char host[256]; /* a name or address; "" with a unix socket */
    char port[8];
    char unix_path[108]; /* "": TCP */
    char prefix[256];    /* before /v1/..., without a slash at its end */
    const char *key;     /* borrowed; NULL: none. Never printed */
    double timeout_s;    /* of one request */
} load_target;

/* "http://host:port/prefix" or "unix:/path"; "/v1" at the end is the interface's own. Codes: TERN_E_USAGE,
 * TERN_E_UNSUPPORTED (https). */
TERN_CHECK tern_code load_target_parse(load_target *t, const char *url, tern_err *err);

/* What became of one request. Times in seconds from the moment its connection was asked for. */
typedef struct load_reply {
    int status;                       /* 0: none came */
    bool done;                        /* the reply is whole, and says no error */
    const char *why;                  /* static; why not */
    double first_s, last_s, end_s;    /* first and last text; the end */
    size_t n_event;                   /* pieces of text */
    size_t n_prompt, n_cached, n_tok; /* as the server counts; n_tok is n_event where it does not */
    uint64_t begin_ns;
} load_reply;

/* Samples of one figure. */
typedef struct load_samples {
    double *v; /* owned */
    size_t n, cap;
    bool failed;
} load_samples;

void load_samples_add(load_samples *s, double v);
/* The value that a share q of them does not pass; NAN without any. Sorts. */
double load_percentile(load_samples *s, double q);
void load_samples_done(load_samples *s);

/* One request, and its whole reply's body, which may be NULL. For /v1/models and the like. */
TERN_CHECK tern_code load_fetch(const load_target *t, const char *method, const char *path,
                                const char *body, load_reply *r, tern_str *reply, tern_err *err);

/* Who asks what. body and seen are called on the caller's thread, from load_run. */
typedef struct load_plan {
    size_t n_client;
    size_t n_request; /* of each client, one after another */
    const char *path; /* behind the prefix */
    double seconds;   /* no new requests after so long; 0: no limit */
    size_t
        n_background; /* of the clients, the first ones go on until the others have ended, and are not seen */
    /* The body of a client's next request. */
    void (*body)(void *ctx, size_t client, tern_str *out);
    /* Its reply, and the gaps between its pieces of text [n_gap]. */
    void (*seen)(void *ctx, size_t client, const load_reply *r, const double *gaps, size_t n_gap);
    bool (*interrupted)(void);
    void *ctx;
} load_plan;

/* Connections that hold a server up while clients work. */
typedef enum load_hostile_kind {
    LOAD_IDLE,    /* connect and say nothing */
    LOAD_SLOW,    /* send a request a byte a second; begin anew when cut */
    LOAD_STALLED, /* ask for a long answer and take none of it */
    LOAD_KINDS
} load_hostile_kind;

typedef struct load_hostile load_hostile;

/* Open so many of each. body: what stalled readers ask. *n_open: how many connections came about. */
TERN_CHECK tern_code load_hostile_new(const load_target *t, const size_t n[LOAD_KINDS],
                                      const char *path, const char *body, load_hostile **out,
                                      tern_err *err);
/* Connections of a kind that are open, and how many the server has closed so far. */
void load_hostile_count(const load_hostile *h, load_hostile_kind k, size_t *n_open, size_t *n_cut);
void load_hostile_free(load_hostile *h);

/* Until all have asked all. hostile may be NULL. *wall_s: from the first request to the last reply. Codes:
 * TERN_E_CANCELLED, TERN_E_NOMEM, TERN_E_NETWORK (the address is none). */
TERN_CHECK tern_code load_run(const load_target *t, const load_plan *p, load_hostile *hostile,
                              double *wall_s, tern_err *err);

#endif
