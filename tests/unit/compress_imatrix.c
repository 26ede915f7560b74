/* Importance matrices against those of llama.cpp (tests/golden/imatrix/make.py): what is collected, both
 * formats byte for byte, and what quantising with one gives. */
#include "base/alloc.h"
#include "base/os/infile.h"
#include "compress/convert.h"
#include "compress/imatrix.h"
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GOLDEN "tests/golden/imatrix/"

static char dir[] = "/tmp/tern-imatrix-XXXXXX", path[64];

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof path, "%s/out", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(dir);
}

static void read_imatrix(imatrix *m, const char *from)
{
    tern_err err = {0};
    imatrix_init(m);
    if (imatrix_read(m, from, &err) != TERN_OK)
        fail_msg("%s", err.msg);
}

static uint8_t *slurp(const char *name, size_t *n)
{
    FILE *f = fopen(name, "rb");
    uint8_t *p = malloc(1 << 20);
    assert_non_null(f);
    assert_non_null(p);
    *n = fread(p, 1, 1 << 20, f);
    (void)fclose(f);
    return p;
}

static void assert_same_file(const char *a, const char *b)
{
    size_t na, nb;
    uint8_t *x = slurp(a, &na), *y = slurp(b, &nb);
    assert_int_equal(na, nb);
    assert_memory_equal(x, y, na);
    free(x);
    free(y);
}

/* ---- formats ------------------------------------------------------------------------------- */

static void test_both_formats(void **state)
{
    (void)state;
    imatrix m, older;
    tern_err err = {0};
    read_imatrix(&m, GOLDEN "llama.gguf");
    read_imatrix(&older, GOLDEN "llama.dat");
    assert_int_equal(m.n, 15);
    assert_int_equal(older.n, 15);
    assert_string_equal(m.dataset, "tests/e2e/story.txt");
    assert_string_equal(older.dataset, m.dataset);
    assert_int_equal(older.n_chunk, m.n_chunk);
    assert_int_equal(m.chunk_size, 64);
    for (size_t i = 0; i < m.n; i++) {
        imatrix_entry *a = &m.entries[i], *b = imatrix_find(&older, a->name);
        assert_non_null(b);
        assert_int_equal(a->n_col, b->n_col);
        assert_int_equal(a->count[0], (int64_t)m.n_chunk * 64);
        const float *x = imatrix_mean(&m, a), *y = imatrix_mean(&older, b);
        for (size_t k = 0; k < a->n_col; k++)
            assert_true(fabsf(x[k] - y[k]) <= 2e-7f * x[k]);
    }
    /* Written again they are what they were, and one becomes the other. */
    assert_int_equal(imatrix_write(&m, path, IMATRIX_GGUF, &err), TERN_OK);
    assert_same_file(path, GOLDEN "llama.gguf");
    assert_int_equal(imatrix_write(&m, path, IMATRIX_DAT, &err), TERN_OK);
    assert_same_file(path, GOLDEN "llama.dat");
    imatrix_done(&m);
    imatrix_done(&older);
}

/* Wherever a file ends, reading it fails or gives what was there. */
static void test_cut_and_damaged(void **state)
{
    (void)state;
    static const char *const names[] = {GOLDEN "llama.gguf", GOLDEN "llama.dat"};
    for (int f = 0; f < 2; f++) {
        size_t n;
        uint8_t *p = slurp(names[f], &n);
        uint32_t rng = 9;
        for (size_t i = 0; i < 400; i++) {
            size_t cut = i < 200 ? i : n - 1 - (i - 200) * 7 % (n - 1);
            size_t at = test_rand(&rng) % n;
            uint8_t was = p[at];
            imatrix m;
            tern_err err = {0};
            FILE *o = fopen(path, "wb");
            assert_non_null(o);
            if (i % 2)
                p[at] = (uint8_t)(was ^ 1u << i % 8);
            assert_int_equal(fwrite(p, 1, i % 2 ? n : cut, o), i % 2 ? n : cut);
            (void)fclose(o);
            p[at] = was;
            imatrix_init(&m);
            tern_code rc = imatrix_read(&m, path, &err);
            if (i % 2 == 0 && cut < n - 40)
                assert_int_equal(rc, TERN_E_FORMAT);
            assert_true(rc == TERN_OK || err.msg[0]);
            imatrix_done(&m);
        }
        free(p);
    }
}

static void test_other_files(void **state)
{
    (void)state;
    static const struct {
        const char *name, *says;
        tern_code code;
    } rows[] = {
        {"tests/golden/models/llama.gguf", "key imatrix.datasets is missing", TERN_E_FORMAT},
        {"tests/e2e/story.txt", "not an importance matrix", TERN_E_FORMAT},
        {"tests/none", "tests/none", TERN_E_NOT_FOUND},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        imatrix m;
        tern_err err = {0};
        imatrix_init(&m);
        assert_int_equal(imatrix_read(&m, rows[i].name, &err), rows[i].code);
        assert_non_null(strstr(err.msg, rows[i].says));
        imatrix_done(&m);
    }
}

/* ---- collecting ---------------------------------------------------------------------------- */

static void ignore_row(void *ctx, int row, const float *logits)
{
    (void)ctx;
    (void)row;
    (void)logits;
}

