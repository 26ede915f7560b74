/* GGUF version 2 and 3: header, key/value pairs, tensor infos, padding, data. Files of several
 * shards are read as one: metadata from the first, tensors from all.
 *
 * Nothing the file says is believed: a count is compared with the bytes that are left before memory
 * is taken for it, every length with the bytes behind it, every tensor's extent with its file. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "base/reader.h"
#include "base/str.h"
#include "file/dir_make.h"
#include "file/typeid.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES 24
/* The smallest key/value pair (length, one letter, type, one byte) and tensor info (length, one
 * letter, one dimension, type, offset): what bounds a count by the bytes left. */
#define PAIR_BYTES       (8 + 1 + 4 + 1)
#define INFO_BYTES       (8 + 1 + 4 + 8 + 4 + 8)
#define COUNT_MAX        ((uint64_t)1 << 31)
#define STRING_MAX       ((uint64_t)1 << 30) /* the limits of the format's own library */
#define ARRAY_MAX        ((uint64_t)1 << 30)
#define NAME_BYTES_MAX   65535
#define DEFAULT_ALIGN    32
#define ARENA_BASE       ((size_t)1 << 20)
#define SHARD_MAX        65535
#define SHARD_SUFFIX     "-00001-of-00002.gguf"
#define SHARD_SUFFIX_LEN (sizeof SHARD_SUFFIX - 1)

/* One file while it is read. */
typedef struct shard {
    tern_dir *dir;  /* takes the tensors */
    tern_dir *meta; /* takes the metadata: dir for the first shard, else a passing one */
    tern_reader r;
    size_t n_meta, n_tensor; /* as declared, possible */
    size_t alignment;
    tern_i2s_layout i2s_layout;
    char path[72];    /* for messages */
    const char *kind; /* of the current item, for messages: "key", "tensor" or NULL */
    tern_slice name;  /* of it; p is NULL while unknown */
    size_t index;     /* of it */
} shard;

/* What a tensor info says before the sizes of all are known. */
typedef struct raw_info {
    uint32_t id;
    bool tie;
    uint64_t offset; /* in the data section */
    size_t info_at;  /* of the info, for messages */
} raw_info;

/* ---- messages --------------------------------------------------------------------------- */

TERN_PRINTF(5, 6)
static tern_code fail_at(const shard *s, tern_err *err, tern_code code, size_t at, const char *fmt,
                         ...)
{
    char text[200], name[64], item[96] = "";
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (s->kind && s->name.p)
        (void)snprintf(item, sizeof item, "%s '%s' at ", s->kind,
                       tern_quote(name, sizeof name, s->name.p, s->name.n));
    else if (s->kind)
        (void)snprintf(item, sizeof item, "%s %zu at ", s->kind, s->index);
    return tern_fail(err, code, "%s: %soffset %zu: %s", s->path, item, at, text);
}

static tern_code no_memory(const shard *s, tern_err *err, const char *what)
{
    return tern_fail(err, TERN_E_NOMEM, "%s: no memory for %s", s->path, what);
}

static tern_code fail_short(const shard *s, tern_err *err, const char *what)
{
    return fail_at(s, err, TERN_E_FORMAT, s->r.fail_pos,
                   "%s needs %zu bytes, the file has %zu more", what, s->r.fail_need,
                   s->r.size - s->r.fail_pos);
}

/* ---- header ----------------------------------------------------------------------------- */

static tern_code check_version(const shard *s, uint32_t version, tern_err *err)
{
    if (version == 2 || version == 3)
        return TERN_OK;
    if (version == 1)
        return fail_at(s, err, TERN_E_UNSUPPORTED, 4,
                       "GGUF version 1 is not supported; convert the model again");
    if (version != 0 && (version & 0xFFFF) == 0)
        return fail_at(s, err, TERN_E_UNSUPPORTED, 4,
                       "big-endian GGUF is not supported; convert the file to little-endian");
    return fail_at(s, err, version ? TERN_E_UNSUPPORTED : TERN_E_FORMAT, 4,
                   "GGUF version %" PRIu32 ", supported are 2 and 3", version);
}

