/* Going through a text block by block: matrices see what they see when the model runs, also after one was
 * replaced. */
#include "model/walk.h"
#include "support/model.h"
#include "support/support.h"

#include <stdio.h>
#include <string.h>

#define N_CTX 300 /* more than a step has rows */
#define N_SEQ 2
#define N     (N_CTX * N_SEQ)
#define MAX   32

typedef struct seen {
    char name[MAX][48];
    uint64_t hash[MAX];
    int n;
} seen;

static void see(void *ctx, const tern_matrix_input *in)
{
    seen *s = ctx;
    int i = 0;
    while (i < s->n && strcmp(s->name[i], in->name) != 0)
        i++;
    if (strncmp(in->name, "blk.", 4) != 0)
        return;
    assert_true(i < MAX);
    if (i == s->n) {
        s->n++;
        s->hash[i] = 0xcbf29ce484222325u;
        (void)snprintf(s->name[i], sizeof s->name[i], "%s", in->name);
    }
    for (int t = 0; t < in->n_row; t++)
        for (int k = 0; k < in->n_col; k++) {
            uint32_t u;
            memcpy(&u, in->x + (size_t)t * in->stride + k, sizeof u);
            s->hash[i] = (s->hash[i] ^ u) * 0x100000001b3u;
        }
}

static uint64_t hash_of(const seen *s, const char *name)
{
    for (int i = 0; i < s->n; i++)
        if (strcmp(s->name[i], name) == 0)
            return s->hash[i];
    fail_msg("%s was not seen", name);
    return 0;
}

static void make_ids(int32_t *ids)
{
    uint32_t rng = 3;
    for (int i = 0; i < N; i++)
        ids[i] = (int32_t)(test_rand(&rng) % TEST_MODEL_VOCAB);
}

static void run_engine(test_model *f, seen *s)
{
    tern_model *m;
    tern_session *t;
    tern_session_opts so;
    tern_err err = {0};
    int32_t ids[N];
    make_ids(ids);
    if (test_model_open(f, &m, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    tern_session_opts_init(&so);
    so.n_ctx = N_CTX;
    so.cache_k = so.cache_v = TERN_CACHE_F32;
    assert_int_equal(tern_session_new(m, &so, &t, &err), TERN_OK);
    tern_model_watch(m, see, s);
    for (int i = 0; i < N_SEQ; i++) {
        tern_session_rewind(t, 0);
        assert_int_equal(tern_session_eval(t, ids + i * N_CTX, N_CTX, &err), TERN_OK);
    }
    tern_session_free(t);
    tern_model_close(m);
}

/* Blocks one after the other, each looked at before it is passed; those of `with` in their places. */
static void run_walk(test_model *f, const tern_dir *with, const char *const *names, seen *s)
{
    tern_dir *d;
    tern_pool *pool;
    tern_walk *w;
    tern_err err = {0};
    int32_t ids[N];
    make_ids(ids);
    test_model_write(f);
    assert_int_equal(tern_pool_new(2, &pool, &err), TERN_OK);
    assert_int_equal(
        tern_gguf_open_memory(tern_str_get(&f->file), f->file.len, "walk", NULL, &d, &err),
        TERN_OK);
    if (tern_walk_new(d, ids, N_SEQ, N_CTX, pool, &w, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    for (; names && *names; names++)
        assert_int_equal(tern_walk_replace(w, 0, tern_dir_tensor_find(with, *names), &err),
                         TERN_OK);
    for (int i = 0; i < tern_walk_n_layer(w); i++) {
        seen once = {0};
        assert_int_equal(tern_walk_block(w, i, false, see, &once, NULL, &err), TERN_OK);
        assert_int_equal(tern_walk_block(w, i, true, see, s, NULL, &err), TERN_OK);
        for (int k = 0; k < once.n; k++)
            assert_int_equal(once.hash[k], hash_of(s, once.name[k]));
    }
    tern_walk_free(w);
    tern_pool_free(pool);
    tern_dir_close(d);
}

static void compare(const seen *walk, const seen *engine, int skipped)
{
    assert_int_equal(walk->n, engine->n - skipped);
    for (int i = 0; i < walk->n; i++)
        if (walk->hash[i] != hash_of(engine, walk->name[i]))
            fail_msg("%s saw something else", walk->name[i]);
}

static void test_as_it_is(void **state)
{
    (void)state;
    static const char *const archs[] = {"llama", "qwen3", "gemma3", "phi3", "bitnet-b1.58"};
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++) {
        test_model f;
        seen engine = {0}, walk = {0};
        test_model_init(&f, &(test_shape){.arch = archs[i], .n_ctx = N_CTX});
        run_engine(&f, &engine);
        run_walk(&f, NULL, NULL, &walk);
        compare(&walk, &engine, 0);
        test_model_done(&f);
    }
}

/* A model with matrices in other formats, and the same ones put into the walk of another model. Of a joined
 * matrix what was put in tells nothing any more, so it is missing. */
static void test_replaced(void **state)
{
    (void)state;
    static const struct {
        const char *arch;
        const char *names[3];
        size_t rows[2];
        int skipped;
    } cases[] = {
        {"llama", {"blk.0.attn_v.weight", "blk.0.ffn_up.weight", NULL}, {64, 128}, 0},
        {"phi3", {"blk.0.attn_qkv.weight", "blk.0.ffn_up.weight", NULL}, {192, 256}, 2},
    };
    for (size_t i = 0; i < 2; i++) {
        test_model plain, other;
        tern_dir *d;
        tern_err err = {0};
        seen engine = {0}, walk = {0}, before = {0};
        const test_shape shape = {.arch = cases[i].arch, .n_ctx = N_CTX};
        test_model_init(&plain, &shape);
        test_model_init(&other, &shape);
        for (int k = 0; k < 2; k++) {
            test_model_drop(&other, cases[i].names[k]);
            test_model_add(&other, cases[i].names[k], TERN_DT_Q2_0, cases[i].rows[k], 64);
        }
        run_engine(&plain, &before);
        run_engine(&other, &engine);
        assert_int_equal(tern_gguf_open_memory(tern_str_get(&other.file), other.file.len, "other",
                                               NULL, &d, &err),
                         TERN_OK);
        run_walk(&plain, d, cases[i].names, &walk);
        compare(&walk, &engine, cases[i].skipped);
        assert_true(hash_of(&before, "blk.1.ffn_down.weight") !=
                    hash_of(&engine, "blk.1.ffn_down.weight"));
        tern_dir_close(d);
        test_model_done(&plain);
        test_model_done(&other);
    }
}

static void test_bad_ids(void **state)
{
    (void)state;
    test_model f;
    tern_dir *d;
    tern_pool *pool;
    tern_walk *w;
    tern_err err = {0};
    const int32_t ids[2] = {1, TEST_MODEL_VOCAB};
    test_model_init(&f, &(test_shape){0});
    test_model_write(&f);
    assert_int_equal(tern_pool_new(1, &pool, &err), TERN_OK);
    assert_int_equal(
        tern_gguf_open_memory(tern_str_get(&f.file), f.file.len, "walk", NULL, &d, &err), TERN_OK);
    assert_int_equal(tern_walk_new(d, ids, 1, 2, pool, &w, &err), TERN_E_USAGE);
    assert_null(w);
    tern_dir_close(d);
    tern_pool_free(pool);
    test_model_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_it_is),
        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_bad_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
