/* What an answer may be: formats and calls of tools as one grammar. Compiled grammars are kept for the next
 * request with the same text, with what they have learned of the vocabulary. */
#include "server/compose.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/str.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MAX_GRAMMAR ((size_t)8 << 20)

/* ---- the cache ---------------------------------------------------------------------------------- */

#define CACHE_ENTRIES 16

struct grammar_entry {
    tern_grammar *g; /* owned; NULL: the entry is free */
    tern_grammar_kind kind;
    char *text; /* owned */
    size_t n;
    int n_lease;
    bool kept; /* one of the cache's own; else it goes with its lease */
    uint64_t used;
};

struct grammar_cache {
    const tern_model *m; /* borrowed */
    pthread_mutex_t mu;
    grammar_entry entry[CACHE_ENTRIES]; /* guarded by mu, and so is the clock */
    uint64_t clock;
};

tern_code grammar_cache_new(const tern_model *m, grammar_cache **out, tern_err *err)
{
    grammar_cache *c = tern_calloc(1, sizeof *c);
    *out = c;
    if (!c)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for grammars");
    c->m = m;
    pthread_mutex_init(&c->mu, NULL);
    return TERN_OK;
}

static void entry_done(grammar_entry *e)
{
    tern_grammar_free(e->g);
    tern_free(e->text);
    *e = (grammar_entry){0};
}

void grammar_cache_free(grammar_cache *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < CACHE_ENTRIES; i++)
        entry_done(&c->entry[i]);
    pthread_mutex_destroy(&c->mu);
    tern_free(c);
}

void grammar_lease_end(grammar_cache *c, grammar_entry *e)
{
    if (!e)
        return;
    if (!e->kept) {
        entry_done(e);
        tern_free(e);
        return;
    }
    pthread_mutex_lock(&c->mu);
    e->n_lease--;
    pthread_mutex_unlock(&c->mu);
}

static grammar_entry *find_entry(grammar_cache *c, tern_grammar_kind kind, const char *text,
                                 size_t n)
{
    grammar_entry *found = NULL;
    pthread_mutex_lock(&c->mu);
    for (grammar_entry *e = c->entry; e < c->entry + CACHE_ENTRIES && !found; e++)
        if (e->g && e->kind == kind && e->n == n && memcmp(e->text, text, n) == 0)
            found = e;
    if (found) {
        found->n_lease++;
        found->used = ++c->clock;
    }
    pthread_mutex_unlock(&c->mu);
    return found;
}

/* Put it where nothing is or what nobody uses was used longest ago; else it stays by itself. */
static grammar_entry *keep_entry(grammar_cache *c, grammar_entry *made)
{
    grammar_entry *at = NULL;
    pthread_mutex_lock(&c->mu);
    for (grammar_entry *e = c->entry; e < c->entry + CACHE_ENTRIES; e++)
        if (e->n_lease == 0 && (!at || e->used < at->used))
            at = e;
    if (at) {
        entry_done(at);
        *at = *made;
        at->kept = true;
        at->used = ++c->clock;
    }
    pthread_mutex_unlock(&c->mu);
    if (!at)
        return made;
    tern_free(made);
    return at;
}

static tern_code lease(grammar_cache *c, tern_grammar_kind kind, const char *text, size_t n,
                       grammar_entry **out, tern_err *err)
{
    *out = find_entry(c, kind, text, n);
    if (*out)
        return TERN_OK;
    grammar_entry *e = tern_calloc(1, sizeof *e);
    if (!e)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for a grammar");
    *e = (grammar_entry){.kind = kind, .text = tern_strdup_n(text, n), .n = n, .n_lease = 1};
    tern_code rc = e->text ? tern_grammar_new(c->m, kind, text, n, &e->g, err)
                           : tern_fail(err, TERN_E_NOMEM, "out of memory for a grammar");
    if (rc != TERN_OK) {
        entry_done(e);
        tern_free(e);
        return rc;
    }
    *out = keep_entry(c, e);
    return TERN_OK;
}

/* ---- rules -------------------------------------------------------------------------------------- */

/* text[0..n) as GBNF writes it, ids of calls as a rule. */
static void put_literal(tern_str *s, const char *text, size_t n)
{
    bool open = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c == FRAME_ID) {
            tern_str_puts(s, open ? "\" call-id " : "call-id ");
            open = false;
            continue;
        }
        if (!open)
            tern_str_putc(s, '"');
        open = true;
        if (c == '\n')
            tern_str_puts(s, "\\n");
        else if (c == '\t')
            tern_str_puts(s, "\\t");
        else if (c == '\r')
            tern_str_puts(s, "\\r");
        else {
            if (c == '"' || c == '\\')
                tern_str_putc(s, '\\');
            tern_str_putc(s, c);
        }
    }
    if (open)
        tern_str_puts(s, "\" ");
}

