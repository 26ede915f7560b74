/* Two schemas that hold together, as one: what each keyword of both comes to. */
#include "sample/grammar/schema.h"

#include "base/error.h"

#include <string.h>

/* Most alternatives that two lists of them are multiplied to. */
#define MAX_PRODUCT 256

static bool is_one_of(const char *name, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(name, *list) == 0)
            return true;
    return false;
}

static const char *const notes[] = {"$schema",     "$id",           "$comment",    "$defs",
                                    "definitions", "title",         "description", "default",
                                    "example",     "examples",      "deprecated",  "readOnly",
                                    "writeOnly",   "discriminator", NULL};
static const char *const lower[] = {"minimum", "exclusiveMinimum", "minLength", "minItems", NULL};
static const char *const upper[] = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", NULL};

static bool put_new(json_t *o, const char *key, json_t *v)
{
    return v && json_object_set_new(o, key, v) == 0;
}

/* {"allOf": [a, b]} */
static json_t *both(json_t *a, json_t *b)
{
    return json_pack("{s:[O,O]}", "allOf", a, b);
}

static json_t *join_properties(json_t *a, json_t *b)
{
    json_t *sum = json_copy(a), *v;
    const char *key;
    json_object_foreach(b, key, v)
    {
        json_t *have = json_object_get(sum, key);
        if (have && json_equal(have, v))
            continue;
        if (!put_new(sum, key, have ? both(have, v) : json_incref(v))) {
            json_decref(sum);
            return NULL;
        }
    }
    return sum;
}

static bool contains(json_t *list, json_t *v)
{
    json_t *x;
    size_t i;
    json_array_foreach(list, i, x) if (json_equal(x, v)) return true;
    return false;
}

/* What either list has, or what both have. */
static json_t *join_lists(json_t *a, json_t *b, bool either)
{
    json_t *sum = either ? json_copy(a) : json_array(), *v;
    size_t i;
    json_array_foreach(b, i,
                       v) if (contains(a, v) != either && json_array_append(sum, v) != 0) break;
    return sum;
}

static json_t *as_list(json_t *v)
{
    return json_is_array(v) ? json_incref(v) : json_pack("[O]", v);
}

static bool has_name(json_t *list, const char *name)
{
    json_t *v;
    size_t i;
    json_array_foreach(list, i, v) if (json_is_string(v) &&
                                       strcmp(json_string_value(v), name) == 0) return true;
    return false;
}

/* Types of both; every integer is a number. */
static json_t *join_types(json_t *a, json_t *b)
{
    json_t *x = as_list(a), *y = as_list(b), *sum = json_array(), *v;
    size_t i;
    json_array_foreach(x, i, v)
    {
        const char *t = json_string_value(v);
        bool keep = t && (has_name(y, t) || (strcmp(t, "integer") == 0 && has_name(y, "number")));
        if (keep)
            (void)json_array_append(sum, v);
        else if (t && strcmp(t, "number") == 0 && has_name(y, "integer"))
            (void)json_array_append_new(sum, json_string("integer"));
    }
    json_decref(x);
    json_decref(y);
    return sum;
}

/* Every alternative of one with every one of the other. */
static tern_code join_alternatives(tern_schema *c, json_t *a, json_t *b, json_t **out)
{
    json_t *sum = json_array(), *x, *y;
    size_t i, k;
    if (json_array_size(a) * json_array_size(b) > MAX_PRODUCT) {
        json_decref(sum);
        return tern_schema_fail(c, TERN_E_LIMIT, "more than %d combinations of alternatives",
                                MAX_PRODUCT);
    }
    json_array_foreach(a, i, x) json_array_foreach(b, k, y)(void)
        json_array_append_new(sum, both(x, y));
    *out = sum;
    return TERN_OK;
}

/* A schema that closes an object knows all properties of the other. */
static tern_code check_closed(tern_schema *c, json_t *closed, json_t *other)
{
    json_t *extra = json_object_get(closed, "additionalProperties"), *v;
    const char *key;
    if (!extra || json_is_true(extra))
        return TERN_OK;
    json_object_foreach(json_object_get(other, "properties"), key, v)
    {
        (void)v;
        if (!json_object_get(json_object_get(closed, "properties"), key))
            return tern_schema_fail(
                c, TERN_E_UNSUPPORTED,
                "'additionalProperties' in one of the schemas that hold "
                "together, and further properties in another, is not supported");
    }
    return TERN_OK;
}

