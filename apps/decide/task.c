/* A task and its items from JSON. */
#include "base/alloc.h"
#include "base/error.h"
#include "decide/decide.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- members ------------------------------------------------------------------------------- */

static const char *const members[] = {
    "kind",      "schema",    "max_tokens",   "labels", "range", "instruction",
    "system",    "examples",  "cue",          "end",    "chat",  "list_labels",
    "normalize", "calibrate", "content_free", "min_p",  NULL,
};

static bool is_listed(const char *key, const char *const *list)
{
    for (; list && *list; list++)
        if (strcmp(key, *list) == 0)
            return true;
    return false;
}

/* Which members are known; a server's messages do not repeat what it was sent. */
static tern_code unknown_member(const char *const *extra, tern_err *err)
{
    char known[400] = "";
    size_t n = 0;
    for (; extra && *extra && n < sizeof known; extra++)
        n += (size_t)snprintf(known + n, sizeof known - n, ", %s", *extra);
    for (const char *const *m = members; *m && n < sizeof known; m++)
        n += (size_t)snprintf(known + n, sizeof known - n, ", %s", *m);
    return tern_fail(err, TERN_E_USAGE, "a decision has an unknown member; known are %s",
                     known + 2);
}

static tern_code check_members(const json_t *o, const char *const *extra, tern_err *err)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        if (!is_listed(key, extra) && !is_listed(key, members))
            return unknown_member(extra, err);
    }
    return TERN_OK;
}

static bool is_there(const json_t *v)
{
    return v && !json_is_null(v);
}

static tern_code get_string(const json_t *o, const char *key, const char **out, tern_err *err)
{
    const json_t *v = json_object_get(o, key);
    *out = NULL;
    if (!is_there(v))
        return TERN_OK;
    if (!json_is_string(v))
        return tern_fail(err, TERN_E_USAGE, "'%s': expected a string", key);
    *out = json_string_value(v);
    return TERN_OK;
}

static tern_code get_bool(const json_t *o, const char *key, bool preset, bool *out, tern_err *err)
{
    const json_t *v = json_object_get(o, key);
    *out = preset;
    if (!is_there(v))
        return TERN_OK;
    if (!json_is_boolean(v))
        return tern_fail(err, TERN_E_USAGE, "'%s': expected true or false", key);
    *out = json_is_true(v);
    return TERN_OK;
}

/* One of names, separated by bars, as its number. */
static tern_code get_choice(const json_t *o, const char *key, const char *names, unsigned preset,
                            unsigned *out, tern_err *err)
{
    const char *text;
    TERN_TRY(get_string(o, key, &text, err));
    *out = preset;
    if (!text)
        return TERN_OK;
    size_t n = strlen(text);
    const char *at = names;
    for (*out = 0;; ++*out) {
        size_t len = strcspn(at, "|");
        if (len == n && memcmp(at, text, n) == 0)
            return TERN_OK;
        if (at[len] == '\0')
            return tern_fail(err, TERN_E_USAGE, "'%s': expected one of %s", key, names);
        at += len + 1;
    }
}

static tern_code get_array(const json_t *o, const char *key, size_t most, const json_t **out,
                           tern_err *err)
{
    const json_t *v = json_object_get(o, key);
    *out = NULL;
    if (!is_there(v))
        return TERN_OK;
    if (!json_is_array(v) || json_array_size(v) > most)
        return tern_fail(err, TERN_E_USAGE, "'%s': expected an array of at most %zu", key, most);
    *out = v;
    return TERN_OK;
}

/* ---- labels -------------------------------------------------------------------------------- */

static tern_code add_text(decide_label *l, const json_t *v, const char *what, size_t i,
                          tern_err *err)
{
    if (!json_is_string(v) || json_string_length(v) == 0 || l->n_text == DECIDE_MAX_TEXT)
        return tern_fail(err, TERN_E_USAGE,
                         "%s: item %zu: expected texts that are not empty, at most %d", what, i + 1,
                         DECIDE_MAX_TEXT);
    l->text[l->n_text++] = json_string_value(v);
    return TERN_OK;
}

static tern_code read_label(decide_label *l, const json_t *v, const char *what, size_t i,
                            tern_err *err)
{
    const json_t *text, *name = v;
    if (json_is_object(v)) {
        name = json_object_get(v, "name");
        TERN_TRY(get_string(v, "description", &l->description, err));
    }
    if (!json_is_string(name) || json_string_length(name) == 0)
        return tern_fail(err, TERN_E_USAGE,
                         "%s: item %zu: expected a name, or an object with \"name\"", what, i + 1);
    l->name = json_string_value(name);
    text = json_is_object(v) ? json_object_get(v, "text") : NULL;
    if (!is_there(text))
        return add_text(l, name, what, i, err);
    if (!json_is_array(text))
        return add_text(l, text, what, i, err);
    for (size_t k = 0; k < json_array_size(text); k++)
        TERN_TRY(add_text(l, json_array_get(text, k), what, i, err));
    return l->n_text > 0 ? TERN_OK
                         : tern_fail(err, TERN_E_USAGE, "%s: item %zu: no text", what, i + 1);
}

