/* Every allocation from opening a model to its last word fails in turn: TERN_E_NOMEM each time, no
 * leak, and what was open before goes on working. */
#include "base/alloc.h"
#include "support/fault.h"
#include "support/model.h"
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#define MESSAGES "[{\"role\":\"user\",\"content\":\"ab\"}]"

static tern_code open_model(void *ctx, tern_err *err)
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

static void sweep(test_fault_fn fn, void *ctx, int least)
{
    for (int mode = TEST_FAULT_ONCE; mode <= TEST_FAULT_FROM; mode++) {
        int n = test_fault_sweep(fn, ctx, (test_fault_mode)mode, 5000);
        if (n < least)
            fail_msg("only %d allocations", n);
    }
}

static void test_opening(void **state)
{
    (void)state;
    static const test_shape shapes[] = {
        {.arch = "bitnet", .n_layer = 1, .d_model = 256, .d_ff = 256, .matrices = TERN_DT_TQ2_0},
        {.arch = "llama", .n_layer = 1, .d_model = 256, .d_ff = 256, .matrices = TERN_DT_Q1_0},
        {.arch = "qwen3", .n_layer = 2, .head = true},
        {.arch = "phi3", .n_layer = 1, .d_model = 256, .d_ff = 256, .matrices = TERN_DT_TQ2_0},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        test_model m;
        test_model_init(&m, &shapes[i]);
        test_model_key(&m, "tokenizer.chat_template",
                       "u32:8 str:{%for\\x20m\\x20in\\x20messages%}{{m.content}}{%endfor%}");
        test_model_write(&m);
        sweep(open_model, &m, 20);
        test_model_done(&m);
    }
}

/* Two threads: the workers allocate nothing, so the count is the same each time. */
static tern_code open_file(void *ctx, tern_err *err)
{
    tern_model *opened;
    tern_model_opts o;
    tern_model_opts_init(&o);
    o.n_thread = 2;
    tern_code rc = tern_model_open(ctx, &o, &opened, err);
    if (rc == TERN_OK)
        tern_model_close(opened);
    return rc;
}

static void test_opening_a_file_with_threads(void **state)
{
    (void)state;
    char path[] = "tests/golden/models/bitnet-25-tq2.gguf";
    char windowed[] = "tests/golden/models/gemma3.gguf";
    sweep(open_file, path, 20);
    sweep(open_file, windowed, 20);
}

/* ---- an open model ------------------------------------------------------------------------ */

static tern_code describe(void *ctx, tern_err *err)
{
    char *text;
    tern_code rc = tern_model_describe(ctx, &text, err);
    tern_string_free(text);
    return rc;
}

static tern_code tokenize(void *ctx, tern_err *err)
{
    int32_t ids[300];
    char text[250];
    size_t n;
    memset(text, 'a', sizeof text);
    return tern_model_tokenize(ctx, text, sizeof text, TERN_TOKENIZE_ADD_SPECIAL, ids, 300, &n,
                               err);
}

static tern_code detokenize(void *ctx, tern_err *err)
{
    int32_t ids[300];
    char *text;
    size_t n;
    for (int i = 0; i < 300; i++)
        ids[i] = 3 + i % 256;
    tern_code rc = tern_model_detokenize(ctx, ids, 300, true, &text, &n, err);
    tern_string_free(text);
    return rc;
}

static tern_code chat_prompt(void *ctx, tern_err *err)
{
    char *text;
    size_t n;
    tern_code rc = tern_model_chat_prompt(ctx, MESSAGES, "{\"tools\":[]}", true, &text, &n, err);
    tern_string_free(text);
    return rc;
}

static tern_code new_session(void *ctx, tern_err *err)
{
    tern_session *s;
    tern_code rc = tern_session_new(ctx, NULL, &s, err);
    if (rc == TERN_OK)
        tern_session_free(s);
    return rc;
}