static tern_code read_header(shard *s, tern_err *err)
{
    tern_reader *r = &s->r;
    const uint8_t *magic = tern_reader_take(r, 4);
    if (magic && memcmp(magic, "GGUF", 4) != 0) {
        char shown[20];
        return fail_at(s, err, TERN_E_FORMAT, 0, "begins with '%s', a GGUF file with 'GGUF'",
                       tern_quote(shown, sizeof shown, (const char *)magic, 4));
    }
    uint32_t version = tern_read_u32(r);
    if (r->failed)
        return fail_short(s, err, "the header");
    TERN_TRY(check_version(s, version, err));
    uint64_t n_tensor = tern_read_u64(r), n_meta = tern_read_u64(r);
    if (r->failed)
        return fail_short(s, err, "the header");
    size_t left = tern_reader_left(r);
    if (n_meta > COUNT_MAX || n_meta > left / PAIR_BYTES)
        return fail_at(s, err, TERN_E_FORMAT, 16,
                       "%" PRIu64 " keys declared, the %zu bytes left hold at most %zu", n_meta,
                       left, left / PAIR_BYTES);
    left -= (size_t)n_meta * PAIR_BYTES;
    if (n_tensor > COUNT_MAX || n_tensor > left / INFO_BYTES)
        return fail_at(s, err, TERN_E_FORMAT, 8,
                       "%" PRIu64 " tensors declared, the bytes left hold at most %zu", n_tensor,
                       left / INFO_BYTES);
    s->n_meta = (size_t)n_meta;
    s->n_tensor = (size_t)n_tensor;
    return TERN_OK;
}

/* ---- key/value pairs -------------------------------------------------------------------- */

static tern_code read_string(shard *s, const char *what, uint64_t max, tern_slice *out,
                             tern_err *err)
{
    size_t at = s->r.pos;
    uint64_t n = tern_read_u64(&s->r);
    if (s->r.failed)
        return fail_short(s, err, what);
    if (n > max || n > tern_reader_left(&s->r))
        return fail_at(s, err, TERN_E_FORMAT, at,
                       "%s has length %" PRIu64 ", at most %" PRIu64 " is allowed and %zu left",
                       what, n, max, tern_reader_left(&s->r));
    out->n = (size_t)n;
    out->p = (const char *)tern_reader_take(&s->r, out->n);
    return TERN_OK;
}

/* A key or a tensor name: not empty, no NUL inside, copied because look-ups want a NUL behind. */
static tern_code read_name(shard *s, const char *what, tern_arena *arena, const char **out,
                           tern_err *err)
{
    size_t at = s->r.pos;
    tern_slice name;
    TERN_TRY(read_string(s, what, NAME_BYTES_MAX, &name, err));
    if (name.n == 0)
        return fail_at(s, err, TERN_E_FORMAT, at, "%s is empty", what);
    s->name = name;
    if (memchr(name.p, 0, name.n))
        return fail_at(s, err, TERN_E_FORMAT, at, "%s holds a NUL byte", what);
    *out = tern_arena_strdup_n(arena, name.p, name.n);
    return *out ? TERN_OK : no_memory(s, err, "names");
}

static tern_code read_type(shard *s, const char *what, tern_meta_type *out, tern_err *err)
{
    size_t at = s->r.pos;
    uint32_t type = tern_read_u32(&s->r);
    if (s->r.failed)
        return fail_short(s, err, what);
    if (type >= TERN_META_COUNT)
        return fail_at(s, err, TERN_E_FORMAT, at, "%s is %" PRIu32 ", known are 0 to %d", what,
                       type, TERN_META_COUNT - 1);
    *out = (tern_meta_type)type;
    return TERN_OK;
}

static tern_code read_strings(shard *s, tern_meta *m, tern_err *err)
{
    tern_slice *v = tern_arena_calloc(&s->meta->arena, m->n_elem, sizeof *v);
    if (!v)
        return no_memory(s, err, "an array of strings");
    for (size_t i = 0; i < m->n_elem; i++)
        TERN_TRY(read_string(s, "an array's string", STRING_MAX, &v[i], err));
    m->strings = v;
    return TERN_OK;
}

