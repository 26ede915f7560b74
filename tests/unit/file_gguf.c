/* Reading GGUF: the published example, files made by other software, unusual but valid files, and
 * any damage to them. */
#include "base/reader.h"
#include "file/dir.h"
#include "support/bytes.h"
#include "support/support.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN "tests/golden/gguf/"
#define P31    "2147483648"

/* ---- the published example --------------------------------------------------------------- */

/* Two tensors, five keys: the whole file as published, but for the padding. */
static const char example[] =
    "hex:4747554603000000020000000000000005000000000000001400000000000000"
    "67656e6572616c2e617263686974656374757265080000000c00000000000000"
    "6269746e65742d62312e3538110000000000000067656e6572616c2e66696c65"
    "5f7479706504000000280000000500000000000000782e65707306000000acc5"
    "27370600000000000000782e666c616707000000010500000000000000782e74"
    "6f6b090000000800000002000000000000000100000000000000610200000000"
    "000000626301000000000000006e010000000400000000000000000000000000"
    "0000000000000100000000000000770200000080000000000000000200000000"
    "000000240000002000000000000000 pad:32 hex:0000803f000000400000404000008040 zero:16 "
    "hex:a65022695894040428224682162585a02a01042195658514021a2a9852909586"
    "264444905a912a95a2510482556090106a5620a468a904882560966a66018655"
    "0000003f00000000000000000000000000000000000000000000000000000000";

/* A heap copy of exactly these bytes, so that a sanitizer sees a read beyond them. */
static uint8_t *exact_copy(const void *data, size_t n)
{
    uint8_t *p = malloc(n ? n : 1);
    assert_non_null(p);
    if (n)
        memcpy(p, data, n);
    return p;
}

