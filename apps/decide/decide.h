/* Typed decisions: which of some labels fits a text, yes or no, a score, fields of a schema, with
 * probabilities. A task says what is asked and which answers there are; every answer's text is scored
 * exactly behind the prompt, so what comes out is a distribution and never free text (docs/DECIDE.md).
 * `tern decide` and POST /v1/decide make the same task from the same JSON object. */
#ifndef DECIDE_DECIDE_H
#define DECIDE_DECIDE_H

#include "base/ids.h"
#include "base/str.h"

#include <jansson.h>

enum {
    DECIDE_MAX_LABEL = 256, /* answers to one question */
    DECIDE_MAX_TEXT = 16,   /* texts of one label */
    DECIDE_MAX_ALL = 1024,  /* texts of all labels */
    DECIDE_MAX_EXAMPLE = 256,
    DECIDE_MAX_FREE = 16 /* texts without content */
};

typedef enum decide_kind { DECIDE_CHOICE, DECIDE_YES_NO, DECIDE_SCORE, DECIDE_EXTRACT } decide_kind;

/* What becomes of a label's log-probability before labels are compared. */
typedef enum decide_norm {
    DECIDE_SUM,    /* nothing */
    DECIDE_TOKENS, /* divided by its tokens, the end among them */
    DECIDE_BYTES   /* divided by its bytes */
} decide_norm;

typedef enum decide_calibrate {
    DECIDE_PLAIN,
    DECIDE_CONTEXTUAL, /* divided by what texts without content get (Zhao et al. 2021) */
    DECIDE_BATCH       /* divided by the mean over the texts of the call (Zhou et al. 2023) */
} decide_calibrate;

/* What stands behind a label. */
typedef enum decide_end {
    DECIDE_END_AUTO, /* of a conversation the end of turn that its template writes, else NONE */
    DECIDE_END_NONE, /* nothing: what the longer of two labels has is not counted for the shorter one */
    DECIDE_END_TEXT
} decide_end;

typedef struct decide_label {
    const char *name;        /* borrowed from the task's or item's JSON */
    const char *description; /* the same; NULL: none */
    const char *text[DECIDE_MAX_TEXT];
    size_t n_text; /* at least 1: the first one is what lists and examples show */
    double value;  /* of a score */
} decide_label;

typedef struct decide_labels {
    decide_label *v; /* owned */
    size_t n;
    json_t *made; /* owned: names that no JSON has; may be NULL */
} decide_labels;

typedef struct decide_task {
    json_t *source; /* owned; everything else borrows its strings */
    decide_kind kind;
    decide_labels labels;                              /* n = 0: every item brings its own */
    const char *instruction, *system, *cue, *end_text; /* NULL: none given */
    const json_t *examples;                            /* array or NULL */
    const json_t *content_free;                        /* array or NULL */
    const json_t *schema;                              /* of DECIDE_EXTRACT */
    int32_t max_tokens;                                /* the same: of an answer */
    decide_end end;
    bool chat; /* through the model's template */
    bool list; /* name the labels in the prompt */
    decide_norm norm;
    decide_calibrate calibrate;
    double min_p; /* less likely answers are withheld */
} decide_task;

/* Take the members of o that make a task; others are left alone if extra lists them (a NULL-terminated list),
 * and refused if not. has_template: what "chat" is by default. Keeps a reference to o. Codes: TERN_E_USAGE
 * (names the member), TERN_E_NOMEM. */
TERN_CHECK tern_code decide_task_read(decide_task *t, json_t *o, bool has_template,
                                      const char *const *extra, tern_err *err);
void decide_task_done(decide_task *t);

/* Labels from a JSON array of strings and objects; what names it in messages. */
TERN_CHECK tern_code decide_labels_read(decide_labels *l, const json_t *array, const char *what,
                                        tern_err *err);
void decide_labels_done(decide_labels *l);
/* Index of the label with this name or, if index, of this number; l->n when there is none. */
size_t decide_label_find(const decide_labels *l, const json_t *gold, bool index);

/* One question. */
typedef struct decide_item {
    const char *input;    /* borrowed */
    decide_labels labels; /* n = 0: the task's */
    size_t gold;          /* SIZE_MAX: unknown */
} decide_item;

/* An item from a string, or an object with "input" (or "text", "query"), and, if it has them, "labels"
 * (or "choices") and, with want_gold, "label" (or "gold", "answer"). Borrows from v. what: for messages. */
TERN_CHECK tern_code decide_item_read(decide_item *i, const decide_task *t, const json_t *v,
                                      bool want_gold, const char *what, tern_err *err);
