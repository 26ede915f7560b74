/* Between the files' shapes (read.c) and the tasks' words in them (prompt.c). */
#ifndef EVAL_READ_H
#define EVAL_READ_H

#include "eval/task.h"

#include <jansson.h>

typedef struct eval_reader eval_reader;

/* An item from one JSON object. */
typedef tern_code (*eval_read_fn)(eval_reader *r, const json_t *o, eval_item *item, tern_err *err);

struct eval_reader {
    eval_set *set;    /* borrowed */
    const char *path; /* for messages */
    size_t line, max;
    eval_read_fn read;
};

/* Columns of TruthfulQA's table. */
enum { EVAL_QUESTION, EVAL_BEST, EVAL_CORRECT, EVAL_INCORRECT, EVAL_N_COLUMN };
extern const char *const eval_columns[EVAL_N_COLUMN];

/* ---- prompt.c ------------------------------------------------------------------------------ */

eval_read_fn eval_object_reader(const char *task);
/* A text of HellaSwag without what its web pages left in it. */
TERN_CHECK tern_code eval_clean_hellaswag(eval_reader *r, const char *text, size_t n,
                                          const char **out, tern_err *err);
TERN_CHECK tern_code eval_read_columns(eval_reader *r, const tern_str *field, eval_item *item,
                                       tern_err *err);

/* ---- read.c -------------------------------------------------------------------------------- */

/* TERN_E_FORMAT, naming the line. */
tern_code eval_fail(const eval_reader *r, const char *what, tern_err *err);
/* Texts of the set's arena; the first form empties text. */
TERN_CHECK tern_code eval_keep(eval_reader *r, tern_str *text, const char **out, tern_err *err);
TERN_CHECK tern_code eval_keep_text(eval_reader *r, const char *text, const char **out,
                                    tern_err *err);
TERN_CHECK tern_code eval_make_choices(eval_reader *r, eval_item *item, size_t n, tern_err *err);

/* Values of o's keys; messages name line and key. An index is a number or digits, or false and true for two. */
TERN_CHECK tern_code eval_get_string(const eval_reader *r, const json_t *o, const char *key,
                                     const char **out, tern_err *err);
TERN_CHECK tern_code eval_get_strings(const eval_reader *r, const json_t *o, const char *key,
                                      size_t min, json_t **out, tern_err *err);
TERN_CHECK tern_code eval_get_index(const eval_reader *r, const json_t *o, const char *key,
                                    size_t first, size_t n, size_t *out, tern_err *err);
/* The item's choices are those of an array of strings. */
TERN_CHECK tern_code eval_set_choices(eval_reader *r, eval_item *item, const json_t *list,
                                      tern_err *err);

#endif
