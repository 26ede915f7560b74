#include "model/packed.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "model/repack.h"

#include <string.h>

/* Numbers of sections: two for each tensor of the directory and each part of one that is a matrix of its
 * own, weights and scales; then the head's. */
#define HEAD_ID 0x80000000u
enum { HEAD_W4, HEAD_ROWS, HEAD_MEAN, HEAD_EXTRA, HEAD_W1, HEAD_COUNT = HEAD_W1 + TERN_HEAD_FINE };

static size_t number_of(const tern_dir *dir, const tern_tensor *t)
{
    return t->part ? dir->n_tensor + t->part - 1 : (size_t)(t - dir->tensors);
}

static uint32_t id_of(const tern_dir *dir, const tern_tensor *t)
{
    return (uint32_t)number_of(dir, t) * 2;
}

/* ---- reading ------------------------------------------------------------------------------- */

static tern_code unexpected(const tern_packed *p, const char *name, tern_err *err)
{
    return tern_fail(err, TERN_E_FORMAT, "%s: not what belongs to tensor '%s'", p->file.path, name);
}

/* The section if it has the size it must have, else NULL. */
static const tern_packfile_section *section_of(const tern_packed *p, uint32_t id, size_t bytes)
{
    const tern_packfile_section *s = tern_packfile_find(&p->file, id);
    return s && s->bytes == bytes ? s : NULL;
}

/* Weights or a plane: where the file is mapped, or in pages of their own. */
static tern_code take_pages(tern_packed *p, const tern_packfile_section *s, const uint8_t **out,
                            tern_pool *pool, tern_err *err)
{
    if (p->map) /* of the finer planes few rows are read at a time, and do not stay */
        return tern_packfile_map(&p->file, s, s->id < HEAD_ID + HEAD_W1, out, pool, err);
    uint8_t *to = tern_pages_alloc((size_t)s->bytes);
    *out = to;
    if (!to)
        return tern_fail(err, TERN_E_NOMEM, "%s: out of memory for %zu bytes", p->file.path,
                         (size_t)s->bytes);
    return tern_packfile_read(&p->file, s, to, pool, err);
}

/* n values of so many bytes each. */
static tern_code take_values(tern_packed *p, const char *name, uint32_t id, size_t n, size_t size,
                             void *out, tern_pool *pool, tern_err *err)
{
    const tern_packfile_section *s = section_of(p, id, n * size);
    void *values;
    if (!s)
        return unexpected(p, name, err);
    values = tern_calloc(n, size);
    if (!values)
        return tern_fail(err, TERN_E_NOMEM, "%s: out of memory", p->file.path);
    memcpy(out, &values, sizeof values); /* the caller's, whatever comes next */
    return tern_packfile_read(&p->file, s, values, pool, err);
}

tern_code tern_packed_linear(tern_packed *p, const tern_dir *dir, tern_linear *l, bool token_act8,
                             tern_pool *pool, tern_err *err)
{
    const tern_packfile_section *s = tern_packfile_find(&p->file, id_of(dir, l->src));
    if (!s || s->info[0] > TERN_PACK_T3C1 || s->info[1] > 1 ||
        !tern_repack_describe(l, (tern_pack)s->info[0], s->info[1] != 0, token_act8) ||
        s->bytes != l->packed_bytes) {
        l->packed_bytes = 0;
        return unexpected(p, l->src->name, err);
    }
    l->borrowed = p->map;
    TERN_TRY(take_pages(p, s, &l->w, pool, err));
    TERN_TRY(take_values(p, l->src->name, s->id + 1, l->n_scale, sizeof *l->scale, &l->scale, pool,
                         err));
    tern_repack_finish(l);
    return TERN_OK;
}

static tern_code take_plane(tern_packed *p, const char *name, uint32_t part, size_t bytes,
                            uint8_t **out, tern_pool *pool, tern_err *err)
{
    const tern_packfile_section *s = section_of(p, HEAD_ID + part, bytes);
    const uint8_t *data = NULL;
    if (!s)
        return unexpected(p, name, err);
    tern_code rc = take_pages(p, s, &data, pool, err);
    *out = (uint8_t *)(uintptr_t)data; /* read only; what is mapped could not be written */
    return rc;
}

