/* `tern completions`: what shells complete, made from options.def. Verbs, options, choices and types are
 * written into the script; names of models are asked for when they are needed (tern ls --names). */
#include "base/error.h"
#include "cli.h"
#include "compress/convert.h"
#include "table.h"

#include <string.h>

/* What may stand in a place of the command line. */
typedef enum want_kind {
    WANT_NOTHING,
    WANT_FILE,
    WANT_FOLDER,
    WANT_MODEL,  /* a file, or the name of a fetched model */
    WANT_STORED, /* such a name */
    WANT_KNOWN,  /* a short name of a model to fetch */
    WANT_WORDS   /* one of words, which bars divide */
} want_kind;

typedef struct want {
    want_kind kind;
    const char *words; /* borrowed; n bytes */
    size_t n;
} want;

/* Words that are not in the table itself. */
typedef struct lists {
    tern_str verbs, types;
} lists;

static bool lists_init(lists *l)
{
    const char *type;
    tern_str_init(&l->verbs, 1 << 14);
    tern_str_init(&l->types, 1 << 14);
    for (int v = 0; v < CLI_VERB_COUNT; v++)
        tern_str_printf(&l->verbs, "%s%s", v ? "|" : "", cli_verb_get((cli_verb)v)->name);
    for (int i = 0; (type = compress_type_name(i)) != NULL; i++) {
        tern_str_putc(&l->types, '|');
        for (const char *c = type; *c; c++)
            tern_str_putc(&l->types, *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c);
    }
    return !l->verbs.failed && !l->types.failed;
}

static void lists_done(lists *l)
{
    tern_str_done(&l->verbs);
    tern_str_done(&l->types);
}

static bool is_word(const char *s, size_t n, const char *word)
{
    return strlen(word) == n && memcmp(s, word, n) == 0;
}

