/* API keys: who may ask, and how much. Kept as SHA-256 digests, compared in constant time. */
#ifndef SERVER_KEYS_H
#define SERVER_KEYS_H

#include "base/str.h"

#define KEY_DIGEST 32

typedef struct key_table key_table; /* immutable but for what keys have used; counts references */
typedef struct key key;

/* One key of one table; zeros: none. */
typedef struct key_ref {
    key_table *table; /* a reference */
    key *k;
} key_ref;

/* A file's text: a key a line, then if wanted name=NAME rpm=N tpm=N parallel=N expires=YYYY-MM-DD; empty lines
 * and what follows a # at a line's begin mean nothing. Of old (may be NULL) what keys have used goes on
 * counting. Codes: TERN_E_USAGE (names the line, never the key), TERN_E_NOMEM. */
TERN_CHECK tern_code keys_parse(const char *name, const char *text, size_t n,
                                const char *const *plain, size_t n_plain, key_table *old,
                                key_table **out, tern_err *err);
void keys_ref(key_table *t);
void keys_unref(key_table *t);
size_t keys_count(const key_table *t);

/* The key with these bytes, with a reference to the table; false: none, or it has expired (now_unix). */
bool keys_find(key_table *t, const char *secret, size_t n, int64_t now_unix, key_ref *out);
void key_unref(key_ref *k);
const char *key_name(const key_ref *k); /* "key1" when the file gives none; "-" without a key */
uint64_t key_owner(const key_ref *k);

/* Begin a request at now_ns; false: beyond a limit, *retry_s says when to come again. Each one that began
 * is ended, with the tokens it took. */
bool key_begin(key_ref *k, uint64_t now_ns, unsigned *retry_s, const char **which);
void key_end(key_ref *k, uint64_t now_ns, uint64_t n_token);

#endif
