/* GET /openapi.json and /docs. Requests are described by the rows that read them, so they cannot differ. */
#include "server/openapi.h"
#include "server/http.h"
#include "server/params.h"

#include <stdio.h>
#include <string.h>

/* ---- schemas ------------------------------------------------------------------------------- */

/* Bodies of requests by the names that routes.def has for them. */
static const struct {
    const char *name;
    unsigned endpoint;
    const char *required; /* with commas between */
} requests[] = {
#define REQUEST(name, endpoint, required) {name, PARAM_##endpoint, required},
#define SCHEMA(name, text)
#include "server/schemas.def"
};
#define N_REQUEST (sizeof requests / sizeof requests[0])

static const struct {
    const char *name, *text;
} schemas[] = {
#define REQUEST(name, endpoint, required)
#define SCHEMA(name, text) {name, text},
#include "server/schemas.def"
};
#define N_SCHEMA (sizeof schemas / sizeof schemas[0])

bool openapi_has_schema(const char *name)
{
    for (size_t i = 0; i < N_REQUEST; i++)
        if (strcmp(requests[i].name, name) == 0)
            return true;
    for (size_t i = 0; i < N_SCHEMA; i++)
        if (strcmp(schemas[i].name, name) == 0)
            return true;
    return false;
}

static json_t *ref_json(const char *name)
{
    return json_pack("{s:o}", "$ref", json_sprintf("#/components/schemas/%s", name));
}

/* Releases v; false when it was NULL or memory is exhausted. */
static bool put(json_t *o, const char *name, json_t *v)
{
    return json_object_set_new(o, name, v) == 0;
}

static json_t *words_json(const char *words)
{
    json_t *list = json_array();
    while (list && *words) {
        size_t n = strcspn(words, "|");
        (void)json_array_append_new(list, json_stringn(words, n));
        words += n + (words[n] == '|');
    }
    (void)json_array_append_new(list, json_null());
    return list;
}

/* null counts as absent everywhere. */
static json_t *row_json(const param_row *row)
{
    switch (row->type) {
    case PARAM_BOOL:
        return json_pack("{s:[s,s]}", "type", "boolean", "null");
    case PARAM_INT:
        return json_pack("{s:[s,s],s:I,s:I}", "type", "integer", "null", "minimum",
                         (json_int_t)row->min, "maximum", (json_int_t)row->max);
    case PARAM_NUMBER:
        return json_pack("{s:[s,s],s:f,s:f}", "type", "number", "null", "minimum", row->low,
                         "maximum", row->high);
    case PARAM_STRING:
        return json_pack("{s:[s,s],s:I}", "type", "string", "null", "maxLength",
                         (json_int_t)row->max);
    case PARAM_WORD:
        return json_pack("{s:o}", "enum", words_json(row->words));
    case PARAM_OBJECT:
        return json_pack("{s:[s,s]}", "type", "object", "null");
    case PARAM_ARRAY:
        return json_pack("{s:[s,s]}", "type", "array", "null");
    case PARAM_STOPS:
        return json_pack("{s:[{s:s,s:i,s:i},{s:s,s:i,s:{s:s,s:i,s:i}},{s:s}]}", "anyOf", "type",
                         "string", "minLength", 1, "maxLength", 256, "type", "array", "maxItems",
                         16, "items", "type", "string", "minLength", 1, "maxLength", 256, "type",
                         "null");
    case PARAM_BIAS:
        return json_pack("{s:[s,s,s]}", "type", "object", "array", "null");
    case PARAM_REFUSED:
        return json_pack("{s:s}", "type", "null");
    case PARAM_VALUE:
    case PARAM_IGNORED:
        break;
    }
    return json_object();
}