/* What a name in an argument's place means: of an option or of a verb. */
static want wanted(const lists *l, const char *s, size_t n)
{
    static const struct {
        const char *word;
        want_kind kind;
    } words[] = {
        {"FILE", WANT_FILE},         {"OUT", WANT_FILE},     {"OUT.gguf", WANT_FILE},
        {"OUT.npy", WANT_FILE},      {"OUT.csv", WANT_FILE}, {"OUT.svg", WANT_FILE},
        {"OUT.json", WANT_FILE},     {"DIR", WANT_FOLDER},   {"MODEL", WANT_MODEL},
        {"FOLDER|FILE", WANT_MODEL}, {"IN", WANT_MODEL},     {"NAME...", WANT_STORED},
        {"SPEC", WANT_KNOWN},
    };
    if (n > 2 && s[0] == '[' && s[n - 1] == ']') {
        s++;
        n -= 2;
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (is_word(s, n, words[i].word))
            return (want){.kind = words[i].kind};
    if (is_word(s, n, "VERB"))
        return (want){WANT_WORDS, tern_str_get(&l->verbs), l->verbs.len};
    if (is_word(s, n, "TYPE"))
        return (want){WANT_WORDS, tern_str_get(&l->types) + 1, l->types.len - 1};
    if (n > 0 && s[0] >= 'a' && s[0] <= 'z' && memchr(s, '|', n))
        return (want){WANT_WORDS, s, n};
    return (want){.kind = WANT_NOTHING};
}

static want wanted_of_row(const lists *l, int i)
{
    const cli_row *r = &cli_rows[i];
    if (i == OPT_MODEL)
        return (want){.kind = WANT_MODEL};
    if (r->kind == KIND_CHOICE)
        return (want){WANT_WORDS, r->argument, strlen(r->argument)};
    return wanted(l, r->argument, strlen(r->argument));
}

/* The arguments of a verb that stand by their place, one after the other: *at starts at arguments. False
 * behind the last, which is where options begin. */
static bool next_place(const lists *l, const char **at, const char **name, size_t *n, want *w)
{
    *at += strspn(*at, " ");
    *name = *at;
    *n = strcspn(*at, " ");
    if (*n == 0 || **at == '-' || **at == '.')
        return false;
    *at += *n;
    *w = wanted(l, *name, *n);
    return true;
}

static bool of_verb(int row, int verb)
{
    return (cli_rows[row].verbs & UINT64_C(1) << verb) != 0;
}

/* Each word of a bar-separated list, with a blank before it unless it is the first. */
static void put_words(const want *w, tern_str *out)
{
    for (size_t i = 0; i < w->n; i++)
        tern_str_putc(out, w->words[i] == '|' ? ' ' : w->words[i]);
}

/* ---- bash ---------------------------------------------------------------------------------- */

static void bash_want(const want *w, tern_str *out)
{
    static const char *const names[] = {"nothing", "file", "folder", "model", "stored", "known"};
    if (w->kind == WANT_WORDS) {
        tern_str_puts(out, "'words ");
        put_words(w, out);
        tern_str_putc(out, '\'');
    } else {
        tern_str_puts(out, names[w->kind]);
    }
}

/* One verb's options, places, and what its options take. */
static void bash_verb(const lists *l, int v, tern_str *out)
{
    const char *at, *name;
    size_t n;
    want w;
    tern_str_printf(out, "    %s)\n        options='", cli_verb_get((cli_verb)v)->name);
    for (int i = 0, k = 0; i < CLI_OPT_COUNT; i++) {
        at = cli_rows[i].names;
        while (of_verb(i, v) && (name = cli_name_next(&at, &n)) != NULL)
            tern_str_printf(out, "%s%.*s", k++ ? " " : "", (int)n, name);
    }
    tern_str_puts(out, "'\n        places=(");
    at = cli_verb_get((cli_verb)v)->arguments;
    for (int i = 0; next_place(l, &at, &name, &n, &w); i++) {
        if (i)
            tern_str_putc(out, ' ');
        bash_want(&w, out);
    }
    tern_str_puts(out, ")\n        case $2 in\n");
    for (int i = 0; i < CLI_OPT_COUNT; i++) {
        if (!of_verb(i, v) || cli_rows[i].kind == KIND_FLAG)
            continue;
        tern_str_puts(out, "        ");
        at = cli_rows[i].names;
        for (int k = 0; (name = cli_name_next(&at, &n)) != NULL; k++)
            tern_str_printf(out, "%s%.*s", k ? " | " : "", (int)n, name);
        tern_str_puts(out, ") takes=");
        w = wanted_of_row(l, i);
        bash_want(&w, out);
        tern_str_puts(out, " ;;\n");
    }
    tern_str_puts(out, "        esac\n        ;;\n");
}

static void bash(const lists *l, tern_str *out)
{
    tern_str_puts(out, "# Completions of tern for bash, made by 'tern completions bash'.\n\n"
                       "# Sets options, places and takes of a verb and one of its options.\n"
                       "_tern_table() {\n"
                       "    options= places=() takes=\n"
                       "    case $1 in\n");
    for (int v = 0; v < CLI_VERB_COUNT; v++)
        bash_verb(l, v, out);
    tern_str_puts(out, "    esac\n"
                       "}\n\n"
                       "_tern_names() {\n"
                       "    \"${words[0]/#\\~/$HOME}\" ls --names \"$@\" 2>/dev/null\n"
                       "}\n\n"
                       "# COMPREPLY: what the place can hold that begins with $2.\n"
                       "_tern_candidates() {\n"
                       "    local IFS=$'\\n' list=${1#words }\n"
                       "    case $1 in\n"
                       "    words*) compgen -W \"${list// /$IFS}\" -- \"$2\" ;;\n"
                       "    stored | model) compgen -W \"$(_tern_names)\" -- \"$2\" ;;\n"
                       "    known) compgen -W \"$(_tern_names --known)\" -- \"$2\" ;;\n"
                       "    esac\n"
                       "    case $1 in\n"
                       "    file | model) compgen -f -- \"$2\" ;;\n"
                       "    folder) compgen -d -- \"$2\" ;;\n"
                       "    esac\n"
                       "}\n\n"
                       "_tern_reply() {\n"
                       "    local line\n"
                       "    case $1 in\n"
                       "    file | model | folder) compopt -o filenames 2>/dev/null ;;\n"
                       "    esac\n"
                       "    while IFS= read -r line; do\n"
                       "        COMPREPLY+=(\"$line\")\n"
                       "    done < <(_tern_candidates \"$@\")\n"
                       "}\n\n"
                       "_tern() {\n"
                       "    local words=() options places takes i n=0 word last=\n"
                       "    COMPREPLY=()\n"
                       "    # Bash cuts at \"=\" and \":\"; a name with a colon is one word.\n"
                       "    for ((i = 0; i <= COMP_CWORD; i++)); do\n"
                       "        word=${COMP_WORDS[i]}\n"
                       "        if [[ $word == : || $last == : ]]; then\n"
                       "            words[${#words[@]} - 1]+=$word\n"
                       "        elif [[ $word != = ]]; then\n"
                       "            words+=(\"$word\")\n"
                       "        elif ((i == COMP_CWORD)); then\n"
                       "            words+=('')\n"
                       "        fi\n"
                       "        last=$word\n"
                       "    done\n"
                       "    local count=${#words[@]}\n"
                       "    local cur=${words[count - 1]}\n"
                       "    if ((count < 3)); then\n"
                       "        _tern_reply 'words ");
    put_words(&(want){WANT_WORDS, tern_str_get(&l->verbs), l->verbs.len}, out);
    tern_str_puts(out, "' \"$cur\"\n"
                       "        return\n"
                       "    fi\n"
                       "    for ((i = 2; i < count - 1; i++)); do\n"
                       "        _tern_table \"${words[1]}\" \"${words[i]}\"\n"
                       "        if [[ -n $takes ]]; then\n"
                       "            ((i == count - 2)) && break\n"
                       "            ((i++))\n"
                       "        elif [[ ${words[i]} != -?* ]]; then\n"
                       "            ((n++))\n"
                       "        fi\n"
                       "        takes=\n"
                       "    done\n"
                       "    ((count == 3)) && _tern_table \"${words[1]}\" ''\n"
                       "    if [[ -n $takes ]]; then\n"
                       "        _tern_reply \"$takes\" \"$cur\"\n"
                       "    elif [[ $cur == -* ]]; then\n"
                       "        _tern_reply \"words $options\" \"$cur\"\n"
                       "    elif ((n < ${#places[@]})); then\n"
                       "        _tern_reply \"${places[n]}\" \"$cur\"\n"
                       "    elif [[ ${places[0]} == stored ]]; then\n"
                       "        _tern_reply stored \"$cur\"\n"
                       "    fi\n"
                       "    if [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; then\n"
                       "        COMPREPLY=(\"${COMPREPLY[@]#\"${cur%\"${cur##*:}\"}\"}\")\n"
                       "    fi\n"
                       "}\n\n"
                       "complete -F _tern tern\n");
}

/* ---- zsh ----------------------------------------------------------------------------------- */

/* Between single quotes, with what else _arguments reads as its own escaped. */
static void zsh_text(const char *s, size_t n, const char *special, tern_str *out)
{
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\'')
            tern_str_puts(out, "'\\'");
        else if (strchr(special, s[i]))
            tern_str_putc(out, '\\');
        tern_str_putc(out, s[i]);
    }
}

