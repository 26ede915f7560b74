/* Messages of blocks -> messages with text, calls and results of calls, as chat templates know them. */
#include "base/error.h"
#include "server/anthropic.h"

#include <string.h>

#define MAX_MESSAGES 100000 /* as the service has it */
#define MAX_BLOCKS   100000

/* Where a block stands, for the name of the field at fault. */
typedef struct place {
    size_t message;
    bool system; /* the field of that name, not a message */
    bool blocks; /* content is a list, and this its */
    size_t block;
    bool inner; /* block has a list, and this its */
    size_t part;
} place;

/* What is read so far. */
typedef struct reader {
    json_t *out;   /* messages; borrowed */
    json_t *names; /* owned: id of a call -> name of its tool */
    json_t *last;  /* the message that blocks go to; borrowed from out, NULL: none is open */
    fault *f;
} reader;

/* The message of f is written: say where that was. */
static tern_code at(fault *f, const place *w, const char *field)
{
    char where[64] = "", inner[32] = "";
    if (w->blocks)
        (void)snprintf(where, sizeof where, "%s[%zu]", w->system ? "" : ".content", w->block);
    if (w->inner)
        (void)snprintf(inner, sizeof inner, ".content[%zu]", w->part);
    const char *dot = *field ? "." : "";
    if (w->system)
        return fault_param(f, "system%s%s%s%s", where, inner, dot, field);
    return fault_param(f, "messages[%zu]%s%s%s%s", w->message, where, inner, dot, field);
}

static tern_code bad(fault *f, const place *w, const char *field, const char *what)
{
    (void)fault_set(f, TERN_E_USAGE, NULL, "%s", what);
    return at(f, w, field);
}

static tern_code no_memory(fault *f)
{
    return fault_set(f, TERN_E_NOMEM, NULL, "out of memory");
}

/* ---- what messages are made of --------------------------------------------------------------- */

/* Open a message of a role: the last one if that has it too, as turns of one side belong together. */
static tern_code open_message(reader *r, const char *role)
{
    if (r->last && strcmp(json_string_value(json_object_get(r->last, "role")), role) == 0)
        return TERN_OK;
    r->last = json_pack("{s:s,s:[]}", "role", role, "content");
    if (json_array_append_new(r->out, r->last) != 0) {
        r->last = NULL;
        return no_memory(r->f);
    }
    return TERN_OK;
}

static tern_code add_text(reader *r, json_t *list, const json_t *text)
{
    json_t *part = json_pack("{s:s,s:O}", "type", "text", "text", text);
    return json_array_append_new(list, part) == 0 ? TERN_OK : no_memory(r->f);
}

/* A block that is nothing but text: "text", or a document of plain text. */
static tern_code read_text(reader *r, const json_t *block, const place *w, json_t *list)
{
    const char *type = json_string_value(json_object_get(block, "type"));
    const json_t *text = json_object_get(block, "text");
    if (!type)
        return bad(r->f, w, "type", "a block has a type, which is a string");
    if (strcmp(type, "document") == 0) {
        const json_t *source = json_object_get(block, "source");
        const char *kind = json_string_value(json_object_get(source, "type"));
        if (!kind || strcmp(kind, "text") != 0) {
            (void)fault_set(r->f, TERN_E_UNSUPPORTED, NULL,
                            "of documents only those with a source of type text can be read");
            return at(r->f, w, "source");
        }
        text = json_object_get(source, "data");
    } else if (strcmp(type, "text") != 0) {
        (void)fault_set(
            r->f, TERN_E_UNSUPPORTED, NULL,
            "the model reads text only: blocks of type text, documents of plain text, tool_use, "
            "tool_result and thinking");
        return at(r->f, w, "type");
    }
    if (!json_is_string(text))
        return bad(r->f, w, "", "a block of text has its text as a string");
    return add_text(r, list, text);
}

