/* Any bytes as the record of a model, finished or not, and as the hub's list of files: what is taken
 * can be written and read again, and names no file outside its folder. */
#include "fuzz/fuzz.h"
#include "store/choose.h"
#include "store/hub.h"

#include <stdlib.h>
#include <string.h>

static void check_names(const store_manifest *m)
{
    for (size_t i = 0; i < m->n_file; i++) {
        const char *s = m->files[i].name;
        if (!*s || *s == '/' || strstr(s, "/../") || strncmp(s, "../", 3) == 0 ||
            strcmp(s, "..") == 0 || (strlen(s) > 2 && strcmp(s + strlen(s) - 3, "/..") == 0))
            abort();
    }
}

static void record(const char *text, size_t n)
{
    store_manifest m, again;
    tern_err err = {.code = TERN_OK};
    if (store_manifest_parse(text, n, "x", &m, &err) != TERN_OK) {
        if (err.code == TERN_OK || !err.msg[0] || m.files || m.name)
            abort();
        return;
    }
    check_names(&m);
    if (store_manifest_missing(&m) > store_manifest_bytes(&m))
        abort();
    json_t *o = store_manifest_json(&m);
    char *written = o ? json_dumps(o, 0) : NULL;
    if (!written || store_manifest_parse(written, strlen(written), "x", &again, &err) != TERN_OK)
        abort();
    if (again.n_file != m.n_file || strcmp(again.name, m.name) != 0 ||
        store_manifest_missing(&again) != store_manifest_missing(&m))
        abort();
    store_manifest_done(&again);
    store_manifest_done(&m);
    json_decref(o);
    free(written);
}

static void list(const char *text, size_t n)
{
    store_manifest m;
    tern_str choices;
    tern_err err;
    store_manifest_init(&m);
    tern_str_init(&choices, (size_t)1 << 20);
    memcpy(m.spec.repo, "a/b", 4);
    if (store_hub_read(text, n, &m, &err) == TERN_OK) {
        check_names(&m);
        size_t before = m.n_file;
        if (store_choose(&m, &choices, &err) == TERN_OK && (m.n_file == 0 || m.n_file > before))
            abort();
    }
    store_manifest_done(&m);
    tern_str_done(&choices);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    record((const char *)data, size);
    list((const char *)data, size);
    return 0;
}
