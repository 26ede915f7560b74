/* One HTTP request over a socket that never blocks, and its reply as bytes come. */
#ifndef BENCH_CONNECTION_H
#define BENCH_CONNECTION_H

#include "bench/load.h"

#include <sys/socket.h>

/* A socket's address. */
typedef struct load_address {
    struct sockaddr_storage at;
    socklen_t n;
    int family;
} load_address;

TERN_CHECK tern_code load_resolve(const load_target *t, load_address *out, tern_err *err);
/* A socket that is connecting, or -1. small: little room for what is received. */
int load_connect(const load_address *a, bool small);
/* Request line, headers and body. */
void load_put_request(const load_target *t, const char *method, const char *path, const char *body,
                      tern_str *out);

typedef struct connection {
    int fd; /* -1: none */
    enum { SENDING, HEAD, BODY, OVER } phase;
    tern_str out; /* the request */
    size_t sent;
    tern_str line; /* of the head, of a chunk's size, or of the body */
    enum { WHOLE, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILER } framing;
    uint64_t left;                   /* of the chunk, or of the body if it has a length */
    bool chunked, has_length, ended; /* ended: the stream's own end came */
    tern_str *keep;                  /* the body goes here; NULL: it is looked at line by line */
    load_reply r;
    load_samples gaps;
    uint64_t deadline_ns;
} connection;

void connection_init(connection *c);
void connection_done(connection *c);
/* Begin the request that c->out holds. False: no socket. */
bool connection_begin(connection *c, const load_address *a, double timeout_s);
/* Something happened to its socket; afterwards it may be OVER. */
void connection_work(connection *c);
/* The end, for this reason if it is none of its own. */
void connection_end(connection *c, const char *why);
/* What poll is to wait for. */
short connection_wants(const connection *c);

#endif