/* Text as a string or as blocks, into a list of parts. Absent: none. */
static tern_code read_texts(reader *r, const json_t *content, place w, bool inner, json_t *list)
{
    if (!content || json_is_null(content))
        return TERN_OK;
    if (json_is_string(content))
        return add_text(r, list, content);
    if (!json_is_array(content) || json_array_size(content) > MAX_BLOCKS)
        return bad(r->f, &w, w.system ? "" : "content", "text is a string or a list of blocks");
    for (size_t i = 0; i < json_array_size(content); i++) {
        if (inner) {
            w.inner = true;
            w.part = i;
        } else {
            w.blocks = true;
            w.block = i;
        }
        TERN_TRY(read_text(r, json_array_get(content, i), &w, list));
    }
    return TERN_OK;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static tern_code read_result(reader *r, const json_t *block, const place *w)
{
    const json_t *id = json_object_get(block, "tool_use_id");
    if (!json_is_string(id))
        return bad(r->f, w, "tool_use_id", "the result of a tool names its call by a string");
    const json_t *error = json_object_get(block, "is_error");
    if (error && !json_is_null(error) && !json_is_boolean(error))
        return bad(r->f, w, "is_error", "is_error is true or false");
    json_t *m = json_pack("{s:s,s:[],s:O}", "role", "tool", "content", "tool_call_id", id);
    if (json_array_append_new(r->out, m) != 0)
        return no_memory(r->f);
    r->last = NULL; /* each result is a message of its own */
    json_t *name = json_object_get(r->names, json_string_value(id));
    if (name && json_object_set(m, "name", name) != 0)
        return no_memory(r->f);
    return read_texts(r, json_object_get(block, "content"), *w, true,
                      json_object_get(m, "content"));
}

static tern_code read_call(reader *r, const json_t *block, const place *w)
{
    const json_t *id = json_object_get(block, "id"), *name = json_object_get(block, "name"),
                 *input = json_object_get(block, "input");
    if (!json_is_string(id) || !json_is_string(name))
        return bad(r->f, w, json_is_string(id) ? "name" : "id", "a call has an id and a name");
    if (!json_is_object(input))
        return bad(r->f, w, "input", "the input of a call is an object");
    json_t *calls = json_object_get(r->last, "tool_calls");
    if (!calls) {
        calls = json_array();
        if (json_object_set_new(r->last, "tool_calls", calls) != 0)
            return no_memory(r->f);
    }
    char *arguments = json_dumps(input, JSON_COMPACT);
    json_t *call = arguments ? json_pack("{s:O,s:s,s:{s:O,s:s}}", "id", id, "type", "function",
                                         "function", "name", name, "arguments", arguments)
                             : NULL;
    free(arguments);
    if (json_array_append_new(calls, call) != 0 ||
        json_object_set_new(r->names, json_string_value(id),
                            json_incref(json_object_get(block, "name"))) != 0)
        return no_memory(r->f);
    return TERN_OK;
}

static tern_code read_thinking(reader *r, const json_t *block, const place *w)
{
    const json_t *text = json_object_get(block, "thinking");
    if (!json_is_string(text))
        return bad(r->f, w, "thinking", "thinking is a string");
    const char *before = json_string_value(json_object_get(r->last, "reasoning_content"));
    json_t *both = json_sprintf("%s%s", before ? before : "", json_string_value(text));
    return json_object_set_new(r->last, "reasoning_content", both) == 0 ? TERN_OK : no_memory(r->f);
}

static tern_code read_block(reader *r, const json_t *block, const char *role, const place *w)
{
    const char *type = json_string_value(json_object_get(block, "type"));
    bool assistant = strcmp(role, "assistant") == 0;
    if (!json_is_object(block))
        return bad(r->f, w, "", "a block is an object");
    if (type && strcmp(type, "tool_result") == 0)
        return strcmp(role, "user") == 0
                   ? read_result(r, block, w)
                   : bad(r->f, w, "type", "results of tools stand in messages of the user");
    TERN_TRY(open_message(r, role));
    if (type && assistant && strcmp(type, "tool_use") == 0)
        return read_call(r, block, w);
    if (type && assistant && strcmp(type, "thinking") == 0)
        return read_thinking(r, block, w);
    if (type && assistant && strcmp(type, "redacted_thinking") == 0)
        return TERN_OK; /* nobody but its maker can read it */
    return read_text(r, block, w, json_object_get(r->last, "content"));
}

/* ---- the conversation ------------------------------------------------------------------------ */

static tern_code read_message(reader *r, const json_t *m, place w)
{
    const char *role = json_string_value(json_object_get(m, "role"));
    const json_t *content = json_object_get(m, "content");
    if (!json_is_object(m))
        return bad(r->f, &w, "", "a message is an object");
    if (!role || (strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0 &&
                  strcmp(role, "system") != 0))
        return bad(r->f, &w, "role", "role is user, assistant or system");
    if (json_is_string(content)) {
        TERN_TRY(open_message(r, role));
        return add_text(r, json_object_get(r->last, "content"), content);
    }
    if (!json_is_array(content) || json_array_size(content) > MAX_BLOCKS)
        return bad(r->f, &w, "content", "content is a string or a list of blocks");
    w.blocks = true;
    for (w.block = 0; w.block < json_array_size(content); w.block++)
        TERN_TRY(read_block(r, json_array_get(content, w.block), role, &w));
    return TERN_OK;
}

/* A part of one text need not be a list, and templates that know no lists can read it then. */
static tern_code flatten(reader *r)
{
    for (size_t i = 0; i < json_array_size(r->out); i++) {
        json_t *m = json_array_get(r->out, i), *list = json_object_get(m, "content");
        json_t *text = NULL;
        if (json_array_size(list) == 1)
            text = json_incref(json_object_get(json_array_get(list, 0), "text"));
        else if (json_array_size(list) == 0)
            text = json_object_get(m, "tool_calls") ? json_null() : json_string("");
        else
            continue;
        if (json_object_set_new(m, "content", text) != 0)
            return no_memory(r->f);
    }
    return TERN_OK;
}

static tern_code read_messages(const params *p, messages_request *q, fault *f)
{
    reader r = {.out = q->messages, .names = json_object(), .f = f};
    size_t n = json_array_size(p->messages);
    place w = {.system = true};
    tern_code rc = r.names ? TERN_OK : no_memory(f);
    if (rc == TERN_OK && (!json_is_array(p->messages) || n == 0 || n > MAX_MESSAGES))
        rc = fault_set(f, TERN_E_USAGE, "messages", "messages is a list of at least one message");
    if (rc == TERN_OK && p->system) {
        rc = open_message(&r, "system");
        if (rc == TERN_OK)
            rc = read_texts(&r, p->system, w, false, json_object_get(r.last, "content"));
    }
    w.system = false;
    for (w.message = 0; rc == TERN_OK && w.message < n; w.message++)
        rc = read_message(&r, json_array_get(p->messages, w.message), w);
    if (rc == TERN_OK)
        rc = flatten(&r);
    json_decref(r.names);
    const char *role = r.last ? json_string_value(json_object_get(r.last, "role")) : NULL;
    q->continue_last =
        role && strcmp(role, "assistant") == 0 && !json_object_get(r.last, "tool_calls");
    return rc;
}

/* ---- tools ----------------------------------------------------------------------------------- */

static bool is_tool_name(const char *s)
{
    size_t n = s ? strlen(s) : 0;
    return n > 0 && n <= 128 &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == n;
}

static tern_code read_tool(const json_t *t, size_t i, json_t *out, fault *f)
{
    const json_t *type = json_object_get(t, "type"), *name = json_object_get(t, "name"),
                 *schema = json_object_get(t, "input_schema"),
                 *about = json_object_get(t, "description");
    if (type && !json_is_null(type) &&
        (!json_is_string(type) || strcmp(json_string_value(type), "custom") != 0)) {
        (void)fault_set(f, TERN_E_UNSUPPORTED, NULL,
                        "tools that run on a server are not there: only those of type custom");
        return fault_param(f, "tools[%zu].type", i);
    }
    if (!is_tool_name(json_string_value(name))) {
        (void)fault_set(f, TERN_E_USAGE, NULL,
                        "a tool's name has 1 to 128 letters, digits, - and _");
        return fault_param(f, "tools[%zu].name", i);
    }
    if (!json_is_object(schema)) {
        (void)fault_set(f, TERN_E_USAGE, NULL, "a tool has the schema of its input, an object");
        return fault_param(f, "tools[%zu].input_schema", i);
    }
    if (about && !json_is_null(about) && !json_is_string(about)) {
        (void)fault_set(f, TERN_E_USAGE, NULL, "a tool's description is a string");
        return fault_param(f, "tools[%zu].description", i);
    }
    json_t *tool = json_pack("{s:s,s:{s:O,s:O}}", "type", "function", "function", "name", name,
                             "parameters", schema);
    if (json_array_append_new(out, tool) != 0)
        return no_memory(f);
    if (json_is_string(about) && json_object_set(json_object_get(tool, "function"), "description",
                                                 json_object_get(t, "description")) != 0)
        return no_memory(f);
    return TERN_OK;
}

static tern_code read_tools(const params *p, messages_request *q, fault *f)
{
    size_t n = json_array_size(p->tools);
    if (n == 0)
        return TERN_OK;
    q->tools = json_array();
    if (!q->tools)
        return no_memory(f);
    for (size_t i = 0; i < n; i++)
        TERN_TRY(read_tool(json_array_get(p->tools, i), i, q->tools, f));
    return TERN_OK;
}

static bool has_tool(const json_t *tools, const char *name)
{
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *function = json_object_get(json_array_get(tools, i), "function");
        if (strcmp(json_string_value(json_object_get(function, "name")), name) == 0)
            return true;
    }
    return false;
}

