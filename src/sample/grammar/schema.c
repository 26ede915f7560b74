#include "sample/grammar/schema.h"

#include "base/alloc.h"
#include "base/error.h"
#include "sample/grammar/net.h"
#include "sample/grammar/regex.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Longest pointer that messages show the whole of. */
#define MAX_PATH 4000

/* ---- messages -------------------------------------------------------------------------------- */

tern_code tern_schema_fail(const tern_schema *c, tern_code code, const char *fmt, ...)
{
    char where[80], what[160];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return tern_fail(c->err, code, "schema: '#%s': %s",
                     tern_quote(where, sizeof where, tern_str_get(&c->path), c->path.len), what);
}

tern_code tern_schema_no_memory(const tern_schema *c)
{
    return tern_fail(c->err, TERN_E_NOMEM, "schema: out of memory");
}

tern_code tern_schema_check(const tern_schema *c, const tern_str *s)
{
    if (!s->failed)
        return TERN_OK;
    if (s->len < s->max / 2) /* it would have fitted */
        return tern_schema_no_memory(c);
    return tern_fail(c->err, TERN_E_LIMIT, "schema: its grammar is longer than %zu bytes",
                     TERN_GRAMMAR_TEXT);
}

static void path_push(tern_schema *c, const char *key)
{
    tern_str_putc(&c->path, '/');
    for (; *key; key++) {
        if (*key == '~' || *key == '/')
            tern_str_puts(&c->path, *key == '~' ? "~0" : "~1");
        else
            tern_str_putc(&c->path, *key);
    }
}

static void path_pop(tern_schema *c, size_t len)
{
    c->path.failed = false;
    if (c->path.data && len <= c->path.len) {
        c->path.len = len;
        c->path.data[len] = '\0';
    }
}

tern_code tern_schema_put_at(tern_schema *c, json_t *s, const char *key, tern_str *out)
{
    size_t len = c->path.len;
    path_push(c, key);
    tern_code rc = tern_schema_put(c, s, out);
    path_pop(c, len);
    return rc;
}

tern_code tern_schema_count(const tern_schema *c, json_t *s, const char *key, json_int_t fallback,
                            json_int_t *out)
{
    json_t *v = json_object_get(s, key);
    *out = fallback;
    if (!v)
        return TERN_OK;
    double d = json_number_value(v);
    if (!json_is_number(v) || d < 0 || d > 1e15 || d != (double)(json_int_t)d)
        return tern_schema_fail(c, TERN_E_USAGE, "'%s': expected a whole number", key);
    *out = (json_int_t)d;
    return TERN_OK;
}

/* ---- rules ----------------------------------------------------------------------------------- */

tern_code tern_schema_put_rule(tern_schema *c, tern_str *body, tern_str *out)
{
    int number = ++c->n_rule;
    tern_code rc = tern_schema_check(c, body);
    if (rc == TERN_OK) {
        tern_str_printf(&c->rules, "%s-%d ::= ", c->prefix, number);
        tern_str_put(&c->rules, tern_str_get(body), body->len);
        tern_str_putc(&c->rules, '\n');
        tern_str_printf(out, "%s-%d", c->prefix, number);
        rc = tern_schema_check(c, &c->rules);
    }
    tern_str_done(body);
    return rc;
}

static const char *const shared_name[] = {"char",   "string", "integer", "number",
                                          "object", "array",  "value"};
/* $ stands for the prefix. Escaped characters beyond U+FFFF are pairs, others are no surrogates, and none
 * is NUL. Numbers stay where every reader of JSON can follow. */
