#include "support/model.h"
#include "base/utf8.h"
#include "support/bytes.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX ((size_t)64 << 20)
#define ALIGN    32

static void put_le(tern_str *out, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        tern_str_putc(out, (char)(v >> 8 * i & 255));
}

static void put_text(tern_str *out, const char *s)
{
    put_le(out, strlen(s), 8);
    tern_str_puts(out, s);
}

/* ---- keys --------------------------------------------------------------------------------- */

static test_key *find_key(test_model *m, const char *name)
{
    for (size_t i = 0; i < m->n_key; i++)
        if (strcmp(m->keys[i].name, name) == 0)
            return &m->keys[i];
    return NULL;
}

/* The key's value, empty. */
static tern_str *fresh_key(test_model *m, const char *name)
{
    char full[80];
    (void)snprintf(full, sizeof full, "%s%s", name[0] == '.' ? m->shape.arch : "", name);
    test_key *k = find_key(m, full);
    if (!k) {
        assert_true(m->n_key < sizeof m->keys / sizeof m->keys[0]);
        k = &m->keys[m->n_key++];
        memcpy(k->name, full, sizeof full);
        tern_str_init(&k->value, FILE_MAX);
    }
    tern_str_clear(&k->value);
    return &k->value;
}

void test_model_key(test_model *m, const char *name, const char *script)
{
    tern_str *v = fresh_key(m, name);
    if (script) {
        test_bytes(v, script);
        return;
    }
    size_t i = 0;
    while (&m->keys[i].value != v)
        i++;
    tern_str_done(v);
    memmove(&m->keys[i], &m->keys[i + 1], (m->n_key - i - 1) * sizeof m->keys[0]);
    m->n_key--;
}

static void set_u32(test_model *m, const char *name, int v)
{
    tern_str *s = fresh_key(m, name);
    put_le(s, 4, 4);
    put_le(s, (uint64_t)v, 4);
}

static void set_text(test_model *m, const char *name, const char *text)
{
    tern_str *s = fresh_key(m, name);
    put_le(s, 8, 4);
    put_text(s, text);
}

static void set_vocabulary(test_model *m)
{
    static const char *const first[] = {"<unk>", "<s>", "</s>"};
    tern_str *tokens = fresh_key(m, "tokenizer.ggml.tokens"), *v;
    put_le(tokens, 9, 4);
    put_le(tokens, 8, 4);
    put_le(tokens, TEST_MODEL_VOCAB, 8);
    for (int i = 0; i < TEST_MODEL_VOCAB; i++) {
        char text[8] = {(char)('a' + i - 259), 0};
        if (i >= 3 && i < 259)
            (void)snprintf(text, sizeof text, "<0x%02X>", (unsigned)i - 3);
        put_text(tokens, i < 3 ? first[i] : text);
    }
    v = fresh_key(m, "tokenizer.ggml.token_type");
    put_le(v, 9, 4);
    put_le(v, 5, 4);
    put_le(v, TEST_MODEL_VOCAB, 8);
    for (int i = 0; i < TEST_MODEL_VOCAB; i++)
        put_le(v, i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1, 4);
    v = fresh_key(m, "tokenizer.ggml.scores");
    put_le(v, 9, 4);
    put_le(v, 6, 4);
    put_le(v, TEST_MODEL_VOCAB, 8);
    for (int i = 0; i < TEST_MODEL_VOCAB; i++)
        put_le(v, 0, 4);
    set_text(m, "tokenizer.ggml.model", "llama");
    set_u32(m, "tokenizer.ggml.bos_token_id", 1);
    set_u32(m, "tokenizer.ggml.eos_token_id", 2);
}

/* ---- tensors ------------------------------------------------------------------------------ */

static size_t index_of(const test_model *m, const char *name)
{
    for (size_t i = 0; i < m->n_tensor; i++)
        if (strcmp(m->tensors[i].name, name) == 0)
            return i;
    fail_msg("no tensor %s", name);
    return 0;
}

test_tensor *test_model_tensor(test_model *m, const char *name)
{
    return &m->tensors[index_of(m, name)];
}

