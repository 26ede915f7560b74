#include "download.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/os/outfile.h"
#include "choose.h"
#include "fetch.h"
#include "hub.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define MAX_NAME ((size_t)1 << 13)

/* Beside the files: the manifest and the file system's own. */
#define SPARE_BYTES ((uint64_t)1 << 20)

typedef struct pull {
    store_pull *p;
    store_hub hub;
    net_client *client;
    store_manifest m; /* what is fetched, and how much of it is there */
    char *folder;     /* owned */
    tern_str dir, state;
    store_lock lock;
    uint64_t begun;
    const char *file; /* of the moment */
    bool waited;
} pull;

/* ---- names --------------------------------------------------------------------------------- */

/* "file" of "a/b/file-00001-of-00002.gguf" or of an address */
static void put_stem(const char *name, tern_str *out)
{
    unsigned i, n;
    size_t len = strcspn(name, "?#");
    const char *slash = memrchr(name, '/', len);
    const char *s = slash ? slash + 1 : name;
    size_t n_s = len - (size_t)(s - name), shard = store_shard(s, &i, &n);
    if (shard)
        n_s = shard;
    else if (n_s > 5 && strncasecmp(s + n_s - 5, ".gguf", 5) == 0)
        n_s -= 5;
    tern_str_put(out, s, n_s);
}

/* One folder for each set of files: two quantisations of a repository are two models. */
static tern_code name_folder(pull *q, tern_err *err)
{
    const store_spec *s = &q->m.spec;
    tern_str text, name;
    tern_str_init(&text, MAX_NAME);
    tern_str_init(&name, MAX_NAME);
    if (s->kind == STORE_URL) {
        put_stem(s->url, &text);
        tern_str_printf(&text, "-%016llx",
                        (unsigned long long)tern_hash64(s->url, strlen(s->url), 0));
    } else {
        size_t owner = strcspn(s->repo, "/");
        tern_str_printf(&text, "%.*s--%s", (int)owner, s->repo, s->repo + owner + 1);
        if (strcmp(s->revision, "main") != 0)
            tern_str_printf(&text, "@%s", s->revision);
        if (strcmp(store_manifest_type(&q->m), "gguf") == 0) {
            tern_str_puts(&text, "--");
            put_stem(q->m.files[0].name, &text);
        }
    }
    store_folder_name(tern_str_get(&text), &name);
    q->folder = text.failed ? NULL : tern_str_take(&name);
    tern_str_done(&text);
    tern_str_done(&name);
    if (!q->folder)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    store_path(q->p->store, true, q->folder, "", &q->dir);
    store_path(q->p->store, true, q->folder, ".json", &q->state);
    if (q->dir.failed || q->state.failed)
        return tern_fail(err, TERN_E_USAGE, "the models' folder: name too long");
    return TERN_OK;
}

/* A short name when there is one for this, else the spec. */
static tern_code name_model(pull *q, tern_err *err)
{
    tern_str text;
    const store_known *k;
    store_spec spec;
    tern_err ignored;
    tern_str_init(&text, MAX_NAME);
    if (q->m.spec.kind == STORE_URL)
        put_stem(q->m.spec.url, &text);
    else
        store_spec_text(&q->m.spec, &text);
    for (size_t i = 0; (k = store_known_get(i)) != NULL; i++)
        if (store_spec_parse(k->name, "", &spec, &ignored) == TERN_OK &&
            (spec.select[0] != '\0') == (strcmp(store_manifest_type(&q->m), "gguf") == 0) &&
            store_entry_is(&q->m, &spec)) {
            tern_str_clear(&text);
            tern_str_puts(&text, k->name);
            break;
        }
    if (text.len == 0)
        tern_str_puts(&text, "model");
    tern_code rc = text.failed ? tern_fail(err, TERN_E_NOMEM, "out of memory")
                               : store_manifest_set_name(&q->m, tern_str_get(&text), err);
    tern_str_done(&text);
    return rc;
}

/* ---- what there is ------------------------------------------------------------------------- */

static bool same_bytes(const store_file *a, const store_file *b)
{
    if (!a->sized || !b->sized || a->size != b->size)
        return false;
    if (a->sha256[0] && b->sha256[0])
        return strcmp(a->sha256, b->sha256) == 0;
    if (a->git[0] && b->git[0])
        return strcmp(a->git, b->git) == 0;
    return false;
}

