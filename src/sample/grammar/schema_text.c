/* Strings: lengths, patterns, formats. */
#include "sample/grammar/net.h"
#include "sample/grammar/regex.h"
#include "sample/grammar/schema.h"

#include "base/error.h"

#include <string.h>

#define DATE                                                                                       \
    "[1-9][0-9]{3}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|"              \
    "(0[13578]|1[02])-31)"
#define TIME                                                                                       \
    "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]" \
    ")"
#define BYTE  "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define LABEL "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"

/* Each a part of what the format's standard allows, so that what comes out is valid. 29 February is left out:
 * it takes a leap year. */
static const struct format {
    const char *name, *pattern;
} formats[] = {
    {"date", DATE},
    {"time", TIME},
    {"date-time", DATE "T" TIME},
    {"duration",
     "P([1-9][0-9]{0,3}W|[1-9][0-9]{0,3}D(T[1-9][0-9]{0,3}[HMS])?|T[1-9][0-9]{0,3}[HMS])"},
    {"uuid", "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"},
    {"email", "[a-zA-Z0-9]+([._+-][a-zA-Z0-9]+)*@" LABEL "(\\." LABEL ")*\\.[a-z]{2,16}"},
    {"hostname", LABEL "(\\." LABEL "){0,3}"},
    {"ipv4", BYTE "(\\." BYTE "){3}"},
    {"ipv6", "([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}"},
    {"uri", "https?://" LABEL "(\\." LABEL "){0,3}(:[1-9][0-9]{0,3})?(/[a-zA-Z0-9._~-]*)*"
            "(\\?[a-zA-Z0-9._~=&-]*)?(#[a-zA-Z0-9._~-]*)?"},
};

static tern_code put_pattern(tern_schema *c, const char *keyword, const char *pattern, size_t n,
                             bool search, tern_str *out)
{
    tern_err why;
    tern_str around, body;
    tern_str_init(&around, 256);
    tern_str_init(&body, TERN_GRAMMAR_TEXT);
    if (search) {
        tern_schema_put_shared(c, TERN_SCHEMA_CHAR, &around);
        tern_str_putc(&around, '*');
    }
    body.failed |= around.failed;
    tern_regex_opts o = {.json = true, .around = search ? tern_str_get(&around) : NULL};
    tern_str_puts(&body, "\"\\\"\" (");
    tern_code rc = tern_regex_to_gbnf(pattern, n, &o, &body, &why);
    tern_str_puts(&body, ") \"\\\"\"");
    tern_str_done(&around);
    if (rc == TERN_OK)
        return tern_schema_put_rule(c, &body, out);
    tern_str_done(&body);
    if (rc == TERN_E_NOMEM)
        return tern_schema_no_memory(c);
    return tern_schema_fail(c, rc, "'%s': %s", keyword, why.msg);
}

static tern_code put_format(tern_schema *c, const char *name, tern_str *out)
{
    char shown[40];
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (strcmp(formats[i].name, name) == 0)
            return put_pattern(c, "format", formats[i].pattern, strlen(formats[i].pattern), false,
                               out);
    return tern_schema_fail(c, TERN_E_UNSUPPORTED, "keyword 'format': '%s' is not supported",
                            tern_quote(shown, sizeof shown, name, strlen(name)));
}

static tern_code put_length(tern_schema *c, json_int_t min, json_int_t max, tern_str *out)
{
    if (min == 0 && max < 0) {
        tern_schema_put_shared(c, TERN_SCHEMA_STRING, out);
        return TERN_OK;
    }
    if (max >= 0 && max < min)
        return tern_schema_fail(c, TERN_E_USAGE, "'maxLength' is less than 'minLength'");
    if (min > TERN_GRAMMAR_REPEAT)
        return tern_schema_fail(c, TERN_E_LIMIT, "'minLength' is more than %d",
                                TERN_GRAMMAR_REPEAT);
    if (max > TERN_GRAMMAR_REPEAT)
        max = TERN_GRAMMAR_REPEAT;
    tern_str_puts(out, "\"\\\"\" ");
    tern_schema_put_shared(c, TERN_SCHEMA_CHAR, out);
    if (max < 0)
        tern_str_printf(out, "{%d,} \"\\\"\"", (int)min);
    else
        tern_str_printf(out, "{%d,%d} \"\\\"\"", (int)min, (int)max);
    return TERN_OK;
}

tern_code tern_schema_put_string(tern_schema *c, json_t *s, tern_str *out)
{
    json_t *pattern = json_object_get(s, "pattern"), *format = json_object_get(s, "format");
    json_int_t min, max;
    TERN_TRY(tern_schema_count(c, s, "minLength", 0, &min));
    TERN_TRY(tern_schema_count(c, s, "maxLength", -1, &max));
    if (!pattern && !format)
        return put_length(c, min, max, out);
    const char *name = pattern ? "pattern" : "format", *other = pattern && format ? "format"
                                                                : min > 0         ? "minLength"
                                                                : max >= 0        ? "maxLength"
                                                                                  : NULL;
    if (other)
        return tern_schema_fail(c, TERN_E_UNSUPPORTED, "keyword '%s' beside '%s' is not supported",
                                other, name);
    if (!json_is_string(pattern ? pattern : format))
        return tern_schema_fail(c, TERN_E_USAGE, "'%s': expected a text", name);
    if (pattern)
        return put_pattern(c, "pattern", json_string_value(pattern), json_string_length(pattern),
                           true, out);
    return put_format(c, json_string_value(format), out);
}
