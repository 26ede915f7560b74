/* config.json to the keys of a GGUF file (llama.cpp's names; docs of the format, gguf.md). */
#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "file/json_file.h"
#include "model/import/folder.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define CONFIG_MAX ((size_t)4 << 20)
#define NONE       (-1.0)

/* Gemma3TextConfig of transformers. Configurations of the models with eyes lean on it. */
static const tern_family_defaults gemma3 = {.n_head = 8,
                                            .n_kv_head = 4,
                                            .d_head = 256,
                                            .n_ctx = 131072,
                                            .n_vocab = 262208,
                                            .window = 4096,
                                            .period = 6,
                                            .scalar = 256,
                                            .base = 1e6};
static const tern_family_defaults nothing = {.base = 10000.0};

/* The first row that fits counts. */
static const tern_family families[] = {
    {.class_name = "BitNetForCausalLM", .arch = "bitnet-b1.58"},
    {.class_name = "BitnetForCausalLM", .arch = "bitnet", .masters = true}, /* 1bitLLM */
    {.model_type = "bitnet", .arch = "bitnet-b1.58"},
    {.model_type = "llama", .arch = "llama", .halves = true},
    {.model_type = "mistral", .arch = "llama", .halves = true},
    {.model_type = "qwen2", .arch = "qwen2"},
    {.model_type = "qwen3", .arch = "qwen3"},
    {.model_type = "gemma3_text",
     .arch = "gemma3",
     .plus_one = true,
     .post_norm = true,
     .defaults = &gemma3},
    {.model_type = "gemma3",
     .arch = "gemma3",
     .plus_one = true,
     .post_norm = true,
     .defaults = &gemma3},
    {.model_type = "phi3", .arch = "phi3"},
};
#define N_FAMILY (sizeof families / sizeof families[0])

/* ---- values -------------------------------------------------------------------------------- */

static tern_code bad(const tern_folder *f, const char *key, const char *expected)
{
    return tern_fail(f->err, TERN_E_FORMAT, "%s/config.json: '%s' is no %s", f->path, key,
                     expected);
}

/* A member of o that is not null. */
static const json_t *member(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_null(v) ? NULL : v;
}

/* A whole number in [lo, hi]; fallback where it is missing, < 0: it must not be. */
static tern_code get_int(const tern_folder *f, const json_t *o, const char *key, int lo, int hi,
                         int fallback, int *out)
{
    const json_t *v = member(o, key);
    if (!v && fallback < 0)
        return tern_fail(f->err, TERN_E_FORMAT, "%s/config.json: '%s' is missing", f->path, key);
    json_int_t n = v ? json_integer_value(v) : fallback;
    if ((v && !json_is_integer(v)) || n < lo || n > hi)
        return tern_fail(f->err, TERN_E_FORMAT, "%s/config.json: '%s' is no whole number %d..%d",
                         f->path, key, lo, hi);
    *out = (int)n;
    return TERN_OK;
}

static tern_code get_real(const tern_folder *f, const json_t *o, const char *key, double fallback,
                          double *out)
{
    const json_t *v = member(o, key);
    *out = v ? json_number_value(v) : fallback;
    if (v && (!json_is_number(v) || !(fabs(*out) <= 1e30)))
        return bad(f, key, "number");
    return TERN_OK;
}

/* Of a number that the class may have a default for; 0: it is demanded. */
static int or_needed(int fallback)
{
    return fallback > 0 ? fallback : -1;
}

static const tern_family_defaults *defaults_of(const tern_folder *f)
{
    return f->family->defaults ? f->family->defaults : &nothing;
}

static bool text_is(const json_t *v, const char *s)
{
    return v && json_is_string(v) && strcmp(json_string_value(v), s) == 0;
}

/* ---- keys ---------------------------------------------------------------------------------- */

static const char *key_of(const tern_folder *f, const char *suffix, char key[96])
{
    (void)snprintf(key, 96, "%s.%s", f->family->arch, suffix);
    return key;
}

static tern_code put_int(tern_folder *f, const char *suffix, int v)
{
    char key[96];
    return tern_dir_put_u32(f->out, key_of(f, suffix, key), (uint32_t)v, f->err);
}