static const char *const shared_text[] = {
    "[^\"\\\\\\x00-\\x1F\\x7F] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" ([1-9a-cefA-CEF] $-hex{3} | [dD] "
    "[0-7] $-hex{2} | \"0\" [1-9a-fA-F] $-hex{2} | \"00\" [1-9a-fA-F] $-hex | \"000\" [1-9a-fA-F] "
    "| "
    "[dD] [89abAB] $-hex{2} \"\\\\u\" [dD] [c-fC-F] $-hex{2}))\n$-hex ::= [0-9a-fA-F]",
    "\"\\\"\" $-char* \"\\\"\"",
    "\"-\"? (\"0\" | [1-9] [0-9]{0,15})",
    "\"-\"? (\"0\" | [1-9] [0-9]{0,15}) (\".\" [0-9]{1,16})? ([eE] [+-]? [0-9] [0-9]?)?",
    "\"{\" ($-string " TERN_SCHEMA_COLON " $-value (" TERN_SCHEMA_COMMA
    " $-string " TERN_SCHEMA_COLON " $-value)*)? \"}\"",
    "\"[\" ($-value (" TERN_SCHEMA_COMMA " $-value)*)? \"]\"",
    "$-object | $-array | $-string | $-number | \"true\" | \"false\" | \"null\""};
/* What each needs: bits of the others. */
static const unsigned shared_needs[] = {0,
                                        1u << TERN_SCHEMA_CHAR,
                                        0,
                                        0,
                                        1u << TERN_SCHEMA_VALUE,
                                        1u << TERN_SCHEMA_VALUE,
                                        1u << TERN_SCHEMA_OBJECT | 1u << TERN_SCHEMA_ARRAY |
                                            1u << TERN_SCHEMA_STRING | 1u << TERN_SCHEMA_NUMBER |
                                            1u << TERN_SCHEMA_CHAR};

void tern_schema_put_shared(tern_schema *c, tern_schema_shared which, tern_str *out)
{
    unsigned want = 1u << which;
    for (int round = 0; round < 4; round++)
        for (int i = 0; i < TERN_SCHEMA_SHARED_COUNT; i++)
            if (want >> i & 1)
                want |= shared_needs[i];
    for (int i = 0; i < TERN_SCHEMA_SHARED_COUNT; i++) {
        if (!(want >> i & 1) || c->shared[i])
            continue;
        c->shared[i] = true;
        tern_str_printf(&c->rules, "%s-%s ::= ", c->prefix, shared_name[i]);
        for (const char *p = shared_text[i]; *p; p++) {
            if (*p == '$')
                tern_str_puts(&c->rules, c->prefix);
            else
                tern_str_putc(&c->rules, *p);
        }
        tern_str_putc(&c->rules, '\n');
    }
    tern_str_printf(out, "%s-%s", c->prefix, shared_name[which]);
}

/* ---- values ---------------------------------------------------------------------------------- */

/* A real in the fewest digits that mean it. */
static char *real_text(json_t *v)
{
    for (size_t digits = 15; digits < 17; digits++) {
        char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
        json_t *again = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
        bool same = again && json_number_value(again) == json_number_value(v);
        json_decref(again);
        if (same || !text)
            return text;
        free(text);
    }
    return json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
}

tern_code tern_schema_put_value(tern_schema *c, json_t *v, tern_str *out)
{
    char *text = json_is_real(v) ? real_text(v) : json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    if (!text)
        return tern_schema_fail(c, TERN_E_USAGE, "a value that JSON cannot express");
    tern_gbnf_put_text(out, text, strlen(text));
    free(text);
    return tern_schema_check(c, out);
}

/* ---- references ------------------------------------------------------------------------------ */

/* One step of a pointer, "~1" and "%24" decoded. */
static bool decode_step(const char **p, tern_str *out)
{
    tern_str_clear(out);
    for (; **p && **p != '/'; (*p)++) {
        char ch = **p;
        if (ch == '~') {
            (*p)++;
            if (**p != '0' && **p != '1')
                return false;
            ch = **p == '0' ? '~' : '/';
        } else if (ch == '%') {
            static const char digits[] = "0123456789abcdef0123456789ABCDEF";
            const char *hi = (*p)[1] ? strchr(digits, (*p)[1]) : NULL;
            const char *lo = hi && (*p)[2] ? strchr(digits, (*p)[2]) : NULL;
            if (!lo || (hi == digits && lo == digits))
                return false;
            ch = (char)((hi - digits) % 16 * 16 + (lo - digits) % 16);
            *p += 2;
        }
        tern_str_putc(out, ch);
    }
    return !out->failed;
}

static json_t *step_into(json_t *at, const char *key)
{
    if (json_is_object(at))
        return json_object_get(at, key);
    size_t i = 0, n = 0;
    for (; key[n] >= '0' && key[n] <= '9' && n < 9; n++)
        i = i * 10 + (size_t)(key[n] - '0');
    return json_is_array(at) && n && !key[n] ? json_array_get(at, i) : NULL;
}

tern_code tern_schema_find(const tern_schema *c, const char *ref, json_t **out)
{
    const char *p = ref + 1;
    json_t *at = c->root;
    tern_str key;
    char shown[60];
    *out = NULL;
    if (*ref != '#' || (*p && *p != '/'))
        return tern_schema_fail(c, TERN_E_UNSUPPORTED,
                                "'$ref' to '%s' is not supported, only to '#' and '#/...'",
                                tern_quote(shown, sizeof shown, ref, strlen(ref)));
    tern_str_init(&key, 1 << 16);
    while (at && *p == '/') {
        p++;
        at = decode_step(&p, &key) ? step_into(at, tern_str_get(&key)) : NULL;
    }
    tern_code rc = tern_schema_check(c, &key);
    tern_str_done(&key);
    TERN_TRY(rc);
    if (!at)
        return tern_schema_fail(c, TERN_E_USAGE, "'$ref' to '%s', which is not there",
                                tern_quote(shown, sizeof shown, ref, strlen(ref)));
    *out = at;
    return TERN_OK;
}

/* The name of the rule for what is referred to; it is written later. */
static tern_code put_ref(tern_schema *c, const char *ref, tern_str *out)
{
    json_t *to;
    TERN_TRY(tern_schema_find(c, ref, &to));
    for (size_t i = 0; i < c->n_ref; i++)
        if (c->ref[i].to == to && strcmp(c->ref[i].pointer, ref) == 0) {
            tern_str_printf(out, "%s-%d", c->prefix, c->ref[i].number);
            return TERN_OK;
        }
    if (c->n_ref == c->cap_ref) {
        size_t cap = c->cap_ref ? 2 * c->cap_ref : 16;
        tern_schema_ref *p = tern_realloc(c->ref, c->cap_ref * sizeof *p, cap * sizeof *p);
        if (!p)
            return tern_schema_no_memory(c);
        c->ref = p;
        c->cap_ref = cap;
    }
    if (c->n_ref == TERN_GRAMMAR_RULES)
        return tern_schema_fail(c, TERN_E_LIMIT, "more than %d references", TERN_GRAMMAR_RULES);
    char *pointer = tern_strdup_n(ref, strlen(ref));
    if (!pointer)
        return tern_schema_no_memory(c);
    c->ref[c->n_ref++] = (tern_schema_ref){pointer, to, ++c->n_rule};
    tern_str_printf(out, "%s-%d", c->prefix, c->n_rule);
    return TERN_OK;
}

/* ---- keywords -------------------------------------------------------------------------------- */

typedef enum keyword_kind {
    NOTE,      /* says nothing of what is valid */
    CORE,      /* looked at here */
    OF_OBJECT, /* say something of one type, which is meant when no type is given */
    OF_ARRAY,
    OF_STRING,
    OF_NUMBER
} keyword_kind;

static const struct keyword {
    const char *name;
    keyword_kind kind;
} keywords[] = {
    {"$schema", NOTE},
    {"$id", NOTE},
    {"$comment", NOTE},
    {"$defs", NOTE},
    {"definitions", NOTE},
    {"title", NOTE},
    {"description", NOTE},
    {"default", NOTE},
    {"example", NOTE},
    {"examples", NOTE},
    {"deprecated", NOTE},
    {"readOnly", NOTE},
    {"writeOnly", NOTE},
    {"discriminator", NOTE},
    {"contentMediaType", NOTE},
    {"contentEncoding", NOTE},
    {"type", CORE},
    {"enum", CORE},
    {"const", CORE},
    {"anyOf", CORE},
    {"oneOf", CORE},
    {"allOf", CORE},
    {"$ref", CORE},
    {"nullable", CORE},
    {"properties", OF_OBJECT},
    {"required", OF_OBJECT},
    {"additionalProperties", OF_OBJECT},
    {"items", OF_ARRAY},
    {"prefixItems", OF_ARRAY},
    {"additionalItems", OF_ARRAY},
    {"minItems", OF_ARRAY},
    {"maxItems", OF_ARRAY},
    {"minLength", OF_STRING},
    {"maxLength", OF_STRING},
    {"pattern", OF_STRING},
    {"format", OF_STRING},
    {"minimum", OF_NUMBER},
    {"maximum", OF_NUMBER},
    {"exclusiveMinimum", OF_NUMBER},
    {"exclusiveMaximum", OF_NUMBER},
};

static const struct keyword *find_keyword(const char *name)
{
    for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++)
        if (strcmp(keywords[i].name, name) == 0)
            return &keywords[i];
    return NULL;
}

