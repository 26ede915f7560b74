/* config.json of published models, as their formats are described (transformers' classes, model cards, the
 * sizes of the published files): each becomes the model that is known under that name, and its matrices are
 * read as its makers mean them. Values that a description does not give are left out. */
#include "base/error.h"
#include "file/dir.h"
#include "model/arch/arch.h"
#include "model/hparams.h"
#include "model/import/import.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LLAMA                                                                                      \
    "\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_act\":\"silu\","
#define QWEN3                                                                                      \
    "\"architectures\":[\"Qwen3ForCausalLM\"],\"model_type\":\"qwen3\",\"hidden_act\":\"silu\","
#define BITNET                                                                                     \
    "\"architectures\":[\"BitNetForCausalLM\"],\"model_type\":\"bitnet\",\"hidden_act\":"          \
    "\"relu2\","
#define ONE_BIT                                                                                    \
    "\"architectures\":[\"BitnetForCausalLM\"],\"model_type\":\"llama\",\"hidden_act\":\"silu\","
#define PACKED                                                                                     \
    "\"quantization_config\":{\"quant_method\":\"bitnet\",\"modules_to_not_convert\":null},"
#define AUTO(mode)                                                                                 \
    "\"quantization_config\":{\"quant_method\":\"bitnet\",\"linear_class\":\"autobitlinear\","     \
    "\"quantization_mode\":\"" mode "\"},"
#define SIZE(layers, hidden, ffn, heads, kv)                                                       \
    "\"num_hidden_layers\":" layers ",\"hidden_size\":" hidden ",\"intermediate_size\":" ffn       \
    ",\"num_attention_heads\":" heads ",\"num_key_value_heads\":" kv ","
#define REST(ctx, vocab, theta, eps, tied)                                                         \
    "\"max_position_embeddings\":" ctx ",\"vocab_size\":" vocab ",\"rope_theta\":" theta           \
    ",\"rms_norm_eps\":" eps ",\"tie_word_embeddings\":" tied

typedef struct published {
    const char *name, *config;
    bool packed, own_norm; /* what its matrices are in the files */
    const char *arch;
    int n_layer, d_model, d_ff, n_head, n_kv_head, d_head, n_ctx;
    float base, eps;
    tern_act_kind act;
    tern_dtype matrices;
    float scale; /* of a packed matrix whose weight_scale is 4 */
} published;

