/* Saved states of texts' beginnings, in a folder of the user's: one file for each grain of tokens
 * (state/statefile.h), so that texts share files as they share tokens. A file's name is made of its model,
 * and of a hash of its owner and all tokens to its end: what there is of a text is known from names alone, and
 * of a file nothing is read before it is wanted. Files may be lost, torn or wrong at any time, and other
 * programs may use the same folder.
 *
 * A thread of its own writes; the owner's thread reads. States that wait to be written are held until the
 * owner collects them: only its thread may free what others share (state/seq.h). What was used least recently
 * goes first when the folder is full, ends before beginnings.
 * Threads: one owner. */
#ifndef TERN_STATE_SHELF_H
#define TERN_STATE_SHELF_H

#include "state/statefile.h"

typedef struct tern_shelf tern_shelf;

typedef struct tern_shelf_opts {
    const char *dir;                           /* the folder; it is made, its parent is there */
    uint64_t max_bytes;                        /* of all files in it, whoever made them */
    uint64_t key, kind;                        /* as of tern_statefile_id */
    const char *title;                         /* of files, for lists */
    const tern_states *ops;                    /* borrowed */
    void (*warn)(void *ctx, const char *line); /* any thread; may be NULL */
    void *ctx;
} tern_shelf_opts;

/* Codes: TERN_E_IO (no such folder), TERN_E_NOMEM. */
TERN_CHECK tern_code tern_shelf_open(const tern_shelf_opts *o, tern_shelf **out, tern_err *err);
/* Write what waits, for at most wait_s seconds and the file that is begun, then drop the rest. */
void tern_shelf_close(tern_shelf *s, double wait_s);

/* Up to which token, at most n, ids are there, from n0 on, which is a multiple of the grain: by names. */
int tern_shelf_find(tern_shelf *s, uint64_t owner, const int32_t *ids, int n0, int n);
/* Read that, but no more than most files, into a state that has n0 tokens at least. Returns the tokens it
 * has then: n0 when there is nothing, or nothing that is right. */
int tern_shelf_load(tern_shelf *s, uint64_t owner, const int32_t *ids, int n0, int n, int most,
                    void *state);
/* ids[0..n) are in use: keep their files. What is not there yet is written from state, if given, which is
 * the shelf's from now on, also if it is not going to be written as too much waits already. */
void tern_shelf_keep(tern_shelf *s, uint64_t owner, const int32_t *ids, int n, void *state);
/* Remove the files of ids[0..n) that have more than their first n0 tokens, and write none that waits. */
void tern_shelf_forget(tern_shelf *s, uint64_t owner, const int32_t *ids, int n0, int n);
/* Free the states that are written. */
void tern_shelf_collect(tern_shelf *s);
/* Free all states, after the file that is begun: their memory is needed. */
void tern_shelf_give_up(tern_shelf *s);
/* Until nothing waits, or so many seconds are over. */
void tern_shelf_flush(tern_shelf *s, double wait_s);
/* Bytes in the folder, as far as is known. */
uint64_t tern_shelf_bytes(tern_shelf *s);

/* Whether a file's name is of this kind. */
bool tern_shelf_is_name(const char *name);

#endif