static tern_code put_real(tern_folder *f, const char *suffix, double v)
{
    char key[96];
    return tern_dir_put_f32(f->out, key_of(f, suffix, key), (float)v, f->err);
}

static tern_code put_text(tern_folder *f, const char *suffix, const char *v)
{
    char key[96];
    return tern_dir_put_str(f->out, key_of(f, suffix, key), v, strlen(v), f->err);
}

/* ---- which model it is --------------------------------------------------------------------- */

static const tern_family *find_family(const json_t *config, const json_t *text)
{
    const json_t *type = member(text, "model_type");
    const json_t *name = json_array_get(json_object_get(config, "architectures"), 0);
    for (size_t i = 0; i < N_FAMILY; i++) {
        const tern_family *r = &families[i];
        if ((!r->class_name || text_is(name, r->class_name)) &&
            (!r->model_type || text_is(type, r->model_type)))
            return r;
    }
    return NULL;
}

static tern_code choose_family(tern_folder *f)
{
    char shown[48], names[160] = "";
    f->family = find_family(f->config, f->text);
    if (f->family)
        return TERN_OK;
    const char *type = json_string_value(json_object_get(f->text, "model_type"));
    for (size_t i = 0, at = 0; i < N_FAMILY; i++)
        if (families[i].model_type && at < sizeof names)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", at ? ", " : "",
                                   families[i].model_type);
    return tern_fail(
        f->err, TERN_E_UNSUPPORTED,
        "%s/config.json: model_type '%s' is not supported; this version reads: %s", f->path,
        tern_quote(shown, sizeof shown, type ? type : "", type ? strlen(type) : 0), names);
}

/* How linear weights are quantised. transformers' classes differ in what weight_scale means
 * (integrations/bitnet.py): BitLinear divides by it, AutoBitLinear multiplies. */
static tern_code choose_quant(tern_folder *f)
{
    const json_t *q = member(f->config, "quantization_config");
    char shown[48];
    f->quant = TERN_FOLDER_PLAIN;
    if (!q)
        q = member(f->text, "quantization_config");
    if (!q)
        return TERN_OK;
    const char *method = json_string_value(json_object_get(q, "quant_method"));
    if (!method || strcmp(method, "bitnet") != 0)
        return tern_fail(
            f->err, TERN_E_UNSUPPORTED,
            "%s/config.json: quant_method '%s' is not supported, only 'bitnet' is; "
            "look for the model without quantisation",
            f->path,
            tern_quote(shown, sizeof shown, method ? method : "", method ? strlen(method) : 0));
    f->quant = text_is(member(q, "linear_class"), "autobitlinear") ? TERN_FOLDER_MULTIPLIER
                                                                   : TERN_FOLDER_INVERSE;
    f->dense = json_object_get(q, "modules_to_not_convert");
    return TERN_OK;
}

/* Their windows are off unless they are said to be on. */
static bool is_qwen(const tern_folder *f)
{
    return strncmp(f->family->arch, "qwen", 4) == 0;
}

/* ---- rope ---------------------------------------------------------------------------------- */

/* Divisors of the angles as Llama 3.1 stretches them (transformers, modeling_rope_utils.py,
 * llama3): long waves by the factor, short ones not, a ramp between. As a tensor, which is how GGUF
 * files carry them. */