static void zsh_action(const want *w, tern_str *out)
{
    static const char *const actions[] = {
        " ", "_files", "_files -/", "_tern_models", "_tern_stored", "_tern_known"};
    if (w->kind == WANT_WORDS) {
        tern_str_putc(out, '(');
        put_words(w, out);
        tern_str_putc(out, ')');
    } else {
        tern_str_puts(out, actions[w->kind]);
    }
}

static void zsh_row(const lists *l, int i, tern_str *out)
{
    const cli_row *r = &cli_rows[i];
    const char *at = r->names, *name, *each;
    size_t n, n_each;
    want w;
    while ((name = cli_name_next(&at, &n)) != NULL) {
        tern_str_puts(out, "            '");
        if (r->kind == KIND_LIST) {
            tern_str_putc(out, '*');
        } else { /* once, under whichever name */
            each = r->names;
            tern_str_putc(out, '(');
            for (int k = 0;; k++) {
                const char *one = cli_name_next(&each, &n_each);
                if (!one)
                    break;
                tern_str_printf(out, "%s%.*s", k ? " " : "", (int)n_each, one);
            }
            tern_str_putc(out, ')');
        }
        tern_str_printf(out, "%.*s%s[", (int)n, name,
                        r->kind != KIND_FLAG && n > 1 && name[1] == '-' ? "=" : "");
        zsh_text(r->help, strlen(r->help), "[]\\", out);
        tern_str_putc(out, ']');
        if (r->kind != KIND_FLAG) {
            w = wanted_of_row(l, i);
            tern_str_putc(out, ':');
            zsh_text(r->argument, strlen(r->argument), ":\\", out);
            tern_str_putc(out, ':');
            zsh_action(&w, out);
        }
        tern_str_puts(out, "' \\\n");
    }
}

