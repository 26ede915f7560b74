/* The record of one model: where it comes from and which files it has. A complete model has it as
 * tern-manifest.json among its files; while a model is fetched the same record, with what is there
 * of each file, stands beside the unfinished folder. Both are read as if a stranger wrote them. */
#ifndef STORE_MANIFEST_H
#define STORE_MANIFEST_H

#include "digest.h"
#include "spans.h"
#include "spec.h"

#include <jansson.h>

#define STORE_MANIFEST  "tern-manifest.json"
#define STORE_MAX_FILES 4096
#define STORE_MAX_JSON  ((size_t)4 << 20)

typedef struct store_file {
    char *name; /* owned; store_path_ok */
    uint64_t size;
    bool sized;                        /* size is known */
    char sha256[STORE_SHA256_HEX + 1]; /* expected, then found; "": not known */
    char git[STORE_SHA1_HEX + 1];      /* the hub's name for a small file; "": none */
    char etag[160];                    /* the server's name for these bytes; "": none */
    bool done;                         /* complete and checked */
    store_spans have;
} store_file;

typedef struct store_manifest {
    store_spec spec;
    char *name;      /* owned; what the user calls it */
    char hub[300];   /* endpoint; "" of a URL */
    char commit[65]; /* of the revision; "" of a URL */
    char licence[64];
    char pulled[32]; /* 2026-11-21T09:30:00Z */
    store_file *files;
    size_t n_file, cap_file;
} store_manifest;

void store_manifest_init(store_manifest *m);
void store_manifest_done(store_manifest *m);
TERN_CHECK tern_code store_manifest_set_name(store_manifest *m, const char *name, tern_err *err);
/* Append a file. Codes: TERN_E_FORMAT (a name that cannot be one, or twice), TERN_E_LIMIT. */
TERN_CHECK tern_code store_manifest_add(store_manifest *m, const char *name, size_t n,
                                        store_file **out, tern_err *err);
store_file *store_manifest_find(const store_manifest *m, const char *name);
uint64_t store_manifest_bytes(const store_manifest *m);
uint64_t store_manifest_missing(const store_manifest *m);
/* "gguf" or "safetensors" */
const char *store_manifest_type(const store_manifest *m);

/* From JSON text; where names it in messages. Codes: TERN_E_FORMAT, TERN_E_NOMEM. */
TERN_CHECK tern_code store_manifest_parse(const char *text, size_t n, const char *where,
                                          store_manifest *out, tern_err *err);
/* NULL: out of memory. */
json_t *store_manifest_json(const store_manifest *m);
/* Codes: TERN_E_NOT_FOUND and those of parse. */
TERN_CHECK tern_code store_manifest_load(const char *path, store_manifest *out, tern_err *err);
/* flags: of tern_outfile_open. */
TERN_CHECK tern_code store_manifest_save(const store_manifest *m, const char *path, unsigned flags,
                                         tern_err *err);

#endif
