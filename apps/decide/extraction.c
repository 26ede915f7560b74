/* Fields of a schema. The model writes the object that the schema allows, each token the likeliest one, and
 * how likely they were is kept. Of fields whose schema lists their values all of these are then scored behind
 * what stands before them, which gives a distribution; where another value is likelier than the one that was
 * written token by token, that one is prescribed and the object is written again from there. */
#include "base/alloc.h"
#include "base/error.h"
#include "decide/decide.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 64, MAX_FIELD = 4096, MAX_ROUND = 64 };
#define MAX_TEXT ((size_t)16 << 20)

static tern_code compile(const tern_model *m, const json_t *schema, tern_grammar **out,
                         tern_err *err)
{
    char *text = json_dumps(schema, JSON_COMPACT);
    *out = NULL;
    if (!text)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the schema");
    tern_code rc = tern_grammar_new(m, TERN_GRAMMAR_JSON_SCHEMA, text, strlen(text), out, err);
    free(text);
    return rc;
}

tern_code decide_schema(const tern_model *m, const decide_task *t, tern_grammar **out,
                        tern_err *err)
{
    return compile(m, t->schema, out, err);
}

/* ---- what the model writes ----------------------------------------------------------------- */

/* The text, and of each of its tokens where it ends there and how likely it was. */
typedef struct written {
    tern_str text;
    size_t *end;   /* owned; [n] */
    double *log_p; /* owned; [n]: of tokens without text together with the next one that has some */
    size_t n, cap;
    bool whole;
} written;

static tern_code note(written *w, const tern_event *ev, double *pending, tern_err *err)
{
    if (ev->id >= 0)
        *pending += (double)ev->logprob;
    if (ev->n_text == 0)
        return TERN_OK;
    if (w->n == w->cap) {
        size_t cap = w->cap ? 2 * w->cap : 64;
        size_t *end = tern_realloc(w->end, w->cap * sizeof *end, cap * sizeof *end);
        if (end)
            w->end = end;
        double *p = end ? tern_realloc(w->log_p, w->cap * sizeof *p, cap * sizeof *p) : NULL;
        if (!p)
            return tern_fail(err, TERN_E_NOMEM, "out of memory for the answer");
        w->log_p = p;
        w->cap = cap;
    }
    tern_str_put(&w->text, ev->text, ev->n_text);
    if (w->text.failed)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the answer");
    w->end[w->n] = w->text.len;
    w->log_p[w->n++] = *pending;
    *pending = 0.0;
    return TERN_OK;
}

static tern_code write_text(const decide_host *h, const decide_task *t, tern_grammar *g,
                            tern_session *s, const tern_ids *prompt, written *w,
                            decide_extract *out, tern_err *err)
{
    tern_gen_opts o;
    tern_request *r;
    tern_request_stats st;
    tern_event ev = {0};
    double pending = 0.0;
    tern_gen_opts_init(&o);
    o.temp = 0.0f;
    o.n_predict = t->max_tokens;
    o.grammar = g;
    o.logprobs = true;
    TERN_TRY(tern_request_new(s, prompt->v, prompt->n, &o, &r, err));
    tern_code rc = TERN_OK;
    while (rc == TERN_OK && ev.finish == TERN_FINISH_NONE) {
        if (h->progress && !h->progress(h->ctx, 0, 1))
            rc = tern_fail(err, TERN_E_CANCELLED, "cancelled");
        if (rc == TERN_OK)
            rc = tern_request_next(r, &ev, err);
        if (rc == TERN_OK)
            rc = note(w, &ev, &pending, err);
    }
    w->whole = rc == TERN_OK && ev.finish == TERN_FINISH_EOG;
    tern_request_stats_get(r, &st);
    if (out->n_prompt == 0) { /* of the first round: further ones have the prompt */
        out->n_prompt = st.n_prompt;
        out->n_cached = st.n_cached;
    }
    out->n_answer += st.n_generated;
    tern_request_free(r);
    return rc;
}

/* exp of the tokens that have a part of text[begin..end). */
static double likelihood(const written *w, size_t begin, size_t end)
{
    double sum = 0.0;
    size_t from = 0;
    for (size_t i = 0; i < w->n; from = w->end[i], i++)
        if (from < end && w->end[i] > begin)
            sum += w->log_p[i];
    return exp(sum);
}

/* ---- its values ---------------------------------------------------------------------------- */

