/* What the files of `tern decide` share. */
#ifndef CLI_DECIDE_H
#define CLI_DECIDE_H

#include "cli.h"
#include "decide/decide.h"

typedef struct decide_verb {
    cli *c;
    tern_model *m; /* owned */
    tern_model_info info;
    decide_host host;
    decide_task task;
    json_t *inputs;     /* owned; array of strings and objects */
    decide_item *items; /* owned; [n] */
    decide_result *r;   /* owned; [n] */
    size_t n, n_done;   /* n_done: items of earlier calls */
    decide_map map;     /* of --calibration */
    bool has_map, single, interrupted;
} decide_verb;

/* Read a JSON file. */
TERN_CHECK tern_code decide_read_json(const char *path, json_t **out, tern_err *err);
/* Fields of each item, printed as they come (decide_fields.c). */
TERN_CHECK tern_code decide_fields(decide_verb *d, tern_err *err);
/* Figures of labelled items, before and after a calibration; with --fit also the calibration, as a file
 * (decide_report.c). */
TERN_CHECK tern_code decide_report(decide_verb *d, tern_err *err);

#endif