static void collect(imatrix *m, const char *model, bool head)
{
    tern_model *t;
    tern_session *s;
    tern_session_opts so;
    tern_err err = {0};
    int32_t ids[2048];
    size_t n_text, n_id;
    uint8_t *text = slurp("tests/e2e/story.txt", &n_text);
    n_text -= text[n_text - 1] == '\n';
    imatrix_init(m);
    m->process_output = head;
    m->chunk_size = 64;
    assert_int_equal(tern_model_open(model, NULL, &t, &err), TERN_OK);
    assert_int_equal(tern_model_tokenize(t, (const char *)text, n_text, TERN_TOKENIZE_ADD_SPECIAL,
                                         ids, 2048, &n_id, &err),
                     TERN_OK);
    tern_model_info info = {.size = sizeof info};
    tern_model_info_get(t, &info);
    tern_session_opts_init(&so);
    so.n_ctx = 64;
    so.cache_k = so.cache_v = TERN_CACHE_F32;
    assert_int_equal(tern_session_new(t, &so, &s, &err), TERN_OK);
    tern_model_watch(t, imatrix_see, m);
    for (size_t at = 0; at + 64 <= n_id; at += 64) {
        if (info.add_bos)
            ids[at] = info.bos;
        tern_session_rewind(s, 0);
        assert_int_equal(tern_session_eval_all(s, ids + at, 64, ignore_row, NULL, &err), TERN_OK);
        m->n_chunk++;
    }
    assert_int_equal(m->failed.code, TERN_OK);
    tern_session_free(s);
    tern_model_close(t);
    free(text);
}

/* llama.cpp sums in float: over 10 chunks of 64 rows that is good for 1e-5. */
static void test_collected(void **state)
{
    (void)state;
    static const char *const models[][2] = {
        {"models/test/stories260K.gguf", GOLDEN "stories.gguf"},
        {"tests/golden/models/llama.gguf", GOLDEN "llama.gguf"}};
    for (int f = 0; f < 2; f++) {
        imatrix ours, theirs;
        collect(&ours, models[f][0], true);
        read_imatrix(&theirs, models[f][1]);
        assert_int_equal(ours.n, theirs.n);
        assert_int_equal(ours.n_chunk, theirs.n_chunk);
        for (size_t i = 0; i < theirs.n; i++) {
            const imatrix_entry *t = &theirs.entries[i], *o = imatrix_find(&ours, t->name);
            assert_non_null(o);
            assert_int_equal(o->count[0], t->count[0]);
            assert_int_equal(o->n_col, t->n_col);
            for (size_t k = 0; k < t->n_col; k++)
                if (!(fabs(o->sum[k] - t->sum[k]) <= 1e-4 * t->sum[k]))
                    fail_msg("%s column %zu: %g, llama.cpp has %g", t->name, k, o->sum[k],
                             t->sum[k]);
        }
        imatrix_done(&ours);
        imatrix_done(&theirs);
    }
}

/* ---- using --------------------------------------------------------------------------------- */

static tern_code weigh(void *ctx, const tern_tensor *t, tern_dtype to, const float **out,
                       tern_err *err)
{
    (void)to;
    return imatrix_weigh(ctx, t, out, err);
}

static uint32_t crc32(uint32_t crc, const uint8_t *p, size_t n)
{
    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int b = 0; b < 8; b++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static int by_name(const void *a, const void *b)
{
    const tern_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static uint32_t digest(const char *file)
{
    tern_dir *d;
    tern_err err = {0};
    const tern_tensor *all[64];
    uint32_t crc = 0;
    assert_int_equal(tern_gguf_open(file, NULL, &d, &err), TERN_OK);
    assert_true(d->n_tensor <= 64);
    for (size_t i = 0; i < d->n_tensor; i++)
        all[i] = &d->tensors[i];
    qsort(all, d->n_tensor, sizeof all[0], by_name);
    for (size_t i = 0; i < d->n_tensor; i++) {
        crc = crc32(crc, (const uint8_t *)all[i]->name, strlen(all[i]->name));
        crc = crc32(crc, all[i]->data, all[i]->bytes);
    }
    tern_dir_close(d);
    return crc;
}

static tern_code quantize(const char *with, const char *type, imatrix *m, tern_err *err)
{
    const tern_import_opts io = {0};
    compress_opts o;
    read_imatrix(m, with);
    compress_opts_init(&o);
    o.importance = weigh;
    o.ctx = m;
    assert_int_equal(compress_type_parse(type, &o.type, err), TERN_OK);
    return compress_convert("tests/golden/models/llama.gguf", &io, path, &o, 1, err);
}

static void test_quantized(void **state)
{
    (void)state;
    size_t n;
    char *want = (char *)slurp(GOLDEN "llama.crc", &n);
    want[n] = 0;
    for (char *type = want; *type;) {
        char *end = strchr(type, ' ');
        *end = 0;
        for (int f = 0; f < 2; f++) {
            imatrix m;
            tern_err err = {0};
            if (quantize(f ? GOLDEN "llama.dat" : GOLDEN "llama.gguf", type, &m, &err) != TERN_OK)
                fail_msg("%s", err.msg);
            assert_int_equal(m.n_unknown, 0);
            assert_int_equal(digest(path), strtoul(end + 1, NULL, 16));
            imatrix_done(&m);
        }
        type = strchr(end + 1, '\n') + 1;
    }
    free(want);
}

static void test_of_another_model(void **state)
{
    (void)state;
    imatrix m;
    tern_err err = {0};
    (void)unlink(path);
    assert_int_equal(quantize(GOLDEN "stories.gguf", "q4_0", &m, &err), TERN_E_USAGE);
    assert_non_null(strstr(err.msg, "belongs to another model"));
    assert_int_not_equal(access(path, F_OK), 0);
    imatrix_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_formats),     cmocka_unit_test(test_cut_and_damaged),
        cmocka_unit_test(test_other_files),      cmocka_unit_test(test_collected),
        cmocka_unit_test(test_of_another_model), cmocka_unit_test(test_quantized),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