static tern_code read_choice(const params *p, messages_request *q, fault *f)
{
    const char *type = json_string_value(json_object_get(p->tool_choice, "type"));
    const json_t *one = json_object_get(p->tool_choice, "disable_parallel_tool_use");
    if (!p->tool_choice)
        return TERN_OK;
    if (one && !json_is_null(one) && !json_is_boolean(one))
        return fault_set(f, TERN_E_USAGE, "tool_choice.disable_parallel_tool_use",
                         "disable_parallel_tool_use is true or false");
    q->one_call = json_is_true(one);
    if (type && strcmp(type, "auto") == 0)
        q->tool_use = GENERATE_TOOLS_AUTO;
    else if (type && strcmp(type, "none") == 0)
        q->tool_use = GENERATE_TOOLS_NONE;
    else if (type && strcmp(type, "any") == 0)
        q->tool_use = GENERATE_TOOLS_REQUIRED;
    else if (type && strcmp(type, "tool") == 0)
        q->tool_use = GENERATE_TOOLS_NAMED;
    else
        return fault_set(f, TERN_E_USAGE, "tool_choice.type", "type is auto, any, tool or none");
    if (!q->tools &&
        (q->tool_use == GENERATE_TOOLS_REQUIRED || q->tool_use == GENERATE_TOOLS_NAMED))
        return fault_set(f, TERN_E_USAGE, "tool_choice", "there are no tools to choose from");
    if (q->tool_use == GENERATE_TOOLS_NAMED) {
        q->tool_name = json_string_value(json_object_get(p->tool_choice, "name"));
        if (!q->tool_name || !has_tool(q->tools, q->tool_name))
            return fault_set(f, TERN_E_USAGE, "tool_choice.name",
                             "name is that of one of the tools");
    }
    return TERN_OK;
}

