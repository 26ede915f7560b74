/* Objects and arrays. Properties come in the order in which the schema names them. */
#include "sample/grammar/schema.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/utf8.h"
#include "sample/grammar/net.h"
#include "sample/grammar/regex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct property {
    const char *name; /* borrowed from the schema */
    json_t *schema;   /* borrowed; NULL: anything */
    bool required;
} property;

typedef struct object {
    property *p; /* owned */
    size_t n;
    size_t first; /* required; n: none is */
    tern_str add; /* owned; one more pair of other names; empty: none may be */
} object;

/* ---- names that are taken -------------------------------------------------------------------- */

/* Can it be spelled without a backslash? Others cannot be met by names that are. */
static bool is_plain(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == '"' || *s == '\\' || *s == 0x7f)
            return false;
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const property *)a)->name, ((const property *)b)->name);
}

static size_t shared(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] && a[n] == b[n])
        n++;
    return n;
}

/* Of sorted names p[i0..n) those that begin with the first `len` bytes of p[i0]: any text that begins so and
 * then differs from all of them. */
static void put_other(const property *p, size_t i0, size_t n, size_t len, tern_str *out)
{
    bool is_name = false;
    uint32_t cp, last = 0;
    tern_gbnf_put_text(out, p[i0].name, len);
    tern_str_puts(out, " ([^\"\\\\\\x00-\\x1F\\x7F");
    for (size_t i = i0; i < n && shared(p[i0].name, p[i].name) >= len; i++) {
        const char *rest = p[i].name + len;
        is_name |= !*rest;
        if (!tern_utf8_decode(rest, strlen(rest), &cp) || cp == last || !*rest)
            continue;
        tern_str_printf(out, "\\U%08X", (unsigned)cp);
        last = cp;
    }
    tern_str_puts(out, "] [^\"\\\\\\x00-\\x1F\\x7F]*)");
    if (!is_name)
        tern_str_putc(out, '?');
}

/* A name in quotes that is none of these, as a rule. */
static tern_code put_other_name(tern_schema *c, const object *o, tern_str *out)
{
    tern_str body;
    property *p = tern_calloc(o->n + 1, sizeof *p);
    size_t n = 0;
    if (!p)
        return tern_schema_no_memory(c);
    for (size_t i = 0; i < o->n; i++)
        if (is_plain(o->p[i].name))
            p[n++] = o->p[i];
    qsort(p, n, sizeof *p, by_name);
    tern_str_init(&body, TERN_GRAMMAR_TEXT);
    tern_str_puts(&body, "\"\\\"\" (");
    for (size_t i = 0; i < n && !body.failed; i++) {
        size_t from = i ? shared(p[i - 1].name, p[i].name) + 1 : 0;
        for (size_t len = from; len <= strlen(p[i].name); len++) {
            if (((unsigned char)p[i].name[len] & 0xc0) == 0x80)
                continue; /* within a character */
            if (len)
                tern_str_puts(&body, " | ");
            put_other(p, i, n, len, &body);
        }
    }
    if (n == 0)
        tern_str_puts(&body, "[^\"\\\\\\x00-\\x1F\\x7F]*");
    tern_str_puts(&body, ") \"\\\"\"");
    tern_free(p);
    return tern_schema_put_rule(c, &body, out);
}

/* ---- objects --------------------------------------------------------------------------------- */

static bool is_required(json_t *list, const char *name)
{
    json_t *v;
    size_t i;
    json_array_foreach(list, i, v) if (json_is_string(v) &&
                                       strcmp(json_string_value(v), name) == 0) return true;
    return false;
}

static tern_code list_properties(tern_schema *c, json_t *s, object *o)
{
    json_t *props = json_object_get(s, "properties"), *list = json_object_get(s, "required");
    json_t *extra = json_object_get(s, "additionalProperties"), *v;
    const char *name;
    size_t i;
    if ((props && !json_is_object(props)) || (list && !json_is_array(list)))
        return tern_schema_fail(c, TERN_E_USAGE,
                                "'properties' and 'required': expected an object and a list");
    o->p = tern_calloc(json_object_size(props) + json_array_size(list) + 1, sizeof *o->p);
    if (!o->p)
        return tern_schema_no_memory(c);
    json_object_foreach(props, name, v)
    {
        bool required = is_required(list, name);
        if (!json_is_false(v))
            o->p[o->n++] = (property){name, v, required};
        else if (required)
            return tern_schema_fail(c, TERN_E_USAGE, "a required property that may not be there");
    }
    json_array_foreach(list, i, v)
    {
        if (!json_is_string(v))
            return tern_schema_fail(c, TERN_E_USAGE, "'required': expected names");
        if (json_object_get(props, json_string_value(v)))
            continue;
        if (json_is_false(extra))
            return tern_schema_fail(c, TERN_E_USAGE,
                                    "'required': '%.60s' is not among 'properties'",
                                    json_string_value(v));
        bool twice = false;
        for (size_t k = 0; k < o->n; k++)
            twice |= strcmp(o->p[k].name, json_string_value(v)) == 0;
        if (!twice)
            o->p[o->n++] =
                (property){json_string_value(v), json_is_object(extra) ? extra : NULL, true};
    }
    for (o->first = 0; o->first < o->n && !o->p[o->first].required;)
        o->first++;
    return TERN_OK;
}