/* A text of two pages, and one that begins while it is read. */
static tern_code embed(void *ctx, tern_err *err)
{
    int32_t ids[100];
    float out[2 * 64];
    const tern_embed_text texts[] = {{ids, 100}, {ids + 7, 3}};
    for (int i = 0; i < 100; i++)
        ids[i] = i % TEST_MODEL_VOCAB;
    return tern_model_embed(ctx, texts, 2, NULL, out, err);
}

/* ---- a session that lives through it ------------------------------------------------------ */

static const int32_t prompt[] = {1, 68, 69, 70, 71, 72, 73, 74};
#define N_PROMPT 8

/* 300 tokens: pages, and tables that grow. */
static tern_code evaluate(void *ctx, tern_err *err)
{
    int32_t ids[300];
    for (int i = 0; i < 300; i++)
        ids[i] = i % TEST_MODEL_VOCAB;
    tern_session_rewind(ctx, 0);
    tern_code rc = tern_session_eval(ctx, ids, 300, err);
    size_t n;
    (void)tern_session_tokens(ctx, &n);
    assert_int_equal(n, rc == TERN_OK ? 300 : 0);
    return rc;
}

static tern_code answer(tern_session *s, int32_t *ids, tern_err *err)
{
    static const char *const stop[] = {"never"};
    static const tern_token_bias bias[] = {{5, -1.0f}};
    tern_gen_opts o;
    tern_request *r;
    tern_event ev;
    tern_gen_opts_init(&o);
    o.n_predict = 6;
    o.stop = stop;
    o.n_stop = 1;
    o.bias = bias;
    o.n_bias = 1;
    o.repeat_penalty = 1.2f;
    o.ignore_eos = true;
    o.show_special = true;
    o.seed = 1;
    tern_code rc = tern_request_new(s, prompt, N_PROMPT, &o, &r, err);
    if (rc != TERN_OK)
        return rc;
    for (int i = 0; i < 6 && rc == TERN_OK; i++) {
        rc = tern_request_next(r, &ev, err);
        if (rc == TERN_OK)
            ids[i] = ev.id;
    }
    tern_request_free(r);
    return rc;
}

typedef struct survivor {
    tern_session *s;
    int32_t want[6];
} survivor;

static tern_code request(void *ctx, tern_err *err)
{
    survivor *v = ctx;
    int32_t ids[6];
    tern_session_rewind(v->s, 0);
    tern_code rc = answer(v->s, ids, err);
    if (rc == TERN_OK)
        assert_memory_equal(ids, v->want, sizeof ids);
    return rc;
}

static void test_an_open_model(void **state)
{
    (void)state;
    test_model m;
    tern_model *opened;
    tern_err err;
    survivor v;
    test_model_init(&m, &(test_shape){.n_ctx = 400});
    test_model_key(&m, "tokenizer.chat_template",
                   "u32:8 str:{%for\\x20m\\x20in\\x20messages%}{{m.content}}{%endfor%}");
    assert_int_equal(test_model_open(&m, &opened, &err), TERN_OK);
    sweep(describe, opened, 1);
    sweep(tokenize, opened, 2);
    sweep(detokenize, opened, 2);
    sweep(chat_prompt, opened, 2);
    sweep(new_session, opened, 3);
    sweep(embed, opened, 8);

    assert_int_equal(tern_session_new(opened, NULL, &v.s, &err), TERN_OK);
    assert_int_equal(answer(v.s, v.want, &err), TERN_OK);
    sweep(evaluate, v.s, 10);
    sweep(request, &v, 8);
    int32_t again[6];
    assert_int_equal(answer(v.s, again, &err), TERN_OK);
    assert_memory_equal(again, v.want, sizeof again);
    tern_session_free(v.s);
    tern_model_close(opened);
    test_model_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opening),
        cmocka_unit_test(test_opening_a_file_with_threads),
        cmocka_unit_test(test_an_open_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
