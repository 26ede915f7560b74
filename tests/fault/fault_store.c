/* Reading the store, and choosing of the hub's list, while memory runs out: an error, nothing lost. */
#include "base/error.h"
#include "store/choose.h"
#include "store/hub.h"
#include "store/store.h"
#include "support/fault.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char record[] =
    "{\"tern\":1,\"name\":\"test/x\",\"source\":{\"repo\":\"test/x\"},\"files\":[{\"name\":\"d/"
    "x.gguf\",\"size\":5,\"have\":[[1,2],[3,4]]}]}";
static const char hub[] =
    "{\"sha\":\"c0ffee\",\"siblings\":[{\"rfilename\":\"config.json\"},"
    "{\"rfilename\":\"model.safetensors\",\"size\":7},{\"rfilename\":\"x\"}]}";
static char root[] = "/tmp/tern-store-XXXXXX", folder[64], file[96];

static int make_store(void **state)
{
    (void)state;
    if (!mkdtemp(root))
        return 1;
    (void)snprintf(folder, sizeof folder, "%s/test--x", root);
    (void)snprintf(file, sizeof file, "%s/" STORE_MANIFEST, folder);
    FILE *f = mkdir(folder, 0700) == 0 ? fopen(file, "w") : NULL;
    return !f || fputs(record, f) < 0 || fclose(f) != 0;
}

static int remove_store(void **state)
{
    (void)state;
    return store_remove_tree(root, NULL) != TERN_OK;
}

static tern_code find_one(void *ctx, tern_err *err)
{
    store s;
    store_list l;
    const store_entry *e;
    tern_str path;
    (void)ctx;
    tern_code rc = store_open(&s, root, err);
    if (rc != TERN_OK)
        return rc;
    rc = store_list_read(&s, &l, err);
    if (rc == TERN_OK) {
        assert_int_equal(store_find(&l, "hf:test/x", "", false, &e, err), TERN_OK);
        tern_str_init(&path, 1000);
        store_entry_path(&s, e, &path);
        if (path.failed)
            rc = tern_fail(err, TERN_E_NOMEM, "out of memory");
        else
            assert_true(strlen(tern_str_get(&path)) == strlen(folder) + strlen("/d/x.gguf"));
        tern_str_done(&path);
        store_list_done(&l);
    }
    store_close(&s);
    return rc;
}

static tern_code choose_files(void *ctx, tern_err *err)
{
    store_manifest m;
    tern_str choices;
    (void)ctx;
    store_manifest_init(&m);
    tern_str_init(&choices, 1000);
    tern_code rc = store_spec_parse("hf:a/b", "", &m.spec, err);
    if (rc == TERN_OK)
        rc = store_hub_read(hub, sizeof hub - 1, &m, err);
    if (rc == TERN_OK)
        rc = store_choose(&m, &choices, err);
    if (rc == TERN_OK)
        assert_int_equal(m.n_file, 2);
    tern_str_done(&choices);
    store_manifest_done(&m);
    return rc;
}

static void test_every_allocation_fails(void **state)
{
    (void)state;
    assert_in_range(test_fault_sweep(find_one, NULL, TEST_FAULT_ONCE, 100), 8, 100);
    assert_in_range(test_fault_sweep(find_one, NULL, TEST_FAULT_FROM, 100), 8, 100);
    assert_in_range(test_fault_sweep(choose_files, NULL, TEST_FAULT_ONCE, 100), 4, 100);
    assert_in_range(test_fault_sweep(choose_files, NULL, TEST_FAULT_FROM, 100), 4, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_allocation_fails)};
    return cmocka_run_group_tests(tests, make_store, remove_store);
}
