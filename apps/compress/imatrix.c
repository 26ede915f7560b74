#include "compress/imatrix.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "base/os/map.h"
#include "base/reader.h"
#include "base/str.h"
#include "file/gguf_write.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES   ((size_t)1 << 34)
#define MAX_ENTRIES ((size_t)1 << 20)
#define MAX_NAME    1024

static const char sum_suffix[] = ".in_sum2", count_suffix[] = ".counts";

void imatrix_init(imatrix *m)
{
    *m = (imatrix){.dataset = ""};
    tern_arena_init(&m->arena, MAX_BYTES);
    tern_map_init(&m->by_name);
}

void imatrix_done(imatrix *m)
{
    tern_map_done(&m->by_name);
    tern_free(m->entries);
    tern_arena_done(&m->arena);
    *m = (imatrix){0};
}

imatrix_entry *imatrix_find(const imatrix *m, const char *name)
{
    uint32_t i;
    return tern_map_find(&m->by_name, name, strlen(name), &i) ? &m->entries[i] : NULL;
}

/* A new entry, all zero; name is copied. */
static tern_code add_entry(imatrix *m, const char *name, size_t n_name, size_t n_col, size_t n_mat,
                           imatrix_entry **out, tern_err *err)
{
    imatrix_entry e = {.n_col = n_col, .n_mat = n_mat};
    size_t n;
    uint32_t old;
    bool ok = true;
    if (m->n == m->cap) {
        size_t cap = m->cap ? 2 * m->cap : 256;
        imatrix_entry *p = tern_realloc(m->entries, m->cap * sizeof *p, cap * sizeof *p);
        if (!p)
            goto nomem;
        m->entries = p;
        m->cap = cap;
    }
    e.name = tern_arena_strdup_n(&m->arena, name, n_name);
    if (e.name && tern_mul_size(n_col, n_mat, &n)) {
        e.sum = tern_arena_calloc(&m->arena, n, sizeof *e.sum);
        e.count = tern_arena_calloc(&m->arena, n_mat, sizeof *e.count);
    }
    if (!e.sum || !e.count)
        goto nomem;
    if (tern_map_add(&m->by_name, e.name, n_name, (uint32_t)m->n, &old, &ok))
        return tern_fail(err, TERN_E_FORMAT, "importance matrix: '%.80s' is there twice", e.name);
    if (!ok)
        goto nomem;
    m->entries[m->n] = e;
    *out = &m->entries[m->n++];
    return TERN_OK;
nomem:
    return tern_fail(err, TERN_E_NOMEM, "out of memory for an importance matrix");
}

void imatrix_see(void *ctx, const tern_matrix_input *in)
{
    imatrix *m = ctx;
    imatrix_entry *e;
    size_t n = (size_t)in->n_col;
    if (m->failed.code != TERN_OK || (strncmp(in->name, "blk.", 4) != 0 &&
                                      !(m->process_output && !strcmp(in->name, "output.weight"))))
        return;
    e = imatrix_find(m, in->name);
    if (!e && add_entry(m, in->name, strlen(in->name), n, 1, &e, &m->failed) != TERN_OK)
        return;
    for (int32_t t = 0; t < in->n_row; t++) {
        const float *x = in->x + (size_t)t * in->stride;
        for (size_t k = 0; k < n; k++)
            e->sum[k] += (double)x[k] * (double)x[k];
    }
    e->count[0] += in->n_row;
}

const float *imatrix_mean(imatrix *m, imatrix_entry *e)
{
    if (e->mean)
        return e->mean;
    float *mean = tern_arena_alloc(&m->arena, e->n_mat * e->n_col * sizeof *mean);
    for (size_t i = 0; mean && i < e->n_mat; i++)
        for (size_t k = 0; k < e->n_col; k++) {
            float sum = (float)e->sum[i * e->n_col + k], count = (float)e->count[i];
            /* Of an expert that no row reached nothing is known: all its columns weigh the same. */
            mean[i * e->n_col + k] = count > 0.0f ? sum / count : m->older ? sum : 1.0f;
        }
    return e->mean = mean;
}