static tern_code put_llama3_factors(tern_folder *f, const json_t *rope, double base, int n_ctx)
{
    double factor, low, high, old;
    int half = f->n_rot / 2;
    TERN_TRY(get_real(f, rope, "factor", 8.0, &factor));
    TERN_TRY(get_real(f, rope, "low_freq_factor", 1.0, &low));
    TERN_TRY(get_real(f, rope, "high_freq_factor", 4.0, &high));
    TERN_TRY(get_real(f, rope, "original_max_position_embeddings", n_ctx, &old));
    if (!(factor > 0 && low > 0 && high > low && old > 0))
        return bad(f, "rope_scaling", "scaling with 0 < low_freq_factor < high_freq_factor");
    float *v = tern_arena_calloc(&f->out->arena, (size_t)half, sizeof *v);
    if (!v)
        return tern_fail(f->err, TERN_E_NOMEM, "%s: out of memory", f->path);
    for (int i = 0; i < half; i++) {
        double wave = 2.0 * 3.14159265358979323846 * pow(base, 2.0 * i / f->n_rot);
        if (wave < old / high)
            v[i] = 1.0f;
        else if (wave > old / low)
            v[i] = (float)factor;
        else {
            double smooth = (old / wave - low) / (high - low);
            v[i] = (float)(1.0 / ((1.0 - smooth) / factor + smooth));
        }
    }
    const tern_tensor t = {.name = "rope_freqs.weight",
                           .dtype = TERN_DT_F32,
                           .n_dim = 1,
                           .ne = {(size_t)half, 1, 1, 1},
                           .data = (const uint8_t *)v,
                           .bytes = (size_t)half * sizeof *v};
    return tern_dir_put_tensor(f->out, &t, f->err);
}

/* Phi-3's two lists of divisors, for short and long contexts. */
static tern_code put_factor_list(tern_folder *f, const json_t *list, const char *name)
{
    int half = f->n_rot / 2;
    if (json_array_size(list) != (size_t)half)
        return bad(f, "rope_scaling", "list of a divisor for each pair of a head");
    float *v = tern_arena_calloc(&f->out->arena, (size_t)half, sizeof *v);
    if (!v)
        return tern_fail(f->err, TERN_E_NOMEM, "%s: out of memory", f->path);
    for (int i = 0; i < half; i++)
        v[i] = (float)json_number_value(json_array_get(list, (size_t)i));
    const tern_tensor t = {.name = name,
                           .dtype = TERN_DT_F32,
                           .n_dim = 1,
                           .ne = {(size_t)half, 1, 1, 1},
                           .data = (const uint8_t *)v,
                           .bytes = (size_t)half * sizeof *v};
    return tern_dir_put_tensor(f->out, &t, f->err);
}

static tern_code put_longrope(tern_folder *f, const json_t *rope, int n_ctx)
{
    int old;
    double attn;
    TERN_TRY(get_int(f, f->text, "original_max_position_embeddings", 1, INT_MAX, n_ctx, &old));
    TERN_TRY(get_int(f, rope, "original_max_position_embeddings", 1, INT_MAX, old, &old));
    TERN_TRY(
        put_factor_list(f, json_object_get(rope, "short_factor"), "rope_factors_short.weight"));
    TERN_TRY(put_factor_list(f, json_object_get(rope, "long_factor"), "rope_factors_long.weight"));
    double stretch = (double)n_ctx / old;
    attn = stretch <= 1.0 ? 1.0 : sqrt(1.0 + log(stretch) / log(old));
    TERN_TRY(get_real(f, rope, "attention_factor", attn, &attn));
    TERN_TRY(put_int(f, "rope.scaling.original_context_length", old));
    return put_real(f, "rope.scaling.attn_factor", attn);
}

static tern_code put_yarn(tern_folder *f, const json_t *rope, double factor, int n_ctx)
{
    int old;
    double v;
    static const char *const keys[][2] = {{"beta_fast", "rope.scaling.yarn_beta_fast"},
                                          {"beta_slow", "rope.scaling.yarn_beta_slow"},
                                          {"attention_factor", "rope.scaling.attn_factor"}};
    TERN_TRY(get_int(f, rope, "original_max_position_embeddings", 1, INT_MAX, n_ctx, &old));
    TERN_TRY(put_text(f, "rope.scaling.type", "yarn"));
    TERN_TRY(put_real(f, "rope.scaling.factor", factor));
    TERN_TRY(put_int(f, "rope.scaling.original_context_length", old));
    for (size_t i = 0; i < 3; i++) {
        TERN_TRY(get_real(f, rope, keys[i][0], NONE, &v));
        if (v != NONE)
            TERN_TRY(put_real(f, keys[i][1], v));
    }
    return TERN_OK;
}

