/* One file over the network: in parallel ranges, resumable at the byte, checked against its hash. */
#ifndef STORE_FETCH_H
#define STORE_FETCH_H

#include "manifest.h"
#include "net/http.h"

#define STORE_MAX_PARALLEL 16

typedef struct store_fetch {
    net_client *client;
    const char *url;
    const net_secret *bearer; /* for bearer_origin alone */
    const char *bearer_origin;
    bool pinned;      /* the address always means the same bytes; else an ETag must tell */
    const char *path; /* of the file to write; what file->have lists is there already */
    store_file *file; /* have, size, etag and at last sha256 and done are set */
    bool gguf;        /* it must be a GGUF file */
    int n_parallel, n_retry;
    /* Called twice a second at most: keep file->have, the bytes of which are on the disk. */
    tern_code (*save)(void *ctx, tern_err *err);
    void (*progress)(void *ctx);
    /* The message for a status that is no success; may be NULL. */
    tern_code (*refused)(void *ctx, int status, tern_err *err);
    void *ctx;
    uint64_t n_net; /* out: bytes that came over the network */
} store_fetch;

/* A file whose hash is wrong is removed. Codes: TERN_E_NETWORK, TERN_E_FORMAT (wrong bytes), TERN_E_IO
 * (the disk is full), TERN_E_CANCELLED. */
TERN_CHECK tern_code store_fetch_file(store_fetch *f, tern_err *err);

/* "12.3 MB"; returns buf. */
const char *store_size_text(char *buf, size_t cap, uint64_t bytes);

#endif