tern_code imatrix_weigh(imatrix *m, const tern_tensor *t, const float **out, tern_err *err)
{
    imatrix_entry *e = imatrix_find(m, t->name);
    *out = NULL;
    if (!e && strncmp(t->name, "blk.", 4) == 0 && m->n_unknown++ == 0)
        (void)snprintf(m->unknown, sizeof m->unknown, "%s", t->name);
    if (!e)
        return TERN_OK;
    if (e->n_mat * e->n_col != t->ne[0] * t->ne[2]) {
        if (strcmp(t->name, "token_embd.weight") == 0)
            return TERN_OK;
        return tern_fail(err, TERN_E_USAGE,
                         "%s: '%.60s' has %zu columns, the tensor %zu: it belongs to another model",
                         m->path, t->name, e->n_mat * e->n_col, t->ne[0] * t->ne[2]);
    }
    *out = imatrix_mean(m, e);
    return *out ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "out of memory for '%.60s'", t->name);
}

/* ---- reading ------------------------------------------------------------------------------- */

static tern_code check_values(const imatrix_entry *e, const char *path, tern_err *err)
{
    for (size_t i = 0; i < e->n_mat * e->n_col; i++)
        if (!isfinite(e->sum[i]) || e->sum[i] < 0.0)
            return tern_fail(err, TERN_E_FORMAT,
                             "%s: '%.80s': sum of squares %zu is %g, expected a finite number >= 0",
                             path, e->name, i, e->sum[i]);
    return TERN_OK;
}

static const tern_tensor *counts_of(const tern_dir *d, const char *name, size_t n_name)
{
    char counts[MAX_NAME + sizeof count_suffix];
    if (n_name > MAX_NAME)
        return NULL;
    memcpy(counts, name, n_name);
    memcpy(counts + n_name, count_suffix, sizeof count_suffix);
    return tern_dir_tensor_find(d, counts);
}

static tern_code read_tensor(imatrix *m, const tern_dir *d, const tern_tensor *sums, tern_err *err)
{
    size_t n_name = strlen(sums->name) - (sizeof sum_suffix - 1), n, n_mat;
    const tern_tensor *counts = counts_of(d, sums->name, n_name);
    imatrix_entry *e;
    if (!counts || sums->dtype != TERN_DT_F32 || counts->dtype != TERN_DT_F32)
        return tern_fail(err, TERN_E_FORMAT, "%s: '%.80s': expected it and its %s as F32", d->path,
                         sums->name, count_suffix + 1);
    n = sums->bytes / 4;
    n_mat = counts->bytes / 4;
    if (n % n_mat != 0)
        return tern_fail(err, TERN_E_FORMAT, "%s: '%.80s': %zu sums for %zu counts", d->path,
                         sums->name, n, n_mat);
    TERN_TRY(add_entry(m, sums->name, n_name, n / n_mat, n_mat, &e, err));
    for (size_t i = 0; i < n; i++)
        e->sum[i] = (double)tern_lef32(sums->data + 4 * i);
    for (size_t i = 0; i < n_mat; i++) {
        float c = tern_lef32(counts->data + 4 * i);
        if (!(c >= 0.0f && c < 0x1p62f))
            return tern_fail(err, TERN_E_FORMAT, "%s: '%.80s': count %zu is %g", d->path,
                             counts->name, i, (double)c);
        e->count[i] = llround((double)c);
    }
    return check_values(e, d->path, err);
}

static bool ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n > m && strcmp(s + n - m, suffix) == 0;
}

static tern_code read_gguf(imatrix *m, const char *path, tern_err *err)
{
    tern_dir *d = NULL;
    tern_code rc;
    TERN_TRY(tern_gguf_open(path, NULL, &d, err));
    const tern_meta *set = tern_dir_meta_find(d, "imatrix.datasets");
    bool chunks = false, size = false;
    TERN_TRY_GOTO(tern_dir_get_u32(d, "imatrix.chunk_count", &m->n_chunk, &chunks, err));
    TERN_TRY_GOTO(tern_dir_get_u32(d, "imatrix.chunk_size", &m->chunk_size, &size, err));
    if (!set || !chunks || !size) {
        rc = tern_fail(err, TERN_E_FORMAT,
                       "%s: not an importance matrix: key imatrix.%s is missing", path,
                       !set      ? "datasets"
                       : !chunks ? "chunk_count"
                                 : "chunk_size");
        goto fail;
    }
    if (set->type == TERN_META_ARRAY && set->elem == TERN_META_STRING && set->n_elem > 0) {
        const tern_slice *s = &set->strings[set->n_elem - 1];
        m->dataset = tern_arena_strdup_n(&m->arena, s->p, s->n);
        if (!m->dataset) {
            rc = tern_fail(err, TERN_E_NOMEM, "out of memory for an importance matrix");
            goto fail;
        }
    }
    for (size_t i = 0; i < d->n_tensor; i++)
        if (ends_with(d->tensors[i].name, sum_suffix))
            TERN_TRY_GOTO(read_tensor(m, d, &d->tensors[i], err));
fail:
    tern_dir_close(d);
    return rc;
}

