/* The socket that clients connect to: an address, a unix socket, or one that systemd has opened. */
#include "base/error.h"
#include "base/num.h"
#include "server/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST_INHERITED 3 /* of sd_listen_fds(3) */
#define BACKLOG         4096

/* ---- addresses ------------------------------------------------------------------------------ */

static bool is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)a;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (a->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)a;
        return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) && in6->sin6_addr.s6_addr[12] == 127);
    }
    return a->sa_family == AF_UNIX;
}

/* Fill in what the socket is, whoever opened it. */
static tern_code describe(listening *l, tern_err *err)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    char host[64], port[16];
    if (getsockname(l->fd, (struct sockaddr *)(void *)&a, &n) != 0)
        return tern_fail(err, TERN_E_IO, "the socket to listen at: %s", strerror(errno));
    l->loopback = is_loopback((const struct sockaddr *)(const void *)&a);
    l->unix_socket = a.ss_family == AF_UNIX;
    if (l->unix_socket) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)&a;
        (void)snprintf(l->url, sizeof l->url, "unix:%.*s", (int)(sizeof un->sun_path),
                       n > offsetof(struct sockaddr_un, sun_path) ? un->sun_path : "");
        return TERN_OK;
    }
    uint64_t v;
    if (getnameinfo((struct sockaddr *)(void *)&a, n, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0 ||
        !tern_parse_u64(port, strlen(port), &v))
        return tern_fail(err, TERN_E_IO, "the socket to listen at is of no kind we know");
    l->port = (int)v;
    (void)snprintf(l->url, sizeof l->url,
                   a.ss_family == AF_INET6 ? "http://[%s]:%s" : "http://%s:%s", host, port);
    return TERN_OK;
}

/* ---- systemd -------------------------------------------------------------------------------- */

/* A number of the environment; false: none. */
static bool env_number(const char *name, uint64_t *out)
{
    const char *s = getenv(name);
    return s && tern_parse_u64(s, strlen(s), out);
}

/* The first socket of socket activation; -1: there is none. */
static int inherited(void)
{
    uint64_t pid, n;
    if (!env_number("LISTEN_PID", &pid) || pid != (uint64_t)getpid() ||
        !env_number("LISTEN_FDS", &n) || n < 1)
        return -1;
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
    return FIRST_INHERITED;
}

static int notify_fd = -1;
static struct sockaddr_un notify_to;
static socklen_t n_notify_to;

/* Made before the sandbox forbids new sockets. */
static void notify_open(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t n = path ? strlen(path) : 0;
    if (n < 2 || n >= sizeof notify_to.sun_path || (*path != '/' && *path != '@') || notify_fd >= 0)
        return;
    notify_to.sun_family = AF_UNIX;
    memcpy(notify_to.sun_path, path, n + 1);
    if (*path == '@')
        notify_to.sun_path[0] = '\0';
    n_notify_to = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

void listen_notify(const char *text)
{
    if (notify_fd >= 0)
        (void)!sendto(notify_fd, text, strlen(text), MSG_NOSIGNAL,
                      (const struct sockaddr *)(const void *)&notify_to, n_notify_to);
}

/* ---- opening -------------------------------------------------------------------------------- */

/* A socket that nobody listens at any more is left of a program that was killed. */
static bool is_abandoned(const struct sockaddr_un *a)
{
    struct stat st;
    if (lstat(a->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool refused = fd >= 0 &&
                   connect(fd, (const struct sockaddr *)(const void *)a, sizeof *a) != 0 &&
                   errno == ECONNREFUSED;
    if (fd >= 0)
        (void)close(fd);
    return refused;
}

static tern_code open_unix(const char *path, listening *l, tern_err *err)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (n >= sizeof a.sun_path)
        return tern_fail(err, TERN_E_USAGE,
                         "%.60s...: the path of a unix socket has at most %zu bytes", path,
                         sizeof a.sun_path - 1);
    memcpy(a.sun_path, path, n + 1);
    if (is_abandoned(&a))
        (void)unlink(path);
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask = umask(0177); /* for this user alone; no other thread is there yet */
    bool ok = l->fd >= 0 && bind(l->fd, (const struct sockaddr *)(const void *)&a, sizeof a) == 0;
    int why = errno;
    (void)umask(mask);
    if (!ok || listen(l->fd, BACKLOG) != 0)
        return tern_fail(err, TERN_E_IO, "cannot listen at %s: %s", path,
                         strerror(ok ? errno : why));
    l->path = path;
    return TERN_OK;
}

static int bind_one(const struct addrinfo *a)
{
    int one = 1;
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int why = errno;
    (void)close(fd);
    errno = why;
    return -1;
}

static tern_code open_address(const char *host, int port, listening *l, tern_err *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                    *list = NULL;
    char service[16];
    (void)snprintf(service, sizeof service, "%d", port);
    int rc = getaddrinfo(host, service, &hints, &list);
    if (rc != 0)
        return tern_fail(err, TERN_E_USAGE, "--host %.100s: %s", host, gai_strerror(rc));
    for (const struct addrinfo *a = list; a && l->fd < 0; a = a->ai_next)
        l->fd = bind_one(a);
    int why = errno;
    freeaddrinfo(list);
    if (l->fd < 0)
        return tern_fail(err, TERN_E_IO, "cannot listen at %.100s port %d: %s", host, port,
                         strerror(why));
    return TERN_OK;
}

static bool is_path(const char *host)
{
    size_t n = strlen(host);
    return strchr(host, '/') || (n > 5 && strcmp(host + n - 5, ".sock") == 0);
}

tern_code listen_open(const server_opts *o, listening *l, tern_err *err)
{
    *l = (listening){.fd = inherited()};
    tern_code rc;
    notify_open();
    l->inherited = l->fd >= 0;
    if (l->inherited)
        rc = TERN_OK;
    else if (o->unix_path || is_path(o->host))
        rc = open_unix(o->unix_path ? o->unix_path : o->host, l, err);
    else
        rc = open_address(o->host, o->port, l, err);
    if (rc == TERN_OK)
        rc = describe(l, err);
    if (rc != TERN_OK)
        listen_close(l);
    return rc;
}

void listen_close(listening *l)
{
    if (l->fd >= 0)
        (void)close(l->fd);
    if (l->path)
        (void)unlink(l->path);
    l->fd = -1;
    l->path = NULL;
}