/* Whether nothing changed since the model in the store was fetched. */
static bool is_current(const store_manifest *old, const store_manifest *now)
{
    if (old->n_file != now->n_file)
        return false;
    bool same_commit = now->commit[0] && strcmp(old->commit, now->commit) == 0;
    for (size_t i = 0; i < now->n_file; i++) {
        const store_file *f = store_manifest_find(old, now->files[i].name);
        if (!f || !(same_commit || same_bytes(f, &now->files[i])))
            return false;
    }
    return true;
}

/* The files of the model in the store have the sizes they should have. */
static bool is_whole(const store *s, const store_entry *e)
{
    tern_str path;
    struct stat st;
    bool ok = true;
    tern_str_init(&path, MAX_NAME);
    for (size_t i = 0; i < e->m.n_file && ok; i++) {
        const store_file *f = &e->m.files[i];
        tern_str_clear(&path);
        store_path(s, false, e->folder, "/", &path);
        tern_str_puts(&path, f->name);
        ok = !path.failed && stat(tern_str_get(&path), &st) == 0 && S_ISREG(st.st_mode) &&
             (uint64_t)st.st_size == f->size;
    }
    tern_str_done(&path);
    return ok;
}

/* The entry of one folder; false: there is none. */
static bool load_entry(const store *s, const char *folder, store_entry *out)
{
    tern_str path;
    tern_err ignored;
    tern_str_init(&path, MAX_NAME);
    store_path(s, false, folder, "/" STORE_MANIFEST, &path);
    *out = (store_entry){.folder = NULL};
    bool ok = store_manifest_load(tern_str_get(&path), &out->m, &ignored) == TERN_OK;
    tern_str_done(&path);
    if (ok)
        out->folder = tern_strdup_n(folder, strlen(folder));
    return ok && out->folder;
}

/* What is in the store under this spec, without asking anyone. */
static tern_code find_here(store_pull *p, const char *endpoint, bool *found, tern_err *err)
{
    store_list list;
    const store_entry *e;
    *found = false;
    TERN_TRY(store_list_read(p->store, &list, err));
    tern_code rc = store_find(&list, p->spec, endpoint, false, &e, err);
    if (rc == TERN_OK && is_whole(p->store, e))
        *found = load_entry(p->store, e->folder, &p->entry);
    store_list_done(&list);
    return rc == TERN_E_NOT_FOUND ? TERN_OK : rc;
}

/* ---- taking up an unfinished one ----------------------------------------------------------- */

/* What an earlier attempt left of a file, if it was of the same bytes. */
static void take_up(store_file *f, const store_file *old, bool same_commit)
{
    bool same_hash = f->sha256[0] && strcmp(f->sha256, old->sha256) == 0, same;
    if (f->sha256[0] && old->sha256[0] && !same_hash)
        return;
    if (!f->sized) /* an address: its ETag will be compared, or the hash at the end */
        same = old->sized && (old->etag[0] || same_hash);
    else if (f->sha256[0] || f->git[0])
        same = same_bytes(f, old);
    else
        same = same_commit && old->sized && f->size == old->size;
    if (!same)
        return;
    f->size = old->size;
    f->sized = old->sized;
    f->have = old->have;
    f->done = old->done;
    memcpy(f->etag, old->etag, sizeof f->etag);
    if (f->done)
        memcpy(f->sha256, old->sha256, sizeof f->sha256);
}

static void file_path(const pull *q, const store_file *f, tern_str *out)
{
    tern_str_clear(out);
    tern_str_printf(out, "%s/%s", tern_str_get(&q->dir), f->name);
}

static void load_state(pull *q)
{
    store_manifest old;
    tern_err ignored;
    tern_str path;
    struct stat st;
    if (store_manifest_load(tern_str_get(&q->state), &old, &ignored) != TERN_OK)
        return;
    bool same_commit = q->m.commit[0] && strcmp(old.commit, q->m.commit) == 0;
    tern_str_init(&path, MAX_NAME);
    for (size_t i = 0; i < q->m.n_file; i++) {
        store_file *f = &q->m.files[i];
        const store_file *was = store_manifest_find(&old, f->name);
        if (was)
            take_up(f, was, same_commit);
        file_path(q, f, &path);
        bool there = lstat(tern_str_get(&path), &st) == 0 && S_ISREG(st.st_mode);
        if (f->done && !(there && (uint64_t)st.st_size == f->size))
            f->done = false;
        if (!there)
            f->have.n = 0;
    }
    tern_str_done(&path);
    store_manifest_done(&old);
}

