#include "options.h"
#include "base/error.h"
#include "base/num.h"
#include "table.h"

#include <stdlib.h>
#include <string.h>

#define V(id) (UINT64_C(1) << CLI_##id)
#define EVERY (~UINT64_C(0))
#define TALKS (V(CHAT) | V(RUN))
#define READS (V(CHAT) | V(RUN) | V(EMBED) | V(DECIDE) | V(TOKENIZE) | V(LOGITS))
#define EVALS                                                                                      \
    (V(CHAT) | V(RUN) | V(EMBED) | V(DECIDE) | V(LOGITS) | V(PERPLEXITY) | V(EVAL) | V(STATS) |    \
     V(BENCH) | V(PLAN) | V(SERVE))
#define STORES (V(PULL) | V(LS) | V(RM))
#define LOADS  (EVALS | V(SHOW) | V(TOKENIZE) | V(TUNE) | V(DOCTOR) | V(IMATRIX) | V(VERIFY))
#define WRITES (V(CONVERT) | V(QUANTIZE) | V(TERNARIZE))
/* Verbs whose first argument is a name. */
#define NAMES (V(HELP) | V(MAN) | V(EVAL))
/* Verbs whose arguments are no options by position. */
#define WORDS (WRITES | V(PULL) | V(RM) | V(COMPLETIONS))

