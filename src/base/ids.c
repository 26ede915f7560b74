#include "base/ids.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"

#include <string.h>

void tern_ids_done(tern_ids *ids)
{
    tern_free(ids->v);
    *ids = (tern_ids){0};
}

tern_code tern_ids_reserve(tern_ids *ids, size_t n_more, tern_err *err)
{
    size_t need, bytes;
    if (!tern_add_size(ids->n, n_more, &need) || !tern_mul_size(need, 2 * sizeof *ids->v, &bytes))
        return tern_fail(err, TERN_E_NOMEM, "out of memory for %zu tokens", n_more);
    if (need <= ids->cap)
        return TERN_OK;
    size_t cap = need > 2 * ids->cap ? need : 2 * ids->cap;
    int32_t *v = tern_realloc(ids->v, ids->cap * sizeof *v, cap * sizeof *v);
    if (!v)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for %zu tokens", need);
    ids->v = v;
    ids->cap = cap;
    return TERN_OK;
}

tern_code tern_ids_put(tern_ids *ids, const int32_t *v, size_t n, tern_err *err)
{
    TERN_TRY(tern_ids_reserve(ids, n, err));
    if (n > 0)
        memcpy(ids->v + ids->n, v, n * sizeof *v);
    ids->n += n;
    return TERN_OK;
}

tern_code tern_ids_push(tern_ids *ids, int32_t id, tern_err *err)
{
    if (ids->n == ids->cap)
        TERN_TRY(tern_ids_reserve(ids, 32, err));
    ids->v[ids->n++] = id;
    return TERN_OK;
}