static const published all[] = {
    {"BitNet-b1.58-2B-4T",
     BITNET AUTO("offline") SIZE("30", "2560", "6912", "20", "5")
         REST("4096", "128256", "500000.0", "1e-05", "true"),
     true, false, "bitnet-b1.58", 30, 2560, 6912, 20, 5, 128, 4096, 5e5f, 1e-5f, TERN_ACT_RELU2,
     TERN_DT_HF_PACKED, 4.0f},
    {"BitNet-b1.58-2B-4T-bf16",
     BITNET AUTO("online") SIZE("30", "2560", "6912", "20", "5")
         REST("4096", "128256", "500000.0", "1e-05", "true"),
     false, false, "bitnet-b1.58", 30, 2560, 6912, 20, 5, 128, 4096, 5e5f, 1e-5f, TERN_ACT_RELU2,
     TERN_DT_BF16_MASTER, 0.0f},
    {"bitnet_b1_58-large",
     ONE_BIT "\"weight_bits\":1,\"input_bits\":8," SIZE("24", "1536", "4096", "16", "16")
         REST("2048", "32002", "10000.0", "1e-05", "true"),
     false, false, "bitnet", 24, 1536, 4096, 16, 16, 96, 2048, 1e4f, 1e-5f, TERN_ACT_SILU,
     TERN_DT_BF16_MASTER, 0.0f},
    {"bitnet_b1_58-3B",
     ONE_BIT "\"weight_bits\":1,\"input_bits\":8," SIZE("26", "3200", "8640", "32", "32")
         REST("2048", "32002", "10000.0", "1e-05", "true"),
     false, false, "bitnet", 26, 3200, 8640, 32, 32, 100, 2048, 1e4f, 1e-5f, TERN_ACT_SILU,
     TERN_DT_BF16_MASTER, 0.0f},
    {"Llama3-8B-1.58-100B-tokens",
     LLAMA PACKED SIZE("32", "4096", "14336", "32", "8")
         REST("8192", "128256", "500000.0", "1e-05", "false"),
     true, false, "llama", 32, 4096, 14336, 32, 8, 128, 8192, 5e5f, 1e-5f, TERN_ACT_SILU,
     TERN_DT_HF_PACKED, 0.25f},
    {"Falcon3-1B-Instruct-1.58bit",
     LLAMA PACKED "\"head_dim\":256," SIZE("18", "2048", "8192", "8", "4")
         REST("8192", "131072", "1000042", "1e-06", "false"),
     true, false, "llama", 18, 2048, 8192, 8, 4, 256, 8192, 1000042.0f, 1e-6f, TERN_ACT_SILU,
     TERN_DT_HF_PACKED, 0.25f},
    {"Falcon3-10B-Instruct-1.58bit",
     LLAMA PACKED "\"head_dim\":256," SIZE("40", "3072", "23040", "12", "4")
         REST("32768", "131072", "1000042", "1e-06", "false"),
     true, false, "llama", 40, 3072, 23040, 12, 4, 256, 32768, 1000042.0f, 1e-6f, TERN_ACT_SILU,
     TERN_DT_HF_PACKED, 0.25f},
    {"Falcon-E-1B-Instruct",
     LLAMA PACKED "\"head_dim\":128," SIZE("24", "2048", "9216", "16", "2")
         REST("32768", "32768", "10000.0", "1e-05", "false"),
     true, false, "llama", 24, 2048, 9216, 16, 2, 128, 32768, 1e4f, 1e-5f, TERN_ACT_SILU,
     TERN_DT_HF_PACKED, 0.25f},
    {"TriLM_99M_Unpacked",
     LLAMA SIZE("16", "512", "1280", "8", "8") REST("2048", "50304", "10000.0", "1e-05", "false"),
     false, false, "llama", 16, 512, 1280, 8, 8, 64, 2048, 1e4f, 1e-5f, TERN_ACT_SILU, TERN_DT_BF16,
     0.0f},
    {"TriLM_3.9B_Unpacked",
     LLAMA SIZE("30", "3072", "9216", "24", "24")
         REST("2048", "50688", "10000.0", "1e-05", "false"),
     false, false, "llama", 30, 3072, 9216, 24, 24, 128, 2048, 1e4f, 1e-5f, TERN_ACT_SILU,
     TERN_DT_BF16, 0.0f},
    {"Bonsai-8B",
     QWEN3 "\"head_dim\":128,\"use_sliding_window\":false,\"sliding_window\":null," SIZE(
         "36", "4096", "12288", "32", "8") REST("65536", "151936", "1000000", "1e-06", "false"),
     false, false, "qwen3", 36, 4096, 12288, 32, 8, 128, 65536, 1e6f, 1e-6f, TERN_ACT_SILU,
     TERN_DT_BF16, 0.0f},
    {"BitNet-embedding-0.6B",
     QWEN3 "\"head_dim\":128," SIZE("28", "1024", "3072", "16", "8")
         REST("32768", "151936", "1000000", "1e-06", "true"),
     false, true, "qwen3", 28, 1024, 3072, 16, 8, 128, 32768, 1e6f, 1e-6f, TERN_ACT_SILU,
     TERN_DT_BF16_MASTER, 0.0f},
    {"BitNet-embedding-270M",
     "\"architectures\":[\"Gemma3TextModel\"],\"model_type\":\"gemma3_text\","
     "\"hidden_activation\":\"gelu_pytorch_tanh\",\"head_dim\":256,\"query_pre_attn_scalar\":"
     "256," SIZE("18", "640", "2048", "4", "1") REST("32768", "262144", "10000.0", "1e-06", "true"),
     false, true, "gemma3", 18, 640, 2048, 4, 1, 256, 32768, 1e4f, 1e-6f, TERN_ACT_GELU,
     TERN_DT_BF16_MASTER, 0.0f},
    {"SmolLM2-135M-Instruct",
     LLAMA SIZE("30", "576", "1536", "9", "3") REST("8192", "49152", "100000", "1e-05", "true"),
     false, false, "llama", 30, 576, 1536, 9, 3, 64, 8192, 1e5f, 1e-5f, TERN_ACT_SILU, TERN_DT_BF16,
     0.0f},
};

