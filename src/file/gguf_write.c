#include "file/gguf_write.h"
#include "base/alloc.h"
#include "base/arena.h"
#include "base/error.h"
#include "base/num.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

#define VERSION   3
#define ALIGNMENT 32 /* the format's default, so that no key need say it */
#define HEAD_MAX  ((size_t)1 << 32)

typedef struct item {
    const char *name; /* in the arena */
    size_t bytes;
} item;

struct tern_gguf_writer {
    tern_arena arena;
    tern_str keys, infos;
    tern_map key_names, tensor_names;
    item *items; /* owned; [n_item]: the tensors */
    size_t n_item, cap_item;
    size_t data_bytes; /* of all tensors, padded */
    tern_err first;    /* first mistake of a declaration */
    tern_outfile file;
    size_t at, done; /* tensor that the next byte belongs to; bytes of it that came */
};

tern_code tern_gguf_writer_new(tern_gguf_writer **out, tern_err *err)
{
    tern_gguf_writer *w = tern_calloc(1, sizeof *w);
    *out = w;
    if (!w)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for a GGUF writer");
    tern_arena_init(&w->arena, HEAD_MAX);
    tern_str_init(&w->keys, HEAD_MAX);
    tern_str_init(&w->infos, HEAD_MAX);
    return TERN_OK;
}

void tern_gguf_writer_free(tern_gguf_writer *w)
{
    if (!w)
        return;
    tern_outfile_abort(&w->file);
    tern_str_done(&w->keys);
    tern_str_done(&w->infos);
    tern_map_done(&w->key_names);
    tern_map_done(&w->tensor_names);
    tern_free(w->items);
    tern_arena_done(&w->arena);
    tern_free(w);
}

/* ---- declarations -------------------------------------------------------------------------- */

