/* JSON schemas and patterns against other software's verdicts (tests/golden/grammar/make.py), and what is
 * refused how. */
#include "base/alloc.h"
#include "sample/grammar/choice.h"
#include "sample/grammar/gbnf.h"
#include "sample/grammar/regex.h"
#include "sample/grammar/schema.h"
#include "support/golden.h"
#include "support/grammar.h"
#include "support/support.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "tests/golden/grammar/"

static bool accepts(const tern_net *net, const char *text)
{
    return test_verdict(net, text, strlen(text)) > 0;
}

static void compile_rules(tern_str *rules, tern_net *net)
{
    tern_err err = {0};
    if (tern_gbnf_compile(tern_str_get(rules), rules->len, net, &err) != TERN_OK)
        fail_msg("%s\n%s", err.msg, tern_str_get(rules));
    tern_str_done(rules);
}

static void compile_schema(const char *text, tern_net *net)
{
    tern_str rules;
    tern_err err = {0};
    tern_str_init(&rules, TERN_GRAMMAR_TEXT);
    if (tern_schema_write(text, strlen(text), "root", &rules, &err) != TERN_OK)
        fail_msg("%s\n%s", err.msg, text);
    compile_rules(&rules, net);
}

static void check_texts(const tern_net *net, json_t *row, const char *what)
{
    json_t *v;
    size_t i;
    json_array_foreach(json_object_get(row, "yes"), i, v) if (!accepts(net, json_string_value(v)))
        fail_msg("refused '%s' under %s", json_string_value(v), what);
    json_array_foreach(json_object_get(row, "no"), i, v) if (accepts(net, json_string_value(v)))
        fail_msg("accepted '%s' under %s", json_string_value(v), what);
}

static void verdicts_of_schemas(void **state)
{
    json_t *rows = test_golden(FOLDER "schemas.json"), *row;
    size_t i;
    (void)state;
    json_array_foreach(rows, i, row)
    {
        tern_net net;
        char *schema = json_dumps(json_object_get(row, "schema"), 0);
        compile_schema(schema, &net);
        check_texts(&net, row, schema);
        tern_net_done(&net);
        free(schema);
    }
    assert_true(json_array_size(rows) >= 50);
    json_decref(rows);
}

static void verdicts_of_patterns(void **state)
{
    json_t *rows = test_golden(FOLDER "regexes.json"), *row;
    size_t i;
    (void)state;
    json_array_foreach(rows, i, row)
    {
        const char *pattern = json_string_value(json_object_get(row, "pattern"));
        tern_net net;
        tern_str rules;
        tern_err err = {0};
        tern_str_init(&rules, TERN_GRAMMAR_TEXT);
        tern_str_puts(&rules, "root ::= ");
        if (tern_regex_to_gbnf(pattern, strlen(pattern), &(tern_regex_opts){0}, &rules, &err) !=
            TERN_OK)
            fail_msg("%s: %s", pattern, err.msg);
        compile_rules(&rules, &net);
        check_texts(&net, row, pattern);
        tern_net_done(&net);
    }
    json_decref(rows);
}

/* Every number of a span against its bounds, as arithmetic has them: quarters for "number". */
static void bounds(void **state)
{
    uint32_t seed = 3;
    (void)state;
    for (int round = 0; round < 60; round++) {
        bool whole = round % 2, lo_out = test_rand(&seed) % 2, hi_out = test_rand(&seed) % 2;
        int span = round % 3 ? 40 : 1300,
            lo = (int)(test_rand(&seed) % (2 * (uint32_t)span)) - span;
        int hi = lo + 1 + (int)(test_rand(&seed) % (uint32_t)span);
        char schema[160], text[32];
        tern_net net;
        hi += whole && lo_out && hi_out && hi == lo + 1;
        (void)snprintf(schema, sizeof schema, "{\"type\":\"%s\",\"%s\":%d,\"%s\":%d}",
                       whole ? "integer" : "number", lo_out ? "exclusiveMinimum" : "minimum", lo,
                       hi_out ? "exclusiveMaximum" : "maximum", hi);
        compile_schema(schema, &net);
        for (int q = 4 * (lo - 12); q <= 4 * (hi + 12); q += whole ? 4 : 1) {
            bool in = (lo_out ? q > 4 * lo : q >= 4 * lo) && (hi_out ? q < 4 * hi : q <= 4 * hi);
            int n = abs(q);
            if (n % 4)
                (void)snprintf(text, sizeof text, "%s%d.%d", q < 0 ? "-" : "", n / 4, n % 4 * 25);
            else
                (void)snprintf(text, sizeof text, "%d", q / 4);
            if (accepts(&net, text) != in)
                fail_msg("%s: %s, expected %d", schema, text, in);
        }
        tern_net_done(&net);
    }
}

