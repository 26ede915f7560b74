/* Errors as each dialect's clients expect them. */
#include "base/error.h"
#include "server/http.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Types by status; those of codes come from tern_code_info. */
static const struct {
    int status;
    const char *openai, *anthropic;
} types[] = {
    {400, "invalid_request_error", "invalid_request_error"},
    {401, "authentication_error", "authentication_error"},
    {403, "permission_error", "permission_error"},
    {404, "not_found_error", "not_found_error"},
    {413, "invalid_request_error", "request_too_large"},
    {429, "rate_limit_error", "rate_limit_error"},
    {503, "server_error", "overloaded_error"},
    {504, "server_error", "timeout_error"},
    {529, "server_error", "overloaded_error"},
};

static const char *type_of(exchange_dialect d, int status)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i].status == status)
            return d == DIALECT_ANTHROPIC ? types[i].anthropic : types[i].openai;
    if (status < 500)
        return "invalid_request_error";
    return d == DIALECT_ANTHROPIC ? "api_error" : "server_error";
}

static json_t *text_or_null(const char *s)
{
    return s ? json_string(s) : json_null();
}

json_t *exchange_error_json(const exchange *x, int status, const char *code, const char *param,
                            const char *message)
{
    exchange_dialect d = exchange_dialect_get(x);
    char named[384]; /* where a body has no place for the field at fault, its message names it */
    if (d != DIALECT_OPENAI && param && strncmp(message, param, strlen(param)) != 0) {
        (void)snprintf(named, sizeof named, "%s: %s", param, message);
        message = named;
    }
    switch (d) {
    case DIALECT_OLLAMA:
        return json_pack("{s:s}", "error", message);
    case DIALECT_ANTHROPIC:
        return json_pack("{s:s, s:{s:s, s:s}, s:s}", "type", "error", "error", "type",
                         type_of(d, status), "message", message, "request_id", x->id);
    case DIALECT_OPENAI:
        break;
    }
    return json_pack("{s:{s:s, s:s, s:o, s:o}}", "error", "message", message, "type",
                     type_of(d, status), "param", text_or_null(param), "code", text_or_null(code));
}

static void fail_with(exchange *x, int status, const char *code, const char *param,
                      const char *message)
{
    if (status == 503 && exchange_dialect_get(x) == DIALECT_ANTHROPIC)
        status = 529; /* its clients know this one as "overloaded" */
    if (status == 429 || status == 503 || status == 529) {
        char seconds[16];
        (void)snprintf(seconds, sizeof seconds, "%u", x->retry_s ? x->retry_s : 1);
        (void)exchange_set_header(x, "Retry-After", seconds);
    }
    exchange_reply_json(x, status, exchange_error_json(x, status, code, param, message));
}

void exchange_fail(exchange *x, const tern_err *err, const char *param)
{
    const tern_code_info *info = tern_code_info_get(err->code);
    fail_with(x, info->http_status, info->name, param, err->msg);
}

void exchange_refuse(exchange *x, int status, const char *code, const char *param, const char *fmt,
                     ...)
{
    char message[256];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    fail_with(x, status, code, param, message);
}

void exchange_set_refused(exchange *x, int status, const char *code, const char *fmt, ...)
{
    va_list ap;
    if (x->refused_status != 0)
        return;
    x->refused_status = status;
    (void)snprintf(x->refused_code, sizeof x->refused_code, "%s", code);
    va_start(ap, fmt);
    (void)vsnprintf(x->refused_text, sizeof x->refused_text, fmt, ap);
    va_end(ap);
}
