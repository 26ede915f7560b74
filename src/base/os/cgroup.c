#include "base/os/cgroup.h"

#include <stdio.h>
#include <string.h>

#define PATH_CAP 512
#define LINE_CAP 4096

bool tern_root_line(const char *root, const char *path, char *line, size_t cap)
{
    char full[PATH_CAP];
    int n = snprintf(full, sizeof full, "%s%s", root, path);
    FILE *f = n > 0 && (size_t)n < sizeof full ? fopen(full, "re") : NULL;
    if (!f)
        return false;
    bool ok = fgets(line, (int)cap, f) != NULL;
    (void)fclose(f);
    if (ok)
        line[strcspn(line, "\n")] = 0;
    return ok;
}

bool tern_cgroup_line(const tern_cgroup *g, const char *file, char *line, size_t cap)
{
    char path[PATH_CAP];
    int n = snprintf(path, sizeof path, "%s/%s", g->folder, file);
    return n > 0 && (size_t)n < sizeof path && tern_root_line(g->root, path, line, cap);
}

typedef struct walk {
    const char *root;
    void (*fn)(void *ctx, const tern_cgroup *g);
    void *ctx;
} walk;

/* The group itself and all above it: each may limit. group: "/a/b", is cut. */
static void each_above(const walk *w, const char *mount, char *group, bool v2)
{
    char folder[PATH_CAP];
    tern_cgroup g = {w->root, folder, v2};
    for (char *slash; *group; *slash = 0) {
        int n = snprintf(folder, sizeof folder, "%s%s", mount, group);
        if (strcmp(group, "/") != 0 && n > 0 && (size_t)n < sizeof folder)
            w->fn(w->ctx, &g);
        if (!(slash = strrchr(group, '/')))
            break;
    }
    (void)snprintf(folder, sizeof folder, "%s", mount);
    w->fn(w->ctx, &g);
}

/* Does the comma-separated list name the controller? */
static bool names(const char *list, size_t n, const char *controller)
{
    size_t n_want = strlen(controller);
    for (size_t i = 0, end; i < n; i = end + 1) {
        for (end = i; end < n && list[end] != ','; end++)
            continue;
        if (end - i == n_want && memcmp(list + i, controller, n_want) == 0)
            return true;
    }
    return false;
}

/* A line "number:controllers:/group" of this process; version 2 has no controllers. */
static void read_line(const walk *w, char *line, const char *controller)
{
    static const char *const v2[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    char *list = strchr(line, ':'), *group = list ? strchr(list + 1, ':') : NULL;
    char v1[2][PATH_CAP], copy[LINE_CAP];
    if (!group || strstr(group, "/.."))
        return;
    size_t n_list = (size_t)(group - list) - 1;
    bool two = n_list == 0;
    if (!two && (!names(list + 1, n_list, controller) || n_list >= 64))
        return;
    /* Mounted by its own name, or by those of all that share it. */
    (void)snprintf(v1[0], sizeof v1[0], "/sys/fs/cgroup/%s", controller);
    (void)snprintf(v1[1], sizeof v1[1], "/sys/fs/cgroup/%.*s", (int)n_list, list + 1);
    for (size_t i = 0; i < 2; i++) {
        if (!two && i == 1 && strcmp(v1[0], v1[1]) == 0)
            break;
        (void)snprintf(copy, sizeof copy, "%s", group + 1);
        each_above(w, two ? v2[i] : v1[i], copy, two);
    }
}

void tern_cgroup_each(const char *root, const char *controller,
                      void (*fn)(void *ctx, const tern_cgroup *g), void *ctx)
{
    char path[PATH_CAP], line[LINE_CAP];
    const walk w = {root, fn, ctx};
    int n = snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
    for (int i = 0; f && i < 64 && fgets(line, sizeof line, f); i++) {
        line[strcspn(line, "\n")] = 0;
        read_line(&w, line, controller);
    }
    if (f)
        (void)fclose(f);
}