/* ---- the rest -------------------------------------------------------------------------------- */

static tern_code read_thinking_config(const params *p, messages_request *q, fault *f)
{
    const char *type = json_string_value(json_object_get(p->thinking, "type"));
    const json_t *display = json_object_get(p->thinking, "display");
    bool on = false;
    if (p->thinking) {
        if (type && (strcmp(type, "enabled") == 0 || strcmp(type, "adaptive") == 0 ||
                     strcmp(type, "between_tools") == 0))
            on = true;
        else if (!type || strcmp(type, "disabled") != 0)
            return fault_set(f, TERN_E_USAGE, "thinking.type",
                             "type is enabled, adaptive, between_tools or disabled");
    }
    if (display && !json_is_null(display) && !json_is_string(display))
        return fault_set(f, TERN_E_USAGE, "thinking.display", "display is summarized or omitted");
    q->omit_thinking =
        json_is_string(display) && strcmp(json_string_value(display), "omitted") == 0;
    return json_object_set_new(q->vars, "enable_thinking", json_boolean(on)) == 0 ? TERN_OK
                                                                                  : no_memory(f);
}

static tern_code read_output(const params *p, messages_request *q, fault *f)
{
    json_t *effort = json_object_get(p->output_config, "effort"),
           *format = json_object_get(p->output_config, "format");
    if (effort && !json_is_null(effort)) {
        if (!json_is_string(effort))
            return fault_set(f, TERN_E_USAGE, "output_config.effort", "effort is a string");
        if (json_object_set(q->vars, "reasoning_effort", effort) != 0)
            return no_memory(f);
    }
    if (!format || json_is_null(format))
        return TERN_OK;
    const char *type = json_string_value(json_object_get(format, "type"));
    q->schema = json_object_get(format, "schema");
    if (!type || strcmp(type, "json_schema") != 0)
        return fault_set(f, TERN_E_USAGE, "output_config.format.type", "type is json_schema");
    if (!json_is_object(q->schema))
        return fault_set(f, TERN_E_USAGE, "output_config.format.schema", "schema is an object");
    return TERN_OK;
}

static tern_code refuse_servers(const params *p, fault *f)
{
    if (json_array_size(p->mcp_servers) > 0)
        return fault_set(f, TERN_E_UNSUPPORTED, "mcp_servers",
                         "this server calls no other servers: leave it out");
    if (p->container)
        return fault_set(f, TERN_E_UNSUPPORTED, "container",
                         "there are no containers here: leave it out");
    return TERN_OK;
}

tern_code messages_read(const params *p, messages_request *r, fault *f)
{
    *r = (messages_request){.messages = json_array(), .vars = json_object()};
    if (!r->messages || !r->vars)
        return no_memory(f);
    TERN_TRY(refuse_servers(p, f));
    TERN_TRY(read_messages(p, r, f));
    TERN_TRY(read_tools(p, r, f));
    TERN_TRY(read_choice(p, r, f));
    TERN_TRY(read_thinking_config(p, r, f));
    return read_output(p, r, f);
}

void messages_done(messages_request *r)
{
    json_decref(r->messages);
    json_decref(r->tools);
    json_decref(r->vars);
    *r = (messages_request){0};
}

void messages_ask(const messages_request *m, generate_request *g)
{
    g->messages = m->messages;
    g->continue_last = m->continue_last;
    g->tools = m->tools;
    g->tool_use = m->tool_use;
    g->tool_name = m->tool_name;
    g->one_call = m->one_call;
    g->vars = m->vars;
    if (m->schema) {
        g->format = GENERATE_JSON_SCHEMA;
        g->format_json = m->schema;
        g->format_name = "output_config.format.schema";
    }
}
