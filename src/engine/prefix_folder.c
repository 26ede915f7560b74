/* Where in a cache folder prefixes are kept (state/shelf.h). */
#include "base/alloc.h"
#include "base/str.h"
#include "engine/engine.h"
#include "state/shelf.h"

char *tern_prefix_folder(const char *cache_dir)
{
    tern_str path;
    tern_str_init(&path, 1 << 13);
    tern_str_printf(&path, "%s/prefix", cache_dir);
    return tern_str_take(&path);
}

typedef struct sum {
    uint64_t n, bytes;
} sum;

static void add_file(void *ctx, const tern_folder_file *f)
{
    sum *s = ctx;
    if (!tern_shelf_is_name(f->name))
        return;
    s->n++;
    s->bytes += f->bytes;
}

void tern_cache_prefixes(const char *cache_dir, uint64_t *n_file, uint64_t *n_bytes)
{
    sum s = {0};
    char *folder = tern_prefix_folder(cache_dir);
    if (folder)
        tern_folder_each(folder, add_file, &s);
    tern_free(folder);
    *n_file = s.n;
    *n_bytes = s.bytes;
}

static void clear_file(void *ctx, const tern_folder_file *f)
{
    if (tern_shelf_is_name(f->name))
        tern_clearing_remove(ctx, f);
}

void tern_prefixes_clear(const char *cache_dir, tern_clearing *c)
{
    char *folder = tern_prefix_folder(cache_dir);
    if (!folder)
        return;
    tern_folder_each(folder, clear_file, c);
    (void)tern_folder_remove(folder); /* stays while other files are in it */
    tern_free(folder);
}
