/* From names in a file to fields of blocks: looks each tensor of the architecture's table up, checks
 * its shape, prepares it and stores it. The only place that knows tensor names exist. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "base/str.h"
#include "model/arch/arch.h"
#include "model/model.h"

#include <stdio.h>
#include <string.h>

/* Of a block: q, k, v, gate, up. */
#define MAX_VIEWS 5

typedef struct binder {
    tern_weights *w;
    const tern_arch *arch;
    const tern_bind_opts *opts;
    tern_pool *pool; /* NULL: sizes only */
    tern_err *err;
    const float *rope_freqs, *rope_short, *rope_long;
} binder;

static size_t dim_of(const tern_hparams *h, tern_dim d)
{
    switch (d) {
    case TERN_D_MODEL:
        return (size_t)h->d_model;
    case TERN_D_FF:
        return (size_t)h->d_ff;
    case TERN_D_VOCAB:
        return (size_t)h->n_vocab;
    case TERN_D_Q:
        return (size_t)h->n_head * (size_t)h->d_head;
    case TERN_D_KV:
        return (size_t)h->n_kv_head * (size_t)h->d_head;
    case TERN_D_QKV:
        return ((size_t)h->n_head + 2 * (size_t)h->n_kv_head) * (size_t)h->d_head;
    case TERN_D_GATE_UP:
        return 2 * (size_t)h->d_ff;
    case TERN_D_HEAD:
        return (size_t)h->d_head;
    case TERN_D_ROT_HALF:
        return (size_t)h->rope.n_rot / 2;
    case TERN_D_NONE:
        break;
    }
    return 1;
}

static tern_linear *matrix_of(tern_weights *w, tern_block *b, tern_role role)
{
    switch (role) {
    case TERN_W_HEAD:
        return &w->head;
    case TERN_W_Q:
        return &b->m.attention.q;
    case TERN_W_K:
        return &b->m.attention.k;
    case TERN_W_V:
        return &b->m.attention.v;
    case TERN_W_O:
        return &b->m.attention.o;
    case TERN_W_GATE:
        return &b->f.dense.gate;
    case TERN_W_UP:
        return &b->f.dense.up;
    case TERN_W_DOWN:
        return &b->f.dense.down;
    default:
        return NULL;
    }
}

static const float **vector_of(binder *n, tern_block *b, tern_role role)
{
    switch (role) {
    case TERN_W_OUTPUT_NORM:
        return &n->w->output_norm;
    case TERN_W_ROPE_FREQS:
        return &n->rope_freqs;
    case TERN_W_ROPE_SHORT:
        return &n->rope_short;
    case TERN_W_ROPE_LONG:
        return &n->rope_long;
    case TERN_W_ATTN_NORM:
        return &b->mixer_norm;
    case TERN_W_ATTN_SUB_NORM:
        return &b->m.attention.sub_norm;
    case TERN_W_ATTN_POST_NORM:
        return &b->mixer_post_norm;
    case TERN_W_FFN_NORM:
        return &b->ffn_norm;
    case TERN_W_FFN_POST_NORM:
        return &b->ffn_post_norm;
    case TERN_W_FFN_SUB_NORM:
        return &b->f.dense.sub_norm;
    case TERN_W_Q_BIAS:
        return &b->m.attention.q.bias;
    case TERN_W_K_BIAS:
        return &b->m.attention.k.bias;
    case TERN_W_V_BIAS:
        return &b->m.attention.v.bias;
    case TERN_W_O_BIAS:
        return &b->m.attention.o.bias;
    case TERN_W_Q_HEAD_NORM:
        return &b->m.attention.q_head_norm;
    case TERN_W_K_HEAD_NORM:
        return &b->m.attention.k_head_norm;
    case TERN_W_Q_NORM_IN:
        return &b->m.attention.q_norm_in;
    case TERN_W_K_NORM_IN:
        return &b->m.attention.k_norm_in;
    case TERN_W_V_NORM_IN:
        return &b->m.attention.v_norm_in;
    case TERN_W_O_NORM_IN:
        return &b->m.attention.o_norm_in;
    case TERN_W_GATE_NORM_IN:
        return &b->f.dense.gate_norm_in;
    case TERN_W_UP_NORM_IN:
        return &b->f.dense.up_norm_in;
    case TERN_W_DOWN_NORM_IN:
        return &b->f.dense.down_norm_in;
    default:
        return NULL;
    }
}

