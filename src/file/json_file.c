#include "file/json_file.h"
#include "base/error.h"
#include "base/os/map.h"
#include "base/str.h"

#include <string.h>

static tern_code parse(const char *name, const char *text, size_t n, size_t flags, json_t **out,
                       tern_err *err)
{
    json_error_t e;
    char shown[96], why[96];
    *out = json_loadb(n ? text : "", n, JSON_REJECT_DUPLICATES | flags, &e);
    if (*out)
        return TERN_OK;
    if (json_error_code(&e) == json_error_out_of_memory)
        return tern_fail(err, TERN_E_NOMEM, "%s: no memory for its JSON",
                         tern_quote(shown, sizeof shown, name, strlen(name)));
    return tern_fail(err, TERN_E_FORMAT, "%s: not JSON at line %d, column %d: %s",
                     tern_quote(shown, sizeof shown, name, strlen(name)), e.line, e.column,
                     tern_quote(why, sizeof why, e.text, strlen(e.text)));
}

tern_code tern_json_parse(const char *name, const char *text, size_t n, json_t **out, tern_err *err)
{
    return parse(name, text, n, 0, out, err);
}

tern_code tern_json_parse_reals(const char *name, const char *text, size_t n, json_t **out,
                                tern_err *err)
{
    return parse(name, text, n, JSON_DECODE_INT_AS_REAL, out, err);
}

tern_code tern_json_file_read(const char *path, size_t max_bytes, json_t **out, tern_err *err)
{
    tern_map_file f;
    char shown[96];
    *out = NULL;
    TERN_TRY(tern_map_open(path, &f, err));
    tern_code rc;
    if (f.size > max_bytes)
        rc = tern_fail(err, TERN_E_LIMIT, "%s: %zu bytes of JSON, at most %zu are read",
                       tern_quote(shown, sizeof shown, path, strlen(path)), f.size, max_bytes);
    else
        rc = tern_json_parse(path, (const char *)f.data, f.size, out, err);
    tern_map_close(&f);
    return rc;
}
