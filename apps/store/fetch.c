#include "fetch.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "net/retry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Pieces are small enough for several per connection and large enough that a request costs nothing
 * beside them. */
#define MIN_PIECE   ((uint64_t)1 << 20)
#define MAX_PIECE   ((uint64_t)64 << 20)
#define FIRST_PIECE ((uint64_t)8 << 20) /* while the size is not known */
#define HASH_BLOCK  ((size_t)1 << 20)
#define HASH_TURN   16 /* blocks between two looks at the network */
#define SAVE_NS     500000000u
#define MAX_RESTART 2

typedef struct fetcher fetcher;

/* One connection and the piece it works at. */
typedef struct slot {
    fetcher *f;
    net_transfer *t;         /* NULL: idle */
    uint64_t begin, at, end; /* end UINT64_MAX: not known */
    int attempt;             /* how often it failed in a row */
    uint64_t not_before_ns;
    bool direct;
} slot;

struct fetcher {
    store_fetch *o;
    int fd;
    slot slots[STORE_MAX_PARALLEL];
    slot *whole;  /* the server gives whole files only, to this one */
    bool met;     /* a server that gives ranges has answered */
    char *direct; /* owned; where redirects led to, for further pieces */
    bool changed; /* the file is another one now: begin again */
    int n_restart, n_whole;
    bool magic_seen;
    store_digest *digest; /* owned */
    uint64_t hashed;      /* of the file's beginning */
    uint8_t *block;       /* owned; HASH_BLOCK bytes */
    uint64_t save_ns, save_gap_ns;
};

const char *store_size_text(char *buf, size_t cap, uint64_t bytes)
{
    static const char *const units[] = {"kB", "MB", "GB", "TB"};
    double v = (double)bytes / 1e3;
    size_t u = 0;
    if (bytes < 1000)
        (void)snprintf(buf, cap, "%llu bytes", (unsigned long long)bytes);
    while (v >= 999.95 && u + 1 < sizeof units / sizeof units[0]) {
        v /= 1e3;
        u++;
    }
    if (bytes >= 1000)
        (void)snprintf(buf, cap, "%.*f %s", v < 10 ? 2 : 1, v, units[u]);
    return buf;
}

/* ---- the disk ------------------------------------------------------------------------------ */

static tern_code disk_error(const fetcher *f, const char *doing, tern_err *err)
{
    int why = errno;
    uint64_t have = store_spans_bytes(&f->o->file->have), size = f->o->file->size;
    if (why == ENOSPC || why == EDQUOT || why == EFBIG)
        return tern_fail(err, TERN_E_IO, "%s: no room: %llu more bytes are needed (%s)", f->o->path,
                         (unsigned long long)(size > have ? size - have : 0), strerror(why));
    return tern_fail(err, TERN_E_IO, "%s: cannot %s: %s", f->o->path, doing, strerror(why));
}

