/* The command line, read against options.def. A value comes from the command line, else from the
 * environment, else from the table's default. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "base/str.h"
#include "tern.h"

typedef enum cli_verb {
#define VERB(id, name, arguments, function, help) CLI_##id,
#include "options.def"
    CLI_VERB_COUNT
} cli_verb;

typedef enum cli_opt {
#define OPT(id, ...) OPT_##id,
#include "options.def"
    CLI_OPT_COUNT
} cli_opt;

typedef enum cli_source { CLI_UNSET, CLI_DEFAULT, CLI_ENV, CLI_ARG } cli_source;

typedef struct cli_value {
    const char *text; /* borrowed from the arguments, the environment or the table */
    double num;       /* of a number; 0 or 1 of a flag; index of a choice */
    cli_source source;
} cli_value;

#define CLI_MAX_LIST 64

/* One repeatable option's arguments, in order. */
typedef struct cli_list {
    const char *item[CLI_MAX_LIST];
    size_t n;
} cli_list;

typedef struct cli_options {
    cli_verb verb;
    cli_value value[CLI_OPT_COUNT];
    cli_list stop, bias, tensor_type, choice; /* of the options of these names */
    cli_list aliases, keys, origins, hosts, limits, calibrations; /* the same of the server */
    cli_list words;    /* arguments of verbs that take several */
    const char *topic; /* of `tern help VERB` and `tern man VERB`; the task of `tern eval TASK` */
} cli_options;

typedef struct cli_verb_info {
    const char *name, *arguments, *help;
} cli_verb_info;

const cli_verb_info *cli_verb_get(cli_verb v);

/* argv: what follows the verb. Codes: TERN_E_USAGE. */
TERN_CHECK tern_code cli_options_parse(cli_options *o, const char *verb, int argc, char **argv,
                                       tern_err *err);

bool cli_flag(const cli_options *o, cli_opt id);
int64_t cli_int(const cli_options *o, cli_opt id);
double cli_real(const cli_options *o, cli_opt id);
/* The argument as written; NULL when unset. */
const char *cli_text(const cli_options *o, cli_opt id);
/* Whether the user gave it, on the command line or in the environment. */
bool cli_given(const cli_options *o, cli_opt id);

/* Sampling options that the user did not give become those of g, what the model's file recommends. */
void cli_options_recommend(cli_options *o, const tern_gen_opts *g);
/* Change a generation option of a running chat by name ("top_k" or "top-k"). Codes:
 * TERN_E_USAGE. */
TERN_CHECK tern_code cli_options_set(cli_options *o, const char *name, const char *text,
                                     tern_err *err);
/* Generation options with their values, one "name value" a line. */
void cli_options_list(const cli_options *o, tern_str *out);

/* Help texts from the table. */
void cli_help_all(tern_str *out);
void cli_help_verb(cli_verb v, tern_str *out);
/* The whole table as one JSON value; false when memory is exhausted. */
bool cli_help_json(tern_str *out);
/* The verb of this name, or CLI_VERB_COUNT with the message for the user. */
cli_verb cli_verb_find(const char *name, tern_err *err);

#endif