const cli_row cli_rows[CLI_OPT_COUNT] = {
#define OPT(id, group, names, kind, argument, preset, min, max, verbs, help)                       \
    {GROUP_##group, names, KIND_##kind, argument, preset, min, max, verbs, help},
#include "options.def"
};

static const cli_verb_info verbs[CLI_VERB_COUNT] = {
#define VERB(id, name, arguments, function, help) {name, arguments, help},
#include "options.def"
};

const cli_verb_info *cli_verb_get(cli_verb v)
{
    return &verbs[v];
}

/* ---- names --------------------------------------------------------------------------------- */

const char *cli_name_next(const char **at, size_t *n)
{
    const char *name = *at;
    if (*name == '\0')
        return NULL;
    *n = strcspn(name, ",");
    *at = name[*n] ? name + *n + 1 : name + *n;
    return name;
}

const char *cli_row_name(const cli_row *r, size_t *n)
{
    const char *at = r->names, *name;
    while ((name = cli_name_next(&at, n)) != NULL)
        if (*n > 2 && name[1] == '-') {
            *n -= 2;
            return name + 2;
        }
    *n = strlen(r->names);
    return r->names;
}

void cli_row_env(const cli_row *r, char *buf, size_t cap)
{
    size_t n, len = 5;
    const char *name = cli_row_name(r, &n);
    memcpy(buf, "TERN_", 5);
    for (size_t i = 0; i < n && len + 1 < cap; i++)
        buf[len++] = name[i] == '-' ? '_' : (char)(name[i] - (name[i] >= 'a' ? 'a' - 'A' : 0));
    buf[len] = '\0';
}

static bool row_has_name(const cli_row *r, const char *s, size_t n)
{
    const char *at = r->names, *name;
    size_t len;
    while ((name = cli_name_next(&at, &len)) != NULL)
        if (len == n && memcmp(name, s, n) == 0)
            return true;
    return false;
}

/* Row of a name as written with its dashes, among those of the verb; CLI_OPT_COUNT if none. */
static cli_opt find_option(cli_verb v, const char *s, size_t n)
{
    for (int i = 0; i < CLI_OPT_COUNT; i++)
        if ((cli_rows[i].verbs & UINT64_C(1) << v) && row_has_name(&cli_rows[i], s, n))
            return (cli_opt)i;
    return CLI_OPT_COUNT;
}

/* ---- suggestions --------------------------------------------------------------------------- */

#define MAX_WORD 32

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

/* Edits (insert, delete, replace, swap neighbours) from a to b; words longer than MAX_WORD are far. */
static size_t distance(const char *a, size_t na, const char *b, size_t nb)
{
    size_t rows[3][MAX_WORD + 1];
    if (na > MAX_WORD || nb > MAX_WORD)
        return MAX_WORD;
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= nb; j++)
        last[j] = j;
    memcpy(before, last, sizeof rows[0]);
    for (size_t i = 1; i <= na; i++) {
        now[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
        size_t *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[nb];
}

typedef struct nearest {
    const char *word;
    size_t n, cost;
} nearest;

static void consider(nearest *best, const char *wanted, size_t n_wanted, const char *word, size_t n)
{
    size_t cost = distance(wanted, n_wanted, word, n);
    if (cost < best->cost)
        *best = (nearest){word, n, cost};
}

/* A word that shares too little is no help. */
static bool is_close(const nearest *best, size_t n_wanted)
{
    return best->word && best->cost <= 1 + n_wanted / 4;
}

static tern_code unknown_option(cli_verb v, const char *s, size_t n, tern_err *err)
{
    nearest best = {.cost = MAX_WORD};
    char shown[48];
    for (int i = 0; i < CLI_OPT_COUNT; i++) {
        const char *at = cli_rows[i].names, *name;
        size_t len;
        while ((cli_rows[i].verbs & UINT64_C(1) << v) && (name = cli_name_next(&at, &len)) != NULL)
            consider(&best, s, n, name, len);
    }
    tern_quote(shown, sizeof shown, s, n);
    if (is_close(&best, n))
        return tern_fail(err, TERN_E_USAGE,
                         "unknown option '%s'; did you mean %.*s? (tern help %s)", shown,
                         (int)best.n, best.word, verbs[v].name);
    return tern_fail(err, TERN_E_USAGE, "unknown option '%s' (tern help %s)", shown, verbs[v].name);
}

cli_verb cli_verb_find(const char *name, tern_err *err)
{
    nearest best = {.cost = MAX_WORD};
    char shown[48];
    for (int i = 0; i < CLI_VERB_COUNT; i++) {
        if (strcmp(verbs[i].name, name) == 0)
            return (cli_verb)i;
        consider(&best, name, strlen(name), verbs[i].name, strlen(verbs[i].name));
    }
    tern_quote(shown, sizeof shown, name, strlen(name));
    if (is_close(&best, strlen(name)))
        (void)tern_fail(err, TERN_E_USAGE, "unknown command '%s'; did you mean %.*s? (tern help)",
                        shown, (int)best.n, best.word);
    else
        (void)tern_fail(err, TERN_E_USAGE, "unknown command '%s' (tern help)", shown);
    return CLI_VERB_COUNT;
}

/* ---- values -------------------------------------------------------------------------------- */

static bool read_bool(const char *s, double *out)
{
    static const char *const words[] = {"0", "1", "false", "true", "no", "yes", "off", "on"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(s, words[i]) == 0) {
            *out = (double)(i % 2);
            return true;
        }
    return false;
}

static bool read_choice(const char *choices, const char *s, double *out)
{
    double index = 0;
    for (const char *at = choices; *at; index++) {
        size_t n = strcspn(at, "|");
        if (strlen(s) == n && memcmp(at, s, n) == 0) {
            *out = index;
            return true;
        }
        at += n + (at[n] != '\0');
    }
    return false;
}

static tern_code read_number(const cli_row *r, const char *where, const char *s, double *out,
                             tern_err *err)
{
    int64_t i;
    double x = 0;
    bool ok;
    if (r->kind == KIND_INT) {
        ok = tern_parse_i64(s, strlen(s), &i);
        x = ok ? (double)i : 0;
    } else {
        ok = tern_parse_f64(s, strlen(s), &x);
    }
    if (ok && x >= r->min && x <= r->max) {
        *out = x;
        return TERN_OK;
    }
    char shown[48];
    return tern_fail(err, TERN_E_USAGE, "%s '%s': expected %s from %.16g to %.16g", where,
                     tern_quote(shown, sizeof shown, s, strlen(s)),
                     r->kind == KIND_INT ? "a whole number" : "a number", r->min, r->max);
}

static tern_code append(cli_list *list, const char *where, const char *s, tern_err *err)
{
    if (list->n == CLI_MAX_LIST)
        return tern_fail(err, TERN_E_USAGE, "%s: given more than %d times", where, CLI_MAX_LIST);
    list->item[list->n++] = s;
    return TERN_OK;
}

static cli_list *list_of(cli_options *o, cli_opt id)
{
    switch (id) {
    case OPT_STOP:
        return &o->stop;
    case OPT_TENSOR_TYPE:
        return &o->tensor_type;
    case OPT_CHOICE:
        return &o->choice;
    case OPT_ALIAS:
        return &o->aliases;
    case OPT_API_KEY:
        return &o->keys;
    case OPT_CORS_ORIGIN:
        return &o->origins;
    case OPT_ALLOW_HOST:
        return &o->hosts;
    case OPT_LIMIT_SET:
        return &o->limits;
    case OPT_DECIDE_SERVED:
        return &o->calibrations;
    default:
        return &o->bias;
    }
}

/* where names the option or the variable in messages. */
static tern_code set_value(cli_options *o, cli_opt id, const char *where, const char *s,
                           cli_source source, tern_err *err)
{
    const cli_row *r = &cli_rows[id];
    cli_value v = {.text = s, .source = source};
    char shown[48];
    switch (r->kind) {
    case KIND_FLAG:
        if (!read_bool(s, &v.num))
            return tern_fail(err, TERN_E_USAGE, "%s '%s': expected 1 or 0", where,
                             tern_quote(shown, sizeof shown, s, strlen(s)));
        break;
    case KIND_CHOICE:
        if (!read_choice(r->argument, s, &v.num))
            return tern_fail(err, TERN_E_USAGE, "%s '%s': expected %s", where,
                             tern_quote(shown, sizeof shown, s, strlen(s)), r->argument);
        break;
    case KIND_INT:
    case KIND_REAL:
        TERN_TRY(read_number(r, where, s, &v.num, err));
        break;
    case KIND_LIST:
        TERN_TRY(append(list_of(o, id), where, s, err));
        break;
    case KIND_TEXT:
        break;
    }
    o->value[id] = v;
    return TERN_OK;
}

/* ---- the command line ---------------------------------------------------------------------- */

static tern_code positional(cli_options *o, const char *s, tern_err *err)
{
    uint64_t bit = UINT64_C(1) << o->verb;
    char shown[48];
    if ((NAMES & bit) && !o->topic) {
        o->topic = s;
        return TERN_OK;
    }
    if (WORDS & bit)
        return append(&o->words, verbs[o->verb].name, s, err);
    if (strcmp(s, "-") == 0 && (cli_rows[OPT_FILE].verbs & bit))
        return set_value(o, OPT_FILE, "-", s, CLI_ARG, err);
    if ((cli_rows[OPT_MODEL].verbs & bit) && o->value[OPT_MODEL].source != CLI_ARG)
        return set_value(o, OPT_MODEL, "model", s, CLI_ARG, err);
    tern_quote(shown, sizeof shown, s, strlen(s));
    if (cli_rows[OPT_MODEL].verbs & bit)
        return tern_fail(err, TERN_E_USAGE, "'%s': the model is given already%s", shown,
                         cli_rows[OPT_PROMPT].verbs & bit ? "; a prompt needs -p before it" : "");
    return tern_fail(err, TERN_E_USAGE, "unexpected argument '%s' (tern help %s)", shown,
                     verbs[o->verb].name);
}

/* One option with its value at argv[*i]; *i moves past what was used. */
static tern_code option(cli_options *o, int argc, char **argv, int *i, tern_err *err)
{
    const char *s = argv[(*i)++], *value = strchr(s, '=');
    size_t n = value ? (size_t)(value - s) : strlen(s);
    cli_opt id = find_option(o->verb, s, n);
    char where[48];
    if (id == CLI_OPT_COUNT)
        return unknown_option(o->verb, s, n, err);
    tern_quote(where, sizeof where, s, n);
    if (value)
        value++;
    else if (cli_rows[id].kind == KIND_FLAG)
        value = "1";
    else if (*i < argc)
        value = argv[(*i)++];
    else
        return tern_fail(err, TERN_E_USAGE, "%s needs %s (tern help %s)", where,
                         cli_rows[id].argument, verbs[o->verb].name);
    return set_value(o, id, where, value, CLI_ARG, err);
}

/* What the command line left open: the environment, then the default. */
static tern_code fill(cli_options *o, tern_err *err)
{
    for (int i = 0; i < CLI_OPT_COUNT; i++) {
        const cli_row *r = &cli_rows[i];
        char name[48];
        if (!(r->verbs & UINT64_C(1) << o->verb) || o->value[i].source == CLI_ARG)
            continue;
        cli_row_env(r, name, sizeof name);
        const char *s = getenv(name);
        if (s && *s && i != OPT_HELP)
            TERN_TRY(set_value(o, (cli_opt)i, name, s, CLI_ENV, err));
        else if (r->preset)
            TERN_TRY(set_value(o, (cli_opt)i, name, r->preset, CLI_DEFAULT, err));
    }
    return TERN_OK;
}

tern_code cli_options_parse(cli_options *o, const char *verb, int argc, char **argv, tern_err *err)
{
    bool only_arguments = false;
    *o = (cli_options){.verb = CLI_HELP};
    cli_verb v = cli_verb_find(verb, err);
    if (v == CLI_VERB_COUNT)
        return TERN_E_USAGE;
    o->verb = v;
    for (int i = 0; i < argc;) {
        const char *s = argv[i];
        if (only_arguments || s[0] != '-' || s[1] == '\0') {
            TERN_TRY(positional(o, s, err));
            i++;
        } else if (strcmp(s, "--") == 0) {
            only_arguments = true;
            i++;
        } else {
            TERN_TRY(option(o, argc, argv, &i, err));
        }
    }
    return fill(o, err);
}

bool cli_flag(const cli_options *o, cli_opt id)
{
    return o->value[id].num != 0;
}

int64_t cli_int(const cli_options *o, cli_opt id)
{
    return (int64_t)o->value[id].num;
}

double cli_real(const cli_options *o, cli_opt id)
{
    return o->value[id].num;
}

const char *cli_text(const cli_options *o, cli_opt id)
{
    return o->value[id].text;
}

bool cli_given(const cli_options *o, cli_opt id)
{
    return o->value[id].source >= CLI_ENV;
}

void cli_options_recommend(cli_options *o, const tern_gen_opts *g)
{
    const struct {
        cli_opt id;
        double v;
    } all[] = {{OPT_TEMP, tern_f32_decimal(g->temp)},
               {OPT_TOP_K, g->top_k > 0 ? g->top_k : 0},
               {OPT_TOP_P, tern_f32_decimal(g->top_p)},
               {OPT_MIN_P, tern_f32_decimal(g->min_p)},
               {OPT_REPEAT_PENALTY, tern_f32_decimal(g->repeat_penalty)},
               {OPT_REPEAT_LAST_N, g->repeat_last_n}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (o->value[all[i].id].source == CLI_DEFAULT)
            o->value[all[i].id].num = all[i].v;
}

/* ---- changes while running ----------------------------------------------------------------- */

tern_code cli_options_set(cli_options *o, const char *name, const char *text, tern_err *err)
{
    char dashed[40] = "--";
    size_t n = strlen(name);
    if (n > 0 && n < sizeof dashed - 3) {
        for (size_t i = 0; i <= n; i++)
            dashed[2 + i] = name[i] == '_' ? '-' : name[i];
        cli_opt id = find_option(o->verb, dashed, n + 2);
        if (id == CLI_OPT_COUNT) /* "n" for -n */
            id = find_option(o->verb, dashed + 1, n + 1);
        if (id < CLI_OPT_COUNT && cli_rows[id].group == GROUP_SAMPLING &&
            cli_rows[id].kind != KIND_LIST) {
            tern_code rc = set_value(o, id, name, text, CLI_ARG, err);
            if (rc == TERN_OK)
                o->value[id].text = NULL; /* the typed line does not last */
            return rc;
        }
    }
    return tern_fail(err, TERN_E_USAGE, "no setting '%.32s'; /set alone lists them", name);
}

/* Word number i of "a|b|c". */
static void put_choice(const char *list, int i, tern_str *out)
{
    for (; i > 0 && strchr(list, '|'); i--)
        list = strchr(list, '|') + 1;
    tern_str_put(out, list, strcspn(list, "|"));
}

void cli_options_list(const cli_options *o, tern_str *out)
{
    for (int i = 0; i < CLI_OPT_COUNT; i++) {
        const cli_row *r = &cli_rows[i];
        size_t n;
        if (r->group != GROUP_SAMPLING || r->kind == KIND_LIST ||
            !(r->verbs & UINT64_C(1) << o->verb))
            continue;
        const char *name = cli_row_name(r, &n);
        tern_str_printf(out, "  %-18.*s ", (int)n, name);
        if (r->kind == KIND_CHOICE)
            put_choice(r->argument, (int)o->value[i].num, out);
        else
            tern_str_printf(out, "%.10g", o->value[i].num);
        tern_str_putc(out, '\n');
    }
}
