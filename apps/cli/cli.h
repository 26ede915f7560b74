/* What the verbs share: options and terminal, opening models and sessions, input, answers. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/ids.h"
#include "base/str.h"
#include "builtin.h"
#include "options.h"
#include "store/store.h"

#include <jansson.h>
#include <stdio.h>

typedef struct cli {
    cli_options opt;
    bool json, quiet, verbose;
    bool answered;           /* the JSON value is printed: a failure is not another */
    bool calibrate;          /* models are opened with a new calibration */
    bool err_tty, err_color; /* of standard error */
    const char *label;       /* of the model, where its file's name would say nothing; else NULL */
    const char *progress_what;
    uint64_t progress_ns; /* when progress was last shown */
    bool progress_open;   /* an unfinished line stands on the terminal */
} cli;

/* The verbs. */
#define VERB(id, name, arguments, function, help) tern_code function(cli *c, tern_err *err);
#include "options.def"

/* ---- common.c: terminal and models --------------------------------------------------------- */

void cli_init(cli *c);
/* One line on standard error, "tern: warning: ..."; nothing when quiet. */
void cli_warn(cli *c, const char *fmt, ...) TERN_PRINTF(2, 3);
/* One dim line on standard error. */
void cli_dim(const cli *c, const char *line);
/* done of total, on a terminal as a line that is overwritten, else a line in 5 s at most. total 0:
 * remove what stands there. what: "loading". */
void cli_progress(cli *c, const char *what, double done, double total, const char *more);
void cli_progress_end(cli *c);
/* Print the JSON value on standard output and release it; NULL counts as memory exhausted. */
TERN_CHECK tern_code cli_print_json(json_t *value, tern_err *err);
/* Print text on standard output, with c->json as an object that has it under key, and release it. c may be
 * NULL: never as JSON. */
TERN_CHECK tern_code cli_print_text(const cli *c, const char *key, tern_str *text, tern_err *err);
/* Flush standard output; a full disk is an error, not silence. */
TERN_CHECK tern_code cli_flush(tern_err *err);

/* The model of the options, or the built-in one. n_thread 0: all. */
TERN_CHECK tern_code cli_model_open(cli *c, int32_t n_thread, tern_model **out, tern_err *err);
/* What it would take with sessions of n_ctx tokens (0: the model's), were --low-memory so. */
TERN_CHECK tern_code cli_model_plan(cli *c, bool low_memory, int32_t n_ctx, int32_t n_session,
                                    tern_plan *out, tern_err *err);
/* The table of one calibration (tune.c). */
void cli_calibration_print(const json_t *calibration);
/* What --imatrix had nothing of (imatrix.c). */
struct imatrix;
void cli_warn_unweighted(cli *c, const struct imatrix *m);
/* Where calibrations are kept, the folder made; NULL: no place for them. tern_free it. */
char *cli_cache_dir(const cli *c);
/* c->label, "tern-stories (built in)" or the file's name without folders. */
const char *cli_model_label(const cli *c);
/* The model that the command line itself names, not TERN_MODEL, which is meant for commands that need one; NULL: none. */
const char *cli_model_asked(const cli *c);
/* The built-in model that the options mean; NULL: a file or a model of the store, or this build has none. */
const cli_builtin *cli_model_builtin(const cli *c);
/* n_ctx 0: the model's; warns when it passes what the model was trained with. */
TERN_CHECK tern_code cli_session_new(cli *c, tern_model *m, int32_t n_ctx, tern_session **out,
                                     tern_err *err);

/* ---- doctor.c, report.c ---------------------------------------------------------------------- */

/* The commit this was built from, with "-dirty" when files differed; "unknown" without a repository. */
extern const char cli_commit[];
/* What this machine and build can do. A new reference. */
TERN_CHECK tern_code cli_doctor_facts(cli *c, json_t **out, tern_err *err);
/* All that a report of a problem needs and nothing private; with a model its description too. */
TERN_CHECK tern_code cli_bug_report(cli *c, tern_err *err);

/* ---- resolve.c: names of models ------------------------------------------------------------- */

