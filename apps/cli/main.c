/* The program: one verb, its options, its exit status. */
#include "base/error.h"
#include "base/os/map.h"
#include "cli.h"

#include <locale.h>
#include <signal.h>
#include <string.h>

static tern_code (*const verbs[CLI_VERB_COUNT])(cli *c, tern_err *err) = {
#define VERB(id, name, arguments, function, help) function,
#include "options.def"
};

tern_code cli_help(cli *c, tern_err *err)
{
    tern_str s;
    tern_str_init(&s, 1 << 20);
    if (c->opt.topic) {
        cli_verb v = cli_verb_find(c->opt.topic, err);
        if (v == CLI_VERB_COUNT)
            return TERN_E_USAGE;
        cli_help_verb(v, &s);
    } else if (c->json) {
        if (!cli_help_json(&s)) {
            tern_str_done(&s);
            return tern_fail(err, TERN_E_NOMEM, "out of memory");
        }
    } else {
        cli_help_all(&s);
    }
    return cli_print_text(NULL, "", &s, err);
}

static tern_code run_verb(cli *c, tern_err *err)
{
    if (cli_flag(&c->opt, OPT_HELP)) {
        tern_str s;
        tern_str_init(&s, 1 << 20);
        if (c->opt.verb == CLI_HELP)
            cli_help_all(&s);
        else
            cli_help_verb(c->opt.verb, &s);
        return cli_print_text(NULL, "", &s, err);
    }
    return verbs[c->opt.verb](c, err);
}

/* Before the options are read (or when they cannot be): does the user expect JSON? */
static bool asks_json(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--json") == 0)
            return true;
    return false;
}

static void report(const tern_err *err, bool json)
{
    if (json) {
        tern_err ignored;
        json_t *e = json_pack("{s:{s:s, s:s}}", "error", "code",
                              tern_code_info_get(err->code)->name, "message", err->msg);
        if (!e) /* the message holds bytes that are no UTF-8: a path may */
            e = json_pack("{s:{s:s, s:s}}", "error", "code", tern_code_info_get(err->code)->name,
                          "message", "see standard error");
        if (cli_print_json(e, &ignored) != TERN_OK)
            clearerr(stdout);
    }
    (void)fprintf(stderr, "tern: %s\n", err->msg);
}

/* `tern`, `tern --help` and `tern --version` are the verbs by another name. */
static const char *first_word(const char *arg)
{
    if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)
        return "help";
    if (strcmp(arg, "--version") == 0 || strcmp(arg, "-V") == 0)
        return "version";
    return arg;
}

int main(int argc, char **argv)
{
    cli c = {0};
    tern_err err = {0};
    /* A parent may have left it ignored; `tern ... | head` is to end quietly. */
    (void)signal(SIGPIPE, SIG_DFL);
    (void)signal(SIGXFSZ, SIG_IGN); /* then a file over the limit is a write that fails */
    tern_map_guard();
    (void)setlocale(LC_CTYPE, "");
    if (argc < 2) {
        tern_str s;
        tern_str_init(&s, 1 << 20);
        cli_help_all(&s);
        (void)fputs(tern_str_get(&s), stderr);
        tern_str_done(&s);
        return 2;
    }
    const char *first = first_word(argv[1]);
    tern_code rc = cli_options_parse(&c.opt, first, argc - 2, argv + 2, &err);
    if (rc == TERN_OK) {
        cli_init(&c);
        rc = run_verb(&c, &err);
        cli_progress_end(&c);
    }
    if (rc != TERN_OK && rc != TERN_E_CANCELLED)
        report(&err, !c.answered && (c.json || asks_json(argc, argv)));
    return tern_code_info_get(rc)->exit_status;
}
