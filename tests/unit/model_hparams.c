/* Metadata and tensors of a model that are wrong in every way: a code, and a message that names the
 * key or tensor, before memory is taken; or a model that runs. */
#include "base/alloc.h"
#include "support/fault.h"
#include "support/model.h"
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

static tern_code open_written(void *ctx, tern_err *err)
{
    const test_model *m = ctx;
    tern_model *opened;
    tern_model_opts o;
    tern_model_opts_init(&o);
    o.n_thread = 1;
    tern_code rc = tern_model_open_memory(m->file.data, m->file.len, "tiny.gguf", &o, &opened, err);
    if (rc == TERN_OK)
        tern_model_close(opened);
    return rc;
}

/* What a refused file may make the engine allocate, all in all. */
static size_t most_bytes(const test_model *m)
{
    return ((size_t)1 << 20) + 16 * m->file.len;
}

static void refuse(test_model *m, const char *name, const char *case_name)
{
    tern_code rc;
    tern_err err = {0};
    tern_model *opened;
    test_model_write(m);
    size_t bytes = test_alloc_bytes(open_written, m, &rc, &err);
    if (rc == TERN_OK)
        fail_msg("%s: %s is accepted", name, case_name);
    if (rc != TERN_E_FORMAT && rc != TERN_E_UNSUPPORTED)
        fail_msg("%s: %s gives code %d: %s", name, case_name, (int)rc, err.msg);
    if (!strstr(err.msg, name))
        fail_msg("%s: %s is not named by: %s", name, case_name, err.msg);
    if (bytes > most_bytes(m))
        fail_msg("%s: %s allocates %zu bytes, at most %zu expected", name, case_name, bytes,
                 most_bytes(m));
    assert_int_equal(test_model_open(m, &opened, NULL), rc); /* no message is fine as well */
    assert_null(opened);
}

static void accept(test_model *m, const char *case_name)
{
    tern_err err = {0};
    tern_model *opened;
    if (test_model_open(m, &opened, &err) != TERN_OK)
        fail_msg("%s: %s", case_name, err.msg);
    test_model_use(opened);
    tern_model_close(opened);
}

/* ---- keys --------------------------------------------------------------------------------- */

static const char *const int_keys[] = {
    ".block_count",
    ".embedding_length",
    ".feed_forward_length",
    ".attention.head_count",
    ".attention.head_count_kv",
    ".context_length",
    ".attention.key_length",
    ".attention.value_length",
    ".rope.dimension_count",
    ".rope.scaling.original_context_length",
    ".pooling_type",
    ".attention.sliding_window",
};

static const char *const bad_ints[] = {
    "u32:4 u32:0",
    "u32:5 u32:-1",
    "u32:11 u64:-1",
    "u32:5 u32:-2147483648",
    "u32:4 u32:2147483648",
    "u32:4 u32:4294967295",
    "u32:10 u64:4294967296",
    "u32:10 u64:4294967297",
    "u32:10 u64:18446744073709551615",
    "u32:8 str:1",
    "u32:7 u8:1",
    "u32:6 u32:1065353216",
    "u32:12 u64:4607182418800017408",
    "u32:9 u32:4 u64:0",
    "u32:9 u32:4 u64:1 u32:0",
    "u32:9 u32:5 u64:2 u32:-1 u32:-1",
    "u32:9 u32:4 u64:3 u32:1 u32:1 u32:2",
    "u32:9 u32:10 u64:1 u64:18446744073709551615",
    "u32:9 u32:6 u64:1 u32:1065353216",
    "u32:9 u32:7 u64:1 u8:1",
    "u32:9 u32:8 u64:1 str:1",
};

static const char *const float_keys[] = {
    ".attention.layer_norm_rms_epsilon",
    ".rope.freq_base",
    ".rope.scaling.factor",
    ".rope.scaling.attn_factor",
    ".rope.scaling.yarn_beta_fast",
    ".rope.scaling.yarn_beta_slow",
    ".rope.scaling.low_freq_factor",
    ".rope.scaling.high_freq_factor",
    ".attention.scale",
    ".final_logit_softcapping",
    ".attn_logit_softcapping",
};

