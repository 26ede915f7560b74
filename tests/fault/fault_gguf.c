/* Opening a model file with every allocation failing in turn. */
#include "file/dir.h"
#include "support/bytes.h"
#include "support/fault.h"
#include "support/support.h"

#define GOLDEN "tests/golden/gguf/"

static tern_code open_file(void *ctx, tern_err *err)
{
    tern_dir *d;
    tern_code rc = tern_gguf_open(ctx, NULL, &d, err);
    if (rc == TERN_OK)
        tern_dir_close(d);
    return rc;
}

static void test_every_allocation_fails_once(void **state)
{
    (void)state;
    static char files[][64] = {GOLDEN "metas.gguf", GOLDEN "types.gguf",
                               GOLDEN "split-00001-of-00003.gguf"};
    for (size_t i = 0; i < 3; i++) {
        assert_in_range(test_fault_sweep(open_file, files[i], TEST_FAULT_ONCE, 100), 5, 100);
        assert_in_range(test_fault_sweep(open_file, files[i], TEST_FAULT_FROM, 100), 5, 100);
    }
}

static tern_code open_memory(void *ctx, tern_err *err)
{
    const tern_str *s = ctx;
    tern_dir *d;
    tern_code rc = tern_gguf_open_memory(s->data, s->len, "memory", NULL, &d, err);
    if (rc == TERN_OK)
        tern_dir_close(d);
    return rc;
}

/* 5000 empty strings, the longest key: more than the block that the arena has open. */
static void test_large_values(void **state)
{
    (void)state;
    static const char *const scripts[] = {"gguf:3,0,1 str:k u32:9 u32:8 u64:5000 zero:40000",
                                          "gguf:3,0,1 u64:65535 fill:65535 u32:0 u8:1"};
    for (size_t i = 0; i < 2; i++) {
        tern_str s;
        tern_str_init(&s, 1 << 20);
        test_bytes(&s, scripts[i]);
        assert_in_range(test_fault_sweep(open_memory, &s, TEST_FAULT_ONCE, 100), 4, 100);
        assert_in_range(test_fault_sweep(open_memory, &s, TEST_FAULT_FROM, 100), 4, 100);
        tern_str_done(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_fails_once),
        cmocka_unit_test(test_large_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