static char folder[] = "/tmp/tern-published-XXXXXX";

static void write_file(const char *name, const void *bytes, size_t n)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static int make_folder(void **state)
{
    static const char tokenizer[] =
        "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},"
        "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}";
    (void)state;
    if (!mkdtemp(folder))
        return 1;
    write_file("tokenizer.json", tokenizer, sizeof tokenizer - 1);
    return 0;
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"tokenizer.json", "config.json", "model.safetensors"};
    char path[96];
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    return rmdir(folder);
}

/* An embedding of few rows, one matrix [4, 4], its scale of 4 or its norm. */
static void write_weights(const published *p)
{
    static const char embed[] =
        "{\"model.embed_tokens.weight\":{\"dtype\":\"BF16\",\"shape\":[4,4],"
        "\"data_offsets\":[0,32]},\"model.layers.0.mlp.up_proj.weight";
    uint8_t file[512] = {0};
    char head[400];
    size_t n_data = p->packed ? 38 : p->own_norm ? 72 : 64;
    int n = snprintf(head, sizeof head,
                     p->packed ? "%s\":{\"dtype\":\"U8\",\"shape\":[1,4],\"data_offsets\":[32,36]},"
                                 "\"model.layers.0.mlp.up_proj.weight_scale\":{\"dtype\":\"BF16\","
                                 "\"shape\":[1],\"data_offsets\":[36,38]}}"
                     : p->own_norm
                         ? "%s\":{\"dtype\":\"BF16\",\"shape\":[4,4],\"data_offsets\":[32,64]},"
                           "\"model.layers.0.mlp.up_proj.norm.weight\":{\"dtype\":\"BF16\","
                           "\"shape\":[4],\"data_offsets\":[64,72]}}"
                         : "%s\":{\"dtype\":\"BF16\",\"shape\":[4,4],\"data_offsets\":[32,64]}}",
                     embed);
    assert_true(n > 0 && (size_t)n < sizeof head);
    file[0] = (uint8_t)n;
    file[1] = (uint8_t)(n >> 8);
    memcpy(file + 8, head, (size_t)n);
    if (p->packed)
        memcpy(file + 8 + n + 36, "\x80\x40", 2); /* 4 as BF16 */
    write_file("model.safetensors", file, 8 + (size_t)n + n_data);
}

static void check(const published *p)
{
    char config[1024];
    tern_err err = {0};
    tern_dir *d = NULL;
    tern_hparams h;
    (void)snprintf(config, sizeof config, "{%s}", p->config);
    write_file("config.json", config, strlen(config));
    write_weights(p);
    if (tern_import_open(folder, NULL, &d, &err) != TERN_OK)
        fail_msg("%s: %s", p->name, err.msg);
    const tern_arch *arch = tern_arch_find(p->arch, strlen(p->arch));
    assert_non_null(arch);
    if (tern_hparams_read(d, arch, &h, &err) != TERN_OK)
        fail_msg("%s: %s", p->name, err.msg);
    const tern_tensor *t = tern_dir_tensor_find(d, "blk.0.ffn_up.weight");
    assert_non_null(t);
    bool ok = h.n_layer == p->n_layer && h.d_model == p->d_model && h.d_ff == p->d_ff &&
              h.n_head == p->n_head && h.n_kv_head == p->n_kv_head && h.d_head == p->d_head &&
              h.n_ctx_train == p->n_ctx && h.rope.base == p->base && h.rms_eps == p->eps &&
              h.act == p->act && h.rope.n_rot == p->d_head && h.rope.neox &&
              t->dtype == p->matrices && (p->scale == 0.0f || t->scale == p->scale);
    if (!ok)
        fail_msg("%s: %d %d %d %d/%d %d %d %g %g %d %s %g", p->name, h.n_layer, h.d_model, h.d_ff,
                 h.n_head, h.n_kv_head, h.d_head, h.n_ctx_train, (double)h.rope.base,
                 (double)h.rms_eps, h.act, tern_dtype_get(t->dtype)->name, (double)t->scale);
    tern_dir_close(d);
}

static void test_published(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        check(&all[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_published)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