static tern_code not_one(const char *path, const tern_reader *r, tern_err *err)
{
    return tern_fail(err, TERN_E_FORMAT, "%s: not an importance matrix (at offset %zu)", path,
                     r->failed ? r->fail_pos : r->pos);
}

/* int32 entries, of each: int32 length, name, int32 chunks, int32 values, floats; then, in all but the
 * oldest files, int32 chunks, int32 length, name of the text. */
static tern_code read_dat(imatrix *m, const char *path, tern_reader *r, tern_err *err)
{
    uint32_t n = tern_read_u32(r);
    if (r->failed || n == 0 || n > MAX_ENTRIES)
        return not_one(path, r, err);
    m->older = true;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t n_name = tern_read_u32(r);
        const uint8_t *name = n_name <= MAX_NAME ? tern_reader_take(r, n_name) : NULL;
        uint32_t n_call = tern_read_u32(r), n_val = tern_read_u32(r);
        imatrix_entry *e;
        if (!name || r->failed || n_name == 0 || memchr(name, 0, n_name) || n_call > INT32_MAX ||
            n_val == 0 || n_val > tern_reader_left(r) / 4)
            return not_one(path, r, err);
        TERN_TRY(add_entry(m, (const char *)name, n_name, n_val, 1, &e, err));
        const uint8_t *v = tern_reader_take(r, 4 * (size_t)n_val);
        for (uint32_t k = 0; k < n_val; k++)
            e->sum[k] = (double)tern_lef32(v + 4 * (size_t)k);
        e->count[0] = n_call;
        TERN_TRY(check_values(e, path, err));
    }
    if (tern_reader_left(r) >= 4)
        m->n_chunk = tern_read_u32(r);
    if (tern_reader_left(r) >= 4) {
        uint32_t n_set = tern_read_u32(r);
        const uint8_t *set = tern_reader_take(r, n_set);
        if (!set)
            return not_one(path, r, err);
        m->dataset = tern_arena_strdup_n(&m->arena, (const char *)set, n_set);
        if (!m->dataset)
            return tern_fail(err, TERN_E_NOMEM, "out of memory for an importance matrix");
    }
    return TERN_OK;
}

tern_code imatrix_read(imatrix *m, const char *path, tern_err *err)
{
    tern_map_file f;
    tern_reader r;
    tern_code rc;
    m->path = path;
    TERN_TRY(tern_map_open(path, &f, err));
    tern_reader_init(&r, f.data, f.size);
    if (f.size >= 4 && memcmp(f.data, "GGUF", 4) == 0)
        rc = read_gguf(m, path, err);
    else
        rc = read_dat(m, path, &r, err);
    tern_map_close(&f);
    if (rc == TERN_OK && m->n == 0)
        rc = tern_fail(err, TERN_E_FORMAT, "%s: not an importance matrix: it has no entries", path);
    return rc;
}

/* ---- writing ------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const imatrix_entry *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* The entries, sorted; tern_free it. */
static const imatrix_entry **sorted(const imatrix *m)
{
    const imatrix_entry **all = tern_calloc(m->n + 1, sizeof *all);
    for (size_t i = 0; all && i < m->n; i++)
        all[i] = &m->entries[i];
    if (all)
        qsort(all, m->n, sizeof *all, by_name);
    return all;
}

static void declare(tern_gguf_writer *w, const imatrix_entry *e)
{
    char name[MAX_NAME + sizeof sum_suffix];
    int n_dim = e->n_mat > 1 ? 2 : 1;
    const size_t sums[2] = {e->n_col, e->n_mat}, plain[1] = {1}, experts[2] = {1, e->n_mat};
    (void)snprintf(name, sizeof name, "%.*s%s", MAX_NAME, e->name, sum_suffix);
    tern_gguf_tensor(w, name, TERN_DT_F32, n_dim, sums);
    (void)snprintf(name, sizeof name, "%.*s%s", MAX_NAME, e->name, count_suffix);
    tern_gguf_tensor(w, name, TERN_DT_F32, n_dim, n_dim == 1 ? plain : experts);
}