static tern_code read_array(shard *s, tern_meta *m, tern_err *err)
{
    size_t at = s->r.pos;
    TERN_TRY(read_type(s, "array element type", &m->elem, err));
    if (m->elem == TERN_META_ARRAY)
        return fail_at(s, err, TERN_E_FORMAT, at, "array of arrays");
    at = s->r.pos;
    uint64_t n = tern_read_u64(&s->r);
    if (s->r.failed)
        return fail_short(s, err, "array length");
    size_t each = m->elem == TERN_META_STRING ? 8 : tern_meta_number_bytes(m->elem);
    size_t left = tern_reader_left(&s->r);
    if (n > ARRAY_MAX || n > left / each)
        return fail_at(s, err, TERN_E_FORMAT, at,
                       "array of %" PRIu64 " elements, the %zu bytes left hold at most %zu", n,
                       left, left / each);
    m->n_elem = (size_t)n;
    if (m->elem == TERN_META_STRING)
        return read_strings(s, m, err);
    m->elems = tern_reader_take(&s->r, m->n_elem * each);
    return TERN_OK;
}

static tern_code read_value(shard *s, tern_meta *m, tern_err *err)
{
    TERN_TRY(read_type(s, "value type", &m->type, err));
    m->offset = s->r.pos;
    if (m->type == TERN_META_STRING)
        return read_string(s, "string value", STRING_MAX, &m->v.s, err);
    if (m->type == TERN_META_ARRAY)
        return read_array(s, m, err);
    const uint8_t *p = tern_reader_take(&s->r, tern_meta_number_bytes(m->type));
    if (!p)
        return fail_short(s, err, "value");
    tern_meta one = {.elem = m->type, .elems = p};
    switch (m->type) {
    case TERN_META_U64:
        m->v.u = tern_le64(p);
        break;
    case TERN_META_F32:
    case TERN_META_F64:
        m->v.f = tern_meta_elem_f64(&one, 0);
        break;
    default: /* every other number fits int64, and a non-negative one reads the same as uint64 */
        m->v.i = tern_meta_elem_i64(&one, 0);
    }
    return TERN_OK;
}

static tern_code read_metas(shard *s, tern_err *err)
{
    tern_dir *d = s->meta;
    d->metas = tern_arena_calloc(&d->arena, s->n_meta, sizeof *d->metas);
    if (!d->metas || !tern_map_reserve(&d->meta_by_key, s->n_meta))
        return no_memory(s, err, "metadata");
    s->kind = "key";
    for (s->index = 0; s->index < s->n_meta; s->index++) {
        tern_meta *m = &d->metas[s->index];
        size_t at = s->r.pos;
        uint32_t old = 0;
        bool ok;
        s->name.p = NULL;
        TERN_TRY(read_name(s, "key", &d->arena, &m->key, err));
        if (tern_map_add(&d->meta_by_key, m->key, s->name.n, (uint32_t)s->index, &old, &ok))
            return fail_at(s, err, TERN_E_FORMAT, at, "given twice, first with value at %zu",
                           d->metas[old].offset);
        if (!ok)
            return no_memory(s, err, "metadata");
        TERN_TRY(read_value(s, m, err));
        d->n_meta = s->index + 1;
    }
    s->kind = NULL;
    return TERN_OK;
}

static tern_code read_alignment(shard *s, tern_err *err)
{
    static const char key[] = "general.alignment";
    uint32_t align = DEFAULT_ALIGN;
    bool found;
    TERN_TRY(tern_dir_get_u32(s->meta, key, &align, &found, err));
    /* The format's text asks for a multiple of 8, its library for a power of two. */
    if (align < 8 || (align & (align - 1)) != 0)
        return tern_fail(err, TERN_E_FORMAT,
                         "%s: key '%s' at offset %zu: %" PRIu32
                         ", expected a power of two that is 8 or more",
                         s->path, key, tern_dir_meta_find(s->meta, key)->offset, align);
    s->alignment = align;
    return TERN_OK;
}

/* ---- tensors ---------------------------------------------------------------------------- */

static tern_code read_shape(shard *s, tern_tensor *t, tern_err *err)
{
    size_t at = s->r.pos;
    uint32_t n_dim = tern_read_u32(&s->r);
    uint64_t n = 1;
    if (s->r.failed)
        return fail_short(s, err, "number of dimensions");
    if (n_dim < 1 || n_dim > 4)
        return fail_at(s, err, TERN_E_FORMAT, at, "%" PRIu32 " dimensions, expected 1 to 4", n_dim);
    t->n_dim = (int)n_dim;
    for (uint32_t i = 0; i < 4; i++) {
        at = s->r.pos;
        uint64_t ne = i < n_dim ? tern_read_u64(&s->r) : 1;
        if (s->r.failed)
            return fail_short(s, err, "a dimension");
        if (ne == 0 || ne > SIZE_MAX || __builtin_mul_overflow(n, ne, &n) || n > INT64_MAX)
            return fail_at(s, err, TERN_E_FORMAT, at,
                           "dimension %" PRIu32 " is %" PRIu64
                           ", expected at least 1 and a product below 2^63",
                           i, ne);
        t->ne[i] = (size_t)ne;
    }
    return TERN_OK;
}