/* Keywords that say nothing with this value. */
static bool is_idle(const char *name, json_t *v)
{
    const json_t *type = json_object_get(v, "type");
    if (strncmp(name, "x-", 2) == 0 || (strcmp(name, "id") == 0 && json_is_string(v)))
        return true;
    if (strcmp(name, "propertyNames") == 0) /* they are strings anyway */
        return json_object_size(v) == 1 && json_is_string(type) &&
               strcmp(json_string_value(type), "string") == 0;
    if (strcmp(name, "uniqueItems") == 0)
        return json_is_false(v);
    if (strcmp(name, "minProperties") == 0 || strcmp(name, "minContains") == 0)
        return json_is_integer(v) && json_integer_value(v) == 0;
    if (strcmp(name, "unevaluatedProperties") == 0 || strcmp(name, "unevaluatedItems") == 0)
        return json_is_true(v);
    return false;
}

/* Which keywords there are: a bit for each kind. */
static tern_code look(const tern_schema *c, json_t *s, unsigned *kinds)
{
    const char *name;
    json_t *v;
    *kinds = 0;
    json_object_foreach(s, name, v)
    {
        const struct keyword *k = find_keyword(name);
        char shown[48];
        if (k)
            *kinds |= 1u << k->kind;
        else if (!is_idle(name, v))
            return tern_schema_fail(c, TERN_E_UNSUPPORTED, "keyword '%s' is not supported",
                                    tern_quote(shown, sizeof shown, name, strlen(name)));
    }
    return TERN_OK;
}