static bool slice_is(tern_slice s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

static void test_example_file(void **state)
{
    (void)state;
    tern_str s;
    tern_err err;
    tern_dir *d;
    tern_slice text;
    uint32_t u;
    float f;
    bool b;
    tern_str_init(&s, 4096);
    test_bytes(&s, example);
    assert_int_equal(s.len, 416);
    assert_int_equal(test_crc32(s.data, s.len), 0xa20ee29b);
    assert_int_equal(tern_gguf_open_memory(s.data, s.len, "example", NULL, &d, &err), TERN_OK);
    assert_int_equal(d->n_meta, 5);
    assert_int_equal(d->n_tensor, 2);
    assert_int_equal(tern_dir_get_str(d, "general.architecture", &text, NULL, &err), TERN_OK);
    assert_true(slice_is(text, "bitnet-b1.58"));
    assert_int_equal(tern_dir_get_u32(d, "general.file_type", &u, NULL, &err), TERN_OK);
    assert_int_equal(u, 40);
    assert_int_equal(tern_dir_get_f32(d, "x.eps", &f, NULL, &err), TERN_OK);
    assert_true(f == 1e-5f);
    assert_int_equal(tern_dir_get_bool(d, "x.flag", &b, NULL, &err), TERN_OK);
    assert_true(b);
    const tern_meta *tok = tern_dir_meta_find(d, "x.tok");
    assert_int_equal(tok->n_elem, 2);
    assert_true(slice_is(tok->strings[0], "a") && slice_is(tok->strings[1], "bc"));
    const tern_tensor *n = tern_dir_tensor_find(d, "n"), *w = tern_dir_tensor_find(d, "w");
    assert_int_equal(n->dtype, TERN_DT_F32);
    assert_true(n->ne[0] == 4 && n->ne[1] == 1 && n->n_dim == 1 && n->bytes == 16);
    assert_int_equal(n->offset, 288);
    assert_true(tern_lef32(n->data + 12) == 4.0f);
    assert_int_equal(w->dtype, TERN_DT_I2_S);
    assert_true(w->ne[0] == 128 && w->ne[1] == 2 && w->n_dim == 2 && w->bytes == 96);
    assert_ptr_equal(w->data, s.data + 320);
    assert_null(tern_dir_tensor_find(d, "x"));
    assert_null(tern_dir_meta_find(d, "x"));
    tern_dir_close(d);
    tern_str_done(&s);
}

/* The same bytes mean other weights in forks that left no mark; the caller says so. */
static void test_i2s_layout_is_an_option(void **state)
{
    (void)state;
    static const struct {
        tern_i2s_layout layout;
        tern_dtype dtype;
    } rows[] = {{TERN_I2S_X86, TERN_DT_I2_S}, {TERN_I2S_ARM, TERN_DT_I2_S_ARM}};
    tern_str s;
    tern_err err;
    tern_str_init(&s, 4096);
    test_bytes(&s, example);
    for (size_t i = 0; i < 2; i++) {
        tern_dir_opts opts = {.i2s_layout = rows[i].layout};
        tern_dir *d;
        assert_int_equal(tern_gguf_open_memory(s.data, s.len, "example", &opts, &d, &err), TERN_OK);
        assert_int_equal(tern_dir_tensor_find(d, "w")->dtype, rows[i].dtype);
        tern_dir_close(d);
    }
    /* Two rows cannot be interleaved by four. */
    tern_dir_opts opts = {.i2s_layout = TERN_I2S_ROWS4};
    tern_dir *d;
    assert_int_equal(tern_gguf_open_memory(s.data, s.len, "example", &opts, &d, &err),
                     TERN_E_FORMAT);
    assert_non_null(strstr(err.msg, "I2_S_ROWS4"));
    tern_str_done(&s);
}

/* ---- files of another writer, as another reader describes them --------------------------- */

static void put_number(tern_str *s, const tern_meta *m, size_t i)
{
    const uint8_t *p = m->elems;
    if (m->elem == TERN_META_F32)
        tern_str_printf(s, " %08" PRIx32, tern_le32(p + i * 4));
    else if (m->elem == TERN_META_F64)
        tern_str_printf(s, " %016" PRIx64, tern_le64(p + i * 8));
    else if (m->elem == TERN_META_U64)
        tern_str_printf(s, " %" PRIu64, tern_le64(p + i * 8));
    else
        tern_str_printf(s, " %" PRId64, tern_meta_elem_i64(m, i));
}

static void put_scalar(tern_str *s, const tern_meta *m)
{
    float f = (float)m->v.f;
    uint32_t f_bits;
    uint64_t d_bits;
    memcpy(&f_bits, &f, sizeof f_bits);
    memcpy(&d_bits, &m->v.f, sizeof d_bits);
    switch (m->type) {
    case TERN_META_STRING:
        tern_str_printf(s, " %08" PRIx32, test_crc32(m->v.s.p, m->v.s.n));
        break;
    case TERN_META_F32:
        tern_str_printf(s, " %08" PRIx32, f_bits);
        break;
    case TERN_META_F64:
        tern_str_printf(s, " %016" PRIx64, d_bits);
        break;
    case TERN_META_I8:
    case TERN_META_I16:
    case TERN_META_I32:
    case TERN_META_I64:
        tern_str_printf(s, " %" PRId64, m->v.i);
        break;
    default:
        tern_str_printf(s, " %" PRIu64, m->v.u);
    }
}

/* As make.py's describe() writes it. */
static void describe(tern_str *s, const tern_dir *d)
{
    for (size_t i = 0; i < d->n_meta; i++) {
        const tern_meta *m = &d->metas[i];
        tern_str_printf(s, "%s %d", m->key, (int)m->type);
        if (m->type == TERN_META_ARRAY)
            tern_str_printf(s, " %d %zu", (int)m->elem, m->n_elem);
        else
            put_scalar(s, m);
        for (size_t k = 0; m->type == TERN_META_ARRAY && k < m->n_elem; k++) {
            if (m->elem == TERN_META_STRING)
                tern_str_printf(s, " %08" PRIx32, test_crc32(m->strings[k].p, m->strings[k].n));
            else
                put_number(s, m, k);
        }
        tern_str_putc(s, '\n');
    }
    for (size_t i = 0; i < d->n_tensor; i++) {
        const tern_tensor *t = &d->tensors[i];
        tern_str_printf(s, "%s %s [%zu", t->name, tern_dtype_get(t->dtype)->name, t->ne[0]);
        for (int k = 1; k < t->n_dim; k++)
            tern_str_printf(s, " %zu", t->ne[k]);
        tern_str_printf(s, "] %zu %zu %08" PRIx32 "\n", t->offset, t->bytes,
                        test_crc32(t->data, t->bytes));
    }
}

static void test_files_of_the_gguf_package(void **state)
{
    (void)state;
    static const char *const files[][2] = {
        {GOLDEN "metas.gguf", GOLDEN "metas.txt"},
        {GOLDEN "types.gguf", GOLDEN "types.txt"},
        {GOLDEN "split-00001-of-00003.gguf", GOLDEN "split.txt"},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        tern_dir *d;
        tern_err err;
        tern_str s;
        size_t n;
        char *want = (char *)test_read_file(files[i][1], &n);
        assert_non_null(want);
        if (tern_gguf_open(files[i][0], NULL, &d, &err) != TERN_OK)
            fail_msg("%s", err.msg);
        tern_str_init(&s, 1 << 20);
        describe(&s, d);
        assert_string_equal(tern_str_get(&s), want);
        tern_dir_close(d);
        tern_str_done(&s);
        free(want);
    }
}

/* ---- what must be accepted --------------------------------------------------------------- */

#define ALIGN "str:general.alignment "
/* One tensor "w" of F32 {4}, and what is left of a file behind its shape. */
#define T_W    "str:w u32:1 u64:4 "
#define F32_AT "u32:0 u64:0 pad:32 zero:16"

typedef struct good_file {
    const char *script;
    const char *tensor; /* NULL: none to look at */
    tern_dtype dtype;
    size_t bytes, offset;
} good_file;

#define PAIR(a, b)                                                                                 \
    "gguf:3,2,0 str:w u32:1 u64:128 u32:42 u64:0 str:x u32:1 u64:1280 u32:42 u64:64 pad:32 "       \
    "fill:" #a " pad:32 fill:" #b

static const good_file good[] = {
    {"gguf:3,0,0", NULL, 0, 0, 0},
    {"gguf:2,1,0 " T_W F32_AT, "w", TERN_DT_F32, 16, 64},
    {"gguf:3,1,0 " T_W F32_AT " zero:1000", "w", TERN_DT_F32, 16, 64}, /* a tail nobody names */
    {"gguf:3,0,1 " ALIGN "u32:4 u32:" P31, NULL, 0, 0, 0},             /* no data to align */
    {"gguf:3,1,1 " ALIGN "u32:4 u32:8 " T_W "u32:0 u64:0 pad:8 zero:16", "w", TERN_DT_F32, 16, 96},
    {"gguf:3,1,1 " ALIGN "u32:10 u64:64 " T_W "u32:0 u64:0 pad:64 zero:16", "w", TERN_DT_F32, 16,
     128},
    {"gguf:3,0,1 str:k u32:9 u32:8 u64:0", NULL, 0, 0, 0},
    {"gguf:3,0,1 str:k u32:9 u32:0 u64:0", NULL, 0, 0, 0},
    {"gguf:3,0,1 str:k u32:8 str:a\\x00b", NULL, 0, 0, 0}, /* a value may hold any byte */
    {"gguf:3,1,0 str:\\xff u32:1 u64:4 " F32_AT, "\xff", TERN_DT_F32, 16, 64},
    /* out of order, with a gap */
    {"gguf:3,2,0 str:w u32:1 u64:4 u32:0 u64:96 str:x u32:1 u64:4 u32:0 u64:0 pad:32 zero:112", "w",
     TERN_DT_F32, 16, 192},
    /* two views of the same bytes */
    {"gguf:3,2,0 str:w u32:1 u64:4 u32:0 u64:0 str:x u32:1 u64:4 u32:0 u64:0 pad:32 zero:16", "x",
     TERN_DT_F32, 16, 96},
    {"gguf:3,1,0 str:w u32:4 u64:2 u64:1 u64:3 u64:1 u32:0 u64:0 pad:32 zero:24", "w", TERN_DT_F32,
     24, 96},
    {"gguf:3,1,0 str:w u32:2 u64:128 u64:4 u32:36 u64:0 pad:32 zero:160", "w", TERN_DT_I2_S, 160,
     96},
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:40 u64:0 pad:32 zero:64", "w", TERN_DT_Q1_0_G32, 48, 64},
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:40 u64:0 pad:32 zero:48", "w", TERN_DT_Q1_0_G32, 48, 64},
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:41 u64:0 pad:32 zero:64", "w", TERN_DT_Q1_0, 36, 64},
    {"gguf:3,1,0 str:w u32:1 u64:1280 u32:42 u64:0 pad:32 zero:384", "w", TERN_DT_Q2_0, 360, 64},
    {"gguf:3,1,0 str:w u32:1 u64:1280 u32:42 u64:0 pad:32 zero:352", "w", TERN_DT_PQ2_0, 340, 64},
    {"gguf:3,1,0 str:w u32:1 u64:192 u32:42 u64:0 pad:32 zero:64", "w", TERN_DT_Q2_0, 54, 64},
    {"gguf:3,1,0 str:w u32:1 u64:1280 u32:43 u64:0 pad:32 zero:352", "w", TERN_DT_PQ2_0, 340, 64},
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:142 u64:0 pad:32 zero:96", "w", TERN_DT_PQ2_0, 68, 64},
    {"gguf:3,1,0 str:w u32:1 u64:256 u32:143 u64:0 pad:32 zero:64", "w", TERN_DT_PTQ1_0, 56, 64},
    {"gguf:3,1,0 str:w u32:2 u64:128 u64:2 u32:134 u64:0 pad:32 zero:64", "w", TERN_DT_IQ1_BN, 56,
     96},
    {"gguf:3,1,0 str:w u32:2 u64:128 u64:2 u32:135 u64:0 pad:32 zero:96", "w", TERN_DT_IQ2_BN, 72,
     96},
    /* 36 and 34 bytes both pad to 64: the larger tensor of the same id tells */
    {PAIR(64, 384), "w", TERN_DT_Q2_0, 36, 96},
    {PAIR(64, 384), "x", TERN_DT_Q2_0, 360, 160},
    {PAIR(64, 352), "w", TERN_DT_PQ2_0, 34, 96},
    {PAIR(64, 352), "x", TERN_DT_PQ2_0, 340, 160},
    {"gguf:3,1,0 str:w u32:1 u64:128 u32:42 u64:0 pad:32 zero:64", "w", TERN_DT_Q2_0, 36, 64},
    {"gguf:3,1,0 str:w u32:1 u64:128 u32:42 u64:0 pad:32 zero:34", "w", TERN_DT_PQ2_0, 34, 64},
};

static void test_accepts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        const good_file *row = &good[i];
        tern_str s;
        tern_err err;
        tern_dir *d;
        tern_str_init(&s, 1 << 20);
        test_bytes(&s, row->script);
        uint8_t *data = exact_copy(tern_str_get(&s), s.len);
        if (tern_gguf_open_memory(data, s.len, "good.gguf", NULL, &d, &err) != TERN_OK)
            fail_msg("%s\nrefused: %s", row->script, err.msg);
        const tern_tensor *t = row->tensor ? tern_dir_tensor_find(d, row->tensor) : NULL;
        if (row->tensor && (!t || t->dtype != row->dtype || t->bytes != row->bytes ||
                            t->offset != row->offset || t->data != data + t->offset))
            fail_msg("%s\nread as %s, %zu bytes at %zu", row->script,
                     t ? tern_dtype_get(t->dtype)->name : "nothing", t ? t->bytes : 0,
                     t ? t->offset : 0);
        tern_dir_close(d);
        free(data);
        tern_str_done(&s);
    }
}

