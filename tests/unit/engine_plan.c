/* Plans against what opening then takes, and models that do not fit. */
#include "base/alloc.h"
#include "base/memory.h"
#include "engine/engine.h"
#include "support/root.h"
#include "support/support.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STORIES "models/tern-stories.gguf"

/* ---- plan and model ------------------------------------------------------------------------ */

static tern_plan plan_of(const char *path, const tern_model_opts *o, int32_t n_ctx, int32_t n)
{
    tern_plan p = {.size = sizeof p};
    tern_session_opts s;
    tern_err err = {0};
    tern_session_opts_init(&s);
    s.n_ctx = n_ctx;
    if (tern_model_plan(path, o, &s, n, &p, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return p;
}

static tern_model *open_model(const char *path, const tern_model_opts *o)
{
    tern_model *m;
    tern_err err = {0};
    if (tern_model_open(path, o, &m, &err) != TERN_OK)
        fail_msg("%s", err.msg);
    return m;
}

/* What the matrices of an open model have, without the plan's code. */
static void taken(const tern_model *m, uint64_t *packed, uint64_t *mapped)
{
    size_t n = tern_weights_matrices(&m->w, NULL);
    const tern_linear **all = test_calloc(n, sizeof *all);
    (void)tern_weights_matrices(&m->w, all);
    *packed = *mapped = 0;
    for (size_t i = 0; i < n; i++) {
        if (!all[i]->src)
            continue;
        *packed += all[i]->packed_bytes ? all[i]->packed_bytes + 4 * all[i]->n_scale : 0;
        *mapped += all[i]->packed_bytes ? 0 : all[i]->src->bytes;
    }
    test_free(all);
}

static void check(const char *path, const tern_model_opts *o)
{
    tern_plan p = plan_of(path, o, 512, 3);
    tern_model *m = open_model(path, o);
    uint64_t packed, mapped, head = tern_head_memory(&m->w.screen);
    taken(m, &packed, &mapped);
    assert_int_equal(p.packed_bytes, packed);
    assert_int_equal(p.step_bytes, m->e.block_bytes);
    assert_int_equal(p.file_bytes, m->file_bytes);
    assert_int_equal(p.n_thread, 2);
    if (!m->w.screen.l) {
        assert_int_equal(p.read_bytes, m->w.read_bytes);
        if (!o->low_memory && p.head_bytes == 0)
            assert_int_equal(p.mapped_bytes, mapped);
    } else {
        assert_true(p.head_bytes >= head && p.head_bytes <= 2 * head);
        assert_true(p.read_bytes >= tern_weights_token_bytes(&m->w));
    }
    assert_int_equal(p.total_bytes, p.packed_bytes + p.head_bytes + p.mapped_bytes + p.kv_bytes +
                                        p.step_bytes + p.session_bytes + p.other_bytes);
    assert_int_equal(p.needed_bytes, p.total_bytes - p.mapped_bytes);
    tern_model_close(m);
}

static void test_sizes(void **state)
{
    (void)state;
    static const char *const paths[] = {STORIES,
                                        "models/test/stories260K.gguf",
                                        "models/test/bitnet-tinystories-1M.gguf",
                                        "tests/golden/models/bitnet-25-tq2.gguf",
                                        "tests/golden/models/bitnet-b158.gguf",
                                        "tests/golden/models/qwen2-yarn.gguf",
                                        "tests/golden/models/phi3.gguf",
                                        "tests/golden/models/gemma3.gguf"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        tern_model_opts o;
        tern_model_opts_init(&o);
        o.n_thread = 2;
        o.weight_bits = TERN_WEIGHT_BITS_2;
        check(paths[i], &o);
        o.weight_bits = TERN_WEIGHT_BITS_1_6;
        o.ffn_sparse = TERN_FFN_SPARSE_OFF;
        check(paths[i], &o);
        o.head = TERN_HEAD_ALWAYS;
        check(paths[i], &o);
        o.head = TERN_HEAD_AUTO;
        o.low_memory = true;
        check(paths[i], &o);
    }
}

static size_t pages_taken; /* by sequences */

static bool count_pages(void *ctx, const char *site, size_t size)
{
    (void)ctx;
    if (strcmp(site, "pages") == 0)
        pages_taken += (size + 4095) / 4096 * 4096; /* of the system's pages no two share one */
    return false;
}

static void test_cache(void **state)
{
    (void)state;
    static const tern_cache_type types[] = {TERN_CACHE_AUTO, TERN_CACHE_Q8, TERN_CACHE_F16,
                                            TERN_CACHE_F32};
    tern_model_opts o;
    tern_err err = {0};
    int32_t ids[200] = {1, 2, 3};
    tern_model_opts_init(&o);
    o.n_thread = 2;
    tern_model *m = open_model(STORIES, &o);
    for (size_t i = 0; i < 4; i++) {
        tern_session_opts s;
        tern_session *session;
        tern_plan p = {.size = sizeof p};
        tern_session_opts_init(&s);
        s.n_ctx = 200;
        s.cache_k = s.cache_v = types[i];
        assert_int_equal(tern_model_plan(STORIES, &o, &s, 5, &p, &err), TERN_OK);
        assert_int_equal(p.cache_k, types[i] ? types[i] : TERN_CACHE_Q8);
        assert_int_equal(tern_session_new(m, &s, &session, &err), TERN_OK);
        pages_taken = 0;
        tern_alloc_hook_set(count_pages, NULL);
        tern_code rc = tern_session_eval(session, ids, 200, &err);
        tern_alloc_hook_set(NULL, NULL);
        assert_int_equal(rc, TERN_OK);
        tern_session_free(session);
        /* Beside pages a sequence has its ids and a table. */
        assert_in_range(p.kv_bytes, 5 * pages_taken, 5 * (pages_taken + 200 * 4 + 1000));
        assert_in_range(pages_taken, 256 * p.kv_token_bytes, 256 * p.kv_token_bytes + 4 * 4096);
    }
    tern_model_close(m);
}

static void test_requests_that_make_no_sense(void **state)
{
    (void)state;
    tern_plan p = {.size = sizeof p};
    tern_session_opts s;
    tern_err err;
    tern_session_opts_init(&s);
    assert_int_equal(tern_model_plan(STORIES, NULL, &s, 0, &p, &err), TERN_E_USAGE);
    s.n_ctx = -1;
    assert_int_equal(tern_model_plan(STORIES, NULL, &s, 1, &p, &err), TERN_E_USAGE);
    assert_int_equal(tern_model_plan("models/none.gguf", NULL, NULL, 1, &p, &err),
                     TERN_E_NOT_FOUND);
    s.n_ctx = INT32_MAX; /* far more than there is, but no overflow */
    assert_int_equal(tern_model_plan(STORIES, NULL, &s, INT32_MAX, &p, &err), TERN_OK);
    assert_true(p.kv_bytes > (uint64_t)1 << 60 && p.total_bytes > p.kv_bytes);
    p.size = offsetof(tern_plan, packed_bytes); /* an older caller's */
    p.packed_bytes = 7;
    assert_int_equal(tern_model_plan(STORIES, NULL, NULL, 1, &p, &err), TERN_OK);
    assert_int_equal(p.packed_bytes, 7);
}

/* ---- what does not fit --------------------------------------------------------------------- */

static char warning[300];

static void take_warning(void *ctx, const char *line)
{
    (void)ctx;
    (void)snprintf(warning, sizeof warning, "%s", line);
}

static void leave(uint64_t bytes)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%llu\n", (unsigned long long)bytes);
    test_root_put("/sys/fs/cgroup/memory.max", text);
}

/* Opening with so much left; the message or the warning has text. */
static void opens(uint64_t bytes, const tern_model_opts *o, tern_code expected, const char *text)
{
    tern_model *m;
    tern_err err = {.msg = ""};
    warning[0] = '\0';
    leave(bytes);
    tern_code rc = tern_model_open(STORIES, o, &m, &err);
    if (rc != expected)
        fail_msg("with %llu bytes: code %d (%s), expected %d", (unsigned long long)bytes, rc,
                 err.msg, expected);
    const char *said = rc == TERN_OK ? warning : err.msg;
    if (text ? !strstr(said, text) : said[0] != '\0')
        fail_msg("with %llu bytes: '%s', expected '%s'", (unsigned long long)bytes, said,
                 text ? text : "");
    tern_model_close(m);
}

/* A calibration in o's folder by which 2 bits are faster. */
static void keep_calibration(const tern_model_opts *o)
{
    char path[300];
    const char *key;
    json_t *entry, *shape;
    size_t i;
    tern_model_close(open_model(STORIES, o));
    (void)snprintf(path, sizeof path, "%s/calibration.json", o->cache_dir);
    json_t *root = json_load_file(path, 0, NULL);
    assert_int_equal(json_object_size(root), 1);
    json_object_foreach(root, key, entry)
        json_array_foreach(json_object_get(entry, "shapes"), i, shape)
            assert_int_equal(json_object_set_new(shape, "bits_2", json_real(1e-6)), 0);
    assert_int_equal(json_dump_file(root, path, 0), 0);
    json_decref(root);
}

static void test_room(void **state)
{
    (void)state;
    tern_model_opts o, low;
    tern_model_opts_init(&o);
    o.n_thread = 2;
    o.cache_dir = test_root();
    keep_calibration(&o);
    o.warn = take_warning;
    low = o;
    low.low_memory = true;
    test_root_put("/proc/self/cgroup", "0::/\n");
    tern_memory_root_set(test_root());
    /* What opening has to have: weights and the buffers of 32 rows; not what planning took, and opening has
     * taken before it asks. */
    tern_plan p = plan_of(STORIES, &o, 32, 1), p_low = plan_of(STORIES, &low, 32, 1);
    uint64_t need = p.needed_bytes - p.other_bytes, all = p.total_bytes - p.other_bytes;
    uint64_t need_low = p_low.needed_bytes - p_low.other_bytes;
    assert_true(need_low < need && need < all);
    opens(p.total_bytes + 4000000, &o, TERN_OK, NULL);
    opens(need + (all - need) / 2, &o, TERN_OK, "wait for the disk");
    opens(100000, &o, TERN_E_NOMEM, "0 MB of the control group are free; free some");
    opens(100000, &low, TERN_E_NOMEM, "smaller model");
    opens(need_low + (need - need_low) / 2, &o, TERN_E_NOMEM, "with --low-memory it needs");
    opens(need_low + (need - need_low) / 2, &low, TERN_OK, NULL);
    o.any_memory = true;
    opens(100000, &o, TERN_OK, NULL);
    tern_memory_root_set(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_requests_that_make_no_sense),
        cmocka_unit_test_setup_teardown(test_room, test_root_make, test_root_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
