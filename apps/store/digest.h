/* SHA-256, and the names git gives to small files, on nettle. */
#ifndef STORE_DIGEST_H
#define STORE_DIGEST_H

#include "tern.h"

#define STORE_SHA256_HEX 64
#define STORE_SHA1_HEX   40

typedef struct store_digest store_digest;

/* "nettle 3.8"; NULL: built without. */
const char *store_digest_library(void);

/* NULL: out of memory, or built without network. size: of the whole, part of git's name. */
store_digest *store_digest_new(uint64_t size);
void store_digest_free(store_digest *d);
void store_digest_update(store_digest *d, const void *data, size_t n);
/* Once, at the end: lower-case hexadecimal. sha1 is that of a git blob, empty for a large file. */
void store_digest_hex(store_digest *d, char sha256[STORE_SHA256_HEX + 1],
                      char sha1[STORE_SHA1_HEX + 1]);

#endif
