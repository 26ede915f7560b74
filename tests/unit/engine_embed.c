/* Texts to vectors: those of transformers for the tiny checkpoints of tests/golden/models, and the same bits
 * whoever else is read and by however many threads. */
#include "support/model.h"
#include "support/support.h"
#include "tern.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "tests/golden/models/"

/* What make.py pools: of each text the mean, the first and the last row. */
static const size_t lengths[] = {1, 5, 23, 64};
enum { N_TEXT = 4, N_POOL = 3, N_POS = 64 };
static const tern_pooling poolings[N_POOL] = {TERN_POOLING_MEAN, TERN_POOLING_CLS,
                                              TERN_POOLING_LAST};

static tern_model *open_file(const char *name, int n_thread)
{
    char path[128];
    tern_err err;
    tern_model *m;
    tern_model_opts o;
    tern_model_opts_init(&o);
    o.n_thread = n_thread;
    (void)snprintf(path, sizeof path, FOLDER "%s.gguf", name);
    if (tern_model_open(path, &o, &m, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return m;
}

static size_t width(const tern_model *m)
{
    tern_model_info info = {.size = sizeof info};
    tern_model_info_get(m, &info);
    return (size_t)info.d_model;
}

static void *read_exactly(const char *name, const char *ext, size_t bytes)
{
    char path[128];
    size_t n = 0;
    (void)snprintf(path, sizeof path, FOLDER "%s.%s", name, ext);
    uint8_t *p = test_read_file(path, &n);
    assert_non_null(p);
    assert_int_equal(n, bytes);
    return p;
}

static float *embed(tern_model *m, const tern_embed_text *texts, size_t n, const tern_embed_opts *o)
{
    tern_err err;
    float *out = malloc(n * width(m) * sizeof *out);
    assert_non_null(out);
    if (tern_model_embed(m, texts, n, o, out, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return out;
}

/* As model_golden.c has it: two blocks with an f32 cache, of float matrices or int8 inputs. */
static const struct {
    const char *name;
    double bound;
    tern_pooling in_file;
} cases[] = {
    {"qwen3-both-ways", 0x1p-12, TERN_POOLING_LAST},
    {"qwen3-norm-in", 0x1p-5, TERN_POOLING_MEAN},
    {"gemma3-norm-in", 0x1p-5, TERN_POOLING_MEAN},
};
#define N_CASE (sizeof cases / sizeof cases[0])

static void test_vectors_equal_transformers(void **state)
{
    (void)state;
    for (size_t c = 0; c < N_CASE; c++) {
        tern_model *m = open_file(cases[c].name, 2);
        size_t d = width(m);
        int32_t *ids = read_exactly(cases[c].name, "ids", N_POS * sizeof *ids);
        float *want = read_exactly(cases[c].name, "embed", sizeof(float) * N_TEXT * N_POOL * d);
        tern_embed_text texts[N_TEXT];
        tern_embed_opts o;
        double largest = 0, diff = 0;
        for (size_t i = 0; i < N_TEXT; i++)
            texts[i] = (tern_embed_text){ids, lengths[i]};
        for (size_t i = 0; i < N_TEXT * N_POOL * d; i++)
            largest = fmax(largest, fabs((double)want[i]));
        for (size_t p = 0; p < N_POOL; p++) {
            tern_embed_opts_init(&o);
            o.pooling = poolings[p];
            o.normalize = false;
            o.cache_k = o.cache_v = TERN_CACHE_F32;
            float *got = embed(m, texts, N_TEXT, &o);
            for (size_t i = 0; i < N_TEXT; i++)
                for (size_t j = 0; j < d; j++)
                    diff = fmax(diff, fabs((double)got[i * d + j] -
                                           (double)want[(i * N_POOL + p) * d + j]));
            free(got);
        }
        print_message("%-16s max difference %.2e of %.2f\n", cases[c].name, diff, largest);
        assert_true(diff <= cases[c].bound * largest);
        free(want);
        free(ids);
        tern_model_close(m);
    }
}

static void test_the_file_names_the_pooling(void **state)
{
    (void)state;
    for (size_t c = 0; c < N_CASE; c++) {
        tern_model *m = open_file(cases[c].name, 1);
        tern_model_info info = {.size = sizeof info};
        static const int32_t ids[] = {5, 80, 200, 7};
        const tern_embed_text text = {ids, 4};
        tern_embed_opts o;
        tern_model_info_get(m, &info);
        assert_int_equal(info.pooling, cases[c].in_file);
        tern_embed_opts_init(&o);
        assert_int_equal(o.pooling, TERN_POOLING_AUTO);
        float *by_file = embed(m, &text, 1, &o);
        o.pooling = cases[c].in_file;
        float *named = embed(m, &text, 1, &o), *none = embed(m, &text, 1, NULL);
        assert_memory_equal(by_file, named, width(m) * sizeof *named);
        assert_memory_equal(by_file, none, width(m) * sizeof *none);
        free(by_file);
        free(named);
        free(none);
        tern_model_close(m);
    }
}

static void test_length_is_one(void **state)
{
    (void)state;
    tern_model *m = open_file("qwen3-norm-in", 1);
    static const int32_t ids[] = {5, 80, 200, 7};
    const tern_embed_text text = {ids, 4};
    size_t d = width(m);
    tern_embed_opts o;
    tern_embed_opts_init(&o);
    float *unit = embed(m, &text, 1, &o);
    o.normalize = false;
    float *plain = embed(m, &text, 1, &o);
    double uu = 0, pp = 0, up = 0;
    for (size_t i = 0; i < d; i++) {
        uu += (double)unit[i] * (double)unit[i];
        pp += (double)plain[i] * (double)plain[i];
        up += (double)unit[i] * (double)plain[i];
    }
    assert_true(fabs(uu - 1) < 1e-6); /* d roundings of 2^-25 each */
    assert_true(fabs(up / sqrt(pp) - 1) < 1e-6);
    assert_true(pp > 2);
    free(unit);
    free(plain);
    tern_model_close(m);
}

/* ---- company ------------------------------------------------------------------------------- */

enum { N_MANY = 150 };

/* More texts than are read at a time, from one token to half a pass. */
static void many_texts(tern_embed_text *texts, int32_t *ids)
{
    uint32_t seed = 3;
    for (int i = 0; i < 256; i++)
        ids[i] = (int32_t)(test_rand(&seed) % 256);
    for (size_t i = 0; i < N_MANY; i++) {
        size_t n = i % 5 == 0 ? 1 : 1 + test_rand(&seed) % 127;
        texts[i] = (tern_embed_text){ids + test_rand(&seed) % (256 - n), n};
    }
}

static void test_company_changes_no_bit(void **state)
{
    (void)state;
    for (size_t c = 0; c < N_CASE; c++)
        for (int cache = TERN_CACHE_AUTO; cache <= TERN_CACHE_F32; cache++) {
            int32_t ids[256];
            tern_embed_text texts[N_MANY];
            tern_embed_opts o;
            tern_embed_opts_init(&o);
            o.cache_k = o.cache_v = (tern_cache_type)cache;
            many_texts(texts, ids);
            tern_model *alone = open_file(cases[c].name, 1), *many = open_file(cases[c].name, 3);
            size_t d = width(alone);
            float *all = embed(many, texts, N_MANY, &o);
            for (size_t i = 0; i < N_MANY; i++) {
                float *one = embed(alone, &texts[i], 1, &o);
                if (memcmp(one, all + i * d, d * sizeof *one) != 0)
                    fail_msg("%s, text %zu of %zu tokens: other bits", cases[c].name, i,
                             texts[i].n_tok);
                free(one);
            }
            free(all);
            tern_model_close(alone);
            tern_model_close(many);
        }
}

/* A window, a fused file, a long text in several passes: what rows of a session are is what is pooled. */
static void test_any_model_makes_vectors(void **state)
{
    (void)state;
    static const char *const names[] = {"gemma3", "mistral", "phi3-longrope", "bitnet-25-tq2"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        tern_model *m = open_file(names[i], 2);
        tern_model_info info = {.size = sizeof info};
        int32_t ids[600];
        tern_embed_opts o;
        tern_model_info_get(m, &info);
        assert_int_equal(info.pooling, TERN_POOLING_AUTO);
        tern_embed_opts_init(&o);
        o.n_ctx = 600;
        for (int k = 0; k < 600; k++)
            ids[k] = k * 7 % 256;
        const tern_embed_text texts[] = {{ids, 600}, {ids, 3}, {ids + 1, 599}};
        float *all = embed(m, texts, 3, &o), *one = embed(m, &texts[2], 1, &o);
        assert_memory_equal(all + 2 * width(m), one, width(m) * sizeof *one);
        for (size_t k = 0; k < 3 * width(m); k++)
            assert_true(isfinite(all[k]));
        free(all);
        free(one);
        tern_model_close(m);
    }
}

/* ---- refusals ------------------------------------------------------------------------------ */

static void refuse(tern_model *m, const tern_embed_text *text, const tern_embed_opts *o,
                   tern_code code, const char *says)
{
    static const int32_t fine[] = {1, 2};
    const tern_embed_text texts[] = {{fine, 2}, *text};
    tern_err err = {0};
    float out[2 * 512];
    assert_true(width(m) <= 512);
    assert_int_equal(tern_model_embed(m, texts, 2, o, out, &err), code);
    if (!strstr(err.msg, says))
        fail_msg("'%s' lacks '%s'", err.msg, says);
    assert_int_equal(tern_model_embed(m, texts, 2, o, out, NULL), code);
    assert_int_equal(tern_model_embed(m, texts, 1, NULL, out, &err), TERN_OK); /* as good as new */
}

static bool stop_at_5(void *ctx, size_t done, size_t total)
{
    (void)ctx;
    assert_int_equal(total, N_MANY);
    return done < 5;
}

static void test_what_cannot_be_done_is_refused(void **state)
{
    (void)state;
    int32_t ids[300] = {0};
    tern_embed_opts o;
    tern_model *m = open_file("qwen3-norm-in", 2);
    tern_embed_opts_init(&o);
    refuse(m, &(tern_embed_text){ids, 0}, &o, TERN_E_USAGE, "text 2 has no tokens");
    refuse(m, &(tern_embed_text){ids, 129}, &o, TERN_E_LIMIT,
           "text 2 is too long: 129 tokens, the context holds 128");
    o.n_ctx = 7;
    refuse(m, &(tern_embed_text){ids, 8}, &o, TERN_E_LIMIT, "8 tokens, the context holds 7");
    ids[3] = 264;
    refuse(m, &(tern_embed_text){ids, 7}, &o, TERN_E_USAGE, "text 2: token 3 is id 264");
    ids[3] = -1;
    refuse(m, &(tern_embed_text){ids, 7}, &o, TERN_E_USAGE, "text 2: token 3 is id -1");
    ids[3] = 0;
    o.n_ctx = -1;
    refuse(m, &(tern_embed_text){ids, 7}, &o, TERN_E_USAGE, "context -1");
    o.n_ctx = 0;
    o.pooling = (tern_pooling)4;
    refuse(m, &(tern_embed_text){ids, 7}, &o, TERN_E_USAGE, "pooling 4");
    o.pooling = TERN_POOLING_AUTO;
    o.cache_k = (tern_cache_type)9;
    refuse(m, &(tern_embed_text){ids, 7}, &o, TERN_E_USAGE, "cache type 9");
    o.cache_k = TERN_CACHE_AUTO;
    o.progress = stop_at_5;
    int32_t many_ids[256];
    tern_embed_text texts[N_MANY];
    tern_err err;
    many_texts(texts, many_ids);
    float *out = malloc(N_MANY * width(m) * sizeof *out);
    assert_non_null(out);
    assert_int_equal(tern_model_embed(m, texts, N_MANY, &o, out, &err), TERN_E_CANCELLED);
    assert_int_equal(tern_model_embed(m, NULL, 0, NULL, NULL, &err), TERN_OK);
    assert_int_equal(tern_model_embed(m, texts, N_MANY, NULL, NULL, &err), TERN_OK);
    texts[N_MANY - 1].n_tok = 0;
    assert_int_equal(tern_model_embed(m, texts, N_MANY, NULL, NULL, &err), TERN_E_USAGE);
    assert_non_null(strstr(err.msg, "text 150 has no tokens"));
    free(out);
    tern_model_close(m);
}

static void test_both_ways_a_text_is_one_pass(void **state)
{
    (void)state;
    int32_t ids[2100] = {0};
    tern_embed_opts o;
    tern_err err;
    tern_session *s;
    tern_model *m = open_file("qwen3-both-ways", 2);
    tern_embed_opts_init(&o);
    o.n_ctx = 2100;
    float *one = embed(m, &(tern_embed_text){ids, 2048}, 1, &o);
    free(one);
    refuse(m, &(tern_embed_text){ids, 2049}, &o, TERN_E_LIMIT,
           "2049 tokens, at most 2048 where attention goes both ways");
    assert_int_equal(tern_session_new(m, NULL, &s, &err), TERN_OK);
    assert_int_equal(tern_session_eval(s, ids, 5, &err), TERN_OK);
    assert_int_equal(tern_session_eval(s, ids, 1, &err), TERN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "both ways"));
    tern_session_rewind(s, 0);
    assert_int_equal(tern_session_eval(s, ids, 5, &err), TERN_OK);
    tern_session_free(s);
    tern_model_close(m);
}

static void test_ranking_models_need_a_name(void **state)
{
    (void)state;
    test_model t;
    tern_model *m;
    tern_err err;
    float out[64];
    static const int32_t ids[] = {4, 5};
    tern_embed_opts o;
    test_model_init(&t, &(test_shape){.n_layer = 1});
    test_model_key(&t, ".pooling_type", "u32:4 u32:4");
    assert_int_equal(test_model_open(&t, &m, &err), TERN_OK);
    tern_embed_opts_init(&o);
    assert_int_equal(tern_model_embed(m, &(tern_embed_text){ids, 2}, 1, &o, out, &err),
                     TERN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "llama.pooling_type is 4"));
    o.pooling = TERN_POOLING_CLS;
    assert_int_equal(tern_model_embed(m, &(tern_embed_text){ids, 2}, 1, &o, out, &err), TERN_OK);
    tern_model_close(m);
    test_model_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors_equal_transformers),
        cmocka_unit_test(test_the_file_names_the_pooling),
        cmocka_unit_test(test_length_is_one),
        cmocka_unit_test(test_company_changes_no_bit),
        cmocka_unit_test(test_any_model_makes_vectors),
        cmocka_unit_test(test_what_cannot_be_done_is_refused),
        cmocka_unit_test(test_both_ways_a_text_is_one_pass),
        cmocka_unit_test(test_ranking_models_need_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
