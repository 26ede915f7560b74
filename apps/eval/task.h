/* Tasks of `tern eval`: questions read from a file, the texts that a model is asked about, and what counts
 * as right. Texts and counting are those of lm-evaluation-harness (docs/EVALUATION.md). */
#ifndef EVAL_TASK_H
#define EVAL_TASK_H

#include "base/arena.h"
#include "base/str.h"

#define EVAL_MAX_CHOICE 64
#define EVAL_MAX_METRIC 2

/* How a task asks. */
typedef enum eval_kind {
    EVAL_CHOICE,  /* which continuation is the likeliest one */
    EVAL_WORD,    /* is the right continuation what the model would write, and how likely is it */
    EVAL_GENERATE /* what does the model write */
} eval_kind;

/* How values of items become one. */
typedef enum eval_mean {
    EVAL_SHARE,     /* of items, each 0 or 1 */
    EVAL_AVERAGE,   /* of values between 0 and 1 */
    EVAL_PERPLEXITY /* exp of the mean of -log p; values are log p */
} eval_mean;

typedef struct eval_metric {
    const char *name; /* NULL: there is none */
    eval_mean mean;
} eval_metric;

typedef struct eval_choice {
    const char *context; /* NULL: the item's */
    const char *text;    /* without the blank before it */
    unsigned lists;      /* bits of the lists it stands in (TruthfulQA has two); else 1 */
    bool right;
} eval_choice;

/* One question; texts are the set's. */
typedef struct eval_item {
    size_t line;         /* in the file, from 1 */
    const char *context; /* of all choices, or the prompt; NULL: each has its own */
    const char *answer;  /* EVAL_GENERATE: the reference */
    eval_choice *choice;
    size_t n_choice;
    size_t gold; /* the right one, of the first list */
} eval_item;

typedef struct eval_task eval_task;

/* The questions of a file. */
typedef struct eval_set {
    const eval_task *task;
    tern_arena arena;
    eval_item *item; /* owned */
    size_t n, cap;
} eval_set;

struct eval_task {
    const char *name, *also; /* also: further names, comma-separated */
    const char *title;
    eval_kind kind;
    eval_metric metric[EVAL_MAX_METRIC];
    int main_metric; /* what a demanded threshold is about */
    int shots, max_shots;
    const char *stop[4]; /* EVAL_GENERATE: what ends an answer; NULL behind the last */
    int n_predict;       /* and its greatest length */
};

/* NULL when no task is called so. */
const eval_task *eval_task_find(const char *name);
/* Task number i; NULL behind the last. */
const eval_task *eval_task_get(size_t i);

/* The questions in text[0..n), at most max of them (0: all). path is for messages. Codes: TERN_E_FORMAT with line and key,
 * TERN_E_NOMEM. */
TERN_CHECK tern_code eval_set_read(eval_set *set, const eval_task *task, const char *path,
                                   const char *text, size_t n, size_t max, tern_err *err);
void eval_set_done(eval_set *set);

/* Append the item as it stands among examples: with its answer, and what separates it from the next. */
void eval_put_example(const eval_set *set, const eval_item *item, tern_str *out);
/* Blanks (as Unicode has them) at the end of text[0..n), in bytes: they belong to the continuation. */
size_t eval_blank_tail(const char *text, size_t n);

/* ---- what counts (score.c) ------------------------------------------------------------------ */

/* What a model made of an item. */
typedef struct eval_result {
    bool done;
    double value[EVAL_MAX_METRIC];
    double log_prob[EVAL_MAX_CHOICE]; /* of each choice */
    bool greedy[EVAL_MAX_CHOICE];
    size_t choice, choice_norm; /* the likeliest one; the same per character */
    char *text;                 /* owned; EVAL_GENERATE: what it wrote */
} eval_result;

/* Fill value, choice and choice_norm from log_prob and greedy. */
void eval_judge(const eval_task *task, const eval_item *item, eval_result *r);
/* The same from text. Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code eval_judge_text(const eval_item *item, eval_result *r, tern_err *err);

/* Numbers in answers to GSM8K: the first one behind "#### ", the last one at all, "[invalid]" when there is none;
 * and an answer without what does not matter. */
void eval_extract_strict(const char *text, tern_str *out);
void eval_extract_flexible(const char *text, tern_str *out);
void eval_plain_answer(const char *text, tern_str *out);

typedef struct eval_figure {
    size_t n;
    double value;
    double
        std_error; /* as the harness has it: the sample's standard deviation over the root of n */
    double low, high; /* 95 %: Wilson's interval of a share, else 1.96 standard errors */
} eval_figure;

/* Over the results that are done. */
eval_figure eval_sum_up(const eval_task *task, int metric, const eval_result *r, size_t n);

#endif