static tern_code read_infos(shard *s, tern_tensor *tensors, raw_info *raw, tern_err *err)
{
    tern_dir *d = s->dir;
    s->kind = "tensor";
    for (s->index = 0; s->index < s->n_tensor; s->index++) {
        tern_tensor *t = &tensors[s->index];
        raw_info *info = &raw[s->index];
        bool ok;
        *info = (raw_info){.info_at = s->r.pos};
        s->name.p = NULL;
        TERN_TRY(read_name(s, "tensor name", &d->arena, &t->name, err));
        if (tern_map_add(&d->tensor_by_name, t->name, s->name.n, (uint32_t)(d->n_tensor + s->index),
                         NULL, &ok))
            return fail_at(s, err, TERN_E_FORMAT, info->info_at, "tensor name given twice");
        if (!ok)
            return no_memory(s, err, "tensors");
        TERN_TRY(read_shape(s, t, err));
        info->id = tern_read_u32(&s->r);
        size_t at = s->r.pos;
        info->offset = tern_read_u64(&s->r);
        if (s->r.failed)
            return fail_short(s, err, "type and offset");
        if (info->offset % s->alignment != 0)
            return fail_at(s, err, TERN_E_FORMAT, at,
                           "data offset %" PRIu64 " is no multiple of the alignment %zu",
                           info->offset, s->alignment);
    }
    return TERN_OK;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

/* Bytes from an offset to the next larger one, or to the end of the data. Equal offsets are two
 * views of the same bytes. */
static size_t span_of(const uint64_t *sorted, size_t n, uint64_t offset, size_t data_size)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (sorted[mid] <= offset)
            lo = mid + 1;
        else
            hi = mid;
    }
    uint64_t end = lo < n && sorted[lo] < data_size ? sorted[lo] : data_size;
    return (size_t)(end - offset);
}

static tern_code fail_type(const shard *s, const raw_info *info, const tern_typeid_query *q,
                           const tern_typeid *t, bool at_end, tern_err *err)
{
    switch (t->verdict) {
    case TERN_TYPEID_BAD_SHAPE:
        return fail_at(s, err, TERN_E_FORMAT, info->info_at,
                       "shape [%zu, %zu, %zu, %zu] of type id %" PRIu32 ": %s", q->ne[0], q->ne[1],
                       q->ne[2], q->ne[3], q->id, t->text);
    case TERN_TYPEID_NO_FIT:
        return fail_at(s, err, t->need_min > q->span ? TERN_E_FORMAT : TERN_E_UNSUPPORTED,
                       info->info_at, "type id %" PRIu32 ": %zu bytes up to the %s, but %s", q->id,
                       q->span, at_end ? "end of the file" : "next tensor", t->text);
    default:
        return fail_at(s, err, TERN_E_UNSUPPORTED, info->info_at, "type id %" PRIu32 ": %s", q->id,
                       t->text);
    }
}

/* Give the tensor its layout and its bytes. */
static tern_code place_tensor(shard *s, tern_tensor *t, raw_info *info, const uint64_t *sorted,
                              size_t data_at, tern_err *err)
{
    size_t data_size = s->r.size - data_at;
    s->name = (tern_slice){t->name, strlen(t->name)};
    if (info->offset >= data_size)
        return fail_at(s, err, TERN_E_FORMAT, info->info_at,
                       "data begins at %zu + %" PRIu64 ", the file ends at %zu", data_at,
                       info->offset, s->r.size);
    tern_typeid type;
    tern_typeid_query q = {
        .id = info->id, .ne = t->ne, .alignment = s->alignment, .i2s_layout = s->i2s_layout};
    q.span = span_of(sorted, s->n_tensor, info->offset, data_size);
    tern_typeid_resolve(&q, &type);
    if (type.verdict != TERN_TYPEID_SURE && type.verdict != TERN_TYPEID_TIE)
        return fail_type(s, info, &q, &type, info->offset + q.span == data_size, err);
    info->tie = type.verdict == TERN_TYPEID_TIE;
    t->dtype = type.dtype;
    t->bytes = type.bytes;
    t->offset = data_at + (size_t)info->offset;
    t->data = s->r.data + t->offset;
    return TERN_OK;
}

