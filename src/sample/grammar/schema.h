/* JSON schemas, the subset of docs/GRAMMAR.md, as rules in GBNF. The files of this: schema.c (what a schema
 * is made of), schema_merge.c (schemas that hold together), schema_object.c, schema_text.c, schema_number.c. */
#ifndef TERN_SAMPLE_GRAMMAR_SCHEMA_H
#define TERN_SAMPLE_GRAMMAR_SCHEMA_H

#include "base/str.h"

#include <jansson.h>

/* Append the rules to out; the first one's name is prefix, and all others begin with it. Codes: TERN_E_USAGE,
 * TERN_E_UNSUPPORTED (names the keyword and where it stands), TERN_E_LIMIT, TERN_E_NOMEM. */
TERN_CHECK tern_code tern_schema_write(const char *schema, size_t n, const char *prefix,
                                       tern_str *out, tern_err *err);

/* ---- between its files ------------------------------------------------------------------------ */

/* Schemas within schemas. */
#define TERN_SCHEMA_DEPTH 64
/* Schemas that alternatives and parts expand to. */
#define TERN_SCHEMA_EXPANSION 10000

/* Rules that everything needs and that are written when they are. */
typedef enum tern_schema_shared {
    TERN_SCHEMA_CHAR,
    TERN_SCHEMA_STRING,
    TERN_SCHEMA_INTEGER,
    TERN_SCHEMA_NUMBER,
    TERN_SCHEMA_OBJECT,
    TERN_SCHEMA_ARRAY,
    TERN_SCHEMA_VALUE,
    TERN_SCHEMA_SHARED_COUNT
} tern_schema_shared;

/* A reference and the rule that stands for it. */
typedef struct tern_schema_ref {
    char *pointer; /* owned; "#/$defs/a" */
    json_t *to;    /* borrowed from the root */
    int number;
} tern_schema_ref;

typedef struct tern_schema {
    json_t *root; /* owned */
    const char *prefix;
    tern_str rules; /* owned; finished ones */
    tern_str path;  /* owned; JSON pointer of the schema at hand, for messages */
    bool shared[TERN_SCHEMA_SHARED_COUNT];
    tern_schema_ref *ref; /* owned; the first n_written are written */
    size_t n_ref, cap_ref, n_written;
    int n_rule, depth, n_expanded;
    tern_err *err;
} tern_schema;

/* Append what schema s stands for to out: one part of a sequence. */
TERN_CHECK tern_code tern_schema_put(tern_schema *c, json_t *s, tern_str *out);
/* The same of the schema at path/key. */
TERN_CHECK tern_code tern_schema_put_at(tern_schema *c, json_t *s, const char *key, tern_str *out);
/* The name of a rule that is there for all, which is written then. */
void tern_schema_put_shared(tern_schema *c, tern_schema_shared which, tern_str *out);
/* Make body a rule and append its name to out; body is done away with. */
TERN_CHECK tern_code tern_schema_put_rule(tern_schema *c, tern_str *body, tern_str *out);
/* A value as it is. */
TERN_CHECK tern_code tern_schema_put_value(tern_schema *c, json_t *v, tern_str *out);
/* "schema: '#/a/b': " and so on. */
tern_code tern_schema_fail(const tern_schema *c, tern_code code, const char *fmt, ...)
    TERN_PRINTF(3, 4);
tern_code tern_schema_no_memory(const tern_schema *c);
/* A text that has failed: TERN_E_LIMIT or TERN_E_NOMEM. */
TERN_CHECK tern_code tern_schema_check(const tern_schema *c, const tern_str *s);
/* A whole number at key, absent: fallback. Codes: TERN_E_USAGE. */
TERN_CHECK tern_code tern_schema_count(const tern_schema *c, json_t *s, const char *key,
                                       json_int_t fallback, json_int_t *out);
/* What "#/..." points to. */
TERN_CHECK tern_code tern_schema_find(const tern_schema *c, const char *ref, json_t **out);

/* One schema that says what both say, a new reference. */
TERN_CHECK tern_code tern_schema_merge(tern_schema *c, json_t *a, json_t *b, json_t **out);

TERN_CHECK tern_code tern_schema_put_object(tern_schema *c, json_t *s, tern_str *out);
TERN_CHECK tern_code tern_schema_put_array(tern_schema *c, json_t *s, tern_str *out);
TERN_CHECK tern_code tern_schema_put_string(tern_schema *c, json_t *s, tern_str *out);
TERN_CHECK tern_code tern_schema_put_number(tern_schema *c, json_t *s, bool whole, tern_str *out);

#define TERN_SCHEMA_COMMA "\",\" \" \"?"
#define TERN_SCHEMA_COLON "\":\" \" \"?"

#endif
