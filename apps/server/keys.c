#include "server/keys.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "base/reader.h"

#include <nettle/sha2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* What a key has used; tables that are made anew of a file share it. */
typedef struct use {
    atomic_int refs;
    pthread_mutex_t mu; /* guards what follows */
    uint64_t at_ns;     /* when the buckets were last filled; 0: never */
    double requests, tokens;
    uint32_t running;
} use;

struct key {
    uint8_t digest[KEY_DIGEST];
    uint64_t owner;
    char name[48];
    uint64_t rpm, tpm, parallel; /* 0: no limit */
    int64_t expires;             /* unix seconds; 0: never */
    use *use;                    /* a reference */
};

struct key_table {
    atomic_int refs;
    key *keys; /* owned */
    size_t n;
};

#define MAX_KEYS 10000

/* ---- digests -------------------------------------------------------------------------------- */

static void digest(const char *salt, const char *secret, size_t n, uint8_t out[KEY_DIGEST])
{
    struct sha256_ctx c;
    sha256_init(&c);
    sha256_update(&c, strlen(salt), (const uint8_t *)salt);
    sha256_update(&c, n, (const uint8_t *)secret);
    sha256_digest(&c, KEY_DIGEST, out);
    explicit_bzero(&c, sizeof c);
}

/* Takes the same time wherever they differ. */
static bool same(const uint8_t *a, const uint8_t *b)
{
    unsigned d = 0;
    for (size_t i = 0; i < KEY_DIGEST; i++)
        d |= (unsigned)(a[i] ^ b[i]);
    return d == 0;
}

/* ---- tables --------------------------------------------------------------------------------- */

static void use_unref(use *u)
{
    if (u && atomic_fetch_sub(&u->refs, 1) == 1) {
        (void)pthread_mutex_destroy(&u->mu);
        tern_free(u);
    }
}

void keys_ref(key_table *t)
{
    (void)atomic_fetch_add(&t->refs, 1);
}

void keys_unref(key_table *t)
{
    if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    for (size_t i = 0; i < t->n; i++)
        use_unref(t->keys[i].use);
    tern_free(t->keys);
    tern_free(t);
}

size_t keys_count(const key_table *t)
{
    return t->n;
}

static use *use_new(void)
{
    use *u = tern_calloc(1, sizeof *u);
    if (u) {
        atomic_init(&u->refs, 1);
        (void)pthread_mutex_init(&u->mu, NULL);
    }
    return u;
}

/* That of the same key in another table, or a new one. */
static use *use_find(const key_table *old, const uint8_t *d)
{
    for (size_t i = 0; old && i < old->n; i++)
        if (same(old->keys[i].digest, d)) {
            (void)atomic_fetch_add(&old->keys[i].use->refs, 1);
            return old->keys[i].use;
        }
    return use_new();
}

static tern_code add(key_table *t, const char *secret, size_t n, const key_table *old,
                     const char *name, size_t line, key **out, tern_err *err)
{
    uint8_t owner[KEY_DIGEST];
    if (t->n == MAX_KEYS)
        return tern_fail(err, TERN_E_LIMIT, "%s: more than %d keys", name, MAX_KEYS);
    if (n < 8 || n > 512)
        return tern_fail(err, TERN_E_USAGE, "%s, line %zu: a key has 8 to 512 characters", name,
                         line);
    key *grown =
        tern_realloc_at(t->keys, t->n * sizeof *t->keys, (t->n + 1) * sizeof *t->keys, "key");
    if (!grown)
        return tern_fail(err, TERN_E_NOMEM, "%s: out of memory for keys", name);
    t->keys = grown;
    key *k = &grown[t->n];
    *k = (key){.rpm = 0};
    digest("tern key ", secret, n, k->digest);
    digest("tern owner ", secret, n, owner);
    for (size_t i = 0; i < t->n; i++)
        if (same(t->keys[i].digest, k->digest))
            return tern_fail(err, TERN_E_USAGE, "%s, line %zu: this key stands there twice", name,
                             line);
    k->owner = tern_le64(owner) | 1; /* 0 stands for no key */
    (void)snprintf(k->name, sizeof k->name, "key%zu", t->n + 1);
    k->use = use_find(old, k->digest);
    if (!k->use)
        return tern_fail(err, TERN_E_NOMEM, "%s: out of memory for keys", name);
    t->n++;
    *out = k;
    return TERN_OK;
}

