#include "sample/grammar/choice.h"

#include "base/error.h"
#include "sample/grammar/regex.h"

#include <jansson.h>

static tern_code write_list(json_t *list, tern_str *out, tern_err *err)
{
    json_t *v;
    size_t i;
    if (!json_is_array(list) || json_array_size(list) == 0)
        return tern_fail(err, TERN_E_USAGE, "choice: expected a JSON array of texts");
    tern_str_puts(out, "root ::= ");
    json_array_foreach(list, i, v)
    {
        if (!json_is_string(v))
            return tern_fail(err, TERN_E_USAGE, "choice: element %zu is no text", i);
        tern_str_puts(out, i ? " | " : "");
        tern_gbnf_put_text(out, json_string_value(v), json_string_length(v));
    }
    if (!out->failed)
        return TERN_OK;
    return out->len < out->max / 2 ? tern_fail(err, TERN_E_NOMEM, "choice: out of memory")
                                   : tern_fail(err, TERN_E_LIMIT, "choice: the texts are too long");
}

tern_code tern_choice_write(const char *list, size_t n, tern_str *out, tern_err *err)
{
    json_error_t why;
    json_t *v = json_loadb(list, n, JSON_DECODE_ANY, &why);
    if (!v)
        return tern_fail(err, TERN_E_USAGE, "choice: line %d: %s", why.line, why.text);
    tern_code rc = write_list(v, out, err);
    json_decref(v);
    return rc;
}