static bool describe_row(json_t *s, const param_row *row)
{
    const char *about = row->about && row->about[0] ? row->about : NULL;
    if (row->type == PARAM_IGNORED)
        return put(s, "description",
                   about ? json_sprintf("accepted, without effect: %s", about)
                         : json_string("accepted, without effect"));
    if (about && !put(s, "description", json_string(about)))
        return false;
    /* a default that cannot be written stands for an absent field */
    if (!row->initial || (row->type == PARAM_INT &&
                          (row->start < (double)row->min || row->start > (double)row->max)))
        return true;
    json_t *initial = row->type == PARAM_WORD ? json_string(row->initial)
                                              : json_loads(row->initial, JSON_DECODE_ANY, NULL);
    return initial ? put(s, "default", initial) : true;
}

/* The properties that a row's name stands in: its endpoint's own, or those of the object before its dot. */
static json_t *properties_of(json_t *properties, const param_row *row, const char **name)
{
    const char *dot = strchr(row->name, '.');
    *name = row->name;
    if (!dot)
        return properties;
    char outer[32];
    (void)snprintf(outer, sizeof outer, "%.*s", (int)(dot - row->name), row->name);
    *name = dot + 1;
    json_t *o = json_object_get(properties, outer);
    if (!o) {
        o = json_pack("{s:[s,s],s:{}}", "type", "object", "null", "properties");
        if (!put(properties, outer, o))
            return NULL;
    }
    return json_object_get(o, "properties");
}

static json_t *required_json(const char *names)
{
    json_t *list = json_array();
    while (list && *names) {
        size_t n = strcspn(names, ",");
        (void)json_array_append_new(list, json_stringn(names, n));
        names += n + (names[n] == ',');
    }
    return list;
}

/* What must be there cannot be null. */
static bool demand(json_t *properties, const char *name)
{
    json_t *s = json_object_get(properties, name), *type = json_object_get(s, "type");
    if (!json_is_array(type) || json_array_size(type) != 2)
        return true;
    return json_object_set(s, "type", json_array_get(type, 0)) == 0 &&
           (json_object_del(s, "default") == 0 || true);
}

static json_t *request_json(size_t i)
{
    size_t n;
    const param_row *rows = params_rows(&n);
    json_t *properties = json_object(), *required = required_json(requests[i].required);
    bool fine = properties && required;
    for (size_t k = 0; fine && k < n; k++) {
        const char *name;
        if (!(rows[k].endpoints & requests[i].endpoint))
            continue;
        json_t *to = properties_of(properties, &rows[k], &name), *s = row_json(&rows[k]);
        fine = put(to, name, s) && describe_row(s, &rows[k]);
    }
    for (size_t k = 0; fine && k < json_array_size(required); k++)
        fine = demand(properties, json_string_value(json_array_get(required, k)));
    json_t *schema = json_pack("{s:s,s:o}", "type", "object", "properties", properties);
    if (json_array_size(required) > 0)
        fine = put(schema, "required", required) && fine;
    else
        json_decref(required);
    if (!fine) {
        json_decref(schema);
        return NULL;
    }
    return schema;
}

static json_t *schemas_json(void)
{
    json_t *o = json_object();
    bool fine = o != NULL;
    for (size_t i = 0; fine && i < N_REQUEST; i++)
        fine = put(o, requests[i].name, request_json(i));
    for (size_t i = 0; fine && i < N_SCHEMA; i++)
        fine = put(o, schemas[i].name, json_loads(schemas[i].text, JSON_REJECT_DUPLICATES, NULL));
    if (!fine) {
        json_decref(o);
        return NULL;
    }
    return o;
}

/* ---- operations ------------------------------------------------------------------------------ */

static const char *tag_of(const route *r)
{
    if (r->dialect == DIALECT_ANTHROPIC)
        return "Anthropic";
    if (r->dialect == DIALECT_OLLAMA)
        return "Ollama";
    bool own = strncmp(r->path, "/v1/", 4) != 0 || strcmp(r->path, "/v1/decide") == 0;
    return own ? "Native" : "OpenAI";
}

static const char *error_of(const route *r)
{
    if (r->dialect == DIALECT_ANTHROPIC)
        return "AnthropicError";
    return r->dialect == DIALECT_OLLAMA ? "OllamaError" : "Error";
}