void test_model_drop(test_model *m, const char *name)
{
    size_t i = index_of(m, name);
    tern_str_done(&m->tensors[i].data);
    memmove(&m->tensors[i], &m->tensors[i + 1], (m->n_tensor - i - 1) * sizeof m->tensors[0]);
    m->n_tensor--;
}

/* Formats that this engine cannot pack: any two or four bytes up to 0x2f are small positive floats. */
static void random_bytes(uint8_t *p, size_t n, uint32_t *seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(test_rand(seed) & 0x2f);
}

void test_model_add(test_model *m, const char *name, tern_dtype dt, size_t rows, size_t cols)
{
    const tern_dtype_info *info = tern_dtype_get(dt);
    const size_t ne[4] = {cols, rows ? rows : 1, 1, 1};
    size_t n = ne[0] * ne[1], bytes = 0;
    uint32_t seed = test_crc32(name, strlen(name)) & 0x7fffffff;
    assert_true(m->n_tensor < sizeof m->tensors / sizeof m->tensors[0]);
    if (!tern_dtype_bytes(dt, ne, &bytes))
        fail_msg("%s: %zu x %zu is no shape for %s", name, rows, cols, info->name);
    test_tensor *t = &m->tensors[m->n_tensor++];
    *t = (test_tensor){.type = info->file_id, .n_dim = rows ? 2 : 1, .ne = {cols, ne[1], 1, 1}};
    (void)snprintf(t->name, sizeof t->name, "%s", name);
    tern_str_init(&t->data, FILE_MAX);
    uint8_t *packed = malloc(bytes);
    float *x = malloc(n * sizeof *x);
    assert_non_null(packed);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = ((float)test_rand(&seed) / 32768.0f - 0.5f) * 0.2f + (rows ? 0.0f : 1.0f);
    if (info->pack)
        info->pack(x, ne[1], cols, NULL, packed);
    else
        random_bytes(packed, bytes, &seed);
    tern_str_put(&t->data, packed, bytes);
    free(x);
    free(packed);
}

static void add_to_block(test_model *m, int layer, const char *rest, tern_dtype dt, int rows,
                         int cols)
{
    char name[48];
    (void)snprintf(name, sizeof name, "blk.%d.%s", layer, rest);
    test_model_add(m, name, dt, (size_t)rows, (size_t)cols);
}

static void add_block(test_model *m, int i)
{
    const test_shape *s = &m->shape;
    int d = s->d_model, d_head = d / s->n_head, d_kv = s->n_kv_head * d_head;
    bool phi3 = strcmp(s->arch, "phi3") == 0, gemma3 = strcmp(s->arch, "gemma3") == 0;
    const struct {
        const char *name;
        int rows, cols;
        bool skipped;
    } common[] = {
        {"attn_norm.weight", 0, d, false},
        {"attn_q.weight", d, d, phi3},
        {"attn_k.weight", d_kv, d, phi3},
        {"attn_v.weight", d_kv, d, phi3},
        {"attn_qkv.weight", d + 2 * d_kv, d, !phi3},
        {"attn_output.weight", d, d, false},
        {"post_attention_norm.weight", 0, d, !gemma3},
        {"ffn_norm.weight", 0, d, false},
        {"ffn_gate.weight", s->d_ff, d, phi3},
        {"ffn_up.weight", phi3 ? 2 * s->d_ff : s->d_ff, d, false},
        {"ffn_down.weight", d, s->d_ff, false},
        {"post_ffw_norm.weight", 0, d, !gemma3},
    };
    for (size_t k = 0; k < sizeof common / sizeof common[0]; k++)
        if (!common[k].skipped)
            add_to_block(m, i, common[k].name, common[k].rows ? s->matrices : TERN_DT_F32,
                         common[k].rows, common[k].cols);
    if (strncmp(s->arch, "bitnet", 6) == 0) {
        add_to_block(m, i, "attn_sub_norm.weight", TERN_DT_F32, 0, d);
        add_to_block(m, i, "ffn_sub_norm.weight", TERN_DT_F32, 0, s->d_ff);
    } else if (strcmp(s->arch, "qwen2") == 0) {
        add_to_block(m, i, "attn_q.bias", TERN_DT_F32, 0, d);
        add_to_block(m, i, "attn_k.bias", TERN_DT_F32, 0, d_kv);
        add_to_block(m, i, "attn_v.bias", TERN_DT_F32, 0, d_kv);
    } else if (gemma3 || strcmp(s->arch, "qwen3") == 0) {
        add_to_block(m, i, "attn_q_norm.weight", TERN_DT_F32, 0, d_head);
        add_to_block(m, i, "attn_k_norm.weight", TERN_DT_F32, 0, d_head);
    }
}

