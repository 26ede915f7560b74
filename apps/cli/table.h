/* Rows of options.def as data, shared by the parser and the help texts. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include "options.h"

typedef enum cli_kind {
    KIND_FLAG,
    KIND_INT,
    KIND_REAL,
    KIND_TEXT,
    KIND_LIST,
    KIND_CHOICE
} cli_kind;

typedef enum cli_group {
#define GROUP(id, title) GROUP_##id,
#include "options.def"
    CLI_GROUP_COUNT
} cli_group;

typedef struct cli_row {
    cli_group group;
    const char *names;
    cli_kind kind;
    const char *argument, *preset;
    double min, max;
    uint64_t verbs; /* bits */
    const char *help;
} cli_row;

const char *cli_group_title(cli_group g);

extern const cli_row cli_rows[CLI_OPT_COUNT];

/* The first name with two dashes, without them; n bytes at the result. */
const char *cli_row_name(const cli_row *r, size_t *n);
/* TERN_<NAME> of the row, cut at cap. */
void cli_row_env(const cli_row *r, char *buf, size_t cap);
/* The names one after the other: *at starts at r->names and moves; NULL at the end. */
const char *cli_name_next(const char **at, size_t *n);

#endif
