#include "server/sandbox.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The sanitizers' own calls are not those of the program. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define SANITIZED
#endif
#endif

/* ---- Landlock ------------------------------------------------------------------------------- */

#if defined(__linux__) && defined(SYS_landlock_create_ruleset)

/* As of the kernel's documentation; headers of older systems lack the later ones. */
enum {
    FS_EXECUTE = 1 << 0,
    FS_WRITE_FILE = 1 << 1,
    FS_READ_FILE = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_REMOVE_DIR = 1 << 4,
    FS_REMOVE_FILE = 1 << 5,
    FS_MAKE_DIR = 1 << 7,
    FS_MAKE_REG = 1 << 8,
    FS_MAKE_SYM = 1 << 12,
    FS_REFER = 1 << 13,    /* version 2 */
    FS_TRUNCATE = 1 << 14, /* version 3 */
    FS_IOCTL_DEV = 1 << 15 /* version 5 */
};
#define NET_BIND_TCP    1u /* version 4 */
#define NET_CONNECT_TCP 2u
#define SCOPE_ABSTRACT  1u /* version 6 */
#define SCOPE_SIGNAL    2u

#define READS (FS_READ_FILE | FS_READ_DIR)
#define WRITES                                                                                     \
    (FS_WRITE_FILE | FS_REMOVE_FILE | FS_REMOVE_DIR | FS_MAKE_REG | FS_MAKE_DIR | FS_REFER |       \
     FS_TRUNCATE)
#define FILE_RIGHTS (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

typedef struct ruleset {
    uint64_t fs, net, scoped;
} ruleset;

typedef struct beneath {
    uint64_t allowed;
    int32_t fd;
} __attribute__((packed)) beneath;

static ruleset rights_of(int abi, bool keep_abstract)
{
    ruleset r = {.fs = (FS_IOCTL_DEV << 1) - 1};
    if (abi < 2)
        r.fs &= ~(uint64_t)FS_REFER;
    if (abi < 3)
        r.fs &= ~(uint64_t)FS_TRUNCATE;
    if (abi < 5)
        r.fs &= ~(uint64_t)FS_IOCTL_DEV;
    if (abi >= 4)
        r.net = NET_BIND_TCP | NET_CONNECT_TCP;
    if (abi >= 6)
        r.scoped = keep_abstract ? SCOPE_SIGNAL : SCOPE_SIGNAL | SCOPE_ABSTRACT;
    return r;
}

/* What is not there needs no rule. */
static bool allow(int rules, const char *path, uint64_t rights)
{
    struct stat st;
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return true;
    if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode))
        rights &= FILE_RIGHTS;
    beneath b = {.allowed = rights, .fd = fd};
    bool ok = syscall(SYS_landlock_add_rule, rules, 1, &b, 0u) == 0;
    (void)close(fd);
    return ok;
}

static bool allow_path(int rules, const sandbox_path *p, uint64_t handled)
{
    uint64_t rights = (READS | (p->write ? (uint64_t)WRITES : 0)) & handled;
    if (!p->path || !*p->path)
        return true;
    bool ok = allow(rules, p->path, rights);
    struct stat st;
    bool file = stat(p->path, &st) == 0 && !S_ISDIR(st.st_mode);
    char *whole = p->folder && file ? realpath(p->path, NULL) : NULL; /* behind links */
    char *slash = whole ? strrchr(whole, '/') : NULL;
    if (slash) {
        slash[slash == whole] = '\0';
        if (!sandbox_is_broad(whole, getenv("HOME")))
            ok = allow(rules, whole, rights) && ok;
    }
    free(whole);
    return ok;
}

/* What libc, the C library of threads and our own looks at the machine read. */
static const char *const system_paths[] = {
    "/proc/self",    "/proc/meminfo", "/proc/stat",     "/proc/cpuinfo",       "/proc/pressure",
    "/proc/loadavg", "/proc/sys/vm",  "/sys/fs/cgroup", "/sys/devices/system", "/sys/kernel/mm",
    "/dev/null",     "/dev/urandom",  "/etc/localtime"};

tern_code sandbox_files(const sandbox_path *paths, size_t n, bool keep_abstract, int *abi,
                        tern_err *err)
{
    *abi = (int)syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, 1u);
    if (*abi < 1) {
        *abi = 0;
        return TERN_OK;
    }
    ruleset r = rights_of(*abi, keep_abstract);
    size_t size = *abi >= 6 ? sizeof r : *abi >= 4 ? 2 * sizeof r.fs : sizeof r.fs;
    int rules = (int)syscall(SYS_landlock_create_ruleset, &r, size, 0u);
    bool ok = rules >= 0;
    for (size_t i = 0; ok && i < sizeof system_paths / sizeof system_paths[0]; i++)
        ok = allow(rules, system_paths[i], READS & r.fs);
    for (size_t i = 0; ok && i < n; i++)
        ok = allow_path(rules, &paths[i], r.fs);
    ok = ok && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_landlock_restrict_self, rules, 0u) == 0;
    int why = errno;
    if (rules >= 0)
        (void)close(rules);
    return ok ? TERN_OK : tern_fail(err, TERN_E_DENIED, "the sandbox of files: %s", strerror(why));
}