static const char *const bad_floats[] = {
    "u32:6 u32:2143289344",           /* NaN */
    "u32:6 u32:4290772992",           /* -NaN */
    "u32:6 u32:2139095040",           /* inf */
    "u32:6 u32:4286578688",           /* -inf */
    "u32:6 u32:3212836864",           /* -1 */
    "u32:6 u32:2139095039",           /* FLT_MAX */
    "u32:12 u64:9221120237041090560", /* NaN */
    "u32:12 u64:9218868437227405311", /* DBL_MAX */
    "u32:4 u32:1",
    "u32:8 str:1",
    "u32:9 u32:6 u64:1 u32:1065353216",
};

/* Fine where a key may be left to its default. */
static bool means_nothing(const char *key, const char *value)
{
    return (strcmp(value, "u32:4 u32:0") == 0 || strcmp(value, "u32:9 u32:4 u64:1 u32:0") == 0) &&
           (strcmp(key, ".pooling_type") == 0 || strcmp(key, ".attention.sliding_window") == 0);
}

static void sweep(const char *const *keys, size_t n_key, const char *const *values, size_t n_value)
{
    for (size_t k = 0; k < n_key; k++)
        for (size_t i = 0; i < n_value; i++) {
            test_model m;
            if (means_nothing(keys[k], values[i]))
                continue;
            test_model_init(&m, &(test_shape){.n_layer = 1});
            test_model_key(&m, keys[k], values[i]);
            refuse(&m, keys[k], values[i]);
            test_model_done(&m);
        }
}

static void test_integers_out_of_range_are_refused(void **state)
{
    (void)state;
    sweep(int_keys, sizeof int_keys / sizeof *int_keys, bad_ints,
          sizeof bad_ints / sizeof *bad_ints);
}

static void test_floats_out_of_range_are_refused(void **state)
{
    (void)state;
    sweep(float_keys, sizeof float_keys / sizeof *float_keys, bad_floats,
          sizeof bad_floats / sizeof *bad_floats);
}

