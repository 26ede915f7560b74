/* Memory of connections between two requests. libmicrohttpd has room for the largest headers with each, and fills
 * it with zeros when a reply is over, so all of it is resident. It does not tell where that room is, but it is a
 * mapping of its own (POOL is too large for it to be anything else) and a request's line stands at its
 * beginning. Pages that are nothing but zeros may as well not be there, whatever the library does with them: that
 * is how it gets them from the kernel. Of the connections that were used last the room stays, so that a client
 * that is busy costs nothing. The web thread alone, which also alone writes there. */
#include "server/http.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEPT 64 /* connections whose room stays, 2 MiB together */

/* What is said above was looked up in this one. */
#define KNOWN_VERSION "0.9.75"

/* The library takes memory of the C library below 32 KiB, and where pages are nearly as large as the room. */
static size_t page_bytes(void)
{
    long n = sysconf(_SC_PAGESIZE);
    bool maps = n > 0 && HTTP_POOL > 32 * 1024 && (size_t)n * 4 / 3 <= HTTP_POOL;
    return maps && strcmp(MHD_get_version(), KNOWN_VERSION) == 0 ? (size_t)n : 0;
}

void idle_init(idle_list *l)
{
    *l = (idle_list){.page = page_bytes()};
}

/* The room whose first bytes are "GET" and a NUL before target. */
static char *find_room(const idle_list *l, const char *target)
{
    size_t n = l->page ? (uintptr_t)target % l->page : 0;
    const char *room = target - n;
    if (n < 2 || n > 32 || room[n - 1] != '\0')
        return NULL;
    for (size_t i = 0; i + 1 < n; i++)
        if (room[i] < 'A' || room[i] > 'Z')
            return NULL;
    return (char *)(uintptr_t)room;
}

static bool is_zero(const char *p, size_t n)
{
    return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

/* The library's room goes when it closes the connection, of which it tells later; but with the room its side of the
 * socket is shut, before anything else is done on this thread. A send of nothing says whether it is. */
static bool has_room(const wire *w)
{
    return send(w->fd, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL) == 0;
}

static void give_back(const idle_list *l, char *room)
{
    size_t n = (HTTP_POOL + l->page - 1) / l->page * l->page, begin = 0;
    for (size_t at = 0; at <= n; at += l->page) {
        if (at < n && is_zero(room + at, l->page))
            continue;
        if (at > begin)
            (void)madvise(room + begin, at - begin, MADV_DONTNEED);
        begin = at + l->page;
    }
}

void idle_leave(idle_list *l, wire *w)
{
    if (!w->waits)
        return;
    *(w->idle_prev ? &w->idle_prev->idle_next : &l->first) = w->idle_next;
    *(w->idle_next ? &w->idle_next->idle_prev : &l->last) = w->idle_prev;
    w->waits = false;
    l->n--;
}

void idle_begin(idle_list *l, wire *w, const char *target)
{
    idle_leave(l, w);
    w->room = find_room(l, target);
}

void idle_wait(idle_list *l, wire *w)
{
    if (!w->room || w->waits)
        return;
    w->idle_prev = l->last;
    w->idle_next = NULL;
    *(l->last ? &l->last->idle_next : &l->first) = w;
    l->last = w;
    w->waits = true;
    l->n++;
    while (l->n > KEPT) {
        wire *oldest = l->first;
        idle_leave(l, oldest);
        if (has_room(oldest))
            give_back(l, oldest->room);
    }
}
