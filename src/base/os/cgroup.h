/* The control groups that limit this process, of both versions. */
#ifndef TERN_BASE_OS_CGROUP_H
#define TERN_BASE_OS_CGROUP_H

#include <stdbool.h>
#include <stddef.h>

/* One folder of a controller, "" of the root first: a file in it is read by tern_cgroup_line. */
typedef struct tern_cgroup {
    const char *root, *folder;
    bool v2;
} tern_cgroup;

/* fn for each folder that may limit this process in a controller ("cpu", "memory"): the group itself and
 * all above it. root: "" in life, a made-up tree in tests. Systems without groups have none. */
void tern_cgroup_each(const char *root, const char *controller,
                      void (*fn)(void *ctx, const tern_cgroup *g), void *ctx);
/* First line of a file of the group without its newline; false when there is none. */
bool tern_cgroup_line(const tern_cgroup *g, const char *file, char *line, size_t cap);
/* The same of any file under root. */
bool tern_root_line(const char *root, const char *path, char *line, size_t cap);

#endif