void decide_item_done(decide_item *i);
static inline const decide_labels *decide_labels_of(const decide_task *t, const decide_item *i)
{
    return i->labels.n ? &i->labels : &t->labels;
}

/* ---- asking -------------------------------------------------------------------------------- */

/* What decisions are made with. */
typedef struct decide_host {
    tern_model *m; /* borrowed */
    size_t n_ctx;  /* most tokens of a prompt with an answer */
    tern_cache_type cache_k, cache_v;
    size_t first_item;  /* what messages count items from; 0 */
    tern_session *base; /* as tern_score_opts has it, for prompts that begin so; may be NULL */
    /* Between passes, with items done and in all; false: stop. May be NULL. */
    bool (*progress)(void *ctx, size_t done, size_t total);
    void *ctx;
} decide_host;

/* The prompt for an input. */
TERN_CHECK tern_code decide_prompt(const decide_host *h, const decide_task *t,
                                   const decide_labels *l, const char *input, tern_ids *out,
                                   tern_err *err);
/* What prompts of a task have in common, whatever the input: worth keeping between calls. */
TERN_CHECK tern_code decide_prefix(const decide_host *h, const decide_task *t, tern_ids *out,
                                   tern_err *err);

/* The prompt of one item with the answers to score. */
typedef struct decide_asked {
    tern_ids prompt;
    tern_ids *text; /* owned; [n_text]: prompt and answer, label after label */
    size_t
        *parent; /* owned; [n_text]: the longest text that this one begins with; SIZE_MAX: none */
    size_t n_text, n_given;
} decide_asked;

/* said: how the answer begins already; NULL: not yet. */
TERN_CHECK tern_code decide_ask(const decide_host *h, const decide_task *t, const decide_labels *l,
                                const char *input, const char *said, decide_asked *out,
                                tern_err *err);
void decide_asked_done(decide_asked *a);

/* ---- deciding ------------------------------------------------------------------------------ */

typedef struct decide_result {
    size_t n; /* labels */
    double
        *log_prob;   /* owned; [n]: natural logarithm of each label's probability behind the prompt,
                          over its texts summed, and divided as the task's norm says */
    double *p;       /* owned; [n]: probabilities, which sum to 1 */
    size_t best;     /* the first of the likeliest labels */
    size_t n_prompt; /* tokens */
    size_t n_cached; /* of which so many were evaluated for the base or the item before */
    size_t n_answer; /* tokens of all answers that were scored */
    bool done;
} decide_result;

typedef struct decide_usage {
    uint64_t n_prompt, n_cached, n_answer;
} decide_usage;

/* Turns log-probabilities s into p = softmax(s / temperature + bias). */
typedef struct decide_map {
    double temperature;
    double *bias; /* owned; [n]; NULL: zeros */
    size_t n;
} decide_map;

void decide_map_done(decide_map *m);
/* p [n] from s [n]; m NULL: plain. */
void decide_apply(const decide_map *m, const double *s, size_t n, double *p);

/* Decide items into r [n_item], which decide_results_done empties also after a failure. map: a calibration
 * from outside, or NULL; the task's own (contextual, batch) comes before it. With several items what they share
 * is evaluated once. Codes: TERN_E_USAGE, TERN_E_LIMIT (a prompt longer than the context),
 * TERN_E_UNSUPPORTED, TERN_E_CANCELLED (those that are done are valid, unless calibrated by batch),
 * TERN_E_NOMEM. Messages count items from 1. */
TERN_CHECK tern_code decide_run(const decide_host *h, const decide_task *t,
                                const decide_item *items, size_t n_item, const decide_map *map,
                                decide_result *r, tern_err *err);
/* Log-probabilities of labels behind what the answer has so far; r is emptied by decide_results_done. */
TERN_CHECK tern_code decide_weigh_said(const decide_host *h, const decide_task *t,
                                       const decide_labels *l, const char *input, const char *said,
                                       decide_result *r, tern_err *err);
/* The two halves of it: log-probabilities of some items, and, of all that one call is about, probabilities. */
TERN_CHECK tern_code decide_weigh(const decide_host *h, const decide_task *t,
                                  const decide_item *items, size_t n_item, decide_result *r,
                                  tern_err *err);
TERN_CHECK tern_code decide_conclude(const decide_task *t, size_t n_item, const decide_map *map,
                                     decide_result *r, tern_err *err);
