/* Items from files: a JSON object a line for most tasks, in the words of the sets' publishers and in those of
 * data/eval's collection; HellaSwag also as llama.cpp has it, TruthfulQA also as its authors' table. */
#include "eval/read.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "base/utf8.h"

#include <string.h>

#define MAX_SET ((size_t)1 << 32)

/* ---- items --------------------------------------------------------------------------------- */

tern_code eval_fail(const eval_reader *r, const char *what, tern_err *err)
{
    return tern_fail(err, TERN_E_FORMAT, "%s: line %zu: %s", r->path, r->line, what);
}

static tern_code no_memory(const eval_reader *r, tern_err *err)
{
    return tern_fail(err, TERN_E_NOMEM, "%s: out of memory at line %zu", r->path, r->line);
}

tern_code eval_keep(eval_reader *r, tern_str *text, const char **out, tern_err *err)
{
    char *s =
        text->failed ? NULL : tern_arena_strdup_n(&r->set->arena, tern_str_get(text), text->len);
    tern_str_clear(text);
    *out = s;
    return s ? TERN_OK : no_memory(r, err);
}

tern_code eval_keep_text(eval_reader *r, const char *text, const char **out, tern_err *err)
{
    *out = tern_arena_strdup_n(&r->set->arena, text, strlen(text));
    return *out ? TERN_OK : no_memory(r, err);
}

tern_code eval_make_choices(eval_reader *r, eval_item *item, size_t n, tern_err *err)
{
    item->choice = tern_arena_calloc(&r->set->arena, n, sizeof *item->choice);
    item->n_choice = n;
    if (!item->choice)
        return no_memory(r, err);
    for (size_t i = 0; i < n; i++)
        item->choice[i].lists = 1;
    return TERN_OK;
}

static tern_code add_item(eval_reader *r, const eval_item *item, tern_err *err)
{
    eval_set *s = r->set;
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 64;
        eval_item *p = tern_realloc(s->item, s->cap * sizeof *p, cap * sizeof *p);
        if (!p)
            return no_memory(r, err);
        s->item = p;
        s->cap = cap;
    }
    s->item[s->n++] = *item;
    return TERN_OK;
}

/* ---- keys ---------------------------------------------------------------------------------- */

static const char *type_of(const json_t *v)
{
    static const char *const names[] = {"an object", "an array", "a string", "a number",
                                        "a number",  "true",     "false",    "null"};
    return v ? names[json_typeof(v)] : "nothing";
}

tern_code eval_get_string(const eval_reader *r, const json_t *o, const char *key, const char **out,
                          tern_err *err)
{
    const json_t *v = json_object_get(o, key);
    *out = json_string_value(v);
    if (*out)
        return TERN_OK;
    return tern_fail(err, TERN_E_FORMAT, "%s: line %zu: key '%s': %s, expected a string", r->path,
                     r->line, key, type_of(v));
}

tern_code eval_get_strings(const eval_reader *r, const json_t *o, const char *key, size_t min,
                           json_t **out, tern_err *err)
{
    json_t *v = json_object_get(o, key);
    *out = v;
    if (!json_is_array(v))
        return tern_fail(err, TERN_E_FORMAT, "%s: line %zu: key '%s': %s, expected an array",
                         r->path, r->line, key, type_of(v));
    if (json_array_size(v) < min || json_array_size(v) > EVAL_MAX_CHOICE)
        return tern_fail(err, TERN_E_FORMAT,
                         "%s: line %zu: key '%s': %zu items, expected %zu to %d", r->path, r->line,
                         key, json_array_size(v), min, EVAL_MAX_CHOICE);
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!json_is_string(json_array_get(v, i)))
            return tern_fail(err, TERN_E_FORMAT,
                             "%s: line %zu: key '%s': item %zu is %s, expected a string", r->path,
                             r->line, key, i + 1, type_of(json_array_get(v, i)));
    return TERN_OK;
}

tern_code eval_get_index(const eval_reader *r, const json_t *o, const char *key, size_t first,
                         size_t n, size_t *out, tern_err *err)
{
    const json_t *v = json_object_get(o, key);
    const char *s = json_string_value(v);
    json_int_t number = json_is_integer(v) ? json_integer_value(v) : -1;
    uint64_t digits;
    if (json_is_boolean(v) && first == 0 && n == 2)
        number = json_is_true(v);
    if (s && tern_parse_u64(s, strlen(s), &digits) && digits <= n)
        number = (json_int_t)digits;
    if (number >= (json_int_t)first && number < (json_int_t)(first + n)) {
        *out = (size_t)number - first;
        return TERN_OK;
    }
    if (json_is_integer(v) || s)
        return tern_fail(err, TERN_E_FORMAT,
                         "%s: line %zu: key '%s': %s is none of the choices, expected %zu to %zu",
                         r->path, r->line, key, s && strlen(s) < 32 ? s : "the number", first,
                         first + n - 1);
    return tern_fail(err, TERN_E_FORMAT, "%s: line %zu: key '%s': %s, expected a number", r->path,
                     r->line, key, type_of(v));
}

