/* Packed weights are kept and found again, the same bits; whatever is wrong with a kept file costs a
 * warning and no more. */
#include "base/os/folder.h"
#include "engine/engine.h"
#include "support/support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define N_ID 12

static char dir[] = "/tmp/tern-packing-XXXXXX", model[64];
static int n_warning;
static char warning[320];

static void put_back(const char *path, const uint8_t *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static int set_up(void **state)
{
    (void)state;
    size_t n;
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(model, sizeof model, "%s/model.gguf", dir);
    uint8_t *data = test_read_file("models/tern-stories.gguf", &n);
    put_back(model, data, n);
    free(data);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    uint64_t n_bytes;
    bool ok = tern_cache_clear(dir, &n_bytes, NULL) == TERN_OK;
    (void)unlink(model);
    return rmdir(dir) == 0 && ok ? 0 : -1;
}

static void take_warning(void *ctx, const char *line)
{
    (void)ctx;
    n_warning++;
    (void)snprintf(warning, sizeof warning, "%s", line);
}

typedef struct answer {
    tern_packing packing;
    size_t n_logit;
    float *logits;
    int32_t ids[N_ID];
} answer;

typedef struct how {
    const char *cache_dir;
    bool off, low_memory, lists;
    tern_weight_bits bits;
    tern_head_mode head;
} how;

/* Open the model, read logits, generate; how many warnings there were is in n_warning. */
static answer ask(const char *path, const how *h)
{
    tern_model_opts o;
    tern_gen_opts g;
    tern_model *m;
    tern_session *s = NULL;
    tern_request *r;
    tern_err err;
    answer a = {0};
    static const int32_t prompt[] = {1, 100, 200, 300, 17};
    n_warning = 0;
    tern_model_opts_init(&o);
    o.cache_dir = h->cache_dir ? h->cache_dir : dir;
    o.repack_cache = !h->off;
    o.low_memory = h->low_memory;
    o.ffn_sparse = h->lists ? TERN_FFN_SPARSE_ON : TERN_FFN_SPARSE_OFF;
    o.weight_bits = h->bits;
    o.head = h->head;
    o.n_thread = 2;
    o.warn = take_warning;
    if (tern_model_open(path, &o, &m, &err) != TERN_OK || tern_session_new(m, NULL, &s, &err) ||
        tern_session_eval(s, prompt, 5, &err))
        fail_msg("%s", err.msg);
    a.packing = m->packing;
    a.n_logit = (size_t)m->w.h.n_vocab;
    a.logits = malloc(a.n_logit * sizeof *a.logits);
    memcpy(a.logits, tern_session_logits(s), a.n_logit * sizeof *a.logits);
    tern_gen_opts_init(&g);
    g.temp = 0;
    g.ignore_eos = true;
    assert_int_equal(tern_request_new(s, prompt, 5, &g, &r, &err), TERN_OK);
    for (int i = 0; i < N_ID; i++) {
        tern_event ev;
        assert_int_equal(tern_request_next(r, &ev, &err), TERN_OK);
        a.ids[i] = ev.id;
    }
    tern_request_free(r);
    tern_session_free(s);
    tern_model_close(m);
    return a;
}

/* The answer must be the one without any cache. */
static void check(const char *path, const how *h, tern_packing packing, int warnings)
{
    how plain = *h;
    plain.off = true;
    plain.low_memory = plain.lists = false;
    plain.bits = TERN_WEIGHT_BITS_2;
    answer want = ask(path, &plain), got = ask(path, h);
    assert_int_equal(want.packing, TERN_PACKING_NOT_KEPT);
    if (n_warning != warnings)
        fail_msg("%d warnings, expected %d: %s", n_warning, warnings, warning);
    assert_int_equal(got.packing, packing);
    assert_memory_equal(got.logits, want.logits, want.n_logit * sizeof *want.logits);
    assert_memory_equal(got.ids, want.ids, sizeof want.ids);
    free(want.logits);
    free(got.logits);
}

typedef struct found {
    char path[256];
    int n;
    uint64_t bytes;
} found;

static void find_one(void *ctx, const tern_folder_file *f)
{
    found *k = ctx;
    (void)snprintf(k->path, sizeof k->path, "%s", f->path);
    k->n++;
    k->bytes += f->bytes;
}

static found kept(void)
{
    found k = {.n = 0};
    char folder[64];
    (void)snprintf(folder, sizeof folder, "%s/packed", dir);
    tern_folder_each(folder, find_one, &k);
    return k;
}

static void clear(void)
{
    uint64_t n_bytes;
    assert_int_equal(tern_cache_clear(dir, &n_bytes, NULL), TERN_OK);
    assert_int_equal(kept().n, 0);
}

static void test_they_are_found_again(void **state)
{
    (void)state;
    static const how hows[] = {
        {.head = TERN_HEAD_ALWAYS},
        {.head = TERN_HEAD_FULL},
        {.bits = TERN_WEIGHT_BITS_2},
        {.bits = TERN_WEIGHT_BITS_1_6},
        {.head = TERN_HEAD_ALWAYS, .low_memory = true},
        {.head = TERN_HEAD_ALWAYS, .lists = true},
    };
    clear();
    for (size_t i = 0; i < sizeof hows / sizeof hows[0]; i++) {
        check(model, &hows[i], TERN_PACKING_MADE, 0);
        assert_int_equal(kept().n, i + 1); /* other layouts and planes, another file */
        check(model, &hows[i], TERN_PACKING_FOUND, 0);
        assert_int_equal(kept().n, i + 1);
    }
    char *json;
    assert_int_equal(tern_cache_describe(dir, &json, NULL), TERN_OK);
    assert_non_null(strstr(json, model));
    tern_string_free(json);
    uint64_t n_bytes, want = kept().bytes;
    assert_int_equal(tern_cache_clear(dir, &n_bytes, NULL), TERN_OK);
    assert_true(n_bytes >= want && want > 1 << 20);
    check(model, &hows[0], TERN_PACKING_MADE, 0);
}

/* Less memory, nothing kept: heads that are read whole, from a file and from memory, and screened ones. */
static void test_less_memory_is_the_same(void **state)
{
    (void)state;
    static const char *const files[] = {"models/tern-stories.gguf", "models/test/stories260K.gguf"};
    for (size_t i = 0; i < 2; i++)
        for (tern_head_mode head = TERN_HEAD_AUTO; head <= TERN_HEAD_ALWAYS; head++) {
            how h = {.off = true, .head = head}, low = h;
            low.low_memory = true;
            answer want = ask(files[i], &h), got = ask(files[i], &low);
            assert_memory_equal(got.logits, want.logits, want.n_logit * sizeof *want.logits);
            assert_memory_equal(got.ids, want.ids, sizeof want.ids);
            assert_int_equal(n_warning, 0);
            free(want.logits);
            free(got.logits);
        }
}

static void test_what_is_wrong_is_made_anew(void **state)
{
    (void)state;
    static const how always = {.head = TERN_HEAD_ALWAYS};
    size_t n;
    clear();
    check(model, &always, TERN_PACKING_MADE, 0);
    found k = kept();
    uint8_t *data = test_read_file(k.path, &n);
    const size_t at[] = {0, 9, 20, 50, 1100, 9000, n / 2, n - 9000, n - 70};
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        data[at[i]] ^= 0x20;
        put_back(k.path, data, n);
        data[at[i]] ^= 0x20;
        check(model, &always, TERN_PACKING_MADE, 1);
        assert_non_null(strstr(warning, "made anew"));
        check(model, &always, TERN_PACKING_FOUND, 0);
    }
    for (size_t cut = 0; cut < n; cut += n / 5 + 1) {
        put_back(k.path, data, cut);
        check(model, &always, TERN_PACKING_MADE, 1);
        check(model, &always, TERN_PACKING_FOUND, 0);
    }
    free(data);
}