/* Strings hold no control characters, no lone surrogates and no NUL, whatever the schema. */
static void strings(void **state)
{
    static const char *const yes[] = {"\"\"",
                                      "\"\\n\\\"\\\\\\/\\b\\f\\r\\t\"",
                                      "\"\\u00e9\\uABCD\\u0001\"",
                                      "\"\\ud83d\\ude00\"",
                                      "\"\xe2\x80\xa8\xf4\x8f\xbf\xbf\"",
                                      NULL};
    static const char *const no[] = {"\"\n\"",
                                     "\"\x1f\"",
                                     "\"\x7f\"",
                                     "\"\\x\"",
                                     "\"\\u12\"",
                                     "\"\\u0000\"",
                                     "\"\\ud83d\"",
                                     "\"\\ude00\"",
                                     "\"\\ud83d\\u0041\"",
                                     "\"\xff\"",
                                     "\"\xed\xa0\x80\"",
                                     "\"\xc0\x80\"",
                                     "\"a",
                                     NULL};
    tern_net net;
    (void)state;
    compile_schema("{\"type\":\"string\"}", &net);
    for (size_t i = 0; yes[i]; i++)
        assert_true(accepts(&net, yes[i]));
    for (size_t i = 0; no[i]; i++)
        assert_false(accepts(&net, no[i]));
    tern_net_done(&net);
    compile_schema("{\"type\":\"string\",\"minLength\":2,\"maxLength\":2}", &net);
    assert_true(accepts(&net, "\"\\ud83d\\ude00\\n\""));
    assert_true(accepts(&net, "\"\xf0\x9f\x98\x80\xc3\xa9\""));
    assert_false(accepts(&net, "\"\\n\""));
    tern_net_done(&net);
}

static void any_object(void **state)
{
    tern_net net;
    (void)state;
    compile_schema("{}", &net);
    assert_true(accepts(&net, "{}"));
    assert_true(accepts(&net, "{\"a\": [1,{\"b\":null}], \"c\":-1.5e-7}"));
    assert_false(accepts(&net, "[]"));
    assert_false(accepts(&net, "{\"a\":1,}"));
    assert_false(accepts(&net, "{\"a\":01}"));
    assert_false(accepts(&net, "{\"a\":1e999}")); /* beyond what readers take */
    tern_net_done(&net);
    compile_schema("true", &net);
    assert_true(accepts(&net, "[]"));
    tern_net_done(&net);
}

static void check_refused(const char *schema, tern_code code, const char *says)
{
    tern_str rules;
    tern_err err = {0};
    tern_str_init(&rules, TERN_GRAMMAR_TEXT);
    tern_code rc = tern_schema_write(schema, strlen(schema), "root", &rules, &err);
    tern_str_done(&rules);
    test_refusal(schema, rc, &err, code, says);
}

static void refusals(void **state)
{
    static const char *const keywords[] = {"\"not\":{}",
                                           "\"if\":{}",
                                           "\"then\":{}",
                                           "\"dependentRequired\":{}",
                                           "\"patternProperties\":{}",
                                           "\"propertyNames\":{}",
                                           "\"minProperties\":1",
                                           "\"maxProperties\":1",
                                           "\"uniqueItems\":true",
                                           "\"contains\":{}",
                                           "\"multipleOf\":2",
                                           "\"unevaluatedProperties\":false",
                                           "\"$dynamicRef\":\"#a\"",
                                           "\"unheardOf\":1"};
    (void)state;
    for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++) {
        char schema[200], says[80];
        size_t n = strcspn(keywords[i] + 1, "\"");
        (void)snprintf(schema, sizeof schema,
                       "{\"type\":\"object\",\"properties\":{\"a/b\":{\"items\":{%s}}}}",
                       keywords[i]);
        (void)snprintf(says, sizeof says, "'#/properties/a~1b/items': keyword '%.*s'", (int)n,
                       keywords[i] + 1);
        check_refused(schema, TERN_E_UNSUPPORTED, says);
    }
    check_refused("{\"type\":\"string\",\"format\":\"color\"}", TERN_E_UNSUPPORTED,
                  "'format': 'color'");
    check_refused("{\"type\":\"string\",\"pattern\":\"a(?=b)\"}", TERN_E_UNSUPPORTED,
                  "look-around");
    check_refused("{\"type\":\"string\",\"pattern\":\"(a)\\\\1\"}", TERN_E_UNSUPPORTED,
                  "back-references");
    check_refused("{\"type\":\"string\",\"pattern\":\"a\",\"minLength\":3}", TERN_E_UNSUPPORTED,
                  "'minLength'");
    check_refused("{\"type\":\"number\",\"minimum\":0.5}", TERN_E_UNSUPPORTED,
                  "'minimum' with a fraction");
    check_refused("{\"$ref\":\"http://x/y\"}", TERN_E_UNSUPPORTED, "'$ref' to 'http://x/y'");
    check_refused("{\"$ref\":\"#/$defs/no\"}", TERN_E_USAGE, "which is not there");
    check_refused("{\"type\":\"objekt\"}", TERN_E_USAGE, "'type'");
    check_refused("{\"type\":[]}", TERN_E_USAGE, "'type'");
    check_refused("{\"enum\":[]}", TERN_E_USAGE, "'enum'");
    check_refused("{\"type\":\"string\",\"enum\":[1]}", TERN_E_USAGE, "no value is allowed");
    check_refused("{\"type\":\"integer\",\"minimum\":2,\"maximum\":1}", TERN_E_USAGE, "no number");
    check_refused("{\"type\":\"string\",\"minLength\":2,\"maxLength\":1}", TERN_E_USAGE,
                  "'maxLength'");
    check_refused("{\"type\":\"string\",\"minLength\":-1}", TERN_E_USAGE, "'minLength'");
    check_refused("{\"type\":\"string\",\"minLength\":10001}", TERN_E_LIMIT, "'minLength'");
    check_refused("{\"properties\":[]}", TERN_E_USAGE, "'properties'");
    check_refused("{\"required\":[\"a\"],\"additionalProperties\":false}", TERN_E_USAGE,
                  "'required'");
    check_refused("{\"anyOf\":[]}", TERN_E_USAGE, "'anyOf'");
    check_refused("{\"items\":3}", TERN_E_USAGE, "'#/items': expected a schema");
    check_refused("{\"a\":1,\"a\":2}", TERN_E_USAGE, "duplicate");
    check_refused("{", TERN_E_USAGE, "line 1");
    check_refused("[]", TERN_E_USAGE, "expected a schema");
}