static tern_code join_key(tern_schema *c, json_t *sum, const char *key, json_t *a, json_t *b)
{
    json_t *v = NULL;
    if (json_equal(a, b) || is_one_of(key, notes))
        return TERN_OK;
    if (strcmp(key, "properties") == 0 && json_is_object(a) && json_is_object(b))
        v = join_properties(a, b);
    else if (strcmp(key, "required") == 0 && json_is_array(a) && json_is_array(b))
        v = join_lists(a, b, true);
    else if (strcmp(key, "enum") == 0 && json_is_array(a) && json_is_array(b))
        v = join_lists(a, b, false);
    else if (strcmp(key, "type") == 0)
        v = join_types(a, b);
    else if (strcmp(key, "items") == 0 && json_is_object(a) && json_is_object(b))
        v = both(a, b);
    else if (strcmp(key, "additionalProperties") == 0 && (json_is_true(a) || json_is_false(b)))
        v = json_incref(b);
    else if (strcmp(key, "additionalProperties") == 0 && (json_is_true(b) || json_is_false(a)))
        v = json_incref(a);
    else if (strcmp(key, "nullable") == 0)
        v = json_false();
    else if (strcmp(key, "allOf") == 0 && json_is_array(a) && json_is_array(b))
        v = join_lists(a, b, true);
    else if (strcmp(key, "anyOf") == 0 || strcmp(key, "oneOf") == 0)
        TERN_TRY(join_alternatives(c, a, b, &v));
    else if ((is_one_of(key, lower) || is_one_of(key, upper)) && json_is_number(a) &&
             json_is_number(b))
        v = json_incref((json_number_value(a) > json_number_value(b)) == is_one_of(key, lower) ? a
                                                                                               : b);
    else
        return tern_schema_fail(
            c, TERN_E_UNSUPPORTED,
            "keyword '%s' in several schemas that hold together is not supported", key);
    return put_new(sum, key, v) ? TERN_OK : tern_schema_no_memory(c);
}

/* "nullable" of one alone adds nothing to what the other names by type. */
static bool settle_null(json_t *sum, json_t *a, json_t *b)
{
    json_t *x = json_object_get(a, "nullable"), *y = json_object_get(b, "nullable");
    json_t *other = json_object_get(x ? b : a, "type");
    if (!x == !y || !other)
        return true;
    return json_object_del(sum, "nullable") == 0;
}

/* s, or what it refers to together with what it says besides: a new reference. */
static tern_code resolve(tern_schema *c, json_t *s, json_t **out)
{
    const char *ref = json_string_value(json_object_get(s, "$ref"));
    json_t *to, *rest;
    *out = NULL;
    if (!ref) {
        *out = json_incref(s);
        return TERN_OK;
    }
    TERN_TRY(tern_schema_find(c, ref, &to));
    rest = json_copy(s);
    if (!rest)
        return tern_schema_no_memory(c);
    (void)json_object_del(rest, "$ref");
    tern_code rc = tern_schema_merge(c, to, rest, out);
    json_decref(rest);
    return rc;
}

static tern_code merge_resolved(tern_schema *c, json_t *a, json_t *b, json_t **out)
{
    json_t *sum, *v;
    const char *key;
    tern_code rc = TERN_OK;
    if (json_is_true(a) || json_is_true(b)) {
        *out = json_incref(json_is_true(a) ? b : a);
        return TERN_OK;
    }
    if (!json_is_object(a) || !json_is_object(b))
        return tern_schema_fail(c, TERN_E_USAGE, "expected schemas: objects, or true");
    TERN_TRY(check_closed(c, a, b));
    TERN_TRY(check_closed(c, b, a));
    sum = json_copy(a);
    if (!sum)
        return tern_schema_no_memory(c);
    json_object_foreach(b, key, v)
    {
        json_t *have = json_object_get(a, key);
        if (have)
            rc = join_key(c, sum, key, have, v);
        else if (json_object_set(sum, key, v) != 0)
            rc = tern_schema_no_memory(c);
        if (rc != TERN_OK)
            break;
    }
    if (rc == TERN_OK && !settle_null(sum, a, b))
        rc = tern_schema_no_memory(c);
    if (rc != TERN_OK) {
        json_decref(sum);
        return rc;
    }
    *out = sum;
    return TERN_OK;
}

tern_code tern_schema_merge(tern_schema *c, json_t *a, json_t *b, json_t **out)
{
    json_t *x = NULL, *y = NULL;
    *out = NULL;
    if (c->depth >= TERN_SCHEMA_DEPTH || c->n_expanded++ >= TERN_SCHEMA_EXPANSION)
        return tern_schema_fail(c, TERN_E_LIMIT, "it expands to too many schemas");
    c->depth++;
    tern_code rc = resolve(c, a, &x);
    if (rc == TERN_OK)
        rc = resolve(c, b, &y);
    if (rc == TERN_OK)
        rc = merge_resolved(c, x, y, out);
    c->depth--;
    json_decref(x);
    json_decref(y);
    return rc;
}
