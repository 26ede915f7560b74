/* A screened head chooses what the whole head would, token by token, whatever the sampler.
 * TERN_TEST_LONG=1 makes it 24 seeds and more than 100,000 screened tokens; TERN_TEST_MODEL adds a model. */
#include "support/support.h"
#include "tern.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ID 512

static bool is_long(void)
{
    const char *s = getenv("TERN_TEST_LONG");
    return s && *s && strcmp(s, "0") != 0;
}

static tern_model *open_model(const char *path, tern_head_mode head)
{
    tern_model *m;
    tern_err err = {0};
    tern_model_opts o;
    tern_model_opts_init(&o);
    o.head = head;
    o.n_thread = 2;
    if (tern_model_open(path, &o, &m, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return m;
}

static tern_session *open_session(tern_model *m)
{
    tern_session *s;
    tern_err err = {0};
    tern_session_opts o;
    tern_session_opts_init(&o);
    o.n_ctx = MAX_ID;
    if (tern_session_new(m, &o, &s, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return s;
}

#define N_CHAIN 6
static void chain(int i, tern_gen_opts *o)
{
    static const tern_token_bias ban[] = {{5, -INFINITY}, {11, 1.5f}};
    tern_gen_opts_init(o);
    o->ignore_eos = true;
    switch (i) {
    case 0:
        o->temp = 0;
        break;
    case 1: /* the default */
        break;
    case 2: /* min-p alone, with penalties */
        o->top_k = 0;
        o->top_p = 1;
        o->repeat_penalty = 1.2f;
        o->frequency_penalty = 0.1f;
        break;
    case 3: /* the temperature alone */
        o->top_k = 0;
        o->top_p = 1;
        o->min_p = 0;
        break;
    case 4: /* all logits */
        o->top_k = 0;
        break;
    default:
        o->top_k = 200;
        o->typical_p = 0.8f;
        o->temp = 1.5f;
        o->bias = ban;
        o->n_bias = 2;
    }
}

static size_t generate(tern_session *s, const tern_gen_opts *o, int32_t *out, int n,
                       tern_request_stats *st)
{
    tern_request *r;
    tern_event ev = {0};
    tern_err err = {0};
    size_t n_id = 0;
    int32_t prompt[4] = {1, 40 + (int32_t)(o->seed % 50), 99, 200};
    tern_gen_opts all = *o;
    all.n_predict = n;
    tern_session_rewind(s, 0);
    if (tern_request_new(s, prompt, 4, &all, &r, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    while (ev.finish == TERN_FINISH_NONE) {
        if (tern_request_next(r, &ev, &err) != TERN_OK)
            fail_msg("%s", err.msg);
        if (ev.id >= 0)
            out[n_id++] = ev.id;
    }
    tern_request_stats_get(r, st);
    tern_request_free(r);
    return n_id;
}

static void hold_model(const char *path, int n_seed, int n)
{
    tern_model *full = open_model(path, TERN_HEAD_FULL), *some = open_model(path, TERN_HEAD_ALWAYS);
    tern_session *a = open_session(full), *b = open_session(some);
    tern_model_info info = {.size = sizeof info};
    static int32_t want[MAX_ID], got[MAX_ID];
    size_t n_id = 0;
    tern_model_info_get(full, &info);
    assert_int_equal(info.head_bytes, 0);
    info.size = sizeof info;
    tern_model_info_get(some, &info);
    assert_true(info.head_bytes > 0);
    for (int c = 0; c < N_CHAIN; c++) {
        tern_request_stats st, sum = {0};
        for (int seed = 0; seed < n_seed; seed++) {
            tern_gen_opts o;
            chain(c, &o);
            o.seed = (uint64_t)seed * 7919 + (uint64_t)c;
            size_t n_want = generate(a, &o, want, n, &st);
            assert_int_equal(st.n_screened, 0);
            assert_int_equal(generate(b, &o, got, n, &st), n_want);
            for (size_t i = 0; i < n_want; i++)
                if (want[i] != got[i])
                    fail_msg("%s: chain %d, seed %d: token %zu is %d, not %d", path, c, seed, i,
                             got[i], want[i]);
            n_id += n_want;
            sum.n_generated += st.n_generated;
            sum.n_screened += st.n_screened;
            sum.n_head_whole += st.n_head_whole;
            sum.n_head_row += st.n_head_row;
            if (st.max_head_row > sum.max_head_row)
                sum.max_head_row = st.max_head_row;
        }
        if (c == 4)
            assert_int_equal(sum.n_screened, 0);
        else
            assert_true(sum.n_screened > 0);
        if (is_long())
            print_message(
                "%s chain %d: %zu tokens, %zu screened, %zu of them whole, %.1f rows each, "
                "at most %zu\n",
                path, c, sum.n_generated, sum.n_screened, sum.n_head_whole,
                (double)sum.n_head_row / (double)(sum.n_screened ? sum.n_screened : 1),
                sum.max_head_row);
    }
    if (is_long())
        print_message("%s: %zu equal tokens\n", path, n_id);
    /* Logits asked for after a screened step are those of the whole head. */
    int32_t ids[] = {1, 60, 99};
    tern_err err = {0};
    tern_session_rewind(a, 0);
    tern_session_rewind(b, 0);
    assert_int_equal(tern_session_eval(a, ids, 3, &err), TERN_OK);
    assert_int_equal(tern_session_eval(b, ids, 3, &err), TERN_OK);
    assert_memory_equal(tern_session_logits(a), tern_session_logits(b),
                        (size_t)info.n_vocab * sizeof(float));
    tern_session_free(a);
    tern_session_free(b);
    tern_model_close(full);
    tern_model_close(some);
}

static void tokens_are_equal(void **state)
{
    (void)state;
    const char *more = getenv("TERN_TEST_MODEL");
    hold_model("models/tern-stories.gguf", is_long() ? 24 : 2, is_long() ? 480 : 40);
    hold_model("models/test/stories260K.gguf", is_long() ? 24 : 2, is_long() ? 480 : 60);
    if (more && *more)
        hold_model(more, is_long() ? 20 : 1, is_long() ? 100 : 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tokens_are_equal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
