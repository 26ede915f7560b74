#include "base/os/map.h"
#include "base/error.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

tern_code tern_map_open(const char *path, tern_map_file *out, tern_err *err)
{
    struct stat st;
    tern_code rc = TERN_OK;
    char shown[128]; /* the reason must not be cut off behind a long path */
    tern_quote(shown, sizeof shown, path, strlen(path));
    *out = (tern_map_file){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* opening a pipe must not wait */
    if (fd < 0)
        return tern_fail(err, errno == ENOENT ? TERN_E_NOT_FOUND : TERN_E_IO, "%s: cannot open: %s",
                         shown, strerror(errno));
    if (fstat(fd, &st) != 0) {
        rc = tern_fail(err, TERN_E_IO, "%s: cannot stat: %s", shown, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        rc = tern_fail(err, TERN_E_IO, "%s: not a regular file", shown);
    } else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
            rc = tern_fail(err, errno == ENOMEM ? TERN_E_NOMEM : TERN_E_IO, "%s: cannot map: %s",
                           shown, strerror(errno));
        else
            *out = (tern_map_file){.data = p, .size = (size_t)st.st_size};
    }
    (void)close(fd);
    return rc;
}

void tern_map_close(tern_map_file *m)
{
    if (m->data)
        (void)munmap((void *)(uintptr_t)m->data, m->size);
    *m = (tern_map_file){0};
}
