#include "store.h"
#include "base/alloc.h"
#include "base/error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_ENTRIES 4096
#define MAX_DEPTH   16
#define MAX_NAME    ((size_t)1 << 12)

/* ---- places -------------------------------------------------------------------------------- */

tern_code store_open(store *s, const char *dir, tern_err *err)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    tern_str path;
    tern_str_init(&path, MAX_NAME);
    *s = (store){.root = NULL};
    if (dir && *dir)
        tern_str_puts(&path, dir);
    else if (data && *data == '/')
        tern_str_printf(&path, "%s/tern/models", data);
    else if (home && *home)
        tern_str_printf(&path, "%s/.local/share/tern/models", home);
    else
        return tern_fail(err, TERN_E_USAGE, "no place for models: set HOME, or give --models DIR");
    while (path.len > 1 && path.data[path.len - 1] == '/')
        path.data[--path.len] = '\0';
    s->root = tern_str_take(&path);
    tern_str_done(&path);
    return s->root ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "out of memory for a path");
}

void store_close(store *s)
{
    tern_free(s->root);
    s->root = NULL;
}

void store_path(const store *s, bool partial, const char *folder, const char *tail, tern_str *out)
{
    tern_str_printf(out, "%s%s/%s%s", s->root, partial ? "/" STORE_PARTIAL : "", folder, tail);
}

static tern_code check_path(const tern_str *path, tern_err *err)
{
    return path->failed ? tern_fail(err, TERN_E_NOMEM, "out of memory for a path") : TERN_OK;
}

tern_code store_make_folder(const char *path, tern_err *err)
{
    char *copy = tern_strdup_n(path, strlen(path));
    tern_code rc = TERN_OK;
    if (!copy)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    for (char *p = copy + 1; rc == TERN_OK; p++) {
        bool end = *p == '\0';
        if (!end && *p != '/')
            continue;
        *p = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST)
            rc = tern_fail(err, TERN_E_IO, "%s: cannot make the folder: %s", copy, strerror(errno));
        if (end)
            break;
        *p = '/';
    }
    tern_free(copy);
    return rc;
}

void store_sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
}

/* ---- removing ------------------------------------------------------------------------------ */

static bool is_dots(const char *s)
{
    return strcmp(s, ".") == 0 || strcmp(s, "..") == 0;
}

/* False: errno says why. */
static bool remove_at(int at, const char *name, int depth)
{
    if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
        return true;
    if ((errno != EISDIR && errno != EPERM) || depth == MAX_DEPTH)
        return false;
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        if (fd >= 0)
            (void)close(fd);
        return false;
    }
    bool ok = true;
    const struct dirent *e;
    while (ok && (e = readdir(d)) != NULL)
        ok = is_dots(e->d_name) || remove_at(fd, e->d_name, depth + 1);
    (void)closedir(d);
    return ok && unlinkat(at, name, AT_REMOVEDIR) == 0;
}

tern_code store_remove_tree(const char *path, tern_err *err)
{
    if (remove_at(AT_FDCWD, path, 0))
        return TERN_OK;
    return tern_fail(err, TERN_E_IO, "%s: cannot remove: %s", path, strerror(errno));
}

void store_sweep(const char *folder, const char *prefix)
{
    DIR *d = opendir(folder);
    const struct dirent *e;
    while (d && (e = readdir(d)) != NULL)
        if (strncmp(e->d_name, prefix, strlen(prefix)) == 0)
            (void)unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        (void)closedir(d);
}

/* ---- locks --------------------------------------------------------------------------------- */

/* The holder removes the file when done: one that waited may have locked a file that has no name. */
static bool is_current(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino &&
           a.st_dev == b.st_dev;
}