/* The path as OpenAPI has it: "/x/{name*}" is "/x/{name}". */
static void path_of(const route *r, char *out, size_t cap)
{
    size_t n = 0;
    for (const char *s = r->path; *s && n + 1 < cap; s++)
        if (*s != '*' || s[1] != '}')
            out[n++] = *s;
    out[n] = '\0';
}

static json_t *parameters_json(const char *path)
{
    json_t *list = json_array();
    for (const char *s = strchr(path, '{'); list && s; s = strchr(s + 1, '{')) {
        size_t n = strcspn(s + 1, "}");
        json_t *p = json_pack("{s:s%,s:s,s:b,s:{s:s}}", "name", s + 1, n, "in", "path", "required",
                              1, "schema", "type", "string");
        (void)json_array_append_new(list, p);
    }
    return list;
}

static bool streams(const route *r)
{
    size_t n;
    const param_row *rows = params_rows(&n);
    for (size_t i = 0; r->request && i < N_REQUEST; i++)
        for (size_t k = 0; strcmp(requests[i].name, r->request) == 0 && k < n; k++)
            if (rows[k].endpoints & requests[i].endpoint && strcmp(rows[k].name, "stream") == 0)
                return true;
    return false;
}

static bool put_failure(json_t *responses, const route *r, const char *status, const char *what)
{
    return put(responses, status,
               json_pack("{s:s,s:{s:{s:o}}}", "description", what, "content", "application/json",
                         "schema", ref_json(error_of(r))));
}

static json_t *responses_json(const route *r)
{
    json_t *content = json_object();
    bool fine = content != NULL;
    if (fine && r->reply)
        fine = put(content, "application/json", json_pack("{s:o}", "schema", ref_json(r->reply)));
    if (fine && streams(r))
        fine = put(content,
                   r->dialect == DIALECT_OLLAMA ? "application/x-ndjson" : "text/event-stream",
                   json_pack("{s:{s:s}}", "schema", "type", "string"));
    json_t *ok = json_pack("{s:s}", "description", "as asked for");
    if (json_object_size(content) > 0)
        fine = fine && json_object_set(ok, "content", content) == 0;
    json_decref(content);
    json_t *all = json_pack("{s:o}", "200", ok);
    fine = fine && all;
    if (fine && r->request)
        fine = put_failure(all, r, "400", "a field is wrong, or asks for what is not there") &&
               put_failure(all, r, "413", "the body is too large") &&
               put_failure(all, r, "415", "the body is not JSON");
    if (fine && (r->request || strchr(r->path, '{')))
        fine = put_failure(all, r, "404", "no such model, or nothing of that name");
    if (fine && !(r->flags & ROUTE_OPEN))
        fine = put_failure(all, r, "401", "a key is needed, and this is none") &&
               put_failure(all, r, "403", "not from that host or origin");
    if (fine && r->flags & ROUTE_WORK)
        fine = put_failure(all, r, "429", "too much at a time for this key: try again later");
    if (fine && r->flags & (ROUTE_MODEL | ROUTE_WORK))
        fine = put_failure(all, r, r->dialect == DIALECT_ANTHROPIC ? "529" : "503",
                           "no room now, or no model yet: try again later");
    if (fine)
        fine = put_failure(all, r, "default", "another failure");
    if (!fine) {
        json_decref(all);
        return NULL;
    }
    return all;
}

