/* The numeric contract: one to sixteen threads give the same bits, reading and generating, alone and side by
 * side; of ternary matrices, of floats and of Q8_0. There may be fewer CPUs than threads. */
#include "support/bits.h"
#include "support/model.h"
#include "support/support.h"

#include <string.h>

#define MAX_THREAD 16
#define N_LINE     3
#define N_PROMPT   40
#define N_TOK      16

typedef tern_model *(*open_fn)(test_model *file, int n_thread);

static tern_model *open_ternary(test_model *file, int n_thread)
{
    (void)file;
    return test_model_file("models/tern-stories.gguf", n_thread, TERN_HEAD_AUTO);
}

static tern_model *open_float(test_model *file, int n_thread)
{
    (void)file;
    return test_model_file("models/test/stories260K.gguf", n_thread, TERN_HEAD_AUTO);
}

static tern_model *open_q8(test_model *file, int n_thread)
{
    tern_model *m;
    tern_err err = {0};
    tern_model_opts o;
    tern_model_opts_init(&o);
    o.n_thread = n_thread;
    o.strict = true;
    if (tern_model_open_memory(file->file.data, file->file.len, "q8", &o, &m, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return m;
}

/* What a model says: lines side by side, one of them alone as well, and that one read at once. */
typedef struct sayings {
    test_bits lines[N_LINE], alone;
    uint64_t read;
} sayings;

static void say(tern_model *m, sayings *s)
{
    static int32_t prompt[N_LINE][N_PROMPT];
    tern_err err = {0};
    for (int i = 0; i < N_LINE; i++) {
        for (int j = 0; j < N_PROMPT; j++)
            prompt[i][j] = 3 + (j * (7 + i) + 31 * i) % 250;
        test_bits_init(&s->lines[i], prompt[i], N_PROMPT, N_TOK);
    }
    s->lines[N_LINE - 1].gen.temp = 1.0f;
    s->alone = s->lines[0];
    if (test_bits_generate(m, s->lines, N_LINE, &err) != TERN_OK ||
        test_bits_generate(m, &s->alone, 1, &err) != TERN_OK ||
        test_bits_read(m, &s->alone, &s->read, &err) != TERN_OK)
        fail_msg("%s", err.msg);
}

static void same(const test_bits *a, const test_bits *b, const char *what, int n_thread)
{
    if (memcmp(a->ids, b->ids, sizeof a->ids) != 0 || a->logits != b->logits)
        fail_msg("%d threads: other bits %s", n_thread, what);
}

static void check(open_fn open, test_model *file)
{
    static sayings one, more;
    tern_model *m = open(file, 1);
    say(m, &one);
    tern_model_close(m);
    same(&one.lines[0], &one.alone, "side by side", 1);
    assert_true(one.alone.logits == one.read);
    for (int n = 2; n <= MAX_THREAD; n++) {
        tern_model_info info = {.size = sizeof info};
        m = open(file, n);
        tern_model_info_get(m, &info);
        assert_int_equal(info.n_thread, n);
        say(m, &more);
        tern_model_close(m);
        for (int i = 0; i < N_LINE; i++)
            same(&one.lines[i], &more.lines[i], "side by side", n);
        same(&one.alone, &more.alone, "alone", n);
        if (one.read != more.read)
            fail_msg("%d threads: other bits in a long text", n);
    }
}

static void test_ternary(void **state)
{
    (void)state;
    check(open_ternary, NULL);
}

static void test_float(void **state)
{
    (void)state;
    check(open_float, NULL);
}

static void test_q8(void **state)
{
    (void)state;
    test_model file;
    test_model_init(&file, &(test_shape){.d_model = 256,
                                         .d_ff = 512,
                                         .n_head = 4,
                                         .n_kv_head = 2,
                                         .matrices = TERN_DT_Q8_0,
                                         .embed = TERN_DT_Q8_0,
                                         .head = true});
    test_model_write(&file);
    check(open_q8, &file);
    test_model_done(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ternary),
        cmocka_unit_test(test_float),
        cmocka_unit_test(test_q8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
