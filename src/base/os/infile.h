/* A file that is read at places of the caller's choice, from several threads at once. */
#ifndef TERN_BASE_OS_INFILE_H
#define TERN_BASE_OS_INFILE_H

#include "tern.h"

typedef struct tern_infile {
    int fd;
    uint64_t size; /* when it was opened */
} tern_infile;

/* Codes: TERN_E_NOT_FOUND, TERN_E_IO (also for a folder or a device). */
TERN_CHECK tern_code tern_infile_open(const char *path, tern_infile *out, tern_err *err);
/* Bytes [offset, offset + n); false when the system fails or the file ends before. */
TERN_CHECK bool tern_infile_read(const tern_infile *f, uint64_t offset, void *to, size_t n);
/* The same bytes mapped, read-only and shared; NULL on failure. offset is a multiple of the page size. A
 * file that is cut later ends the process that reads beyond its end: only for files of our own. */
const uint8_t *tern_infile_map(const tern_infile *f, uint64_t offset, size_t n);
void tern_infile_unmap(const uint8_t *p, size_t n);
/* Pages of a map that were read and are not needed for a while leave this process. */
void tern_infile_drop(const uint8_t *p, size_t n);
/* Fine for one that is not open: fd -1. */
void tern_infile_close(tern_infile *f);

#endif