/* "server_chat" of POST is "post_chat": unique, as a handler serves several routes at most by method. */
static json_t *id_json(const route *r)
{
    char id[128];
    size_t n = 0;
    for (const char *s = r->method; *s && n + 1 < sizeof id; s++)
        id[n++] = (char)(*s - 'A' + 'a');
    for (const char *s = r->path; *s && n + 1 < sizeof id; s++) {
        bool word = (*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9') || *s == '_';
        if (word || (n > 0 && id[n - 1] != '_'))
            id[n++] = word ? *s : '_';
    }
    while (n > 0 && id[n - 1] == '_')
        n--;
    return json_stringn(id, n);
}

static json_t *operation_json(const route *r, const char *path)
{
    json_t *op = json_pack("{s:o,s:[s],s:s,s:o}", "operationId", id_json(r), "tags", tag_of(r),
                           "summary", r->summary, "responses", responses_json(r));
    json_t *parameters = parameters_json(path);
    bool fine = op != NULL;
    if (json_array_size(parameters) > 0)
        fine = fine && json_object_set(op, "parameters", parameters) == 0;
    json_decref(parameters);
    if (fine && r->request)
        fine = put(op, "requestBody",
                   json_pack("{s:b,s:{s:{s:o}}}", "required", 1, "content", "application/json",
                             "schema", ref_json(r->request)));
    if (fine)
        fine = put(op, "security",
                   r->flags & ROUTE_OPEN ? json_array()
                                         : json_pack("[{s:[]},{s:[]},{}]", "bearer", "header"));
    if (!fine) {
        json_decref(op);
        return NULL;
    }
    return op;
}

static json_t *paths_json(void)
{
    json_t *paths = json_object();
    bool fine = paths != NULL;
    for (size_t i = 0; fine && i < n_route; i++) {
        char path[256], method[16];
        size_t n = 0;
        path_of(&routes[i], path, sizeof path);
        for (const char *s = routes[i].method; *s && n + 1 < sizeof method; s++)
            method[n++] = (char)(*s - 'A' + 'a');
        method[n] = '\0';
        json_t *item = json_object_get(paths, path);
        if (!item) {
            item = json_object();
            fine = put(paths, path, item);
        }
        fine = fine && put(item, method, operation_json(&routes[i], path));
    }
    if (!fine) {
        json_decref(paths);
        return NULL;
    }
    return paths;
}

/* ---- the document ---------------------------------------------------------------------------- */

static json_t *tags_json(void)
{
    return json_pack("[{s:s,s:s},{s:s,s:s},{s:s,s:s},{s:s,s:s}]", "name", "OpenAI", "description",
                     "as OpenAI's clients use it, with the base URL /v1", "name", "Anthropic",
                     "description", "as Anthropic's clients use it, with the base URL /", "name",
                     "Ollama", "description", "as Ollama's clients use it, with the base URL /",
                     "name", "Native", "description",
                     "of the server itself, and as llama.cpp's clients use it");
}

json_t *openapi_document(void)
{
    json_t *security =
        json_pack("{s:{s:s,s:s},s:{s:s,s:s,s:s}}", "bearer", "type", "http", "scheme", "bearer",
                  "header", "type", "apiKey", "in", "header", "name", "x-api-key");
    json_t *components =
        json_pack("{s:o,s:o}", "schemas", schemas_json(), "securitySchemes", security);
    return json_pack("{s:s,s:{s:s,s:s,s:s,s:{s:s,s:s}},s:[{s:s}],s:o,s:o,s:o}", "openapi", "3.1.0",
                     "info", "title", "tern", "version", tern_version(), "description",
                     "One ternary language model, for clients of several dialects.", "license",
                     "name", "MIT", "identifier", "MIT", "servers", "url", "/", "tags", tags_json(),
                     "paths", paths_json(), "components", components);
}

/* docs.S */
extern const char tern_docs_begin[], tern_docs_end[];

void server_docs(exchange *x)
{
    (void)exchange_set_header(x, "Content-Security-Policy",
                              "default-src 'none'; script-src 'unsafe-inline'; style-src "
                              "'unsafe-inline'; connect-src 'self'; base-uri 'none'; "
                              "form-action 'none'; frame-ancestors 'none'");
    exchange_reply_static(x, 200, "text/html; charset=utf-8", tern_docs_begin,
                          (size_t)(tern_docs_end - tern_docs_begin));
}

void server_openapi(exchange *x)
{
    exchange_reply_json(x, 200, openapi_document());
}
