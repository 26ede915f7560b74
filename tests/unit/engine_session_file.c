/* Sessions in files: what follows is the same bits, with all cache types; other models, other caches and
 * damaged files are refused, and the session is then what it was. */
#include "base/os/folder.h"
#include "engine/engine.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STORIES "models/tern-stories.gguf"
#define N_TOK   150

static char dir[] = "/tmp/tern-session-XXXXXX", path[64];
static tern_model *m;
static int32_t ids[N_TOK + 40];

static int set_up(void **state)
{
    (void)state;
    tern_model_opts o;
    tern_model_opts_init(&o);
    o.n_thread = 2;
    for (int i = 0; i < N_TOK + 40; i++)
        ids[i] = 5 + i * 7 % 300;
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof path, "%s/session", dir);
    return tern_model_open(STORIES, &o, &m, NULL) == TERN_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    tern_model_close(m);
    (void)unlink(path);
    return rmdir(dir);
}

static tern_session *session(tern_model *model, tern_cache_type k, tern_cache_type v, int n_ctx)
{
    tern_session_opts o;
    tern_session *s;
    tern_session_opts_init(&o);
    o.n_ctx = n_ctx;
    o.cache_k = k;
    o.cache_v = v;
    assert_int_equal(tern_session_new(model, &o, &s, NULL), TERN_OK);
    return s;
}

static void test_what_follows_is_the_same_bits(void **state)
{
    (void)state;
    static const tern_cache_type types[] = {TERN_CACHE_Q8, TERN_CACHE_F16, TERN_CACHE_F32};
    tern_err err;
    size_t n, bytes = (size_t)m->w.h.n_vocab * sizeof(float);
    float *want = malloc(bytes);
    assert_non_null(want);
    for (int i = 0; i < 9; i++) {
        tern_session *a = session(m, types[i / 3], types[i % 3], 256);
        tern_session *b = session(m, types[i / 3], types[i % 3], 256);
        assert_int_equal(tern_session_eval(a, ids, N_TOK, &err), TERN_OK);
        assert_int_equal(tern_session_save(a, path, &err), TERN_OK);
        assert_int_equal(tern_session_eval(a, ids + N_TOK, 30, &err), TERN_OK);
        memcpy(want, tern_session_logits(a), bytes);
        assert_int_equal(tern_session_eval(b, ids + 20, 70, &err), TERN_OK);
        assert_int_equal(tern_session_load(b, path, &err), TERN_OK);
        assert_null(tern_session_logits(b));
        assert_memory_equal(tern_session_tokens(b, &n), ids, N_TOK * sizeof *ids);
        assert_int_equal(n, N_TOK);
        assert_int_equal(tern_session_eval(b, ids + N_TOK, 30, &err), TERN_OK);
        assert_memory_equal(tern_session_logits(b), want, bytes);
        tern_session_free(a);
        tern_session_free(b);
    }
    free(want);
}

static void expect_refused(tern_session *s, const char *file, tern_code code, const char *why)
{
    tern_err err = {0};
    size_t n, n_before;
    const int32_t *now = tern_session_tokens(s, &n_before);
    int32_t first = n_before ? now[0] : -1;
    assert_int_equal(tern_session_load(s, file, &err), code);
    assert_non_null(strstr(err.msg, why));
    now = tern_session_tokens(s, &n);
    assert_int_equal(n, n_before);
    assert_true(n == 0 || now[0] == first);
}

static void test_what_does_not_fit_is_refused(void **state)
{
    (void)state;
    tern_err err;
    tern_model *other;
    tern_session *s = session(m, TERN_CACHE_Q8, TERN_CACHE_Q8, 256);
    assert_int_equal(tern_session_save(s, path, &err), TERN_E_USAGE);
    assert_int_equal(tern_session_eval(s, ids, N_TOK, &err), TERN_OK);
    assert_int_equal(tern_session_save(s, "/nowhere/at/all", &err), TERN_E_IO);
    assert_int_equal(tern_session_save(s, path, &err), TERN_OK);
    expect_refused(s, "/nowhere/at/all", TERN_E_NOT_FOUND, "/nowhere");
    expect_refused(s, "models/tern-stories.gguf", TERN_E_FORMAT, "not a file that tern keeps");

    tern_session *f16 = session(m, TERN_CACHE_Q8, TERN_CACHE_F16, 256);
    assert_int_equal(tern_session_eval(f16, ids + 3, 4, &err), TERN_OK);
    expect_refused(f16, path, TERN_E_FORMAT, "-ctk");
    tern_session *small = session(m, TERN_CACHE_Q8, TERN_CACHE_Q8, N_TOK - 1);
    expect_refused(small, path, TERN_E_LIMIT, "raise -c");
    tern_session_free(small);
    tern_session_free(f16);
    tern_session_free(s);

    tern_model_opts o;
    tern_model_opts_init(&o);
    o.activation = "silu";
    assert_int_equal(tern_model_open(STORIES, &o, &other, &err), TERN_OK);
    s = session(other, TERN_CACHE_Q8, TERN_CACHE_Q8, 256);
    expect_refused(s, path, TERN_E_FORMAT, "another model");
    tern_session_free(s);
    tern_model_close(other);
}

static void write_file(const uint8_t *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void test_damage_is_found_wherever_it_is(void **state)
{
    (void)state;
    tern_err err;
    size_t n;
    tern_session *s = session(m, TERN_CACHE_Q8, TERN_CACHE_Q8, 256);
    tern_session *t = session(m, TERN_CACHE_Q8, TERN_CACHE_Q8, 256);
    assert_int_equal(tern_session_eval(s, ids, 70, &err), TERN_OK);
    assert_int_equal(tern_session_save(s, path, &err), TERN_OK);
    uint8_t *p = test_read_file(path, &n);
    for (size_t i = 0; i < 60; i++) { /* at even distances; but for padding, which nobody reads */
        size_t at = i * (n / 60);
        p[at] ^= 0x10;
        write_file(p, n);
        tern_code rc = tern_session_load(t, path, &err);
        assert_true(rc == TERN_E_FORMAT || (rc == TERN_OK && p[at] == 0x10));
        tern_session_rewind(t, 0);
        p[at] ^= 0x10;
        write_file(p, n / 60 * i);
        assert_int_equal(tern_session_load(t, path, &err), TERN_E_FORMAT);
    }
    write_file(p, n);
    assert_int_equal(tern_session_load(t, path, &err), TERN_OK);
    free(p);
    tern_session_free(s);
    tern_session_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_follows_is_the_same_bits),
        cmocka_unit_test(test_what_does_not_fit_is_refused),
        cmocka_unit_test(test_damage_is_found_wherever_it_is),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