static void put_u32(tern_str *s, uint32_t v)
{
    const uint8_t b[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
    tern_str_put(s, b, sizeof b);
}

static void put_u64(tern_str *s, uint64_t v)
{
    put_u32(s, (uint32_t)v);
    put_u32(s, (uint32_t)(v >> 32));
}

static void put_text(tern_str *s, const char *text, size_t n)
{
    put_u64(s, n);
    tern_str_put(s, text, n);
}

/* A name that is new in its map, copied; NULL after a mistake, which is remembered. */
static const char *new_name(tern_gguf_writer *w, tern_map *map, const char *what, const char *name)
{
    size_t n = strlen(name);
    bool ok = true;
    if (w->first.code != TERN_OK)
        return NULL;
    if (n == 0) {
        (void)tern_fail(&w->first, TERN_E_USAGE, "GGUF: the name of a %s is empty", what);
        return NULL;
    }
    const char *copy = tern_arena_strdup_n(&w->arena, name, n);
    if (copy && tern_map_add(map, copy, n, 0, NULL, &ok)) {
        (void)tern_fail(&w->first, TERN_E_USAGE, "GGUF: %s '%s' given twice", what, name);
        return NULL;
    }
    if (!copy || !ok) {
        (void)tern_fail(&w->first, TERN_E_NOMEM, "out of memory for the names of a GGUF file");
        return NULL;
    }
    return copy;
}

/* Name and type of a pair; false after a mistake. */
static bool put_key(tern_gguf_writer *w, const char *key, tern_meta_type type)
{
    const char *name = new_name(w, &w->key_names, "key", key);
    if (!name)
        return false;
    put_text(&w->keys, name, strlen(name));
    put_u32(&w->keys, (uint32_t)type);
    return true;
}

void tern_gguf_key_u32(tern_gguf_writer *w, const char *key, uint32_t v)
{
    if (put_key(w, key, TERN_META_U32))
        put_u32(&w->keys, v);
}

void tern_gguf_key_f32(tern_gguf_writer *w, const char *key, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    if (put_key(w, key, TERN_META_F32))
        put_u32(&w->keys, bits);
}

void tern_gguf_key_bool(tern_gguf_writer *w, const char *key, bool v)
{
    if (put_key(w, key, TERN_META_BOOL))
        tern_str_putc(&w->keys, v ? 1 : 0);
}

void tern_gguf_key_str(tern_gguf_writer *w, const char *key, const char *v)
{
    if (put_key(w, key, TERN_META_STRING))
        put_text(&w->keys, v, strlen(v));
}

static bool put_array(tern_gguf_writer *w, const char *key, tern_meta_type elem, size_t n)
{
    if (!put_key(w, key, TERN_META_ARRAY))
        return false;
    put_u32(&w->keys, (uint32_t)elem);
    put_u64(&w->keys, n);
    return true;
}

void tern_gguf_key_strs(tern_gguf_writer *w, const char *key, const tern_slice *v, size_t n)
{
    if (!put_array(w, key, TERN_META_STRING, n))
        return;
    for (size_t i = 0; i < n; i++)
        put_text(&w->keys, v[i].p, v[i].n);
}

void tern_gguf_key_numbers(tern_gguf_writer *w, const char *key, tern_meta_type elem, const void *v,
                           size_t n)
{
    size_t each = tern_meta_number_bytes(elem), bytes;
    if (w->first.code == TERN_OK && (each == 0 || !tern_mul_size(n, each, &bytes)))
        (void)tern_fail(&w->first, TERN_E_USAGE, "GGUF: key '%s': no array of numbers", key);
    else if (put_array(w, key, elem, n))
        tern_str_put(&w->keys, v, n * each);
}

static void put_number(tern_str *s, const tern_meta *m)
{
    double f = m->v.f;
    float narrow = (float)f;
    uint32_t bits32;
    uint64_t bits = m->type == TERN_META_I8 || m->type == TERN_META_I16 ||
                            m->type == TERN_META_I32 || m->type == TERN_META_I64
                        ? (uint64_t)m->v.i
                        : m->v.u;
    if (m->type == TERN_META_F64) {
        memcpy(&bits, &f, sizeof bits);
    } else if (m->type == TERN_META_F32) {
        memcpy(&bits32, &narrow, sizeof bits32);
        bits = bits32;
    }
    for (size_t i = 0; i < tern_meta_number_bytes(m->type); i++)
        tern_str_putc(s, (char)(uint8_t)(bits >> (8 * i)));
}

void tern_gguf_key_meta(tern_gguf_writer *w, const tern_meta *m)
{
    if (m->type == TERN_META_ARRAY && m->elem == TERN_META_STRING) {
        tern_gguf_key_strs(w, m->key, m->strings, m->n_elem);
    } else if (m->type == TERN_META_ARRAY) {
        if (put_array(w, m->key, m->elem, m->n_elem))
            tern_str_put(&w->keys, m->elems, m->n_elem * tern_meta_number_bytes(m->elem));
    } else if (put_key(w, m->key, m->type)) {
        if (m->type == TERN_META_STRING)
            put_text(&w->keys, m->v.s.p, m->v.s.n);
        else
            put_number(&w->keys, m);
    }
}

static bool add_item(tern_gguf_writer *w, const char *name, size_t bytes)
{
    if (w->n_item == w->cap_item) {
        size_t cap = w->cap_item ? 2 * w->cap_item : 64;
        item *v =
            tern_realloc(w->items, w->n_item * sizeof *v, cap * sizeof *v); /* far below 2^64 */
        if (!v) {
            (void)tern_fail(&w->first, TERN_E_NOMEM,
                            "out of memory for the tensors of a GGUF file");
            return false;
        }
        w->items = v;
        w->cap_item = cap;
    }
    w->items[w->n_item++] = (item){name, bytes};
    return true;
}

void tern_gguf_tensor(tern_gguf_writer *w, const char *name, tern_dtype dt, int n_dim,
                      const size_t *ne)
{
    const tern_dtype_info *info = tern_dtype_get(dt);
    const char *copy = new_name(w, &w->tensor_names, "tensor", name);
    size_t shape[4] = {1, 1, 1, 1}, bytes, padded, total;
    if (!copy)
        return;
    for (int i = 0; i < 4 && i < n_dim; i++)
        shape[i] = ne[i];
    if (!info || info->file_id == UINT32_MAX || n_dim < 1 || n_dim > 4 ||
        !tern_dtype_bytes(dt, shape, &bytes) || !tern_align_size(bytes, ALIGNMENT, &padded) ||
        !tern_add_size(w->data_bytes, padded, &total)) {
        (void)tern_fail(&w->first, TERN_E_USAGE,
                        "GGUF: tensor '%s': no %s of shape [%zu, %zu, %zu, %zu]", name,
                        info ? info->name : "format", shape[0], shape[1], shape[2], shape[3]);
        return;
    }
    if (!add_item(w, copy, bytes))
        return;
    put_text(&w->infos, copy, strlen(copy));
    put_u32(&w->infos, (uint32_t)n_dim);
    for (int i = 0; i < n_dim; i++)
        put_u64(&w->infos, shape[i]);
    put_u32(&w->infos, info->file_id);
    put_u64(&w->infos, w->data_bytes);
    w->data_bytes = total;
}

/* ---- the file ------------------------------------------------------------------------------ */

#define HEADER_BYTES 24

static size_t head_bytes(const tern_gguf_writer *w)
{
    return tern_round_up(HEADER_BYTES + w->keys.len + w->infos.len, ALIGNMENT);
}

uint64_t tern_gguf_writer_bytes(const tern_gguf_writer *w)
{
    return head_bytes(w) + w->data_bytes;
}

static tern_code put(tern_gguf_writer *w, const void *bytes, size_t n, tern_err *err)
{
    if (n == 0 || fwrite(bytes, 1, n, w->file.f) == n)
        return TERN_OK;
    return tern_fail(err, TERN_E_IO, "%s: cannot write: %s", w->file.path, strerror(errno));
}

static tern_code put_padding(tern_gguf_writer *w, size_t written, tern_err *err)
{
    static const uint8_t zeros[ALIGNMENT];
    return put(w, zeros, tern_round_up(written, ALIGNMENT) - written, err);
}

tern_code tern_gguf_writer_begin(tern_gguf_writer *w, const char *path, unsigned flags,
                                 tern_err *err)
{
    tern_str header;
    tern_code rc;
    if (w->first.code == TERN_OK && (w->keys.failed || w->infos.failed))
        (void)tern_fail(&w->first, TERN_E_NOMEM, "out of memory for the head of a GGUF file");
    if (w->first.code != TERN_OK) {
        if (err)
            *err = w->first;
        return w->first.code;
    }
    tern_str_init(&header, HEADER_BYTES);
    tern_str_puts(&header, "GGUF");
    put_u32(&header, VERSION);
    put_u64(&header, w->n_item);
    put_u64(&header, w->key_names.n);
    if (header.failed) {
        rc = tern_fail(err, TERN_E_NOMEM, "out of memory for the head of a GGUF file");
        goto fail;
    }
    TERN_TRY_GOTO(tern_outfile_open(&w->file, path, flags, err));
    TERN_TRY_GOTO(tern_outfile_reserve(&w->file, (size_t)tern_gguf_writer_bytes(w), err));
    TERN_TRY_GOTO(put(w, header.data, header.len, err));
    TERN_TRY_GOTO(put(w, w->keys.data, w->keys.len, err));
    TERN_TRY_GOTO(put(w, w->infos.data, w->infos.len, err));
    TERN_TRY_GOTO(put_padding(w, HEADER_BYTES + w->keys.len + w->infos.len, err));
fail:
    tern_str_done(&header);
    return rc;
}

tern_code tern_gguf_writer_data(tern_gguf_writer *w, const void *bytes, size_t n, tern_err *err)
{
    if (n == 0)
        return TERN_OK;
    if (w->at == w->n_item)
        return tern_fail(err, TERN_E_USAGE, "GGUF: %zu bytes behind the last tensor", n);
    const item *it = &w->items[w->at];
    if (n > it->bytes - w->done)
        return tern_fail(err, TERN_E_USAGE, "GGUF: tensor '%s': %zu bytes too many", it->name,
                         n - (it->bytes - w->done));
    TERN_TRY(put(w, bytes, n, err));
    w->done += n;
    if (w->done < it->bytes)
        return TERN_OK;
    w->at++;
    w->done = 0;
    return put_padding(w, it->bytes, err);
}

tern_code tern_gguf_writer_end(tern_gguf_writer *w, tern_err *err)
{
    if (w->at < w->n_item) {
        const item *it = &w->items[w->at];
        tern_code rc = tern_fail(err, TERN_E_USAGE, "GGUF: tensor '%s': %zu of %zu bytes came",
                                 it->name, w->done, it->bytes);
        tern_outfile_abort(&w->file);
        return rc;
    }
    return tern_outfile_commit(&w->file, err);
}
