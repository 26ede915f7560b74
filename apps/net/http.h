/* HTTP requests, on libcurl. A client runs any number of transfers at once on the caller's thread; the
 * bodies go to callbacks as they come. Proxies are taken from the environment (https_proxy,
 * no_proxy, ...), certificates are always verified, redirects are followed here so that a secret
 * never leaves the origin it is for. In a build without libcurl every request fails with
 * TERN_E_NETWORK. Threads: one client, one thread. The program ignores SIGPIPE while requests run. */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "base/str.h"

/* "libcurl 7.88.1"; NULL: built without network. */
const char *net_library(void);

/* ---- secrets ------------------------------------------------------------------------------- */

/* A token: nothing prints it, and its memory is wiped when it goes. */
typedef struct net_secret net_secret;

/* A copy of text[0..n) without blanks around it. NULL when that is empty, longer than 4096 bytes or
 * not visible ASCII, and when memory is exhausted. */
net_secret *net_secret_new(const char *text, size_t n);
void net_secret_free(net_secret *s);

/* ---- addresses ----------------------------------------------------------------------------- */

/* "https://host:443" of a URL, in lower case. False unless it is a http or https URL without user
 * and password. */
bool net_origin(const char *url, char *buf, size_t cap);
/* Whether what is sent there cannot be read on the way: https, or this machine. */
bool net_is_private(const char *url);
/* A URL as messages show it: without the query, which may be a signature. Returns buf; cap >= 16. */
const char *net_shown(char *buf, size_t cap, const char *url);

/* ---- requests ------------------------------------------------------------------------------ */

typedef struct net_response {
    int status;       /* 0: there was no answer */
    char *url;        /* owned; where the answer came from, after redirects */
    tern_str headers; /* "Name: value" lines */
    uint64_t n_body;  /* bytes given to on_body */
    uint32_t retry_after_s;
    bool transient; /* of a failure: another attempt may succeed */
} net_response;

typedef struct net_request {
    const char *url;
    const char *method; /* NULL: GET */
    const char *const *headers;
    size_t n_header;
    const net_secret *bearer;  /* sent as "Authorization: Bearer", to bearer_origin alone */
    const char *bearer_origin; /* as net_origin writes it */
    const void *body;          /* borrowed until the transfer ends */
    size_t n_body;
    bool ranged; /* ask for bytes [begin, end) */
    uint64_t begin, end;
    uint64_t max_bytes; /* of the answer's body; 0: none is expected */
    int max_redirects;  /* of GET and HEAD; 0: a redirect is the answer */
    bool stay;          /* follow redirects within the origin only: another one is the answer */
    uint32_t connect_s, stall_s, total_s; /* 0: 30, 60, no limit */
    /* The headers of the final answer are there. Not TERN_OK: the transfer ends with that code. */
    tern_code (*on_head)(void *ctx, const net_response *r, tern_err *err);
    tern_code (*on_body)(void *ctx, const void *data, size_t n, tern_err *err);
    void *ctx;
} net_request;

/* The value of a header without blanks around it; false when there is none or it does not fit. */
bool net_header(const net_response *r, const char *name, char *buf, size_t cap);
bool net_content_length(const net_response *r, uint64_t *n);
/* "bytes 0-99/1000" is 0, 100, 1000. */
bool net_content_range(const net_response *r, uint64_t *begin, uint64_t *end, uint64_t *total);
/* The server's name for the bytes: its ETag, else the date of their last change; "" if neither. */
void net_validator(const net_response *r, char *buf, size_t cap);

typedef struct net_client net_client;
typedef struct net_transfer net_transfer;

/* cancelled is asked several times a second while transfers run; may be NULL. */
TERN_CHECK tern_code net_client_new(net_client **out, bool (*cancelled)(void *ctx), void *ctx,
                                    tern_err *err);
/* Ends all transfers of it. */
void net_client_free(net_client *c);

/* The request is copied; what it points to but url and headers is borrowed until the end. */
TERN_CHECK tern_code net_start(net_client *c, const net_request *r, net_transfer **out,
                               tern_err *err);
/* Let transfers move for at most timeout_ms. *done is one that ended, or NULL. Codes:
 * TERN_E_CANCELLED. */
TERN_CHECK tern_code net_wait(net_client *c, int timeout_ms, net_transfer **done, tern_err *err);
/* How an ended transfer went. An answer with any status is TERN_OK. */
TERN_CHECK tern_code net_result(const net_transfer *t, tern_err *err);
const net_response *net_transfer_response(const net_transfer *t);
void *net_transfer_ctx(const net_transfer *t);
/* Also ends one that still runs. NULL is fine. */
void net_transfer_free(net_transfer *t);

/* One request from beginning to end. *t is set also when it fails (NULL: it did not begin). */
TERN_CHECK tern_code net_perform(net_client *c, const net_request *r, net_transfer **t,
                                 tern_err *err);

#endif
