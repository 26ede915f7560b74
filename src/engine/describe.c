/* What is known about a model and about this machine, as JSON. */
#include "base/alloc.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/utf8.h"
#include "engine/ceiling.h"
#include "engine/engine.h"

#include <pcre2.h>
#include <string.h>
#include <utf8proc.h>

/* Our own copy: the caller frees with tern_string_free. Takes the reference. */
static tern_code dump(json_t *root, bool ok, char **json, tern_err *err)
{
    char *text = ok ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    *json = text ? tern_strdup_n(text, strlen(text)) : NULL;
    free(text);
    return *json ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "description: out of memory");
}

json_t *tern_json_text(const char *s, size_t n)
{
    tern_str out;
    tern_str_init(&out, SIZE_MAX / 2);
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        int len = tern_utf8_decode(s + i, n - i, &cp);
        if (len)
            tern_str_put(&out, s + i, (size_t)len);
        else
            tern_str_puts(&out, "\xEF\xBF\xBD");
        i += len ? (size_t)len : 1;
    }
    json_t *text = out.failed ? NULL : json_stringn(tern_str_get(&out), out.len);
    tern_str_done(&out);
    return text;
}

static json_t *text_of(const char *s)
{
    return tern_json_text(s, strlen(s));
}

/* Takes the value in any case; false when memory is exhausted, then or before. */
static bool put(json_t *o, const char *key, json_t *value)
{
    return json_object_set_new(o, key, value) == 0;
}

#define MAX_SOURCES 64 /* base models, datasets */

/* ---- model --------------------------------------------------------------------------------- */

typedef struct type_count {
    size_t n_tensor, bytes;
    uint64_t n_param;
} type_count;

typedef struct weights_count {
    type_count by_type[TERN_DT_COUNT];
    uint64_t n_param, n_ternary, n_zero, bytes, ternary_bytes;
} weights_count;

static bool count_zeros(const tern_tensor *t, uint64_t *n_zero)
{
    const tern_dtype_info *dt = tern_dtype_get(t->dtype);
    size_t group = dt->code_group > 0 ? (size_t)dt->code_group : t->ne[0];
    uint8_t *codes = tern_alloc(t->ne[0]);
    float *scales = tern_calloc(t->ne[0] / group, sizeof *scales);
    bool ok = codes && scales;
    for (size_t row = 0; ok && row < tern_tensor_rows(t); row++) {
        dt->unpack_codes(t, row, codes, scales);
        for (size_t i = 0; i < t->ne[0]; i++)
            *n_zero += codes[i] == 1;
    }
    tern_free(codes);
    tern_free(scales);
    return ok;
}

static bool count_weights(const tern_dir *d, weights_count *c)
{
    *c = (weights_count){0};
    for (size_t i = 0; i < d->n_tensor; i++) {
        const tern_tensor *t = &d->tensors[i];
        uint64_t n = (uint64_t)t->ne[0] * tern_tensor_rows(t);
        type_count *by = &c->by_type[t->dtype];
        by->n_tensor++;
        by->bytes += t->bytes;
        by->n_param += n;
        c->n_param += n;
        c->bytes += t->bytes;
        if (tern_dtype_get(t->dtype)->cls == TERN_CLASS_TERNARY) {
            c->n_ternary += n;
            c->ternary_bytes += t->bytes;
            if (!count_zeros(t, &c->n_zero))
                return false;
        }
    }
    return true;
}

static double ratio(uint64_t a, uint64_t b)
{
    return b ? (double)a / (double)b : 0.0;
}

static json_t *describe_types(const weights_count *c)
{
    json_t *list = json_array();
    for (int i = 0; i < TERN_DT_COUNT; i++) {
        const type_count *t = &c->by_type[i];
        if (t->n_tensor)
            (void)json_array_append_new(
                list, json_pack("{s:s, s:I, s:I, s:I}", "type", tern_dtype_get((tern_dtype)i)->name,
                                "tensors", (json_int_t)t->n_tensor, "parameters",
                                (json_int_t)t->n_param, "bytes", (json_int_t)t->bytes));
    }
    return list;
}

static json_t *describe_kernels(const tern_kernels *k)
{
    json_t *o = json_object();
    for (int op = 0; op < TERN_OP_COUNT; op++)
        (void)json_object_set_new(o, tern_op_name((tern_op)op), json_string(k->chosen[op]->name));
    return o;
}

/* How many matrices go through which product. */
static json_t *describe_layouts(const tern_weights *w)
{
    int n[TERN_OP_COUNT] = {0};
    json_t *o = json_object();
    n[w->head.op]++;
    for (int i = 0; i < w->h.n_layer; i++) {
        const tern_attention *a = &w->blocks[i].m.attention;
        const tern_dense *f = &w->blocks[i].f.dense;
        const tern_linear *const all[] = {&a->q, &a->k, &a->v, &a->o, &f->gate, &f->up, &f->down};
        for (size_t j = 0; j < sizeof all / sizeof all[0]; j++)
            n[all[j]->op]++;
    }
    for (int op = 0; op < TERN_OP_COUNT; op++)
        if (n[op])
            (void)put(o, tern_op_name((tern_op)op), json_integer(n[op]));
    return o;
}

