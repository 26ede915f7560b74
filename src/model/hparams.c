#include "model/hparams.h"
#include "base/error.h"
#include "base/str.h"
#include "model/arch/arch.h"
#include "model/import/import.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *tern_act_name(tern_act_kind act)
{
    static const char *const names[] = {"relu2", "silu", "gelu"};
    return names[act];
}

const char *tern_rope_scaling_name(tern_rope_scaling s)
{
    static const char *const names[] = {"none", "linear", "yarn", "llama3", "longrope"};
    return names[s];
}

/* One file being read: keys are "<arch>.<suffix>". */
typedef struct keys {
    const tern_dir *dir;
    const char *prefix;
    tern_err *err;
    char key[128];
} keys;

static const char *full(keys *k, const char *suffix)
{
    (void)snprintf(k->key, sizeof k->key, "%s.%s", k->prefix, suffix);
    return k->key;
}

static bool is_integer(tern_meta_type t)
{
    return t != TERN_META_F32 && t != TERN_META_F64 && t != TERN_META_BOOL &&
           t != TERN_META_STRING && t != TERN_META_ARRAY;
}

/* An integer in [lo, hi]; fallback < 0: the key is required. A per-layer array is accepted when all
 * its entries are equal. */
static tern_code get_int(keys *k, const char *suffix, int lo, int hi, int fallback, int *out)
{
    const char *key = full(k, suffix);
    const tern_meta *m = tern_dir_meta_find(k->dir, key);
    int64_t v = fallback;
    if (m && m->type == TERN_META_ARRAY && m->n_elem > 0 && is_integer(m->elem)) {
        v = tern_meta_elem_i64(m, 0);
        for (size_t i = 1; i < m->n_elem; i++)
            if (tern_meta_elem_i64(m, i) != v)
                return tern_fail(k->err, TERN_E_UNSUPPORTED,
                                 "%s: %s differs between layers, which this version cannot run",
                                 k->dir->path, key);
    } else {
        uint32_t u;
        bool found = false;
        TERN_TRY(tern_dir_get_u32(k->dir, key, &u, &found, k->err));
        if (found)
            v = u;
        else if (fallback < 0)
            return tern_fail(k->err, TERN_E_FORMAT, "%s: required key %s is missing", k->dir->path,
                             key);
        else {
            *out = fallback;
            return TERN_OK;
        }
    }
    if (v < lo || v > hi)
        return tern_fail(k->err, TERN_E_FORMAT, "%s: %s is %lld, expected %d..%d", k->dir->path,
                         key, (long long)v, lo, hi);
    *out = (int)v;
    return TERN_OK;
}

static tern_code get_float(keys *k, const char *suffix, float lo, float hi, float fallback,
                           float *out)
{
    const char *key = full(k, suffix);
    bool found = false;
    *out = fallback;
    TERN_TRY(tern_dir_get_f32(k->dir, key, out, &found, k->err));
    if (found && !(*out >= lo && *out <= hi))
        return tern_fail(k->err, TERN_E_FORMAT, "%s: %s is %g, expected %g..%g", k->dir->path, key,
                         (double)*out, (double)lo, (double)hi);
    return TERN_OK;
}