static tern_code check_distinct(const decide_labels *l, const char *what, tern_err *err)
{
    for (size_t i = 0; i < l->n; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(l->v[i].name, l->v[k].name) == 0)
                return tern_fail(err, TERN_E_USAGE, "%s: items %zu and %zu have one name", what,
                                 k + 1, i + 1);
    return TERN_OK;
}

tern_code decide_labels_read(decide_labels *l, const json_t *array, const char *what, tern_err *err)
{
    size_t n = json_array_size(array);
    *l = (decide_labels){0};
    if (!json_is_array(array) || n < 2 || n > DECIDE_MAX_LABEL)
        return tern_fail(err, TERN_E_USAGE, "%s: expected an array of 2 to %d labels", what,
                         DECIDE_MAX_LABEL);
    l->v = tern_calloc(n, sizeof *l->v);
    if (!l->v)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for %zu labels", n);
    tern_code rc = TERN_OK;
    for (size_t i = 0; rc == TERN_OK && i < n; i++)
        rc = read_label(&l->v[i], json_array_get(array, i), what, i, err);
    l->n = n;
    if (rc == TERN_OK)
        rc = check_distinct(l, what, err);
    if (rc != TERN_OK)
        decide_labels_done(l);
    return rc;
}

void decide_labels_done(decide_labels *l)
{
    tern_free(l->v);
    json_decref(l->made);
    *l = (decide_labels){0};
}

/* Labels of yes and no, unless the task has texts of its own for them. */
static tern_code yes_no_labels(decide_task *t, const json_t *given, tern_err *err)
{
    t->labels.made = json_pack("[{s:s, s:[s, s]}, {s:s, s:[s, s]}]", "name", "yes", "text", "Yes",
                               "yes", "name", "no", "text", "No", "no");
    if (!t->labels.made)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for labels");
    json_t *made = t->labels.made;
    tern_code rc = decide_labels_read(&t->labels, given ? given : made, "'labels'", err);
    if (rc == TERN_OK)
        t->labels.made = made;
    else
        json_decref(made);
    if (rc == TERN_OK && t->labels.n != 2)
        return tern_fail(err, TERN_E_USAGE, "'labels': of yes_no there are two, yes first");
    return rc;
}

static tern_code score_labels(decide_task *t, tern_err *err)
{
    const json_t *range = json_object_get(t->source, "range");
    const json_t *a = json_array_get(range, 0), *b = json_array_get(range, 1);
    json_int_t first = json_integer_value(a), last = json_integer_value(b);
    if (!json_is_integer(a) || !json_is_integer(b) || json_array_size(range) != 2 ||
        first < -1000000 || last > 1000000 || last <= first || last - first >= DECIDE_MAX_LABEL)
        return tern_fail(err, TERN_E_USAGE,
                         "'range': expected two integers, the first below the second, with at most "
                         "%d numbers between them and a million away from 0",
                         DECIDE_MAX_LABEL);
    json_t *made = json_array();
    bool ok = made != NULL;
    for (json_int_t i = first; ok && i <= last; i++)
        ok = json_array_append_new(made, json_sprintf("%" JSON_INTEGER_FORMAT, i)) == 0;
    tern_code rc = ok ? decide_labels_read(&t->labels, made, "'range'", err)
                      : tern_fail(err, TERN_E_NOMEM, "out of memory for labels");
    if (rc != TERN_OK) {
        json_decref(made);
        return rc;
    }
    t->labels.made = made;
    for (size_t i = 0; i < t->labels.n; i++)
        t->labels.v[i].value = (double)first + (double)i;
    return TERN_OK;
}

static tern_code read_labels(decide_task *t, tern_err *err)
{
    const json_t *labels = json_object_get(t->source, "labels");
    labels = is_there(labels) ? labels : NULL;
    if (t->kind != DECIDE_SCORE && is_there(json_object_get(t->source, "range")))
        return tern_fail(err, TERN_E_USAGE, "'range' is for kind score");
    if (labels && (t->kind == DECIDE_SCORE || t->kind == DECIDE_EXTRACT))
        return tern_fail(err, TERN_E_USAGE, "'labels' are for kinds choice and yes_no");
    if (t->kind == DECIDE_SCORE)
        return score_labels(t, err);
    if (t->kind == DECIDE_YES_NO)
        return yes_no_labels(t, labels, err);
    return labels ? decide_labels_read(&t->labels, labels, "'labels'", err) : TERN_OK;
}

