/* Any bytes as a GGUF file: open it, then read everything it offers. */
#include "base/alloc.h"
#include "file/dir.h"
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static volatile uint64_t sink; /* so that no read is optimised away */

static void touch(const void *p, size_t n)
{
    const uint8_t *b = p;
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += b[i];
    sink += sum;
}

static void walk_meta(const tern_dir *d, const tern_meta *m)
{
    tern_err err;
    uint32_t u;
    float f;
    bool b;
    tern_slice s;
    if (tern_dir_meta_find(d, m->key) != m)
        abort();
    sink += (uint64_t)tern_dir_get_u32(d, m->key, &u, NULL, &err);
    sink += (uint64_t)tern_dir_get_f32(d, m->key, &f, NULL, &err);
    sink += (uint64_t)tern_dir_get_bool(d, m->key, &b, NULL, &err);
    if (tern_dir_get_str(d, m->key, &s, NULL, &err) == TERN_OK)
        touch(s.p, s.n);
    if (m->type != TERN_META_ARRAY)
        return;
    for (size_t i = 0; i < m->n_elem; i++) {
        if (m->elem == TERN_META_STRING) {
            touch(m->strings[i].p, m->strings[i].n);
        } else {
            double x = tern_meta_elem_f64(m, i);
            touch(&x, sizeof x);
            sink += (uint64_t)tern_meta_elem_i64(m, i);
        }
    }
}

static void unpack(const tern_tensor *t, size_t row)
{
    const tern_dtype_info *info = tern_dtype_get(t->dtype);
    size_t group = info->code_group > 0 ? (size_t)info->code_group : t->ne[0];
    float *values = tern_alloc(t->ne[0] * sizeof *values);
    float *scales = tern_alloc((t->ne[0] / group + 1) * sizeof *scales);
    uint8_t *codes = tern_alloc(t->ne[0]);
    if (values && codes && scales) {
        if (info->unpack_row) {
            info->unpack_row(t, row, values);
            touch(values, t->ne[0] * sizeof *values);
        }
        if (info->unpack_codes)
            info->unpack_codes(t, row, codes, scales);
    }
    tern_free(values);
    tern_free(scales);
    tern_free(codes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tern_err err;
    tern_dir *d;
    /* The layout option comes from the size: any value reaches every tensor type. */
    tern_dir_opts opts = {.i2s_layout = (tern_i2s_layout)(size % 3)};
    if (tern_gguf_open_memory(data, size, "fuzz.gguf", &opts, &d, &err) != TERN_OK) {
        if (err.msg[0] == 0 || memchr(err.msg, 0, sizeof err.msg) == NULL)
            abort();
        return 0;
    }
    for (size_t i = 0; i < d->n_meta; i++)
        walk_meta(d, &d->metas[i]);
    for (size_t i = 0; i < d->n_tensor; i++) {
        const tern_tensor *t = &d->tensors[i];
        if (tern_dir_tensor_find(d, t->name) != t)
            abort();
        touch(t->data, t->bytes);
        if (t->ne[0] <= 1 << 16) {
            unpack(t, 0);
            unpack(t, tern_tensor_rows(t) - 1);
        }
    }
    tern_dir_close(d);
    return 0;
}
