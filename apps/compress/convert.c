#include "compress/convert.h"
#include "base/error.h"
#include "base/topology.h"

#include <string.h>
#include <sys/stat.h>

/* Ternary matrices as I2_S where all can be, else TQ2_0; without any, everything as it is. */
static void choose_type(compress_opts *o, const tern_dir *d)
{
    size_t n_ternary = 0;
    bool i2s = true;
    if (o->type != TERN_DT_COUNT)
        return;
    for (size_t i = 0; i < d->n_tensor; i++) {
        const tern_tensor *t = &d->tensors[i];
        const tern_dtype_info *dt = tern_dtype_get(t->dtype);
        if (dt->cls != TERN_CLASS_TERNARY)
            continue;
        n_ternary++;
        i2s = i2s && dt->code_group == -1 && t->ne[0] % 128 == 0;
    }
    o->type = n_ternary == 0 ? TERN_DT_F16 : i2s ? TERN_DT_I2_S : TERN_DT_TQ2_0;
    o->keep = n_ternary == 0;
}

/* Its pages would be read while it is replaced; and who means it, loses the source. */
static tern_code check_other(const tern_dir *d, const char *out, tern_err *err)
{
    struct stat a, b;
    if (strcmp(out, "-") == 0 || stat(out, &b) != 0)
        return TERN_OK;
    for (size_t i = 0; i < d->n_map; i++)
        if (d->maps[i].data && fstat(d->maps[i].fd, &a) == 0 && a.st_ino == b.st_ino &&
            a.st_dev == b.st_dev)
            return tern_fail(err, TERN_E_USAGE, "%s is what is read: write to another file", out);
    return TERN_OK;
}

tern_code compress_convert(const char *in, const tern_import_opts *io, const char *out,
                           compress_opts *o, int n_thread, tern_err *err)
{
    tern_dir *d = NULL;
    tern_topology t;
    tern_code rc;
    TERN_TRY_GOTO(tern_import_open(in, io, &d, err));
    TERN_TRY_GOTO(check_other(d, out, err));
    tern_topology_get(&t);
    choose_type(o, d);
    TERN_TRY_GOTO(
        tern_pool_new(n_thread > 0 ? n_thread : tern_topology_threads(&t), &o->pool, err));
    rc = compress_rewrite(d, out, o, err);
fail:
    tern_pool_free(o->pool);
    o->pool = NULL;
    tern_dir_close(d);
    return rc;
}
