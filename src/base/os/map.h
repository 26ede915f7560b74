/* A read-only file in memory. */
#ifndef TERN_BASE_OS_MAP_H
#define TERN_BASE_OS_MAP_H

#include "tern.h"

typedef struct tern_map_file {
    const uint8_t *data; /* mapped; NULL for an empty file */
    size_t size;
    uint64_t modified_ns; /* when the file was written last, by the system's clock */
    int fd;               /* open while data is mapped */
    int guard;            /* of tern_map_lost; -1: none */
} tern_map_file;

/* Codes: TERN_E_NOT_FOUND, TERN_E_IO (also for a folder or a device), TERN_E_NOMEM. */
TERN_CHECK tern_code tern_map_open(const char *path, tern_map_file *out, tern_err *err);
void tern_map_close(tern_map_file *m);

/* Hints, for parts of a file that are read once; [offset, offset + size) is inside it. */
/* Bytes about to be read: the system may fetch them from disk meanwhile. */
void tern_map_want(const tern_map_file *m, size_t offset, size_t size);
/* Bytes not needed any more: their pages leave this process, and come back when read. */
void tern_map_drop(const tern_map_file *m, size_t offset, size_t size);

/* Copy [offset, offset + size), which is inside a mapped file, without bringing its pages into this
 * process: each that is touched brings its neighbours. False: it could not be read; the map is left. */
bool tern_map_read(const tern_map_file *m, size_t offset, void *to, size_t size);

/* Another program may cut a file while it is mapped; reading behind its new end ends the process then.
 * After this call there are zeros instead, and the map remembers it. A program's to call, once, before
 * it opens files: it takes SIGBUS. Of the first 1024 maps at a time. */
void tern_map_guard(void);
/* Whether bytes of the map are not the file's any more. */
bool tern_map_lost(const tern_map_file *m);

#endif