static tern_code check_shape(const binder *n, const tern_tensor *t, size_t out, size_t in)
{
    if (t->ne[0] == in && t->ne[1] == out && t->ne[2] == 1 && t->ne[3] == 1)
        return TERN_OK;
    return tern_fail(
        n->err, TERN_E_FORMAT,
        "%s: tensor '%s' at offset %zu: shape [%zu, %zu, %zu, %zu], expected [%zu, %zu]",
        n->w->dir->path, t->name, t->offset, t->ne[3], t->ne[2], t->ne[1], t->ne[0], out, in);
}

/* The tensor of one role, its shape and type checked; *out is NULL when an optional one is absent.
 * layer < 0: of the whole model. */
static tern_code find_tensor(binder *n, const tern_tensor_spec *spec, int layer,
                             const tern_tensor **out)
{
    const tern_weights *w = n->w;
    char name[96];
    if (layer < 0) {
        (void)snprintf(name, sizeof name, "%s", spec->name);
    } else {
        const char *rest = strstr(spec->name, "%d"); /* the table's names hold one "%d" */
        (void)snprintf(name, sizeof name, "%.*s%d%s", (int)(rest - spec->name), spec->name, layer,
                       rest + 2);
    }
    const tern_tensor *t = *out = tern_dir_tensor_find(w->dir, name);
    if (!t && spec->optional)
        return TERN_OK;
    if (!t)
        return tern_fail(n->err, TERN_E_FORMAT, "%s: tensor '%s' is missing", w->dir->path, name);
    size_t n_out = dim_of(&w->h, spec->out);
    const tern_dtype_info *dt = tern_dtype_get(t->dtype);
    if (!TERN_W_IS_MATRIX(spec->role)) {
        TERN_TRY(check_shape(n, t, 1, n_out));
        if (dt->cls != TERN_CLASS_FLOAT)
            return tern_fail(n->err, TERN_E_UNSUPPORTED,
                             "%s: tensor '%s': type %s, expected F32, F16 or BF16", w->dir->path,
                             name, dt->name);
        return TERN_OK;
    }
    TERN_TRY(check_shape(n, t, n_out, dim_of(&w->h, spec->in)));
    if (dt->cls == TERN_CLASS_OTHER)
        return tern_fail(n->err, TERN_E_UNSUPPORTED,
                         "%s: tensor '%s': type %s, which no matrix can have", w->dir->path, name,
                         dt->name);
    return TERN_OK;
}

/* Every tensor is there and as it should be, before memory is taken for any. */
static tern_code check_all(binder *n)
{
    const tern_tensor *t, *of_long = NULL, *of_short = NULL;
    const tern_weights *w = n->w;
    for (const tern_tensor_spec *s = n->arch->tensors; s->name; s++) {
        for (int i = 0; i < (TERN_W_IS_BLOCK(s->role) ? w->h.n_layer : 1); i++)
            TERN_TRY(find_tensor(n, s, TERN_W_IS_BLOCK(s->role) ? i : -1, &t));
        of_short = s->role == TERN_W_ROPE_SHORT ? t : of_short;
        of_long = s->role == TERN_W_ROPE_LONG ? t : of_long;
    }
    /* The factors for short and long contexts go together, and longrope is nothing else. */
    if (!of_short != !of_long || (w->h.rope.scaling == TERN_ROPE_LONGROPE && !of_long))
        return tern_fail(n->err, TERN_E_FORMAT, "%s: tensor 'rope_factors_%s.weight' is missing",
                         w->dir->path, of_long ? "short" : "long");
    return TERN_OK;
}

/* A norm or bias as f32, whatever the file stores. */
static tern_code load_vector(binder *n, const tern_tensor *t, const float **out)
{
    static const float none;
    tern_weights *w = n->w;
    w->vector_bytes += tern_round_up(t->ne[0], 64) * sizeof **out;
    if (!n->pool) {
        *out = &none; /* there is one */
        return TERN_OK;
    }
    float *v = tern_calloc(tern_round_up(t->ne[0], 64), sizeof *v);
    if (!v || w->n_vector == w->cap_vector) {
        tern_free(v);
        return tern_fail(n->err, TERN_E_NOMEM, "%s: out of memory for tensor '%s'", w->dir->path,
                         t->name);
    }
    w->vectors[w->n_vector++] = v;
    tern_dtype_get(t->dtype)->unpack_row(t, 0, v);
    *out = v;
    return TERN_OK;
}

