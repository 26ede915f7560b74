#include "base/os/infile.h"
#include "base/error.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

tern_code tern_infile_open(const char *path, tern_infile *out, tern_err *err)
{
    struct stat st;
    char shown[128]; /* the reason must not be cut off behind a long path */
    const char *why = NULL;
    tern_quote(shown, sizeof shown, path, strlen(path));
    *out = (tern_infile){.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (out->fd < 0)
        return tern_fail(err, errno == ENOENT || errno == ENOTDIR ? TERN_E_NOT_FOUND : TERN_E_IO,
                         "%s: cannot open: %s", shown, strerror(errno));
    if (fstat(out->fd, &st) != 0)
        why = strerror(errno);
    else if (!S_ISREG(st.st_mode) || st.st_size < 0)
        why = "not a regular file";
    if (why) {
        tern_infile_close(out);
        return tern_fail(err, TERN_E_IO, "%s: %s", shown, why);
    }
    out->size = (uint64_t)st.st_size;
    return TERN_OK;
}

bool tern_infile_read(const tern_infile *f, uint64_t offset, void *to, size_t n)
{
    uint8_t *p = to;
    while (n > 0) {
        if (offset > INT64_MAX - n)
            return false;
        ssize_t got = pread(f->fd, p, n, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        p += got;
        offset += (uint64_t)got;
        n -= (size_t)got;
    }
    return true;
}

const uint8_t *tern_infile_map(const tern_infile *f, uint64_t offset, size_t n)
{
    if (offset > f->size || n == 0 || n > f->size - offset)
        return NULL;
    void *p = mmap(NULL, n, PROT_READ, MAP_SHARED, f->fd, (off_t)offset);
    if (p == MAP_FAILED)
        return NULL;
#ifdef MADV_HUGEPAGE
    (void)madvise(p, n, MADV_HUGEPAGE); /* a hint, which few file systems take */
#endif
    return p;
}

void tern_infile_unmap(const uint8_t *p, size_t n)
{
    if (p)
        (void)munmap((void *)(uintptr_t)p, n);
}

void tern_infile_drop(const uint8_t *p, size_t n)
{
    long page = sysconf(_SC_PAGESIZE);
    size_t skip = page > 0 ? (uintptr_t)p & ((size_t)page - 1) : 0;
    (void)madvise((void *)((uintptr_t)p - skip), n + skip, MADV_DONTNEED);
}

void tern_infile_close(tern_infile *f)
{
    if (f->fd >= 0)
        (void)close(f->fd);
    *f = (tern_infile){.fd = -1};
}
