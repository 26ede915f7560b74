#include "base/os/folder.h"
#include "base/error.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* Entries looked at: far more than a cache has. */
#define MAX_ENTRY 100000

tern_code tern_folder_make(const char *path, tern_err *err)
{
    char shown[128];
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return TERN_OK;
    return tern_fail(err, TERN_E_IO, "%s: cannot make this folder: %s",
                     tern_quote(shown, sizeof shown, path, strlen(path)), strerror(errno));
}

void tern_folder_each(const char *path, void (*fn)(void *ctx, const tern_folder_file *f), void *ctx)
{
    DIR *d = opendir(path);
    const struct dirent *e;
    tern_str file;
    struct stat st;
    time_t now = time(NULL);
    tern_str_init(&file, 1 << 14);
    for (int i = 0; d && i < MAX_ENTRY && (e = readdir(d)) != NULL; i++) {
        tern_str_clear(&file);
        tern_str_printf(&file, "%s/%s", path, e->d_name);
        if (file.failed || lstat(tern_str_get(&file), &st) != 0 || !S_ISREG(st.st_mode))
            continue;
        bool dated = st.st_mtim.tv_sec > 0;
        fn(ctx,
           &(tern_folder_file){.path = tern_str_get(&file),
                               .name = e->d_name,
                               .bytes = (uint64_t)st.st_size,
                               .age_s = now > st.st_mtime ? (uint64_t)(now - st.st_mtime) : 0,
                               .modified_ns = dated ? (uint64_t)st.st_mtim.tv_sec * 1000000000u +
                                                          (uint64_t)st.st_mtim.tv_nsec
                                                    : 0});
    }
    if (d)
        (void)closedir(d);
    tern_str_done(&file);
}

void tern_folder_touch(const char *path)
{
    struct timespec t[2]; /* finer than what the system would take */
    (void)clock_gettime(CLOCK_REALTIME, &t[0]);
    t[1] = t[0];
    (void)utimensat(AT_FDCWD, path, t, 0);
}

bool tern_folder_remove(const char *path)
{
    return remove(path) == 0;
}