/* One change that is refused; the message names `named`. script NULL: the key is absent. */
static const struct {
    const char *key, *script, *named;
} bad_keys[] = {
    {"general.architecture", NULL, "general.architecture"},
    {"general.architecture", "u32:4 u32:1", "general.architecture"},
    {"general.architecture", "u32:8 str:mamba", "'mamba'"},
    {"general.architecture", "u32:8 str:", "''"},
    {"general.architecture", "u32:8 str:a\\x1b[31m\\xff", "\\x1b"},
    {"general.name", "u32:4 u32:1", "general.name"},
    {".block_count", NULL, ".block_count"},
    {".embedding_length", NULL, ".embedding_length"},
    {".feed_forward_length", NULL, ".feed_forward_length"},
    {".attention.head_count", NULL, ".attention.head_count"},
    {".context_length", NULL, ".context_length"},
    /* in range alone, not beside the others */
    {".block_count", "u32:4 u32:2", "blk.1.attn_norm.weight"},
    {".block_count", "u32:4 u32:4096", ".block_count"},
    {".block_count", "u32:4 u32:4097", ".block_count"},
    {".embedding_length", "u32:4 u32:1048576", ".attention.key_length"},
    {".embedding_length", "u32:4 u32:72", "token_embd.weight"},
    {".embedding_length", "u32:4 u32:65", ".attention.key_length"},
    {".embedding_length", "u32:4 u32:1", ".attention.key_length"},
    {".feed_forward_length", "u32:4 u32:4194304", "blk.0.ffn_gate.weight"},
    {".feed_forward_length", "u32:4 u32:1", "blk.0.ffn_gate.weight"},
    {".attention.head_count", "u32:4 u32:2", ".attention.head_count_kv"},
    {".attention.head_count", "u32:4 u32:5", ".attention.head_count"},
    {".attention.head_count", "u32:4 u32:4096", ".attention.key_length"},
    {".attention.head_count_kv", "u32:4 u32:3", "head_count_kv"},
    {".attention.head_count_kv", "u32:4 u32:5", ".attention.head_count_kv"},
    {".attention.head_count_kv", "u32:4 u32:2", "blk.0.attn_k.weight"},
    {".attention.key_length", "u32:4 u32:8", "blk.0.attn_q.weight"},
    {".attention.key_length", "u32:4 u32:513", ".attention.key_length"},
    {".attention.value_length", "u32:4 u32:8", ".attention.value_length"},
    {".rope.dimension_count", "u32:4 u32:15", ".rope.dimension_count"},
    {".rope.dimension_count", "u32:4 u32:18", ".rope.dimension_count"},
    {".rope.scaling.type", "u32:8 str:su", ".rope.scaling.type"},
    {".rope.scaling.type", "u32:4 u32:1", ".rope.scaling.type"},
    {".hidden_activation", "u32:8 str:tanh", ".hidden_activation"},
    {".hidden_activation", "u32:7 u8:1", ".hidden_activation"},
    {".attention.causal", "u32:4 u32:1", ".attention.causal"},
    {".pooling_type", "u32:4 u32:5", ".pooling_type"},
    {".attention.sliding_window", "u32:8 str:20", ".attention.sliding_window"},
    {".final_logit_softcapping", "u32:6 u32:1106247680", ".final_logit_softcapping"},
    {".attn_logit_softcapping", "u32:6 u32:1112014848", ".attn_logit_softcapping"},
    {"prism.hadamard.version", "u32:4 u32:1", "prism.hadamard.version"},
    {".rope.scaling.type", "u32:8 str:longrope", "rope_factors_long.weight"},
    {"tokenizer.ggml.bos_token_id", "u32:4 u32:264", "bos_token_id"},
    {"tokenizer.ggml.eos_token_id", "u32:4 u32:264", "eos_token_id"},
    {"tokenizer.ggml.eot_token_id", "u32:4 u32:2147483648", "eot_token_id"},
    {"tokenizer.ggml.eot_token_id", "u32:5 u32:-2", "eot_token_id"},
    {"tokenizer.ggml.eom_token_id", "u32:10 u64:4294967296", "eom_token_id"},
    {"tokenizer.ggml.bos_token_id", "u32:8 str:1", "bos_token_id"},
    {"tokenizer.ggml.bos_token_id", "u32:9 u32:4 u64:1 u32:1", "bos_token_id"},
    {"tokenizer.ggml.unknown_token_id", "u32:6 u32:0", "unknown_token_id"},
    {"tokenizer.ggml.tokens", NULL, "tokenizer.ggml.tokens"},
    {"tokenizer.ggml.tokens", "u32:9 u32:8 u64:0", "tokenizer.ggml.tokens"},
    {"tokenizer.ggml.tokens", "u32:9 u32:8 u64:1 str:a", "tokenizer.ggml."},
    {"tokenizer.chat_template", "u32:4 u32:1", "tokenizer.chat_template"},
    {"tokenizer.chat_template", "u32:8 str:{%", "tokenizer.chat_template"},
    {"tokenizer.chat_template", "u32:8 str:{{'\\xff'}}", "tokenizer.chat_template"},
};

static void test_keys_that_contradict_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_keys / sizeof bad_keys[0]; i++) {
        test_model m;
        test_model_init(&m, &(test_shape){.n_layer = 1});
        test_model_key(&m, bad_keys[i].key, bad_keys[i].script);
        refuse(&m, bad_keys[i].named, bad_keys[i].script ? bad_keys[i].script : "absent");
        test_model_done(&m);
    }
}

static void test_rope_scalings_that_divide_by_zero_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *type, *key, *script, *named;
    } cases[] = {
        {"u32:8 str:yarn", ".rope.freq_base", "u32:6 u32:1065353216", "freq_base"},
        {"u32:8 str:yarn", ".rope.scaling.yarn_beta_fast", "u32:6 u32:0", "yarn_beta_fast"},
        {"u32:8 str:yarn", ".rope.scaling.yarn_beta_slow", "u32:6 u32:0", "yarn_beta_slow"},
        {"u32:8 str:llama3", ".rope.scaling.low_freq_factor", "u32:6 u32:1082130432",
         "low_freq_factor"},
        {"u32:8 str:linear", ".rope.scaling.factor", "u32:6 u32:0", "factor"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_model m;
        test_model_init(&m, &(test_shape){.n_layer = 1});
        test_model_key(&m, ".rope.scaling.type", cases[i].type);
        test_model_key(&m, cases[i].key, cases[i].script);
        refuse(&m, cases[i].named, cases[i].script);
        test_model_done(&m);
    }
}

