/* Help texts and the table as JSON, made from options.def alone. */
#include "table.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char *const titles[CLI_GROUP_COUNT] = {
#define GROUP(id, title) title,
#include "options.def"
};

const char *cli_group_title(cli_group g)
{
    return titles[g];
}

static const char *const kinds[] = {"flag", "int", "real", "text", "list", "choice"};

void cli_help_all(tern_str *out)
{
    tern_str_printf(out, "tern %s: runs 1-bit and ternary language models on the CPU\n\n",
                    tern_version());
    tern_str_puts(out, "usage: tern COMMAND [MODEL] [OPTION]...\n\n");
    for (int v = 0; v < CLI_VERB_COUNT; v++)
        tern_str_printf(out, "  %-12s %s\n", cli_verb_get((cli_verb)v)->name,
                        cli_verb_get((cli_verb)v)->help);
    tern_str_puts(out,
                  "\nMODEL is a GGUF file or the name of a fetched one (tern ls); without one the\n"
                  "built-in model answers.\n"
                  "'tern help COMMAND' lists the options of a command. Each --some-option\n"
                  "may also be set by the environment variable TERN_SOME_OPTION.\n");
}

#define COLUMN 30

static void put_row(const cli_row *r, tern_str *out)
{
    const char *at = r->names, *name;
    size_t n, begin = out->len;
    tern_str_puts(out, "  ");
    for (int i = 0; (name = cli_name_next(&at, &n)) != NULL; i++)
        tern_str_printf(out, "%s%.*s", i ? ", " : "", (int)n, name);
    if (r->argument)
        tern_str_printf(out, " %s", r->argument);
    size_t width = out->len - begin;
    if (width + 2 > COLUMN) {
        tern_str_putc(out, '\n');
        width = 0;
    }
    tern_str_printf(out, "%*s%s", (int)(COLUMN - width), "", r->help);
    if (r->preset)
        tern_str_printf(out, " (%s)", r->preset);
    tern_str_putc(out, '\n');
}

void cli_help_verb(cli_verb v, tern_str *out)
{
    const cli_verb_info *info = cli_verb_get(v);
    tern_str_printf(out, "usage: tern %s%s%s [OPTION]...\n%s\n", info->name,
                    *info->arguments ? " " : "", info->arguments, info->help);
    for (int g = 0; g < CLI_GROUP_COUNT; g++) {
        bool begun = false;
        for (int i = 0; i < CLI_OPT_COUNT; i++) {
            const cli_row *r = &cli_rows[i];
            if (r->group != (cli_group)g || !(r->verbs & UINT64_C(1) << v))
                continue;
            if (!begun)
                tern_str_printf(out, "\n%s:\n", titles[g]);
            begun = true;
            put_row(r, out);
        }
    }
}

static json_t *describe_row(const cli_row *r)
{
    char env[48];
    size_t n;
    const char *at = r->names, *name;
    json_t *names = json_array();
    while ((name = cli_name_next(&at, &n)) != NULL)
        (void)json_array_append_new(names, json_stringn(name, n));
    cli_row_env(r, env, sizeof env);
    json_t *o = json_pack("{s:o, s:s, s:s, s:s?, s:s?, s:s, s:s}", "names", names, "group",
                          titles[r->group], "kind", kinds[r->kind], "argument", r->argument,
                          "default", r->preset, "env", env, "help", r->help);
    if (o && (r->kind == KIND_INT || r->kind == KIND_REAL)) {
        (void)json_object_set_new(o, "min", json_real(r->min));
        (void)json_object_set_new(o, "max", json_real(r->max));
    }
    return o;
}

bool cli_help_json(tern_str *out)
{
    json_t *list = json_array();
    for (int v = 0; v < CLI_VERB_COUNT; v++) {
        const cli_verb_info *info = cli_verb_get((cli_verb)v);
        json_t *options = json_array();
        for (int i = 0; i < CLI_OPT_COUNT; i++)
            if (cli_rows[i].verbs & UINT64_C(1) << v)
                (void)json_array_append_new(options, describe_row(&cli_rows[i]));
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o}", "name", info->name,
                                                    "arguments", info->arguments, "help",
                                                    info->help, "options", options));
    }
    char *text = list ? json_dumps(list, JSON_INDENT(1)) : NULL;
    json_decref(list);
    if (!text)
        return false;
    tern_str_puts(out, text);
    tern_str_putc(out, '\n');
    free(text);
    return !out->failed;
}
