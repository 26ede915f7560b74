#include "digest.h"
#include "base/alloc.h"

#include <string.h>

#ifdef TERN_NETWORK
#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <nettle/version.h>
#include <stdio.h>

/* Git's names are for small files; large ones are not hashed twice. */
#define GIT_MAX ((uint64_t)64 << 20)

struct store_digest {
    struct sha256_ctx sha256;
    struct sha1_ctx git;
    bool small;
};

#define TEXT2(x) #x
#define TEXT(x)  TEXT2(x)

const char *store_digest_library(void)
{
    return "nettle " TEXT(NETTLE_VERSION_MAJOR) "." TEXT(NETTLE_VERSION_MINOR);
}

store_digest *store_digest_new(uint64_t size)
{
    char head[40];
    store_digest *d = tern_alloc(sizeof *d);
    if (!d)
        return NULL;
    d->small = size <= GIT_MAX;
    sha256_init(&d->sha256);
    sha1_init(&d->git);
    /* git hashes "blob SIZE", a NUL and the bytes. */
    int n = snprintf(head, sizeof head, "blob %llu", (unsigned long long)size);
    sha1_update(&d->git, (size_t)n + 1, (const uint8_t *)head);
    return d;
}

void store_digest_update(store_digest *d, const void *data, size_t n)
{
    sha256_update(&d->sha256, n, data);
    if (d->small)
        sha1_update(&d->git, n, data);
}

static void put_hex(const uint8_t *v, size_t n, char *out)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = hex[v[i] >> 4];
        out[2 * i + 1] = hex[v[i] & 15];
    }
    out[2 * n] = '\0';
}

void store_digest_hex(store_digest *d, char sha256[STORE_SHA256_HEX + 1],
                      char sha1[STORE_SHA1_HEX + 1])
{
    uint8_t v[SHA256_DIGEST_SIZE], git[SHA1_DIGEST_SIZE];
    sha256_digest(&d->sha256, sizeof v, v);
    sha1_digest(&d->git, sizeof git, git);
    put_hex(v, sizeof v, sha256);
    put_hex(git, d->small ? sizeof git : 0, sha1);
}
#else
const char *store_digest_library(void)
{
    return NULL;
}

store_digest *store_digest_new(uint64_t size)
{
    (void)size;
    return NULL;
}

void store_digest_update(store_digest *d, const void *data, size_t n)
{
    (void)d;
    (void)data;
    (void)n;
}

void store_digest_hex(store_digest *d, char sha256[STORE_SHA256_HEX + 1],
                      char sha1[STORE_SHA1_HEX + 1])
{
    (void)d;
    sha256[0] = sha1[0] = '\0';
}
#endif

void store_digest_free(store_digest *d)
{
    tern_free(d);
}
