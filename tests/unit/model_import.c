/* Folders that cannot be read say why; what is said in config.json arrives as keys. Logits of folders are
 * compared in model_golden.c. */
#include "file/dir.h"
#include "model/import/import.h"
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDERS "tests/golden/folders/"

static char folder[] = "/tmp/tern-import-XXXXXX";

static void path_of(const char *name, char path[160])
{
    (void)snprintf(path, 160, "%s/%s", folder, name);
}

static void write_file(const char *name, const char *text, size_t n)
{
    char path[160];
    path_of(name, path);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : 1;
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"config.json",           "tokenizer.json",
                                        "tokenizer_config.json", "model.safetensors",
                                        "1_Pooling/config.json", "1_Pooling"};
    char path[160];
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        path_of(names[i], path);
        (void)remove(path);
    }
    return rmdir(folder);
}

static char *read_text(const char *path)
{
    size_t n;
    char *s = (char *)test_read_file(path, &n);
    assert_non_null(s);
    return s;
}

static void copy(const char *from, const char *name)
{
    char path[160];
    size_t n;
    (void)snprintf(path, sizeof path, FOLDERS "%s/%s", from, name);
    uint8_t *bytes = test_read_file(path, &n);
    assert_non_null(bytes);
    write_file(name, (const char *)bytes, n);
    free(bytes);
}

/* The fixture with `was` in config.json replaced, which must be there. */
static void make(const char *from, const char *was, const char *is)
{
    char path[160];
    copy(from, "tokenizer.json");
    copy(from, "tokenizer_config.json");
    copy(from, "model.safetensors");
    (void)snprintf(path, sizeof path, FOLDERS "%s/config.json", from);
    char *config = read_text(path), *at = strstr(config, was);
    char *changed = calloc(1, strlen(config) + strlen(is) + 1);
    assert_true(at && changed);
    (void)snprintf(changed, strlen(config) + strlen(is) + 1, "%.*s%s%s", (int)(at - config), config,
                   is, at + strlen(was));
    write_file("config.json", changed, strlen(changed));
    free(changed);
    free(config);
}

/* Take a piece, which must be there, out of config.json. */
static void drop(const char *piece)
{
    char path[160];
    path_of("config.json", path);
    char *config = read_text(path), *at = strstr(config, piece);
    assert_non_null(at);
    memmove(at, at + strlen(piece), strlen(at + strlen(piece)) + 1);
    write_file("config.json", config, strlen(config));
    free(config);
}

static void refused(tern_code code, const char *says)
{
    tern_err err = {0};
    tern_dir *d = NULL;
    tern_code rc = tern_import_open(folder, NULL, &d, &err);
    if (rc != code || !strstr(err.msg, says))
        fail_msg("code %d, '%s'; expected %d with '%s'", rc, err.msg, code, says);
}

