#include "base/os/outfile.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

static tern_code open_temp(tern_outfile *o, tern_err *err)
{
    tern_str name;
    tern_str_init(&name, 1 << 16);
    tern_str_printf(&name, "%s.XXXXXX", o->path);
    o->temp = tern_str_take(&name);
    if (!o->temp) {
        tern_outfile_abort(o);
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    }
    int fd = mkostemp(o->temp, O_CLOEXEC);
    if (fd < 0) {
        tern_free(o->temp); /* nothing to remove */
        o->temp = NULL;
        return fail(o, err);
    }
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
    *o = (tern_outfile){.flags = flags};
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
    tern_free(o->temp);
    tern_free(o->path);
    *o = (tern_outfile){0};
}