/* Files that the model in the store has already: another name for the same bytes. */
static void take_from_store(pull *q, const store_entry *old)
{
    tern_str from, to;
    tern_str_init(&from, MAX_NAME);
    tern_str_init(&to, MAX_NAME);
    for (size_t i = 0; i < q->m.n_file; i++) {
        store_file *f = &q->m.files[i];
        const store_file *was = store_manifest_find(&old->m, f->name);
        if (f->done || f->have.n > 0 || !was || !same_bytes(f, was))
            continue;
        tern_str_clear(&from);
        store_path(q->p->store, false, old->folder, "/", &from);
        tern_str_puts(&from, was->name);
        file_path(q, f, &to);
        (void)unlink(tern_str_get(&to));
        if (link(tern_str_get(&from), tern_str_get(&to)) == 0) {
            f->done = true;
            memcpy(f->sha256, was->sha256, sizeof f->sha256);
        }
    }
    tern_str_done(&from);
    tern_str_done(&to);
}

static tern_code make_folders(const pull *q, tern_err *err)
{
    tern_str path;
    tern_code rc = store_make_folder(tern_str_get(&q->dir), err);
    tern_str_init(&path, MAX_NAME);
    for (size_t i = 0; i < q->m.n_file && rc == TERN_OK; i++) {
        if (!strchr(q->m.files[i].name, '/'))
            continue;
        file_path(q, &q->m.files[i], &path);
        *strrchr(path.data, '/') = '\0';
        rc = store_make_folder(path.data, err);
    }
    tern_str_done(&path);
    return rc;
}

/* Bytes that the disk must still take; what is reserved for a file already is not asked for again. */
static uint64_t room_needed(const pull *q)
{
    uint64_t need = 0;
    tern_str path;
    struct stat st;
    tern_str_init(&path, MAX_NAME);
    for (size_t i = 0; i < q->m.n_file; i++) {
        const store_file *f = &q->m.files[i];
        uint64_t has = f->done ? f->size : 0;
        file_path(q, f, &path);
        if (!f->done && stat(tern_str_get(&path), &st) == 0)
            has = (uint64_t)st.st_blocks * 512;
        if (__builtin_add_overflow(need, f->size > has ? f->size - has : 0, &need))
            need = UINT64_MAX;
    }
    tern_str_done(&path);
    return need;
}

static tern_code check_room(const pull *q, tern_err *err)
{
    struct statvfs v;
    char a[32], b[32];
    uint64_t need = room_needed(q), room;
    if (statvfs(tern_str_get(&q->dir), &v) != 0 ||
        __builtin_mul_overflow((uint64_t)v.f_bavail, (uint64_t)v.f_frsize, &room))
        return TERN_OK;
    if (need == 0 || (need <= room && room - need >= SPARE_BYTES))
        return TERN_OK;
    return tern_fail(err, TERN_E_IO,
                     "%s: no room: %llu bytes are needed (%s), %s are free; --models DIR names "
                     "another place",
                     q->p->store->root, (unsigned long long)need,
                     store_size_text(a, sizeof a, need), store_size_text(b, sizeof b, room));
}

/* ---- fetching ------------------------------------------------------------------------------ */

static tern_code save_state(void *ctx, tern_err *err)
{
    const pull *q = ctx; /* lost with the power, it only costs time */
    return store_manifest_save(&q->m, tern_str_get(&q->state), TERN_OUTFILE_PASSING, err);
}

static void show(void *ctx)
{
    const pull *q = ctx;
    uint64_t total = store_manifest_bytes(&q->m);
    store_progress p = {.file = q->file,
                        .done = total - store_manifest_missing(&q->m),
                        .total = total,
                        .begun = q->begun};
    if (q->p->progress)
        q->p->progress(q->p->ctx, &p);
}

static tern_code explain(void *ctx, int status, tern_err *err)
{
    const pull *q = ctx;
    char shown[120];
    if (q->m.spec.kind == STORE_HUB)
        return store_hub_refused(&q->hub, &q->m, status, q->file, err);
    return tern_fail(err, TERN_E_NETWORK, "%s: the server answered with status %d",
                     net_shown(shown, sizeof shown, q->m.spec.url), status);
}