typedef struct walker {
    const decide_host *h;
    const decide_task *t;
    const char *input;
    const written *w;
    const char *s; /* the text */
    size_t at, n;
    tern_str path;
    decide_extract *out;
    bool again; /* a likelier value was prescribed: what follows is to be written anew */
} walker;

/* What a schema says of a value, and the same in the copy that the grammar is made of; there is none of values
 * in arrays, of which all have one rule. */
typedef struct rule {
    const json_t *schema;
    json_t *copy;
} rule;

static void skip_blanks(walker *k)
{
    while (k->at < k->n && strchr(" \t\r\n", k->s[k->at]) && k->s[k->at])
        k->at++;
}

/* Behind a string, a number or a word. */
static size_t end_of(const walker *k)
{
    size_t at = k->at;
    if (k->s[at] != '"') {
        while (at < k->n && !strchr(",]} \t\r\n", k->s[at]))
            at++;
        return at;
    }
    for (at++; at < k->n && k->s[at] != '"'; at++)
        at += k->s[at] == '\\' && at + 1 < k->n;
    return at < k->n ? at + 1 : at;
}

/* Values that a schema lists, as an array that is the caller's; NULL: it lists none, or one alone. */
static json_t *listed(const json_t *schema)
{
    const json_t *list = json_object_get(schema, "enum"), *type = json_object_get(schema, "type");
    if (json_is_array(list) && json_array_size(list) > 1 &&
        json_array_size(list) <= DECIDE_MAX_LABEL) {
        for (size_t i = 0; i < json_array_size(list); i++)
            if (json_is_object(json_array_get(list, i)) || json_is_array(json_array_get(list, i)))
                return NULL;
        return json_incref((json_t *)(uintptr_t)list);
    }
    if (json_is_string(type) && strcmp(json_string_value(type), "boolean") == 0)
        return json_pack("[b, b]", 1, 0);
    return NULL;
}

/* Labels whose texts are the values as JSON with what follows the one that was written, so that 4 is not the
 * beginning of 42. made owns the texts. */
static tern_code value_labels(const json_t *list, char next, decide_labels *l, tern_err *err)
{
    json_t *made = json_array();
    bool ok = made != NULL;
    for (size_t i = 0; ok && i < json_array_size(list); i++) {
        char *text = json_dumps(json_array_get(list, i), JSON_ENCODE_ANY | JSON_COMPACT);
        json_t *o =
            text ? json_pack("{s:s, s:s#}", "name", text, "text", text, (int)strlen(text)) : NULL;
        if (o && next)
            ok = json_object_set_new(o, "text", json_sprintf("%s%c", text, next)) == 0;
        ok = ok && o && json_array_append_new(made, o) == 0;
        free(text);
    }
    tern_code rc = ok ? decide_labels_read(l, made, "enum", err)
                      : tern_fail(err, TERN_E_NOMEM, "out of memory for a schema's values");
    if (rc == TERN_OK)
        l->made = made;
    else
        json_decref(made);
    return rc;
}

/* The likeliest value, if that is not the one written, is the only one from now on. */
static tern_code prescribe(walker *k, const json_t *list, const decide_result *r, size_t chosen,
                           rule to, tern_err *err)
{
    if (!to.copy || r->best == chosen)
        return TERN_OK;
    json_t *one = json_pack("[O]", json_array_get(list, r->best));
    k->again = true;
    (void)json_object_clear(to.copy);
    return json_object_set_new(to.copy, "enum", one) == 0
               ? TERN_OK
               : tern_fail(err, TERN_E_NOMEM, "out of memory for the schema");
}

static tern_code score_values(walker *k, const json_t *list, size_t end, decide_field *f, rule to,
                              tern_err *err)
{
    size_t chosen = SIZE_MAX;
    decide_labels l = {0};
    decide_result r = {0};
    tern_str said;
    tern_code rc;
    tern_str_init(&said, MAX_TEXT);
    tern_str_put(&said, k->s, k->at);
    TERN_TRY_GOTO(value_labels(list, end < k->n ? k->s[end] : '\0', &l, err));
    TERN_TRY_GOTO(decide_weigh_said(k->h, k->t, &l, k->input, tern_str_get(&said), &r, err));
    f->others = json_object();
    for (size_t i = 0; rc == TERN_OK && i < l.n; i++) {
        const char *name = l.v[i].name;
        if (json_object_set_new(f->others, name, json_real(r.p[i])) != 0)
            rc = tern_fail(err, TERN_E_NOMEM, "out of memory for a field");
        if (strlen(name) == end - k->at && memcmp(name, k->s + k->at, end - k->at) == 0) {
            f->p = r.p[i];
            chosen = i;
        }
    }
    k->out->n_answer += r.n_answer;
    if (rc == TERN_OK)
        rc = prescribe(k, list, &r, chosen, to, err);
fail:
    decide_results_done(&r, 1);
    decide_labels_done(&l);
    tern_str_done(&said);
    return rc;
}

