/* What a GGUF type id means. Forks of the format gave the same number to different layouts and no
 * file says which fork wrote it, so an id alone does not decide: the space a tensor has in its file
 * does. */
#ifndef TERN_FILE_TYPEID_H
#define TERN_FILE_TYPEID_H

#include "file/dir.h"

/* One tensor as the file describes it. */
typedef struct tern_typeid_query {
    uint32_t id;
    const size_t *ne; /* [4], validated */
    size_t span;      /* bytes from its data to the next larger offset or the end of the data */
    size_t alignment; /* the file's */
    tern_i2s_layout i2s_layout;
} tern_typeid_query;

typedef enum tern_typeid_verdict {
    TERN_TYPEID_SURE,      /* one layout fits */
    TERN_TYPEID_TIE,       /* several fit; dtype is the likeliest */
    TERN_TYPEID_UNREAD,    /* known, but this engine does not read it */
    TERN_TYPEID_UNKNOWN,   /* no such id */
    TERN_TYPEID_BAD_SHAPE, /* no layout of this id has such a shape */
    TERN_TYPEID_NO_FIT     /* no layout of this id takes this space */
} tern_typeid_verdict;

typedef struct tern_typeid {
    tern_typeid_verdict verdict;
    tern_dtype dtype; /* SURE, TIE */
    size_t bytes;     /* SURE, TIE */
    size_t need_min;  /* NO_FIT: what the smallest layout takes */
    char text[128];   /* otherwise: why, and what to do; no file, no tensor */
} tern_typeid;

void tern_typeid_resolve(const tern_typeid_query *q, tern_typeid *out);
/* Whether this dtype is a layout of the id that fits the span: settles a TIE by what other tensors
 * of the file turned out to be. */
bool tern_typeid_fits(const tern_typeid_query *q, tern_dtype dt, size_t *bytes);

#endif
