/* The folder where models are kept:
 *
 *   ROOT/<folder>/tern-manifest.json and the model's files: complete, or not there
 *   ROOT/.partial/<folder>/          a model being fetched
 *   ROOT/.partial/<folder>.json      how far that is
 *   ROOT/.partial/<folder>.lock      held by whoever changes either
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "manifest.h"

#define STORE_PARTIAL ".partial"

typedef struct store {
    char *root; /* owned */
} store;

/* dir NULL: $XDG_DATA_HOME/tern/models. Nothing is made on the disk. Codes: TERN_E_USAGE. */
TERN_CHECK tern_code store_open(store *s, const char *dir, tern_err *err);
void store_close(store *s);

typedef struct store_entry {
    char *folder; /* owned */
    store_manifest m;
    bool partial;
} store_entry;

void store_entry_done(store_entry *e);

typedef struct store_list {
    store_entry *v; /* owned */
    size_t n, cap;
    size_t n_bad; /* folders whose record cannot be read */
} store_list;

/* All models by name, unfinished ones last. A folder that is not there is an empty store. */
TERN_CHECK tern_code store_list_read(const store *s, store_list *out, tern_err *err);
void store_list_done(store_list *l);

/* The entry that a user means by text: a name as `tern ls` shows it, a folder of the store, or
 * whatever store_spec_parse takes. Codes: TERN_E_NOT_FOUND, TERN_E_USAGE (several). */
TERN_CHECK tern_code store_find(const store_list *l, const char *text, const char *endpoint,
                                bool partial, const store_entry **out, tern_err *err);
/* What opens it: the folder, or its GGUF file. */
void store_entry_path(const store *s, const store_entry *e, tern_str *out);
/* Whether an entry is what a spec asks for. */
bool store_entry_is(const store_manifest *m, const store_spec *spec);

/* ROOT[/.partial]/<folder><tail> */
void store_path(const store *s, bool partial, const char *folder, const char *tail, tern_str *out);
/* Make a folder and those above it. Codes: TERN_E_IO. */
TERN_CHECK tern_code store_make_folder(const char *path, tern_err *err);
/* Flush a folder's names to the disk. */
void store_sync_folder(const char *path);
/* Remove a file or a folder with all that is in it, links themselves. Codes: TERN_E_IO. */
TERN_CHECK tern_code store_remove_tree(const char *path, tern_err *err);
/* Remove the files of folder whose names begin so: what a killed program left. */
void store_sweep(const char *folder, const char *prefix);

typedef struct store_lock {
    int fd;
    char *path; /* owned */
} store_lock;

/* Become the only one to change this folder; waiting is called several times a second while another
 * one does, and ends it by returning false. Codes: TERN_E_CANCELLED, TERN_E_IO. */
TERN_CHECK tern_code store_lock_take(const store *s, const char *folder, bool (*waiting)(void *ctx),
                                     void *ctx, store_lock *out, tern_err *err);
void store_lock_drop(store_lock *l);

/* Remove a model, and what is unfinished of it. */
TERN_CHECK tern_code store_remove(const store *s, const char *folder, tern_err *err);

#endif