/* A tensor so small that two layouts of its id pad to the same size follows the first one of the
 * same id that is not. */
static void settle_ties(shard *s, tern_tensor *tensors, const raw_info *raw, const uint64_t *sorted,
                        size_t data_at)
{
    for (size_t i = 0; i < s->n_tensor; i++) {
        size_t k = 0;
        if (!raw[i].tie)
            continue;
        while (k < s->n_tensor && (raw[k].tie || raw[k].id != raw[i].id))
            k++;
        if (k == s->n_tensor)
            continue;
        size_t bytes;
        tern_typeid_query q = {.id = raw[i].id, .ne = tensors[i].ne, .alignment = s->alignment};
        q.span = span_of(sorted, s->n_tensor, raw[i].offset, s->r.size - data_at);
        if (tern_typeid_fits(&q, tensors[k].dtype, &bytes)) {
            tensors[i].dtype = tensors[k].dtype;
            tensors[i].bytes = bytes;
        }
    }
}

/* Views may share bytes, but not so that a small file makes a large model. Each tensor is within the
 * file, so the sum of two does not overflow. */
static tern_code check_sum(shard *s, const tern_tensor *tensors, tern_err *err)
{
    size_t sum = 0;
    for (size_t i = 0; i < s->n_tensor; i++) {
        sum += tensors[i].bytes;
        s->name = (tern_slice){tensors[i].name, strlen(tensors[i].name)};
        if (sum > s->r.size)
            return fail_at(s, err, TERN_E_FORMAT, tensors[i].offset,
                           "with it tensors take %zu bytes, sharing data; the file has %zu", sum,
                           s->r.size);
    }
    return TERN_OK;
}

static tern_code read_tensors(shard *s, tern_err *err)
{
    tern_code rc = TERN_OK;
    tern_tensor *tensors = s->dir->tensors + s->dir->n_tensor;
    size_t n = s->n_tensor, data_at = 0;
    raw_info *raw = tern_calloc(n, sizeof *raw);
    uint64_t *sorted = tern_calloc(n, sizeof *sorted);
    if (!raw || !sorted) {
        rc = no_memory(s, err, "tensors");
        goto fail;
    }
    TERN_TRY_GOTO(read_infos(s, tensors, raw, err));
    if (n && (!tern_align_size(s->r.pos, s->alignment, &data_at) || data_at > s->r.size)) {
        s->kind = NULL;
        rc = fail_at(s, err, TERN_E_FORMAT, s->r.pos,
                     "no tensor data: the file ends at %zu, alignment is %zu", s->r.size,
                     s->alignment);
        goto fail;
    }
    for (size_t i = 0; i < n; i++)
        sorted[i] = raw[i].offset;
    qsort(sorted, n, sizeof *sorted, compare_u64);
    for (size_t i = 0; i < n; i++)
        TERN_TRY_GOTO(place_tensor(s, &tensors[i], &raw[i], sorted, data_at, err));
    settle_ties(s, tensors, raw, sorted, data_at);
    TERN_TRY_GOTO(check_sum(s, tensors, err));
    s->dir->n_tensor += n;
fail:
    tern_free(sorted);
    tern_free(raw);
    return rc;
}

/* ---- shards ----------------------------------------------------------------------------- */

/* Let the arena grow by what a file of this size can need: a pair of 14 bytes costs up to 100, so
 * 16 times the size leaves room for the rest. */
static void arena_raise(tern_arena *a, size_t file_size)
{
    size_t more;
    if (!tern_mul_size(file_size, 16, &more) || !tern_add_size(a->max, more, &a->max))
        a->max = SIZE_MAX;
}

static tern_code shard_init(shard *s, tern_dir *d, tern_dir *meta, const char *path,
                            const tern_map_file *file, const tern_dir_opts *opts, tern_err *err)
{
    *s = (shard){.dir = d, .meta = meta, .alignment = DEFAULT_ALIGN};
    s->i2s_layout = opts ? opts->i2s_layout : TERN_I2S_X86;
    (void)tern_quote(s->path, sizeof s->path, path, strlen(path));
    tern_reader_init(&s->r, file->data, file->size);
    return read_header(s, err);
}