static tern_code put_scaling(tern_folder *f, const json_t *rope, double base, int n_ctx)
{
    const json_t *type =
        member(rope, "rope_type") ? member(rope, "rope_type") : member(rope, "type");
    double factor;
    char shown[48];
    const char *name = json_string_value(type);
    TERN_TRY(get_real(f, rope, "factor", 1.0, &factor));
    if (!name || strcmp(name, "default") == 0)
        return TERN_OK;
    if (strcmp(name, "llama3") == 0)
        return put_llama3_factors(f, rope, base, n_ctx);
    if (strcmp(name, "yarn") == 0)
        return put_yarn(f, rope, factor, n_ctx);
    if (strcmp(name, "longrope") == 0 || strcmp(name, "su") == 0)
        return put_longrope(f, rope, n_ctx);
    if (strcmp(name, "linear") == 0) {
        TERN_TRY(put_text(f, "rope.scaling.type", "linear"));
        return put_real(f, "rope.scaling.factor", factor);
    }
    return tern_fail(f->err, TERN_E_UNSUPPORTED,
                     "%s/config.json: rope scaling '%s', expected default, linear, yarn, llama3 or "
                     "longrope",
                     f->path, tern_quote(shown, sizeof shown, name, strlen(name)));
}

static tern_code put_rope(tern_folder *f, int d_head, int n_ctx)
{
    const json_t *rope = member(f->text, "rope_parameters");
    double base, part, local;
    if (!rope)
        rope = member(f->text, "rope_scaling");
    /* Layers with a window may turn at another rate. */
    TERN_TRY(get_real(f, f->text, "rope_local_base_freq", NONE, &local));
    TERN_TRY(get_real(f, member(rope, "sliding_attention"), "rope_theta", local, &local));
    if (local != NONE)
        TERN_TRY(put_real(f, "rope.freq_base_swa", local));
    /* Where layers differ, the full ones stand for the model. */
    if (member(rope, "full_attention"))
        rope = member(rope, "full_attention");
    TERN_TRY(get_real(f, f->text, "rope_theta", defaults_of(f)->base, &base));
    TERN_TRY(get_real(f, rope, "rope_theta", base, &base));
    TERN_TRY(get_real(f, f->text, "partial_rotary_factor", 1.0, &part));
    TERN_TRY(get_real(f, rope, "partial_rotary_factor", part, &part));
    if (!(part > 0.0 && part <= 1.0))
        return bad(f, "partial_rotary_factor", "share of a head");
    f->n_rot = (int)(part * d_head) / 2 * 2;
    if (f->n_rot < 2)
        return bad(f, "head_dim", "even number from 2 on");
    TERN_TRY(put_real(f, "rope.freq_base", base));
    TERN_TRY(put_int(f, "rope.dimension_count", f->n_rot));
    return put_scaling(f, rope, base, n_ctx);
}

/* ---- the rest ------------------------------------------------------------------------------ */

static tern_code put_shape(tern_folder *f)
{
    int n_layer = 0, d_model, d_ff, n_head, n_kv, d_head, n_ctx, n_vocab;
    double eps;
    const json_t *c = f->text;
    const tern_family_defaults *d = defaults_of(f);
    TERN_TRY(get_int(f, c, "num_hidden_layers", 1, 4096, -1, &n_layer));
    TERN_TRY(get_int(f, c, "hidden_size", 1, 1 << 20, -1, &d_model));
    TERN_TRY(get_int(f, c, "intermediate_size", 1, 1 << 22, -1, &d_ff));
    TERN_TRY(get_int(f, c, "num_attention_heads", 1, 4096, or_needed(d->n_head), &n_head));
    TERN_TRY(get_int(f, c, "num_key_value_heads", 1, n_head, d->n_kv_head ? d->n_kv_head : n_head,
                     &n_kv));
    d_head = d->d_head ? d->d_head : d_model / n_head < 2 ? 2 : d_model / n_head;
    TERN_TRY(get_int(f, c, "head_dim", 2, 512, d_head, &d_head));
    TERN_TRY(get_int(f, c, "max_position_embeddings", 1, INT_MAX - 64, d->n_ctx ? d->n_ctx : 2048,
                     &n_ctx));
    TERN_TRY(get_int(f, c, "vocab_size", 1, INT_MAX / 2, or_needed(d->n_vocab), &n_vocab));
    f->n_layer = n_layer;
    TERN_TRY(get_real(f, c, "rms_norm_eps", 1e-6, &eps));
    TERN_TRY(put_int(f, "vocab_size", n_vocab));
    TERN_TRY(put_int(f, "context_length", n_ctx));
    TERN_TRY(put_int(f, "embedding_length", d_model));
    TERN_TRY(put_int(f, "block_count", n_layer));
    TERN_TRY(put_int(f, "feed_forward_length", d_ff));
    TERN_TRY(put_int(f, "attention.head_count", n_head));
    TERN_TRY(put_int(f, "attention.head_count_kv", n_kv));
    TERN_TRY(put_int(f, "attention.key_length", d_head));
    TERN_TRY(put_int(f, "attention.value_length", d_head));
    TERN_TRY(put_real(f, "attention.layer_norm_rms_epsilon", eps));
    return put_rope(f, d_head, n_ctx);
}

