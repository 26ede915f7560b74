/* A list of token ids that grows. Zeroed it is empty. */
#ifndef TERN_BASE_IDS_H
#define TERN_BASE_IDS_H

#include "tern.h"

typedef struct tern_ids {
    int32_t *v; /* owned */
    size_t n, cap;
} tern_ids;

void tern_ids_done(tern_ids *ids);
/* Room for n_more behind those that are there. Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code tern_ids_reserve(tern_ids *ids, size_t n_more, tern_err *err);
/* Append n of them, or one. Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code tern_ids_put(tern_ids *ids, const int32_t *v, size_t n, tern_err *err);
TERN_CHECK tern_code tern_ids_push(tern_ids *ids, int32_t id, tern_err *err);

#endif