static void zsh_verb(const lists *l, int v, tern_str *out)
{
    const char *at = cli_verb_get((cli_verb)v)->arguments, *name;
    size_t n;
    want w;
    tern_str_printf(out, "        %s)\n        _arguments \\\n", cli_verb_get((cli_verb)v)->name);
    for (int i = 0; i < CLI_OPT_COUNT; i++)
        if (of_verb(i, v))
            zsh_row(l, i, out);
    while (next_place(l, &at, &name, &n, &w)) {
        tern_str_puts(out, "            '");
        tern_str_puts(out, w.kind == WANT_STORED ? "*:" : name[0] == '[' ? "::" : ":");
        zsh_text(name, n, ":\\", out);
        tern_str_putc(out, ':');
        zsh_action(&w, out);
        tern_str_puts(out, "' \\\n");
    }
    tern_str_puts(out, "            && return 0\n        ;;\n");
}

static void zsh(const lists *l, tern_str *out)
{
    tern_str_puts(out,
                  "#compdef tern\n"
                  "# Completions of tern for zsh, made by 'tern completions zsh'.\n\n"
                  "_tern_stored() {\n"
                  "    local -a names=(${(f)\"$($tern_program ls --names 2>/dev/null)\"})\n"
                  "    (( $#names )) && compadd -- $names\n"
                  "}\n\n"
                  "_tern_known() {\n"
                  "    local -a names=(${(f)\"$($tern_program ls --names --known 2>/dev/null)\"})\n"
                  "    (( $#names )) && compadd -- $names\n"
                  "}\n\n"
                  "_tern_models() {\n"
                  "    _tern_stored\n"
                  "    _files\n"
                  "}\n\n"
                  "_tern() {\n"
                  "    local curcontext=$curcontext state line tern_program=$words[1]\n"
                  "    local -a verbs=(\n");
    for (int v = 0; v < CLI_VERB_COUNT; v++) {
        const cli_verb_info *info = cli_verb_get((cli_verb)v);
        tern_str_printf(out, "        '%s:", info->name);
        zsh_text(info->help, strlen(info->help), "", out);
        tern_str_puts(out, "'\n");
    }
    tern_str_puts(out, "    )\n"
                       "    _arguments -C '1:command:->verb' '*::argument:->rest' && return 0\n"
                       "    case $state in\n"
                       "    verb) _describe command verbs && return 0 ;;\n"
                       "    rest)\n"
                       "        case $words[1] in\n");
    for (int v = 0; v < CLI_VERB_COUNT; v++)
        zsh_verb(l, v, out);
    tern_str_puts(out, "        esac\n"
                       "        ;;\n"
                       "    esac\n"
                       "    return 1\n"
                       "}\n\n"
                       "if [[ $funcstack[1] == _tern ]]; then\n"
                       "    _tern \"$@\"\n"
                       "else\n"
                       "    compdef _tern tern\n"
                       "fi\n");
}

/* ---- fish ---------------------------------------------------------------------------------- */

static void fish_text(const char *s, tern_str *out)
{
    tern_str_putc(out, '\'');
    for (; *s; s++) {
        if (*s == '\'' || *s == '\\')
            tern_str_putc(out, '\\');
        tern_str_putc(out, *s);
    }
    tern_str_putc(out, '\'');
}