static tern_code fetch_one(pull *q, store_file *f, tern_err *err)
{
    tern_str url, path;
    tern_str_init(&url, MAX_NAME);
    tern_str_init(&path, MAX_NAME);
    file_path(q, f, &path);
    if (q->m.spec.kind == STORE_HUB)
        store_hub_file_url(&q->hub, &q->m, f->name, &url);
    else
        tern_str_puts(&url, q->m.spec.url);
    q->file = f->name;
    store_fetch o = {.client = q->client,
                     .url = tern_str_get(&url),
                     .bearer = q->hub.token,
                     .bearer_origin = q->hub.origin,
                     .pinned = q->m.spec.kind == STORE_HUB,
                     .path = tern_str_get(&path),
                     .file = f,
                     .gguf = strcmp(store_manifest_type(&q->m), "gguf") == 0,
                     .n_parallel = q->p->n_parallel,
                     .n_retry = q->p->n_retry,
                     .save = save_state,
                     .progress = show,
                     .refused = explain,
                     .ctx = q};
    tern_code rc = url.failed || path.failed
                       ? tern_fail(err, TERN_E_USAGE, "%s: name too long", f->name)
                       : store_fetch_file(&o, err);
    q->p->n_net += o.n_net;
    tern_str_done(&url);
    tern_str_done(&path);
    return rc;
}

static tern_code fetch_all(pull *q, tern_err *err)
{
    q->begun = store_manifest_bytes(&q->m) - store_manifest_missing(&q->m);
    for (size_t i = 0; i < q->m.n_file; i++)
        if (!q->m.files[i].done)
            TERN_TRY(fetch_one(q, &q->m.files[i], err));
    return TERN_OK;
}

/* ---- the end ------------------------------------------------------------------------------- */

/* The new folder takes the name; the old one, if there is one, goes. */
static tern_code put_in_place(pull *q, tern_err *err)
{
    tern_str to, old;
    tern_code rc = TERN_OK;
    const char *dir = tern_str_get(&q->dir);
    tern_str_init(&to, MAX_NAME);
    tern_str_init(&old, MAX_NAME);
    store_path(q->p->store, false, q->folder, "", &to);
    store_path(q->p->store, true, q->folder, ".gone", &old);
    bool done = rename(dir, tern_str_get(&to)) == 0;
#ifdef RENAME_EXCHANGE
    /* At no moment is there none. */
    if (!done && renameat2(AT_FDCWD, dir, AT_FDCWD, tern_str_get(&to), RENAME_EXCHANGE) == 0) {
        done = true;
        rc = store_remove_tree(dir, err);
    }
#endif
    if (!done) {
        rc = store_remove_tree(tern_str_get(&old), err);
        if (rc == TERN_OK && (rename(tern_str_get(&to), tern_str_get(&old)) != 0 ||
                              rename(dir, tern_str_get(&to)) != 0))
            rc = tern_fail(err, TERN_E_IO, "%s: %s", tern_str_get(&to), strerror(errno));
        if (rc == TERN_OK)
            rc = store_remove_tree(tern_str_get(&old), err);
    }
    store_sync_folder(q->p->store->root);
    tern_str_done(&to);
    tern_str_done(&old);
    return rc;
}

static tern_code finish(pull *q, tern_err *err)
{
    tern_str path;
    time_t now = time(NULL);
    struct tm tm;
    for (size_t i = 0; i < q->m.n_file; i++) {
        q->m.files[i].have.n = 0;
        q->m.files[i].done = false;
    }
    if (gmtime_r(&now, &tm))
        (void)strftime(q->m.pulled, sizeof q->m.pulled, "%Y-%m-%dT%H:%M:%SZ", &tm);
    tern_str_init(&path, MAX_NAME);
    for (size_t i = 0; i < q->m.n_file; i++) {
        file_path(q, &q->m.files[i], &path);
        char *slash = path.failed ? NULL : strrchr(path.data, '/');
        if (slash && strchr(q->m.files[i].name, '/')) {
            *slash = '\0';
            store_sync_folder(path.data);
        }
    }
    tern_str_clear(&path);
    store_sweep(tern_str_get(&q->dir), STORE_MANIFEST);
    tern_str_printf(&path, "%s/" STORE_MANIFEST, tern_str_get(&q->dir));
    tern_code rc = store_manifest_save(&q->m, tern_str_get(&path), 0, err);
    if (rc == TERN_OK)
        rc = put_in_place(q, err);
    if (rc == TERN_OK)
        (void)unlink(tern_str_get(&q->state));
    tern_str_done(&path);
    return rc;
}

/* ---- all together -------------------------------------------------------------------------- */