static int n_windowed(const tern_hparams *h)
{
    int n = 0;
    for (int i = 0; i < h->n_layer; i++)
        n += tern_hparams_windowed(h, i);
    return n;
}

/* ---- what the file says of where it comes from ---------------------------------------------- */

static json_t *meta_text(const tern_dir *d, const char *key)
{
    const tern_meta *v = tern_dir_meta_find(d, key);
    return v && v->type == TERN_META_STRING ? tern_json_text(v->v.s.p, v->v.s.n) : NULL;
}

/* Entries general.KIND.0.name, .1.name and so on; where there are none, the strings of general.KINDs. */
static json_t *meta_names(const tern_dir *d, const char *kind)
{
    char key[64];
    json_t *list = json_array(), *name;
    for (int i = 0; i < MAX_SOURCES; i++) {
        (void)snprintf(key, sizeof key, "general.%s.%d.name", kind, i);
        if (!(name = meta_text(d, key)))
            break;
        (void)json_array_append_new(list, name);
    }
    (void)snprintf(key, sizeof key, "general.%ss", kind);
    const tern_meta *all = tern_dir_meta_find(d, key);
    if (json_array_size(list) == 0 && all && all->type == TERN_META_ARRAY && all->strings)
        for (size_t i = 0; i < all->n_elem && i < MAX_SOURCES; i++)
            (void)json_array_append_new(list, tern_json_text(all->strings[i].p, all->strings[i].n));
    return list;
}

/* Absent keys are null or empty. */
static json_t *describe_origin(const tern_dir *d)
{
    return json_pack("{s:o?, s:o?, s:o?, s:o, s:o}", "description",
                     meta_text(d, "general.description"), "author", meta_text(d, "general.author"),
                     "licence", meta_text(d, "general.license"), "base_models",
                     meta_names(d, "base_model"), "datasets", meta_names(d, "dataset"));
}

tern_code tern_model_describe(const tern_model *m, char **json, tern_err *err)
{
    const tern_hparams *h = &m->w.h;
    const tern_tokenizer_info *t = tern_tokenizer_info_get(m->tok);
    weights_count c;
    *json = NULL;
    if (!count_weights(m->dir, &c))
        return tern_fail(err, TERN_E_NOMEM, "description: out of memory");
    json_t *root = json_pack("{s:s}", "architecture", h->arch);
    json_t *shape = json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:s}", "layers",
                              h->n_layer, "d_model", h->d_model, "d_ff", h->d_ff, "heads",
                              h->n_head, "kv_heads", h->n_kv_head, "d_head", h->d_head,
                              "vocabulary", h->n_vocab, "context", h->n_ctx_train, "rms_eps",
                              (double)h->rms_eps, "activation", tern_act_name(h->act));
    json_t *rope =
        json_pack("{s:f, s:i, s:s, s:s, s:f}", "base", (double)h->rope.base, "dimensions",
                  h->rope.n_rot, "pairing", h->rope.neox ? "halves" : "adjacent", "scaling",
                  tern_rope_scaling_name(h->rope.scaling), "factor", (double)h->rope.factor);
    json_t *attention =
        json_pack("{s:b, s:f, s:i, s:i}", "causal", !h->bidirectional, "scale",
                  (double)h->attn_scale, "window", h->window, "windowed_layers", n_windowed(h));
    if (h->window && h->rope_local_base > 0)
        (void)put(attention, "rope_base", json_real((double)h->rope_local_base));
    json_t *weights = json_pack(
        "{s:I, s:I, s:f, s:f, s:f, s:f, s:b}", "parameters", (json_int_t)c.n_param,
        "ternary_parameters", (json_int_t)c.n_ternary, "ternary_share",
        ratio(c.n_ternary, c.n_param), "zero_share_of_ternary", ratio(c.n_zero, c.n_ternary),
        "bits_per_weight", 8.0 * ratio(c.bytes, c.n_param), "bits_per_ternary_weight",
        8.0 * ratio(c.ternary_bytes, c.n_ternary), "head_tied", m->w.head_tied);
    tern_kv_shape kv = m->kv_f16;
    kv.k = kv.v = tern_kv_auto(h->d_head);
    json_t *sizes = json_pack("{s:I, s:I, s:I, s:I, s:I}", "file", (json_int_t)m->file_bytes,
                              "packed", (json_int_t)m->w.packed_bytes, "read_per_token",
                              (json_int_t)tern_weights_token_bytes(&m->w), "kv_per_token",
                              (json_int_t)tern_kv_token_bytes(&kv), "kv_per_token_f16",
                              (json_int_t)tern_kv_token_bytes(&m->kv_f16));
    json_t *tok = json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:b, s:b}", "model", t->model, "pre",
                            t->pre, "tokens", t->n_vocab, "bos", t->bos, "eos", t->eos, "eot",
                            t->eot, "add_bos", t->add_bos, "add_eos", t->add_eos);
    json_t *chat = m->chat ? json_pack("{s:s}", "origin", m->chat_origin) : json_null();
    bool ok = !m->chat || put(chat, "source", text_of(m->chat_source));
    ok &= put(weights, "types", describe_types(&c));
    ok &= put(root, "path", text_of(m->dir->path));
    ok &= put(root, "name", text_of(m->name));
    ok &= put(root, "origin", describe_origin(m->dir));
    ok &= put(root, "shape", shape);
    ok &= put(root, "attention", attention);
    ok &= put(root, "rope", rope);
    ok &= put(root, "pooling", h->pooling < 0 ? json_null() : json_integer(h->pooling));
    ok &= put(root, "weights", weights);
    ok &= put(root, "bytes", sizes);
    ok &= put(root, "tokenizer", tok);
    ok &= put(root, "sampling", tern_model_sampling_json(m));
    ok &= put(root, "chat_template", chat);
    ok &= put(root, "kernels", describe_kernels(&m->e.k));
    ok &= put(root, "layouts", describe_layouts(&m->w));
    ok &= put(root, "calibration", tern_calibration_json(m));
    static const char *const packing[] = {[TERN_PACKING_NOT_KEPT] = "not kept",
                                          [TERN_PACKING_MADE] = "made",
                                          [TERN_PACKING_FOUND] = "found"};
    ok &= put(root, "packed_weights", json_string(packing[m->packing]));
    return dump(root, ok, json, err);
}