static void fish_want(const want *w, tern_str *out)
{
    static const char *const flags[] = {" -x",
                                        " -r -F",
                                        " -x -a '(__fish_complete_directories)'",
                                        " -r -F -a '(__tern_names)'",
                                        " -x -a '(__tern_names)'",
                                        " -x -a '(__tern_names --known)'"};
    if (w->kind == WANT_WORDS) {
        tern_str_puts(out, " -x -a '");
        put_words(w, out);
        tern_str_putc(out, '\'');
    } else {
        tern_str_puts(out, flags[w->kind]);
    }
}

static void fish_row(const lists *l, int i, tern_str *out)
{
    const cli_row *r = &cli_rows[i];
    const char *at = r->names, *name;
    size_t n;
    tern_str_puts(out, "complete -c tern -n '__tern_is");
    for (int v = 0; v < CLI_VERB_COUNT; v++)
        if (of_verb(i, v))
            tern_str_printf(out, " %s", cli_verb_get((cli_verb)v)->name);
    tern_str_putc(out, '\'');
    while ((name = cli_name_next(&at, &n)) != NULL) {
        if (n > 2 && name[1] == '-')
            tern_str_printf(out, " -l %.*s", (int)n - 2, name + 2);
        else
            tern_str_printf(out, " -%c %.*s", n == 2 ? 's' : 'o', (int)n - 1, name + 1);
    }
    if (r->kind != KIND_FLAG) {
        want w = wanted_of_row(l, i);
        fish_want(&w, out);
    }
    tern_str_puts(out, " -d ");
    fish_text(r->help, out);
    tern_str_putc(out, '\n');
}

static void fish(const lists *l, tern_str *out)
{
    tern_str_puts(out, "# Completions of tern for fish, made by 'tern completions fish'.\n\n"
                       "function __tern_is\n"
                       "    set -l words (commandline -opc)\n"
                       "    test (count $words) -ge 2; and contains -- $words[2] $argv\n"
                       "end\n\n"
                       "function __tern_names\n"
                       "    set -l words (commandline -opc)\n"
                       "    $words[1] ls --names $argv 2>/dev/null\n"
                       "end\n\n"
                       "complete -c tern -f\n");
    for (int v = 0; v < CLI_VERB_COUNT; v++) {
        tern_str_printf(out,
                        "complete -c tern -n 'test (count (commandline -opc)) -eq 1' -a %s -d ",
                        cli_verb_get((cli_verb)v)->name);
        fish_text(cli_verb_get((cli_verb)v)->help, out);
        tern_str_putc(out, '\n');
    }
    for (int v = 0; v < CLI_VERB_COUNT; v++) { /* fish has no places: all at once */
        const char *at = cli_verb_get((cli_verb)v)->arguments, *name;
        size_t n;
        want w;
        while (next_place(l, &at, &name, &n, &w)) {
            if (w.kind == WANT_NOTHING)
                continue;
            tern_str_printf(out, "complete -c tern -n '__tern_is %s'",
                            cli_verb_get((cli_verb)v)->name);
            fish_want(&w, out);
            tern_str_putc(out, '\n');
        }
    }
    for (int i = 0; i < CLI_OPT_COUNT; i++)
        fish_row(l, i, out);
}

/* -------------------------------------------------------------------------------------------- */

tern_code cli_completions(cli *c, tern_err *err)
{
    static const struct {
        const char *name;
        void (*make)(const lists *l, tern_str *out);
    } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
    const char *shell = c->opt.words.n == 1 ? c->opt.words.item[0] : NULL;
    lists l;
    tern_str out;
    size_t i = 0, n = sizeof shells / sizeof shells[0];
    while (shell && i < n && strcmp(shells[i].name, shell) != 0)
        i++;
    if (!shell || i == n)
        return tern_fail(err, TERN_E_USAGE,
                         "completions needs the name of a shell: bash, zsh or fish");
    tern_str_init(&out, 1 << 20);
    bool ok = lists_init(&l);
    if (ok)
        shells[i].make(&l, &out);
    lists_done(&l);
    out.failed |= !ok;
    return cli_print_text(c, "script", &out, err);
}