/* An address has one file, called as it calls it. */
static tern_code list_address(pull *q, tern_err *err)
{
    store_file *f;
    tern_str stem, name;
    tern_str_init(&stem, MAX_NAME);
    tern_str_init(&name, MAX_NAME);
    put_stem(q->m.spec.url, &stem);
    store_folder_name(stem.len ? tern_str_get(&stem) : "model", &name);
    tern_str_puts(&name, ".gguf");
    tern_code rc = store_manifest_add(&q->m, tern_str_get(&name), name.len, &f, err);
    tern_str_done(&stem);
    tern_str_done(&name);
    return rc;
}

static tern_code list_files(pull *q, tern_err *err)
{
    if (q->m.spec.kind == STORE_URL)
        return list_address(q, err);
    TERN_TRY(store_hub_list(&q->hub, q->client, q->p->n_retry, &q->m, err));
    TERN_TRY(store_choose(&q->m, &q->p->choices, err));
    for (size_t i = 0; i < q->m.n_file; i++) {
        store_file *f = &q->m.files[i];
        if (!f->sized || !(f->sha256[0] || f->git[0]))
            TERN_TRY(store_hub_ask(&q->hub, q->client, q->p->n_retry, &q->m, f, err));
    }
    if (store_manifest_bytes(&q->m) > INT64_MAX)
        return tern_fail(err, TERN_E_FORMAT, "%s: files of impossible size", q->m.spec.repo);
    return TERN_OK;
}

static tern_code expect(pull *q, tern_err *err)
{
    const char *want = q->p->sha256;
    if (!want)
        return TERN_OK;
    store_file *f = &q->m.files[0];
    if (q->m.n_file != 1 || strlen(want) != STORE_SHA256_HEX)
        return tern_fail(err, TERN_E_USAGE,
                         "--sha256 needs 64 hexadecimal digits, and a model of one file");
    char lower[STORE_SHA256_HEX + 1];
    for (size_t i = 0; i <= STORE_SHA256_HEX; i++)
        lower[i] = (char)(want[i] >= 'A' && want[i] <= 'F' ? want[i] - 'A' + 'a' : want[i]);
    if (strspn(lower, "0123456789abcdef") != STORE_SHA256_HEX)
        return tern_fail(err, TERN_E_USAGE, "--sha256 needs 64 hexadecimal digits");
    if (f->sha256[0] && strcmp(f->sha256, lower) != 0)
        return tern_fail(err, TERN_E_FORMAT, "%s: the hub announces SHA-256 %.12s..., not %.12s...",
                         f->name, f->sha256, lower);
    memcpy(f->sha256, lower, sizeof lower);
    return TERN_OK;
}

static bool waiting(void *ctx)
{
    pull *q = ctx;
    if (!q->waited && q->p->note)
        q->p->note(q->p->ctx, "another tern is fetching this; waiting for it");
    q->waited = true;
    return !(q->p->cancelled && q->p->cancelled(q->p->ctx));
}

/* Whether an address still gives what it gave. A server that will not say is fetched from again. */
static tern_code is_same_address(pull *q, const store_manifest *old, bool *same, tern_err *err)
{
    char now[sizeof old->files[0].etag];
    const store_file *f = &old->files[0];
    net_transfer *t = NULL;
    uint64_t n;
    net_request r = {.url = q->m.spec.url,
                     .method = "HEAD",
                     .bearer = q->hub.token,
                     .bearer_origin = q->hub.origin,
                     .max_redirects = 8,
                     .total_s = 60};
    *same = q->m.files[0].sha256[0] && strcmp(q->m.files[0].sha256, f->sha256) == 0;
    if (*same || !f->etag[0] || q->m.files[0].sha256[0])
        return TERN_OK;
    tern_code rc = net_perform(q->client, &r, &t, err);
    if (rc == TERN_OK) {
        const net_response *a = net_transfer_response(t);
        net_validator(a, now, sizeof now);
        *same = a->status == 200 && strcmp(now, f->etag) == 0 && net_content_length(a, &n) &&
                n == f->size;
    }
    net_transfer_free(t);
    return rc == TERN_E_CANCELLED ? rc : TERN_OK;
}

static void drop_partial(pull *q)
{
    tern_err ignored;
    (void)unlink(tern_str_get(&q->state));
    if (store_remove_tree(tern_str_get(&q->dir), &ignored) != TERN_OK && q->p->note)
        q->p->note(q->p->ctx, ignored.msg);
}