static void configurations(void **state)
{
    static const struct {
        const char *was, *is;
        tern_code code;
        const char *says;
    } bad[] = {
        {"\"qwen2\"", "\"rwkv7\"", TERN_E_UNSUPPORTED, "model_type 'rwkv7'"},
        {"\"qwen2\"", "7", TERN_E_UNSUPPORTED, "model_type ''"},
        {"\"hidden_size\"", "\"hidden\"", TERN_E_FORMAT, "'hidden_size' is missing"},
        {"\"hidden_size\": 64", "\"hidden_size\": -64", TERN_E_FORMAT, "'hidden_size'"},
        {"\"hidden_size\": 64", "\"hidden_size\": 64.5", TERN_E_FORMAT, "'hidden_size'"},
        {"\"hidden_size\": 64", "\"hidden_size\": \"64\"", TERN_E_FORMAT, "'hidden_size'"},
        {"\"hidden_size\": 64", "\"hidden_size\": 1e999", TERN_E_FORMAT, "not JSON"},
        {"\"num_key_value_heads\": 2", "\"num_key_value_heads\": 5", TERN_E_FORMAT,
         "'num_key_value_heads'"},
        {"\"silu\"", "\"quick_gelu\"", TERN_E_UNSUPPORTED, "activation 'quick_gelu'"},
        {"\"rope_type\": \"default\"", "\"rope_type\": \"dynamic\"", TERN_E_UNSUPPORTED,
         "rope scaling 'dynamic'"},
        {"\"rope_theta\": 10000.0", "\"rope_theta\": \"x\"", TERN_E_FORMAT, "'rope_theta'"},
        {"{", "{\"quantization_config\": {\"quant_method\": \"gptq\"}, ", TERN_E_UNSUPPORTED,
         "quant_method 'gptq'"},
        {"\"full_attention\"", "\"linear_attention\"", TERN_E_UNSUPPORTED, "'linear_attention'"},
        {"\"full_attention\",", "", TERN_E_FORMAT, "'layer_types'"},
        {"{", "[", TERN_E_FORMAT, "not JSON"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        make("qwen2", bad[i].was, bad[i].is);
        refused(bad[i].code, bad[i].says);
    }
}

static void weights(void **state)
{
    char path[160];
    (void)state;
    /* Packed weights without a word about them, and scales of the other kind. */
    make("bitnet-packed", "\"quant_method\"", "\"quant\"");
    refused(TERN_E_UNSUPPORTED, "quant_method ''");
    make("bitnet-packed", "\"quantization_config\"", "\"quantization\"");
    refused(TERN_E_UNSUPPORTED, "no quantization_config");
    /* A tensor that the architecture has no place for. */
    make("qwen2", "\"qwen2\"", "\"qwen2\"");
    static const char head[] = "{\"model.layers.0.mlp.router.weight\":{\"dtype\":\"F32\","
                               "\"shape\":[1],\"data_offsets\":[0,4]}}";
    char file[8 + sizeof head - 1 + 4] = {sizeof head - 1};
    memcpy(file + 8, head, sizeof head - 1);
    write_file("model.safetensors", file, sizeof file);
    refused(TERN_E_UNSUPPORTED, "router.weight': has no place");
    path_of("model.safetensors", path);
    (void)unlink(path);
    refused(TERN_E_NOT_FOUND, "model.safetensors");
    path_of("config.json", path);
    (void)unlink(path);
    refused(TERN_E_NOT_FOUND, "config.json");
}

static tern_dir *opened(const char *path)
{
    tern_err err = {0};
    tern_dir *d = NULL;
    if (tern_import_open(path, NULL, &d, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return d;
}

static void keys_and_pooling(void **state)
{
    static const char pooling[] = "{\"pooling_mode_mean_tokens\": false, "
                                  "\"pooling_mode_lasttoken\": true}";
    char path[160];
    uint32_t v = 0;
    float f = 0;
    bool found = false;
    (void)state;
    make("qwen2", "\"rms_norm_eps\": 1e-06", "\"rms_norm_eps\": 0.25");
    path_of("1_Pooling", path);
    (void)mkdir(path, 0700);
    write_file("1_Pooling/config.json", pooling, sizeof pooling - 1);
    tern_dir *d = opened(folder);
    assert_int_equal(tern_dir_get_u32(d, "qwen2.pooling_type", &v, &found, NULL), TERN_OK);
    assert_true(found && v == 3);
    assert_int_equal(tern_dir_get_u32(d, "qwen2.attention.head_count_kv", &v, &found, NULL),
                     TERN_OK);
    assert_true(found && v == 2);
    assert_int_equal(
        tern_dir_get_f32(d, "qwen2.attention.layer_norm_rms_epsilon", &f, &found, NULL), TERN_OK);
    assert_true(found && f == 0.25f);
    assert_null(tern_dir_meta_find(d, TERN_KEY_ROPE_HALVES));
    tern_dir_close(d);
    path_of("1_Pooling/config.json", path);
    (void)unlink(path);
}

/* Which layers have a window. Expected are the layer_types of transformers 5.23 for the same
 * configuration; there is no list where they are what the architecture stands for. */
static void windows(void **state)
{
    static const struct {
        const char *from, *was, *is, *arch;
        int window;
        const char *layers; /* "" without a list */
    } all[] = {
        {"gemma3", "\"sliding_window\": 20", "\"sliding_window\": 20", "gemma3", 20, ""},
        {"gemma3", "\"sliding_window\": 20,", "", "gemma3", 4096, ""},
        {"gemma3", "\"sliding_window\": 20", "\"sliding_window\": null", "gemma3", 0, ""},
        {"gemma3", "\"layer_types\"", "\"x\"", "gemma3", 20, ""},
        {"gemma3", "\"layer_types\"", "\"sliding_window_pattern\": 3, \"x\"", "gemma3", 20,
         "110110"},
        {"gemma3", "\"sliding_attention\"", "\"full_attention\"", "gemma3", 20, "011110"},
        {"mistral", "\"sliding_window\": 20", "\"sliding_window\": 7", "llama", 7, ""},
        {"mistral", "\"sliding_window\": 20", "\"sliding_window\": null", "llama", 0, ""},
        {"qwen2", "\"sliding_window\": null", "\"sliding_window\": 9", "qwen2", 0, ""},
        {"qwen2", "\"use_sliding_window\": false",
         "\"use_sliding_window\": true, \"sliding_window\": 9, \"max_window_layers\": 1, \"x\": 0",
         "qwen2", 9, "01"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        char key[96];
        uint32_t window = 0;
        make(all[i].from, all[i].was, all[i].is);
        if (strcmp(all[i].from, "qwen2") == 0 && all[i].window) { /* by number, not by list */
            drop("\"sliding_window\": null,");
            drop("\"layer_types\": [\n  \"full_attention\",\n  \"full_attention\"\n ],");
        }
        tern_dir *d = opened(folder);
        (void)snprintf(key, sizeof key, "%s.attention.sliding_window", all[i].arch);
        assert_int_equal(tern_dir_get_u32(d, key, &window, NULL, NULL), TERN_OK);
        assert_int_equal(window, all[i].window);
        (void)snprintf(key, sizeof key, "%s.attention.sliding_window_pattern", all[i].arch);
        const tern_meta *m = tern_dir_meta_find(d, key);
        assert_int_equal(m ? m->n_elem : 0, strlen(all[i].layers));
        for (size_t k = 0; all[i].layers[k]; k++)
            assert_int_equal(tern_meta_elem_i64(m, k), all[i].layers[k] - '0');
        tern_dir_close(d);
    }
}

/* Configurations of Gemma 3's larger models say only where they differ from their class. */
static void defaults(void **state)
{
    static const char config[] =
        "{\"model_type\": \"gemma3\", \"text_config\": {\"hidden_size\": 2560, "
        "\"intermediate_size\": 10240, \"model_type\": \"gemma3_text\", "
        "\"num_hidden_layers\": 34, \"rope_scaling\": {\"factor\": 8.0, \"rope_type\": "
        "\"linear\"}, \"sliding_window\": 1024}}";
    static const struct {
        const char *key;
        uint32_t v;
    } numbers[] = {
        {"gemma3.attention.head_count", 8},   {"gemma3.attention.head_count_kv", 4},
        {"gemma3.attention.key_length", 256}, {"gemma3.context_length", 131072},
        {"gemma3.embedding_length", 2560},    {"gemma3.block_count", 34},
        {"gemma3.rope.dimension_count", 256}, {"gemma3.attention.sliding_window", 1024},
    };
    static const struct {
        const char *key;
        float v;
    } reals[] = {{"gemma3.rope.freq_base", 1e6f},
                 {"gemma3.rope.scaling.factor", 8.0f},
                 {"gemma3.attention.scale", 1.0f / 16.0f},
                 {"gemma3.attention.layer_norm_rms_epsilon", 1e-6f}};
    (void)state;
    make("gemma3", "{", "{");
    write_file("config.json", config, sizeof config - 1);
    tern_dir *d = opened(folder);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        uint32_t v = 0;
        assert_int_equal(tern_dir_get_u32(d, numbers[i].key, &v, NULL, NULL), TERN_OK);
        assert_int_equal(v, numbers[i].v);
    }
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++) {
        float v = 0;
        assert_int_equal(tern_dir_get_f32(d, reals[i].key, &v, NULL, NULL), TERN_OK);
        assert_true(v == reals[i].v);
    }
    assert_null(tern_dir_tensor_find(d, "output.weight"));
    tern_dir_close(d);
}

/* The scale of a packed matrix is a factor in one convention and a divisor in the other. */
static void conventions(void **state)
{
    (void)state;
    make("bitnet-packed", "autobitlinear", "bitlinear");
    tern_dir *inverse = opened(folder), *factor = opened(FOLDERS "bitnet-packed");
    const tern_tensor *a = tern_dir_tensor_find(inverse, "blk.0.ffn_up.weight");
    const tern_tensor *b = tern_dir_tensor_find(factor, "blk.0.ffn_up.weight");
    assert_int_equal(a->dtype, TERN_DT_HF_PACKED);
    assert_int_equal(a->ne[1], 256);
    assert_true(a->scale == 1.0f / b->scale);
    assert_int_equal(a->bytes, 128 * 256 / 4);
    tern_dir_close(inverse);
    tern_dir_close(factor);
}

/* A file that lies in a folder names the folder, and one of its files alone lacks tensors. */
static void files_of_a_folder(void **state)
{
    tern_err err = {0};
    tern_dir *d = opened(FOLDERS "qwen2/model.safetensors"), *whole = opened(FOLDERS "qwen2");
    (void)state;
    assert_int_equal(d->n_tensor, whole->n_tensor);
    tern_dir_close(d);
    tern_dir_close(whole);
    d = opened(FOLDERS "llama3-shards/model.safetensors.index.json");
    assert_non_null(tern_dir_tensor_find(d, "rope_freqs.weight"));
    tern_dir_close(d);
    d = NULL;
    if (tern_import_open(FOLDERS "llama3-shards/model-00002-of-00003.safetensors", NULL, &d,
                         &err) == TERN_OK) {
        assert_true(d->n_tensor < 21);
        tern_dir_close(d);
    }
    assert_false(tern_import_is_folder("tests/golden/models/llama.gguf"));
    assert_true(tern_import_is_folder(FOLDERS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configurations),    cmocka_unit_test(weights),
        cmocka_unit_test(keys_and_pooling),  cmocka_unit_test(windows),
        cmocka_unit_test(defaults),          cmocka_unit_test(conventions),
        cmocka_unit_test(files_of_a_folder),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