/* Feed-forwards whose activation makes zeros leave out rows of up and columns of down. */
static tern_pack pack_of(const binder *n, const tern_tensor *t, tern_role role)
{
    static const tern_pack packs[][2] = {
        [TERN_LISTED_NONE] = {TERN_PACK_T2R16, TERN_PACK_T3R16},
        [TERN_LISTED_ROWS] = {TERN_PACK_T2R1, TERN_PACK_T3R1},
        [TERN_LISTED_COLS] = {TERN_PACK_T2C1, TERN_PACK_T3C1},
    };
    const tern_bind_opts *o = n->opts;
    int rows = (int)t->ne[1], cols = (int)t->ne[0];
    tern_listed listed = role == TERN_W_UP     ? TERN_LISTED_ROWS
                         : role == TERN_W_DOWN ? TERN_LISTED_COLS
                                               : TERN_LISTED_NONE;
    if (n->w->h.act != TERN_ACT_RELU2 || !o->skips || !o->skips(o->ctx, listed, rows, cols))
        listed = TERN_LISTED_NONE;
    bool base3 = o->base3 && o->base3(o->ctx, listed, cols);
    return packs[listed][base3];
}

/* Pack a ternary tensor, which the copy serves for from then on. */
static tern_code pack_matrix(binder *n, const tern_tensor *t, tern_role role, tern_linear *l)
{
    if (!n->pool)
        return tern_linear_plan(l, t, n->w->h.token_act8, pack_of(n, t, role), n->err);
    tern_dir_tensor_want(n->w->dir, t);
    tern_code rc = tern_linear_init(l, t, n->w->h.token_act8, pack_of(n, t, role), n->pool, n->err);
    if (l->packed_bytes)
        tern_dir_tensor_drop(n->w->dir, t);
    return rc;
}

static tern_code load_matrix(binder *n, const tern_tensor *t, tern_role role, tern_linear *l)
{
    bool token_act8 = n->w->h.token_act8;
    if (tern_dtype_get(t->dtype)->cls != TERN_CLASS_TERNARY) {
        TERN_TRY(tern_linear_init(l, t, token_act8, TERN_PACK_T2R16, n->pool, n->err));
    } else if (n->opts->packed && n->pool) {
        *l = (tern_linear){.src = t, .cols = (int)t->ne[0], .rows = (int)t->ne[1]};
        TERN_TRY(tern_packed_linear(n->opts->packed, n->w->dir, l, token_act8, n->pool, n->err));
    } else {
        TERN_TRY(pack_matrix(n, t, role, l));
    }
    n->w->read_bytes += l->read_bytes;
    n->w->packed_bytes += l->packed_bytes;
    return TERN_OK;
}

/* Rows of a matrix in the file as matrices of their own. */
static tern_code load_rows(binder *n, const tern_tensor *t, const tern_role *roles, size_t n_role,
                           tern_block *b)
{
    size_t row = 0;
    for (size_t i = 0; i < n_role; i++) {
        tern_role role = roles[i];
        tern_tensor *view = &n->w->views[n->w->n_view];
        size_t rows = dim_of(&n->w->h, role == TERN_W_Q                       ? TERN_D_Q
                                       : role == TERN_W_K || role == TERN_W_V ? TERN_D_KV
                                                                              : TERN_D_FF);
        if (!tern_tensor_view(t, row, rows, view))
            return tern_fail(n->err, TERN_E_UNSUPPORTED,
                             "%s: tensor '%s': type %s cannot be split at row %zu", n->w->dir->path,
                             t->name, tern_dtype_get(t->dtype)->name, row);
        view->part = ++n->w->n_view;
        TERN_TRY(load_matrix(n, view, role, matrix_of(n->w, b, role)));
        row += rows;
    }
    return TERN_OK;
}