/* With the lock held: fetch what is missing, unless another one did meanwhile. */
static tern_code bring_up_to_date(pull *q, tern_err *err)
{
    store_entry old;
    bool there = load_entry(q->p->store, q->folder, &old), fetched = false;
    tern_code rc = TERN_OK;
    tern_str temps;
    tern_str_init(&temps, MAX_NAME);
    tern_str_printf(&temps, "%s.json.", q->folder);
    char *partial = tern_strdup_n(tern_str_get(&q->dir), strlen(tern_str_get(&q->dir)));
    if (partial) {
        *strrchr(partial, '/') = '\0';
        store_sweep(partial, tern_str_get(&temps));
    }
    tern_free(partial);
    tern_str_done(&temps);
    bool current = there && is_whole(q->p->store, &old);
    if (current && q->m.spec.kind == STORE_URL)
        TERN_TRY_GOTO(is_same_address(q, &old.m, &current, err));
    else if (current)
        current = is_current(&old.m, &q->m);
    if (current) {
        q->p->up_to_date = true;
        drop_partial(q);
        goto fail;
    }
    TERN_TRY_GOTO(make_folders(q, err));
    load_state(q);
    if (there)
        take_from_store(q, &old);
    TERN_TRY_GOTO(check_room(q, err));
    TERN_TRY_GOTO(save_state(q, err));
    TERN_TRY_GOTO(fetch_all(q, err));
    fetched = true;
    TERN_TRY_GOTO(finish(q, err));
fail:
    /* An attempt that brought nothing leaves nothing. */
    if (rc != TERN_OK && !fetched && store_manifest_missing(&q->m) == store_manifest_bytes(&q->m))
        drop_partial(q);
    store_entry_done(&old);
    return rc;
}

static tern_code run(pull *q, tern_err *err)
{
    bool withheld, found;
    store_pull *p = q->p;
    char endpoint[300];
    store_hub_endpoint(endpoint, sizeof endpoint);
    TERN_TRY(store_spec_parse(p->spec, endpoint, &q->m.spec, err));
    if (p->offline) {
        TERN_TRY(find_here(p, endpoint, &found, err));
        p->up_to_date = true;
        return found ? TERN_OK
                     : tern_fail(err, TERN_E_NOT_FOUND,
                                 "%s is not in the store, and --offline forbids to fetch it",
                                 p->spec);
    }
    if (q->m.spec.kind == STORE_HUB && strlen(q->m.spec.revision) == 40 &&
        strspn(q->m.spec.revision, "0123456789abcdef") == 40) {
        /* A commit never changes: if it is here there is nothing to ask. */
        TERN_TRY(find_here(p, endpoint, &found, err));
        p->up_to_date = found;
        if (found)
            return TERN_OK;
    }
    TERN_TRY(store_hub_init(&q->hub, &withheld, err));
    if (withheld && q->m.spec.kind == STORE_HUB && p->note)
        p->note(p->ctx, "HF_TOKEN is not sent: HF_ENDPOINT is not https");
    TERN_TRY(net_client_new(&q->client, p->cancelled, p->ctx, err));
    TERN_TRY(list_files(q, err));
    TERN_TRY(expect(q, err));
    TERN_TRY(name_folder(q, err));
    TERN_TRY(name_model(q, err));
    TERN_TRY(store_lock_take(p->store, q->folder, waiting, q, &q->lock, err));
    TERN_TRY(bring_up_to_date(q, err));
    if (!load_entry(p->store, q->folder, &p->entry))
        return tern_fail(err, TERN_E_IO, "%s: the record of the model cannot be read", q->folder);
    return TERN_OK;
}

tern_code store_pull_run(store_pull *p, tern_err *err)
{
    pull q = {.p = p, .lock = {.fd = -1}};
    tern_str_init(&q.dir, MAX_NAME);
    tern_str_init(&q.state, MAX_NAME);
    tern_str_init(&p->choices, (size_t)1 << 20);
    p->entry = (store_entry){.folder = NULL};
    store_manifest_init(&q.m);
    tern_code rc = run(&q, err);
    store_lock_drop(&q.lock);
    net_client_free(q.client);
    store_hub_done(&q.hub);
    store_manifest_done(&q.m);
    tern_free(q.folder);
    tern_str_done(&q.dir);
    tern_str_done(&q.state);
    return rc;
}

void store_pull_done(store_pull *p)
{
    store_entry_done(&p->entry);
    tern_str_done(&p->choices);
}
