/* Files that appear whole or not at all: written beside the target under another name, flushed to
 * the disk, then renamed. A reader finds the old file or the new one, whenever the power fails.
 *
 * The other name is "<target>.tern-" and six letters; who writes it holds a lock on it. What a killed
 * program left has no lock, and the next one that writes the same target removes it. */
#ifndef TERN_BASE_OS_OUTFILE_H
#define TERN_BASE_OS_OUTFILE_H

#include "tern.h"

#include <stdbool.h>
#include <stdio.h>

enum {
    TERN_OUTFILE_PRIVATE = 1, /* mode 0600, else as the umask says */
    TERN_OUTFILE_PASSING = 2  /* deleted soon: need not reach the disk */
};

typedef struct tern_outfile {
    FILE *f;
    char *path, *temp; /* owned; temp NULL: written in place (a device or pipe) */
    int lock;          /* of temp: a descriptor that outlives f */
    unsigned flags;
} tern_outfile;

/* "-" is standard output. Codes: TERN_E_IO, TERN_E_NOMEM. */
TERN_CHECK tern_code tern_outfile_open(tern_outfile *o, const char *path, unsigned flags,
                                       tern_err *err);
/* Room for so many bytes in all, so that a full disk is known before they are written. A file system
 * that cannot tell is no failure. */
TERN_CHECK tern_code tern_outfile_reserve(tern_outfile *o, size_t n_bytes, tern_err *err);
/* Flush to the disk and give the file its name. Closes o also on failure. */
TERN_CHECK tern_code tern_outfile_commit(tern_outfile *o, tern_err *err);
/* Drop what was written; fine after commit. */
void tern_outfile_abort(tern_outfile *o);

/* Whether a name, or a path, is one that files have while they are written. */
bool tern_outfile_is_temp(const char *name);
/* Whether what is written to path can be read there afterwards: not so of "-", devices and pipes. */
bool tern_outfile_is_file(const char *path);

#endif