static tern_code write_at(fetcher *f, uint64_t at, const void *data, size_t n, tern_err *err)
{
    const char *p = data;
    while (n > 0) {
        ssize_t put = pwrite(f->fd, p, n, (off_t)at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return disk_error(f, "write", err);
        p += put;
        at += (uint64_t)put;
        n -= (size_t)put;
    }
    return TERN_OK;
}

static tern_code open_file(fetcher *f, tern_err *err)
{
    struct stat st;
    store_file *file = f->o->file;
    f->fd = open(f->o->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (f->fd < 0 || fstat(f->fd, &st) != 0)
        return disk_error(f, "open", err);
    /* A record that is newer than the file, or of another one. */
    for (size_t i = 0; i < file->have.n; i++)
        if (file->have.v[i].end > (uint64_t)st.st_size)
            file->have.n = 0;
    return TERN_OK;
}

/* Take the room now rather than fail at the end; where that cannot be done it is taken later. */
static tern_code reserve(fetcher *f, tern_err *err)
{
    const store_file *file = f->o->file;
    if (file->size > INT64_MAX)
        return tern_fail(err, TERN_E_FORMAT, "%s: of impossible size", file->name);
#ifdef __linux__
    if (file->size > 0 && fallocate(f->fd, 0, 0, (off_t)file->size) != 0 &&
        (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
        return disk_error(f, "write", err);
#endif
    return TERN_OK;
}

static tern_code save(fetcher *f, tern_err *err)
{
    uint64_t begin = tern_clock_ns();
    if (fdatasync(f->fd) != 0)
        return disk_error(f, "write", err);
    tern_code rc = f->o->save(f->o->ctx, err);
    f->save_ns = tern_clock_ns();
    /* On a slow disk less often. */
    f->save_gap_ns = 10 * (f->save_ns - begin) > SAVE_NS ? 10 * (f->save_ns - begin) : SAVE_NS;
    return rc;
}

/* ---- the hash ------------------------------------------------------------------------------ */

static tern_code reset_hash(fetcher *f, tern_err *err)
{
    store_digest_free(f->digest);
    f->digest = store_digest_new(f->o->file->size);
    f->hashed = 0;
    f->magic_seen = false;
    return f->digest ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "out of memory");
}

/* Hash what has become complete from the beginning on, n_block blocks at most. */
static tern_code hash_more(fetcher *f, int n_block, tern_err *err)
{
    const store_spans *s = &f->o->file->have;
    uint64_t end = s->n > 0 && s->v[0].begin == 0 ? s->v[0].end : 0;
    if (!f->o->file->sized) /* its git name begins with the size */
        return TERN_OK;
    for (; f->hashed < end && n_block > 0; n_block--) {
        size_t n = end - f->hashed < HASH_BLOCK ? (size_t)(end - f->hashed) : HASH_BLOCK;
        ssize_t got = pread(f->fd, f->block, n, (off_t)f->hashed);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got == 0 ? EIO : errno;
            return disk_error(f, "read", err);
        }
        if (f->hashed == 0 && got >= 4 && f->o->gguf && memcmp(f->block, "GGUF", 4) != 0)
            return tern_fail(err, TERN_E_FORMAT, "%s is not a GGUF file", f->o->file->name);
        f->magic_seen = f->magic_seen || got >= 4;
        store_digest_update(f->digest, f->block, (size_t)got);
        f->hashed += (uint64_t)got;
    }
    return TERN_OK;
}

/* ---- answers ------------------------------------------------------------------------------- */

/* Whether the server speaks of the file that we have a part of; remembers its name. */
static bool same_file(fetcher *f, const net_response *r)
{
    char now[sizeof f->o->file->etag];
    store_file *file = f->o->file;
    if (f->o->pinned)
        return true;
    net_validator(r, now, sizeof now);
    if (store_spans_bytes(&file->have) > 0 && strcmp(now, file->etag) != 0)
        return false;
    memcpy(file->etag, now, sizeof now);
    return true;
}

static tern_code changed(fetcher *f, tern_err *err)
{
    f->changed = true;
    return tern_fail(err, TERN_E_NETWORK, "%s changed on the server while it was fetched",
                     f->o->file->name);
}

static tern_code set_size(fetcher *f, uint64_t size, tern_err *err)
{
    store_file *file = f->o->file;
    if (file->sized && file->size != size && !f->o->pinned)
        return changed(f, err);
    if (file->sized && file->size != size)
        return tern_fail(err, TERN_E_NETWORK, "%s: the server has %llu bytes, %llu were announced",
                         file->name, (unsigned long long)size, (unsigned long long)file->size);
    if (file->sized)
        return TERN_OK;
    file->size = size;
    file->sized = true;
    TERN_TRY(reserve(f, err));
    return reset_hash(f, err);
}

/* The whole file comes, whatever was asked for: begin with it at 0. */
static tern_code take_whole(slot *s, const net_response *r, tern_err *err)
{
    fetcher *f = s->f;
    uint64_t n;
    if (++f->n_whole > f->o->n_retry + 1)
        return tern_fail(err, TERN_E_NETWORK,
                         "%s: the server cannot go on where it stopped, and stopped %d times",
                         f->o->file->name, f->n_whole - 1);
    f->o->file->have.n = 0;
    if (!f->o->pinned)
        net_validator(r, f->o->file->etag, sizeof f->o->file->etag);
    f->whole = s;
    s->begin = s->at = 0;
    s->end = UINT64_MAX;
    if (net_content_length(r, &n)) {
        TERN_TRY(set_size(f, n, err));
        s->end = n;
    } else if (f->o->file->sized) {
        s->end = f->o->file->size;
    }
    return reset_hash(f, err);
}

static tern_code on_head(void *ctx, const net_response *r, tern_err *err)
{
    slot *s = ctx;
    fetcher *f = s->f;
    char value[64];
    uint64_t begin, end, total;
    if (r->status != 200 && r->status != 206)
        return TERN_OK; /* looked at in the end */
    if (f->whole && f->whole != s)
        return tern_fail(err, TERN_E_NETWORK, "%s: one answer is enough", f->o->file->name);
    if (net_header(r, "Content-Encoding", value, sizeof value) && strcmp(value, "identity") != 0)
        return tern_fail(err, TERN_E_NETWORK, "%s: the server sends it compressed (%s)",
                         f->o->file->name, value);
    if (!f->o->pinned && net_header(r, "Content-Type", value, sizeof value) &&
        strncmp(value, "text/html", 9) == 0)
        return tern_fail(err, TERN_E_FORMAT, "%s is a web page, not a model file",
                         f->o->file->name);
    if (r->status == 200)
        return take_whole(s, r, err);
    if (!net_content_range(r, &begin, &end, &total) || begin != s->at || end > s->end)
        return tern_fail(err, TERN_E_NETWORK, "%s: the server sends another range than asked for",
                         f->o->file->name);
    if (!same_file(f, r))
        return changed(f, err);
    TERN_TRY(set_size(f, total, err));
    s->end = end;
    f->met = true;
    if (!f->direct && r->url && strcmp(r->url, f->o->url) != 0)
        f->direct = tern_strdup_n(r->url, strlen(r->url));
    return TERN_OK;
}

static tern_code on_body(void *ctx, const void *data, size_t n, tern_err *err)
{
    slot *s = ctx;
    fetcher *f = s->f;
    int status = net_transfer_response(s->t)->status;
    if (status != 200 && status != 206)
        return TERN_OK; /* an error's text */
    if (f->whole && f->whole != s)
        return tern_fail(err, TERN_E_NETWORK, "%s: one answer is enough", f->o->file->name);
    if (n > s->end - s->at)
        return tern_fail(err, TERN_E_NETWORK, "%s: the server sends more than it announced",
                         f->o->file->name);
    TERN_TRY(write_at(f, s->at, data, n, err));
    if (!store_spans_add(&f->o->file->have, s->at, s->at + n))
        return tern_fail(err, TERN_E_INTERNAL, "%s: too many pieces", f->o->file->name);
    s->at += n;
    f->o->n_net += n;
    return TERN_OK;
}

/* ---- pieces -------------------------------------------------------------------------------- */

static uint64_t piece_size(const fetcher *f)
{
    const store_file *file = f->o->file;
    if (!file->sized)
        return FIRST_PIECE;
    uint64_t n = file->size / (8 * (uint64_t)f->o->n_parallel);
    return n < MIN_PIECE ? MIN_PIECE : n > MAX_PIECE ? MAX_PIECE : n;
}

/* The next piece that nobody works at. */
static bool next_piece(const fetcher *f, uint64_t *begin, uint64_t *end)
{
    store_spans taken = f->o->file->have;
    for (int i = 0; i < f->o->n_parallel; i++) {
        const slot *s = &f->slots[i];
        if (s->t && !store_spans_add(&taken, s->at, s->end))
            return false;
    }
    if (!store_spans_gap(&taken, f->o->file->sized ? f->o->file->size : UINT64_MAX, begin, end))
        return false;
    if (*end - *begin > piece_size(f))
        *end = *begin + piece_size(f);
    return true;
}

static tern_code start(fetcher *f, slot *s, uint64_t begin, uint64_t end, tern_err *err)
{
    s->f = f;
    s->begin = s->at = begin;
    s->end = end;
    s->direct = f->direct != NULL;
    net_request r = {.url = s->direct ? f->direct : f->o->url,
                     .bearer = f->o->bearer,
                     .bearer_origin = f->o->bearer_origin,
                     .ranged = true,
                     .begin = begin,
                     .end = end,
                     .max_bytes = f->o->file->sized ? f->o->file->size : INT64_MAX,
                     .max_redirects = 8,
                     .on_head = on_head,
                     .on_body = on_body,
                     .ctx = s};
    return net_start(f->o->client, &r, &s->t, err);
}

/* Give idle connections work. The first answer tells whether there is use for more than one. */
static tern_code start_slots(fetcher *f, tern_err *err)
{
    uint64_t now = tern_clock_ns(), begin, end;
    int n_running = 0;
    for (int i = 0; i < f->o->n_parallel; i++)
        n_running += f->slots[i].t != NULL;
    for (int i = 0; i < f->o->n_parallel; i++) {
        slot *s = &f->slots[i];
        if (s->t || (n_running > 0 && (!f->met || f->whole)))
            continue;
        if (s->not_before_ns > now) {
            if (!f->met || f->whole)
                return TERN_OK; /* its turn, later */
            continue;
        }
        if (!next_piece(f, &begin, &end))
            return TERN_OK;
        TERN_TRY(start(f, s, begin, end, err));
        n_running++;
    }
    return TERN_OK;
}

static void stop_slots(fetcher *f)
{
    for (int i = 0; i < f->o->n_parallel; i++) {
        net_transfer_free(f->slots[i].t);
        f->slots[i].t = NULL;
    }
}

/* ---- ends of transfers --------------------------------------------------------------------- */

static tern_code refused(fetcher *f, int status, tern_err *err)
{
    if (f->o->refused)
        return f->o->refused(f->o->ctx, status, err);
    return tern_fail(err, TERN_E_NETWORK, "%s: the server answered with status %d",
                     f->o->file->name, status);
}

/* Another attempt, or the failure that *why tells of. */
static tern_code again(fetcher *f, slot *s, const net_response *r, tern_code rc,
                       const tern_err *why, tern_err *err)
{
    /* What has come counts, unless it will have to come again. */
    if (s->at > s->begin && !f->whole)
        s->attempt = 0;
    if (++s->attempt > f->o->n_retry) {
        if (rc == TERN_OK)
            return refused(f, r->status, err);
        *err = *why;
        return rc;
    }
    uint64_t wait_ms = net_backoff_ms(s->attempt, r->retry_after_s);
    s->not_before_ns = tern_clock_ns() + wait_ms * 1000000;
    return TERN_OK;
}

static bool is_expired(int status)
{
    return status == 401 || status == 403 || status == 404 || status == 410;
}

static tern_code begin_again(fetcher *f, const tern_err *why, tern_err *err)
{
    store_file *file = f->o->file;
    stop_slots(f);
    if (++f->n_restart > MAX_RESTART) {
        *err = *why;
        return why->code;
    }
    f->changed = false;
    f->whole = NULL;
    file->have.n = 0;
    file->sized = false;
    file->size = 0;
    file->etag[0] = '\0';
    return TERN_OK;
}

static tern_code finished(fetcher *f, slot *s, tern_err *err)
{
    tern_err why = {.code = TERN_OK};
    tern_code rc = net_result(s->t, &why);
    const net_response *r = net_transfer_response(s->t);
    int status = r->status;
    if (f->changed)
        return begin_again(f, &why, err);
    if (rc == TERN_OK && (status == 200 || status == 206)) {
        s->attempt = 0;
        if (s->end == UINT64_MAX)
            rc = set_size(f, s->at, err);
        else if (s->at < s->end)
            rc = again(f, s, r,
                       tern_fail(&why, TERN_E_NETWORK, "%s: the server sent less than it announced",
                                 f->o->file->name),
                       &why, err);
    } else if (rc == TERN_OK && status == 416 && s->begin == 0) {
        rc = set_size(f, 0, err); /* no range of an empty file can be had */
    } else if (rc == TERN_OK && s->direct && is_expired(status)) {
        tern_free(f->direct);
        f->direct = NULL;
        f->met = false;
        rc = again(f, s, r, rc, &why, err);
    } else if (rc == TERN_OK ? net_status_transient(status) : r->transient) {
        rc = again(f, s, r, rc, &why, err);
    } else if (rc == TERN_OK) {
        rc = refused(f, status, err);
    } else if (f->whole && f->whole != s) {
        rc = TERN_OK; /* the other connection has it all */
    } else {
        *err = why;
    }
    net_transfer_free(s->t);
    s->t = NULL;
    if (f->whole == s)
        f->whole = NULL;
    return rc;
}

static slot *slot_of(fetcher *f, const net_transfer *t)
{
    for (int i = 0; i < f->o->n_parallel; i++)
        if (f->slots[i].t == t)
            return &f->slots[i];
    return NULL;
}

static bool complete(const fetcher *f)
{
    uint64_t a, b;
    const store_file *file = f->o->file;
    return file->sized && !store_spans_gap(&file->have, file->size, &a, &b);
}

static tern_code run(fetcher *f, tern_err *err)
{
    net_transfer *done;
    while (!complete(f)) {
        TERN_TRY(start_slots(f, err));
        TERN_TRY(net_wait(f->o->client, 100, &done, err));
        slot *s = done ? slot_of(f, done) : NULL;
        if (s)
            TERN_TRY(finished(f, s, err));
        TERN_TRY(hash_more(f, HASH_TURN, err));
        if (tern_clock_ns() - f->save_ns > f->save_gap_ns)
            TERN_TRY(save(f, err));
        f->o->progress(f->o->ctx);
    }
    return TERN_OK;
}

/* ---- the end ------------------------------------------------------------------------------- */

static void discard(fetcher *f)
{
    (void)unlink(f->o->path);
    f->o->file->have.n = 0;
    f->o->file->done = false;
}

static tern_code check(fetcher *f, tern_err *err)
{
    char sha256[STORE_SHA256_HEX + 1], git[STORE_SHA1_HEX + 1];
    store_file *file = f->o->file;
    net_transfer *done;
    while (f->hashed < file->size) {
        TERN_TRY(hash_more(f, HASH_TURN, err));
        TERN_TRY(net_wait(f->o->client, 0, &done, err)); /* an interrupt ends it */
        f->o->progress(f->o->ctx);
    }
    if (f->o->gguf && !f->magic_seen)
        return tern_fail(err, TERN_E_FORMAT, "%s is not a GGUF file", file->name);
    store_digest_hex(f->digest, sha256, git);
    if (file->sha256[0] && strcmp(file->sha256, sha256) != 0)
        return tern_fail(err, TERN_E_FORMAT,
                         "%s: SHA-256 is %.12s..., %.12s... was announced; the file was removed",
                         file->name, sha256, file->sha256);
    if (!file->sha256[0] && file->git[0] && git[0] && strcmp(file->git, git) != 0)
        return tern_fail(
            err, TERN_E_FORMAT,
            "%s: its git hash is %.12s..., %.12s... was announced; the file was removed",
            file->name, git, file->git);
    memcpy(file->sha256, sha256, sizeof sha256);
    return TERN_OK;
}

tern_code store_fetch_file(store_fetch *o, tern_err *err)
{
    fetcher f = {.o = o, .fd = -1, .save_gap_ns = SAVE_NS, .save_ns = tern_clock_ns()};
    tern_code rc;
    tern_err ignored;
    o->n_parallel = o->n_parallel < 1                    ? 1
                    : o->n_parallel > STORE_MAX_PARALLEL ? STORE_MAX_PARALLEL
                                                         : o->n_parallel;
    f.block = tern_alloc(HASH_BLOCK);
    rc = f.block ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "out of memory");
    if (rc == TERN_OK)
        rc = open_file(&f, err);
    if (rc == TERN_OK && o->file->sized)
        rc = reserve(&f, err);
    if (rc == TERN_OK)
        rc = reset_hash(&f, err);
    if (rc == TERN_OK)
        rc = run(&f, err);
    stop_slots(&f);
    if (rc == TERN_OK)
        rc = check(&f, err);
    if (rc == TERN_OK && (ftruncate(f.fd, (off_t)o->file->size) != 0 || fsync(f.fd) != 0))
        rc = disk_error(&f, "write", err);
    if (rc == TERN_OK)
        o->file->done = true;
    else if (rc == TERN_E_FORMAT)
        discard(&f);
    /* What is there now need not be fetched again, however this ends. */
    if (f.fd >= 0) {
        tern_code kept = save(&f, rc == TERN_OK ? err : &ignored);
        rc = rc == TERN_OK ? kept : rc;
        (void)close(f.fd);
    }
    store_digest_free(f.digest);
    tern_free(f.block);
    tern_free(f.direct);
    return rc;
}