TERN_CHECK tern_code cli_store_open(const cli *c, store *out, tern_err *err);
/* The path that text means, of -m or another argument: itself when there is such a file, else that of
 * a model in the store. entry, if not NULL, is then what the store knows of it (the caller's, to be emptied by
 * store_entry_done); its folder is NULL otherwise. Codes: TERN_E_NOT_FOUND, TERN_E_USAGE. */
TERN_CHECK tern_code cli_model_path(const cli *c, const char *text, tern_str *path,
                                    store_entry *entry, tern_err *err);

/* ---- input.c: text and ids from the user --------------------------------------------------- */

#define CLI_MAX_INPUT ((size_t)1 << 30)

/* All of a file, or of standard input for "-". Codes: TERN_E_NOT_FOUND, TERN_E_IO, TERN_E_LIMIT,
 * TERN_E_NOMEM. */
TERN_CHECK tern_code cli_read_file(const char *path, tern_str *out, tern_err *err);
/* The prompt from -p, -f or a standard input that is no terminal. *name says where it came from,
 * for messages. TERN_E_USAGE when there is none. */
TERN_CHECK tern_code cli_read_prompt(const cli *c, tern_str *out, const char **name, tern_err *err);
/* TERN_E_USAGE unless text is UTF-8. */
TERN_CHECK tern_code cli_check_utf8(const char *name, const char *text, size_t n, tern_err *err);

/* "1,2 3": digits with commas or blanks between, each from min to max. */
TERN_CHECK tern_code cli_ids_parse(const char *what, const char *list, int32_t min, int32_t max,
                                   tern_ids *out, tern_err *err);
/* All ids of the file that -f names, for a verb that measures over a text. */
TERN_CHECK tern_code cli_file_ids(cli *c, const tern_model *m, const char *verb, tern_ids *ids,
                                  tern_err *err);

/* ---- prompt.c: conversations to ids -------------------------------------------------------- */

TERN_CHECK tern_code cli_chat_ids(const tern_model *m, const json_t *messages, tern_ids *out,
                                  tern_err *err);

/* ---- constraint.c: what answers may be ------------------------------------------------------ */

/* The grammar of the options; NULL: there is none. tern_grammar_free it. */
TERN_CHECK tern_code cli_grammar_new(const cli *c, const tern_model *m, tern_grammar **out,
                                     tern_err *err);

/* ---- answer.c: one answer ------------------------------------------------------------------ */

typedef struct cli_answer {
    tern_str text;
    tern_finish finish;
    tern_request_stats stats;
    uint64_t seed;
} cli_answer;

void cli_answer_init(cli_answer *a);
void cli_answer_done(cli_answer *a);
/* The seed of the options, a random one for -1; turn is added so that repeated answers differ. */
uint64_t cli_seed(const cli *c, uint64_t turn);
/* Answer ids as the options say; stream to standard output when show. a->seed is the caller's.
 * An interrupt ends the answer with TERN_FINISH_CANCELLED and TERN_OK. */
TERN_CHECK tern_code cli_answer_run(cli *c, const tern_model *m, tern_session *s,
                                    const tern_ids *ids, bool show, cli_answer *a, tern_err *err);
/* Tokens per second after the first token; 0 when there were fewer than two. */
double cli_answer_speed(const tern_request_stats *st);
void cli_answer_print_stats(const cli *c, const tern_session *s, const cli_answer *a);
json_t *cli_answer_json(const cli *c, const cli_answer *a);

/* ---- interrupt.c --------------------------------------------------------------------------- */

/* Catch Ctrl-C from now on. */
void cli_interrupt_init(void);
/* While a session works, Ctrl-C cancels it (and a third one ends the program); NULL: no more. */
void cli_interrupt_target(tern_session *s);
/* Whether Ctrl-C came since the last call of take. */
bool cli_interrupt_take(void);
bool cli_interrupt_pending(void);

/* -log softmax(logits)[id], summed in double precision. */
double cli_surprise(const float *logits, int32_t n_vocab, int32_t id);

#endif
