/* Writing a GGUF file while memory runs out: an error, nothing left on the disk. */
#include "file/gguf_write.h"
#include "support/fault.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[] = "/tmp/tern-write-XXXXXX", path[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return 1;
    (void)snprintf(path, sizeof path, "%s/x.gguf", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder); /* fails when anything was left */
}

static tern_code write_file(void *ctx, tern_err *err)
{
    (void)ctx;
    static const float v[3];
    static const tern_slice words[] = {{"a", 1}, {"bc", 2}};
    tern_gguf_writer *w;
    tern_code rc = tern_gguf_writer_new(&w, err);
    if (rc != TERN_OK)
        return rc;
    tern_gguf_key_str(w, "general.architecture", "llama");
    tern_gguf_key_strs(w, "tokenizer.ggml.tokens", words, 2);
    tern_gguf_tensor(w, "t", TERN_DT_F32, 1, (const size_t[]){3});
    rc = tern_gguf_writer_begin(w, path, TERN_OUTFILE_PASSING, err);
    if (rc == TERN_OK)
        rc = tern_gguf_writer_data(w, v, sizeof v, err);
    if (rc == TERN_OK)
        rc = tern_gguf_writer_end(w, err);
    tern_gguf_writer_free(w);
    bool there = access(path, F_OK) == 0;
    assert_int_equal(there, rc == TERN_OK);
    if (there)
        assert_int_equal(unlink(path), 0);
    return rc;
}

static void test_every_allocation_fails(void **state)
{
    (void)state;
    assert_in_range(test_fault_sweep(write_file, NULL, TEST_FAULT_ONCE, 100), 8, 100);
    assert_in_range(test_fault_sweep(write_file, NULL, TEST_FAULT_FROM, 100), 8, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_allocation_fails)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