static tern_code reserve_tensors(tern_dir *d, const shard *first, size_t n_tensor, tern_err *err)
{
    if (n_tensor > COUNT_MAX)
        return tern_fail(err, TERN_E_FORMAT, "%s: %zu tensors, at most 2^31 are allowed",
                         first->path, n_tensor);
    d->tensors = tern_arena_calloc(&d->arena, n_tensor, sizeof *d->tensors);
    if (!d->tensors || !tern_map_reserve(&d->tensor_by_name, n_tensor))
        return no_memory(first, err, "tensors");
    return TERN_OK;
}

/* "x-00001-of-00003.gguf", 1, 3 -> "x-00002-of-00003.gguf"; NULL when memory is exhausted. */
static char *shard_path(const char *first, uint32_t i, uint32_t n)
{
    size_t len = strlen(first);
    char *p = tern_strdup_n(first, len);
    if (p)
        (void)snprintf(p + len - SHARD_SUFFIX_LEN, SHARD_SUFFIX_LEN + 1,
                       "-%05" PRIu32 "-of-%05" PRIu32 ".gguf", (i + 1) % 100000, n % 100000);
    return p;
}

/* The first shard must be the one that was named, and its name must tell the others'. */
static tern_code check_first(const shard *s, const char *path, uint32_t n, tern_err *err)
{
    uint32_t no = 0;
    size_t len = strlen(path);
    char want[SHARD_SUFFIX_LEN + 1];
    TERN_TRY(tern_dir_get_u32(s->meta, "split.no", &no, NULL, err));
    if (no != 0)
        return tern_fail(err, TERN_E_FORMAT,
                         "%s: part %" PRIu64 " of %" PRIu32
                         "; open the first, whose name ends in -00001-of-%05" PRIu32 ".gguf",
                         s->path, (uint64_t)no + 1, n, n);
    if (n > SHARD_MAX)
        return tern_fail(err, TERN_E_FORMAT,
                         "%s: key 'split.count': %" PRIu32 " parts, at most %d are allowed",
                         s->path, n, SHARD_MAX);
    (void)snprintf(want, sizeof want, "-00001-of-%05" PRIu32 ".gguf", n);
    if (len <= SHARD_SUFFIX_LEN || strcmp(path + len - SHARD_SUFFIX_LEN, want) != 0)
        return tern_fail(err, TERN_E_FORMAT,
                         "%s: first of %" PRIu32 " parts, so its name must end in %s", s->path, n,
                         want);
    return TERN_OK;
}

/* Open shard i and count its tensors. */
static tern_code open_shard(tern_dir *d, const shard *first, uint32_t i, uint32_t n,
                            size_t *n_tensor, tern_err *err)
{
    shard s;
    char shown[72];
    char *path = shard_path(d->path, i, n);
    if (!path)
        return no_memory(first, err, "a path");
    tern_code rc = tern_dir_map(d, path, err);
    if (rc == TERN_E_NOT_FOUND)
        rc = tern_fail(err, rc, "%s: part %" PRIu32 " of %" PRIu32 " is missing: %s", first->path,
                       i + 1, n, tern_quote(shown, sizeof shown, path, strlen(path)));
    TERN_TRY_GOTO(rc);
    TERN_TRY_GOTO(shard_init(&s, d, d, path, &d->maps[i], NULL, err));
    arena_raise(&d->arena, d->maps[i].size);
    *n_tensor += s.n_tensor; /* each at most 2^31, and n at most 65535 */
fail:
    tern_free(path);
    return rc;
}

static void dir_done(tern_dir *d)
{
    tern_map_done(&d->meta_by_key);
    tern_map_done(&d->tensor_by_name);
    tern_arena_done(&d->arena);
}