/* A change that only means something beside a window. */
static void test_windows_that_contradict_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *key, *script;
    } cases[] = {
        {".attention.sliding_window_pattern", "u32:5 u32:-1"},
        {".attention.sliding_window_pattern", "u32:4 u32:4097"},
        {".attention.sliding_window_pattern", "u32:8 str:6"},
        {".attention.sliding_window_pattern", "u32:9 u32:7 u64:1 u8:1"},
        {".attention.sliding_window_pattern", "u32:9 u32:6 u64:2 u32:0 u32:0"},
        {".attention.sliding_window_pattern", "u32:9 u32:8 u64:2 str:a str:b"},
        {".rope.freq_base_swa", "u32:6 u32:0"},
        {".rope.freq_base_swa", "u32:6 u32:2143289344"},
        {".attention.causal", "u32:7 u8:0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_model m;
        test_model_init(&m, &(test_shape){.arch = "gemma3"});
        test_model_key(&m, ".attention.sliding_window", "u32:4 u32:8");
        test_model_key(&m, cases[i].key, cases[i].script);
        refuse(&m, cases[i].key, cases[i].script);
        test_model_done(&m);
    }
}

/* Odd, but it runs. */
static const struct {
    const char *key, *script;
} odd_keys[] = {
    {"general.name", NULL},
    {"general.name", "u32:8 str:\\xff\\x00\\xc3"},
    {".block_count", "u32:9 u32:4 u64:2 u32:1 u32:1"},
    {".attention.head_count", "u32:9 u32:5 u64:1 u32:4"},
    {".attention.head_count_kv", NULL},
    {".context_length", "u32:4 u32:1"},
    {".context_length", "u32:4 u32:2147483583"},
    {".attention.layer_norm_rms_epsilon", "u32:6 u32:0"},
    {".attention.layer_norm_rms_epsilon", "u32:6 u32:1065353216"},
    {".rope.dimension_count", "u32:4 u32:2"},
    {".rope.freq_base", "u32:6 u32:1065353216"},
    {".rope.freq_base", "u32:6 u32:1399379109"},
    {".rope.scaling.type", "u32:8 str:none"},
    {".rope.scaling.type", "u32:8 str:yarn"},
    {".rope.scaling.type", "u32:8 str:llama3"},
    {".rope.scaling.attn_factor", "u32:6 u32:0"},
    {".attention.causal", "u32:7 u8:1"},
    {".attention.scale", "u32:6 u32:0"},
    {".attention.sliding_window", "u32:4 u32:0"},
    {".attention.sliding_window", "u32:4 u32:1"},
    {".attention.sliding_window", "u32:4 u32:2147483647"},
    {".attention.sliding_window_pattern", "u32:8 str:6"},
    {".final_logit_softcapping", "u32:6 u32:0"},
    {".pooling_type", "u32:4 u32:4"},
    {".hidden_activation", "u32:8 str:gelu"},
    {".hidden_activation", "u32:8 str:relu2"},
    {"tokenizer.ggml.bos_token_id", "u32:5 u32:-1"},
    {"tokenizer.ggml.eos_token_id", "u32:4 u32:4294967295"},
    {"tokenizer.ggml.eos_token_id", "u32:4 u32:263"},
    {"tokenizer.ggml.padding_token_id", "u32:4 u32:264"},
    {"tokenizer.ggml.unknown_token_id", "u32:10 u64:18446744073709551614"},
};

static void test_odd_values_run(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof odd_keys / sizeof odd_keys[0]; i++) {
        test_model m;
        test_model_init(&m, &(test_shape){.n_layer = 1});
        test_model_key(&m, odd_keys[i].key, odd_keys[i].script);
        accept(&m, odd_keys[i].key);
        test_model_done(&m);
    }
}

/* ---- shapes ------------------------------------------------------------------------------- */

