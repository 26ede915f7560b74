#include "file/dir_make.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "base/str.h"

#include <string.h>

static tern_code no_memory(const tern_dir *d, tern_err *err)
{
    return tern_fail(err, TERN_E_NOMEM, "%s: no memory for its keys and tensors", d->path);
}

tern_code tern_dir_new(const char *path, size_t max_bytes, tern_dir **out, tern_err *err)
{
    tern_dir *d = tern_calloc(1, sizeof *d);
    if (d) {
        tern_arena_init(&d->arena, max_bytes);
        d->path = tern_arena_strdup_n(&d->arena, path, strlen(path));
    }
    if (!d || !d->path) {
        tern_dir_close(d);
        return tern_fail(err, TERN_E_NOMEM, "no memory to open a model file");
    }
    *out = d;
    return TERN_OK;
}

void tern_dir_close(tern_dir *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->n_map; i++)
        tern_map_close(&d->maps[i]);
    tern_free(d->maps);
    tern_map_done(&d->meta_by_key);
    tern_map_done(&d->tensor_by_name);
    tern_arena_done(&d->arena);
    tern_free(d);
}

/* Whether an array of n entries that grows by doubling is full. */
static bool is_full(size_t n)
{
    return (n & (n - 1)) == 0; /* at 0 and each power of two */
}

tern_code tern_dir_map(tern_dir *d, const char *path, tern_err *err)
{
    if (is_full(d->n_map)) {
        size_t cap = d->n_map ? d->n_map * 2 : 1;
        tern_map_file *maps = tern_realloc(d->maps, d->n_map * sizeof *maps, cap * sizeof *maps);
        if (!maps)
            return tern_fail(err, TERN_E_NOMEM, "no memory for the list of files");
        d->maps = maps;
    }
    TERN_TRY(tern_map_open(path, &d->maps[d->n_map], err));
    d->n_map++;
    return TERN_OK;
}

/* Room for one more entry behind n in the arena; what was there before is left to it. */
static void *grown(tern_dir *d, void *entries, size_t n, size_t size)
{
    if (!is_full(n))
        return entries;
    void *more = tern_arena_calloc(&d->arena, n ? 2 * n : 1, size);
    if (more && n)
        memcpy(more, entries, n * size);
    return more;
}

/* A new name, copied, for entry `index`. */
static tern_code new_name(tern_dir *d, tern_map *map, const char *what, const char *name,
                          size_t index, const char **copy, tern_err *err)
{
    bool ok = true;
    char shown[64];
    size_t n = strlen(name);
    *copy = tern_arena_strdup_n(&d->arena, name, n);
    if (index > UINT32_MAX)
        return tern_fail(err, TERN_E_FORMAT, "%s: more than 2^32 of a %s", d->path, what);
    if (*copy && tern_map_add(map, *copy, n, (uint32_t)index, NULL, &ok))
        return tern_fail(err, TERN_E_FORMAT, "%s: %s '%s' is there twice", d->path, what,
                         tern_quote(shown, sizeof shown, name, n));
    return *copy && ok ? TERN_OK : no_memory(d, err);
}

static tern_code put_meta(tern_dir *d, const char *key, tern_meta m, tern_err *err)
{
    tern_meta *metas = grown(d, d->metas, d->n_meta, sizeof *metas);
    if (!metas)
        return no_memory(d, err);
    d->metas = metas;
    TERN_TRY(new_name(d, &d->meta_by_key, "key", key, d->n_meta, &m.key, err));
    metas[d->n_meta++] = m;
    return TERN_OK;
}

tern_code tern_dir_put_u32(tern_dir *d, const char *key, uint32_t v, tern_err *err)
{
    return put_meta(d, key, (tern_meta){.type = TERN_META_U32, .v.u = v}, err);
}

tern_code tern_dir_put_f32(tern_dir *d, const char *key, float v, tern_err *err)
{
    return put_meta(d, key, (tern_meta){.type = TERN_META_F32, .v.f = (double)v}, err);
}

tern_code tern_dir_put_bool(tern_dir *d, const char *key, bool v, tern_err *err)
{
    return put_meta(d, key, (tern_meta){.type = TERN_META_BOOL, .v.u = v}, err);
}

tern_code tern_dir_put_str(tern_dir *d, const char *key, const char *v, size_t n, tern_err *err)
{
    tern_meta m = {.type = TERN_META_STRING};
    m.v.s = (tern_slice){tern_arena_strdup_n(&d->arena, v, n), n};
    return m.v.s.p ? put_meta(d, key, m, err) : no_memory(d, err);
}

tern_code tern_dir_put_strs(tern_dir *d, const char *key, const tern_slice *v, size_t n,
                            tern_err *err)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        if (!tern_add_size(total, v[i].n, &total))
            return no_memory(d, err);
    tern_slice *all = tern_arena_calloc(&d->arena, n ? n : 1, sizeof *all);
    char *text = tern_arena_alloc(&d->arena, total ? total : 1);
    if (!all || !text)
        return no_memory(d, err);
    for (size_t i = 0; i < n; i++) {
        if (v[i].n)
            memcpy(text, v[i].p, v[i].n);
        all[i] = (tern_slice){text, v[i].n};
        text += v[i].n;
    }
    return put_meta(
        d, key,
        (tern_meta){.type = TERN_META_ARRAY, .elem = TERN_META_STRING, .n_elem = n, .strings = all},
        err);
}

tern_code tern_dir_put_numbers(tern_dir *d, const char *key, tern_meta_type elem, const void *v,
                               size_t n, tern_err *err)
{
    uint8_t *copy = tern_arena_calloc(&d->arena, n ? n : 1, tern_meta_number_bytes(elem));
    if (!copy)
        return no_memory(d, err);
    if (n)
        memcpy(copy, v, n * tern_meta_number_bytes(elem));
    return put_meta(d, key,
                    (tern_meta){.type = TERN_META_ARRAY, .elem = elem, .n_elem = n, .elems = copy},
                    err);
}

tern_code tern_dir_put_tensor(tern_dir *d, const tern_tensor *t, tern_err *err)
{
    tern_tensor *tensors = grown(d, d->tensors, d->n_tensor, sizeof *tensors), copy = *t;
    if (!tensors)
        return no_memory(d, err);
    d->tensors = tensors;
    TERN_TRY(new_name(d, &d->tensor_by_name, "tensor", t->name, d->n_tensor, &copy.name, err));
    tensors[d->n_tensor++] = copy;
    return TERN_OK;
}
