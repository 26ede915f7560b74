/* Reading bodies by the table. A row tells where in params its value goes, so there is one reader for each
 * type and none for each field. */
#include "params.h"

#include "base/error.h"
#include "base/num.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const param_row rows[] = {
/* clang-format off */
#define ROW(E, N, T, F) .endpoints = (E), .name = (N), .type = PARAM_##T, .field = (F)
#define FIELD(F) offsetof(params, F)
#define BOOL(E, N, F, D, A) {ROW(E, N, BOOL, FIELD(F)), .start = (D), .initial = #D, .about = (A)},
#define INT(E, N, F, LEAST, MOST, D, A) \
    {ROW(E, N, INT, FIELD(F)), .min = (LEAST), .max = (MOST), .start = (D), .initial = #D, .about = (A)},
#define NUM(E, N, F, LEAST, MOST, D, A) \
    {ROW(E, N, NUMBER, FIELD(F)), .low = (LEAST), .high = (MOST), .start = (D), .initial = #D, .about = (A)},
#define STR(E, N, F, MOST, A) {ROW(E, N, STRING, FIELD(F)), .max = (MOST), .about = (A)},
#define WORD(E, N, F, W, D, A) {ROW(E, N, WORD, FIELD(F)), .words = (W), .initial = (D), .about = (A)},
#define JSON(E, N, T, F, A) {ROW(E, N, T, FIELD(F)), .about = (A)},
#define STOPS(E, N, F, A) {ROW(E, N, STOPS, FIELD(F)), .about = (A)},
#define BIAS(E, N, F, A) {ROW(E, N, BIAS, FIELD(F)), .about = (A)},
#define IGNORED(E, N, A) {ROW(E, N, IGNORED, PARAM_NO_FIELD), .about = (A)},
#define REFUSED(E, N, A) {ROW(E, N, REFUSED, PARAM_NO_FIELD), .about = (A)},
/* clang-format on */
#include "params.def"
};
#define N_ROW (sizeof rows / sizeof rows[0])

const param_row *params_rows(size_t *n)
{
    *n = N_ROW;
    return rows;
}

/* ---- faults ---------------------------------------------------------------------------------- */

tern_code fault_set(fault *f, tern_code code, const char *param, const char *fmt, ...)
{
    va_list args;
    *f = (fault){.err.code = code};
    if (param)
        fault_param(f, "%s", param);
    va_start(args, fmt);
    vsnprintf(f->err.msg, sizeof f->err.msg, fmt, args);
    va_end(args);
    return code;
}

tern_code fault_param(fault *f, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(f->param, sizeof f->param, fmt, args);
    va_end(args);
    return f->err.code;
}

/* ---- values ---------------------------------------------------------------------------------- */

#define AT(p, row, type) ((type *)(void *)((char *)(p) + (row)->field))

static tern_code wrong(const param_row *row, fault *f, const char *expected)
{
    return fault_set(f, TERN_E_USAGE, row->name, "%s: expected %s", row->name, expected);
}

/* A number without a fraction is an integer however it is written, as far as doubles are exact. */
static bool whole_number(const json_t *v, int64_t *out)
{
    if (json_is_integer(v)) {
        *out = json_integer_value(v);
        return true;
    }
    double x = json_number_value(v);
    if (!json_is_real(v) || !(fabs(x) <= 0x1p53) || x != floor(x))
        return false;
    *out = (int64_t)x;
    return true;
}

static tern_code read_int(const param_row *row, const json_t *v, params *p, fault *f)
{
    int64_t n;
    if (!whole_number(v, &n))
        return wrong(row, f, "an integer");
    if (n < row->min || n > row->max)
        return fault_set(f, TERN_E_USAGE, row->name,
                         "%s: expected an integer from %" PRId64 " to %" PRId64, row->name,
                         row->min, row->max);
    *AT(p, row, int64_t) = n;
    if (row->field == FIELD(seed))
        p->has_seed = n != -1;
    return TERN_OK;
}

static tern_code read_number(const param_row *row, const json_t *v, params *p, fault *f)
{
    double x = json_number_value(v);
    if (!json_is_number(v))
        return wrong(row, f, "a number");
    if (!(x >= row->low && x <= row->high))
        return fault_set(f, TERN_E_USAGE, row->name, "%s: expected a number from %g to %g",
                         row->name, row->low, row->high);
    *AT(p, row, double) = x;
    return TERN_OK;
}

static tern_code read_string(const param_row *row, const json_t *v, params *p, fault *f)
{
    if (!json_is_string(v))
        return wrong(row, f, "a string");
    if (json_string_length(v) > (size_t)row->max)
        return fault_set(f, TERN_E_USAGE, row->name, "%s: expected at most %" PRId64 " bytes",
                         row->name, row->max);
    *AT(p, row, const char *) = json_string_value(v);
    return TERN_OK;
}

static tern_code read_word(const param_row *row, const json_t *v, params *p, fault *f)
{
    const char *s = json_string_value(v);
    size_t n = s ? strlen(s) : 0;
    for (const char *at = row->words; n > 0 && at; at = strchr(at, '|')) {
        at += *at == '|';
        if (strncmp(at, s, n) == 0 && (at[n] == '|' || at[n] == '\0')) {
            *AT(p, row, const char *) = s;
            return TERN_OK;
        }
    }
    return fault_set(f, TERN_E_USAGE, row->name, "%s: expected one of %s", row->name, row->words);
}

#define MAX_STOP       16
#define MAX_STOP_BYTES 256

static tern_code read_stops(const param_row *row, const json_t *v, params *p, fault *f)
{
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    bool fine = n <= MAX_STOP;
    for (size_t i = 0; fine && i < n; i++) {
        const json_t *s = json_is_array(v) ? json_array_get(v, i) : v;
        size_t bytes = json_string_length(s);
        fine = json_is_string(s) && bytes >= 1 && bytes <= MAX_STOP_BYTES;
    }
    if (!fine)
        return wrong(row, f, "a string or a list of at most 16, each of 1 to 256 bytes");
    *AT(p, row, const json_t *) = v;
    return TERN_OK;
}

#define MAX_BIAS 1024

/* Whether it is an id is for the model's vocabulary to say. */
static bool bias_is(const json_t *id, const char *key, const json_t *bias)
{
    uint64_t n;
    double x = json_number_value(bias);
    bool fine = key ? tern_parse_u64(key, strlen(key), &n) && n <= INT32_MAX
                    : json_is_integer(id) && json_integer_value(id) >= 0 &&
                          json_integer_value(id) <= INT32_MAX;
    return fine && json_is_number(bias) && x >= -100 && x <= 100;
}

static tern_code read_bias(const param_row *row, json_t *v, params *p, fault *f)
{
    size_t n = json_is_array(v) ? json_array_size(v) : json_object_size(v), i;
    bool fine = (json_is_array(v) || json_is_object(v)) && n <= MAX_BIAS;
    const char *key;
    json_t *one;
    if (fine && json_is_object(v))
        json_object_foreach(v, key, one) fine = fine && bias_is(NULL, key, one);
    if (fine && json_is_array(v))
        json_array_foreach(v, i, one) fine =
            fine && json_array_size(one) == 2 &&
            bias_is(json_array_get(one, 0), NULL, json_array_get(one, 1));
    if (!fine)
        return wrong(row, f, "an object of at most 1024 token ids with numbers from -100 to 100");
    *AT(p, row, const json_t *) = v;
    return TERN_OK;
}

static tern_code read_json(const param_row *row, const json_t *v, params *p, fault *f)
{
    if (row->type == PARAM_OBJECT && !json_is_object(v))
        return wrong(row, f, "an object");
    if (row->type == PARAM_ARRAY && !json_is_array(v))
        return wrong(row, f, "a list");
    *AT(p, row, const json_t *) = v;
    return TERN_OK;
}

static tern_code read_value(const param_row *row, json_t *v, params *p, fault *f)
{
    switch (row->type) {
    case PARAM_BOOL:
        if (!json_is_boolean(v))
            return wrong(row, f, "true or false");
        *AT(p, row, bool) = json_is_true(v);
        return TERN_OK;
    case PARAM_INT:
        return read_int(row, v, p, f);
    case PARAM_NUMBER:
        return read_number(row, v, p, f);
    case PARAM_STRING:
        return read_string(row, v, p, f);
    case PARAM_WORD:
        return read_word(row, v, p, f);
    case PARAM_STOPS:
        return read_stops(row, v, p, f);
    case PARAM_BIAS:
        return read_bias(row, v, p, f);
    case PARAM_OBJECT:
    case PARAM_ARRAY:
    case PARAM_VALUE:
        return read_json(row, v, p, f);
    case PARAM_REFUSED:
        return fault_set(f, TERN_E_USAGE, row->name, "%s: %s", row->name, row->about);
    case PARAM_IGNORED:
        break;
    }
    return TERN_OK;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

/* The value a row means: of its name, or of "a.b" that of b in the object a. */
static tern_code find(const param_row *row, const json_t *body, json_t **out, fault *f)
{
    const char *dot = strchr(row->name, '.');
    *out = NULL;
    if (!dot) {
        *out = json_object_get(body, row->name);
    } else {
        char outer[32];
        size_t n = (size_t)(dot - row->name);
        memcpy(outer, row->name, n);
        outer[n] = '\0';
        const json_t *within = json_object_get(body, outer);
        if (within && !json_is_null(within) && !json_is_object(within))
            return fault_set(f, TERN_E_USAGE, outer, "%s: expected an object", outer);
        *out = json_object_get(within, dot + 1);
    }
    if (json_is_null(*out))
        *out = NULL;
    return TERN_OK;
}

/* Whether a row's name begins with the outer name, or is it. */
static bool knows(unsigned endpoint, const char *outer, const char *key)
{
    size_t n_outer = strlen(outer), n_key = strlen(key);
    for (size_t i = 0; i < N_ROW; i++) {
        const char *name = rows[i].name;
        if (!(rows[i].endpoints & endpoint) || strncmp(name, outer, n_outer) != 0)
            continue;
        name += n_outer;
        if (strncmp(name, key, n_key) == 0 && (name[n_key] == '\0' || name[n_key] == '.'))
            return true;
    }
    return false;
}

/* Only plain words may stand in a header. */
static bool is_word(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    return n >= 1 && n <= 64 && s[n] == '\0';
}

static void list_unknown(const json_t *object, unsigned endpoint, const char *outer, tern_str *out)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)object, key, v)
    {
        if (knows(endpoint, outer, key) || !is_word(key))
            continue;
        tern_str_printf(out, "%s%s%s", out->len ? "," : "", outer, key);
    }
}

