#include "file/safetensors.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "base/reader.h"
#include "base/str.h"
#include "file/dir_make.h"
#include "file/json_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_MAX  ((size_t)100 << 20) /* the format's own limit */
#define INDEX_MAX ((size_t)64 << 20)
#define FILE_MAX  4096

/* One file while it is read. */
typedef struct container {
    tern_dir *dir;
    const char *path;
    const uint8_t *file; /* [begin of the file]; data is `size` bytes from `data_at` on */
    size_t data_at, size;
    tern_err *err;
    const char *name; /* of the current tensor, for messages */
} container;

/* The bytes of one tensor, to see that all together fill the file. */
typedef struct extent {
    size_t begin, end;
    const char *name; /* borrowed from the JSON head */
} extent;

TERN_PRINTF(3, 4)
static tern_code fail(const container *c, tern_code code, const char *fmt, ...)
{
    char text[160], name[64], path[96];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)tern_quote(path, sizeof path, c->path, strlen(c->path));
    if (!c->name)
        return tern_fail(c->err, code, "%s: %s", path, text);
    return tern_fail(c->err, code, "%s: tensor '%s': %s", path,
                     tern_quote(name, sizeof name, c->name, strlen(c->name)), text);
}

/* ---- one tensor ---------------------------------------------------------------------------- */

static bool dtype_of(const char *name, tern_dtype *out)
{
    static const struct {
        const char *name;
        tern_dtype dt;
    } types[] = {
        {"F64", TERN_DT_F64}, {"F32", TERN_DT_F32}, {"F16", TERN_DT_F16}, {"BF16", TERN_DT_BF16},
        {"I64", TERN_DT_I64}, {"I32", TERN_DT_I32}, {"I16", TERN_DT_I16}, {"I8", TERN_DT_I8},
        {"U8", TERN_DT_U8},   {"BOOL", TERN_DT_U8},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].name, name) == 0) {
            *out = types[i].dt;
            return true;
        }
    return false;
}

/* A size or an offset; false for anything but an integer that a file can have. */
static bool size_of(const json_t *v, size_t *out)
{
    json_int_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < 0 || (uint64_t)n > SIZE_MAX)
        return false;
    *out = (size_t)n;
    return true;
}

static tern_code read_shape(const container *c, const json_t *shape, tern_tensor *t)
{
    size_t n = json_array_size(shape);
    if (!json_is_array(shape) || n > 4)
        return fail(c, TERN_E_FORMAT, "'shape' is no list of up to 4 dimensions");
    t->n_dim = n ? (int)n : 1;
    for (size_t i = 0; i < 4; i++)
        t->ne[i] = 1;
    for (size_t i = 0; i < n; i++)
        if (!size_of(json_array_get(shape, i), &t->ne[n - 1 - i]) || t->ne[n - 1 - i] == 0)
            return fail(c, TERN_E_FORMAT, "dimension %zu of 'shape' is no number from 1 on", i);
    return TERN_OK;
}

static tern_code read_tensor(container *c, const json_t *v, tern_tensor *t, extent *at)
{
    const char *type = json_string_value(json_object_get(v, "dtype"));
    const json_t *offsets = json_object_get(v, "data_offsets");
    char shown[32];
    *t = (tern_tensor){.name = c->name};
    if (!type)
        return fail(c, TERN_E_FORMAT, "no 'dtype'");
    if (!dtype_of(type, &t->dtype))
        return fail(c, TERN_E_UNSUPPORTED,
                    "type '%s', expected F64, F32, F16, BF16, I64..I8, U8 or BOOL",
                    tern_quote(shown, sizeof shown, type, strlen(type)));
    TERN_TRY(read_shape(c, json_object_get(v, "shape"), t));
    if (json_array_size(offsets) != 2 || !size_of(json_array_get(offsets, 0), &at->begin) ||
        !size_of(json_array_get(offsets, 1), &at->end))
        return fail(c, TERN_E_FORMAT, "'data_offsets' is no pair of offsets");
    if (at->begin > at->end || at->end > c->size)
        return fail(c, TERN_E_FORMAT, "data [%zu, %zu), the file has %zu bytes of it; is it whole?",
                    at->begin, at->end, c->size);
    if (!tern_dtype_bytes(t->dtype, t->ne, &t->bytes) || t->bytes != at->end - at->begin)
        return fail(c, TERN_E_FORMAT, "%zu bytes of data, not what %s of its shape takes",
                    at->end - at->begin, type);
    t->offset = c->data_at + at->begin;
    t->data = c->file + t->offset;
    at->name = c->name;
    return TERN_OK;
}

/* ---- a file -------------------------------------------------------------------------------- */