/* ---- the whole ---------------------------------------------------------------------------- */

static void set_default(int *v, int to)
{
    if (!*v)
        *v = to;
}

void test_model_init(test_model *m, const test_shape *shape)
{
    memset(m, 0, sizeof *m);
    m->shape = *shape;
    test_shape *s = &m->shape;
    s->arch = s->arch ? s->arch : "llama";
    set_default(&s->n_layer, 2);
    set_default(&s->d_model, 64);
    set_default(&s->d_ff, 128);
    set_default(&s->n_head, 4);
    set_default(&s->n_kv_head, s->n_head);
    set_default(&s->n_ctx, 64);
    set_text(m, "general.architecture", s->arch);
    set_text(m, "general.name", "tiny");
    set_u32(m, ".block_count", s->n_layer);
    set_u32(m, ".embedding_length", s->d_model);
    set_u32(m, ".feed_forward_length", s->d_ff);
    set_u32(m, ".attention.head_count", s->n_head);
    set_u32(m, ".attention.head_count_kv", s->n_kv_head);
    set_u32(m, ".context_length", s->n_ctx);
    set_vocabulary(m);
    test_model_add(m, "token_embd.weight", s->embed, TEST_MODEL_VOCAB, (size_t)s->d_model);
    if (s->head)
        test_model_add(m, "output.weight", s->embed, TEST_MODEL_VOCAB, (size_t)s->d_model);
    test_model_add(m, "output_norm.weight", TERN_DT_F32, 0, (size_t)s->d_model);
    for (int i = 0; i < s->n_layer; i++)
        add_block(m, i);
}

void test_model_done(test_model *m)
{
    for (size_t i = 0; i < m->n_key; i++)
        tern_str_done(&m->keys[i].value);
    for (size_t i = 0; i < m->n_tensor; i++)
        tern_str_done(&m->tensors[i].data);
    tern_str_done(&m->file);
}

static void pad(tern_str *out)
{
    while (out->len % ALIGN)
        tern_str_putc(out, 0);
}

void test_model_write(test_model *m)
{
    tern_str *out = &m->file;
    size_t offset = 0;
    tern_str_done(out);
    tern_str_init(out, FILE_MAX);
    tern_str_puts(out, "GGUF");
    put_le(out, 3, 4);
    put_le(out, m->n_tensor, 8);
    put_le(out, m->n_key, 8);
    for (size_t i = 0; i < m->n_key; i++) {
        put_text(out, m->keys[i].name);
        tern_str_put(out, m->keys[i].value.data, m->keys[i].value.len);
    }
    for (size_t i = 0; i < m->n_tensor; i++) {
        const test_tensor *t = &m->tensors[i];
        put_text(out, t->name);
        put_le(out, t->n_dim, 4);
        for (uint32_t k = 0; k < t->n_dim; k++)
            put_le(out, t->ne[k], 8);
        put_le(out, t->type, 4);
        put_le(out, offset, 8);
        offset += (t->data.len + ALIGN - 1) / ALIGN * ALIGN;
    }
    pad(out);
    for (size_t i = 0; i < m->n_tensor; i++) {
        tern_str_put(out, m->tensors[i].data.data, m->tensors[i].data.len);
        pad(out);
    }
    assert_false(out->failed);
}

