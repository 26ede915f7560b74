#include "base/num.h"
#include "tensor/fmt/fmt.h"

#define FN_0(function) NULL
#define FN_1(function) function

static const tern_dtype_info infos[TERN_DT_COUNT] = {
#define DTYPE(id, name_, file_id_, el, rows, by, head, tail, unit_, class_, group, prefix,         \
              has_row, has_codes, has_pack)                                                        \
    [TERN_DT_##id] = {                                                                             \
        .name = name_,                                                                             \
        .file_id = file_id_,                                                                       \
        .blk_elems = el,                                                                           \
        .blk_rows = rows,                                                                          \
        .blk_bytes = by,                                                                           \
        .head_bytes = head,                                                                        \
        .tail_bytes = tail,                                                                        \
        .unit = TERN_UNIT_##unit_,                                                                 \
        .cls = TERN_CLASS_##class_,                                                                \
        .code_group = group,                                                                       \
        .unpack_row = FN_##has_row(tern_##prefix##_unpack_row),                                    \
        .unpack_codes = FN_##has_codes(tern_##prefix##_unpack_codes),                              \
        .pack = FN_##has_pack(tern_##prefix##_pack),                                               \
    },
#include "tensor/dtype.def"
#undef DTYPE
};

const tern_dtype_info *tern_dtype_get(tern_dtype dt)
{
    /* An enum may hold any int; compare without trusting its sign. */
    return (unsigned)dt < TERN_DT_COUNT ? &infos[(unsigned)dt] : NULL;
}

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

bool tern_dtype_find(const char *name, tern_dtype *out)
{
    for (unsigned i = 0; i < TERN_DT_COUNT; i++) {
        size_t n = 0;
        while (name[n] && upper(name[n]) == upper(infos[i].name[n]))
            n++;
        if (name[n] == 0 && infos[i].name[n] == 0) {
            *out = (tern_dtype)i;
            return true;
        }
    }
    return false;
}

bool tern_dtype_bytes(tern_dtype dt, const size_t ne[4], size_t *out)
{
    const tern_dtype_info *d = tern_dtype_get(dt);
    size_t rows, n_elem, bytes;
    if (!d || ne[0] == 0 || ne[1] == 0 || ne[2] == 0 || ne[3] == 0)
        return false;
    if (d->unit == TERN_UNIT_TENSOR && (ne[2] != 1 || ne[3] != 1))
        return false;
    /* The elements are checked too: below one byte each they overflow before the bytes do. */
    if (!tern_mul_size(ne[1], ne[2], &rows) || !tern_mul_size(rows, ne[3], &rows) ||
        !tern_mul_size(rows, ne[0], &n_elem))
        return false;
    size_t blk_elems = (size_t)d->blk_elems, blk_rows = (size_t)d->blk_rows;
    if (ne[0] % blk_elems != 0 || rows % blk_rows != 0)
        return false;
    if (!tern_mul_size(ne[0] / blk_elems, (size_t)d->blk_bytes, &bytes) ||
        !tern_add_size(bytes, (size_t)d->head_bytes, &bytes) ||
        !tern_mul_size(bytes, rows / blk_rows, &bytes) ||
        !tern_add_size(bytes, (size_t)d->tail_bytes, &bytes))
        return false;
    *out = bytes;
    return true;
}

size_t tern_tensor_rows(const tern_tensor *t)
{
    return t->ne[1] * t->ne[2] * t->ne[3];
}

bool tern_tensor_view(const tern_tensor *t, size_t row0, size_t n_row, tern_tensor *out)
{
    const tern_dtype_info *dt = tern_dtype_get(t->dtype);
    size_t tail = (size_t)dt->tail_bytes, per = (size_t)dt->blk_rows;
    size_t codes = t->tail ? t->bytes : t->bytes - tail;
    if (row0 % per || n_row % per || row0 > t->ne[1] || n_row > t->ne[1] - row0)
        return false;
    if (t->dtype == TERN_DT_HF_PACKED) /* whose rows do not lie one behind the other */
        return false;
    size_t row_bytes = codes / t->ne[1];
    *out = *t;
    out->ne[1] = n_row;
    out->data += row0 * row_bytes;
    out->offset += row0 * row_bytes;
    out->bytes = n_row * row_bytes;
    if (tail)
        out->tail = (t->tail ? t->tail : codes) - row0 * row_bytes;
    return true;
}
