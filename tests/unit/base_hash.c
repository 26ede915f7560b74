#include "base/alloc.h"
#include "base/hash.h"
#include "support/support.h"

#include <stdio.h>
#include <string.h>

static bool refuse_all(void *ctx, const char *site, size_t size)
{
    (void)ctx, (void)site, (void)size;
    return true;
}

/* Values of another implementation (Python, whole numbers) of the definition in the header: they keep
 * stored hashes valid. */
static void test_hash_values_are_fixed(void **state)
{
    (void)state;
    assert_true(tern_hash64("", 0, 0) == 0xf52a15e9a9b5e89bu);
    assert_true(tern_hash64("a", 1, 0) == 0xf68b9cb2c30e4e13u);
    assert_true(tern_hash64("a", 1, 1) == 0xc72002e1bba6105eu);
    assert_true(tern_hash64("abcdefgh", 8, 0) == 0x2cba4baca96ca936u);
    assert_true(tern_hash64("abcdefghi", 10, 7) == 0x38fa3d03b2d7d151u);
    char odd[9] = "_abcdefg";
    assert_true(tern_hash64(odd + 1, 7, 0) == tern_hash64("abcdefg", 7, 0));
    assert_true(tern_hash64("\0", 1, 0) != tern_hash64("\0\0", 2, 0));
}

static void test_checksums_are_fixed(void **state)
{
    (void)state;
    static const struct {
        size_t n;
        uint64_t sum;
    } want[] = {{0, 0x5d1f314d064cc603},  {1, 0x8afbc1c066354579},  {63, 0x911ccdc9a87349e3},
                {64, 0x78d0e853246297a8}, {65, 0x07c48f1d5997ae18}, {200, 0x15a72e712e47de84}};
    uint8_t bytes[200];
    for (int i = 0; i < 200; i++)
        bytes[i] = (uint8_t)(i * 7 + 3);
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        assert_true(tern_checksum64(bytes, want[i].n) == want[i].sum);
    for (int i = 0; i < 200; i++)
        for (int bit = 0; bit < 8; bit++) {
            bytes[i] = (uint8_t)(bytes[i] ^ 1 << bit);
            assert_true(tern_checksum64(bytes, 200) != want[5].sum);
            bytes[i] = (uint8_t)(bytes[i] ^ 1 << bit);
        }
}

enum { N_KEY = 5000 };
static char keys[N_KEY][12];

static size_t key_make(int i)
{
    return (size_t)snprintf(keys[i], sizeof keys[i], "key-%d", i);
}

static void test_map_grows_and_keeps(void **state)
{
    (void)state;
    tern_map m;
    uint32_t v = 0, old = 0;
    bool ok = false;
    tern_map_init(&m);
    assert_false(tern_map_find(&m, "none", 4, &v));
    for (int i = 0; i < N_KEY; i++) {
        size_t n = key_make(i);
        assert_false(tern_map_add(&m, keys[i], n, (uint32_t)i * 3, &old, &ok));
        assert_true(ok);
    }
    assert_int_equal(m.n, N_KEY);
    for (int i = 0; i < N_KEY; i++) {
        char other[12]; /* equal bytes at another address */
        size_t n = (size_t)snprintf(other, sizeof other, "key-%d", i);
        assert_true(tern_map_find(&m, other, n, &v));
        assert_int_equal(v, i * 3);
        assert_true(tern_map_add(&m, other, n, 1, &old, &ok));
        assert_true(ok);
        assert_int_equal(old, i * 3);
    }
    assert_int_equal(m.n, N_KEY);
    assert_false(tern_map_find(&m, "key-5000", 8, &v));
    assert_false(tern_map_find(&m, "key-", 4, &v));
    assert_true(tern_map_add(&m, "key-17", 6, 1, NULL, &ok));
    tern_map_done(&m);
    tern_map_done(&m);
}

static void test_keys_are_bytes(void **state)
{
    (void)state;
    tern_map m;
    uint32_t v;
    bool ok;
    tern_map_init(&m);
    assert_false(tern_map_add(&m, "", 0, 1, NULL, &ok));
    assert_false(tern_map_add(&m, "\0", 1, 2, NULL, &ok));
    assert_false(tern_map_add(&m, "a\0b", 3, 3, NULL, &ok));
    assert_false(tern_map_add(&m, "a\0c", 3, 4, NULL, &ok));
    assert_true(tern_map_find(&m, "", 0, &v) && v == 1);
    assert_true(tern_map_find(&m, "\0", 1, &v) && v == 2);
    assert_true(tern_map_find(&m, "a\0b", 3, &v) && v == 3);
    assert_true(tern_map_find(&m, "a\0c", 3, &v) && v == 4);
    assert_false(tern_map_find(&m, "a", 1, &v));
    tern_map_done(&m);
}

static void test_exhausted_memory_leaves_the_map(void **state)
{
    (void)state;
    tern_map m;
    uint32_t v;
    bool ok;
    tern_map_init(&m);
    assert_false(tern_map_reserve(&m, SIZE_MAX));
    assert_false(tern_map_reserve(&m, SIZE_MAX / 32));
    assert_true(tern_map_reserve(&m, 12));
    tern_alloc_hook_set(refuse_all, NULL);
    for (int i = 0; i < 12; i++) { /* promised by reserve: needs no memory */
        assert_false(tern_map_add(&m, keys[i], key_make(i), 7, NULL, &ok));
        assert_true(ok);
    }
    assert_false(tern_map_add(&m, "more", 4, 7, NULL, &ok));
    assert_false(ok);
    assert_false(tern_map_reserve(&m, 1000));
    tern_alloc_hook_set(NULL, NULL);
    assert_int_equal(m.n, 12);
    assert_true(tern_map_find(&m, "key-11", 6, &v) && v == 7);
    assert_false(tern_map_find(&m, "more", 4, &v));
    tern_map_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_values_are_fixed),
        cmocka_unit_test(test_checksums_are_fixed),
        cmocka_unit_test(test_map_grows_and_keeps),
        cmocka_unit_test(test_keys_are_bytes),
        cmocka_unit_test(test_exhausted_memory_leaves_the_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
