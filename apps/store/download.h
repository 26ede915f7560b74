/* Fetching a model into the store, all steps together. */
#ifndef STORE_DOWNLOAD_H
#define STORE_DOWNLOAD_H

#include "store.h"

typedef struct store_progress {
    const char *file;
    uint64_t done, total; /* bytes of the model; total 0: not known yet */
    uint64_t begun;       /* of done, those that were there when it began */
} store_progress;

typedef struct store_pull {
    const store *store;
    const char *spec;   /* as the user wrote it */
    const char *sha256; /* what a single file must have; NULL: what the hub says */
    bool offline;
    int n_parallel, n_retry;
    bool (*cancelled)(void *ctx);
    void (*progress)(void *ctx, const store_progress *p);
    void (*note)(void *ctx, const char *line); /* what a user should know */
    void *ctx;

    /* Out: */
    store_entry entry; /* of the model in the store; done by store_pull_done */
    bool up_to_date;   /* nothing had to be fetched */
    uint64_t n_net;
    tern_str choices; /* what the spec could mean, when it is ambiguous */
} store_pull;

/* The model is in the store afterwards, or everything is as it was but for what is partly there.
 * Codes: TERN_E_USAGE, TERN_E_NETWORK, TERN_E_FORMAT, TERN_E_IO, TERN_E_NOT_FOUND (offline),
 * TERN_E_CANCELLED, TERN_E_NOMEM. */
TERN_CHECK tern_code store_pull_run(store_pull *p, tern_err *err);
void store_pull_done(store_pull *p);

#endif