size_t decide_label_find(const decide_labels *l, const json_t *gold, bool index)
{
    size_t i = 0;
    if (json_is_boolean(gold) && l->n == 2)
        return json_is_true(gold) ? 0 : 1;
    if (json_is_integer(gold) && index) {
        json_int_t k = json_integer_value(gold);
        return k >= 0 && (size_t)k < l->n ? (size_t)k : l->n;
    }
    if (json_is_integer(gold))
        for (; i < l->n; i++)
            if (fabs(l->v[i].value - (double)json_integer_value(gold)) < 0.5)
                return i;
    if (!json_is_string(gold))
        return l->n;
    for (i = 0; i < l->n; i++)
        if (strcmp(l->v[i].name, json_string_value(gold)) == 0)
            return i;
    for (i = 0; i < l->n; i++)
        for (size_t k = 0; k < l->v[i].n_text; k++)
            if (strcmp(l->v[i].text[k], json_string_value(gold)) == 0)
                return i;
    return l->n;
}

/* ---- the task ------------------------------------------------------------------------------ */

static tern_code check_examples(const decide_task *t, tern_err *err)
{
    for (size_t i = 0; i < json_array_size(t->examples); i++) {
        const json_t *e = json_array_get(t->examples, i), *label = json_object_get(e, "label");
        if (!json_is_string(json_object_get(e, "input")) || !label)
            return tern_fail(err, TERN_E_USAGE,
                             "'examples': item %zu: expected {\"input\": text, \"label\": answer}",
                             i + 1);
        bool fits = t->labels.n ? decide_label_find(&t->labels, label, false) < t->labels.n
                                : t->kind == DECIDE_EXTRACT || json_is_string(label);
        if (!fits)
            return tern_fail(err, TERN_E_USAGE, "'examples': item %zu: its label is none of these",
                             i + 1);
    }
    return TERN_OK;
}

static tern_code read_end(decide_task *t, tern_err *err)
{
    TERN_TRY(get_string(t->source, "end", &t->end_text, err));
    t->end = DECIDE_END_AUTO;
    if (t->end_text && strcmp(t->end_text, "none") == 0)
        t->end = DECIDE_END_NONE;
    else if (t->end_text && strcmp(t->end_text, "auto") != 0)
        t->end = DECIDE_END_TEXT;
    if (t->end == DECIDE_END_TEXT && *t->end_text == '\0')
        return tern_fail(err, TERN_E_USAGE, "'end': expected auto, none or a text");
    return TERN_OK;
}

static tern_code read_content_free(decide_task *t, tern_err *err)
{
    TERN_TRY(get_array(t->source, "content_free", DECIDE_MAX_FREE, &t->content_free, err));
    for (size_t i = 0; i < json_array_size(t->content_free); i++)
        if (!json_is_string(json_array_get(t->content_free, i)))
            return tern_fail(err, TERN_E_USAGE, "'content_free': item %zu: expected a string",
                             i + 1);
    if (t->content_free && json_array_size(t->content_free) == 0)
        return tern_fail(err, TERN_E_USAGE, "'content_free': empty");
    return TERN_OK;
}

static tern_code read_numbers(decide_task *t, tern_err *err)
{
    const json_t *min = json_object_get(t->source, "min_p");
    if (!is_there(min))
        return TERN_OK;
    t->min_p = json_number_value(min);
    if (!json_is_number(min) || !(t->min_p >= 0) || t->min_p > 1)
        return tern_fail(err, TERN_E_USAGE, "'min_p': expected a number from 0 to 1");
    return TERN_OK;
}

static tern_code read_schema(decide_task *t, tern_err *err)
{
    const json_t *schema = json_object_get(t->source, "schema"),
                 *most = json_object_get(t->source, "max_tokens");
    bool extracts = t->kind == DECIDE_EXTRACT;
    if (extracts != json_is_object(schema) || (!extracts && is_there(schema)))
        return tern_fail(err, TERN_E_USAGE, "'schema': an object, of kind extract and no other");
    if (is_there(most) && (!extracts || !json_is_integer(most) || json_integer_value(most) < 1 ||
                           json_integer_value(most) > 65536))
        return tern_fail(err, TERN_E_USAGE,
                         "'max_tokens': of kind extract, a whole number from 1 to 65536");
    if (extracts && (t->calibrate != DECIDE_PLAIN || t->norm != DECIDE_SUM))
        return tern_fail(err, TERN_E_USAGE, "'calibrate' and 'normalize' are not for kind extract");
    t->schema = schema;
    t->max_tokens = is_there(most) ? (int32_t)json_integer_value(most) : 512;
    return TERN_OK;
}