static tern_code bind_one(binder *n, const tern_tensor_spec *spec, int layer)
{
    tern_weights *w = n->w;
    static const tern_role qkv[] = {TERN_W_Q, TERN_W_K, TERN_W_V};
    static const tern_role gate_up[] = {TERN_W_GATE, TERN_W_UP};
    tern_block *b = layer < 0 ? NULL : &w->blocks[layer];
    const tern_tensor *t;
    TERN_TRY(find_tensor(n, spec, layer, &t));
    if (!t)
        return TERN_OK;
    if (!TERN_W_IS_MATRIX(spec->role))
        return load_vector(n, t, vector_of(n, b, spec->role));
    if (spec->role == TERN_W_EMBED) {
        w->embed = t;
        return TERN_OK;
    }
    if (spec->role == TERN_W_QKV)
        return load_rows(n, t, qkv, 3, b);
    if (spec->role == TERN_W_GATE_UP)
        return load_rows(n, t, gate_up, 2, b);
    return load_matrix(n, t, spec->role, matrix_of(w, b, spec->role));
}

static tern_code make_table(binder *n, const tern_rope *r, const float *factors, const char *name,
                            tern_rope_table *out)
{
    int half = r->n_rot / 2;
    out->inv_freq = tern_calloc((size_t)half, sizeof *out->inv_freq);
    if (!out->inv_freq)
        return tern_fail(n->err, TERN_E_NOMEM, "%s: out of memory", n->w->dir->path);
    for (int i = 0; factors && i < half; i++)
        if (!(factors[i] > 0.0f))
            return tern_fail(n->err, TERN_E_FORMAT, "%s: tensor '%s': entry %d is %g, expected > 0",
                             n->w->dir->path, name, i, (double)factors[i]);
    tern_rope_frequencies(r, factors, out);
    return TERN_OK;
}

static tern_code bind_rope(binder *n)
{
    tern_weights *w = n->w;
    const tern_rope *r = &w->h.rope;
    const tern_rope local = {.n_rot = r->n_rot, .base = w->h.rope_local_base, .attn_factor = 1.0f};
    if (n->rope_long) {
        w->h.rope.scaling = TERN_ROPE_LONGROPE;
        TERN_TRY(make_table(n, r, n->rope_short, "rope_factors_short.weight", &w->rope));
        return make_table(n, r, n->rope_long, "rope_factors_long.weight", &w->rope_long);
    }
    if (local.base > 0.0f)
        TERN_TRY(make_table(n, &local, NULL, "", &w->rope_local));
    return make_table(n, r, n->rope_freqs, "rope_freqs.weight", &w->rope);
}

static tern_code bind_all(binder *n)
{
    tern_weights *w = n->w;
    /* Vectors first: what may still be wrong are the values of one, and matrices take memory. */
    for (int matrices = 0; matrices < 2; matrices++) {
        for (const tern_tensor_spec *s = n->arch->tensors; s->name; s++)
            if (!TERN_W_IS_BLOCK(s->role) && TERN_W_IS_MATRIX(s->role) == matrices)
                TERN_TRY(bind_one(n, s, -1));
        if (!matrices && n->pool)
            TERN_TRY(bind_rope(n));
    }
    w->head_tied = w->head.src == NULL;
    if (w->head_tied)
        TERN_TRY(load_matrix(n, w->embed, TERN_W_HEAD, &w->head));
    for (int i = 0; i < w->h.n_layer; i++) {
        tern_block *b = &w->blocks[i];
        b->mixer = TERN_MIXER_ATTENTION;
        b->m.attention.slot = i;
        if (tern_hparams_windowed(&w->h, i)) {
            b->m.attention.window = w->h.window;
            b->m.attention.local_rope = w->h.rope_local_base > 0.0f;
        }
        b->ffn = TERN_FFN_DENSE;
        b->f.dense.act = w->h.act;
        for (const tern_tensor_spec *s = n->arch->tensors; s->name; s++)
            if (TERN_W_IS_BLOCK(s->role))
                TERN_TRY(bind_one(n, s, i));
        if (n->opts->progress)
            n->opts->progress(n->opts->ctx, (double)(i + 1) / (double)w->h.n_layer);
    }
    return TERN_OK;
}

