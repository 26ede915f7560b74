#include "fuzz/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILE 64
#define MAX_PATH 256

static char folder[] = "/dev/shm/tern-fuzz-XXXXXX";
static char written[MAX_FILE][MAX_PATH];
static size_t n_written;

static void must(int ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "scratch: %s: %s\n", what, strerror(errno));
    abort();
}

static void remove_all(void)
{
    scratch_clear();
    (void)rmdir(folder);
}

const char *scratch_folder(void)
{
    static int made;
    if (!made) {
        if (access("/dev/shm", W_OK) != 0)
            memcpy(folder, "/var/tmp/", 9); /* as long as /dev/shm/ */
        must(mkdtemp(folder) != NULL, folder);
        made = 1;
        (void)atexit(remove_all);
    }
    return folder;
}

const char *scratch_path(const char *name)
{
    static char path[MAX_PATH];
    must(snprintf(path, sizeof path, "%s/%s", scratch_folder(), name) < MAX_PATH, name);
    return path;
}

void scratch_write(const char *name, const void *bytes, size_t n)
{
    const char *slash = strchr(name, '/'), *path;
    if (slash) {
        char sub[MAX_PATH];
        (void)snprintf(sub, sizeof sub, "%.*s", (int)(slash - name), name);
        path = scratch_path(sub);
        if (mkdir(path, 0700) == 0)
            memcpy(written[n_written++ % MAX_FILE], path, strlen(path) + 1);
    }
    path = scratch_path(name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    must(fd >= 0, path);
    must(n == 0 || write(fd, bytes, n) == (ssize_t)n, path);
    must(close(fd) == 0, path);
    must(n_written < MAX_FILE, "too many files");
    memcpy(written[n_written++], path, strlen(path) + 1);
}

void scratch_clear(void)
{
    while (n_written > 0)
        (void)remove(written[--n_written]);
}

/* How far the data of a head reach. */
static size_t reach(const char *head, size_t n_head, size_t cap)
{
    const char *name;
    json_t *v, *all = json_loadb(head, n_head, 0, NULL);
    size_t end = 0;
    json_object_foreach(all, name, v)
    {
        json_int_t to = json_integer_value(json_array_get(json_object_get(v, "data_offsets"), 1));
        if (to > 0 && (size_t)to > end)
            end = (size_t)to < cap ? (size_t)to : cap;
    }
    json_decref(all);
    return end;
}

void scratch_container(const char *name, const char *head, size_t n_head, size_t cap, int noise)
{
    size_t n = reach(head, n_head, cap);
    uint8_t *p = malloc(8 + n_head + n);
    uint32_t s = 1;
    must(p != NULL, "memory");
    for (size_t i = 0; i < 8; i++)
        p[i] = (uint8_t)((uint64_t)n_head >> (8 * i));
    if (n_head)
        memcpy(p + 8, head, n_head);
    for (size_t i = 0; i < n; i++) {
        s = s * 1103515245u + 12345u;
        /* Odd bytes are the ends of numbers: no sign, and an exponent a little below 1. */
        p[8 + n_head + i] = (uint8_t)(noise || i % 2 == 0 ? s >> 16 : 0x3c);
    }
    scratch_write(name, p, 8 + n_head + n);
    free(p);
}
