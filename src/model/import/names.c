/* Tensors of a folder under the names of GGUF files. */
#include "base/error.h"
#include "base/str.h"
#include "model/import/folder.h"

#include <stdio.h>
#include <string.h>

/* "%" stands for a layer. */
typedef struct name_row {
    const char *from, *to;
} name_row;

static const name_row whole[] = {
    {"embed_tokens.weight", "token_embd.weight"},
    {"norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
};
static const name_row in_layer[] = {
    {"input_layernorm.weight", "attn_norm.weight"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.qkv_proj", "attn_qkv"},
    {"self_attn.q_norm.weight", "attn_q_norm.weight"},
    {"self_attn.k_norm.weight", "attn_k_norm.weight"},
    {"self_attn.attn_sub_norm.weight", "attn_sub_norm.weight"},
    {"self_attn.inner_attn_ln.weight", "attn_sub_norm.weight"},
    {"post_attention_layernorm.weight", "ffn_norm.weight"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"mlp.gate_up_proj", "ffn_up"},
    {"mlp.ffn_sub_norm.weight", "ffn_sub_norm.weight"},
    {"mlp.ffn_layernorm.weight", "ffn_sub_norm.weight"},
};
/* Of families whose post_attention_layernorm stands behind attention. */
static const name_row post_norm[] = {
    {"post_attention_layernorm.weight", "post_attention_norm.weight"},
    {"pre_feedforward_layernorm.weight", "ffn_norm.weight"},
    {"post_feedforward_layernorm.weight", "post_ffw_norm.weight"},
};
/* What stands behind the name of a linear layer. */
static const name_row of_linear[] = {
    {".weight", ".weight"},
    {".bias", ".bias"},
    {".norm.weight", "_norm_in.weight"},
    {".rms_norm.weight", "_norm_in.weight"},
};
/* Tables that the engine computes itself, and parts of models that are not about text. */
static const char *const left_out[] = {".rotary_emb.inv_freq", ".attn.bias", ".masked_bias",
                                       ".attn.masked_bias"};
static const char *const prefixes[] = {"model.language_model.", "language_model.model.", "model.",
                                       "language_model.", ""};
static const char *const other_parts[] = {"vision_tower.", "multi_modal_projector.",
                                          "model.vision_tower.", "model.multi_modal_projector."};

#define N(table) (sizeof(table) / sizeof(table)[0])

/* ---- names --------------------------------------------------------------------------------- */

static const char *behind(const char *s, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && strcmp(s + n - m, tail) == 0;
}

/* One table; a name without its kind is a linear layer's and stands before one of of_linear. */
static bool in_table(const name_row *rows, size_t n, const char *name, char *to, size_t cap)
{
    for (size_t i = 0; i < n; i++) {
        const char *rest = behind(name, rows[i].from);
        if (!rest)
            continue;
        if (ends_with(rows[i].from, ".weight")) {
            if (*rest)
                continue;
            (void)snprintf(to, cap, "%s", rows[i].to);
            return true;
        }
        for (size_t k = 0; k < N(of_linear); k++)
            if (strcmp(rest, of_linear[k].from) == 0) {
                (void)snprintf(to, cap, "%s%s", rows[i].to, of_linear[k].to);
                return true;
            }
    }
    return false;
}

/* "layers.7.rest" -> 7, rest */
static const char *layer_of(const char *name, int *layer)
{
    const char *p = behind(name, "layers.");
    int n = 0, digits = 0;
    for (; p && *p >= '0' && *p <= '9' && digits < 5; p++, digits++)
        n = n * 10 + (*p - '0');
    *layer = n;
    return p && digits && *p == '.' ? p + 1 : NULL;
}

static bool translate(const tern_family *family, const char *name, char *to, size_t cap)
{
    char rest[64];
    for (size_t i = 0; i < N(prefixes); i++) {
        int layer;
        const char *own = behind(name, prefixes[i]), *inside = own ? layer_of(own, &layer) : NULL;
        if (!own)
            continue;
        if (in_table(whole, N(whole), own, to, cap))
            return true;
        if (inside &&
            ((family->post_norm && in_table(post_norm, N(post_norm), inside, rest, sizeof rest)) ||
             in_table(in_layer, N(in_layer), inside, rest, sizeof rest))) {
            (void)snprintf(to, cap, "blk.%d.%s", layer, rest);
            return true;
        }
    }
    return false;
}

static bool is_left_out(const tern_folder *f, const char *name, const char **why)
{
    *why = "computed";
    for (size_t i = 0; i < N(left_out); i++)
        if (ends_with(name, left_out[i]))
            return true;
    *why = "not of the language model";
    for (size_t i = 0; i < N(other_parts); i++)
        if (behind(name, other_parts[i]))
            return true;
    *why = "the same as the embedding";
    return f->tied && ends_with(name, "lm_head.weight");
}

/* ---- what they hold ------------------------------------------------------------------------ */

static tern_code fail(const tern_folder *f, const tern_tensor *t, tern_code code, const char *what)
{
    char name[80];
    return tern_fail(f->err, code, "%s: tensor '%s': %s", f->path,
                     tern_quote(name, sizeof name, t->name, strlen(t->name)), what);
}

/* Is the layer this weight belongs to one that stays as it is? */
static bool is_dense(const tern_folder *f, const char *name)
{
    const json_t *v;
    size_t i;
    json_array_foreach(f->dense, i, v)
    {
        const char *part = json_string_value(v);
        if (part && *part && strstr(name, part))
            return true;
    }
    return false;
}

static tern_code read_scale(const tern_folder *f, const tern_dir *raw, const tern_tensor *t,
                            float *scale)
{
    char name[512];
    (void)snprintf(name, sizeof name, "%.400s_scale", t->name);
    const tern_tensor *s = tern_dir_tensor_find(raw, name);
    if (!s)
        return fail(f, t, TERN_E_FORMAT, "packed, but there is no '_scale' beside it");
    if (tern_dtype_get(s->dtype)->cls != TERN_CLASS_FLOAT || s->ne[0] != 1 ||
        tern_tensor_rows(s) != 1)
        return fail(f, s, TERN_E_FORMAT, "no single float");
    tern_dtype_get(s->dtype)->unpack_row(s, 0, scale);
    if (!(*scale > 0.0f && *scale < 1e30f))
        return fail(f, s, TERN_E_FORMAT, "no scale above 0");
    return TERN_OK;
}

/* A packed matrix [out / 4, in] becomes one of [out, in]. */
static tern_code unpack_shape(const tern_folder *f, const tern_dir *raw, tern_tensor *t,
                              const char **note)
{
    float s;
    size_t bytes;
    if (f->quant == TERN_FOLDER_PLAIN)
        return fail(f, t, TERN_E_UNSUPPORTED,
                    "8-bit integers, but config.json has no quantization_config");
    TERN_TRY(read_scale(f, raw, t, &s));
    t->scale = f->quant == TERN_FOLDER_MULTIPLIER ? s : 1.0f / s;
    t->dtype = TERN_DT_HF_PACKED;
    if (t->n_dim != 2 || t->ne[1] > SIZE_MAX / 4)
        return fail(f, t, TERN_E_FORMAT, "packed, but no matrix");
    t->ne[1] *= 4;
    if (!tern_dtype_bytes(t->dtype, t->ne, &bytes) || bytes != t->bytes)
        return fail(f, t, TERN_E_FORMAT, "packed, but of a size that no matrix has");
    *note = f->quant == TERN_FOLDER_MULTIPLIER ? "packed, times its scale"
                                               : "packed, divided by its scale";
    return TERN_OK;
}

/* GGUF files have Gemma's norms with the 1 added. */
static tern_code add_one(const tern_folder *f, tern_tensor *t, const char **note)
{
    float *v = tern_arena_calloc(&f->out->arena, t->ne[0], sizeof *v);
    if (!v)
        return fail(f, t, TERN_E_NOMEM, "out of memory");
    if (tern_dtype_get(t->dtype)->cls != TERN_CLASS_FLOAT || tern_tensor_rows(t) != 1)
        return fail(f, t, TERN_E_FORMAT, "no vector of floats");
    tern_dtype_get(t->dtype)->unpack_row(t, 0, v);
    for (size_t i = 0; i < t->ne[0]; i++)
        v[i] += 1.0f;
    t->dtype = TERN_DT_F32;
    t->data = (const uint8_t *)v;
    t->bytes = t->ne[0] * sizeof *v;
    *note = "plus 1";
    return TERN_OK;
}

/* Only BitLinear layers have a norm of their own, and config.json may not tell what they are. */
static bool has_own_norm(const tern_dir *raw, const char *name)
{
    static const char *const norms[] = {"norm.weight", "rms_norm.weight"};
    char other[256];
    for (size_t i = 0; ends_with(name, ".weight") && i < N(norms); i++) {
        size_t n = strlen(name) - strlen("weight");
        if ((size_t)snprintf(other, sizeof other, "%.*s%s", (int)n, name, norms[i]) <
                sizeof other &&
            tern_dir_tensor_find(raw, other))
            return true;
    }
    return false;
}

static tern_code put_one(tern_folder *f, const tern_dir *raw, const tern_tensor *from,
                         const char *to)
{
    tern_tensor t = *from;
    const char *note = "";
    bool linear = t.n_dim == 2 && strncmp(to, "blk.", 4) == 0;
    t.name = to;
    if (t.dtype == TERN_DT_U8) {
        t.name = from->name; /* for messages, and to find its scale */
        TERN_TRY(unpack_shape(f, raw, &t, &note));
        t.name = to;
    } else if (linear && !is_dense(f, from->name) &&
               (f->quant != TERN_FOLDER_PLAIN || f->family->masters ||
                has_own_norm(raw, from->name))) {
        if (!tern_master_ternarise(&t))
            return fail(f, from, TERN_E_FORMAT, "cannot be ternarised: no finite floats");
        note = "ternarised as in training";
    } else if (f->family->plus_one && t.n_dim == 1 && ends_with(to, "_norm.weight")) {
        TERN_TRY(add_one(f, &t, &note));
    }
    if (f->opts && f->opts->note)
        f->opts->note(f->opts->ctx, from, to, note);
    return tern_dir_put_tensor(f->out, &t, f->err);
}

tern_code tern_folder_tensors(tern_folder *f, const tern_dir *raw)
{
    for (size_t i = 0; i < raw->n_tensor; i++) {
        const tern_tensor *t = &raw->tensors[i];
        char to[96];
        const char *why = "read with its matrix";
        if (ends_with(t->name, ".weight_scale") || is_left_out(f, t->name, &why)) {
            if (f->opts && f->opts->note)
                f->opts->note(f->opts->ctx, t, NULL, why);
            continue;
        }
        if (!translate(f->family, t->name, to, sizeof to))
            return fail(f, t, TERN_E_UNSUPPORTED, "has no place in this architecture");
        TERN_TRY(put_one(f, raw, t, to));
    }
    return TERN_OK;
}
