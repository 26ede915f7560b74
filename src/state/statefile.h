/* Tokens [n0, n1) of a text and what they add to its state, in one file (file/packfile.h): written whole or
 * not at all, and believed only once it is checked. The file also has the tokens before n0, as its bytes
 * make sense behind those alone.
 *
 *   section 1      kind u64, owner u64, n0 u32, n1 u32, then n1 ids
 *   section 2 ..   the state, a section for each grain of tokens
 *
 * kind says what made the bytes: the shape of the state, beside the model that the file's key stands for. */
#ifndef TERN_STATE_STATEFILE_H
#define TERN_STATE_STATEFILE_H

#include "file/packfile.h"
#include "state/states.h"

/* Raised when the bytes of a state or of this file change their meaning. */
#define TERN_STATEFILE_VERSION 0x53540001u

/* Whose a file is. */
typedef struct tern_statefile_id {
    uint64_t key;   /* model */
    uint64_t kind;  /* form of the state */
    uint64_t owner; /* of the text */
} tern_statefile_id;

/* Write ids[0..n1) and the state of [n0, n1); n0 is a multiple of grain. title is shown in lists. Any
 * thread, with a pool of its own. Codes: TERN_E_IO, TERN_E_NOMEM. */
TERN_CHECK tern_code tern_statefile_write(const char *path, const tern_statefile_id *id,
                                          const char *title, const tern_states *ops,
                                          const void *state, const int32_t *ids, int n0, int n1,
                                          tern_pool *pool, tern_err *err);
/* At least the bytes of the file that this makes. */
uint64_t tern_statefile_bytes(const tern_states *ops, const void *state, int n0, int n1);

typedef struct tern_statefile {
    tern_packfile p;
    int n0, n1;
    int32_t *ids; /* owned; [n1] */
} tern_statefile;

/* Codes: TERN_E_NOT_FOUND, TERN_E_IO, TERN_E_FORMAT (also of another model, state or owner), TERN_E_NOMEM. */
TERN_CHECK tern_code tern_statefile_open(const char *path, const tern_statefile_id *id,
                                         tern_pool *pool, tern_statefile *out, tern_err *err);
/* A state of at least n0 tokens, those before n0 in the file, keeps these and goes on with the file's. On
 * failure it has any number from n0 on.
 * Codes: TERN_E_FORMAT, TERN_E_NOMEM (also: more than the state may hold). */
TERN_CHECK tern_code tern_statefile_load(const tern_statefile *f, const tern_states *ops,
                                         void *state, tern_pool *pool, tern_err *err);
void tern_statefile_close(tern_statefile *f);

#endif