tern_code tern_weights_read(tern_weights *w, const tern_dir *d, int n_token, tern_err *err)
{
    tern_slice name;
    bool found = false;
    *w = (tern_weights){.dir = d};
    TERN_TRY(tern_dir_get_str(d, "general.architecture", &name, &found, err));
    if (!found)
        return tern_fail(err, TERN_E_FORMAT, "%s: key general.architecture is missing", d->path);
    char shown[48];
    w->arch = tern_arch_find(name.p, name.n);
    if (!w->arch)
        return tern_fail(err, TERN_E_UNSUPPORTED,
                         "%s: architecture '%s' is not supported; this version runs: %s", d->path,
                         tern_quote(shown, sizeof shown, name.p, name.n), tern_arch_list());
    TERN_TRY(tern_hparams_read(d, w->arch, &w->h, err));
    if (n_token > w->h.n_vocab)
        return tern_fail(err, TERN_E_FORMAT,
                         "%s: the vocabulary has %d tokens but 'token_embd.weight' only %d rows",
                         d->path, n_token, w->h.n_vocab);
    if ((size_t)w->h.n_layer > d->n_tensor)
        return tern_fail(err, TERN_E_FORMAT,
                         "%s: %s.block_count is %d but the file has %zu tensors", d->path,
                         w->arch->name, w->h.n_layer, d->n_tensor);
    binder n = {.w = w, .arch = w->arch, .err = err};
    return check_all(&n);
}

bool tern_weights_ternary(const tern_weights *w)
{
    for (size_t i = 0; i < w->dir->n_tensor; i++)
        if (tern_dtype_get(w->dir->tensors[i].dtype)->cls == TERN_CLASS_TERNARY)
            return true;
    return false;
}

/* pool NULL: sizes only. */
static tern_code bind(tern_weights *w, const tern_bind_opts *o, tern_pool *pool, tern_err *err)
{
    tern_code rc;
    binder n = {.w = w, .arch = w->arch, .opts = o, .pool = pool, .err = err};
    w->cap_vector = w->dir->n_tensor;
    w->blocks = tern_calloc((size_t)w->h.n_layer, sizeof *w->blocks);
    w->vectors = tern_calloc(w->cap_vector, sizeof *w->vectors);
    w->views = tern_calloc(MAX_VIEWS * (size_t)w->h.n_layer, sizeof *w->views);
    if (!w->blocks || !w->vectors || !w->views)
        rc = tern_fail(err, TERN_E_NOMEM, "%s: out of memory", w->dir->path);
    else
        rc = bind_all(&n);
    if (rc != TERN_OK)
        tern_weights_done(w);
    return rc;
}

tern_code tern_weights_bind(tern_weights *w, const tern_bind_opts *o, tern_pool *pool,
                            tern_err *err)
{
    return bind(w, o, pool, err);
}

tern_code tern_weights_plan(const tern_weights *read, const tern_bind_opts *o, tern_weights *w,
                            tern_err *err)
{
    tern_bind_opts sizes = *o;
    sizes.progress = NULL;
    *w = *read;
    return bind(w, &sizes, NULL, err);
}

#define BLOCK_MATRICES 7

static void block_matrices(tern_block *b, tern_linear **out)
{
    tern_attention *a = &b->m.attention;
    tern_dense *f = &b->f.dense;
    tern_linear *const all[BLOCK_MATRICES] = {&a->q,    &a->k,  &a->v,   &a->o,
                                              &f->gate, &f->up, &f->down};
    memcpy(out, all, sizeof all);
}

size_t tern_weights_matrices(const tern_weights *w, const tern_linear **out)
{
    size_t n = (size_t)w->h.n_layer;
    for (size_t i = 0; out && i < n; i++) {
        tern_linear *all[BLOCK_MATRICES];
        block_matrices(&w->blocks[i], all);
        for (size_t j = 0; j < BLOCK_MATRICES; j++)
            out[i * BLOCK_MATRICES + j] = all[j];
    }
    if (out)
        out[n * BLOCK_MATRICES] = &w->head;
    return n * BLOCK_MATRICES + 1;
}

void tern_weights_done(tern_weights *w)
{
    for (int i = 0; w->blocks && i < w->h.n_layer; i++) {
        tern_linear *all[BLOCK_MATRICES];
        block_matrices(&w->blocks[i], all);
        for (size_t j = 0; j < BLOCK_MATRICES; j++)
            tern_linear_done(all[j]);
    }
    tern_head_done(&w->screen);
    tern_linear_done(&w->head);
    for (size_t i = 0; i < w->n_vector; i++)
        tern_free(w->vectors[i]);
    tern_free(w->vectors);
    tern_free(w->blocks);
    tern_free(w->views);
    tern_free(w->rope.inv_freq);
    tern_free(w->rope_local.inv_freq);
    tern_free(w->rope_long.inv_freq);
    *w = (tern_weights){0};
}
