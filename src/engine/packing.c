/* Packed weights kept between runs (model/packed.h), in a folder of the user's: one file for each model
 * and choice of layouts, which may be lost, torn or wrong at any time. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/os/outfile.h"
#include "engine/engine.h"

#include <stdlib.h>
#include <string.h>

#define FOLDER "packed"
#define SUFFIX ".pack"
/* Temporary files older than this belong to no writer that still runs. */
#define STALE_S 3600

/* ---- which file ---------------------------------------------------------------------------- */

/* Places of a file that are looked at: whoever changes a model changes most of it. */
#define N_SAMPLE     32
#define SAMPLE_BYTES ((size_t)4096)

/* What the file was when it was mapped: its size and time, all before its first tensor, and samples of
 * the rest, so that nothing more of it has to be read. */
static uint64_t file_identity(const tern_dir *d, const tern_map_file *map, uint64_t seed)
{
    size_t begin = map->size;
    for (size_t i = 0; i < d->n_tensor; i++) {
        const tern_tensor *t = &d->tensors[i];
        if (t->offset < begin && t->data == map->data + t->offset)
            begin = t->offset;
    }
    size_t rest = map->size - begin;
    if (rest < N_SAMPLE * SAMPLE_BYTES) { /* of so little all is looked at */
        begin = map->size;
        rest = 0;
    }
    uint64_t h[N_SAMPLE + 4] = {seed, map->size, map->modified_ns,
                                tern_checksum64(map->data, begin)};
    for (size_t i = 0; i < N_SAMPLE && rest > 0; i++) {
        size_t at = begin + (rest - SAMPLE_BYTES) / (N_SAMPLE - 1) * i;
        h[4 + i] = tern_checksum64(map->data + at, SAMPLE_BYTES);
        tern_map_drop(map, at, SAMPLE_BYTES);
    }
    return tern_hash64(h, sizeof h, 0);
}

/* How tensors' bytes are read, and by which tern. */
static uint64_t source_identity(const tern_model *m)
{
    const char *version = tern_version();
    uint64_t h = tern_hash64(version, strlen(version), TERN_PACKED_VERSION);
    for (size_t i = 0; i < m->dir->n_map; i++)
        h = file_identity(m->dir, &m->dir->maps[i], h);
    for (size_t i = 0; i < m->dir->n_tensor; i++)
        h = tern_hash64(&m->dir->tensors[i].dtype, sizeof m->dir->tensors[i].dtype, h);
    return h;
}

/* Everything that decides layouts and planes. */
static uint64_t choice_identity(const tern_model *m, const tern_model_opts *o)
{
    const tern_hparams *h = &m->w.h;
    int cols[] = {h->d_model, h->n_head * h->d_head, h->d_ff};
    uint32_t v[] = {(uint32_t)h->act,
                    h->token_act8,
                    tern_model_skips(m, o, TERN_LISTED_ROWS, cols[2], cols[0]),
                    tern_model_skips(m, o, TERN_LISTED_COLS, cols[0], cols[2]),
                    (uint32_t)o->head,
                    m->low_memory,
                    tern_model_base3(m, TERN_LISTED_NONE, cols[0]),
                    tern_model_base3(m, TERN_LISTED_NONE, cols[1]),
                    tern_model_base3(m, TERN_LISTED_NONE, cols[2]),
                    tern_model_base3(m, TERN_LISTED_ROWS, cols[0]),
                    tern_model_base3(m, TERN_LISTED_COLS, cols[2])};
    return tern_hash64(v, sizeof v, 0);
}

static tern_code folder_of(const char *cache_dir, tern_str *out, tern_err *err)
{
    tern_str_printf(out, "%s/" FOLDER, cache_dir);
    return out->failed ? tern_fail(err, TERN_E_NOMEM, "out of memory for a path") : TERN_OK;
}

/* The file's name begins with what the model is, so that others of the same model are found by it. */
static tern_code make_path(tern_model *m, const tern_model_opts *o, tern_err *err)
{
    uint64_t source = source_identity(m), choice = choice_identity(m, o);
    tern_str path;
    tern_str_init(&path, 1 << 13);
    tern_code rc = folder_of(o->cache_dir, &path, err);
    tern_str_printf(&path, "/%016llx-%016llx" SUFFIX, (unsigned long long)source,
                    (unsigned long long)choice);
    m->packed_path = rc == TERN_OK ? tern_str_take(&path) : NULL;
    tern_str_done(&path);
    m->packed_key = tern_hash64(&choice, sizeof choice, source);
    if (!m->packed_path)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for a path");
    return TERN_OK;
}

static void warn(const tern_model_opts *o, const char *what, const tern_err *why)
{
    char line[320];
    if (!o->warn)
        return;
    (void)snprintf(line, sizeof line, "%s: %s", what, why->msg);
    o->warn(o->ctx, line);
}

/* ---- finding ------------------------------------------------------------------------------- */

tern_code tern_packing_find(tern_model *m, const tern_model_opts *o, tern_err *err)
{
    tern_err why;
    m->packing = TERN_PACKING_NOT_KEPT;
    if (!o->repack_cache || !o->cache_dir || m->dir->n_map == 0)
        return TERN_OK;
    TERN_TRY(make_path(m, o, err));
    m->packed.map = m->low_memory;
    m->packing = TERN_PACKING_MADE;
    tern_code rc = tern_packfile_open(m->packed_path, TERN_PACKED_VERSION, m->packed_key,
                                      &m->packed.file, &why);
    if (rc == TERN_OK)
        m->packing = TERN_PACKING_FOUND;
    else if (rc != TERN_E_NOT_FOUND)
        tern_packing_refuse(m, o, &why);
    return TERN_OK;
}

