/* `tern man`: manual pages in mdoc, made from options.def. */
#include "base/error.h"
#include "base/os/outfile.h"
#include "cli.h"
#include "table.h"

#include <string.h>

/* ---- mdoc ---------------------------------------------------------------------------------- */

/* Backslashes are markup. */
static void text(tern_str *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\\')
            tern_str_puts(out, "\\e");
        else
            tern_str_putc(out, s[i]);
    }
}

/* One argument of a macro: nothing in it is a macro or a delimiter. */
static void argument(tern_str *out, const char *s, size_t n)
{
    tern_str_puts(out, "\\&");
    for (size_t i = 0; i < n; i++)
        if (s[i] == ' ')
            tern_str_puts(out, "\\ ");
        else if (s[i] == '"')
            tern_str_puts(out, "\\(dq");
        else
            text(out, s + i, 1);
}

#define WIDTH 78

/* Filled by hand: sources of pages have short lines. */
static void line(tern_str *out, const char *s)
{
    size_t width = 0;
    while (*s) {
        size_t n = strcspn(s, " ");
        if (width > 0 && width + 1 + n > WIDTH) {
            tern_str_putc(out, '\n');
            width = 0;
        } else if (width > 0) {
            tern_str_putc(out, ' ');
            width++;
        }
        if (width == 0 && n > 0 && (*s == '.' || *s == '\''))
            tern_str_puts(out, "\\&");
        text(out, s, n);
        width += n;
        s += n;
        s += strspn(s, " ");
    }
    tern_str_putc(out, '\n');
}

/* The day it was compiled, which SOURCE_DATE_EPOCH can set: "Nov 21 2026", "Nov  1 2026". */
static void date(tern_str *out)
{
    static const char *const months[] = {"January",   "February", "March",    "April",
                                         "May",       "June",     "July",     "August",
                                         "September", "October",  "November", "December"};
    const char *d = __DATE__;
    for (size_t i = 0; i < 12; i++)
        if (memcmp(months[i], d, 3) == 0)
            tern_str_printf(out, ".Dd %s %.*s, %s\n", months[i], d[4] == ' ' ? 1 : 2,
                            d[4] == ' ' ? d + 5 : d + 4, d + 7);
}

static void head(tern_str *out, const char *name, const char *about)
{
    date(out);
    tern_str_puts(out, ".Dt ");
    for (const char *s = name; *s; s++)
        tern_str_putc(out, *s >= 'a' && *s <= 'z' ? (char)(*s - 'a' + 'A') : *s);
    tern_str_printf(out, " 1\n.Os tern %s\n.Sh NAME\n.Nm %s\n.Nd ", tern_version(), name);
    line(out, about);
}

/* ---- parts --------------------------------------------------------------------------------- */

static void put_row(const cli_row *r, tern_str *out)
{
    const char *at = r->names, *name;
    char env[48];
    size_t n;
    tern_str_puts(out, ".It");
    for (int i = 0; (name = cli_name_next(&at, &n)) != NULL; i++) {
        tern_str_puts(out, i ? " , Fl " : " Fl ");
        argument(out, name + 1, n - 1);
    }
    if (r->argument) {
        tern_str_puts(out, " Ar ");
        argument(out, r->argument, strlen(r->argument));
    }
    tern_str_putc(out, '\n');
    line(out, r->help);
    cli_row_env(r, env, sizeof env);
    tern_str_puts(out, ".Pq ");
    if (r->preset) {
        tern_str_puts(out, "default ");
        argument(out, r->preset, strlen(r->preset));
        tern_str_puts(out, "; ");
    }
    tern_str_printf(out, "Ev %s\n", env);
}

static void put_options(cli_verb v, tern_str *out)
{
    tern_str_puts(out, ".Sh OPTIONS\n");
    for (int g = 0; g < CLI_GROUP_COUNT; g++) {
        bool begun = false;
        for (int i = 0; i < CLI_OPT_COUNT; i++) {
            const cli_row *r = &cli_rows[i];
            if (r->group != (cli_group)g || !(r->verbs & UINT64_C(1) << v))
                continue;
            if (!begun)
                tern_str_printf(out, ".Ss %s\n.Bl -tag -width Ds\n", cli_group_title(r->group));
            begun = true;
            put_row(r, out);
        }
        if (begun)
            tern_str_puts(out, ".El\n");
    }
}

/* Each exit status with the kinds of errors that have it. */
static void put_exit_status(tern_str *out)
{
    static const struct {
        int status;
        const char *meaning;
    } rows[] = {
        {0, "success"},
        {1, "it failed while running"},
        {2, "wrong usage"},
        {3, "a model file that is missing, damaged or not supported, or a failed self check"},
        {4, "not enough memory"},
        {5, "the network or another machine"},
        {6, "denied by policy, budget or privacy"},
        {7, "a result below a demanded threshold"},
        {124, "a time limit passed"},
        {130, "interrupted"}};
    tern_str_puts(out, ".Sh EXIT STATUS\n.Bl -tag -width Ds\n");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        tern_str_printf(out, ".It %d\n%s\n", rows[i].status, rows[i].meaning);
    tern_str_puts(out, ".El\n");
}

/* ---- pages --------------------------------------------------------------------------------- */