static void nesting(void **state)
{
    (void)state;
    for (int depth = 62; depth <= 66; depth += 4) {
        tern_str s;
        tern_str_init(&s, 4000);
        for (int i = 0; i < depth; i++)
            tern_str_puts(&s, "{\"items\":");
        tern_str_puts(&s, "true");
        for (int i = 0; i < depth; i++)
            tern_str_puts(&s, "}");
        if (depth > 64) {
            check_refused(tern_str_get(&s), TERN_E_LIMIT, "64 schemas nested");
        } else {
            tern_net net;
            compile_schema(tern_str_get(&s), &net);
            tern_net_done(&net);
        }
        tern_str_done(&s);
    }
    /* alternatives that hold together with alternatives: 4^10 of them */
    tern_str s;
    tern_str_init(&s, 1 << 16);
    tern_str_puts(&s, "{\"allOf\":[");
    for (int i = 0; i < 10; i++) {
        tern_str_puts(&s, i ? ",{\"anyOf\":[" : "{\"anyOf\":[");
        for (int k = 0; k < 4; k++)
            tern_str_printf(&s, "%s{\"maxItems\":%d}", k ? "," : "", 4 * i + k + 1);
        tern_str_puts(&s, "]}");
    }
    tern_str_puts(&s, "]}");
    check_refused(tern_str_get(&s), TERN_E_LIMIT, "256 combinations");
    tern_str_done(&s);
}

static void choices(void **state)
{
    tern_net net;
    tern_str rules;
    tern_err err = {0};
    static const char list[] = "[\"yes\",\"no \\\"x\\\"\",\"\",\"\\n\\u0001é\"]";
    (void)state;
    tern_str_init(&rules, 1000);
    assert_int_equal(tern_choice_write(list, sizeof list - 1, &rules, &err), TERN_OK);
    compile_rules(&rules, &net);
    assert_true(accepts(&net, "yes"));
    assert_true(accepts(&net, "no \"x\""));
    assert_true(accepts(&net, ""));
    assert_true(accepts(&net, "\n\x01é"));
    assert_false(accepts(&net, "yesno"));
    assert_false(accepts(&net, "ye"));
    tern_net_done(&net);
    static const char *const bad[] = {"[]", "{}", "[1]", "[\"a\"", "\"a\""};
    for (size_t i = 0; i < 5; i++) {
        tern_str_init(&rules, 1000);
        assert_int_equal(tern_choice_write(bad[i], strlen(bad[i]), &rules, &err), TERN_E_USAGE);
        tern_str_done(&rules);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts_of_schemas),
        cmocka_unit_test(verdicts_of_patterns),
        cmocka_unit_test(bounds),
        cmocka_unit_test(strings),
        cmocka_unit_test(any_object),
        cmocka_unit_test(refusals),
        cmocka_unit_test(nesting),
        cmocka_unit_test(choices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