/* ---- types ----------------------------------------------------------------------------------- */

enum { T_OBJECT, T_ARRAY, T_STRING, T_NUMBER, T_INTEGER, T_BOOLEAN, T_NULL, T_COUNT };
static const char *const type_name[] = {"object",  "array",   "string", "number",
                                        "integer", "boolean", "null"};

static tern_code add_type(const tern_schema *c, json_t *t, unsigned *types)
{
    const char *name = json_string_value(t);
    for (int i = 0; name && i < T_COUNT; i++)
        if (strcmp(name, type_name[i]) == 0) {
            *types |= 1u << i;
            return TERN_OK;
        }
    return tern_schema_fail(c, TERN_E_USAGE, "'type': expected the name of a type, or several");
}

/* The types that are allowed; 0: any. */
static tern_code find_types(const tern_schema *c, json_t *s, unsigned kinds, unsigned *types)
{
    json_t *t = json_object_get(s, "type"), *v;
    size_t i;
    *types = 0;
    if (json_is_array(t)) {
        json_array_foreach(t, i, v) TERN_TRY(add_type(c, v, types));
        if (!*types)
            return tern_schema_fail(c, TERN_E_USAGE, "'type': the list is empty");
    } else if (t) {
        TERN_TRY(add_type(c, t, types));
    } else {
        *types |= (kinds >> OF_OBJECT & 1) << T_OBJECT | (kinds >> OF_ARRAY & 1) << T_ARRAY |
                  (kinds >> OF_STRING & 1) << T_STRING | (kinds >> OF_NUMBER & 1) << T_NUMBER;
    }
    if (*types && json_is_true(json_object_get(s, "nullable")))
        *types |= 1u << T_NULL;
    if (*types >> T_NUMBER & 1) /* integers are numbers */
        *types &= ~(1u << T_INTEGER);
    return TERN_OK;
}

