/* The interface's document: whole, and of what the routes name. */
#include "server/http.h"
#include "server/openapi.h"
#include "support/support.h"

#include <string.h>

static json_t *at(json_t *o, const char *a, const char *b, const char *c)
{
    o = json_object_get(o, a);
    o = b ? json_object_get(o, b) : o;
    return c ? json_object_get(o, c) : o;
}

static void test_every_schema_of_a_route_is_defined(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_route; i++) {
        const char *names[] = {routes[i].request, routes[i].reply};
        for (int k = 0; k < 2; k++)
            if (names[k] && !openapi_has_schema(names[k]))
                fail_msg("%s %s: no schema %s", routes[i].method, routes[i].path, names[k]);
        assert_true(routes[i].summary && routes[i].summary[0]);
    }
}

/* Each "$ref" names a schema that is there. */
static void check_refs(json_t *v, json_t *schemas)
{
    const char *name;
    json_t *e;
    size_t i;
    json_object_foreach(v, name, e)
    {
        static const char prefix[] = "#/components/schemas/";
        if (strcmp(name, "$ref") == 0) {
            const char *to = json_string_value(e);
            assert_non_null(to);
            assert_memory_equal(to, prefix, sizeof prefix - 1);
            if (!json_object_get(schemas, to + sizeof prefix - 1))
                fail_msg("no schema for %s", to);
        }
        check_refs(e, schemas);
    }
    json_array_foreach(v, i, e) check_refs(e, schemas);
}

static void test_document(void **state)
{
    (void)state;
    json_t *d = openapi_document();
    assert_non_null(d);
    assert_string_equal(json_string_value(json_object_get(d, "openapi")), "3.1.0");
    json_t *schemas = at(d, "components", "schemas", NULL), *paths = json_object_get(d, "paths");
    check_refs(d, schemas);

    /* every route is an operation, and no two have one id */
    json_t *ids = json_object();
    size_t n = 0;
    const char *path, *method;
    json_t *item, *op;
    json_object_foreach(paths, path, item)
    {
        assert_null(strchr(path, '*'));
        json_object_foreach(item, method, op)
        {
            const char *id = json_string_value(json_object_get(op, "operationId"));
            assert_non_null(id);
            if (json_object_get(ids, id))
                fail_msg("two operations have the id %s", id);
            assert_int_equal(json_object_set_new(ids, id, json_true()), 0);
            n++;
        }
    }
    assert_int_equal(n, n_route);
    json_decref(ids);
    json_decref(d);
}

/* What a row says about a field, its schema says too. */
static void test_fields_come_from_the_rows(void **state)
{
    (void)state;
    json_t *d = openapi_document();
    json_t *messages = at(d, "components", "schemas", "MessagesRequest");
    json_t *most = at(messages, "properties", "max_tokens", NULL);
    assert_int_equal(json_integer_value(json_object_get(most, "minimum")), 1);
    assert_string_equal(json_string_value(json_object_get(most, "type")), "integer");
    json_t *warmth = at(messages, "properties", "temperature", NULL);
    assert_true(json_number_value(json_object_get(warmth, "maximum")) == 1.0);
    assert_true(json_number_value(json_object_get(warmth, "default")) == 0.8);
    assert_null(json_object_get(most, "default")); /* absent: 400 or no limit */
    json_t *options = at(at(d, "components", "schemas", "OllamaChatRequest"), "properties",
                         "options", "properties");
    assert_non_null(json_object_get(options, "num_predict"));
    assert_null(json_object_get(options, "n_predict"));
    json_decref(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_schema_of_a_route_is_defined),
        cmocka_unit_test(test_document),
        cmocka_unit_test(test_fields_come_from_the_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