#ifdef __clang__
#define COMPILER __VERSION__ /* names itself */
#else
#define COMPILER "gcc " __VERSION__
#endif

/* ---- machine ------------------------------------------------------------------------------- */

static json_t *describe_cpu_flags(unsigned flags)
{
    json_t *list = json_array();
    for (unsigned bit = 1; bit; bit <<= 1)
        if (flags & bit && tern_cpu_flag_name(bit))
            (void)json_array_append_new(list, json_string(tern_cpu_flag_name(bit)));
    return list;
}

static json_t *describe_all_kernels(unsigned cpu)
{
    size_t n;
    const tern_kernel *all = tern_kernel_all(&n);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(list,
                                    json_pack("{s:s, s:s, s:s, s:b}", "op", tern_op_name(all[i].op),
                                              "name", all[i].name, "isa", tern_isa_name(all[i].isa),
                                              "usable", (all[i].needs & ~cpu) == 0));
    return list;
}

static bool put_ceilings(json_t *root, tern_pool *pool, unsigned cpu)
{
    tern_ceilings c;
    json_t *peaks = json_object();
    double best = 0.0;
    tern_ceilings_measure(pool, cpu, &c);
    for (int isa = 0; isa < TERN_ISA_COUNT; isa++)
        if (c.macs_per_s[isa] > 0.0) {
            (void)json_object_set_new(peaks, tern_isa_name((tern_isa)isa),
                                      json_real(c.macs_per_s[isa]));
            best = c.macs_per_s[isa] > best ? c.macs_per_s[isa] : best;
        }
    bool ok = put(root, "memory",
                  json_pack("{s:i, s:f, s:I}", "threads", tern_pool_size(pool), "read_bytes_per_s",
                            c.read_bytes_per_s, "read_buffer_bytes", (json_int_t)c.read_buffer));
    return put(root, "compute",
               json_pack("{s:i, s:f, s:o}", "threads", tern_pool_size(pool), "int8_macs_per_s",
                         best, "int8_macs_per_s_by_isa", peaks)) &&
           ok;
}

tern_code tern_system_describe(int32_t n_thread, bool measure, char **json, tern_err *err)
{
    unsigned cpu;
    char model[64], pcre[64] = "";
    tern_kernels k;
    tern_pool *pool;
    *json = NULL;
    TERN_TRY(tern_cpu_flags(&cpu, err));
    TERN_TRY(tern_pool_new(n_thread > 0 ? n_thread : tern_cpu_count(), &pool, err));
    tern_cpu_model(model, sizeof model);
    tern_kernels_select(cpu, &k);
    (void)pcre2_config(PCRE2_CONFIG_VERSION, pcre);
    json_t *root = json_pack("{s:s, s:s}", "version", TERN_VERSION, "compiler", COMPILER);
    json_t *machine = json_pack("{s:i}", "cpus", tern_cpu_count());
    json_t *libraries = json_pack("{s:s, s:s, s:s}", "pcre2", pcre, "jansson",
                                  jansson_version_str(), "utf8proc", utf8proc_version());
    bool ok = put(machine, "model", text_of(model));
    ok &= put(machine, "flags", describe_cpu_flags(tern_cpu_detect()));
    ok &= put(machine, "used", describe_cpu_flags(cpu));
    ok &= put(root, "cpu", machine);
    ok &= put(root, "libraries", libraries);
    ok &= put(root, "chosen", describe_kernels(&k));
    ok &= put(root, "kernels", describe_all_kernels(cpu));
    if (ok && measure)
        ok = put_ceilings(root, pool, cpu);
    tern_pool_free(pool);
    return dump(root, ok, json, err);
}
