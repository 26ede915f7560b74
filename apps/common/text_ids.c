#include "common/text_ids.h"

#include "base/error.h"

tern_code text_ids_add(tern_ids *ids, const tern_model *m, const char *text, size_t n,
                       unsigned flags, tern_err *err)
{
    size_t n_id;
    /* Every token covers a byte at least, but for BOS, EOS and the space put before a text. */
    TERN_TRY(tern_ids_reserve(ids, n + 8, err));
    tern_code rc =
        tern_model_tokenize(m, text, n, flags, ids->v + ids->n, ids->cap - ids->n, &n_id, err);
    if (rc == TERN_E_LIMIT && n_id > ids->cap - ids->n) {
        TERN_TRY(tern_ids_reserve(ids, n_id, err));
        rc = tern_model_tokenize(m, text, n, flags, ids->v + ids->n, ids->cap - ids->n, &n_id, err);
    }
    if (rc == TERN_OK)
        ids->n += n_id;
    return rc;
}