void decide_results_done(decide_result *r, size_t n);
decide_usage decide_usage_of(const decide_result *r, size_t n);
/* {"label", "p", "probabilities", ...} as docs/DECIDE.md has it; NULL when memory is exhausted. */
json_t *decide_result_json(const decide_task *t, const decide_labels *l, const decide_result *r,
                           bool log_probs);
/* The value of an answer as JSON: a label's name, true or false, a number; null where it is withheld. */
json_t *decide_answer_json(const decide_task *t, const decide_labels *l, const decide_result *r);
bool decide_is_withheld(const decide_task *t, const decide_result *r);
/* Mean and standard deviation of a score. */
void decide_expect(const decide_labels *l, const decide_result *r, double *mean, double *deviation);

/* ---- extracting ---------------------------------------------------------------------------- */

/* A value without parts, of what was extracted. */
typedef struct decide_field {
    char *path; /* owned; a JSON pointer: "/name" */
    double p;   /* of the value behind all before it */
    json_t *
        others; /* owned; an object: how likely each value is that the schema lists; NULL: it lists none */
} decide_field;

typedef struct decide_extract {
    char *text;          /* owned: what was written */
    json_t *value;       /* owned; NULL: the answer did not end within the limit */
    decide_field *field; /* owned; [n], in the order of the text */
    size_t n, cap;
    double p; /* of the least likely field; 1 without any */
    size_t n_prompt, n_cached, n_answer;
} decide_extract;

/* The grammar of a task's schema: the caller's, tern_grammar_free. Codes: as of tern_grammar_new. */
TERN_CHECK tern_code decide_schema(const tern_model *m, const decide_task *t, tern_grammar **out,
                                   tern_err *err);
/* Write the likeliest object token by token, held to the schema, in session s, which may hold the beginning of
 * the prompt; then score the values that a field's schema lists. progress is called before each token,
 * and with its NO the code is TERN_E_CANCELLED. */
TERN_CHECK tern_code decide_extract_run(const decide_host *h, const decide_task *t, tern_grammar *g,
                                        tern_session *s, const char *input, decide_extract *out,
                                        tern_err *err);
void decide_extract_done(decide_extract *x);
json_t *decide_extract_json(const decide_task *t, const decide_extract *x);

/* ---- calibration --------------------------------------------------------------------------- */

/* Labelled log-probabilities. */
typedef struct decide_labelled {
    const double *s; /* [n] */
    size_t n, gold;
} decide_labelled;

/* How a fit came about. */
typedef struct decide_fit {
    decide_map map; /* of all examples */
    double ridge;   /* of the biases; infinity: they are 0 */
    int n_fold;
    double *p; /* owned: probabilities of example i, [n] at p + at[i], from fits without its fold */
    size_t *at;
} decide_fit;

/* Temperature and, if all examples have the same labels and bias is set, one bias a label: maximum
 * likelihood with a ridge, which cross-validation chooses. Deterministic. Codes: TERN_E_USAGE (too few
 * examples), TERN_E_NOMEM. */
TERN_CHECK tern_code decide_fit_make(const decide_labelled *x, size_t n, bool bias, decide_fit *out,
                                     tern_err *err);
void decide_fit_done(decide_fit *f);

/* A figure with an interval of 95 %. */
typedef struct decide_figure {
    double value, low, high;
} decide_figure;

enum { DECIDE_N_BIN = 15 };

typedef struct decide_figures {
    size_t n;
    decide_figure accuracy;        /* Wilson */
    decide_figure log_loss, brier; /* mean and 1.96 standard errors */
    decide_figure ece;             /* 15 equal bins of the answer's probability; bootstrap */
    struct {
        size_t n;
        double confidence, accuracy; /* sums */
    } bin[DECIDE_N_BIN];
} decide_figures;

/* p[i]: [n[i]] probabilities of which gold[i] is right. */
TERN_CHECK tern_code decide_figures_make(const double *const *p, const size_t *n,
                                         const size_t *gold, size_t n_item, decide_figures *out,
                                         tern_err *err);
json_t *decide_figures_json(const decide_figures *f);

/* A calibration as a file keeps it, and back: for these labels, in another order if need be. l->n 0: labels of
 * the items, of which a file has no biases. Codes: TERN_E_FORMAT, TERN_E_USAGE (made for other labels or
 * another norm), TERN_E_NOMEM. name: for messages. */
json_t *decide_map_json(const decide_task *t, const decide_map *m);
TERN_CHECK tern_code decide_map_read(const decide_task *t, const json_t *o, const char *name,
                                     decide_map *m, tern_err *err);

#endif