static tern_code put_type(tern_schema *c, json_t *s, int type, tern_str *out)
{
    switch (type) {
    case T_OBJECT:
        return tern_schema_put_object(c, s, out);
    case T_ARRAY:
        return tern_schema_put_array(c, s, out);
    case T_STRING:
        return tern_schema_put_string(c, s, out);
    case T_NUMBER:
    case T_INTEGER:
        return tern_schema_put_number(c, s, type == T_INTEGER, out);
    case T_BOOLEAN:
        tern_str_puts(out, "(\"true\" | \"false\")");
        return TERN_OK;
    default:
        tern_str_puts(out, "\"null\"");
        return TERN_OK;
    }
}

static tern_code put_types(tern_schema *c, json_t *s, unsigned types, tern_str *out)
{
    bool several = (types & (types - 1)) != 0, first = true;
    if (!types) {
        tern_schema_put_shared(c, TERN_SCHEMA_VALUE, out);
        return TERN_OK;
    }
    if (several)
        tern_str_putc(out, '(');
    for (int i = 0; i < T_COUNT; i++) {
        if (!(types >> i & 1))
            continue;
        if (!first)
            tern_str_puts(out, " | ");
        first = false;
        TERN_TRY(put_type(c, s, i, out));
    }
    if (several)
        tern_str_putc(out, ')');
    return TERN_OK;
}

/* ---- values that are listed ------------------------------------------------------------------ */

static bool is_of(json_t *v, unsigned types)
{
    int t = json_is_object(v)    ? T_OBJECT
            : json_is_array(v)   ? T_ARRAY
            : json_is_string(v)  ? T_STRING
            : json_is_boolean(v) ? T_BOOLEAN
            : json_is_null(v)    ? T_NULL
                                 : T_NUMBER;
    bool whole =
        json_is_integer(v) || (json_is_real(v) && json_real_value(v) == floor(json_real_value(v)));
    return !types || types >> t & 1 || (t == T_NUMBER && whole && types >> T_INTEGER & 1);
}

static tern_code put_listed(tern_schema *c, json_t *s, unsigned kinds, tern_str *out)
{
    json_t *list = json_object_get(s, "enum"), *only = json_object_get(s, "const"), *v;
    bool nullable = json_is_true(json_object_get(s, "nullable"));
    unsigned types = 0;
    size_t i, n = 0;
    if (json_object_get(s, "type"))
        TERN_TRY(find_types(c, s, 0, &types));
    if (kinds & ~(1u << NOTE | 1u << CORE))
        return tern_schema_fail(c, TERN_E_UNSUPPORTED,
                                "keyword '%s' beside others that are not 'type' is not supported",
                                only ? "const" : "enum");
    if (list && !json_is_array(list))
        return tern_schema_fail(c, TERN_E_USAGE, "'enum': expected a list");
    tern_str_putc(out, '(');
    json_array_foreach(list, i, v)
    {
        if (!is_of(v, types) || (only && !json_equal(v, only)))
            continue;
        if (n++)
            tern_str_puts(out, " | ");
        nullable &= !json_is_null(v);
        TERN_TRY(tern_schema_put_value(c, v, out));
    }
    if (!list && is_of(only, types)) {
        TERN_TRY(tern_schema_put_value(c, only, out));
        nullable &= !json_is_null(only);
        n++;
    }
    if (nullable)
        tern_str_puts(out, n++ ? " | \"null\"" : "\"null\"");
    tern_str_putc(out, ')');
    return n ? TERN_OK
             : tern_schema_fail(c, TERN_E_USAGE, "'%s': no value is allowed",
                                only ? "const" : "enum");
}

/* ---- schemas of schemas ---------------------------------------------------------------------- */

static bool is_note(const char *name)
{
    const struct keyword *k = find_keyword(name);
    return !k || k->kind == NOTE;
}

/* Is `name` all that s says? */
static bool says_only(json_t *s, const char *name)
{
    const char *key;
    json_t *v;
    json_object_foreach(s, key, v)
    {
        (void)v;
        if (strcmp(key, name) != 0 && !is_note(key))
            return false;
    }
    return json_object_get(s, name) != NULL;
}

static json_t *without(json_t *s, const char *name)
{
    json_t *copy = json_copy(s);
    if (copy)
        (void)json_object_del(copy, name);
    return copy;
}