static void touch(const char *path, int seconds_ago)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    struct timespec t[2] = {st.st_atim, st.st_mtim};
    t[1].tv_sec -= seconds_ago;
    assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
}

static void test_another_original_is_another_file(void **state)
{
    (void)state;
    static const how plain = {.head = TERN_HEAD_AUTO};
    size_t n;
    clear();
    check(model, &plain, TERN_PACKING_MADE, 0);
    found first = kept();
    /* Its time alone: it may be another, and what was kept of it makes way. */
    touch(model, 5);
    check(model, &plain, TERN_PACKING_MADE, 0);
    found second = kept();
    assert_int_equal(second.n, 1);
    assert_string_not_equal(first.path, second.path);
    /* Its bytes alone. */
    struct stat st;
    assert_int_equal(stat(model, &st), 0);
    uint8_t *data = test_read_file(model, &n);
    for (size_t i = n / 2; i < n / 2 + (256 << 10); i++)
        data[i] ^= 1;
    put_back(model, data, n);
    free(data);
    struct timespec t[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, model, t, 0), 0);
    check(model, &plain, TERN_PACKING_MADE, 0);
    assert_string_not_equal(second.path, kept().path);
    assert_int_equal(kept().n, 1);
}

static void test_no_place_is_a_warning(void **state)
{
    (void)state;
    char file[80];
    how nowhere = {.cache_dir = "/nonexistent/tern"};
    check(model, &nowhere, TERN_PACKING_MADE, 1);
    assert_non_null(strstr(warning, "not kept"));
    assert_non_null(strstr(warning, "/nonexistent/tern"));
    /* A file where the folder should be. */
    (void)snprintf(file, sizeof file, "%s/file", dir);
    put_back(file, (const uint8_t *)"x", 1);
    nowhere.cache_dir = file;
    check(model, &nowhere, TERN_PACKING_MADE, 1);
    (void)unlink(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_they_are_found_again),
        cmocka_unit_test(test_less_memory_is_the_same),
        cmocka_unit_test(test_what_is_wrong_is_made_anew),
        cmocka_unit_test(test_no_place_is_a_warning),
        cmocka_unit_test(test_another_original_is_another_file),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