tern_code store_lock_take(const store *s, const char *folder, bool (*waiting)(void *ctx), void *ctx,
                          store_lock *out, tern_err *err)
{
    tern_str path;
    tern_code rc;
    *out = (store_lock){.fd = -1};
    tern_str_init(&path, MAX_NAME);
    store_path(s, true, "", "", &path);
    rc = check_path(&path, err);
    if (rc == TERN_OK)
        rc = store_make_folder(tern_str_get(&path), err);
    tern_str_clear(&path);
    store_path(s, true, folder, ".lock", &path);
    if (rc == TERN_OK)
        rc = check_path(&path, err);
    while (rc == TERN_OK) {
        int fd = open(tern_str_get(&path), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd < 0) {
            rc = tern_fail(err, TERN_E_IO, "%s: %s", tern_str_get(&path), strerror(errno));
            break;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 && is_current(fd, tern_str_get(&path))) {
            out->fd = fd;
            out->path = tern_str_take(&path);
            if (!out->path)
                rc = tern_fail(err, TERN_E_NOMEM, "out of memory for a path");
            break;
        }
        (void)close(fd);
        if (waiting && !waiting(ctx))
            rc = tern_fail(err, TERN_E_CANCELLED, "interrupted");
        else
            (void)nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    tern_str_done(&path);
    return rc;
}

void store_lock_drop(store_lock *l)
{
    if (l->path)
        (void)unlink(l->path);
    if (l->fd >= 0)
        (void)close(l->fd);
    tern_free(l->path);
    *l = (store_lock){.fd = -1};
}

/* ---- listing ------------------------------------------------------------------------------- */

void store_entry_done(store_entry *e)
{
    tern_free(e->folder);
    store_manifest_done(&e->m);
    *e = (store_entry){.folder = NULL};
}

void store_list_done(store_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        store_entry_done(&l->v[i]);
    tern_free(l->v);
    *l = (store_list){.v = NULL};
}

static tern_code push(store_list *l, const char *folder, size_t n, store_entry **out, tern_err *err)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 16; /* at most 2 * MAX_ENTRIES */
        store_entry *v = tern_realloc(l->v, l->cap * sizeof *v, cap * sizeof *v);
        if (!v)
            return tern_fail(err, TERN_E_NOMEM, "out of memory");
        l->v = v;
        l->cap = cap;
    }
    char *copy = tern_strdup_n(folder, n);
    if (!copy)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    *out = &l->v[l->n++];
    **out = (store_entry){.folder = copy};
    store_manifest_init(&(*out)->m);
    return TERN_OK;
}

/* One name of the store's folder (or of the partial ones), if it is a model. */
static tern_code add_entry(const store *s, store_list *l, const char *name, bool partial,
                           tern_err *err)
{
    tern_err why;
    store_entry *e = NULL;
    tern_str path;
    size_t n = strlen(name);
    if (name[0] == '.' || l->n >= MAX_ENTRIES)
        return TERN_OK;
    if (partial) {
        if (n < 6 || strcmp(name + n - 5, ".json") != 0)
            return TERN_OK;
        n -= 5;
    }
    TERN_TRY(push(l, name, n, &e, err));
    e->partial = partial;
    tern_str_init(&path, MAX_NAME);
    store_path(s, partial, e->folder, partial ? ".json" : "/" STORE_MANIFEST, &path);
    tern_code rc = check_path(&path, &why);
    if (rc == TERN_OK)
        rc = store_manifest_load(tern_str_get(&path), &e->m, &why);
    tern_str_done(&path);
    if (rc == TERN_OK)
        return TERN_OK;
    tern_free(e->folder);
    l->n--;
    if (rc == TERN_E_NOMEM)
        return tern_fail(err, rc, "%s", why.msg);
    l->n_bad += rc != TERN_E_NOT_FOUND; /* a folder that is not ours */
    return TERN_OK;
}

static tern_code read_folder(const store *s, store_list *l, bool partial, tern_err *err)
{
    tern_str path;
    tern_code rc = TERN_OK;
    const struct dirent *e;
    tern_str_init(&path, MAX_NAME);
    store_path(s, partial, "", "", &path);
    rc = check_path(&path, err);
    DIR *d = rc == TERN_OK ? opendir(tern_str_get(&path)) : NULL;
    if (rc == TERN_OK && !d && errno != ENOENT)
        rc = tern_fail(err, TERN_E_IO, "%s: %s", tern_str_get(&path), strerror(errno));
    while (d && rc == TERN_OK && (e = readdir(d)) != NULL)
        rc = add_entry(s, l, e->d_name, partial, err);
    if (d)
        (void)closedir(d);
    tern_str_done(&path);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    const store_entry *x = a, *y = b;
    if (x->partial != y->partial)
        return x->partial ? 1 : -1;
    int order = strcasecmp(x->m.name, y->m.name);
    return order ? order : strcmp(x->folder, y->folder);
}

