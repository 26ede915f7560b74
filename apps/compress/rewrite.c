#include "compress/rewrite.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "compress/policy.h"
#include "model/import/import.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* Rows are unpacked so many floats at a time. */
#define PIECE_FLOATS ((size_t)1 << 20)
/* A ternary type holds a value exactly but for the rounding of its scale to f16. */
#define TERNARY_SLACK 0x1p-10f

typedef struct rewrite {
    const tern_dir *in;
    const compress_opts *o;
    tern_gguf_writer *w;
    compress_note *notes; /* owned; [in->n_tensor] */
    bool halves;          /* rows of q and k are to be permuted */
    uint32_t n_rot, d_head;
    uint64_t done, total; /* bytes of the output */
    tern_err *err;
} rewrite;

/* ---- which row is which -------------------------------------------------------------------- */

/* Whether a tensor's rows (of a vector: elements) stand in halves of heads and go to neighbours. */
static bool is_permuted(const rewrite *r, const tern_tensor *t)
{
    return r->halves && (strstr(t->name, ".attn_q.") || strstr(t->name, ".attn_k."));
}

/* Row of the source that becomes row i: pairs (i, i + n_rot / 2) of a head stand side by side. */
static size_t source_row(const rewrite *r, size_t i)
{
    size_t head = i / r->d_head, at = i % r->d_head, half = r->n_rot / 2;
    return at >= r->n_rot ? i : head * r->d_head + at % 2 * half + at / 2;
}

/* ---- one tensor ---------------------------------------------------------------------------- */

typedef struct piece {
    const rewrite *r;
    const tern_tensor *t;
    tern_dtype dtype; /* that it becomes */
    const tern_dtype_info *to;
    const float *importance;
    size_t row0;
    float *x;     /* [rows][cols] */
    uint8_t *out; /* packed rows, one behind the other */
    size_t row_bytes;
    bool permuted;
    float *back; /* [n_lane][cols]: packed rows, read again; NULL: nobody checks */
    _Atomic bool lossy;
    _Atomic uint32_t max_bits; /* of the largest magnitude: floats >= 0 sort as their bits do */
} piece;