tern_code eval_set_choices(eval_reader *r, eval_item *item, const json_t *list, tern_err *err)
{
    TERN_TRY(eval_make_choices(r, item, json_array_size(list), err));
    for (size_t i = 0; i < item->n_choice; i++)
        TERN_TRY(eval_keep_text(r, json_string_value(json_array_get(list, i)),
                                &item->choice[i].text, err));
    return TERN_OK;
}

/* ---- files --------------------------------------------------------------------------------- */

static bool is_full(const eval_reader *r)
{
    return r->max > 0 && r->set->n >= r->max;
}

static tern_code read_object(eval_reader *r, const char *line, size_t n, tern_err *err)
{
    json_error_t why;
    eval_item item = {.line = r->line};
    json_t *o = json_loadb(line, n, JSON_REJECT_DUPLICATES, &why);
    if (!o)
        return tern_fail(err, TERN_E_FORMAT, "%s: line %zu: no JSON: %s at column %d", r->path,
                         r->line, why.text, why.column);
    tern_code rc =
        json_is_object(o) ? r->read(r, o, &item, err) : eval_fail(r, "an object was expected", err);
    json_decref(o);
    return rc == TERN_OK ? add_item(r, &item, err) : rc;
}

static bool is_empty(const char *s, size_t n)
{
    return strspn(s, " \t\r") >= n;
}

static tern_code read_lines(eval_reader *r, const char *text, size_t n, tern_err *err)
{
    for (size_t at = 0; at < n && !is_full(r);) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t len = end ? (size_t)(end - text) - at : n - at;
        r->line++;
        if (!is_empty(text + at, len))
            TERN_TRY(read_object(r, text + at, len, err));
        at += len + 1;
    }
    return TERN_OK;
}

/* Six lines an item: context, number of the right ending, endings. */
static tern_code read_hellaswag_text(eval_reader *r, const char *text, size_t n, tern_err *err)
{
    const char *line[6];
    size_t len[6], at = 0;
    while (at < n && !is_full(r)) {
        eval_item item = {.line = r->line + 1};
        size_t k = 0;
        for (; k < 6 && at < n; k++) {
            const char *end = memchr(text + at, '\n', n - at);
            line[k] = text + at;
            len[k] = end ? (size_t)(end - text) - at : n - at;
            at += len[k] + 1;
            if (len[k] > 0 && line[k][len[k] - 1] == '\r')
                len[k]--;
            r->line++;
        }
        if (k < 6)
            return eval_fail(r, "the item ends early: 6 lines were expected", err);
        if (len[1] != 1 || line[1][0] < '0' || line[1][0] > '3') {
            r->line -= 4;
            return eval_fail(r, "expected the number of the right ending, 0 to 3", err);
        }
        item.gold = (size_t)(line[1][0] - '0');
        TERN_TRY(eval_make_choices(r, &item, 4, err));
        TERN_TRY(eval_clean_hellaswag(r, line[0], len[0], &item.context, err));
        for (size_t i = 0; i < 4; i++)
            TERN_TRY(eval_clean_hellaswag(r, line[2 + i], len[2 + i], &item.choice[i].text, err));
        TERN_TRY(add_item(r, &item, err));
    }
    return TERN_OK;
}

/* One field of a table whose fields are separated by commas and may stand in quotes (RFC 4180), at *at;
 * *last: it ends the record. */
static tern_code read_field(eval_reader *r, const char *text, size_t n, size_t *at, tern_str *out,
                            bool *last, tern_err *err)
{
    size_t i = *at;
    tern_str_clear(out);
    if (i < n && text[i] == '"') {
        for (i++;; i++) {
            if (i >= n)
                return eval_fail(r, "a quote is not closed", err);
            r->line += text[i] == '\n';
            if (text[i] != '"')
                tern_str_putc(out, text[i]);
            else if (i + 1 < n && text[i + 1] == '"')
                tern_str_putc(out, text[i++]);
            else
                break;
        }
        i++;
    } else {
        for (; i < n && text[i] != ',' && text[i] != '\n'; i++)
            if (text[i] != '\r')
                tern_str_putc(out, text[i]);
    }
    if (i < n && text[i] == '\r')
        i++;
    if (i < n && text[i] != ',' && text[i] != '\n')
        return eval_fail(r, "text behind a closing quote", err);
    *last = i >= n || text[i] == '\n';
    *at = i + 1;
    return out->failed ? no_memory(r, err) : TERN_OK;
}

#define MAX_COLUMN 64