tern_code store_list_read(const store *s, store_list *out, tern_err *err)
{
    *out = (store_list){.v = NULL};
    tern_code rc = read_folder(s, out, false, err);
    if (rc == TERN_OK)
        rc = read_folder(s, out, true, err);
    if (rc != TERN_OK)
        store_list_done(out);
    else if (out->n > 0)
        qsort(out->v, out->n, sizeof out->v[0], by_name);
    return rc;
}

/* ---- finding ------------------------------------------------------------------------------- */

bool store_entry_is(const store_manifest *m, const store_spec *spec)
{
    if (m->spec.kind != spec->kind)
        return false;
    if (spec->kind == STORE_URL)
        return strcmp(m->spec.url, spec->url) == 0;
    if (strcasecmp(m->spec.repo, spec->repo) != 0 ||
        (strcmp(m->spec.revision, spec->revision) != 0 && strcmp(m->commit, spec->revision) != 0))
        return false;
    if (!spec->select[0] || strcmp(m->spec.select, spec->select) == 0 || m->n_file == 0)
        return true;
    return store_manifest_find(m, spec->select) || store_has_word(m->files[0].name, spec->select);
}

static bool is_called(const store_entry *e, const char *text)
{
    return strcmp(e->m.name, text) == 0 || strcmp(e->folder, text) == 0;
}

tern_code store_find(const store_list *l, const char *text, const char *endpoint, bool partial,
                     const store_entry **out, tern_err *err)
{
    store_spec spec;
    tern_err ignored;
    const store_entry *first = NULL, *second = NULL;
    char shown[80];
    bool parsed = store_spec_parse(text, endpoint, &spec, &ignored) == TERN_OK;
    *out = NULL;
    for (int pass = 0; pass < 2 && !first; pass++)
        for (size_t i = 0; i < l->n; i++) {
            const store_entry *e = &l->v[i];
            bool fits = pass == 0 ? is_called(e, text) : parsed && store_entry_is(&e->m, &spec);
            if (e->partial != partial || !fits)
                continue;
            if (!first)
                first = e;
            else if (!second)
                second = e;
        }
    tern_quote(shown, sizeof shown, text, strlen(text));
    if (second)
        return tern_fail(err, TERN_E_USAGE, "'%s' may be %s or %s: say which", shown, first->folder,
                         second->folder);
    if (!first)
        return tern_fail(err, TERN_E_NOT_FOUND, "'%s' is not in the store", shown);
    *out = first;
    return TERN_OK;
}

void store_entry_path(const store *s, const store_entry *e, tern_str *out)
{
    store_path(s, e->partial, e->folder, "", out);
    if (strcmp(store_manifest_type(&e->m), "gguf") == 0 && e->m.n_file > 0)
        tern_str_printf(out, "/%s", e->m.files[0].name);
}

tern_code store_remove(const store *s, const char *folder, tern_err *err)
{
    store_lock lock;
    tern_str from, to;
    TERN_TRY(store_lock_take(s, folder, NULL, NULL, &lock, err));
    tern_str_init(&from, MAX_NAME);
    tern_str_init(&to, MAX_NAME);
    store_path(s, false, folder, "", &from);
    store_path(s, true, folder, ".gone", &to);
    tern_code rc = check_path(from.failed ? &from : &to, err);
    if (rc == TERN_OK)
        rc = store_remove_tree(tern_str_get(&to), err);
    /* Gone at once, then piece by piece. */
    if (rc == TERN_OK && rename(tern_str_get(&from), tern_str_get(&to)) != 0 && errno != ENOENT)
        rc = tern_fail(err, TERN_E_IO, "%s: cannot remove: %s", tern_str_get(&from),
                       strerror(errno));
    if (rc == TERN_OK)
        rc = store_remove_tree(tern_str_get(&to), err);
    for (int i = 0; rc == TERN_OK && i < 2; i++) {
        tern_str_clear(&to);
        store_path(s, true, folder, i ? "" : ".json", &to);
        rc = store_remove_tree(tern_str_get(&to), err);
    }
    tern_str_done(&from);
    tern_str_done(&to);
    store_lock_drop(&lock);
    return rc;
}