static tern_code add_field(walker *k, rule to, tern_err *err)
{
    decide_extract *x = k->out;
    size_t end = end_of(k),
           number = k->s[k->at] == '-' || (k->s[k->at] >= '0' && k->s[k->at] <= '9');
    json_t *list = listed(to.schema);
    if (x->n == MAX_FIELD)
        return tern_fail(err, TERN_E_LIMIT, "more than %d fields", MAX_FIELD);
    if (x->n == x->cap) {
        size_t cap = x->cap ? 2 * x->cap : 16;
        decide_field *f = tern_realloc(x->field, x->cap * sizeof *f, cap * sizeof *f);
        if (!f) {
            json_decref(list);
            return tern_fail(err, TERN_E_NOMEM, "out of memory for a field");
        }
        x->field = f;
        x->cap = cap;
    }
    decide_field *f = &x->field[x->n];
    /* Only what follows a number says that it has no further digit. */
    *f = (decide_field){.p = likelihood(k->w, k->at, end + (number && end < k->n)),
                        .path = tern_strdup_n(tern_str_get(&k->path), k->path.len)};
    x->n += f->path != NULL;
    tern_code rc = f->path && !k->path.failed
                       ? TERN_OK
                       : tern_fail(err, TERN_E_NOMEM, "out of memory for a field");
    if (rc == TERN_OK && list)
        rc = score_values(k, list, end, f, to, err);
    json_decref(list);
    k->at = end;
    return rc;
}

/* What is said of a member, or of items without a key; NULL: nothing that is understood here. */
static rule below(rule of, const char *key)
{
    if (!key)
        return (rule){json_object_get(of.schema, "items"), NULL};
    return (rule){json_object_get(json_object_get(of.schema, "properties"), key),
                  json_object_get(json_object_get(of.copy, "properties"), key)};
}

static void put_escaped(tern_str *path, const char *key)
{
    tern_str_putc(path, '/');
    for (; *key; key++)
        if (*key == '~' || *key == '/')
            tern_str_puts(path, *key == '~' ? "~0" : "~1");
        else
            tern_str_putc(path, *key);
}

static tern_code walk(walker *k, const json_t *value, rule to, int depth, tern_err *err);

/* Text and value have the same members, in the text's order. */
static tern_code walk_members(walker *k, const json_t *value, rule to, int depth, tern_err *err)
{
    bool object = json_is_object(value);
    for (size_t i = 0; k->at < k->n; i++) {
        size_t len = k->path.len;
        const json_t *part;
        rule next = {0};
        k->at++; /* the bracket, or the comma */
        skip_blanks(k);
        if (k->at >= k->n || k->s[k->at] == '}' || k->s[k->at] == ']')
            break;
        if (object) {
            size_t end = end_of(k);
            json_t *key = json_loadb(k->s + k->at, end - k->at, JSON_DECODE_ANY, NULL);
            part = key ? json_object_get(value, json_string_value(key)) : NULL;
            if (key) {
                next = below(to, json_string_value(key));
                put_escaped(&k->path, json_string_value(key));
            }
            json_decref(key);
            k->at = end;
            skip_blanks(k);
            k->at++; /* the colon */
            skip_blanks(k);
        } else {
            part = json_array_get(value, i);
            next = below(to, NULL);
            tern_str_printf(&k->path, "/%zu", i);
        }
        if (!part)
            return tern_fail(err, TERN_E_INTERNAL, "the text and its value differ");
        TERN_TRY(walk(k, part, next, depth + 1, err));
        if (k->again)
            return TERN_OK;
        skip_blanks(k);
        k->path.len = len;
        if (k->path.data)
            k->path.data[len] = '\0';
        if (k->at < k->n && k->s[k->at] != ',')
            break;
    }
    k->at += k->at < k->n;
    return TERN_OK;
}