static bool slice_is(tern_slice s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

static tern_code read_act(keys *k, tern_hparams *h, bool *found)
{
    tern_slice s;
    char shown[48];
    TERN_TRY(tern_dir_get_str(k->dir, full(k, "hidden_activation"), &s, found, k->err));
    if (!*found)
        return TERN_OK;
    if (slice_is(s, "relu2") || slice_is(s, "relu_squared"))
        h->act = TERN_ACT_RELU2;
    else if (slice_is(s, "silu") || slice_is(s, "swish"))
        h->act = TERN_ACT_SILU;
    else if (slice_is(s, "gelu") || slice_is(s, "gelu_pytorch_tanh") || slice_is(s, "gelu_tanh"))
        h->act = TERN_ACT_GELU;
    else
        return tern_fail(k->err, TERN_E_UNSUPPORTED, "%s: %s is '%s', expected relu2, silu or gelu",
                         k->dir->path, k->key, tern_quote(shown, sizeof shown, s.p, s.n));
    return TERN_OK;
}

static tern_code read_rope(keys *k, tern_hparams *h)
{
    tern_rope *r = &h->rope;
    tern_slice type;
    char shown[48];
    bool found = false;
    TERN_TRY(get_int(k, "rope.dimension_count", 2, h->d_head, h->d_head, &r->n_rot));
    if (r->n_rot % 2 != 0)
        return tern_fail(k->err, TERN_E_FORMAT,
                         "%s: %s.rope.dimension_count is %d, expected an even number", k->dir->path,
                         k->prefix, r->n_rot);
    TERN_TRY(get_float(k, "rope.freq_base", 1.0f, 1e12f, 10000.0f, &r->base));
    TERN_TRY(get_float(k, "rope.scaling.factor", 1e-3f, 1e6f, 1.0f, &r->factor));
    TERN_TRY(get_int(k, "rope.scaling.original_context_length", 1, INT32_MAX, h->n_ctx_train,
                     &r->n_ctx_orig));
    TERN_TRY(get_float(k, "rope.scaling.attn_factor", 0.0f, 1e3f, 1.0f, &r->attn_factor));
    if (r->attn_factor == 0.0f)
        r->attn_factor = 1.0f;
    TERN_TRY(get_float(k, "rope.scaling.yarn_beta_fast", 0.0f, 1e6f, 32.0f, &r->beta_fast));
    TERN_TRY(get_float(k, "rope.scaling.yarn_beta_slow", 0.0f, 1e6f, 1.0f, &r->beta_slow));
    TERN_TRY(get_float(k, "rope.scaling.low_freq_factor", 1e-3f, 1e6f, 1.0f, &r->low_freq));
    TERN_TRY(get_float(k, "rope.scaling.high_freq_factor", 1e-3f, 1e6f, 4.0f, &r->high_freq));
    TERN_TRY(tern_dir_get_str(k->dir, full(k, "rope.scaling.type"), &type, &found, k->err));
    r->scaling = TERN_ROPE_NONE;
    if (!found || slice_is(type, "none"))
        return TERN_OK;
    if (slice_is(type, "linear"))
        r->scaling = TERN_ROPE_LINEAR;
    else if (slice_is(type, "yarn"))
        r->scaling = TERN_ROPE_YARN;
    else if (slice_is(type, "llama3"))
        r->scaling = TERN_ROPE_LLAMA3;
    else if (slice_is(type, "longrope"))
        r->scaling = TERN_ROPE_LONGROPE;
    else
        return tern_fail(k->err, TERN_E_UNSUPPORTED,
                         "%s: %s is '%s', expected none, linear, yarn, llama3 or longrope",
                         k->dir->path, k->key, tern_quote(shown, sizeof shown, type.p, type.n));
    if (r->scaling == TERN_ROPE_YARN && !(r->base > 1.0f && r->beta_fast > 0 && r->beta_slow > 0))
        return tern_fail(k->err, TERN_E_FORMAT,
                         "%s: rope scaling yarn: freq_base %g must exceed 1, yarn_beta_fast %g and "
                         "yarn_beta_slow %g exceed 0",
                         k->dir->path, (double)r->base, (double)r->beta_fast, (double)r->beta_slow);
    if (r->scaling == TERN_ROPE_LLAMA3 && !(r->high_freq > r->low_freq))
        return tern_fail(k->err, TERN_E_FORMAT,
                         "%s: rope scaling: high_freq_factor %g must exceed low_freq_factor %g",
                         k->dir->path, (double)r->high_freq, (double)r->low_freq);
    return TERN_OK;
}

/* Layers that see the last positions only: a window, and a number or a list of layers. */
static tern_code read_window(keys *k, const tern_arch *arch, tern_hparams *h)
{
    TERN_TRY(get_int(k, "attention.sliding_window", 0, INT32_MAX, 0, &h->window));
    if (h->window == 0)
        return TERN_OK;
    const char *key = full(k, "attention.sliding_window_pattern");
    const tern_meta *m = tern_dir_meta_find(k->dir, key);
    if (m && m->type == TERN_META_ARRAY) {
        if ((m->elem != TERN_META_BOOL && !is_integer(m->elem)) || m->n_elem < (size_t)h->n_layer)
            return tern_fail(k->err, TERN_E_FORMAT,
                             "%s: %s has %zu entries, expected a flag for each of %d layers",
                             k->dir->path, key, m->n_elem, h->n_layer);
        h->window_layers = m;
    } else {
        TERN_TRY(get_int(k, "attention.sliding_window_pattern", 0, 4096, arch->window_period,
                         &h->window_period));
    }
    TERN_TRY(
        get_float(k, "rope.freq_base_swa", 1.0f, 1e12f, arch->local_base, &h->rope_local_base));
    return TERN_OK;
}

bool tern_hparams_windowed(const tern_hparams *h, int layer)
{
    if (h->window == 0)
        return false;
    if (h->window_layers)
        return tern_meta_elem_i64(h->window_layers, (size_t)layer) != 0;
    return h->window_period == 0 || layer % h->window_period != h->window_period - 1;
}

/* Attention as the family has it, then what the file says. */
static tern_code read_attention(keys *k, const tern_arch *arch, tern_hparams *h)
{
    static const char *const softcaps[] = {"final_logit_softcapping", "attn_logit_softcapping"};
    bool found = false, causal = true;
    float scale, softcap;
    TERN_TRY(read_window(k, arch, h));
    TERN_TRY(get_float(k, "attention.scale", 0.0f, 1e3f, 0.0f, &scale));
    if (scale > 0.0f)
        h->attn_scale = scale;
    for (size_t i = 0; i < sizeof softcaps / sizeof softcaps[0]; i++) {
        TERN_TRY(get_float(k, softcaps[i], 0.0f, 1e6f, 0.0f, &softcap));
        if (softcap > 0.0f)
            return tern_fail(k->err, TERN_E_UNSUPPORTED,
                             "%s: %s is %g, which this version cannot run", k->dir->path, k->key,
                             (double)softcap);
    }
    TERN_TRY(tern_dir_get_bool(k->dir, full(k, "attention.causal"), &causal, &found, k->err));
    h->bidirectional = !causal;
    if (!causal && h->window > 0)
        return tern_fail(k->err, TERN_E_UNSUPPORTED,
                         "%s: %s is false beside a sliding window, which this version cannot run",
                         k->dir->path, k->key);
    return tern_dir_meta_find(k->dir, full(k, "pooling_type"))
               ? get_int(k, "pooling_type", 0, 4, 0, &h->pooling)
               : TERN_OK;
}

/* Files whose matrices expect turned inputs (Prism's second generation) would run and say
 * nonsense. */
static tern_code check_rotation(const tern_dir *d, tern_err *err)
{
    static const char key[] = "prism.hadamard.version";
    return tern_dir_meta_find(d, key)
               ? tern_fail(err, TERN_E_UNSUPPORTED,
                           "%s: %s: its matrices expect inputs turned by Hadamard matrices, which "
                           "this version does not do",
                           d->path, key)
               : TERN_OK;
}

tern_code tern_hparams_read(const tern_dir *d, const tern_arch *arch, tern_hparams *out,
                            tern_err *err)
{
    tern_hparams *h = out;
    keys k = {.dir = d, .prefix = arch->name, .err = err};
    bool act_in_file = false;
    int d_value;
    *h = (tern_hparams){.arch = arch->name,
                        .act = arch->act,
                        .token_act8 = arch->token_act8,
                        .rope.neox = arch->neox,
                        .embed_scale = 1.0f,
                        .pooling = -1};
    TERN_TRY(check_rotation(d, err));
    /* Upper bounds are far beyond any model; they keep every product of two of them in 62 bits. */
    TERN_TRY(get_int(&k, "block_count", 1, 4096, -1, &h->n_layer));
    TERN_TRY(get_int(&k, "embedding_length", 1, 1 << 20, -1, &h->d_model));
    TERN_TRY(get_int(&k, "feed_forward_length", 1, 1 << 22, -1, &h->d_ff));
    TERN_TRY(get_int(&k, "attention.head_count", 1, 4096, -1, &h->n_head));
    TERN_TRY(get_int(&k, "attention.head_count_kv", 1, h->n_head, h->n_head, &h->n_kv_head));
    TERN_TRY(get_int(&k, "context_length", 1, INT32_MAX - 64, -1, &h->n_ctx_train));
    if (h->n_head % h->n_kv_head != 0)
        return tern_fail(err, TERN_E_FORMAT,
                         "%s: %s.attention.head_count %d is not a multiple of head_count_kv %d",
                         d->path, arch->name, h->n_head, h->n_kv_head);
    int by_width = h->d_model % h->n_head == 0 ? h->d_model / h->n_head : -1;
    TERN_TRY(get_int(&k, "attention.key_length", 2, 512, by_width, &h->d_head));
    TERN_TRY(get_int(&k, "attention.value_length", 2, 512, h->d_head, &d_value));
    if (d_value != h->d_head || h->d_head < 2 || h->d_head > 512)
        return tern_fail(err, TERN_E_UNSUPPORTED,
                         "%s: %s.attention.key_length is %d, .attention.value_length %d: expected "
                         "equal, 2..512",
                         d->path, arch->name, h->d_head, d_value);
    TERN_TRY(get_float(&k, "attention.layer_norm_rms_epsilon", 0.0f, 1.0f, 1e-5f, &h->rms_eps));
    TERN_TRY(tern_dir_get_bool(d, TERN_KEY_ROPE_HALVES, &h->rope.neox, NULL, err));
    TERN_TRY(read_act(&k, h, &act_in_file));
    TERN_TRY(read_rope(&k, h));
    h->attn_scale = 1.0f / sqrtf((float)h->d_head);

    const tern_tensor *embed = tern_dir_tensor_find(d, "token_embd.weight");
    if (!embed)
        return tern_fail(err, TERN_E_FORMAT, "%s: tensor 'token_embd.weight' is missing", d->path);
    if (embed->ne[1] > INT32_MAX / 2)
        return tern_fail(err, TERN_E_FORMAT, "%s: tensor 'token_embd.weight': %zu rows", d->path,
                         embed->ne[1]);
    h->n_vocab = (int)embed->ne[1];
    if (arch->adjust)
        arch->adjust(h, act_in_file);
    return read_attention(&k, arch, h);
}
