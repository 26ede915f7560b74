#include "file/dir.h"
#include "base/error.h"
#include "base/reader.h"
#include "base/str.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* What the system may read ahead of the tensor at hand: enough for a disk to be busy while lanes
 * repack, little beside what a model takes. */
#define AHEAD_BYTES ((size_t)32 << 20)

const tern_tensor *tern_dir_tensor_find(const tern_dir *d, const char *name)
{
    uint32_t i;
    return tern_map_find(&d->tensor_by_name, name, strlen(name), &i) ? &d->tensors[i] : NULL;
}

const tern_meta *tern_dir_meta_find(const tern_dir *d, const char *key)
{
    uint32_t i;
    return tern_map_find(&d->meta_by_key, key, strlen(key), &i) ? &d->metas[i] : NULL;
}

/* The file that holds the tensor; NULL: none is known to, the directory is from memory. */
static const tern_map_file *map_of(const tern_dir *d, const tern_tensor *t)
{
    for (size_t i = 0; i < d->n_map; i++)
        if (t->offset <= d->maps[i].size && t->data == d->maps[i].data + t->offset)
            return &d->maps[i];
    if (t->offset <= d->given.size && d->given.data && t->data == d->given.data + t->offset)
        return &d->given;
    return NULL;
}

void tern_dir_tensor_want(const tern_dir *d, const tern_tensor *t)
{
    const tern_map_file *m = map_of(d, t);
    if (!m)
        return;
    size_t ahead = m->size - t->offset - t->bytes;
    tern_map_want(m, t->offset, t->bytes + (ahead < AHEAD_BYTES ? ahead : AHEAD_BYTES));
}

void tern_dir_tensor_drop(const tern_dir *d, const tern_tensor *t)
{
    const tern_map_file *m = map_of(d, t);
    if (m)
        tern_map_drop(m, t->offset, t->bytes);
}

void tern_dir_drop(const tern_dir *d)
{
    for (size_t i = 0; i < d->n_map; i++)
        tern_map_drop(&d->maps[i], 0, d->maps[i].size);
    tern_map_drop(&d->given, 0, d->given.size);
}

bool tern_dir_tensor_read(const tern_dir *d, const tern_tensor *t, size_t offset, void *to,
                          size_t size)
{
    const tern_map_file *m = map_of(d, t);
    return m && offset <= t->bytes && size <= t->bytes - offset &&
           tern_map_read(m, t->offset + offset, to, size);
}

tern_code tern_dir_check_whole(const tern_dir *d, tern_err *err)
{
    char path[128];
    for (size_t i = 0; i < d->n_map; i++)
        if (tern_map_lost(&d->maps[i]))
            return tern_fail(err, TERN_E_IO, "%s: was cut short or could not be read while in use",
                             tern_quote(path, sizeof path, d->path, strlen(d->path)));
    return TERN_OK;
}

static const char *type_name(tern_meta_type type)
{
    static const char *const names[TERN_META_COUNT] = {
        "u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
        "bool", "string", "array", "u64", "i64", "f64",
    };
    return names[type];
}

static tern_code fail_value(const tern_dir *d, const tern_meta *m, const char *what,
                            const char *expected, tern_err *err)
{
    char path[72], key[64];
    return tern_fail(err, TERN_E_FORMAT, "%s: key '%s' at offset %zu: %s%s, expected %s",
                     tern_quote(path, sizeof path, d->path, strlen(d->path)),
                     tern_quote(key, sizeof key, m->key, strlen(m->key)), m->offset,
                     what ? "" : "has type ", what ? what : type_name(m->type), expected);
}

/* The value; NULL and *found = false when the key is absent. */
static const tern_meta *look_up(const tern_dir *d, const char *key, bool *found)
{
    const tern_meta *m = tern_dir_meta_find(d, key);
    if (found)
        *found = m != NULL;
    return m;
}

tern_code tern_dir_get_u32(const tern_dir *d, const char *key, uint32_t *out, bool *found,
                           tern_err *err)
{
    const tern_meta *m = look_up(d, key, found);
    if (!m)
        return TERN_OK;
    switch (m->type) {
    case TERN_META_U8:
    case TERN_META_U16:
    case TERN_META_U32:
    case TERN_META_U64:
        if (m->v.u > UINT32_MAX)
            return fail_value(d, m, "value too large", "0 to 2^32 - 1", err);
        *out = (uint32_t)m->v.u;
        return TERN_OK;
    case TERN_META_I8:
    case TERN_META_I16:
    case TERN_META_I32:
    case TERN_META_I64:
        if (m->v.i < 0 || m->v.i > UINT32_MAX)
            return fail_value(d, m, m->v.i < 0 ? "negative value" : "value too large",
                              "0 to 2^32 - 1", err);
        *out = (uint32_t)m->v.i;
        return TERN_OK;
    default:
        return fail_value(d, m, NULL, "an integer", err);
    }
}