static void list_all_unknown(const json_t *body, unsigned endpoint, tern_str *out)
{
    static const char *const outer[] = {"stream_options", "options"};
    list_unknown(body, endpoint, "", out);
    for (size_t i = 0; i < sizeof outer / sizeof outer[0]; i++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "%s.", outer[i]);
        if (knows(endpoint, "", outer[i]))
            list_unknown(json_object_get(body, outer[i]), endpoint, prefix, out);
    }
}

/* An endpoint's own rows come last, so that their defaults count. */
void params_init(params *p, param_endpoint endpoint)
{
    *p = (params){0};
    for (int own = 0; own < 2; own++) {
        for (const param_row *row = rows; row < rows + N_ROW; row++) {
            if (own && !(row->endpoints & endpoint))
                continue;
            if (row->type == PARAM_BOOL)
                *AT(p, row, bool) = row->start != 0;
            else if (row->type == PARAM_INT)
                *AT(p, row, int64_t) = (int64_t)row->start;
            else if (row->type == PARAM_NUMBER)
                *AT(p, row, double) = row->start;
            else if (row->type == PARAM_WORD)
                *AT(p, row, const char *) = row->initial;
        }
    }
}

void params_recommend(params *p, const tern_gen_opts *g)
{
    p->temperature = tern_f32_decimal(g->temp);
    p->top_k = g->top_k;
    p->top_p = tern_f32_decimal(g->top_p);
    p->min_p = tern_f32_decimal(g->min_p);
    p->repeat_penalty = tern_f32_decimal(g->repeat_penalty);
    p->repeat_last_n = g->repeat_last_n;
}

tern_code params_read(const json_t *body, param_endpoint endpoint, const tern_gen_opts *start,
                      params *p, tern_str *unknown, fault *f)
{
    *f = (fault){0};
    params_init(p, endpoint);
    if (start)
        params_recommend(p, start);
    if (!json_is_object(body))
        return fault_set(f, TERN_E_USAGE, NULL, "the body: expected a JSON object");
    for (const param_row *row = rows; row < rows + N_ROW; row++) {
        json_t *v;
        if (!(row->endpoints & endpoint))
            continue;
        TERN_TRY(find(row, body, &v, f));
        if (v)
            TERN_TRY(read_value(row, v, p, f));
    }
    if (unknown)
        list_all_unknown(body, endpoint, unknown);
    return TERN_OK;
}