/* ---- the file ------------------------------------------------------------------------------- */

/* Days from 1970-01-01, in the calendar of today. */
static int64_t days(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2;
    int64_t era = y / 400, yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

/* "2027-01-31": valid until that day begins, UTC. */
static bool read_date(const char *s, size_t n, int64_t *out)
{
    uint64_t y, m, d;
    if (n != 10 || s[4] != '-' || s[7] != '-' || !tern_parse_u64(s, 4, &y) ||
        !tern_parse_u64(s + 5, 2, &m) || !tern_parse_u64(s + 8, 2, &d) || y < 1970 || m < 1 ||
        m > 12 || d < 1 || d > 31)
        return false;
    *out = days((int64_t)y, (int64_t)m, (int64_t)d) * 86400;
    return true;
}

static bool read_name(const char *s, size_t n, char *out, size_t cap)
{
    if (n == 0 || n >= cap)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!(s[i] >= 'a' && s[i] <= 'z') && !(s[i] >= 'A' && s[i] <= 'Z') &&
            !(s[i] >= '0' && s[i] <= '9') && !memchr("-_.@", s[i], 4))
            return false;
    memcpy(out, s, n);
    out[n] = '\0';
    return true;
}

static bool read_limit(const char *s, size_t n, uint64_t *out)
{
    return tern_parse_u64(s, n, out) && *out > 0 && *out <= UINT64_C(1000000000000);
}

/* One word behind a key. */
static bool read_word(key *k, const char *s, size_t n)
{
    const char *equal = memchr(s, '=', n);
    size_t n_name = equal ? (size_t)(equal - s) : n, n_value = equal ? n - n_name - 1 : 0;
    const char *v = s + n_name + 1;
    if (!equal)
        return false;
    if (n_name == 4 && memcmp(s, "name", 4) == 0)
        return read_name(v, n_value, k->name, sizeof k->name);
    if (n_name == 3 && memcmp(s, "rpm", 3) == 0)
        return read_limit(v, n_value, &k->rpm);
    if (n_name == 3 && memcmp(s, "tpm", 3) == 0)
        return read_limit(v, n_value, &k->tpm);
    if (n_name == 8 && memcmp(s, "parallel", 8) == 0)
        return read_limit(v, n_value, &k->parallel);
    if (n_name == 7 && memcmp(s, "expires", 7) == 0)
        return read_date(v, n_value, &k->expires);
    return false;
}

static size_t blanks(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n && (s[i] == ' ' || s[i] == '\t' || s[i] == '\r'))
        i++;
    return i;
}

static size_t word(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n && s[i] != ' ' && s[i] != '\t' && s[i] != '\r')
        i++;
    return i;
}

static tern_code read_line(key_table *t, const char *name, size_t line, const char *s, size_t n,
                           const key_table *old, tern_err *err)
{
    key *k = NULL;
    for (size_t at = blanks(s, n); at < n; at += blanks(s + at, n - at)) {
        size_t len = word(s + at, n - at);
        if (!k && s[at] == '#')
            return TERN_OK;
        for (size_t i = at; !k && i < at + len; i++)
            if ((unsigned char)s[i] < 33 || (unsigned char)s[i] > 126)
                return tern_fail(err, TERN_E_USAGE,
                                 "%s, line %zu: a key is made of printable ASCII", name, line);
        if (!k)
            TERN_TRY(add(t, s + at, len, old, name, line, &k, err));
        else if (!read_word(k, s + at, len))
            return tern_fail(err, TERN_E_USAGE,
                             "%s, line %zu: behind the key stand name=NAME, rpm=N, tpm=N, "
                             "parallel=N or expires=YYYY-MM-DD",
                             name, line);
        at += len;
    }
    return TERN_OK;
}