static void verb_page(cli_verb v, tern_str *out)
{
    const cli_verb_info *info = cli_verb_get(v);
    char name[40];
    (void)snprintf(name, sizeof name, "tern-%s", info->name);
    head(out, name, info->help);
    tern_str_printf(out, ".Sh SYNOPSIS\n.Nm tern\n.Cm %s\n", info->name);
    if (*info->arguments) {
        tern_str_puts(out, ".Ar ");
        argument(out, info->arguments, strlen(info->arguments));
        tern_str_putc(out, '\n');
    }
    tern_str_puts(out, ".Op Ar OPTION ...\n.Sh DESCRIPTION\n");
    line(out, info->help);
    tern_str_puts(out, ".Pp\nAnswers and requested data go to standard output, everything else to\n"
                       "standard error.\n");
    put_options(v, out);
    tern_str_puts(out,
                  ".Sh ENVIRONMENT\nEach option can also be set by the variable named with it;\n"
                  "the command line has precedence.\n");
    put_exit_status(out);
    tern_str_puts(out, ".Sh SEE ALSO\n.Xr tern 1\n");
}

static void main_page(tern_str *out)
{
    head(out, "tern", "runs 1-bit and ternary language models on the CPU");
    tern_str_puts(out, ".Sh SYNOPSIS\n.Nm\n.Ar COMMAND\n.Op Ar MODEL\n.Op Ar OPTION ...\n"
                       ".Sh DESCRIPTION\n"
                       ".Ar MODEL\n"
                       "is a GGUF file, a folder with safetensors or the name of a fetched model;\n"
                       "without one the built-in model answers.\n"
                       "Each command has a page of its own:\n"
                       ".Bl -tag -width Ds\n");
    for (int v = 0; v < CLI_VERB_COUNT; v++) {
        const cli_verb_info *info = cli_verb_get((cli_verb)v);
        tern_str_printf(out, ".It Xr tern-%s 1\n", info->name);
        line(out, info->help);
    }
    tern_str_puts(out,
                  ".El\n"
                  ".Sh ENVIRONMENT\n"
                  "Each\n.Fl -some-option\ncan be set by the variable\n.Ev TERN_SOME_OPTION ;\n"
                  "the command line has precedence.\nBesides:\n"
                  ".Bl -tag -width Ds\n"
                  ".It Ev TERN_CPU\n"
                  "instructions to leave out, as in -avx512,-vnni; none: only reference kernels\n"
                  ".It Ev HF_TOKEN , HF_ENDPOINT , HF_HUB_OFFLINE , HTTPS_PROXY\n"
                  "of\n.Xr tern-pull 1\n"
                  ".It Ev XDG_DATA_HOME , XDG_CACHE_HOME , XDG_STATE_HOME\n"
                  "where models, caches and the history of typed lines are\n"
                  ".It Ev NO_COLOR , CLICOLOR_FORCE\n"
                  "colours on the terminal\n"
                  ".El\n"
                  ".Sh FILES\n"
                  ".Bl -tag -width Ds\n"
                  ".It Pa $XDG_DATA_HOME/tern/models\n"
                  "fetched models\n"
                  ".It Pa $XDG_CACHE_HOME/tern\n"
                  "calibrations and packed weights\n"
                  ".El\n");
    put_exit_status(out);
    tern_str_puts(out, ".Sh EXAMPLES\n"
                       "A conversation with the built-in model:\n"
                       ".Pp\n.Dl tern chat\n.Pp\n"
                       "One answer of a model that is fetched first:\n"
                       ".Pp\n.Dl tern pull bitnet-2b4t\n"
                       ".Dl tern run bitnet-2b4t -p \\(dqWhy is the sky blue?\\(dq\n");
    tern_str_puts(out, ".Sh SEE ALSO\n.Xr tern-chat 1 ,\n.Xr tern-doctor 1 ,\n.Xr tern-run 1\n");
}

/* ---- the verb ------------------------------------------------------------------------------ */

static tern_code write_page(const char *folder, int v, tern_err *err)
{
    tern_str page, path;
    tern_outfile o;
    tern_str_init(&page, 1 << 20);
    tern_str_init(&path, 1 << 13);
    if (v < 0)
        main_page(&page);
    else
        verb_page((cli_verb)v, &page);
    tern_str_printf(&path, "%s/tern%s%s.1", folder, v < 0 ? "" : "-",
                    v < 0 ? "" : cli_verb_get((cli_verb)v)->name);
    tern_code rc =
        page.failed || path.failed ? tern_fail(err, TERN_E_NOMEM, "out of memory") : TERN_OK;
    if (rc == TERN_OK)
        rc = tern_outfile_open(&o, tern_str_get(&path), 0, err);
    if (rc == TERN_OK) {
        (void)fwrite(tern_str_get(&page), 1, page.len, o.f);
        rc = tern_outfile_commit(&o, err);
    }
    tern_str_done(&page);
    tern_str_done(&path);
    return rc;
}

static tern_code write_all(const char *folder, tern_err *err)
{
    for (int v = -1; v < CLI_VERB_COUNT; v++)
        TERN_TRY(write_page(folder, v, err));
    return TERN_OK;
}

tern_code cli_man(cli *c, tern_err *err)
{
    cli_verb v = CLI_VERB_COUNT;
    tern_str page;
    if (c->opt.topic && (v = cli_verb_find(c->opt.topic, err)) == CLI_VERB_COUNT)
        return TERN_E_USAGE;
    if (cli_text(&c->opt, OPT_MAN_DIR))
        return write_all(cli_text(&c->opt, OPT_MAN_DIR), err);
    tern_str_init(&page, 1 << 20);
    if (c->opt.topic)
        verb_page(v, &page);
    else
        main_page(&page);
    return cli_print_text(c, "page", &page, err);
}