static void test_unusual_shapes_run(void **state)
{
    (void)state;
    static const struct {
        test_shape shape;
        const char *key, *script;
    } cases[] = {
        {{.arch = "llama", .head = true}, NULL, NULL},
        {{.arch = "qwen2", .n_kv_head = 2}, NULL, NULL},
        {{.arch = "qwen3", .n_kv_head = 1}, NULL, NULL},
        {{.arch = "bitnet", .matrices = TERN_DT_I2_S, .d_model = 128}, NULL, NULL},
        {{.arch = "bitnet-25", .matrices = TERN_DT_TQ2_0, .d_model = 256, .d_ff = 256}, NULL, NULL},
        {{.arch = "bitnet-b1.58", .matrices = TERN_DT_F16}, NULL, NULL},
        {{.arch = "gemma3", .n_kv_head = 1}, ".attention.sliding_window", "u32:4 u32:3"},
        {{.arch = "gemma3", .n_layer = 6}, ".attention.sliding_window", "u32:4 u32:3"},
        {{.arch = "phi3", .n_kv_head = 2, .head = true}, NULL, NULL},
        {{.arch = "phi3", .matrices = TERN_DT_I2_S, .d_model = 128}, NULL, NULL},
        {{.arch = "phi3", .d_model = 60}, ".rope.dimension_count", "u32:4 u32:14"},
        {{.d_model = 60, .d_ff = 1}, ".rope.dimension_count", "u32:4 u32:14"}, /* heads of 15 */
        {{.d_model = 2, .n_head = 1, .d_ff = 3}, NULL, NULL},
        {{.d_model = 512, .n_head = 1, .d_ff = 7}, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_model m;
        test_model_init(&m, &cases[i].shape);
        if (cases[i].key)
            test_model_key(&m, cases[i].key, cases[i].script);
        accept(&m, m.shape.arch);
        test_model_done(&m);
    }
    test_model m;
    test_model_init(&m, &(test_shape){.d_model = 60});
    refuse(&m, ".rope.dimension_count", "heads of 15");
    test_model_done(&m);
}

/* ---- tensors ------------------------------------------------------------------------------ */

static const char *const archs[] = {"llama", "qwen2", "qwen3", "bitnet", "gemma3", "phi3"};

static bool is_optional(const test_model *m, const char *name)
{
    bool head_norm = strstr(name, "attn_q_norm") || strstr(name, "attn_k_norm");
    return strcmp(name, "output.weight") == 0 || strstr(name, ".bias") ||
           (head_norm && strcmp(m->shape.arch, "gemma3") != 0);
}

static test_shape shape_of(const char *arch)
{
    return (test_shape){.arch = arch, .n_layer = 1, .n_kv_head = 2, .head = arch[0] != 'b'};
}

/* fn changes tensor i of a fresh model; what comes of it is refused, unless fn says otherwise. */
static void for_each_tensor(const char *what, bool (*fn)(test_model *m, size_t i))
{
    for (size_t a = 0; a < sizeof archs / sizeof archs[0]; a++) {
        size_t n = 1;
        for (size_t i = 0; i < n; i++) {
            test_model m;
            test_shape shape = shape_of(archs[a]);
            test_model_init(&m, &shape);
            n = m.n_tensor;
            char name[48];
            memcpy(name, m.tensors[i].name, sizeof name);
            if (fn(&m, i))
                refuse(&m, name, what);
            else
                accept(&m, what);
            test_model_done(&m);
        }
    }
}

static bool drop(test_model *m, size_t i)
{
    char name[48];
    memcpy(name, m->tensors[i].name, sizeof name);
    test_model_drop(m, name);
    return !is_optional(m, name);
}

static void resize(test_tensor *t, uint32_t n_dim, uint64_t a, uint64_t b, uint64_t c)
{
    t->n_dim = n_dim;
    t->ne[0] = a;
    t->ne[1] = b;
    t->ne[2] = c;
    while (t->data.len < a * b * c * 8)
        tern_str_putc(&t->data, 0);
}

static bool longer(test_model *m, size_t i)
{
    resize(&m->tensors[i], m->tensors[i].n_dim, m->tensors[i].ne[0] + 1, m->tensors[i].ne[1], 1);
    return true;
}

static bool shorter(test_model *m, size_t i)
{
    resize(&m->tensors[i], m->tensors[i].n_dim, m->tensors[i].ne[0] - 1, m->tensors[i].ne[1], 1);
    return true;
}

/* The embedding's rows are the vocabulary, so more of them are fine alone, but not beside a head. */
static bool taller(test_model *m, size_t i)
{
    test_tensor *t = &m->tensors[i];
    bool embed = strcmp(t->name, "token_embd.weight") == 0;
    resize(t, 2, t->ne[0], t->ne[1] + 1, 1);
    if (embed && m->shape.head)
        test_model_drop(m, "output.weight");
    return !embed;
}

static bool deeper(test_model *m, size_t i)
{
    resize(&m->tensors[i], 3, m->tensors[i].ne[0], m->tensors[i].ne[1], 2);
    return true;
}

static bool flatter(test_model *m, size_t i)
{
    resize(&m->tensors[i], 3, m->tensors[i].ne[0], m->tensors[i].ne[1], 1);
    return false;
}

static bool as_integers(test_model *m, size_t i)
{
    resize(&m->tensors[i], m->tensors[i].n_dim, m->tensors[i].ne[0], m->tensors[i].ne[1], 1);
    m->tensors[i].type = 27; /* I64 */
    return true;
}

static bool as_half(test_model *m, size_t i)
{
    m->tensors[i].type = 1;
    for (size_t k = 0; k < m->tensors[i].data.len; k++)
        m->tensors[i].data.data[k] &= 0x2f;
    return false;
}

/* Norms and biases are not for quantised formats; matrices of 64 columns may have this one. */
static bool as_q8_0(test_model *m, size_t i)
{
    bool vector = m->tensors[i].n_dim == 1;
    if (vector)
        resize(&m->tensors[i], 1, m->tensors[i].ne[0], 1, 1);
    bool fits = m->tensors[i].ne[0] % 32 == 0;
    m->tensors[i].type = 8;
    return vector || !fits;
}

static void test_each_tensor_is_checked(void **state)
{
    (void)state;
    for_each_tensor("missing", drop);
    for_each_tensor("one column more", longer);
    for_each_tensor("one column less", shorter);
    for_each_tensor("one row more", taller);
    for_each_tensor("two of them", deeper);
    for_each_tensor("a third dimension of 1", flatter);
    for_each_tensor("type I64", as_integers);
    for_each_tensor("type F16", as_half);
    for_each_tensor("type Q8_0", as_q8_0);
}

static void test_fewer_rows_than_tokens_are_refused(void **state)
{
    (void)state;
    test_model m;
    test_model_init(&m, &(test_shape){0});
    resize(test_model_tensor(&m, "token_embd.weight"), 2, 64, TEST_MODEL_VOCAB - 1, 1);
    refuse(&m, "token_embd.weight", "263 rows");
    test_model_done(&m);
}

static void test_unknown_tensors_are_left_alone(void **state)
{
    (void)state;
    test_model m;
    test_model_init(&m, &(test_shape){0});
    test_model_add(&m, "blk.2.attn_q.weight", TERN_DT_F32, 3, 5);
    test_model_add(&m, "blk.-1.attn_q.weight", TERN_DT_F32, 3, 5);
    test_model_add(&m, "vision", TERN_DT_I64, 0, 5);
    accept(&m, "more tensors");
    test_model_done(&m);
}

static void test_rope_factors_must_divide(void **state)
{
    (void)state;
    static const uint32_t bad[] = {0, 0x80000000, 0xbf800000, 0x7fc00000, 0xff800000};
    test_model m;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        test_model_init(&m, &(test_shape){0});
        test_model_add(&m, "rope_freqs.weight", TERN_DT_F32, 0, 8);
        memcpy(m.tensors[m.n_tensor - 1].data.data + 7 * 4, &bad[i], 4);
        refuse(&m, "rope_freqs.weight", "a bad factor");
        test_model_done(&m);
    }
    static const uint32_t odd[] = {1, 0x7f800000};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        test_model_init(&m, &(test_shape){0});
        test_model_add(&m, "rope_freqs.weight", TERN_DT_F32, 0, 8);
        memcpy(m.tensors[m.n_tensor - 1].data.data, &odd[i], 4);
        accept(&m, "a factor that is not finite or makes none");
        test_model_done(&m);
    }
}

