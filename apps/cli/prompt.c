/* From a conversation to token ids. */
#include "base/error.h"
#include "cli.h"

#include <stdlib.h>

tern_code cli_chat_ids(const tern_model *m, const json_t *messages, tern_ids *out, tern_err *err)
{
    char *json = json_dumps(messages, 0);
    int32_t *ids = NULL;
    size_t n = 0;
    if (!json)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the prompt");
    tern_code rc = tern_model_chat_tokenize(m, json, NULL, true, &ids, &n, err);
    for (size_t i = 0; rc == TERN_OK && i < n; i++)
        rc = tern_ids_push(out, ids[i], err);
    tern_ids_free(ids);
    free(json);
    return rc;
}
