/* What the files of `tern eval` share. */
#ifndef CLI_EVAL_H
#define CLI_EVAL_H

#include "cli.h"
#include "eval/task.h"

typedef struct eval_run {
    cli *c;
    tern_model *m; /* owned */
    const eval_task *task;
    eval_set set, shot_set; /* shot_set: empty when the examples are of the same file */
    size_t n_shot;
    size_t first;        /* items before it are examples */
    tern_str preamble;   /* the examples' text */
    eval_result *result; /* owned; [set.n] */
    size_t n_ctx;
    size_t n_cut;   /* texts that were too long and lost their beginnings */
    int32_t prefix; /* the token before a text that begins with what is asked; -1: none */
    bool interrupted;
} eval_run;

/* Ids of the preamble and text, without the beginning of what is longer than max. */
TERN_CHECK tern_code eval_prompt_ids(eval_run *e, const char *text, size_t max, tern_ids *ids,
                                     tern_err *err);
/* Fill the results of tasks where a model writes (eval_generate.c). An interrupt ends it with TERN_OK and
 * e->interrupted. */
TERN_CHECK tern_code eval_generate(eval_run *e, tern_err *err);
/* What came of it (eval_report.c). */
TERN_CHECK tern_code eval_report(const eval_run *e, tern_err *err);
TERN_CHECK tern_code eval_write_items(const eval_run *e, const char *path, tern_err *err);

#endif