/* Activation: always written for the families whose files are ambiguous about it. */
static tern_code put_activation(tern_folder *f)
{
    const json_t *act = member(f->text, "hidden_act");
    if (!act)
        act = member(f->text, "hidden_activation");
    const char *name = json_string_value(act);
    char shown[48];
    if (!name)
        return TERN_OK;
    if (strcmp(name, "relu2") == 0 || strcmp(name, "silu") == 0 ||
        strcmp(name, "gelu_pytorch_tanh") == 0)
        return put_text(f, "hidden_activation", name);
    return tern_fail(f->err, TERN_E_UNSUPPORTED,
                     "%s/config.json: activation '%s', expected silu, relu2 or gelu_pytorch_tanh",
                     f->path, tern_quote(shown, sizeof shown, name, strlen(name)));
}

/* ---- windows ------------------------------------------------------------------------------- */

/* The kinds of layers as a list, whether windows are in use or not. */
static tern_code read_layer_types(const tern_folder *f, const json_t *list, uint8_t *windowed)
{
    const json_t *v;
    size_t i;
    char shown[48];
    if (json_array_size(list) != (size_t)f->n_layer)
        return bad(f, "layer_types", "list of a kind for each layer");
    json_array_foreach(list, i, v)
    {
        const char *kind = json_string_value(v);
        windowed[i] = text_is(v, "sliding_attention");
        if (!windowed[i] && !text_is(v, "full_attention"))
            return tern_fail(
                f->err, TERN_E_UNSUPPORTED,
                "%s/config.json: layer %zu is '%s', expected full_attention or "
                "sliding_attention",
                f->path, i,
                tern_quote(shown, sizeof shown, kind ? kind : "", kind ? strlen(kind) : 0));
    }
    return TERN_OK;
}

/* Which layers have the window (transformers, the families' configuration classes). */
static tern_code read_windowed(const tern_folder *f, uint8_t *windowed)
{
    int period = defaults_of(f)->period, first = 0;
    const json_t *list = member(f->text, "layer_types");
    if (list)
        return read_layer_types(f, list, windowed);
    TERN_TRY(get_int(f, f->text, "sliding_window_pattern", 0, 4096, period, &period));
    if (is_qwen(f))
        TERN_TRY(get_int(f, f->text, "max_window_layers", 0, INT_MAX, 28, &first));
    for (int i = 0; i < f->n_layer; i++)
        windowed[i] = i >= first && (period == 0 || (i + 1) % period != 0);
    return TERN_OK;
}

/* A window, and the list of layers that have it where it is not what the architecture stands for. */
static tern_code put_windows(tern_folder *f)
{
    int window, period = defaults_of(f)->period, n_windowed = 0;
    bool usual = true;
    char key[96];
    const json_t *use = member(f->text, "use_sliding_window"),
                 *given = json_object_get(f->text, "sliding_window");
    uint8_t *windowed = tern_arena_calloc(&f->out->arena, (size_t)f->n_layer, 1);
    if (!windowed)
        return tern_fail(f->err, TERN_E_NOMEM, "%s: out of memory", f->path);
    TERN_TRY(get_int(f, f->text, "sliding_window", 0, INT_MAX, given ? 0 : defaults_of(f)->window,
                     &window));
    TERN_TRY(read_windowed(f, windowed));
    if (window == 0 || (use || is_qwen(f) ? !json_is_true(use) : false))
        return TERN_OK;
    for (int i = 0; i < f->n_layer; i++) {
        n_windowed += windowed[i];
        usual &= windowed[i] == (period == 0 || (i + 1) % period != 0);
    }
    if (n_windowed == 0)
        return TERN_OK;
    TERN_TRY(put_int(f, "attention.sliding_window", window));
    return usual ? TERN_OK
                 : tern_dir_put_numbers(f->out, key_of(f, "attention.sliding_window_pattern", key),
                                        TERN_META_BOOL, windowed, (size_t)f->n_layer, f->err);
}