tern_code test_model_open(test_model *m, tern_model **out, tern_err *err)
{
    tern_model_opts o;
    tern_model_opts_init(&o);
    o.n_thread = 1;
    test_model_write(m);
    return tern_model_open_memory(m->file.data, m->file.len, "tiny.gguf", &o, out, err);
}

tern_model *test_model_ternary(test_model *m, int n_layer, int n_ctx, int n_thread)
{
    tern_model *opened;
    tern_err err = {0};
    tern_model_opts o;
    tern_model_opts_init(&o);
    o.n_thread = n_thread;
    test_model_init(m, &(test_shape){.arch = "bitnet",
                                     .d_model = 128,
                                     .n_layer = n_layer,
                                     .matrices = TERN_DT_I2_S,
                                     .embed = TERN_DT_F16,
                                     .n_ctx = n_ctx});
    test_model_write(m);
    if (tern_model_open_memory(m->file.data, m->file.len, "tiny", &o, &opened, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return opened;
}

/* ---- use ---------------------------------------------------------------------------------- */

static void must(tern_code rc, const tern_err *err)
{
    if (rc != TERN_OK)
        fail_msg("%s", err->msg);
}

static void generate(tern_session *s, const int32_t *prompt, size_t n, const tern_gen_opts *o)
{
    tern_err err;
    tern_request *r;
    tern_event ev;
    must(tern_request_new(s, prompt, n, o, &r, &err), &err);
    do {
        must(tern_request_next(r, &ev, &err), &err);
        assert_in_range(ev.id, 0, TEST_MODEL_VOCAB - 1);
        assert_true(tern_utf8_valid(ev.text, ev.n_text));
    } while (ev.finish == TERN_FINISH_NONE);
    tern_request_free(r);
}

static void use_session(tern_model *m, const int32_t *ids, size_t n, tern_cache_type cache)
{
    tern_err err;
    tern_session *s;
    tern_session_opts so;
    tern_gen_opts greedy, drawn;
    tern_session_opts_init(&so);
    so.n_ctx = 32;
    so.cache_k = so.cache_v = cache;
    must(tern_session_new(m, &so, &s, &err), &err);
    must(tern_session_eval(s, ids, n, &err), &err);
    assert_non_null(tern_session_logits(s));
    tern_gen_opts_init(&greedy);
    greedy.temp = 0.0f;
    greedy.n_predict = 3;
    drawn = greedy;
    drawn.temp = 1.0f;
    drawn.typical_p = 0.9f;
    drawn.repeat_penalty = 1.1f;
    drawn.presence_penalty = 0.5f;
    drawn.ignore_eos = true;
    generate(s, ids, n, &greedy);
    generate(s, ids, n, &drawn);
    tern_session_free(s);
}

void test_model_use(tern_model *m)
{
    tern_err err;
    char *text;
    int32_t ids[16];
    size_t n, n_text;
    must(tern_model_describe(m, &text, &err), &err);
    tern_string_free(text);
    must(tern_model_tokenize(m, "abc \xc3\xa4", 6, TERN_TOKENIZE_ADD_SPECIAL, ids, 16, &n, &err),
         &err);
    must(tern_model_detokenize(m, ids, n, true, &text, &n_text, &err), &err);
    assert_true(tern_utf8_valid(text, n_text));
    tern_string_free(text);
    if (n == 0) /* a vocabulary may lack everything the text needs */
        ids[n++] = 0;
    for (int cache = TERN_CACHE_Q8; cache <= TERN_CACHE_F32; cache++)
        use_session(m, ids, n, (tern_cache_type)cache);
}

tern_model *test_model_file(const char *path, int n_thread, tern_head_mode head)
{
    tern_model *m;
    tern_err err = {0};
    tern_model_opts o;
    tern_model_opts_init(&o);
    o.n_thread = n_thread;
    o.strict = true;
    o.head = head;
    if (tern_model_open(path, &o, &m, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return m;
}

tern_grammar *test_model_grammar(const tern_model *m, tern_grammar_kind kind, const char *text)
{
    tern_grammar *g;
    tern_err err = {0};
    if (tern_grammar_new(m, kind, text, strlen(text), &g, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return g;
}
