/* Typed look-ups in a directory of metadata. */
#include "file/dir.h"
#include "support/bytes.h"
#include "support/support.h"

#include <string.h>

#define GOLDEN "tests/golden/gguf/"

static bool slice_is(tern_slice s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

static void test_getters(void **state)
{
    (void)state;
    tern_dir *d;
    tern_err err;
    uint32_t u = 77;
    float f = 0;
    bool b, found = true;
    tern_slice s;
    assert_int_equal(tern_gguf_open(GOLDEN "metas.gguf", NULL, &d, &err), TERN_OK);
    assert_int_equal(tern_dir_get_u32(d, "absent", &u, &found, &err), TERN_OK);
    assert_false(found);
    assert_int_equal(u, 77);
    static const struct {
        const char *key;
        uint32_t value;
    } ints[] = {{"n.u8", 255}, {"n.u16", 65535}, {"n.u32", UINT32_MAX}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(tern_dir_get_u32(d, ints[i].key, &u, &found, &err), TERN_OK);
        assert_true(found && u == ints[i].value);
    }
    static const char *const bad[] = {"n.i8",  "n.i16",  "n.i32",  "n.i64", "n.u64",
                                      "n.f32", "b.true", "s.utf8", "a.u8"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(tern_dir_get_u32(d, bad[i], &u, NULL, &err), TERN_E_FORMAT);
        assert_non_null(strstr(err.msg, bad[i]));
        assert_non_null(strstr(err.msg, "metas.gguf"));
    }
    assert_int_equal(u, UINT32_MAX);
    assert_int_equal(tern_dir_get_f32(d, "n.f32", &f, &found, &err), TERN_OK);
    assert_true(found && f == 1e-5f);
    assert_int_equal(tern_dir_get_f32(d, "n.f64", &f, NULL, &err), TERN_E_FORMAT); /* -1e300 */
    assert_int_equal(tern_dir_get_f32(d, "n.u8", &f, NULL, &err), TERN_E_FORMAT);
    assert_int_equal(tern_dir_get_bool(d, "b.false", &b, &found, &err), TERN_OK);
    assert_true(found && !b);
    assert_int_equal(tern_dir_get_bool(d, "n.u8", &b, NULL, &err), TERN_E_FORMAT);
    assert_int_equal(tern_dir_get_str(d, "s.short", &s, &found, &err), TERN_OK);
    assert_true(found && slice_is(s, "-"));
    assert_int_equal(tern_dir_get_str(d, "n.u8", &s, NULL, &err), TERN_E_FORMAT);

    const tern_meta *m = tern_dir_meta_find(d, "a.u64");
    assert_true(tern_meta_elem_i64(m, 0) == INT64_MAX && tern_meta_elem_i64(m, 1) == 7);
    assert_true(tern_meta_elem_f64(m, 0) == 0x1p64);
    m = tern_dir_meta_find(d, "a.i16");
    assert_true(tern_meta_elem_f64(m, 0) == -1 && tern_meta_elem_i64(m, 2) == -32768);
    m = tern_dir_meta_find(d, "a.f32");
    assert_true(tern_meta_elem_f64(m, 0) == (double)0.1f);
    assert_true(tern_meta_elem_i64(m, 2) == INT64_MAX && tern_meta_elem_i64(m, 0) == 0);
    m = tern_dir_meta_find(d, "a.bool");
    assert_true(tern_meta_elem_i64(m, 0) == 1 && tern_meta_elem_i64(m, 1) == 0);
    tern_dir_close(d);
}

/* Values at the edges of their types, which no writer's file holds. */
static void test_edges(void **state)
{
    (void)state;
    tern_str s;
    tern_dir *d;
    tern_err err;
    uint32_t u = 0;
    float f = 0;
    bool b = true, found = true;
    tern_slice text = {NULL, 0};
    tern_str_init(&s, 4096);
    test_bytes(&s, "gguf:3,0,8 str:i8 u32:1 u8:127 str:i64.max u32:11 u64:4294967295 "
                   "str:i64.over u32:11 u64:4294967296 str:f32.inf u32:6 u32:2139095040 "
                   "str:f64.inf u32:12 u64:18442240474082181120 str:f64.nan u32:12 "
                   "u64:9221120237041090560 str:bool u32:7 u8:255 str:a u32:9 u32:12 u64:3 "
                   "u64:18442240474082181120 u64:9221120237041090560 u64:13832806255468478464");
    assert_int_equal(tern_gguf_open_memory(s.data, s.len, "edges", NULL, &d, &err), TERN_OK);
    assert_int_equal(tern_dir_get_u32(d, "i8", &u, NULL, &err), TERN_OK);
    assert_int_equal(u, 127);
    assert_int_equal(tern_dir_get_u32(d, "i64.max", &u, NULL, &err), TERN_OK);
    assert_int_equal(u, UINT32_MAX);
    assert_int_equal(tern_dir_get_u32(d, "i64.over", &u, NULL, &err), TERN_E_FORMAT);
    assert_non_null(strstr(err.msg, "too large"));
    assert_int_equal(tern_dir_get_f32(d, "f32.inf", &f, NULL, &err), TERN_OK);
    assert_true(f > 3e38f && f == f * 2);
    f = 0;
    assert_int_equal(tern_dir_get_f32(d, "f64.inf", &f, NULL, &err), TERN_OK);
    assert_true(f < -3e38f && f == f * 2);
    assert_int_equal(tern_dir_get_f32(d, "f64.nan", &f, NULL, &err), TERN_OK);
    assert_true(f != f);
    b = false;
    assert_int_equal(tern_dir_get_bool(d, "bool", &b, NULL, &err), TERN_OK);
    assert_true(b); /* any byte but 0 */
    assert_int_equal(tern_dir_meta_find(d, "bool")->v.u, 1);

    f = 5;
    assert_int_equal(tern_dir_get_f32(d, "absent", &f, &found, &err), TERN_OK);
    assert_true(!found && f == 5);
    assert_int_equal(tern_dir_get_bool(d, "absent", &b, &found, &err), TERN_OK);
    assert_true(!found && b);
    assert_int_equal(tern_dir_get_str(d, "absent", &text, &found, &err), TERN_OK);
    assert_true(!found && !text.p);

    const tern_meta *m = tern_dir_meta_find(d, "a"); /* -inf, NaN, -1.5 */
    assert_true(tern_meta_elem_i64(m, 0) == INT64_MIN && tern_meta_elem_i64(m, 1) == 0);
    assert_true(tern_meta_elem_i64(m, 2) == -1);
    tern_meta strings = {.elem = TERN_META_STRING, .n_elem = 1};
    assert_true(tern_meta_elem_i64(&strings, 0) == 0 && tern_meta_elem_f64(&strings, 0) == 0);
    tern_dir_close(d);
    tern_dir_close(NULL);
    tern_str_done(&s);
}

/* Parts of a tensor as in its file; a directory from memory has none to read, nor has what lies behind. */
static void test_read(void **state)
{
    (void)state;
    tern_dir *d;
    tern_err err;
    uint8_t got[256];
    assert_int_equal(tern_gguf_open(GOLDEN "types.gguf", NULL, &d, &err), TERN_OK);
    for (size_t i = 0; i < d->n_tensor; i++) {
        const tern_tensor *t = &d->tensors[i];
        for (size_t at = 0; at < t->bytes && at < sizeof got; at += 7) {
            size_t n = t->bytes - at < 9 ? t->bytes - at : 9;
            assert_true(tern_dir_tensor_read(d, t, at, got, n));
            assert_memory_equal(got, t->data + at, n);
        }
        assert_false(tern_dir_tensor_read(d, t, t->bytes, got, 1));
        assert_false(tern_dir_tensor_read(d, t, 1, got, SIZE_MAX));
    }
    tern_tensor other = d->tensors[0];
    other.data = got;
    assert_false(tern_dir_tensor_read(d, &other, 0, got, 1));
    tern_dir_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_getters),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