/* Factors for short and for long contexts: both or none, and each divides. */
static void test_long_rope_is_complete(void **state)
{
    (void)state;
    static const char *const names[] = {"rope_factors_short.weight", "rope_factors_long.weight"};
    test_model m;
    for (int i = 0; i < 2; i++) {
        test_model_init(&m, &(test_shape){.arch = "phi3"});
        test_model_add(&m, names[i], TERN_DT_F32, 0, 8);
        refuse(&m, names[1 - i], "one of two");
        test_model_add(&m, names[1 - i], TERN_DT_F32, 0, 7);
        refuse(&m, names[1 - i], "a factor too few");
        test_model_drop(&m, names[1 - i]);
        test_model_add(&m, names[1 - i], TERN_DT_F32, 0, 8);
        test_model_key(&m, ".rope.scaling.original_context_length", "u32:4 u32:16");
        accept(&m, "both");
        test_model_key(&m, ".rope.scaling.type", "u32:8 str:longrope");
        accept(&m, "both, and said so");
        memset(test_model_tensor(&m, names[i])->data.data, 0, 4);
        refuse(&m, names[i], "a factor of 0");
        test_model_done(&m);
    }
}

/* ---- memory ------------------------------------------------------------------------------- */

static tern_code open_session(void *ctx, tern_err *err)
{
    tern_session *s;
    tern_code rc = tern_session_new(ctx, NULL, &s, err);
    if (rc == TERN_OK)
        tern_session_free(s);
    return rc;
}