/* What s says beside `name`, and each of its alternatives, or one of them. */
static tern_code put_alternatives(tern_schema *c, json_t *s, const char *name, tern_str *out)
{
    json_t *list = json_object_get(s, name), *v, *rest = NULL;
    bool alone = says_only(s, name);
    tern_code rc = TERN_OK;
    size_t i, len = c->path.len;
    if (!json_is_array(list) || json_array_size(list) == 0)
        return tern_schema_fail(c, TERN_E_USAGE, "'%s': expected a list of schemas", name);
    if (!alone && !(rest = without(s, name)))
        return tern_schema_no_memory(c);
    path_push(c, name);
    tern_str_putc(out, '(');
    json_array_foreach(list, i, v)
    {
        char key[24];
        json_t *merged = NULL;
        (void)snprintf(key, sizeof key, "%zu", i);
        if (i)
            tern_str_puts(out, " | ");
        if (!alone)
            rc = tern_schema_merge(c, rest, v, &merged);
        if (rc == TERN_OK)
            rc = tern_schema_put_at(c, alone ? v : merged, key, out);
        json_decref(merged);
        if (rc != TERN_OK)
            break;
    }
    tern_str_putc(out, ')');
    path_pop(c, len);
    json_decref(rest);
    return rc;
}

/* All of a list hold together, with what s says besides. */
static tern_code put_together(tern_schema *c, json_t *s, tern_str *out)
{
    json_t *list = json_object_get(s, "allOf"), *v, *sum;
    tern_code rc = TERN_OK;
    size_t i;
    if (!json_is_array(list) || json_array_size(list) == 0)
        return tern_schema_fail(c, TERN_E_USAGE, "'allOf': expected a list of schemas");
    if (json_array_size(list) == 1 && says_only(s, "allOf"))
        return tern_schema_put_at(c, json_array_get(list, 0), "allOf/0", out);
    sum = without(s, "allOf");
    if (!sum)
        return tern_schema_no_memory(c);
    json_array_foreach(list, i, v)
    {
        json_t *merged;
        rc = tern_schema_merge(c, sum, v, &merged);
        json_decref(sum);
        sum = merged;
        if (rc != TERN_OK)
            return rc;
    }
    rc = tern_schema_put(c, sum, out);
    json_decref(sum);
    return rc;
}

static tern_code put_reference(tern_schema *c, json_t *s, tern_str *out)
{
    const char *ref = json_string_value(json_object_get(s, "$ref"));
    json_t *to, *rest, *merged = NULL;
    if (!ref)
        return tern_schema_fail(c, TERN_E_USAGE, "'$ref': expected a text");
    if (says_only(s, "$ref"))
        return put_ref(c, ref, out);
    TERN_TRY(tern_schema_find(c, ref, &to));
    rest = without(s, "$ref");
    if (!rest)
        return tern_schema_no_memory(c);
    tern_code rc = tern_schema_merge(c, rest, to, &merged);
    if (rc == TERN_OK)
        rc = tern_schema_put(c, merged, out);
    json_decref(rest);
    json_decref(merged);
    return rc;
}

static tern_code put_schema(tern_schema *c, json_t *s, tern_str *out)
{
    unsigned kinds, types;
    TERN_TRY(look(c, s, &kinds));
    if (json_object_get(s, "$ref"))
        return put_reference(c, s, out);
    if (json_object_get(s, "allOf"))
        return put_together(c, s, out);
    if (json_object_get(s, "anyOf"))
        return put_alternatives(c, s, "anyOf", out);
    if (json_object_get(s, "oneOf"))
        return put_alternatives(c, s, "oneOf", out);
    if (json_object_get(s, "enum") || json_object_get(s, "const"))
        return put_listed(c, s, kinds, out);
    TERN_TRY(find_types(c, s, kinds, &types));
    return put_types(c, s, types, out);
}