/* Which columns hold the fields, by the names in the first record. */
static tern_code read_header(eval_reader *r, const char *text, size_t n, size_t *at, int *field_of,
                             tern_err *err)
{
    tern_str name;
    tern_code rc = TERN_OK;
    bool last = false;
    unsigned found = 0;
    tern_str_init(&name, 1 << 16);
    for (size_t i = 0; rc == TERN_OK && !last && i < MAX_COLUMN; i++) {
        rc = read_field(r, text, n, at, &name, &last, err);
        field_of[i] = -1;
        for (int k = 0; k < EVAL_N_COLUMN; k++)
            if (strcmp(tern_str_get(&name), eval_columns[k]) == 0) {
                field_of[i] = k;
                found |= 1u << k;
            }
    }
    tern_str_done(&name);
    for (int k = 0; rc == TERN_OK && k < EVAL_N_COLUMN; k++)
        if (!(found & 1u << k))
            rc = tern_fail(err, TERN_E_FORMAT, "%s: line 1: no column '%s'", r->path,
                           eval_columns[k]);
    if (rc == TERN_OK && !last)
        rc = eval_fail(r, "too many columns", err);
    return rc;
}

static tern_code read_record(eval_reader *r, const char *text, size_t n, size_t *at,
                             const int *field_of, tern_str *field, tern_err *err)
{
    tern_str skipped;
    tern_code rc = TERN_OK;
    bool last = false;
    unsigned found = 0;
    size_t line = r->line;
    tern_str_init(&skipped, MAX_SET);
    for (size_t i = 0; rc == TERN_OK && !last && i < MAX_COLUMN; i++) {
        int k = field_of[i];
        rc = read_field(r, text, n, at, k >= 0 ? &field[k] : &skipped, &last, err);
        found |= k >= 0 ? 1u << k : 0;
    }
    tern_str_done(&skipped);
    if (rc == TERN_OK && (!last || found != (1u << EVAL_N_COLUMN) - 1))
        rc = eval_fail(r, "another number of fields than the first line has", err);
    if (rc == TERN_OK) {
        eval_item item = {.line = line};
        rc = eval_read_columns(r, field, &item, err);
        if (rc == TERN_OK)
            rc = add_item(r, &item, err);
    }
    return rc;
}

static tern_code read_table(eval_reader *r, const char *text, size_t n, tern_err *err)
{
    int field_of[MAX_COLUMN];
    size_t at = 0;
    tern_str field[EVAL_N_COLUMN];
    r->line = 1;
    TERN_TRY(read_header(r, text, n, &at, field_of, err));
    for (int k = 0; k < EVAL_N_COLUMN; k++)
        tern_str_init(&field[k], MAX_SET);
    tern_code rc = TERN_OK;
    while (rc == TERN_OK && at < n && !is_full(r)) {
        r->line++;
        if (text[at] == '\n' || text[at] == '\r') {
            at++;
            r->line -= text[at - 1] == '\r';
            continue;
        }
        rc = read_record(r, text, n, &at, field_of, field, err);
    }
    for (int k = 0; k < EVAL_N_COLUMN; k++)
        tern_str_done(&field[k]);
    return rc;
}

void eval_set_done(eval_set *set)
{
    tern_arena_done(&set->arena);
    tern_free(set->item);
    *set = (eval_set){0};
}

tern_code eval_set_read(eval_set *set, const eval_task *task, const char *path, const char *text,
                        size_t n, size_t max, tern_err *err)
{
    static const char mark[] = "\xEF\xBB\xBF";
    eval_reader r = {.set = set, .path = path, .max = max, .read = eval_object_reader(task->name)};
    *set = (eval_set){.task = task};
    tern_arena_init(&set->arena, MAX_SET);
    if (n >= 3 && memcmp(text, mark, 3) == 0) {
        text += 3;
        n -= 3;
    }
    size_t blank = strspn(text, " \t\r\n");
    bool objects = blank < n && text[blank] == '{';
    tern_code rc;
    if (!tern_utf8_valid(text, n))
        rc = tern_fail(err, TERN_E_FORMAT, "%s: not UTF-8 text", path);
    else if (memchr(text, '\0', n))
        rc = tern_fail(err, TERN_E_FORMAT, "%s: a zero byte at offset %zu", path, strlen(text));
    else if (!objects && strcmp(task->name, "hellaswag") == 0)
        rc = read_hellaswag_text(&r, text, n, err);
    else if (!objects && strcmp(task->name, "truthfulqa") == 0)
        rc = read_table(&r, text, n, err);
    else
        rc = read_lines(&r, text, n, err);
    if (rc == TERN_OK && set->n == 0)
        rc = tern_fail(err, TERN_E_FORMAT, "%s: no items", path);
    if (rc != TERN_OK)
        eval_set_done(set);
    return rc;
}
