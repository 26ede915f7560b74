/* Matrices that are some rows of one in the file: the same bits as from matrices of their own, whatever the
 * format, also when packed weights are kept between runs. */
#include "engine/engine.h"
#include "support/model.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { D = 256, FF = 128, KV = 128, N_ID = 9 };

/* Rows of a packed tensor; a tail belongs to the whole of it. */
typedef struct piece {
    const char *from, *to;
    size_t row0, n_row;
} piece;

static void cut(test_model *m, const piece *p, size_t rows, tern_dtype dt)
{
    char name[48];
    size_t tail = (size_t)tern_dtype_get(dt)->tail_bytes;
    for (int i = 0; i < m->shape.n_layer; i++) {
        (void)snprintf(name, sizeof name, "blk.%d.%s", i, p->from);
        const tern_str whole = test_model_tensor(m, name)->data; /* stays where it is */
        size_t row_bytes = (whole.len - tail) / rows;
        (void)snprintf(name, sizeof name, "blk.%d.%s", i, p->to);
        test_model_add(m, name, dt, p->n_row, D);
        tern_str *data = &m->tensors[m->n_tensor - 1].data;
        tern_str_clear(data);
        tern_str_put(data, whole.data + p->row0 * row_bytes, p->n_row * row_bytes);
        tern_str_put(data, whole.data + rows * row_bytes, tail);
    }
}

/* The same blocks without fused matrices: those of qwen3, whose norms per head may be absent. */
static void split(test_model *m, tern_dtype dt)
{
    static const piece qkv[] = {{"attn_qkv.weight", "attn_q.weight", 0, D},
                                {"attn_qkv.weight", "attn_k.weight", D, KV},
                                {"attn_qkv.weight", "attn_v.weight", D + KV, KV}};
    static const piece up = {"fused", "ffn_up.weight", FF, FF},
                       gate = {"fused", "ffn_gate.weight", 0, FF};
    char name[48];
    for (size_t i = 0; i < 3; i++)
        cut(m, &qkv[i], D + 2 * KV, dt);
    for (int i = 0; i < m->shape.n_layer; i++) {
        (void)snprintf(name, sizeof name, "blk.%d.attn_qkv.weight", i);
        test_model_drop(m, name);
        (void)snprintf(name, sizeof name, "blk.%d.ffn_up.weight", i);
        test_tensor *t = test_model_tensor(m, name);
        (void)snprintf(t->name, sizeof t->name, "blk.%d.fused", i);
    }
    cut(m, &gate, 2 * FF, dt);
    cut(m, &up, 2 * FF, dt);
    for (size_t i = 0; i < m->n_key; i++)
        if (strncmp(m->keys[i].name, "phi3.", 5) == 0) {
            char rest[80];
            memcpy(rest, m->keys[i].name + 4, sizeof rest - 4);
            (void)snprintf(m->keys[i].name, sizeof m->keys[i].name, "qwen3%.70s", rest);
        }
    test_model_key(m, "general.architecture", "u32:8 str:qwen3");
}

static float *logits_of(tern_model *m)
{
    static const int32_t ids[N_ID] = {1, 5, 9, 100, 200, 260, 7, 3, 30};
    tern_session *s;
    tern_err err;
    if (tern_session_new(m, NULL, &s, &err) || tern_session_eval(s, ids, N_ID, &err))
        fail_msg("%s", err.msg);
    float *x = malloc(TEST_MODEL_VOCAB * sizeof *x);
    assert_non_null(x);
    memcpy(x, tern_session_logits(s), TEST_MODEL_VOCAB * sizeof *x);
    tern_session_free(s);
    tern_model_close(m);
    return x;
}

