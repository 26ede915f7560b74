/* killat N COMMAND [ARG...]: run it and kill it (SIGKILL) where it begins the Nth system call that changes
 * a file or a folder. Exit status 0: killed; 1: it ended before; 2: it cannot be watched here. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static int changes(const struct __ptrace_syscall_info *i)
{
    switch (i->entry.nr) {
    case SYS_write:
    case SYS_writev:
    case SYS_pwrite64:
    case SYS_fallocate:
    case SYS_ftruncate:
    case SYS_fsync:
    case SYS_fdatasync:
    case SYS_renameat:
    case SYS_renameat2:
    case SYS_unlinkat:
    case SYS_mkdirat:
#ifdef SYS_rename
    case SYS_rename:
    case SYS_unlink:
    case SYS_mkdir:
#endif
        return 1;
    case SYS_openat:
        return (i->entry.args[2] & O_CREAT) != 0;
    default:
        return 0;
    }
}

/* Whether this stop is the beginning of such a call. */
static int is_change(pid_t pid)
{
    struct __ptrace_syscall_info i;
    long n = ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof i, &i);
    return n > 0 && i.op == PTRACE_SYSCALL_INFO_ENTRY && changes(&i);
}

static int watch(pid_t child, int n)
{
    int status;
    for (;;) {
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0)
            return errno == ECHILD ? 1 : 2;
        if (!WIFSTOPPED(status)) {
            if (pid == child)
                return 1;
            continue;
        }
        int sig = WSTOPSIG(status);
        if (sig == (SIGTRAP | 0x80)) {
            if (is_change(pid) && --n == 0) {
                (void)kill(child, SIGKILL);
                while (waitpid(-1, &status, __WALL) > 0)
                    ;
                return 0;
            }
            sig = 0;
        } else if (sig == SIGTRAP || sig == SIGSTOP) {
            sig = 0;
        }
        (void)ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(long)sig);
    }
}

int main(int argc, char **argv)
{
    int status, n = argc > 2 ? (int)strtol(argv[1], NULL, 10) : 0;
    if (n < 1)
        return 2;
    pid_t child = fork();
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(126);
        (void)raise(SIGSTOP);
        (void)execv(argv[2], argv + 2);
        _exit(126);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0 || !WIFSTOPPED(status))
        return 2;
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE |
                   PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;
    if (ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)options) != 0 ||
        ptrace(PTRACE_SYSCALL, child, NULL, NULL) != 0)
        return 2;
    return watch(child, n);
}