tern_code tern_dir_get_f32(const tern_dir *d, const char *key, float *out, bool *found,
                           tern_err *err)
{
    const tern_meta *m = look_up(d, key, found);
    if (!m)
        return TERN_OK;
    if (m->type != TERN_META_F32 && m->type != TERN_META_F64)
        return fail_value(d, m, NULL, "f32 or f64", err);
    if (isfinite(m->v.f) && fabs(m->v.f) > (double)FLT_MAX)
        return fail_value(d, m, "value too large", "a number that fits f32", err);
    *out = (float)m->v.f;
    return TERN_OK;
}

tern_code tern_dir_get_bool(const tern_dir *d, const char *key, bool *out, bool *found,
                            tern_err *err)
{
    const tern_meta *m = look_up(d, key, found);
    if (!m)
        return TERN_OK;
    if (m->type != TERN_META_BOOL)
        return fail_value(d, m, NULL, "bool", err);
    *out = m->v.u != 0;
    return TERN_OK;
}

tern_code tern_dir_get_str(const tern_dir *d, const char *key, tern_slice *out, bool *found,
                           tern_err *err)
{
    const tern_meta *m = look_up(d, key, found);
    if (!m)
        return TERN_OK;
    if (m->type != TERN_META_STRING)
        return fail_value(d, m, NULL, "string", err);
    *out = m->v.s;
    return TERN_OK;
}

size_t tern_meta_number_bytes(tern_meta_type type)
{
    static const uint8_t bytes[TERN_META_COUNT] = {
        [TERN_META_U8] = 1,  [TERN_META_I8] = 1,  [TERN_META_U16] = 2, [TERN_META_I16] = 2,
        [TERN_META_U32] = 4, [TERN_META_I32] = 4, [TERN_META_F32] = 4, [TERN_META_BOOL] = 1,
        [TERN_META_U64] = 8, [TERN_META_I64] = 8, [TERN_META_F64] = 8,
    };
    return type < TERN_META_COUNT ? bytes[type] : 0;
}

bool tern_meta_number(const tern_meta *m, double *out)
{
    switch (m->type) {
    case TERN_META_U8:
    case TERN_META_U16:
    case TERN_META_U32:
    case TERN_META_U64:
        *out = (double)m->v.u;
        return true;
    case TERN_META_I8:
    case TERN_META_I16:
    case TERN_META_I32:
    case TERN_META_I64:
        *out = (double)m->v.i;
        return true;
    case TERN_META_F32:
    case TERN_META_F64:
        *out = m->v.f;
        return true;
    default:
        return false;
    }
}

double tern_meta_elem_f64(const tern_meta *m, size_t i)
{
    switch (m->elem) {
    case TERN_META_F32:
        return (double)tern_lef32(m->elems + i * 4);
    case TERN_META_F64:
        return tern_lef64(m->elems + i * 8);
    case TERN_META_U64:
        return (double)tern_le64(m->elems + i * 8);
    default:
        return (double)tern_meta_elem_i64(m, i);
    }
}

/* Values beyond int64 give its nearest end, NaN gives 0. */
static int64_t saturate(double f)
{
    if (f >= 0x1p63)
        return INT64_MAX;
    if (f < -0x1p63)
        return INT64_MIN;
    return isnan(f) ? 0 : (int64_t)f;
}

int64_t tern_meta_elem_i64(const tern_meta *m, size_t i)
{
    const uint8_t *p = m->elems;
    switch (m->elem) {
    case TERN_META_U8:
        return p[i];
    case TERN_META_I8:
        return (int8_t)p[i];
    case TERN_META_BOOL:
        return p[i] != 0;
    case TERN_META_U16:
        return tern_le16(p + i * 2);
    case TERN_META_I16:
        return (int16_t)tern_le16(p + i * 2);
    case TERN_META_U32:
        return tern_le32(p + i * 4);
    case TERN_META_I32:
        return (int32_t)tern_le32(p + i * 4);
    case TERN_META_U64: {
        uint64_t u = tern_le64(p + i * 8);
        return u > INT64_MAX ? INT64_MAX : (int64_t)u;
    }
    case TERN_META_I64:
        return (int64_t)tern_le64(p + i * 8);
    case TERN_META_F32:
    case TERN_META_F64:
        return saturate(tern_meta_elem_f64(m, i));
    default:
        return 0; /* strings and arrays hold no numbers */
    }
}