static tern_code put_f32(tern_gguf_writer *w, double v, tern_err *err)
{
    float f = (float)v;
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    const uint8_t b[4] = {(uint8_t)u, (uint8_t)(u >> 8), (uint8_t)(u >> 16), (uint8_t)(u >> 24)};
    return tern_gguf_writer_data(w, b, sizeof b, err);
}

static tern_code write_gguf(const imatrix *m, const imatrix_entry **all, const char *path,
                            tern_err *err)
{
    tern_gguf_writer *w;
    tern_code rc;
    const tern_slice set = {m->dataset, strlen(m->dataset)};
    TERN_TRY(tern_gguf_writer_new(&w, err));
    tern_gguf_key_str(w, "general.type", "imatrix");
    tern_gguf_key_strs(w, "imatrix.datasets", &set, set.n ? 1 : 0);
    tern_gguf_key_u32(w, "imatrix.chunk_count", m->n_chunk);
    tern_gguf_key_u32(w, "imatrix.chunk_size", m->chunk_size);
    for (size_t i = 0; i < m->n; i++)
        declare(w, all[i]);
    TERN_TRY_GOTO(tern_gguf_writer_begin(w, path, 0, err));
    for (size_t i = 0; i < m->n; i++) {
        for (size_t k = 0; k < all[i]->n_mat * all[i]->n_col; k++)
            TERN_TRY_GOTO(put_f32(w, all[i]->sum[k], err));
        for (size_t k = 0; k < all[i]->n_mat; k++)
            TERN_TRY_GOTO(put_f32(w, (double)all[i]->count[k], err));
    }
    rc = tern_gguf_writer_end(w, err);
fail:
    tern_gguf_writer_free(w);
    return rc;
}

static void put_le32(FILE *f, uint32_t u)
{
    for (int i = 0; i < 4; i++)
        (void)putc((int)(u >> (8 * i) & 255), f);
}

/* The mean times the number of chunks, that number rounded up. */
static void put_entry(FILE *f, const imatrix *m, const imatrix_entry *e)
{
    int64_t most = 0, chunk = m->chunk_size > 0 ? m->chunk_size : 1;
    for (size_t i = 0; i < e->n_mat; i++)
        most = e->count[i] > most ? e->count[i] : most;
    int64_t n_call = (most + chunk - 1) / chunk;
    put_le32(f, (uint32_t)strlen(e->name));
    (void)fputs(e->name, f);
    put_le32(f, (uint32_t)n_call);
    put_le32(f, (uint32_t)(e->n_mat * e->n_col));
    for (size_t k = 0; k < e->n_mat * e->n_col; k++) {
        float count = (float)e->count[k / e->n_col], sum = (float)e->sum[k];
        float v = (count > 0.0f ? sum / count : 1.0f) * (float)n_call;
        uint32_t u;
        memcpy(&u, &v, sizeof u);
        put_le32(f, u);
    }
}

static tern_code write_dat(const imatrix *m, const imatrix_entry **all, const char *path,
                           tern_err *err)
{
    tern_outfile o;
    TERN_TRY(tern_outfile_open(&o, path, 0, err));
    put_le32(o.f, (uint32_t)m->n);
    for (size_t i = 0; i < m->n; i++)
        put_entry(o.f, m, all[i]);
    put_le32(o.f, m->n_chunk);
    put_le32(o.f, (uint32_t)strlen(m->dataset));
    (void)fputs(m->dataset, o.f);
    return tern_outfile_commit(&o, err);
}

tern_code imatrix_write(imatrix *m, const char *path, imatrix_format format, tern_err *err)
{
    if (m->failed.code != TERN_OK) {
        *err = m->failed;
        return err->code;
    }
    if (m->n == 0)
        return tern_fail(err, TERN_E_USAGE, "no matrix was seen: nothing to write to %s", path);
    for (size_t i = 0; i < m->n; i++)
        TERN_TRY(check_values(&m->entries[i], path, err));
    const imatrix_entry **all = sorted(m);
    if (!all)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for an importance matrix");
    tern_code rc =
        format == IMATRIX_GGUF ? write_gguf(m, all, path, err) : write_dat(m, all, path, err);
    tern_free(all);
    return rc;
}