static tern_code read_all(decide_task *t, bool has_template, tern_err *err)
{
    const json_t *o = t->source;
    unsigned kind, norm, calibrate;
    TERN_TRY(get_choice(o, "kind", "choice|yes_no|score|extract", DECIDE_CHOICE, &kind, err));
    TERN_TRY(get_choice(o, "normalize", "sum|tokens|bytes", DECIDE_SUM, &norm, err));
    TERN_TRY(get_choice(o, "calibrate", "none|contextual|batch", DECIDE_PLAIN, &calibrate, err));
    t->kind = (decide_kind)kind;
    t->norm = (decide_norm)norm;
    t->calibrate = (decide_calibrate)calibrate;
    TERN_TRY(get_string(o, "instruction", &t->instruction, err));
    TERN_TRY(get_string(o, "system", &t->system, err));
    TERN_TRY(get_string(o, "cue", &t->cue, err));
    TERN_TRY(get_bool(o, "chat", has_template, &t->chat, err));
    TERN_TRY(get_bool(o, "list_labels", t->chat, &t->list, err));
    TERN_TRY(get_array(o, "examples", DECIDE_MAX_EXAMPLE, &t->examples, err));
    TERN_TRY(read_end(t, err));
    TERN_TRY(read_content_free(t, err));
    TERN_TRY(read_numbers(t, err));
    TERN_TRY(read_labels(t, err));
    TERN_TRY(read_schema(t, err));
    return check_examples(t, err);
}

tern_code decide_task_read(decide_task *t, json_t *o, bool has_template, const char *const *extra,
                           tern_err *err)
{
    *t = (decide_task){0};
    if (!json_is_object(o))
        return tern_fail(err, TERN_E_USAGE, "a decision is a JSON object");
    t->source = json_incref(o);
    tern_code rc = check_members(o, extra, err);
    if (rc == TERN_OK)
        rc = read_all(t, has_template, err);
    if (rc != TERN_OK)
        decide_task_done(t);
    return rc;
}

void decide_task_done(decide_task *t)
{
    decide_labels_done(&t->labels);
    json_decref(t->source);
    *t = (decide_task){0};
}

/* ---- items --------------------------------------------------------------------------------- */

/* The first of these members that is there. */
static const json_t *first_of(const json_t *o, const char *a, const char *b, const char *c)
{
    const json_t *v = json_object_get(o, a);
    if (!is_there(v))
        v = json_object_get(o, b);
    if (!is_there(v) && c)
        v = json_object_get(o, c);
    return is_there(v) ? v : NULL;
}

static tern_code read_gold(decide_item *i, const decide_task *t, const json_t *v, const char *what,
                           tern_err *err)
{
    const decide_labels *l = decide_labels_of(t, i);
    const json_t *gold = first_of(v, "label", "gold", "answer");
    const json_t *own = first_of(v, "labels", "choices", NULL);
    /* A number counts the item's own choices, which the task may have in another order. */
    if (json_is_integer(gold) && json_is_array(own) && json_integer_value(gold) >= 0)
        gold = json_array_get(own, (size_t)json_integer_value(gold));
    i->gold = decide_label_find(l, gold, t->kind != DECIDE_SCORE);
    if (i->gold < l->n)
        return TERN_OK;
    return tern_fail(err, TERN_E_USAGE,
                     "%s: expected \"label\": one of the labels, or its number from 0", what);
}

tern_code decide_item_read(decide_item *i, const decide_task *t, const json_t *v, bool want_gold,
                           const char *what, tern_err *err)
{
    const json_t *input = json_is_object(v) ? first_of(v, "input", "text", "query") : v;
    *i = (decide_item){.gold = SIZE_MAX};
    if (!json_is_string(input))
        return tern_fail(err, TERN_E_USAGE,
                         "%s: expected a string, or an object with \"input\": a string", what);
    i->input = json_string_value(input);
    const json_t *own = json_is_object(v) ? first_of(v, "labels", "choices", NULL) : NULL;
    /* Where the task has labels those of an item are only what a collection calls them. */
    if (own && t->labels.n == 0 && t->kind == DECIDE_CHOICE)
        TERN_TRY(decide_labels_read(&i->labels, own, what, err));
    if (t->kind == DECIDE_CHOICE && decide_labels_of(t, i)->n == 0)
        return tern_fail(err, TERN_E_USAGE, "%s: no labels: neither the task nor the item has any",
                         what);
    tern_code rc = want_gold ? read_gold(i, t, v, what, err) : TERN_OK;
    if (rc != TERN_OK)
        decide_item_done(i);
    return rc;
}

void decide_item_done(decide_item *i)
{
    decide_labels_done(&i->labels);
}
