/* Folders of files of our own. */
#ifndef TERN_BASE_OS_FOLDER_H
#define TERN_BASE_OS_FOLDER_H

#include "tern.h"

/* Make it, for this user alone, unless it is there; its parent is. */
TERN_CHECK tern_code tern_folder_make(const char *path, tern_err *err);

typedef struct tern_folder_file {
    const char *path, *name;
    uint64_t bytes, age_s; /* since it was written */
    uint64_t modified_ns;  /* the time of that, by the system's clock */
} tern_folder_file;

/* Every regular file in it, in any order; the function may remove it. A folder that is not there has none;
 * names that memory does not suffice for are left out. */
void tern_folder_each(const char *path, void (*fn)(void *ctx, const tern_folder_file *f),
                      void *ctx);
/* As if it were written now. */
void tern_folder_touch(const char *path);
/* A file, or an empty folder; false when it stays. */
bool tern_folder_remove(const char *path);

#endif