#else

tern_code sandbox_files(const sandbox_path *paths, size_t n, bool keep_abstract, int *abi,
                        tern_err *err)
{
    (void)paths, (void)n, (void)keep_abstract, (void)err;
    *abi = 0;
    return TERN_OK;
}

#endif

bool sandbox_is_broad(const char *folder, const char *home)
{
    size_t n_home = home ? strlen(home) : 0;
    if (folder[0] != '/' || !strchr(folder + 1, '/'))
        return true;
    /* Home itself, or what holds it. */
    return n_home > 0 && strncmp(folder, home, strlen(folder)) == 0 &&
           (home[strlen(folder)] == '\0' || home[strlen(folder)] == '/');
}

/* ---- system calls --------------------------------------------------------------------------- */

#if defined(TERN_SECCOMP) && !defined(SANITIZED)

#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

static const int calls[] = {
    /* memory */
    SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk),
    SCMP_SYS(mincore), SCMP_SYS(mlock), SCMP_SYS(munlock), SCMP_SYS(membarrier), SCMP_SYS(mbind),
    SCMP_SYS(get_mempolicy), SCMP_SYS(msync),
    /* threads and time */
    SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(get_robust_list), SCMP_SYS(rseq),
    SCMP_SYS(set_tid_address), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(restart_syscall),
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigtimedwait), SCMP_SYS(sigaltstack), SCMP_SYS(tgkill), SCMP_SYS(getpid),
    SCMP_SYS(gettid), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_setaffinity), SCMP_SYS(sched_getparam), SCMP_SYS(sched_getscheduler),
    SCMP_SYS(getcpu), SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(times),
    SCMP_SYS(getrusage),
    /* files, which Landlock chooses */
    SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(close), SCMP_SYS(read), SCMP_SYS(readv),
    SCMP_SYS(pread64), SCMP_SYS(preadv), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(pwrite64),
    SCMP_SYS(lseek), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(fstat), SCMP_SYS(newfstatat),
    SCMP_SYS(statx), SCMP_SYS(statfs), SCMP_SYS(fstatfs), SCMP_SYS(access), SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getdents64),
    SCMP_SYS(getcwd), SCMP_SYS(fcntl), SCMP_SYS(flock), SCMP_SYS(fsync), SCMP_SYS(fdatasync),
    SCMP_SYS(ftruncate), SCMP_SYS(fallocate), SCMP_SYS(fadvise64), SCMP_SYS(mkdir),
    SCMP_SYS(mkdirat), SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(rename), SCMP_SYS(renameat),
    SCMP_SYS(renameat2), SCMP_SYS(umask), SCMP_SYS(dup), SCMP_SYS(fchmod), SCMP_SYS(rmdir),
    SCMP_SYS(utimensat),
    /* connections that there are, or come */
    SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(sendto),
    SCMP_SYS(sendmsg), SCMP_SYS(shutdown), SCMP_SYS(getsockname), SCMP_SYS(getpeername),
    SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(sendfile), SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(poll),
    SCMP_SYS(ppoll), SCMP_SYS(eventfd2),
    /* facts */
    SCMP_SYS(getrandom), SCMP_SYS(uname), SCMP_SYS(sysinfo), SCMP_SYS(getuid), SCMP_SYS(geteuid),
    SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getrlimit), SCMP_SYS(getppid)};

static int add_rules(scmp_filter_ctx f)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof calls / sizeof calls[0]; i++)
        if (calls[i] != __NR_SCMP_ERROR)
            rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0);
    /* Threads, but no processes. Where flags cannot be seen the C library is to take the older call. */
    if (rc == 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                              SCMP_A0_64(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    if (rc == 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    /* No page that was data becomes code. */
    if (rc == 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                              SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    /* Our own limits may be read. */
    if (rc == 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1,
                              SCMP_A2_64(SCMP_CMP_EQ, 0, 0));
    if (rc == 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                              SCMP_A1_64(SCMP_CMP_EQ, FIONREAD, 0));
    if (rc == 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
                              SCMP_A0_64(SCMP_CMP_EQ, PR_SET_NAME, 0));
    return rc;
}

tern_code sandbox_calls(bool *done, tern_err *err)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    *done = false;
    if (!f)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the sandbox of system calls");
    int rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
    if (rc == 0)
        rc = add_rules(f);
    if (rc == 0)
        rc = seccomp_load(f);
    seccomp_release(f);
    if (rc == -EINVAL || rc == -ENOSYS || rc == -EOPNOTSUPP)
        return TERN_OK; /* the kernel has none */
    *done = rc == 0;
    return rc == 0
               ? TERN_OK
               : tern_fail(err, TERN_E_DENIED, "the sandbox of system calls: %s", strerror(-rc));
}

#else

tern_code sandbox_calls(bool *done, tern_err *err)
{
    (void)err;
    *done = false;
    return TERN_OK;
}

#endif
