/* Any bytes as a safetensors file, or as an index with the files it names. The first byte tells: 'f', the
 * rest is the file; 'i', records divided by 0x1E follow, the index and then the heads of a.safetensors,
 * b.safetensors and so on. What is read lies inside of the files, which it fills; what is refused has not
 * taken more than 1 MiB and 16 times its size. */
#include "base/alloc.h"
#include "file/dir_make.h"
#include "file/safetensors.h"
#include "fuzz/fuzz.h"
#include "fuzz/scratch.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define DATA_MAX     ((size_t)4096)
#define N_SHARD      4
#define REFUSED_MAX  ((size_t)1 << 20)
#define REFUSED_EACH 16

static void check_tensor(const tern_dir *d, const tern_tensor *t)
{
    size_t bytes = 0, sum = 0;
    bool inside = false;
    fuzz_must(t->n_dim >= 1 && t->n_dim <= 4 && tern_dtype_bytes(t->dtype, t->ne, &bytes));
    fuzz_must(bytes == t->bytes && tern_dir_tensor_find(d, t->name) == t);
    for (size_t i = 0; i < d->n_map; i++)
        inside |= t->data >= d->maps[i].data && t->offset <= d->maps[i].size &&
                  t->bytes <= d->maps[i].size - t->offset && t->data == d->maps[i].data + t->offset;
    fuzz_must(inside);
    for (size_t i = 0; i < t->bytes; i++) /* the sanitizer looks, too */
        sum += t->data[i];
    fuzz_must(sum <= 255 * t->bytes);
}

static size_t write_records(const char *p, size_t n)
{
    char name[] = "a.safetensors";
    size_t total = 0;
    for (int i = 0; i <= N_SHARD; i++) {
        const char *end = n ? memchr(p, 0x1E, n) : NULL;
        size_t len = end ? (size_t)(end - p) : n;
        if (i == 0) {
            scratch_write("index.json", p, len);
        } else if (len) {
            name[0] = (char)('a' + i - 1);
            scratch_container(name, p, len, DATA_MAX, 0);
        }
        total += len;
        len += end != NULL;
        p += len;
        n -= len;
    }
    return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tern_err err = {0};
    tern_dir *d;
    size_t bytes = 0, given = size;
    tern_code rc;
    if (!size || (data[0] != 'f' && data[0] != 'i') ||
        tern_dir_new("fuzz", (size_t)1 << 30, &d, &err) != TERN_OK)
        return 0;
    if (data[0] == 'f')
        scratch_write("x.safetensors", data + 1, size - 1);
    else
        given = write_records((const char *)data + 1, size - 1);
    tern_alloc_hook_set(fuzz_count, &bytes);
    if (data[0] == 'f')
        rc = tern_safetensors_read(d, scratch_path("x.safetensors"), &err);
    else
        rc = tern_safetensors_read_index(d, scratch_path("index.json"), &err);
    tern_alloc_hook_set(NULL, NULL);
    if (rc == TERN_OK) {
        for (size_t i = 0; i < d->n_tensor; i++)
            check_tensor(d, &d->tensors[i]);
    } else {
        fuzz_must(rc == err.code && rc != TERN_E_INTERNAL && err.msg[0] &&
                  memchr(err.msg, 0, sizeof err.msg));
        fuzz_must(bytes <= REFUSED_MAX + REFUSED_EACH * given);
    }
    tern_dir_close(d);
    scratch_clear();
    return 0;
}
