#include "base/os/map.h"
#include "base/error.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A page fault maps up to this much of a file around the page, if it is in memory. */
#define FAULT_AROUND ((size_t)64 << 10)

/* ---- files that are cut while they are mapped ---------------------------------------------- */

/* What the signal handler looks through, which has nothing else to go by. A slot is free while begin
 * is 0; size is written before begin is. All sequentially consistent: they are used once a file. */
static struct guard {
    _Atomic uintptr_t begin;
    _Atomic size_t size;
    atomic_bool taken, lost;
} guards[1024];
#define N_GUARD ((int)(sizeof guards / sizeof guards[0]))

static struct sigaction before;
static size_t page_bytes;

static int guard_take(const void *p, size_t size)
{
    for (int i = 0; i < N_GUARD; i++) {
        bool taken = false;
        if (!atomic_compare_exchange_strong(&guards[i].taken, &taken, true))
            continue;
        atomic_store(&guards[i].lost, false);
        atomic_store(&guards[i].size, size);
        atomic_store(&guards[i].begin, (uintptr_t)p);
        return i;
    }
    return -1;
}

static void guard_drop(int i)
{
    if (i < 0)
        return;
    atomic_store(&guards[i].begin, 0);
    atomic_store(&guards[i].taken, false);
}

/* Zeros from the page that is gone to the end of the map: what is behind the end of a file that was cut
 * is gone as well. mmap is a system call and nothing else. */
static bool replace(uintptr_t at)
{
    for (int i = 0; i < N_GUARD; i++) {
        uintptr_t begin = atomic_load(&guards[i].begin);
        size_t size = atomic_load(&guards[i].size);
        if (begin == 0 || at < begin || at - begin >= size)
            continue;
        uintptr_t page = at & ~(uintptr_t)(page_bytes - 1);
        atomic_store(&guards[i].lost, true);
        return mmap((void *)page, size - (page - begin), PROT_READ,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
    }
    return false;
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    int kept = errno;
    (void)context;
    if (info->si_code != BUS_ADRERR || !replace((uintptr_t)info->si_addr))
        (void)sigaction(number, &before, NULL); /* and comes again */
    errno = kept;
}

void tern_map_guard(void)
{
    struct sigaction a = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    (void)sigemptyset(&a.sa_mask);
    (void)sigaction(SIGBUS, &a, &before);
}

bool tern_map_lost(const tern_map_file *m)
{
    return m->data && m->guard >= 0 && atomic_load(&guards[m->guard].lost);
}

/* ---- maps ---------------------------------------------------------------------------------- */

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
            *out = (tern_map_file){.data = p,
                                   .size = (size_t)st.st_size,
                                   .modified_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000u +
                                                  (uint64_t)st.st_mtim.tv_nsec,
                                   .fd = fd,
                                   .guard = guard_take(p, (size_t)st.st_size)};
    }
    if (!out->data)
        (void)close(fd);
    return rc;
}

void tern_map_close(tern_map_file *m)
{
    if (m->data) {
        guard_drop(m->guard);
        (void)munmap((void *)(uintptr_t)m->data, m->size);
        (void)close(m->fd);
    }
    *m = (tern_map_file){0};
}

/* Whole blocks of `block` bytes that touch [offset, offset + size), cut at the file's end. */
static void advise(const tern_map_file *m, size_t offset, size_t size, size_t block, int advice)
{
    size_t begin = offset & ~(block - 1), tail = -(offset + size) & (block - 1);
    size_t left = m->size - offset - size, end = offset + size + (tail < left ? tail : left);
    if (size > 0)
        (void)madvise((void *)(uintptr_t)(m->data + begin), end - begin, advice);
}

void tern_map_want(const tern_map_file *m, size_t offset, size_t size)
{
    advise(m, offset, size, FAULT_AROUND, MADV_WILLNEED);
}

/* The map is shared and only read, so nothing can be lost. */
void tern_map_drop(const tern_map_file *m, size_t offset, size_t size)
{
    advise(m, offset, size, FAULT_AROUND, MADV_DONTNEED);
}

bool tern_map_read(const tern_map_file *m, size_t offset, void *to, size_t size)
{
    uint8_t *at = to;
    while (size > 0) {
        ssize_t n = pread(m->fd, at, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        offset += (size_t)n;
        size -= (size_t)n;
    }
    return true;
}