static tern_code put_attention(tern_folder *f)
{
    int scalar;
    TERN_TRY(put_windows(f));
    TERN_TRY(
        get_int(f, f->text, "query_pre_attn_scalar", 0, 1 << 20, defaults_of(f)->scalar, &scalar));
    return scalar > 0 ? put_real(f, "attention.scale", 1.0 / sqrt(scalar)) : TERN_OK;
}

/* sentence-transformers say how hidden rows are pooled in a folder of their own. */
static tern_code put_pooling(tern_folder *f)
{
    static const struct {
        const char *key;
        int type;
    } modes[] = {{"pooling_mode_mean_tokens", 1},
                 {"pooling_mode_cls_token", 2},
                 {"pooling_mode_lasttoken", 3}};
    tern_str path;
    json_t *o = NULL;
    tern_str_init(&path, 1 << 16);
    tern_str_printf(&path, "%s/1_Pooling/config.json", f->path);
    tern_code rc = tern_json_file_read(tern_str_get(&path), CONFIG_MAX, &o, f->err);
    tern_str_done(&path);
    if (rc == TERN_E_NOT_FOUND)
        return TERN_OK;
    for (size_t i = 0; rc == TERN_OK && i < sizeof modes / sizeof modes[0]; i++)
        if (json_is_true(json_object_get(o, modes[i].key))) {
            rc = put_int(f, "pooling_type", modes[i].type);
            break;
        }
    json_decref(o);
    return rc;
}

/* The last part of the path, which people name models by. */
static tern_code put_name(tern_folder *f)
{
    size_t n = strlen(f->path), begin;
    while (n > 1 && f->path[n - 1] == '/')
        n--;
    for (begin = n; begin > 0 && f->path[begin - 1] != '/';)
        begin--;
    TERN_TRY(tern_dir_put_str(f->out, "general.architecture", f->family->arch,
                              strlen(f->family->arch), f->err));
    return tern_dir_put_str(f->out, "general.name", f->path + begin, n - begin, f->err);
}

tern_code tern_folder_config(tern_folder *f)
{
    tern_str path;
    tern_str_init(&path, 1 << 16);
    tern_str_printf(&path, "%s/config.json", f->path);
    tern_code rc = tern_json_file_read(tern_str_get(&path), CONFIG_MAX, &f->config, f->err);
    tern_str_done(&path);
    if (rc == TERN_E_NOT_FOUND)
        return tern_fail(
            f->err, rc,
            "%s: a folder without config.json; a model is a GGUF file, or a folder with "
            "config.json and safetensors files",
            f->path);
    TERN_TRY(rc);
    if (!json_is_object(f->config))
        return tern_fail(f->err, TERN_E_FORMAT, "%s/config.json: no JSON object", f->path);
    f->text = json_object_get(f->config, "text_config");
    if (!json_is_object(f->text))
        f->text = f->config;
    TERN_TRY(choose_family(f));
    TERN_TRY(choose_quant(f));
    /* The classes' defaults: Gemma ties, the others do not. */
    const json_t *tie = member(f->text, "tie_word_embeddings");
    f->tied = tie ? json_is_true(tie) : f->family->plus_one;
    TERN_TRY(put_name(f));
    TERN_TRY(put_shape(f));
    TERN_TRY(put_activation(f));
    TERN_TRY(put_attention(f));
    TERN_TRY(put_pooling(f));
    return f->family->halves ? tern_dir_put_bool(f->out, TERN_KEY_ROPE_HALVES, true, f->err)
                             : TERN_OK;
}