/* ---- any damage -------------------------------------------------------------------------- */

typedef struct open_ctx {
    const uint8_t *data;
    size_t n;
} open_ctx;

static tern_code open_and_close(void *ctx, tern_err *err)
{
    const open_ctx *c = ctx;
    tern_dir *d;
    tern_code rc = tern_gguf_open_memory(c->data, c->n, "case.gguf", NULL, &d, err);
    if (rc == TERN_OK)
        tern_dir_close(d);
    return rc;
}

static void test_truncated_anywhere(void **state)
{
    (void)state;
    size_t n_types;
    tern_str s;
    tern_str_init(&s, 4096);
    test_bytes(&s, example);
    uint8_t *types_file = test_read_file(GOLDEN "types.gguf", &n_types);
    assert_non_null(types_file);
    const open_ctx files[] = {{(const uint8_t *)s.data, s.len}, {types_file, n_types - 8}};
    for (size_t k = 0; k < 2; k++)
        for (size_t n = 0; n < files[k].n; n++) { /* types.gguf ends in 8 bytes of padding */
            tern_err err;
            uint8_t *cut = exact_copy(files[k].data, n);
            tern_code rc = open_and_close(&(open_ctx){cut, n}, &err);
            if (rc != TERN_E_FORMAT)
                fail_msg("cut to %zu bytes: code %d", n, (int)rc);
            free(cut);
        }
    free(types_file);
    tern_str_done(&s);
}

/* Whatever one byte becomes, what is accepted lies inside the file. */
static void test_every_value_of_every_byte(void **state)
{
    (void)state;
    tern_str s;
    tern_str_init(&s, 4096);
    test_bytes(&s, example);
    uint8_t *data = exact_copy(s.data, s.len);
    for (size_t at = 0; at < 271; at++) {
        uint8_t old = data[at];
        for (unsigned v = 0; v < 256; v++) {
            tern_err err;
            tern_dir *d;
            data[at] = (uint8_t)v;
            if (tern_gguf_open_memory(data, s.len, "x", NULL, &d, &err) != TERN_OK)
                continue;
            for (size_t i = 0; i < d->n_tensor; i++) {
                const tern_tensor *t = &d->tensors[i];
                assert_true(t->data >= data && t->offset <= s.len && t->bytes <= s.len - t->offset);
            }
            tern_dir_close(d);
        }
        data[at] = old;
    }
    free(data);
    tern_str_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example_file),
        cmocka_unit_test(test_i2s_layout_is_an_option),
        cmocka_unit_test(test_files_of_the_gguf_package),
        cmocka_unit_test(test_accepts),
        cmocka_unit_test(test_truncated_anywhere),
        cmocka_unit_test(test_every_value_of_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
