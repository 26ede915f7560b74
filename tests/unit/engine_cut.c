/* A model whose file is cut while it runs: what runs fails within one token, nothing ends, other models and
 * the same one opened again go on (reliability: truncated while running). */
#include "base/os/map.h"
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char source[] = "tests/golden/models/llama.gguf";
static char path[] = "/tmp/tern-cut-XXXXXX";

static void write_whole(void)
{
    size_t n;
    uint8_t *data = test_read_file(source, &n);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    free(data);
}

static void open_both(const char *file, tern_model **m, tern_session **s)
{
    tern_err err;
    tern_model_opts o;
    tern_session_opts so;
    tern_model_opts_init(&o);
    o.n_thread = 2;
    tern_session_opts_init(&so);
    if (tern_model_open(file, &o, m, &err) != TERN_OK ||
        tern_session_new(*m, &so, s, &err) != TERN_OK)
        fail_msg("%s", err.msg);
}

static void test_cut(void **state)
{
    tern_model *m, *other, *again;
    tern_session *s, *t, *u;
    tern_err err = {0};
    tern_gen_opts o;
    tern_request *r;
    tern_event ev = {0};
    static const int32_t ids[] = {5, 6, 7};
    (void)state;
    tern_map_guard(); /* the test driver takes the signal before each test */
    write_whole();
    open_both(path, &m, &s);
    open_both(source, &other, &u);
    assert_int_equal(tern_session_eval(s, ids, 3, &err), TERN_OK);
    assert_non_null(tern_session_logits(s));
    assert_int_equal(truncate(path, 100), 0);

    assert_int_equal(tern_session_eval(s, ids, 3, &err), TERN_E_IO);
    assert_non_null(strstr(err.msg, "was cut short"));
    assert_null(tern_session_logits(s));
    size_t n_tok;
    (void)tern_session_tokens(s, &n_tok);
    assert_int_equal(n_tok, 3);
    tern_gen_opts_init(&o);
    o.n_predict = 4;
    assert_int_equal(tern_request_new(s, ids, 3, &o, &r, &err), TERN_OK);
    assert_int_equal(tern_request_next(r, &ev, &err), TERN_E_IO);
    tern_request_free(r);

    /* Nobody else notices; whole again, it opens again. */
    assert_int_equal(tern_session_eval(u, ids, 3, &err), TERN_OK);
    write_whole();
    open_both(path, &again, &t);
    assert_int_equal(tern_session_eval(t, ids, 3, &err), TERN_OK);
    assert_memory_equal(tern_session_logits(t), tern_session_logits(u), 264 * sizeof(float));
    assert_int_equal(tern_session_eval(s, ids, 1, &err), TERN_E_IO);
    tern_session_free(s);
    tern_session_free(t);
    tern_session_free(u);
    tern_model_close(m);
    tern_model_close(other);
    tern_model_close(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cut)};
    int fd = mkstemp(path);
    if (fd < 0 || close(fd) != 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(path);
    return failed;
}
