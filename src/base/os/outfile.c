#include "base/os/outfile.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMP_TAIL   ".tern-XXXXXX"
#define TEMP_N      12 /* letters of it */
#define MAX_ENTRY   1000000
#define MAX_ATTEMPT 16

static tern_code fail(tern_outfile *o, tern_err *err)
{
    int why = errno;
    tern_code rc = tern_fail(err, TERN_E_IO, "%s: cannot write: %s", o->path, strerror(why));
    tern_outfile_abort(o);
    return rc;
}

/* A link keeps pointing at its file: what it names is replaced, not the link. */
static char *resolve(const char *path)
{
    char *real = realpath(path, NULL);
    const char *s = real ? real : path;
    char *copy = tern_strdup_n(s, strlen(s));
    free(real);
    return copy;
}

static tern_code open_in_place(tern_outfile *o, tern_err *err)
{
    o->f = fopen(o->path, "wbe");
    return o->f ? TERN_OK : fail(o, err);
}

/* ---- what killed programs left ------------------------------------------------------------- */

/* Unless it is not ours, or somebody holds its lock. */
static void remove_stale(int folder, const char *name)
{
    struct stat st;
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool stale = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
                 flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (stale) /* with the lock held: see open_locked */
        (void)unlinkat(folder, name, 0);
    if (fd >= 0)
        (void)close(fd);
}

static void sweep(const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    char folder[PATH_MAX] = ".";
    size_t n = slash ? (size_t)(slash - path) + 1 : 0;
    if (n >= sizeof folder)
        return;
    if (n) {
        memcpy(folder, path, n);
        folder[n] = '\0';
    }
    DIR *d = opendir(folder);
    const struct dirent *e;
    n = strlen(base);
    for (int i = 0; d && i < MAX_ENTRY && (e = readdir(d)) != NULL; i++)
        if (strncmp(e->d_name, base, n) == 0 && strlen(e->d_name) == n + TEMP_N &&
            tern_outfile_is_temp(e->d_name))
            remove_stale(dirfd(d), e->d_name);
    if (d)
        (void)closedir(d);
}

/* ---- opening ------------------------------------------------------------------------------- */

/* A new file of ours with its lock. Between its making and the lock another program may have swept it
 * away; then it has no name any more. Where a file system has no locks nothing is swept either. */
static int open_locked(tern_outfile *o)
{
    struct stat st;
    size_t n = strlen(o->temp);
    for (int i = 0; i < MAX_ATTEMPT; i++) {
        memcpy(o->temp + n - 6, "XXXXXX", 6);
        int fd = mkostemp(o->temp, O_CLOEXEC);
        if (fd < 0)
            return fd;
        (void)flock(fd, LOCK_EX);
        if (fstat(fd, &st) == 0 && st.st_nlink > 0)
            return fd;
        (void)close(fd);
        errno = EBUSY;
    }
    return -1;
}

static tern_code open_temp(tern_outfile *o, tern_err *err)
{
    tern_str name;
    tern_str_init(&name, 1 << 16);
    tern_str_printf(&name, "%s" TEMP_TAIL, o->path);
    o->temp = tern_str_take(&name);
    if (!o->temp) {
        tern_outfile_abort(o);
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    }
    sweep(o->path);
    int fd = open_locked(o);
    if (fd < 0) {
        tern_free(o->temp); /* nothing to remove */
        o->temp = NULL;
        return fail(o, err);
    }
    o->lock = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (!(o->flags & TERN_OUTFILE_PRIVATE)) {
        mode_t mask = umask(0);
        (void)umask(mask);
        (void)fchmod(fd, 0666 & ~mask);
    }
    o->f = fdopen(fd, "wb");
    if (o->f)
        return TERN_OK;
    (void)close(fd);
    return fail(o, err);
}

tern_code tern_outfile_open(tern_outfile *o, const char *path, unsigned flags, tern_err *err)
{
    struct stat st;
    *o = (tern_outfile){.flags = flags, .lock = -1};
    o->path = strcmp(path, "-") == 0 ? resolve("/dev/stdout") : resolve(path);
    if (!o->path)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    if (strcmp(path, "-") == 0) {
        int fd = dup(STDOUT_FILENO);
        o->f = fd < 0 ? NULL : fdopen(fd, "wb");
        return o->f ? TERN_OK : fail(o, err);
    }
    if (stat(o->path, &st) == 0 && !S_ISREG(st.st_mode))
        return open_in_place(o, err);
    return open_temp(o, err);
}

tern_code tern_outfile_reserve(tern_outfile *o, size_t n_bytes, tern_err *err)
{
    int why = 0;
#ifdef __linux__ /* posix_fallocate would write it all where it is not supported */
    if (o->temp && fallocate(fileno(o->f), 0, 0, (off_t)n_bytes) != 0)
        why = errno;
#endif
    if (why != ENOSPC && why != EFBIG && why != EDQUOT)
        return TERN_OK;
    tern_code rc = tern_fail(err, TERN_E_IO, "%s: cannot write %zu bytes: %s", o->path, n_bytes,
                             strerror(why));
    tern_outfile_abort(o);
    return rc;
}

/* The new name itself must reach the disk too. */
static void sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? tern_strdup_n(path, (size_t)(slash - path) + 1) : tern_strdup_n(".", 1);
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
    tern_free(folder);
}

tern_code tern_outfile_commit(tern_outfile *o, tern_err *err)
{
    bool sync = o->temp && !(o->flags & TERN_OUTFILE_PASSING);
    bool ok = fflush(o->f) == 0 && !ferror(o->f) && (!sync || fsync(fileno(o->f)) == 0);
    if (!ok)
        return fail(o, err);
    ok = fclose(o->f) == 0;
    o->f = NULL;
    if (!ok || (o->temp && rename(o->temp, o->path) != 0))
        return fail(o, err);
    if (sync)
        sync_folder(o->path);
    tern_free(o->temp);
    o->temp = NULL;
    tern_outfile_abort(o);
    return TERN_OK;
}

void tern_outfile_abort(tern_outfile *o)
{
    if (o->f)
        (void)fclose(o->f);
    if (o->temp)
        (void)unlink(o->temp);
    if (o->path && o->lock >= 0)
        (void)close(o->lock);
    tern_free(o->temp);
    tern_free(o->path);
    *o = (tern_outfile){.lock = -1};
}

bool tern_outfile_is_temp(const char *name)
{
    size_t n = strlen(name);
    return n > TEMP_N && strncmp(name + n - TEMP_N, TEMP_TAIL, TEMP_N - 6) == 0;
}

bool tern_outfile_is_file(const char *path)
{
    struct stat st;
    return strcmp(path, "-") != 0 && (stat(path, &st) != 0 || S_ISREG(st.st_mode));
}