static tern_code read_head(tern_packed *p, tern_head *h, const tern_packfile_section *s,
                           tern_pool *pool, tern_err *err)
{
    const char *name = h->l->src->name;
    size_t rows = tern_round_up((size_t)h->rows, 64), cols = tern_round_up((size_t)h->cols, 64);
    if (s->info[0] > TERN_HEAD_EXTRA || s->info[1] > TERN_HEAD_FINE || !tern_head_pays(h->l, true))
        return unexpected(p, name, err);
    h->n_extra = (int)s->info[0];
    h->n_col = h->cols + 2 * h->n_extra;
    h->w4_stride = tern_n4_stripe_bytes(h->n_col);
    h->w4_bytes = tern_n4_bytes(h->rows, h->n_col);
    TERN_TRY(take_plane(p, name, HEAD_W4, h->w4_bytes, &h->w4, pool, err));
    TERN_TRY(take_values(p, name, HEAD_ID + HEAD_ROWS, TERN_HEAD_PER_ROW(s->info[1]) * rows,
                         sizeof *h->scale, &h->scale, pool, err));
    tern_head_fine(h, (int)s->info[1]);
    for (int i = 0; i < h->n_fine; i++)
        TERN_TRY(take_plane(p, name, HEAD_W1 + (uint32_t)i, h->w1_bytes, &h->w1[i], pool, err));
    TERN_TRY(take_values(p, name, HEAD_ID + HEAD_MEAN, cols, sizeof *h->mean, &h->mean, pool, err));
    TERN_TRY(take_values(p, name, HEAD_ID + HEAD_EXTRA, TERN_HEAD_EXTRA, sizeof *h->extra,
                         &h->extra, pool, err));
    for (int i = 0; i < h->n_extra; i++)
        if (h->extra[i] < 0 || h->extra[i] >= h->cols)
            return unexpected(p, name, err);
    return TERN_OK;
}

tern_code tern_packed_head(tern_packed *p, const tern_dir *dir, const tern_linear *l, tern_head *h,
                           tern_pool *pool, tern_err *err)
{
    const tern_packfile_section *s = tern_packfile_find(&p->file, HEAD_ID + HEAD_W4);
    *h = (tern_head){0};
    if (!s)
        return TERN_OK;
    *h = (tern_head){.l = l, .dir = dir, .rows = l->rows, .cols = l->cols, .borrowed = p->map};
    tern_code rc = read_head(p, h, s, pool, err);
    if (rc != TERN_OK)
        tern_head_done(h);
    return rc;
}

/* ---- writing ------------------------------------------------------------------------------- */

static size_t add_head(const tern_head *h, tern_packfile_part *parts)
{
    size_t n = 0, rows = tern_round_up((size_t)h->rows, 64);
    parts[n++] = (tern_packfile_part){.id = HEAD_ID + HEAD_W4,
                                      .info = {(uint32_t)h->n_extra, (uint32_t)h->n_fine},
                                      .data = h->w4,
                                      .bytes = h->w4_bytes};
    parts[n++] =
        (tern_packfile_part){.id = HEAD_ID + HEAD_ROWS,
                             .data = h->scale,
                             .bytes = TERN_HEAD_PER_ROW(h->n_fine) * rows * sizeof *h->scale};
    parts[n++] =
        (tern_packfile_part){.id = HEAD_ID + HEAD_MEAN,
                             .data = h->mean,
                             .bytes = tern_round_up((size_t)h->cols, 64) * sizeof *h->mean};
    parts[n++] = (tern_packfile_part){
        .id = HEAD_ID + HEAD_EXTRA, .data = h->extra, .bytes = TERN_HEAD_EXTRA * sizeof *h->extra};
    for (int i = 0; i < h->n_fine; i++)
        parts[n++] = (tern_packfile_part){
            .id = HEAD_ID + HEAD_W1 + (uint32_t)i, .data = h->w1[i], .bytes = h->w1_bytes};
    return n;
}

tern_code tern_packed_write(const char *path, uint64_t key, const char *title, const tern_dir *dir,
                            const tern_linear *const *l, size_t n, const tern_head *h,
                            tern_pool *pool, tern_err *err)
{
    size_t n_number = dir->n_tensor;
    for (size_t i = 0; i < n; i++)
        if (l[i]->src && number_of(dir, l[i]->src) >= n_number)
            n_number = number_of(dir, l[i]->src) + 1;
    /* By number, which is the order of tensors in the original. */
    const tern_linear **of = tern_calloc(n_number, sizeof *of);
    tern_packfile_part *parts = tern_calloc(2 * n_number + HEAD_COUNT, sizeof *parts);
    tern_code rc = of && parts ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "%s: out of memory", path);
    size_t n_part = 0;
    for (size_t i = 0; rc == TERN_OK && i < n; i++)
        if (l[i]->src && l[i]->packed_bytes > 0)
            of[number_of(dir, l[i]->src)] = l[i];
    for (size_t i = 0; rc == TERN_OK && i < n_number; i++)
        if (of[i]) {
            parts[n_part++] =
                (tern_packfile_part){.id = (uint32_t)i * 2,
                                     .info = {(uint32_t)of[i]->pack, of[i]->op != TERN_OP_MM_T2G},
                                     .data = of[i]->w,
                                     .bytes = of[i]->packed_bytes};
            parts[n_part++] = (tern_packfile_part){.id = (uint32_t)i * 2 + 1,
                                                   .data = of[i]->scale,
                                                   .bytes = of[i]->n_scale * sizeof *of[i]->scale};
        }
    if (rc == TERN_OK && h->l)
        n_part += add_head(h, parts + n_part);
    if (rc == TERN_OK && n_part > 0)
        rc = tern_packfile_write(path, TERN_PACKED_VERSION, key, title, parts, n_part, pool, err);
    tern_free(of);
    tern_free(parts);
    return rc;
}