static void raise_max(piece *p, float v)
{
    uint32_t bits, seen = atomic_load_explicit(&p->max_bits, memory_order_relaxed);
    memcpy(&bits, &v, sizeof bits);
    while (bits > seen &&
           !atomic_compare_exchange_weak_explicit(&p->max_bits, &seen, bits, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

static void unpack_rows(void *arg, int lane, int begin, int end)
{
    piece *p = arg;
    size_t cols = p->t->ne[0];
    (void)lane;
    for (int i = begin; i < end; i++) {
        float *x = p->x + (size_t)i * cols, max = 0.0f;
        size_t row = p->row0 + (size_t)i;
        tern_dtype_get(p->t->dtype)->unpack_row(p->t, p->permuted ? source_row(p->r, row) : row, x);
        for (size_t k = 0; k < cols; k++)
            max = fabsf(x[k]) > max ? fabsf(x[k]) : max;
        raise_max(p, max);
    }
}

/* What was packed, read again. */
static bool came_out(const piece *p, const float *x, const uint8_t *packed, float *back)
{
    tern_tensor row = {.dtype = p->dtype, .n_dim = 2, .ne = {p->t->ne[0], 1, 1, 1}, .data = packed};
    p->to->unpack_row(&row, 0, back);
    for (size_t i = 0; i < p->t->ne[0]; i++)
        if (!(fabsf(back[i] - x[i]) <= TERNARY_SLACK * fabsf(x[i])))
            return false;
    return true;
}

/* Each matrix of a tensor of several has its own. */
static const float *importance_of(const piece *p, size_t row)
{
    return p->importance ? p->importance + row / p->t->ne[1] % p->t->ne[2] * p->t->ne[0] : NULL;
}

static void pack_rows(void *arg, int lane, int begin, int end)
{
    piece *p = arg;
    size_t cols = p->t->ne[0];
    float *back = p->back ? p->back + (size_t)lane * cols : NULL;
    for (int i = begin; i < end; i++) {
        const float *x = p->x + (size_t)i * cols;
        uint8_t *out = p->out + (size_t)i * p->row_bytes;
        p->to->pack(x, 1, cols, importance_of(p, p->row0 + (size_t)i), out);
        if (back && !came_out(p, x, out, back))
            atomic_store_explicit(&p->lossy, true, memory_order_relaxed);
    }
}

static tern_code progress(rewrite *r, size_t bytes)
{
    r->done += bytes;
    if (r->o->progress)
        r->o->progress(r->o->ctx, r->done, r->total);
    if (r->o->cancelled && r->o->cancelled(r->o->ctx))
        return tern_fail(r->err, TERN_E_CANCELLED, "cancelled; nothing was written");
    return TERN_OK;
}

static tern_code put(rewrite *r, const void *bytes, size_t n)
{
    TERN_TRY(tern_gguf_writer_data(r->w, bytes, n, r->err));
    return progress(r, n);
}

static tern_code not_ternary(const rewrite *r, const piece *p)
{
    return tern_fail(r->err, TERN_E_UNSUPPORTED,
                     "%s: tensor '%.60s' is not ternary, so %s would lose its values; choose "
                     "another type (tern ternarize makes ternary weights, --force writes it)",
                     r->in->path, p->t->name, p->to->name);
}

/* Rows row0.. into p->x, n of them. */
static void load_rows(piece *p, size_t row0, size_t n)
{
    p->row0 = row0;
    tern_pool_for(p->r->o->pool, (int)n, 1, unpack_rows, p);
}

/* One scale for the whole tensor: it is looked for first. Codes of a row do not depend on the scale but
 * for its tail, which stands behind all. */
static tern_code write_i2_s(rewrite *r, piece *p, size_t n_piece, size_t rows)
{
    size_t cols = p->t->ne[0], code_bytes = cols / 4;
    float scale;
    uint8_t tail[32] = {0};
    for (size_t at = 0; at < rows; at += n_piece)
        load_rows(p, at, rows - at < n_piece ? rows - at : n_piece);
    uint32_t bits = atomic_load_explicit(&p->max_bits, memory_order_relaxed);
    memcpy(&scale, &bits, sizeof scale);
    for (size_t at = 0; at < rows; at += n_piece) {
        size_t n = rows - at < n_piece ? rows - at : n_piece;
        load_rows(p, at, n);
        for (size_t i = 0; i < n * cols && !r->o->force; i++)
            if (p->x[i] != 0.0f && !(fabsf(fabsf(p->x[i]) - scale) <= TERNARY_SLACK * scale))
                return not_ternary(r, p);
        p->to->pack(p->x, n, cols, NULL, p->out);
        TERN_TRY(put(r, p->out, n * code_bytes));
    }
    for (int i = 0; i < 4; i++)
        tail[i] = (uint8_t)(bits >> (8 * i));
    return put(r, tail, sizeof tail);
}

static tern_code write_rows(rewrite *r, piece *p, size_t n_piece, size_t rows)
{
    for (size_t at = 0; at < rows; at += n_piece) {
        size_t n = rows - at < n_piece ? rows - at : n_piece;
        load_rows(p, at, n);
        tern_pool_for(r->o->pool, (int)n, 1, pack_rows, p);
        if (atomic_load_explicit(&p->lossy, memory_order_relaxed))
            return not_ternary(r, p);
        TERN_TRY(put(r, p->out, n * p->row_bytes));
    }
    return TERN_OK;
}

/* A bias: its one row holds what rows of the matrix are. */
static tern_code write_vector(rewrite *r, const piece *p)
{
    size_t n = p->t->ne[0];
    float *x = tern_alloc(n * sizeof *x);
    if (!x)
        return tern_fail(r->err, TERN_E_NOMEM, "out of memory for tensor '%.60s'", p->t->name);
    tern_dtype_get(p->t->dtype)->unpack_row(p->t, 0, x);
    for (size_t i = 0; i < n; i++)
        p->x[i] = x[source_row(r, i)];
    tern_free(x);
    p->to->pack(p->x, 1, n, NULL, p->out);
    return put(r, p->out, p->row_bytes);
}

static tern_code convert(rewrite *r, const tern_tensor *t, const compress_note *note)
{
    size_t rows = tern_tensor_rows(t), cols = t->ne[0], n = PIECE_FLOATS / cols, floats, bytes;
    const tern_dtype_info *to = tern_dtype_get(note->to);
    bool vector = t->n_dim == 1 && is_permuted(r, t);
    piece p = {
        .r = r, .t = t, .dtype = note->to, .to = to, .permuted = is_permuted(r, t) && !vector};
    n = n < 1 ? 1 : n > rows ? rows : n;
    if (r->o->importance)
        TERN_TRY(r->o->importance(r->o->ctx, t, note->to, &p.importance, r->err));
    bool check = to->cls == TERN_CLASS_TERNARY && to->unit == TERN_UNIT_BLOCK && !r->o->force;
    const size_t row_shape[4] = {cols, 1, 1, 1};
    tern_code rc = TERN_E_NOMEM;
    if (tern_dtype_bytes(note->to, row_shape, &p.row_bytes) && tern_mul_size(n, cols, &floats) &&
        tern_mul_size(n, p.row_bytes, &bytes)) {
        p.x = tern_alloc(floats * sizeof *p.x);
        p.out = tern_alloc(bytes);
        if (check)
            p.back = tern_calloc((size_t)tern_pool_size(r->o->pool) * cols, sizeof *p.back);
    }
    if (!p.x || !p.out || (check && !p.back)) {
        rc = tern_fail(r->err, TERN_E_NOMEM, "out of memory for tensor '%.60s'", t->name);
    } else if (vector) {
        rc = write_vector(r, &p);
    } else if (note->to == TERN_DT_I2_S) {
        rc = write_i2_s(r, &p, n, rows);
    } else {
        rc = write_rows(r, &p, n, rows);
    }
    tern_free(p.x);
    tern_free(p.out);
    tern_free(p.back);
    return rc;
}

static tern_code copy(rewrite *r, const tern_tensor *t)
{
    for (size_t at = 0; at < t->bytes;) {
        size_t n = t->bytes - at < ((size_t)8 << 20) ? t->bytes - at : (size_t)8 << 20;
        TERN_TRY(put(r, t->data + at, n));
        at += n;
    }
    return TERN_OK;
}

static tern_code write_tensor(rewrite *r, const tern_tensor *t, const compress_note *note)
{
    const float *values = NULL;
    tern_tensor other = *t;
    tern_dir_tensor_want(r->in, t);
    if (r->o->values)
        TERN_TRY(r->o->values(r->o->ctx, t, note->to, &values, r->err));
    if (values) {
        other.dtype = TERN_DT_F32;
        other.data = (const uint8_t *)values;
        other.bytes = tern_tensor_rows(t) * t->ne[0] * sizeof *values;
    }
    bool same = note->from == note->to && !is_permuted(r, t) && !values;
    tern_code rc = same ? copy(r, t) : convert(r, &other, note);
    tern_dir_tensor_drop(r->in, t);
    return rc;
}

/* ---- keys ---------------------------------------------------------------------------------- */

static bool is_own_key(const char *key)
{
    return strcmp(key, "general.file_type") == 0 || strcmp(key, "general.alignment") == 0 ||
           strcmp(key, "general.quantization_version") == 0 || strncmp(key, "split.", 6) == 0 ||
           strncmp(key, "quantize.imatrix.", 17) == 0 || strcmp(key, TERN_KEY_ROPE_HALVES) == 0;
}

static tern_code put_keys(rewrite *r)
{
    bool quantised = false;
    for (size_t i = 0; i < r->in->n_meta; i++)
        if (!is_own_key(r->in->metas[i].key) &&
            !(r->o->values && strncmp(r->in->metas[i].key, "ternarize.", 10) == 0))
            tern_gguf_key_meta(r->w, &r->in->metas[i]);
    for (size_t i = 0; i < r->in->n_tensor; i++)
        quantised |= tern_dtype_get(r->notes[i].to)->cls != TERN_CLASS_FLOAT;
    /* A type without a number, or what most weights had before. */
    uint32_t number = compress_file_type(r->o->type);
    if (number != UINT32_MAX && !r->o->keep)
        tern_gguf_key_u32(r->w, "general.file_type", number);
    else if (tern_dir_meta_find(r->in, "general.file_type"))
        tern_gguf_key_meta(r->w, tern_dir_meta_find(r->in, "general.file_type"));
    if (quantised)
        tern_gguf_key_u32(r->w, "general.quantization_version", 2);
    if (r->o->keys)
        r->o->keys(r->o->ctx, r->w);
    return TERN_OK;
}

static tern_code get_arch_u32(const rewrite *r, const char *suffix, uint32_t *out)
{
    tern_slice arch = {"", 0};
    char key[96];
    TERN_TRY(tern_dir_get_str(r->in, "general.architecture", &arch, NULL, r->err));
    (void)snprintf(key, sizeof key, "%.*s.%s", (int)(arch.n < 40 ? arch.n : 40), arch.p, suffix);
    return tern_dir_get_u32(r->in, key, out, NULL, r->err);
}

static tern_code read_rope(rewrite *r)
{
    TERN_TRY(tern_dir_get_bool(r->in, TERN_KEY_ROPE_HALVES, &r->halves, NULL, r->err));
    if (!r->halves)
        return TERN_OK;
    TERN_TRY(get_arch_u32(r, "attention.key_length", &r->d_head));
    TERN_TRY(get_arch_u32(r, "rope.dimension_count", &r->n_rot));
    if (r->d_head < 2 || r->n_rot > r->d_head || r->n_rot % 2)
        return tern_fail(r->err, TERN_E_FORMAT, "%s: heads of %u, of which %u turn", r->in->path,
                         r->d_head, r->n_rot);
    for (size_t i = 0; i < r->in->n_tensor; i++) {
        const tern_tensor *t = &r->in->tensors[i];
        size_t rows = t->n_dim == 1 ? t->ne[0] : tern_tensor_rows(t);
        if (is_permuted(r, t) && rows % r->d_head != 0)
            return tern_fail(r->err, TERN_E_FORMAT,
                             "%s: tensor '%.60s': %zu rows, no multiple of the heads' %u",
                             r->in->path, t->name, rows, r->d_head);
    }
    return TERN_OK;
}

/* ---- the file ------------------------------------------------------------------------------ */

/* The k-th tensor of the file among those of the source. */
static size_t place(const rewrite *r, size_t k)
{
    return r->o->order ? r->o->order[k] : k;
}

static tern_code choose_all(rewrite *r)
{
    for (size_t k = 0; k < r->in->n_tensor; k++) {
        size_t i = place(r, k);
        const tern_tensor *t = &r->in->tensors[i];
        TERN_TRY(compress_choose(r->o, r->in, t, &r->notes[i], r->err));
        tern_gguf_tensor(r->w, t->name, r->notes[i].to, t->n_dim, t->ne);
        r->total += r->notes[i].bytes_out;
        if (r->o->note)
            r->o->note(r->o->ctx, &r->notes[i]);
    }
    return TERN_OK;
}

tern_code compress_rewrite(const tern_dir *in, const char *path, const compress_opts *o,
                           tern_err *err)
{
    rewrite r = {.in = in, .o = o, .err = err};
    tern_code rc;
    TERN_TRY(tern_gguf_writer_new(&r.w, err));
    r.notes = tern_calloc(in->n_tensor + 1, sizeof *r.notes);
    if (!r.notes) {
        rc = tern_fail(err, TERN_E_NOMEM, "out of memory for the list of tensors");
        goto fail;
    }
    TERN_TRY_GOTO(read_rope(&r));
    TERN_TRY_GOTO(choose_all(&r));
    TERN_TRY_GOTO(put_keys(&r));
    TERN_TRY_GOTO(tern_gguf_writer_begin(r.w, path, 0, err));
    for (size_t k = 0; k < in->n_tensor; k++)
        TERN_TRY_GOTO(write_tensor(&r, &in->tensors[place(&r, k)], &r.notes[place(&r, k)]));
    TERN_TRY_GOTO(tern_dir_check_whole(in, err));
    TERN_TRY_GOTO(tern_gguf_writer_end(r.w, err));
fail:
    tern_free(r.notes);
    tern_gguf_writer_free(r.w);
    return rc;
}
