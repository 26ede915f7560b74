/* What the server can no longer do once it runs: open files it does not need, connect anywhere, start programs.
 * Landlock rules hold for threads that begin after them, so they come first; the list of system calls comes
 * last and holds for all threads. */
#ifndef SERVER_SANDBOX_H
#define SERVER_SANDBOX_H

#include "tern.h"

#include <stddef.h>

typedef struct sandbox_path {
    const char *path; /* NULL: none */
    bool write;       /* its files may be made and changed */
    bool folder;      /* the folder that it is in as well, where a new version of it may appear */
} sandbox_path;

/* Before any thread is started. keep_abstract: sockets with abstract names stay reachable. *abi: 0: the
 * kernel has none. Codes: TERN_E_DENIED (it has, and refuses). */
TERN_CHECK tern_code sandbox_files(const sandbox_path *paths, size_t n, bool keep_abstract,
                                   int *abi, tern_err *err);
/* Whether this build and this kernel can; *done: it is in force. Codes: TERN_E_DENIED. */
TERN_CHECK tern_code sandbox_calls(bool *done, tern_err *err);
/* A folder so general that a model in it is no reason to open all of it: /, /tmp, /etc, the home folder. */
bool sandbox_is_broad(const char *folder, const char *home);

#endif