static tern_code put_value_at(tern_schema *c, json_t *s, const char *in, const char *key,
                              tern_str *out)
{
    size_t len = c->path.len;
    tern_str_printf(&c->path, "/%s", in);
    tern_code rc = tern_schema_put_at(c, s, key, out);
    if (c->path.data && len <= c->path.len)
        c->path.data[c->path.len = len] = '\0';
    return rc;
}

/* "name": value */
static tern_code put_pair(tern_schema *c, const property *p, tern_str *out)
{
    json_t *name = json_string(p->name);
    tern_code rc = name ? tern_schema_put_value(c, name, out) : tern_schema_no_memory(c);
    json_decref(name);
    TERN_TRY(rc);
    tern_str_puts(out, " " TERN_SCHEMA_COLON " ");
    if (p->schema)
        return put_value_at(c, p->schema, "properties", p->name, out);
    tern_schema_put_shared(c, TERN_SCHEMA_VALUE, out);
    return TERN_OK;
}

/* What other names may have: o->add. */
static tern_code make_additional(tern_schema *c, json_t *s, object *o)
{
    json_t *extra = json_object_get(s, "additionalProperties");
    if (!extra || json_is_false(extra))
        return TERN_OK;
    if (o->n)
        TERN_TRY(put_other_name(c, o, &o->add));
    else
        tern_schema_put_shared(c, TERN_SCHEMA_STRING, &o->add);
    tern_str_puts(&o->add, " " TERN_SCHEMA_COLON " ");
    return tern_schema_put_at(c, extra, "additionalProperties", &o->add);
}

static void put_more(const object *o, tern_str *out)
{
    if (o->add.len)
        tern_str_printf(out, " (" TERN_SCHEMA_COMMA " %s)*", tern_str_get(&o->add));
}

/* Those before the first required one bring their commas along. */
static tern_code put_with_required(tern_schema *c, const object *o, tern_str *out)
{
    for (size_t i = 0; i < o->n; i++) {
        bool before = i < o->first, optional = !o->p[i].required;
        tern_str_puts(out, optional ? " (" : " ");
        if (i > o->first)
            tern_str_puts(out, TERN_SCHEMA_COMMA " ");
        TERN_TRY(put_pair(c, &o->p[i], out));
        if (before)
            tern_str_puts(out, " " TERN_SCHEMA_COMMA);
        if (optional)
            tern_str_puts(out, ")?");
    }
    put_more(o, out);
    return TERN_OK;
}

/* Any of them may be the first: a rule for what may follow each. From the last to the first. */
static tern_code put_optional(tern_schema *c, const object *o, tern_str *out)
{
    tern_str rest, all;
    tern_code rc = TERN_OK;
    tern_str_init(&rest, TERN_GRAMMAR_TEXT);
    tern_str_init(&all, TERN_GRAMMAR_TEXT);
    put_more(o, &rest);
    if (o->add.len)
        tern_str_printf(&all, "%s%s", tern_str_get(&o->add), tern_str_get(&rest));
    for (size_t i = o->n; i-- > 0 && rc == TERN_OK;) {
        tern_str pair, name, body;
        tern_str_init(&pair, TERN_GRAMMAR_TEXT);
        tern_str_init(&name, TERN_GRAMMAR_TEXT);
        tern_str_init(&body, TERN_GRAMMAR_TEXT);
        rc = put_pair(c, &o->p[i], &pair);
        if (rc == TERN_OK)
            rc = tern_schema_put_rule(c, &pair, &name);
        if (rc == TERN_OK)
            rc = tern_schema_check(c, &name);
        if (rc == TERN_OK)
            rc = tern_schema_check(c, &rest);
        if (rc == TERN_OK) {
            tern_str_printf(&all, "%s%s %s", all.len ? " | " : "", tern_str_get(&name),
                            tern_str_get(&rest));
        }
        if (rc == TERN_OK && i > 0) { /* nothing comes before the first */
            tern_str_printf(&body, "(" TERN_SCHEMA_COMMA " %s)? %s", tern_str_get(&name),
                            tern_str_get(&rest));
            tern_str_clear(&rest);
            rc = tern_schema_put_rule(c, &body, &rest);
        }
        tern_str_done(&pair);
        tern_str_done(&name);
        tern_str_done(&body);
    }
    if (all.len)
        tern_str_printf(out, " (%s)?", tern_str_get(&all));
    if (all.failed || rest.failed)
        out->failed = true;
    tern_str_done(&rest);
    tern_str_done(&all);
    return rc;
}

static tern_code put_members(tern_schema *c, json_t *s, object *o, tern_str *out)
{
    TERN_TRY(list_properties(c, s, o));
    TERN_TRY(make_additional(c, s, o));
    tern_str_puts(out, "\"{\"");
    if (o->first < o->n)
        TERN_TRY(put_with_required(c, o, out));
    else
        TERN_TRY(put_optional(c, o, out));
    tern_str_puts(out, " \"}\"");
    return TERN_OK;
}

