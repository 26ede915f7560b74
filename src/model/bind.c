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

typedef struct binder {
    tern_weights *w;
    const tern_arch *arch;
    const tern_bind_opts *opts;
    tern_pool *pool;
    tern_err *err;
    const float *rope_freqs;
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
    case TERN_W_ATTN_NORM:
        return &b->mixer_norm;
    case TERN_W_ATTN_SUB_NORM:
        return &b->m.attention.sub_norm;
    case TERN_W_FFN_NORM:
        return &b->ffn_norm;
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
    const tern_tensor *t;
    for (const tern_tensor_spec *s = n->arch->tensors; s->name; s++)
        for (int i = 0; i < (TERN_W_IS_BLOCK(s->role) ? n->w->h.n_layer : 1); i++)
            TERN_TRY(find_tensor(n, s, TERN_W_IS_BLOCK(s->role) ? i : -1, &t));
    return TERN_OK;
}

/* A norm or bias as f32, whatever the file stores. */
static tern_code load_vector(binder *n, const tern_tensor *t, const float **out)
{
    tern_weights *w = n->w;
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
    bool sparse = n->opts->ffn_sparse && n->w->h.act == TERN_ACT_RELU2;
    if (sparse && role == TERN_W_UP)
        return TERN_PACK_T2R1;
    if (sparse && role == TERN_W_DOWN)
        return TERN_PACK_T2C1;
    bool base3 = n->opts->base3 && n->opts->base3(n->opts->ctx, (int)t->ne[0]);
    return base3 ? TERN_PACK_T3R16 : TERN_PACK_T2R16;
}

/* Pack a ternary tensor, which the copy serves for from then on. */
static tern_code pack_matrix(binder *n, const tern_tensor *t, tern_role role, tern_linear *l)
{
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
    } else if (n->opts->packed) {
        *l = (tern_linear){.src = t, .cols = (int)t->ne[0], .rows = (int)t->ne[1]};
        TERN_TRY(tern_packed_linear(n->opts->packed, n->w->dir, l, token_act8, n->pool, n->err));
    } else {
        TERN_TRY(pack_matrix(n, t, role, l));
    }
    n->w->read_bytes += l->read_bytes;
    n->w->packed_bytes += l->packed_bytes;
    return TERN_OK;
}

static tern_code bind_one(binder *n, const tern_tensor_spec *spec, int layer)
{
    tern_weights *w = n->w;
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
    return load_matrix(n, t, spec->role, matrix_of(w, b, spec->role));
}

static tern_code bind_rope(binder *n)
{
    tern_weights *w = n->w;
    int half = w->h.rope.n_rot / 2;
    w->inv_freq = tern_calloc((size_t)half, sizeof *w->inv_freq);
    if (!w->inv_freq)
        return tern_fail(n->err, TERN_E_NOMEM, "%s: out of memory", w->dir->path);
    for (int i = 0; n->rope_freqs && i < half; i++)
        if (!(n->rope_freqs[i] > 0.0f))
            return tern_fail(n->err, TERN_E_FORMAT,
                             "%s: tensor 'rope_freqs.weight': entry %d is %g, expected > 0",
                             w->dir->path, i, (double)n->rope_freqs[i]);
    tern_rope_frequencies(&w->h.rope, n->rope_freqs, w->inv_freq, &w->rope_mscale);
    return TERN_OK;
}

static tern_code bind_all(binder *n)
{
    tern_weights *w = n->w;
    /* Vectors first: what may still be wrong are the values of one, and matrices take memory. */
    for (int matrices = 0; matrices < 2; matrices++) {
        for (const tern_tensor_spec *s = n->arch->tensors; s->name; s++)
            if (!TERN_W_IS_BLOCK(s->role) && TERN_W_IS_MATRIX(s->role) == matrices)
                TERN_TRY(bind_one(n, s, -1));
        if (!matrices)
            TERN_TRY(bind_rope(n));
    }
    w->head_tied = w->head.src == NULL;
    if (w->head_tied)
        TERN_TRY(load_matrix(n, w->embed, TERN_W_HEAD, &w->head));
    for (int i = 0; i < w->h.n_layer; i++) {
        tern_block *b = &w->blocks[i];
        b->mixer = TERN_MIXER_ATTENTION;
        b->m.attention.slot = i;
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

tern_code tern_weights_bind(tern_weights *w, const tern_bind_opts *o, tern_pool *pool,
                            tern_err *err)
{
    tern_code rc;
    binder n = {.w = w, .arch = w->arch, .opts = o, .pool = pool, .err = err};
    w->cap_vector = w->dir->n_tensor;
    w->blocks = tern_calloc((size_t)w->h.n_layer, sizeof *w->blocks);
    w->vectors = tern_calloc(w->cap_vector, sizeof *w->vectors);
    if (!w->blocks || !w->vectors)
        rc = tern_fail(err, TERN_E_NOMEM, "%s: out of memory", w->dir->path);
    else
        rc = bind_all(&n);
    if (rc != TERN_OK)
        tern_weights_done(w);
    return rc;
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
    tern_free(w->inv_freq);
    *w = (tern_weights){0};
}