static int compare_extents(const void *a, const void *b)
{
    const extent *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

/* Without holes and overlaps, as the format demands. */
static tern_code check_extents(container *c, extent *v, size_t n)
{
    size_t at = 0;
    qsort(v, n, sizeof *v, compare_extents);
    for (size_t i = 0; i < n; i++) {
        c->name = v[i].name;
        if (v[i].begin != at)
            return fail(c, TERN_E_FORMAT, "begins at %zu of the data, where %zu is expected",
                        v[i].begin, at);
        at = v[i].end;
    }
    c->name = NULL;
    if (at != c->size)
        return fail(c, TERN_E_FORMAT, "%zu bytes behind the last tensor", c->size - at);
    return TERN_OK;
}

static tern_code read_tensors(container *c, json_t *head)
{
    tern_code rc = TERN_OK;
    const char *name;
    json_t *v;
    size_t n = 0;
    extent *extents = tern_calloc(json_object_size(head) + 1, sizeof *extents);
    if (!extents)
        return fail(c, TERN_E_NOMEM, "no memory for its tensors");
    json_object_foreach(head, name, v)
    {
        tern_tensor t;
        if (strcmp(name, "__metadata__") == 0)
            continue;
        c->name = name;
        TERN_TRY_GOTO(read_tensor(c, v, &t, &extents[n++]));
        TERN_TRY_GOTO(tern_dir_put_tensor(c->dir, &t, c->err));
    }
    TERN_TRY_GOTO(check_extents(c, extents, n));
fail:
    tern_free(extents);
    return rc;
}

tern_code tern_safetensors_read(tern_dir *d, const char *path, tern_err *err)
{
    container c = {.dir = d, .path = path, .err = err};
    json_t *head;
    tern_reader r;
    TERN_TRY(tern_dir_map(d, path, err));
    const tern_map_file *f = &d->maps[d->n_map - 1];
    tern_reader_init(&r, f->data, f->size);
    uint64_t n = tern_read_u64(&r);
    if (r.failed || n > tern_reader_left(&r))
        return fail(&c, TERN_E_FORMAT, "%zu bytes, too few for the head of a safetensors file",
                    f->size);
    if (n > HEAD_MAX)
        return fail(&c, TERN_E_FORMAT, "a head of %llu bytes, at most %zu are allowed",
                    (unsigned long long)n, HEAD_MAX);
    c.file = f->data;
    c.data_at = 8 + (size_t)n;
    c.size = f->size - c.data_at;
    TERN_TRY(tern_json_parse(path, (const char *)f->data + 8, (size_t)n, &head, err));
    tern_code rc = json_is_object(head) ? read_tensors(&c, head)
                                        : fail(&c, TERN_E_FORMAT, "its head is no JSON object");
    json_decref(head);
    return rc;
}

/* ---- several files ------------------------------------------------------------------------- */

/* A name of a file beside the index; anything else could lead anywhere. */
static bool is_plain_name(const char *s)
{
    return s && *s && *s != '.' && !strchr(s, '/') && strlen(s) <= 255;
}

static tern_code read_beside(const container *c, const char *name)
{
    tern_str path;
    const char *slash = strrchr(c->path, '/');
    tern_str_init(&path, 1 << 16);
    if (slash)
        tern_str_put(&path, c->path, (size_t)(slash - c->path) + 1);
    tern_str_puts(&path, name);
    tern_code rc = path.failed ? fail(c, TERN_E_NOMEM, "no memory for a path")
                               : tern_safetensors_read(c->dir, tern_str_get(&path), c->err);
    tern_str_done(&path);
    return rc;
}

static tern_code read_files(container *c, json_t *map)
{
    const char *name;
    json_t *v, *seen = json_object();
    tern_code rc = seen ? TERN_OK : fail(c, TERN_E_NOMEM, "no memory for its files");
    if (rc != TERN_OK)
        return rc;
    json_object_foreach(map, name, v)
    {
        const char *file = json_string_value(v);
        if (!is_plain_name(file)) {
            c->name = name;
            rc = fail(c, TERN_E_FORMAT, "its file is not named by a plain name");
            goto fail;
        }
        if (json_object_get(seen, file))
            continue;
        if (json_object_size(seen) == FILE_MAX) {
            rc = fail(c, TERN_E_LIMIT, "names more than %d files", FILE_MAX);
            goto fail;
        }
        if (json_object_set_new(seen, file, json_true()) != 0) {
            rc = fail(c, TERN_E_NOMEM, "no memory for its files");
            goto fail;
        }
        TERN_TRY_GOTO(read_beside(c, file));
    }
    json_object_foreach(map, name, v)
    {
        c->name = name;
        if (!tern_dir_tensor_find(c->dir, name)) {
            rc = fail(c, TERN_E_FORMAT, "not in the file that the index names");
            goto fail;
        }
    }
fail:
    json_decref(seen);
    return rc;
}

tern_code tern_safetensors_read_index(tern_dir *d, const char *path, tern_err *err)
{
    container c = {.dir = d, .path = path, .err = err};
    json_t *index;
    TERN_TRY(tern_json_file_read(path, INDEX_MAX, &index, err));
    json_t *map = json_object_get(index, "weight_map");
    tern_code rc = json_is_object(map) ? read_files(&c, map)
                                       : fail(&c, TERN_E_FORMAT, "no object 'weight_map'");
    json_decref(index);
    return rc;
}