tern_code tern_schema_put_object(tern_schema *c, json_t *s, tern_str *out)
{
    object o = {0};
    tern_str body;
    if (!json_object_get(s, "properties") && !json_object_get(s, "required") &&
        !json_object_get(s, "additionalProperties")) {
        tern_schema_put_shared(c, TERN_SCHEMA_OBJECT, out);
        return TERN_OK;
    }
    tern_str_init(&body, TERN_GRAMMAR_TEXT);
    tern_str_init(&o.add, TERN_GRAMMAR_TEXT);
    tern_code rc = put_members(c, s, &o, &body);
    tern_free(o.p);
    body.failed |= o.add.failed;
    tern_str_done(&o.add);
    if (rc == TERN_OK)
        return tern_schema_put_rule(c, &body, out);
    tern_str_done(&body);
    return rc;
}

/* ---- arrays ---------------------------------------------------------------------------------- */

typedef struct array {
    json_t *prefix;                /* borrowed; the first elements', or NULL */
    json_t *items;                 /* borrowed; the others'; NULL: there are none */
    json_int_t n_prefix, min, max; /* max -1: no limit */
} array;

static tern_code read_array(tern_schema *c, json_t *s, array *a)
{
    json_t *items = json_object_get(s, "items"), *more = json_object_get(s, "additionalItems");
    a->prefix = json_object_get(s, "prefixItems");
    if (json_is_array(items)) { /* as before prefixItems */
        a->prefix = items;
        items = more;
    }
    if (a->prefix && !json_is_array(a->prefix))
        return tern_schema_fail(c, TERN_E_USAGE, "'prefixItems': expected a list");
    TERN_TRY(tern_schema_count(c, s, "minItems", 0, &a->min));
    TERN_TRY(tern_schema_count(c, s, "maxItems", -1, &a->max));
    a->n_prefix = (json_int_t)json_array_size(a->prefix);
    if (a->max >= 0 && a->n_prefix > a->max)
        a->n_prefix = a->max;
    if (!items && (!a->prefix || a->min > a->n_prefix))
        items = json_true();
    a->items = json_is_false(items) ? NULL : items;
    if (a->max >= 0 && a->max < a->min)
        return tern_schema_fail(c, TERN_E_USAGE, "'maxItems' is less than 'minItems'");
    if (!a->items && a->min > a->n_prefix)
        return tern_schema_fail(c, TERN_E_USAGE, "'minItems' is more than there may be");
    if (a->min > TERN_GRAMMAR_REPEAT)
        return tern_schema_fail(c, TERN_E_LIMIT, "'minItems' is more than %d", TERN_GRAMMAR_REPEAT);
    if (a->max > TERN_GRAMMAR_REPEAT)
        a->max = TERN_GRAMMAR_REPEAT;
    return TERN_OK;
}

static void put_counts(tern_str *out, json_int_t min, json_int_t max)
{
    if (max < 0)
        tern_str_printf(out, "{%d,}", (int)(min > 0 ? min : 0));
    else
        tern_str_printf(out, "{%d,%d}", (int)(min > 0 ? min : 0), (int)max);
}

static tern_code put_elements(tern_schema *c, const array *a, tern_str *out)
{
    json_int_t n = a->n_prefix, max = a->max < 0 ? -1 : a->max - n;
    tern_str item;
    for (json_int_t i = 0; i < n; i++) {
        char key[40];
        (void)snprintf(key, sizeof key, "%d", (int)i);
        tern_str_puts(out, i ? " " TERN_SCHEMA_COMMA " " : " ");
        TERN_TRY(put_value_at(c, json_array_get(a->prefix, (size_t)i), "prefixItems", key, out));
    }
    if (!a->items || max == 0)
        return TERN_OK;
    tern_str_init(&item, TERN_GRAMMAR_TEXT);
    tern_code rc = tern_schema_put_at(c, a->items, "items", &item);
    bool optional = n == 0 && a->min == 0;
    if (rc == TERN_OK && n == 0) /* the first one has no comma before it */
        tern_str_printf(out, " %s%s", optional ? "(" : "", tern_str_get(&item));
    if (rc == TERN_OK) {
        json_int_t less = n == 0 ? 1 : n;
        tern_str_printf(out, " (" TERN_SCHEMA_COMMA " %s)", tern_str_get(&item));
        put_counts(out, a->min - less, max < 0 ? -1 : n == 0 ? max - 1 : max);
        tern_str_puts(out, optional ? ")?" : "");
    }
    out->failed |= item.failed;
    tern_str_done(&item);
    return rc;
}

tern_code tern_schema_put_array(tern_schema *c, json_t *s, tern_str *out)
{
    array a = {0};
    tern_str body;
    TERN_TRY(read_array(c, s, &a));
    tern_str_init(&body, TERN_GRAMMAR_TEXT);
    tern_str_puts(&body, "\"[\"");
    tern_code rc = put_elements(c, &a, &body);
    tern_str_puts(&body, " \"]\"");
    if (rc == TERN_OK)
        return tern_schema_put_rule(c, &body, out);
    tern_str_done(&body);
    return rc;
}