tern_code keys_parse(const char *name, const char *text, size_t n, const char *const *plain,
                     size_t n_plain, key_table *old, key_table **out, tern_err *err)
{
    key_table *t = tern_calloc(1, sizeof *t);
    tern_code rc = TERN_OK;
    key *k;
    *out = NULL;
    if (!t)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for keys");
    atomic_init(&t->refs, 1);
    for (size_t i = 0; rc == TERN_OK && i < n_plain; i++)
        rc = add(t, plain[i], strlen(plain[i]), old, "--api-key", i + 1, &k, err);
    for (size_t at = 0, line = 1; rc == TERN_OK && at < n; line++) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t len = end ? (size_t)(end - text) - at : n - at;
        rc = read_line(t, name, line, text + at, len, old, err);
        at += len + 1;
    }
    if (rc != TERN_OK) {
        keys_unref(t);
        return rc;
    }
    *out = t;
    return TERN_OK;
}

/* ---- requests ------------------------------------------------------------------------------- */

bool keys_find(key_table *t, const char *secret, size_t n, int64_t now_unix, key_ref *out)
{
    uint8_t d[KEY_DIGEST];
    key *found = NULL;
    digest("tern key ", secret, n, d);
    for (size_t i = 0; i < t->n; i++) /* all of them, whichever it is */
        if (same(t->keys[i].digest, d))
            found = &t->keys[i];
    if (!found || (found->expires != 0 && now_unix >= found->expires))
        return false;
    keys_ref(t);
    *out = (key_ref){t, found};
    return true;
}

void key_unref(key_ref *k)
{
    keys_unref(k->table);
    *k = (key_ref){NULL, NULL};
}

const char *key_name(const key_ref *k)
{
    return k->k ? k->k->name : "-";
}

uint64_t key_owner(const key_ref *k)
{
    return k->k ? k->k->owner : 0;
}

static double fill(double level, uint64_t per_minute, double seconds)
{
    double full = (double)per_minute;
    level += full / 60.0 * seconds;
    return level < full ? level : full;
}

/* With u->mu: buckets that run full in a minute. */
static void refill(const key *k, use *u, uint64_t now_ns)
{
    if (u->at_ns == 0) {
        u->requests = (double)k->rpm;
        u->tokens = (double)k->tpm;
    } else if (now_ns > u->at_ns) {
        double seconds = (double)(now_ns - u->at_ns) * 1e-9;
        u->requests = fill(u->requests, k->rpm, seconds);
        u->tokens = fill(u->tokens, k->tpm, seconds);
    }
    u->at_ns = now_ns > u->at_ns ? now_ns : u->at_ns;
}

static unsigned wait_for(double missing, uint64_t per_minute)
{
    double seconds = missing * 60.0 / (double)per_minute;
    return seconds < 3600.0 ? (unsigned)seconds + 1 : 3600;
}

bool key_begin(key_ref *ref, uint64_t now_ns, unsigned *retry_s, const char **which)
{
    key *k = ref->k;
    *which = NULL;
    if (!k)
        return true;
    use *u = k->use;
    pthread_mutex_lock(&u->mu);
    refill(k, u, now_ns);
    if (k->parallel && u->running >= k->parallel) {
        *which = "requests at a time";
        *retry_s = 1;
    } else if (k->rpm && u->requests < 1.0) {
        *which = "requests per minute";
        *retry_s = wait_for(1.0 - u->requests, k->rpm);
    } else if (k->tpm && u->tokens < 1.0) {
        *which = "tokens per minute";
        *retry_s = wait_for(1.0 - u->tokens, k->tpm);
    } else {
        u->running++;
        u->requests -= k->rpm ? 1.0 : 0.0;
    }
    pthread_mutex_unlock(&u->mu);
    return !*which;
}

void key_end(key_ref *ref, uint64_t now_ns, uint64_t n_token)
{
    key *k = ref->k;
    if (!k)
        return;
    pthread_mutex_lock(&k->use->mu);
    refill(k, k->use, now_ns);
    k->use->running -= k->use->running > 0;
    if (k->tpm)
        k->use->tokens -= (double)n_token;
    pthread_mutex_unlock(&k->use->mu);
}