static void put_text(tern_str *s, const char *text)
{
    put_literal(s, text, strlen(text));
}

/* Rules of one schema, the first named prefix. */
static tern_code put_schema(tern_str *s, const json_t *schema, const char *prefix, tern_err *err)
{
    char *text = json_dumps(schema, JSON_ENCODE_ANY), *gbnf = NULL;
    tern_code rc = text ? tern_schema_to_gbnf(text, strlen(text), prefix, &gbnf, err)
                        : tern_fail(err, TERN_E_NOMEM, "out of memory for a grammar");
    if (rc == TERN_OK) {
        tern_str_puts(s, gbnf);
        tern_str_putc(s, '\n');
    }
    tern_string_free(gbnf);
    free(text);
    return rc;
}

/* A rule "call-N" for tool i. */
static tern_code put_tool(const generate_words *w, const generate_request *r, size_t i, tern_str *s,
                          fault *f)
{
    const json_t *function = json_object_get(json_array_get(r->tools, i), "function");
    const json_t *schema = json_object_get(function, "parameters");
    char prefix[32];
    snprintf(prefix, sizeof prefix, "arguments-%zu", i);
    tern_str_printf(s, "call-%zu ::= ", i);
    put_text(s, json_string_value(json_object_get(function, "name")));
    put_text(s, w->frame.mid);
    if (!json_is_object(schema) || json_object_size(schema) == 0) {
        tern_str_puts(s, "\"{}\" ");
        put_text(s, w->frame.close);
        tern_str_putc(s, '\n');
        return TERN_OK;
    }
    tern_str_printf(s, "%s ", prefix);
    put_text(s, w->frame.close);
    tern_str_putc(s, '\n');
    tern_code rc = put_schema(s, schema, prefix, &f->err);
    if (rc != TERN_OK)
        fault_param(f, "%s[%zu].function.parameters", r->tools_name ? r->tools_name : "tools", i);
    return rc;
}

/* The rules of calls: "calls" is all of them, behind the first skip bytes of head and open. */
static tern_code put_calls(const generate_words *w, const generate_request *r, size_t skip,
                           tern_str *s, fault *f)
{
    const tool_frame *t = &w->frame;
    tern_str begin;
    tern_str_init(&begin, 4096);
    tern_str_puts(&begin, t->head);
    tern_str_puts(&begin, t->open);
    const char *rest = tern_str_get(&begin) + (skip < begin.len ? skip : begin.len);
    tern_str_puts(s, "calls ::= ");
    if (skip) { /* the model wrote the beginning itself, and perhaps does not write white space as we do */
        size_t blank = strspn(rest, " \n\t\r");
        tern_str_puts(s, "call-space ");
        rest += blank;
    }
    put_text(s, rest);
    tern_str_puts(s, "call ");
    if (!t->single && !r->one_call) {
        tern_str_puts(s, "(");
        put_text(s, t->sep);
        put_text(s, t->open);
        tern_str_puts(s, "call)* ");
    }
    put_text(s, t->tail);
    tern_str_puts(s, "\ncall-space ::= [ \\n\\t]{0,4}\ncall-id ::= [a-zA-Z0-9]{9}\ncall ::=");
    bool failed = begin.failed, first = true;
    tern_str_done(&begin);
    for (size_t i = 0; i < json_array_size(r->tools); i++) {
        const json_t *function = json_object_get(json_array_get(r->tools, i), "function");
        const char *name = json_string_value(json_object_get(function, "name"));
        if (r->tool_use == GENERATE_TOOLS_NAMED && strcmp(name, r->tool_name) != 0)
            continue;
        tern_str_printf(s, "%s call-%zu", first ? "" : " |", i);
        first = false;
    }
    tern_str_putc(s, '\n');
    for (size_t i = 0; i < json_array_size(r->tools); i++)
        TERN_TRY(put_tool(w, r, i, s, f));
    return failed ? fault_set(f, TERN_E_NOMEM, NULL, "out of memory for a grammar") : TERN_OK;
}

/* ---- formats ------------------------------------------------------------------------------------ */

/* What the field says that asks for the format, for faults. */
static const char *format_name(const generate_request *r)
{
    return r->format_name ? r->format_name : "response_format";
}