tern_code tern_schema_put(tern_schema *c, json_t *s, tern_str *out)
{
    if (json_is_true(s)) {
        tern_schema_put_shared(c, TERN_SCHEMA_VALUE, out);
        return TERN_OK;
    }
    if (json_is_false(s))
        return tern_schema_fail(c, TERN_E_UNSUPPORTED, "the schema 'false' is not supported here");
    if (!json_is_object(s))
        return tern_schema_fail(c, TERN_E_USAGE, "expected a schema: an object, or true");
    if (c->depth == TERN_SCHEMA_DEPTH)
        return tern_schema_fail(c, TERN_E_LIMIT, "more than %d schemas nested", TERN_SCHEMA_DEPTH);
    if (c->n_expanded++ == TERN_SCHEMA_EXPANSION)
        return tern_schema_fail(c, TERN_E_LIMIT, "it expands to more than %d schemas",
                                TERN_SCHEMA_EXPANSION);
    c->depth++;
    tern_code rc = put_schema(c, s, out);
    c->depth--;
    return rc == TERN_OK ? tern_schema_check(c, out) : rc;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static tern_code write_refs(tern_schema *c)
{
    for (; c->n_written < c->n_ref; c->n_written++) {
        const tern_schema_ref r = c->ref[c->n_written];
        tern_str body;
        tern_str_init(&body, TERN_GRAMMAR_TEXT);
        path_pop(c, 0);
        tern_str_puts(&c->path, r.pointer + 1);
        tern_code rc = tern_schema_put(c, r.to, &body);
        if (rc == TERN_OK) {
            tern_str_printf(&c->rules, "%s-%d ::= ", c->prefix, r.number);
            tern_str_put(&c->rules, tern_str_get(&body), body.len);
            tern_str_putc(&c->rules, '\n');
            rc = tern_schema_check(c, &c->rules);
        }
        tern_str_done(&body);
        TERN_TRY(rc);
    }
    return TERN_OK;
}

static tern_code write_all(tern_schema *c, tern_str *out)
{
    tern_str_printf(out, "%s ::= ", c->prefix);
    if (json_is_object(c->root) && json_object_size(c->root) == 0)
        tern_schema_put_shared(c, TERN_SCHEMA_OBJECT, out);
    else
        TERN_TRY(tern_schema_put(c, c->root, out));
    tern_str_putc(out, '\n');
    TERN_TRY(write_refs(c));
    tern_str_put(out, tern_str_get(&c->rules), c->rules.len);
    TERN_TRY(tern_schema_check(c, &c->rules));
    return tern_schema_check(c, out);
}

static bool is_prefix(const char *s)
{
    size_t n = 0;
    for (; s[n]; n++)
        if (!((s[n] >= 'a' && s[n] <= 'z') || (s[n] >= 'A' && s[n] <= 'Z') ||
              (s[n] >= '0' && s[n] <= '9') || s[n] == '-' || s[n] == '_'))
            return false;
    return n > 0 && n <= 64;
}

tern_code tern_schema_write(const char *schema, size_t n, const char *prefix, tern_str *out,
                            tern_err *err)
{
    tern_schema c = {.prefix = prefix, .err = err};
    json_error_t why;
    if (!is_prefix(prefix))
        return tern_fail(err, TERN_E_USAGE,
                         "schema: a prefix is 1 to 64 letters, digits, '-' and '_'");
    if (n > TERN_GRAMMAR_TEXT)
        return tern_fail(err, TERN_E_LIMIT, "schema: %zu bytes, expected at most %zu", n,
                         TERN_GRAMMAR_TEXT);
    c.root = json_loadb(schema, n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
    if (!c.root)
        return tern_fail(err, TERN_E_USAGE, "schema: line %d: %s", why.line, why.text);
    tern_str_init(&c.rules, TERN_GRAMMAR_TEXT);
    tern_str_init(&c.path, MAX_PATH);
    for (int i = 0; i < MAX_PATH;
         i++) /* all of it at once: messages are made where memory is short too */
        tern_str_putc(&c.path, '/');
    tern_code rc = c.path.failed ? tern_schema_no_memory(&c) : TERN_OK;
    tern_str_clear(&c.path);
    if (rc == TERN_OK)
        rc = write_all(&c, out);
    for (size_t i = 0; i < c.n_ref; i++)
        tern_free(c.ref[i].pointer);
    tern_free(c.ref);
    tern_str_done(&c.rules);
    tern_str_done(&c.path);
    json_decref(c.root);
    return rc;
}
