#include "base/error.h"
#include "cli.h"

#include <stdlib.h>

#define MAX_TEXT ((size_t)16 << 20)

static const struct source {
    cli_opt opt;
    const char *name;
    tern_grammar_kind kind;
    bool file;
} sources[] = {
    {OPT_GRAMMAR, "--grammar", TERN_GRAMMAR_GBNF, false},
    {OPT_GRAMMAR_FILE, "--grammar-file", TERN_GRAMMAR_GBNF, true},
    {OPT_JSON_SCHEMA, "--json-schema", TERN_GRAMMAR_JSON_SCHEMA, false},
    {OPT_JSON_SCHEMA_FILE, "--json-schema-file", TERN_GRAMMAR_JSON_SCHEMA, true},
    {OPT_REGEX, "--regex", TERN_GRAMMAR_REGEX, false},
};

static tern_code choice_text(const cli_list *list, tern_str *out, tern_err *err)
{
    json_t *v = json_array();
    bool ok = v != NULL;
    for (size_t i = 0; i < list->n && ok; i++)
        ok = json_array_append_new(v, json_string(list->item[i])) == 0;
    char *text = ok ? json_dumps(v, JSON_COMPACT) : NULL;
    if (text)
        tern_str_puts(out, text);
    free(text);
    json_decref(v);
    return text ? TERN_OK : tern_fail(err, TERN_E_USAGE, "--choice: not UTF-8 text");
}

/* Text and kind of the one option that was given; *kind is -1 when none was. What the command line says
 * beats the environment. */
static tern_code find_text(const cli *c, tern_str *text, int *kind, tern_err *err)
{
    const struct source *found = NULL;
    const char *twice = NULL;
    cli_source best = CLI_DEFAULT;
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        cli_source from = c->opt.value[sources[i].opt].source;
        if (!cli_given(&c->opt, sources[i].opt) || from < best)
            continue;
        twice = from == best ? sources[i].name : NULL;
        found = &sources[i];
        best = from;
    }
    *kind = -1;
    if (c->opt.choice.n && found && best == CLI_ARG)
        twice = "--choice";
    if (twice)
        return tern_fail(err, TERN_E_USAGE, "%s and another option say what answers may be", twice);
    if (c->opt.choice.n) {
        *kind = TERN_GRAMMAR_CHOICE;
        return choice_text(&c->opt.choice, text, err);
    }
    if (!found)
        return TERN_OK;
    *kind = (int)found->kind;
    if (found->file)
        return cli_read_file(cli_text(&c->opt, found->opt), text, err);
    tern_str_puts(text, cli_text(&c->opt, found->opt));
    return TERN_OK;
}

tern_code cli_grammar_new(const cli *c, const tern_model *m, tern_grammar **out, tern_err *err)
{
    tern_str text;
    int kind;
    *out = NULL;
    tern_str_init(&text, MAX_TEXT);
    tern_code rc = find_text(c, &text, &kind, err);
    if (rc == TERN_OK && kind >= 0)
        rc = tern_grammar_new(m, (tern_grammar_kind)kind, tern_str_get(&text), text.len, out, err);
    tern_str_done(&text);
    return rc;
}
