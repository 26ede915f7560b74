#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

tern_code tern_fail(tern_err *err, tern_code code, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        err->code = code;
        (void)vsnprintf(err->msg, sizeof err->msg, fmt, ap);
        va_end(ap);
    }
    return code;
}

/* One row per code, in the order of tern_code. */
static const tern_code_info infos[TERN_CODE_COUNT] = {
    [TERN_OK] = {"ok", "", 200, 0},
    [TERN_E_USAGE] = {"usage", "invalid_request_error", 400, 2},
    [TERN_E_NOT_FOUND] = {"not_found", "not_found_error", 404, 3},
    [TERN_E_IO] = {"io", "server_error", 500, 1},
    [TERN_E_FORMAT] = {"format", "invalid_request_error", 400, 3},
    [TERN_E_UNSUPPORTED] = {"unsupported", "invalid_request_error", 400, 3},
    [TERN_E_NOMEM] = {"no_memory", "server_error", 503, 4},
    [TERN_E_LIMIT] = {"context_length_exceeded", "invalid_request_error", 400, 1},
    [TERN_E_CANCELLED] = {"cancelled", "server_error", 499, 130},
    [TERN_E_SELFTEST] = {"selftest", "server_error", 500, 3},
    [TERN_E_NETWORK] = {"network", "server_error", 502, 5},
    [TERN_E_DENIED] = {"denied", "permission_error", 403, 6},
    [TERN_E_THRESHOLD] = {"threshold", "server_error", 500, 7},
    [TERN_E_TIMEOUT] = {"timeout", "server_error", 504, 124},
    [TERN_E_INTERNAL] = {"internal", "server_error", 500, 1},
    [TERN_E_BUSY] = {"busy", "server_error", 503, 1},
};

const tern_code_info *tern_code_info_get(tern_code code)
{
    /* An enum may hold any int; compare without trusting its sign. */
    unsigned c = (unsigned)code;
    return &infos[c < TERN_CODE_COUNT ? c : TERN_E_INTERNAL];
}
