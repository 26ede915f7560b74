/* Watching what matrices are multiplied with: every row of every matrix once, whatever the pass, and
 * nothing else changes. */
#include "support/model.h"
#include "support/support.h"

#include <string.h>

#define MAX_NAME 64
#define N_TOK    40

typedef struct seen {
    const char *name[MAX_NAME];
    uint64_t hash[MAX_NAME]; /* over the rows, in order */
    int n_row[MAX_NAME], n_col[MAX_NAME];
    int n;
} seen;

static void see(void *ctx, const tern_matrix_input *in)
{
    seen *s = ctx;
    int i = 0;
    while (i < s->n && strcmp(s->name[i], in->name) != 0)
        i++;
    assert_true(i < MAX_NAME);
    if (i == s->n) {
        s->n++;
        s->name[i] = in->name;
        s->hash[i] = 0xcbf29ce484222325u;
        s->n_col[i] = in->n_col;
    }
    assert_int_equal(s->n_col[i], in->n_col);
    s->n_row[i] += in->n_row;
    for (int t = 0; t < in->n_row; t++)
        for (int k = 0; k < in->n_col; k++) {
            uint32_t u;
            memcpy(&u, in->x + (size_t)t * in->stride + k, sizeof u);
            s->hash[i] = (s->hash[i] ^ u) * 0x100000001b3u;
        }
}

static int find(const seen *s, const char *name)
{
    for (int i = 0; i < s->n; i++)
        if (strcmp(s->name[i], name) == 0)
            return i;
    fail_msg("%s was not seen", name);
    return 0;
}

static void ignore_row(void *ctx, int row, const float *logits)
{
    (void)ctx;
    (void)row;
    (void)logits;
}

/* `rows` tokens a pass. */
static void evaluate(tern_model *m, const int32_t *ids, size_t rows, bool all, uint64_t *last)
{
    tern_session *s;
    tern_err err = {0};
    tern_model_info info = {.size = sizeof info};
    tern_model_info_get(m, &info);
    assert_int_equal(tern_session_new(m, NULL, &s, &err), TERN_OK);
    for (size_t i = 0; i < N_TOK; i += rows)
        assert_int_equal(all ? tern_session_eval_all(s, ids + i, rows, ignore_row, NULL, &err)
                             : tern_session_eval(s, ids + i, rows, &err),
                         TERN_OK);
    const float *v = tern_session_logits(s);
    *last = 0xcbf29ce484222325u;
    for (int i = 0; i < info.n_vocab; i++) {
        uint32_t u;
        memcpy(&u, &v[i], sizeof u);
        *last = (*last ^ u) * 0x100000001b3u;
    }
    tern_session_free(s);
}

/* A ternary model whose zeros are skipped where nobody looks. */
static void test_every_row_once(void **state)
{
    (void)state;
    tern_model *m;
    tern_model_opts o;
    tern_err err = {0};
    seen alone = {0}, together = {0};
    uint64_t plain, watched, after;
    int32_t ids[N_TOK];
    for (int i = 0; i < N_TOK; i++)
        ids[i] = 3 + 11 * i;
    tern_model_opts_init(&o);
    o.ffn_sparse = TERN_FFN_SPARSE_ON;
    o.n_thread = 2;
    assert_int_equal(tern_model_open("models/tern-stories.gguf", &o, &m, &err), TERN_OK);
    evaluate(m, ids, 1, false, &plain);
    tern_model_watch(m, see, &alone);
    evaluate(m, ids, 1, false, &watched);
    assert_int_equal(watched, plain);
    tern_model_watch(m, see, &together);
    evaluate(m, ids, N_TOK, false, &watched);
    assert_int_equal(watched, plain);
    tern_model_watch(m, NULL, NULL);
    evaluate(m, ids, 1, false, &after);
    assert_int_equal(after, plain);

    tern_model_info info = {.size = sizeof info};
    tern_model_info_get(m, &info);
    for (int i = 0; i < together.n; i++) {
        if (strncmp(together.name[i], "blk.", 4) != 0)
            continue;
        int j = find(&alone, together.name[i]);
        assert_int_equal(together.n_row[i], N_TOK);
        assert_int_equal(alone.n_row[j], N_TOK);
        assert_int_equal(alone.hash[j], together.hash[i]);
    }
    const seen *s = &together;
    int q = find(s, "blk.1.attn_q.weight"), gate = find(s, "blk.1.ffn_gate.weight"),
        down = find(s, "blk.1.ffn_down.weight");
    assert_int_equal(s->hash[q], s->hash[find(s, "blk.1.attn_k.weight")]);
    assert_int_equal(s->hash[q], s->hash[find(s, "blk.1.attn_v.weight")]);
    assert_int_equal(s->hash[gate], s->hash[find(s, "blk.1.ffn_up.weight")]);
    assert_true(s->hash[q] != s->hash[gate]);
    assert_true(s->hash[q] != s->hash[find(s, "blk.0.attn_q.weight")]);
    assert_true(s->hash[q] != s->hash[find(s, "blk.1.attn_output.weight")]);
    assert_int_equal(s->n_col[down], info.d_ff);
    assert_int_equal(s->n_col[gate], info.d_model);
    tern_model_close(m);
}

/* What the file has joined is told once; the head where all logits are computed, in both its ways. */
static void test_joined_and_head(void **state)
{
    (void)state;
    int32_t ids[N_TOK];
    for (int i = 0; i < N_TOK; i++)
        ids[i] = 3 + i;
    for (int low = 0; low < 2; low++) {
        test_model f;
        tern_model *m;
        tern_model_opts o;
        tern_err err = {0};
        seen s = {0};
        uint64_t last;
        test_model_init(&f, &(test_shape){.arch = "phi3"});
        test_model_write(&f);
        tern_model_opts_init(&o);
        o.n_thread = 1;
        o.low_memory = low != 0;
        assert_int_equal(
            tern_model_open_memory(tern_str_get(&f.file), f.file.len, "phi3", &o, &m, &err),
            TERN_OK);
        tern_model_watch(m, see, &s);
        evaluate(m, ids, N_TOK / 2, true, &last);
        assert_int_equal(s.n_row[find(&s, "blk.0.attn_qkv.weight")], N_TOK);
        assert_int_equal(s.n_row[find(&s, "blk.1.ffn_up.weight")], N_TOK);
        assert_int_equal(s.n_row[find(&s, "blk.1.ffn_down.weight")], N_TOK);
        assert_int_equal(s.n_row[find(&s, "token_embd.weight")], N_TOK);
        assert_int_equal(s.n, 2 * 4 + 1);
        tern_model_close(m);
        test_model_done(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_once),
        cmocka_unit_test(test_joined_and_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