static tern_code walk(walker *k, const json_t *value, rule to, int depth, tern_err *err)
{
    if (depth > MAX_DEPTH)
        return tern_fail(err, TERN_E_LIMIT, "an answer deeper than %d", MAX_DEPTH);
    skip_blanks(k);
    if (k->at >= k->n)
        return TERN_OK;
    if (json_is_object(value) || json_is_array(value))
        return walk_members(k, value, to, depth, err);
    return add_field(k, to, err);
}

/* ---- the whole ----------------------------------------------------------------------------- */

static void fields_done(decide_extract *x)
{
    for (size_t i = 0; i < x->n; i++) {
        tern_free(x->field[i].path);
        json_decref(x->field[i].others);
    }
    x->n = 0;
    json_decref(x->value);
    x->value = NULL;
}

/* Write the object once, and look at its fields. */
static tern_code write_once(walker *k, tern_grammar *g, tern_session *s, const tern_ids *prompt,
                            written *w, json_t *copy, tern_err *err)
{
    fields_done(k->out);
    tern_str_clear(&w->text);
    tern_str_clear(&k->path);
    w->n = k->at = 0;
    k->again = false;
    TERN_TRY(write_text(k->h, k->t, g, s, prompt, w, k->out, err));
    k->s = tern_str_get(&w->text);
    k->n = w->text.len;
    if (w->whole)
        k->out->value = json_loadb(k->s, k->n, JSON_DECODE_ANY, NULL);
    return k->out->value ? walk(k, k->out->value, (rule){k->t->schema, copy}, 0, err) : TERN_OK;
}

tern_code decide_extract_run(const decide_host *h, const decide_task *t, tern_grammar *g,
                             tern_session *s, const char *input, decide_extract *out, tern_err *err)
{
    written w = {0};
    tern_ids prompt = {0};
    walker k = {.h = h, .t = t, .input = input, .w = &w, .out = out};
    tern_grammar *own = NULL;
    json_t *copy = json_deep_copy(t->schema);
    tern_code rc;
    *out = (decide_extract){.p = 1.0};
    tern_str_init(&w.text, MAX_TEXT);
    tern_str_init(&k.path, 1 << 16);
    TERN_TRY_GOTO(copy ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "out of memory for the schema"));
    TERN_TRY_GOTO(decide_prompt(h, t, NULL, input, &prompt, err));
    TERN_TRY_GOTO(write_once(&k, g, s, &prompt, &w, copy, err));
    for (int round = 0; k.again && round < MAX_ROUND; round++) {
        tern_grammar_free(own);
        TERN_TRY_GOTO(compile(h->m, copy, &own, err));
        TERN_TRY_GOTO(write_once(&k, own, s, &prompt, &w, copy, err));
    }
    out->text = tern_str_take(&w.text);
    if (k.again)
        rc = tern_fail(err, TERN_E_LIMIT, "more than %d fields whose values are listed", MAX_ROUND);
    for (size_t i = 0; i < out->n; i++)
        out->p = fmin(out->p, out->field[i].p);
fail:
    tern_str_done(&w.text);
    tern_str_done(&k.path);
    tern_free(w.end);
    tern_free(w.log_p);
    tern_ids_done(&prompt);
    tern_grammar_free(own);
    json_decref(copy);
    if (rc != TERN_OK)
        decide_extract_done(out);
    return rc;
}

void decide_extract_done(decide_extract *x)
{
    fields_done(x);
    tern_free(x->text);
    tern_free(x->field);
    *x = (decide_extract){0};
}

json_t *decide_extract_json(const decide_task *t, const decide_extract *x)
{
    json_t *fields = json_object();
    bool ok = fields != NULL, withheld = !x->value || x->p < t->min_p;
    for (size_t i = 0; ok && i < x->n; i++) {
        const decide_field *f = &x->field[i];
        json_t *o = json_pack("{s:f}", "p", f->p);
        if (o && f->others)
            ok = json_object_set(o, "probabilities", f->others) == 0;
        ok = ok && o && json_object_set_new(fields, f->path, o) == 0;
    }
    if (!ok) {
        json_decref(fields);
        return NULL;
    }
    return json_pack("{s:O, s:o, s:o}", "answer", withheld ? json_null() : x->value, "p",
                     x->value ? json_real(x->p) : json_null(), "fields", fields);
}