void tern_packing_refuse(tern_model *m, const tern_model_opts *o, const tern_err *why)
{
    warn(o, "packed weights not used, but made anew", why);
    tern_packfile_close(&m->packed.file);
    m->packing = TERN_PACKING_MADE;
}

/* ---- keeping ------------------------------------------------------------------------------- */

/* Files of the same original that it no longer is like, and what interrupted writers left. */
typedef struct sweep {
    const char *keep; /* how names of the present original begin */
    const char *title;
} sweep;

static bool has_suffix(const char *name)
{
    size_t n = strlen(name), n_suffix = strlen(SUFFIX);
    return n > n_suffix && strcmp(name + n - n_suffix, SUFFIX) == 0;
}

static bool is_temporary(const char *name)
{
    return strstr(name, SUFFIX ".") && tern_outfile_is_temp(name);
}

static void sweep_file(void *ctx, const tern_folder_file *f)
{
    const sweep *s = ctx;
    tern_packfile p;
    if (is_temporary(f->name) && f->age_s > STALE_S)
        (void)tern_folder_remove(f->path);
    if (!has_suffix(f->name) || strncmp(f->name, s->keep, 16) == 0 ||
        tern_packfile_peek(f->path, TERN_PACKED_VERSION, &p, NULL) != TERN_OK)
        return;
    bool stale = strcmp(p.title, s->title) == 0;
    tern_packfile_close(&p);
    if (stale)
        (void)tern_folder_remove(f->path);
}

static tern_code write_all(tern_model *m, const char *folder, const char *cache_dir, tern_err *err)
{
    size_t n = tern_weights_matrices(&m->w, NULL);
    const tern_linear **all = tern_calloc(n, sizeof *all);
    char *title = realpath(m->dir->path, NULL);
    const char *name = title ? title : m->dir->path;
    tern_code rc =
        all ? tern_folder_make(cache_dir, err) : tern_fail(err, TERN_E_NOMEM, "out of memory");
    if (rc == TERN_OK)
        rc = tern_folder_make(folder, err);
    if (rc == TERN_OK) {
        (void)tern_weights_matrices(&m->w, all);
        tern_folder_each(folder, sweep_file, &(sweep){m->packed_path + strlen(folder) + 1, name});
        rc = tern_packed_write(m->packed_path, m->packed_key, name, m->dir, all, n, &m->w.screen,
                               m->pool, err);
    }
    tern_free(all);
    free(title);
    return rc;
}

void tern_packing_keep(tern_model *m, const tern_model_opts *o)
{
    tern_err why;
    tern_str folder;
    if (m->packing != TERN_PACKING_MADE)
        return;
    tern_str_init(&folder, 1 << 13);
    tern_code rc = folder_of(o->cache_dir, &folder, &why);
    if (rc == TERN_OK)
        rc = write_all(m, tern_str_get(&folder), o->cache_dir, &why);
    if (rc != TERN_OK)
        warn(o, "packed weights not kept", &why);
    tern_str_done(&folder);
}

/* ---- what is kept -------------------------------------------------------------------------- */

static void list_file(void *ctx, const tern_folder_file *f)
{
    json_t *all = ctx;
    tern_packfile p;
    if (!has_suffix(f->name) && !is_temporary(f->name))
        return;
    json_t *one = json_pack("{s:o, s:I}", "file", tern_json_text(f->name, strlen(f->name)), "bytes",
                            (json_int_t)f->bytes);
    if (one && tern_packfile_peek(f->path, TERN_PACKED_VERSION, &p, NULL) == TERN_OK) {
        (void)json_object_set_new(one, "model", tern_json_text(p.title, strlen(p.title)));
        tern_packfile_close(&p);
    }
    (void)json_array_append_new(all, one);
}

static json_t *list_files(const char *cache_dir)
{
    tern_str folder;
    json_t *all = json_array();
    tern_str_init(&folder, 1 << 13);
    if (all && folder_of(cache_dir, &folder, NULL) == TERN_OK)
        tern_folder_each(tern_str_get(&folder), list_file, all);
    tern_str_done(&folder);
    return all;
}

tern_code tern_cache_describe(const char *cache_dir, char **json, tern_err *err)
{
    json_t *all = list_files(cache_dir);
    char *text = all ? json_dumps(all, JSON_INDENT(2)) : NULL;
    json_decref(all);
    *json = text ? tern_strdup_n(text, strlen(text)) : NULL;
    free(text);
    return *json ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "out of memory for a list of files");
}

void tern_clearing_remove(tern_clearing *c, const tern_folder_file *f)
{
    if (tern_folder_remove(f->path))
        c->bytes += f->bytes;
    else
        c->n_left++;
}

static void clear_file(void *ctx, const tern_folder_file *f)
{
    if (has_suffix(f->name) || is_temporary(f->name))
        tern_clearing_remove(ctx, f);
}

tern_code tern_cache_clear(const char *cache_dir, uint64_t *n_bytes, tern_err *err)
{
    tern_clearing c = {0};
    tern_str folder;
    *n_bytes = 0;
    tern_str_init(&folder, 1 << 13);
    tern_code rc = folder_of(cache_dir, &folder, err);
    if (rc == TERN_OK) {
        tern_folder_each(tern_str_get(&folder), clear_file, &c);
        (void)tern_folder_remove(tern_str_get(&folder)); /* stays while other files are in it */
        tern_calibrations_clear(cache_dir, &c);
        tern_prefixes_clear(cache_dir, &c);
        *n_bytes = c.bytes;
    }
    tern_str_done(&folder);
    if (rc == TERN_OK && c.n_left > 0)
        rc = tern_fail(err, TERN_E_IO, "%s: %d files could not be removed", cache_dir, c.n_left);
    return rc;
}