static float *logits_in_memory(test_model *m)
{
    tern_model *opened;
    tern_err err;
    if (test_model_open(m, &opened, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return logits_of(opened);
}

static float *logits_kept(const char *path, const char *dir, tern_packing expected)
{
    tern_model *opened;
    tern_model_opts o;
    tern_err err;
    tern_model_opts_init(&o);
    o.n_thread = 1;
    o.cache_dir = dir;
    o.repack_cache = true;
    if (tern_model_open(path, &o, &opened, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(opened->packing, expected);
    return logits_of(opened);
}

static void expect(float *got, const float *want, tern_dtype dt, const char *where)
{
    if (memcmp(got, want, TEST_MODEL_VOCAB * sizeof *got) != 0)
        fail_msg("%s, %s: other bits", tern_dtype_get(dt)->name, where);
    free(got);
}

static void check(tern_dtype dt)
{
    char dir[] = "/tmp/tern-fused-XXXXXX", path[64];
    test_model m;
    uint64_t n_bytes;
    bool ternary = tern_dtype_get(dt)->cls == TERN_CLASS_TERNARY;
    test_model_init(&m, &(test_shape){.arch = "phi3",
                                      .d_model = D,
                                      .d_ff = FF,
                                      .n_head = 8,
                                      .n_kv_head = 4,
                                      .matrices = TERN_DT_F32});
    /* Only the fused ones have the format, so that the others need not fit it. */
    for (int i = 0; i < 2; i++) {
        char name[48];
        (void)snprintf(name, sizeof name, "blk.%d.attn_qkv.weight", i);
        test_model_drop(&m, name);
        test_model_add(&m, name, dt, D + 2 * KV, D);
        (void)snprintf(name, sizeof name, "blk.%d.ffn_up.weight", i);
        test_model_drop(&m, name);
        test_model_add(&m, name, dt, 2 * FF, D);
    }
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/m.gguf", dir);
    float *fused = logits_in_memory(&m);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(m.file.data, 1, m.file.len, f), m.file.len);
    assert_int_equal(fclose(f), 0);
    if (ternary) {
        expect(logits_kept(path, dir, TERN_PACKING_MADE), fused, dt, "packed");
        expect(logits_kept(path, dir, TERN_PACKING_FOUND), fused, dt, "packed before");
    }
    split(&m, dt);
    expect(logits_in_memory(&m), fused, dt, "split");
    free(fused);
    assert_int_equal(tern_cache_clear(dir, &n_bytes, NULL), TERN_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
    test_model_done(&m);
}

static void test_rows_are_matrices(void **state)
{
    (void)state;
    static const tern_dtype types[] = {TERN_DT_F32,   TERN_DT_F16,    TERN_DT_Q8_0,
                                       TERN_DT_Q4_0,  TERN_DT_I2_S,   TERN_DT_TQ2_0,
                                       TERN_DT_TQ1_0, TERN_DT_IQ2_BN, TERN_DT_Q2_0};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        check(types[i]);
}

/* Four rows share the bytes of a block: only whole blocks can be cut out. */
static void test_a_block_of_rows_stays_whole(void **state)
{
    (void)state;
    uint8_t data[16 * 8 / 4 + 32] = {0};
    tern_tensor t = {.dtype = TERN_DT_I2_S_ROWS4,
                     .n_dim = 2,
                     .ne = {8, 16, 1, 1},
                     .data = data,
                     .bytes = sizeof data},
                view;
    assert_false(tern_tensor_view(&t, 2, 4, &view));
    assert_false(tern_tensor_view(&t, 4, 2, &view));
    assert_false(tern_tensor_view(&t, 4, 16, &view));
    assert_false(tern_tensor_view(&t, 20, 0, &view));
    assert_true(tern_tensor_view(&t, 4, 8, &view));
    assert_ptr_equal(view.data, data + 8);
    assert_int_equal(view.bytes, 16);
    assert_ptr_equal(view.data + view.tail, data + 32);
    tern_tensor inner;
    assert_true(tern_tensor_view(&view, 4, 4, &inner));
    assert_ptr_equal(inner.data, data + 16);
    assert_ptr_equal(inner.data + inner.tail, data + 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_matrices),
        cmocka_unit_test(test_a_block_of_rows_stays_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
