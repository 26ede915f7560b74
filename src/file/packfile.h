/* Sections of bytes in one file of our own, found by number, each with a checksum: what was prepared
 * once and is kept between runs (model/packed.h). Nothing in such a file is believed before it is
 * checked: a file that is foreign, cut, damaged or of another version is refused, whatever its bytes.
 *
 *   header   magic, version, key, sizes, checksum of header and table, title
 *   table    one entry per section, in rising order of their numbers
 *   sections each at a multiple of TERN_PACKFILE_ALIGN, with 64 readable bytes behind it
 *
 * Numbers are little-endian. */
#ifndef TERN_FILE_PACKFILE_H
#define TERN_FILE_PACKFILE_H

#include "base/os/infile.h"
#include "base/pool.h"

#define TERN_PACKFILE_ALIGN 4096
#define TERN_PACKFILE_TITLE 1024 /* bytes, with its NUL */
#define TERN_PACKFILE_INFO  3

typedef struct tern_packfile_section {
    uint32_t id;
    uint32_t info[TERN_PACKFILE_INFO]; /* the writer's business */
    uint64_t offset, bytes, checksum;
} tern_packfile_section;

typedef struct tern_packfile {
    tern_infile in;
    char *path; /* owned; for messages */
    char title[TERN_PACKFILE_TITLE];
    uint64_t key;
    tern_packfile_section *sections; /* owned */
    size_t n_section;
    const uint8_t *map; /* owned; NULL: not mapped */
} tern_packfile;

/* Open and check all but the sections' bytes. version and key: what the file must have. Codes:
 * TERN_E_NOT_FOUND, TERN_E_IO, TERN_E_FORMAT, TERN_E_NOMEM. */
TERN_CHECK tern_code tern_packfile_open(const char *path, uint32_t version, uint64_t key,
                                        tern_packfile *out, tern_err *err);
/* The same whatever its key, for lists of what is kept. */
TERN_CHECK tern_code tern_packfile_peek(const char *path, uint32_t version, tern_packfile *out,
                                        tern_err *err);
void tern_packfile_close(tern_packfile *p);

/* NULL: there is none. */
const tern_packfile_section *tern_packfile_find(const tern_packfile *p, uint32_t id);
/* Copy the section to `to`, and check it. Codes: TERN_E_FORMAT, TERN_E_NOMEM. */
TERN_CHECK tern_code tern_packfile_read(const tern_packfile *p, const tern_packfile_section *s,
                                        void *to, tern_pool *pool, tern_err *err);
/* The section where the file is mapped, checked; valid until the file is closed. touch: its pages are in
 * this process afterwards, else none is. Codes: TERN_E_IO, TERN_E_FORMAT, TERN_E_NOMEM. */
TERN_CHECK tern_code tern_packfile_map(tern_packfile *p, const tern_packfile_section *s, bool touch,
                                       const uint8_t **data, tern_pool *pool, tern_err *err);

/* A section to be written. */
typedef struct tern_packfile_part {
    uint32_t id;
    uint32_t info[TERN_PACKFILE_INFO];
    const void *data;
    size_t bytes;
} tern_packfile_part;

/* Write the whole file, or nothing (base/os/outfile.h); several writers of one file do not disturb each
 * other. ids rise. Codes: TERN_E_IO, TERN_E_NOMEM. */
TERN_CHECK tern_code tern_packfile_write(const char *path, uint32_t version, uint64_t key,
                                         const char *title, const tern_packfile_part *parts,
                                         size_t n_part, tern_pool *pool, tern_err *err);

/* Most bytes of a file with so many sections of so many bytes together. */
uint64_t tern_packfile_bytes(size_t n_part, uint64_t bytes);

#endif