/* A context of 2^31 tokens costs nothing before tokens come. */
static void test_a_long_context_is_only_a_promise(void **state)
{
    (void)state;
    test_model m;
    tern_model *opened;
    tern_err err;
    tern_code rc;
    test_model_init(&m, &(test_shape){.n_ctx = 2147483583});
    assert_int_equal(test_model_open(&m, &opened, &err), TERN_OK);
    assert_true(test_alloc_bytes(open_session, opened, &rc, &err) < 65536);
    assert_int_equal(rc, TERN_OK);
    test_model_use(opened);
    tern_model_close(opened);
    test_model_done(&m);
}

/* Every layer's matrices are the same bytes: a small file must not become a large model. */
static void test_shared_bytes_do_not_multiply(void **state)
{
    (void)state;
    test_model m;
    tern_model *opened;
    tern_err err;
    test_model_init(
        &m,
        &(test_shape){.n_layer = 4, .arch = "bitnet", .matrices = TERN_DT_I2_S, .d_model = 128});
    test_model_write(&m);
    assert_int_equal(test_model_open(&m, &opened, &err), TERN_OK);
    tern_model_close(opened);
    /* all tensors at offset 0, where the largest, the first, has room */
    size_t data = 0;
    for (size_t i = 0; i < m.n_tensor; i++)
        data += (m.tensors[i].data.len + 31) / 32 * 32;
    size_t size = m.file.len - data + m.tensors[0].data.len;
    for (size_t i = 0; i < m.n_tensor; i++) {
        const char *name = m.tensors[i].name;
        char *at = memmem(m.file.data, m.file.len, name, strlen(name));
        assert_non_null(at);
        memset(at + strlen(name) + 4 + 8 * m.tensors[i].n_dim + 4, 0, 8);
    }
    assert_int_equal(tern_model_open_memory(m.file.data, size, "shared", NULL, &opened, &err),
                     TERN_E_FORMAT);
    assert_non_null(strstr(err.msg, "sharing"));
    test_model_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers_out_of_range_are_refused),
        cmocka_unit_test(test_floats_out_of_range_are_refused),
        cmocka_unit_test(test_keys_that_contradict_are_refused),
        cmocka_unit_test(test_rope_scalings_that_divide_by_zero_are_refused),
        cmocka_unit_test(test_windows_that_contradict_are_refused),
        cmocka_unit_test(test_odd_values_run),
        cmocka_unit_test(test_unusual_shapes_run),
        cmocka_unit_test(test_each_tensor_is_checked),
        cmocka_unit_test(test_fewer_rows_than_tokens_are_refused),
        cmocka_unit_test(test_unknown_tensors_are_left_alone),
        cmocka_unit_test(test_rope_factors_must_divide),
        cmocka_unit_test(test_long_rope_is_complete),
        cmocka_unit_test(test_a_long_context_is_only_a_promise),
        cmocka_unit_test(test_shared_bytes_do_not_multiply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
