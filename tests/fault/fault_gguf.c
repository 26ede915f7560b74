/* Opening a model file with every allocation failing in turn. */
#include "file/dir.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