/* Kind and text of a format by itself. The text is owned by *made, if that is not NULL. */
static void format_source(const generate_request *r, tern_grammar_kind *kind, const char **text,
                          char **made)
{
    *made = NULL;
    *text = r->format_text;
    switch (r->format) {
    case GENERATE_GBNF:
        *kind = TERN_GRAMMAR_GBNF;
        return;
    case GENERATE_REGEX:
        *kind = TERN_GRAMMAR_REGEX;
        return;
    case GENERATE_CHOICE:
        *kind = TERN_GRAMMAR_CHOICE;
        *made = json_dumps(r->format_json, JSON_ENCODE_ANY);
        break;
    case GENERATE_JSON_SCHEMA:
        *kind = TERN_GRAMMAR_JSON_SCHEMA;
        *made = json_dumps(r->format_json, JSON_ENCODE_ANY);
        break;
    default:
        *kind = TERN_GRAMMAR_JSON_SCHEMA;
        *text = "{\"type\":\"object\"}";
        return;
    }
    *text = *made;
}

static tern_code refuse(tern_code rc, fault *f, const char *name)
{
    f->err.code = rc;
    if (!f->param[0])
        fault_param(f, "%s", name);
    if (rc == TERN_E_LIMIT)
        f->code = "grammar_too_complex";
    return rc;
}

static tern_code format_alone(grammar_cache *cache, const generate_request *r, constraint *out,
                              fault *f)
{
    tern_grammar_kind kind;
    const char *text;
    char *made;
    format_source(r, &kind, &text, &made);
    tern_code rc = text ? lease(cache, kind, text, strlen(text), &out->lease, &f->err)
                        : fault_set(f, TERN_E_NOMEM, NULL, "out of memory for a grammar");
    free(made);
    return rc == TERN_OK ? rc : refuse(rc, f, format_name(r));
}

/* Calls, or JSON of a format. */
static tern_code put_either(const generate_request *r, tern_str *s, fault *f)
{
    json_t *any = json_pack("{s:s}", "type", "object");
    tern_str_puts(s, "root ::= format | calls\n");
    tern_code rc =
        put_schema(s, r->format == GENERATE_JSON_SCHEMA ? r->format_json : any, "format", &f->err);
    json_decref(any);
    return rc == TERN_OK ? rc : refuse(rc, f, format_name(r));
}

static tern_code calls_of(const generate_words *w, grammar_cache *cache, const generate_request *r,
                          size_t skip, bool either, constraint *out, fault *f)
{
    tern_str s;
    tern_str_init(&s, MAX_GRAMMAR);
    tern_code rc = TERN_OK;
    if (either)
        rc = put_either(r, &s, f);
    else
        tern_str_puts(&s, "root ::= calls\n");
    if (rc == TERN_OK)
        rc = put_calls(w, r, skip, &s, f);
    if (rc == TERN_OK && s.failed)
        rc = fault_set(f, TERN_E_LIMIT, NULL, "the tools make too large a grammar");
    if (rc == TERN_OK)
        rc = lease(cache, TERN_GRAMMAR_GBNF, tern_str_get(&s), s.len, &out->lease, &f->err);
    tern_str_done(&s);
    return rc == TERN_OK ? rc : refuse(rc, f, r->tools_name ? r->tools_name : "tools");
}

tern_code compose_constraint(const generate_words *w, grammar_cache *cache,
                             const generate_request *r, bool thinking, constraint *out, fault *f)
{
    bool format = r->format != GENERATE_ANYTHING;
    bool json = r->format == GENERATE_JSON_OBJECT || r->format == GENERATE_JSON_SCHEMA;
    tern_code rc = TERN_OK;
    *out = (constraint){0};
    *f = (fault){0};
    out->calls = compose_has_tools(r);
    if (out->calls) {
        bool must = r->tool_use != GENERATE_TOOLS_AUTO;
        size_t skip = strlen(w->frame.trigger);
        if (format && !must && (!json || w->trigger_control))
            return fault_set(f, TERN_E_UNSUPPORTED, format_name(r),
                             "%s: only JSON goes together with tools here", format_name(r));
        out->prefilled = must && w->trigger_control && !thinking;
        if (must && !(w->trigger_control && thinking)) {
            out->only_calls = !thinking;
            out->trigger = thinking ? w->think_end : NULL;
            skip = out->prefilled ? skip : 0;
        } else if (format) {
            out->trigger = thinking ? w->think_end : NULL;
            skip = 0;
        } else {
            out->trigger = w->frame.trigger;
        }
        rc = calls_of(w, cache, r, skip, format && !must, out, f);
    } else if (format) {
        out->trigger = thinking ? w->think_end : NULL;
        rc = format_alone(cache, r, out, f);
    }
    if (rc == TERN_OK && out->lease)
        out->grammar = out->lease->g;
    return rc;
}
