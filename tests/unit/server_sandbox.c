/* What the sandbox denies and what it leaves, tried from inside, in a process of its own each time. */
#include "server/sandbox.h"
#include "support/support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64], mine[96], cache[96], key[96], other[96];

static int make_files(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/tern-sandbox-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    (void)snprintf(mine, sizeof mine, "%s/models", folder);
    (void)snprintf(cache, sizeof cache, "%s/cache", folder);
    (void)snprintf(key, sizeof key, "%s/models/m.gguf", folder);
    (void)snprintf(other, sizeof other, "%s/private", folder);
    int a = mkdir(mine, 0700) == 0 && mkdir(cache, 0700) == 0 ? open(key, O_CREAT | O_WRONLY, 0600)
                                                              : -1;
    int b = open(other, O_CREAT | O_WRONLY, 0600);
    if (a < 0 || b < 0)
        return 1;
    (void)close(a);
    (void)close(b);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    (void)unlink(key);
    (void)unlink(other);
    (void)rmdir(mine);
    (void)rmdir(cache);
    (void)rmdir(folder);
    return 0;
}

/* Run in a child; its answer, or -1 when it died. */
static int in_child(int (*fn)(void))
{
    int status;
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(fn());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool opens(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd >= 0)
        (void)close(fd);
    return fd >= 0;
}

static bool connects(int listener)
{
    struct sockaddr_in a;
    socklen_t n = sizeof a;
    (void)getsockname(listener, (struct sockaddr *)(void *)&a, &n);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool ok = fd >= 0 && connect(fd, (struct sockaddr *)(void *)&a, n) == 0;
    if (fd >= 0)
        (void)close(fd);
    return ok;
}

static int listener_new(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)(void *)&a, sizeof a) != 0 || listen(fd, 4) != 0)
        return -1;
    return fd;
}

#define SKIP 77

/* Numbers of what went wrong; 0: nothing. */
static int files_inside(void)
{
    const sandbox_path paths[] = {
        {key, false, true}, {cache, true, false}, {NULL, true, true}, {"/no/such", true, true}};
    char path[200], renamed[200];
    int abi, listener = listener_new();
    tern_err err;
    if (sandbox_files(paths, 4, false, &abi, &err) != TERN_OK)
        return 1;
    if (abi == 0)
        return SKIP;
    if (!opens(key, O_RDONLY) || opens(key, O_WRONLY))
        return 2;
    if (opens(other, O_RDONLY) || opens("/etc/passwd", O_RDONLY) ||
        opens("/etc/hostname", O_RDONLY))
        return 3;
    (void)snprintf(path, sizeof path, "%s/new", mine);
    if (opens(path, O_CREAT | O_WRONLY))
        return 4;
    (void)snprintf(path, sizeof path, "%s/new", cache);
    (void)snprintf(renamed, sizeof renamed, "%s/newer", cache);
    if (!opens(path, O_CREAT | O_WRONLY) || rename(path, renamed) != 0 || !opens(renamed, O_RDONLY))
        return 5;
    if (link(renamed, path) != 0 || symlink("/etc/passwd", path) == 0 || unlink(path) != 0 ||
        unlink(renamed) != 0)
        return 6;
    if (unlink(key) == 0 || mkdir("/tmp/tern-sandbox-never", 0700) == 0 ||
        opens("/tmp/x-tern", O_CREAT | O_WRONLY))
        return 7;
    if (!opens("/proc/meminfo", O_RDONLY) || !opens("/proc/self/status", O_RDONLY) ||
        opens("/proc/1/environ", O_RDONLY))
        return 8;
    if (execl("/bin/true", "true", (char *)NULL) == 0 || errno != EACCES)
        return 9;
    if (abi >= 4 && (connects(listener) || listener_new() >= 0))
        return 10;
    if (abi >= 6 && kill(getppid(), 0) == 0)
        return 11;
    return 0;
}

static void test_files(void **state)
{
    (void)state;
    int rc = in_child(files_inside);
    if (rc == SKIP)
        print_message("this kernel has no Landlock\n");
    else
        assert_int_equal(rc, 0);
}

static void *do_nothing(void *ctx)
{
    return ctx;
}

static bool starts_thread(void)
{
    pthread_t t;
    return pthread_create(&t, NULL, do_nothing, NULL) == 0 && pthread_join(t, NULL) == 0;
}

static bool late_denied;

/* A thread that was there before: the list holds for it too. */
static void *try_late(void *ctx)
{
    int *step = ctx, go;
    while ((go = __atomic_load_n(step, __ATOMIC_ACQUIRE)) == 0)
        (void)sched_yield();
    late_denied = socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM;
    return NULL;
}

static int calls_inside(void)
{
    int listener = listener_new(), step = 0;
    bool done;
    pthread_t t;
    tern_err err;
    char byte;
    if (pthread_create(&t, NULL, try_late, &step) != 0)
        return 1;
    if (sandbox_calls(&done, &err) != TERN_OK)
        return 2;
    __atomic_store_n(&step, 1, __ATOMIC_RELEASE);
    (void)pthread_join(t, NULL);
    if (!done)
        return SKIP;
    if (!late_denied)
        return 3;
    if (socket(AF_INET, SOCK_STREAM, 0) >= 0 || socket(AF_UNIX, SOCK_STREAM, 0) >= 0 ||
        connects(listener))
        return 4;
    if (fork() >= 0 || execl("/bin/true", "true", (char *)NULL) == 0)
        return 5;
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 || chmod(key, 0777) == 0 || setuid(0) == 0)
        return 6;
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0)
        return 7;
    if (mprotect(page, 4096, PROT_READ) != 0 || munmap(page, 4096) != 0)
        return 8;
    /* What a reload needs. */
    if (!starts_thread() || !opens(key, O_RDONLY) || getrandom(&byte, 1, 0) != 1)
        return 9;
    void *p = malloc((size_t)64 << 20);
    if (!p)
        return 10;
    free(p);
    return 0;
}

static void test_calls(void **state)
{
    (void)state;
    int rc = in_child(calls_inside);
    if (rc == SKIP)
        print_message("this kernel or this build has no seccomp\n");
    else
        assert_int_equal(rc, 0);
}

static void test_broad(void **state)
{
    (void)state;
    static const char *const broad[] = {"/", "/tmp", "/etc", "/home", "/home/me", "relative"};
    static const char *const narrow[] = {"/home/me/models", "/etc/tern", "/srv/a", "/home/mean",
                                         "/home/m/x"};
    for (size_t i = 0; i < sizeof broad / sizeof broad[0]; i++)
        assert_true(sandbox_is_broad(broad[i], "/home/me"));
    for (size_t i = 0; i < sizeof narrow / sizeof narrow[0]; i++)
        assert_false(sandbox_is_broad(narrow[i], "/home/me"));
    assert_false(sandbox_is_broad("/a/b", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_broad),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
