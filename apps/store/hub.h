/* The Hugging Face hub, or a server that speaks its API: what a repository holds and where its files
 * are. */
#ifndef STORE_HUB_H
#define STORE_HUB_H

#include "manifest.h"
#include "net/http.h"

typedef struct store_hub {
    char endpoint[300]; /* HF_ENDPOINT or https://huggingface.co, no slash at the end */
    char origin[300];
    net_secret *token; /* owned; NULL: none */
} store_hub;

/* From HF_ENDPOINT, HF_TOKEN, $HF_HOME/token and ~/.cache/huggingface/token. A token is kept back
 * from an endpoint that others could listen to; *withheld says so. Codes: TERN_E_USAGE. */
TERN_CHECK tern_code store_hub_init(store_hub *h, bool *withheld, tern_err *err);
void store_hub_done(store_hub *h);
/* The endpoint without looking for a token. */
void store_hub_endpoint(char *buf, size_t cap);

/* Fill m (its spec is set) with commit, licence and all files of the repository at that revision.
 * Codes: TERN_E_NETWORK, TERN_E_FORMAT (an answer that makes no sense). */
TERN_CHECK tern_code store_hub_list(const store_hub *h, net_client *c, int n_retry,
                                    store_manifest *m, tern_err *err);
/* The same from the JSON text of the answer. */
TERN_CHECK tern_code store_hub_read(const char *text, size_t n, store_manifest *m, tern_err *err);
/* What the list left out of one file: its size and hash. */
TERN_CHECK tern_code store_hub_ask(const store_hub *h, net_client *c, int n_retry,
                                   const store_manifest *m, store_file *f, tern_err *err);
/* Where a file is. */
void store_hub_file_url(const store_hub *h, const store_manifest *m, const char *file,
                        tern_str *out);
/* The message for a status that is no success. */
TERN_CHECK tern_code store_hub_refused(const store_hub *h, const store_manifest *m, int status,
                                       const char *what, tern_err *err);

#endif