/* Tensors of shard i >= 1; its metadata only says that it is that shard. */
static tern_code read_shard(tern_dir *d, const tern_dir_opts *opts, uint32_t i, uint32_t n,
                            tern_err *err)
{
    tern_code rc = TERN_OK;
    tern_dir meta = {.path = shard_path(d->path, i, n)};
    uint32_t no = UINT32_MAX, count = UINT32_MAX;
    shard s;
    tern_arena_init(&meta.arena, ARENA_BASE);
    arena_raise(&meta.arena, d->maps[i].size);
    if (!meta.path) {
        rc = tern_fail(err, TERN_E_NOMEM, "no memory for a path");
        goto fail;
    }
    TERN_TRY_GOTO(shard_init(&s, d, &meta, meta.path, &d->maps[i], opts, err));
    TERN_TRY_GOTO(read_metas(&s, err));
    TERN_TRY_GOTO(read_alignment(&s, err));
    TERN_TRY_GOTO(tern_dir_get_u32(&meta, "split.no", &no, NULL, err));
    TERN_TRY_GOTO(tern_dir_get_u32(&meta, "split.count", &count, NULL, err));
    if (no != i || count != n) {
        rc = tern_fail(err, TERN_E_FORMAT,
                       "%s: keys 'split.no', 'split.count' are %" PRIu32 ", %" PRIu32
                       ", expected %" PRIu32 ", %" PRIu32,
                       s.path, no, count, i, n);
        goto fail;
    }
    TERN_TRY_GOTO(read_tensors(&s, err));
fail:
    dir_done(&meta);
    tern_free(meta.path);
    return rc;
}

static tern_code read_others(tern_dir *d, shard *first, const tern_dir_opts *opts, uint32_t n,
                             tern_err *err)
{
    size_t n_tensor = first->n_tensor;
    uint32_t want;
    bool found;
    TERN_TRY(check_first(first, d->path, n, err));
    for (uint32_t i = 1; i < n; i++)
        TERN_TRY(open_shard(d, first, i, n, &n_tensor, err));
    TERN_TRY(tern_dir_get_u32(d, "split.tensors.count", &want, &found, err));
    if (found && want != n_tensor)
        return tern_fail(err, TERN_E_FORMAT,
                         "%s: key 'split.tensors.count' is %" PRIu32 ", the %" PRIu32
                         " parts have %zu tensors",
                         first->path, want, n, n_tensor);
    TERN_TRY(reserve_tensors(d, first, n_tensor, err));
    TERN_TRY(read_tensors(first, err));
    for (uint32_t i = 1; i < n; i++)
        TERN_TRY(read_shard(d, opts, i, n, err));
    return TERN_OK;
}

/* ---- opening ---------------------------------------------------------------------------- */

static tern_code read_all(tern_dir *d, const tern_map_file *file, const tern_dir_opts *opts,
                          tern_err *err)
{
    shard s;
    uint32_t n = 1;
    arena_raise(&d->arena, file->size);
    TERN_TRY(shard_init(&s, d, d, d->path, file, opts, err));
    TERN_TRY(read_metas(&s, err));
    TERN_TRY(read_alignment(&s, err));
    TERN_TRY(tern_dir_get_u32(d, "split.count", &n, NULL, err));
    if (n > 1 && d->n_map == 0)
        return tern_fail(err, TERN_E_UNSUPPORTED,
                         "%s: one of %" PRIu32 " parts; from memory only whole files can be read",
                         s.path, n);
    if (n > 1)
        return read_others(d, &s, opts, n, err);
    TERN_TRY(reserve_tensors(d, &s, s.n_tensor, err));
    return read_tensors(&s, err);
}

tern_code tern_gguf_open(const char *path, const tern_dir_opts *opts, tern_dir **out, tern_err *err)
{
    tern_dir *d = NULL;
    TERN_TRY(tern_dir_new(path, ARENA_BASE, &d, err));
    tern_code rc = tern_dir_map(d, path, err);
    if (rc == TERN_OK)
        rc = read_all(d, &(tern_map_file){.data = d->maps[0].data, .size = d->maps[0].size}, opts,
                      err);
    if (rc != TERN_OK) {
        tern_dir_close(d);
        return rc;
    }
    *out = d;
    return TERN_OK;
}

tern_code tern_gguf_open_memory(const void *data, size_t size, const char *name,
                                const tern_dir_opts *opts, tern_dir **out, tern_err *err)
{
    tern_dir *d = NULL;
    TERN_TRY(tern_dir_new(name, ARENA_BASE, &d, err));
    if (opts && opts->mapped)
        d->given = (tern_map_file){.data = data, .size = size, .fd = -1};
    tern_code rc = read_all(d, &(tern_map_file){.data = data, .size = size}, opts, err);
    if (rc != TERN_OK) {
        tern_dir_close(d);
        return rc;
    }
    *out = d;
    return TERN_OK;
}
