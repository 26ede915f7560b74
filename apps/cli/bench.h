/* What the parts of `tern bench` share: bench.c plans and sweeps, bench_run.c measures, bench_machine.c
 * describes the machine and its walls, bench_model.c makes synthetic models, bench_energy.c reads the
 * machine's energy counters, bench_profile.c asks where the time went, bench_baseline.c compares with an earlier run, bench_print.c writes the
 * rows. bench_server.c measures servers instead. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "base/os/energy.h"
#include "bench/synthetic.h"
#include "cli.h"

#define BENCH_MAX_REPEAT 1000
#define BENCH_MAX_STREAM 256

typedef struct bench_plan {
    size_t n_prompt, n_gen;
    tern_ids threads, depths;
    int n_stream, n_repeat;
    bool walls; /* measure them between the runs */
    tern_spec_mode spec;
    const char *format;
} bench_plan;

/* Samples of one figure. */
typedef struct bench_samples {
    int n;
    double v[BENCH_MAX_REPEAT];
} bench_samples;

void bench_sample_add(bench_samples *s, double v);
/* 0 when there are none. Sorts. */
double bench_median(bench_samples *s);

/* ---- bench_machine.c ----------------------------------------------------------------------- */

/* The two walls, measured with as many threads as the model has. */
typedef struct bench_walls {
    bench_samples read_bytes, macs; /* a second */
} bench_walls;

TERN_CHECK tern_code bench_walls_measure(bench_walls *w, int32_t n_thread, tern_err *err);
/* CPU, kernels, memory, system, load, governor. */
TERN_CHECK tern_code bench_machine_describe(json_t **out, tern_err *err);
/* Peak of resident memory since the last reset, in bytes; 0 when the system does not say. */
uint64_t bench_peak_rss(void);
void bench_peak_rss_reset(void);

/* ---- bench_model.c ------------------------------------------------------------------------- */

/* The model that is measured: a file, the built-in one, or a synthetic one. */
typedef struct bench_model {
    bool synthetic;
    bench_synthetic what;
    char label[48];
    char path[32]; /* of a synthetic one without a name: /proc/self/fd/N */
    int fd;
} bench_model;

/* Make the synthetic model that the options ask for and let the options name it. */
TERN_CHECK tern_code bench_model_init(bench_model *b, cli *c, tern_err *err);
void bench_model_done(bench_model *b);
/* ---- bench_run.c --------------------------------------------------------------------------- */

typedef enum bench_kind { BENCH_PROMPT, BENCH_GENERATE } bench_kind;

/* What a row's repetitions took. */
typedef struct bench_energy {
    double seconds, tokens, joules, idle_watts;
} bench_energy;

#define BENCH_MAX_PART 32
/* Parts of the steps of all runs. */
typedef struct bench_profile {
    tern_profile_part part[BENCH_MAX_PART];
    size_t n; /* 0: not asked for */
    double n_tok;
} bench_profile;

typedef struct bench_row {
    bench_kind kind;
    int32_t n_thread;
    size_t n_tok, n_depth;
    int n_stream;
    bench_samples rate;  /* tokens a second, of all streams together */
    double weight_bytes; /* read per generated token, as the model counted in the last run */
    tern_spec_mode spec; /* of generating */
    double n_pass;       /* per generated token, in the last run */
    bench_energy energy; /* zeros: not measured */
    bench_profile profile;
} bench_row;

/* Sessions of one model, with the ids they are fed. */
typedef struct bench_rig {
    cli *c;
    tern_model *m;
    tern_model_info info;
    tern_session *s[BENCH_MAX_STREAM];
    int n_stream;
    tern_ids ids; /* owned; as many as the context takes */
    bool profile;
} bench_rig;

TERN_CHECK tern_code bench_rig_init(bench_rig *g, cli *c, int32_t n_thread, int n_stream,
                                    size_t n_ctx, tern_err *err);
void bench_rig_done(bench_rig *g);
/* Bring all sessions to this many tokens. */
TERN_CHECK tern_code bench_rig_depth(bench_rig *g, size_t n_depth, tern_err *err);
/* Tokens of a generation that are not timed: its first, which reads the prompt's last token again, and
 * with guesses as many as are timed, so that there is text to guess from. */
size_t bench_run_up(const bench_row *row);
/* Once, from row->n_depth tokens on. */
TERN_CHECK tern_code bench_rig_time(bench_rig *g, bench_row *row, double *rate, tern_err *err);
/* For the rows: shape, zeros after squared ReLU, how far the best logit stands above the mean, in
 * standard deviations. NULL when the model is not synthetic. */
TERN_CHECK tern_code bench_model_describe(const bench_model *b, bench_rig *g, json_t **out,
                                          tern_err *err);

/* ---- bench_profile.c ----------------------------------------------------------------------- */

/* Around a run; they do nothing unless a profile was asked for. */
void bench_profile_begin(const bench_rig *g);
void bench_profile_end(const bench_rig *g, bench_row *row);
/* A table, and a list of parts; nothing and NULL without a profile. wall_bytes: read bandwidth, bytes a
 * second; 0: not measured. */
void bench_profile_text(const bench_row *row, double wall_bytes, tern_str *out);
json_t *bench_profile_json(const bench_row *row);

/* ---- bench_energy.c, bench_arith.c --------------------------------------------------------- */

#define BENCH_NOT_MEASURABLE "energy: not measurable on this machine"

typedef struct bench_meter {
    tern_energy *e; /* owned; NULL: not wanted or not measurable */
    bool wanted;
    char reason[256]; /* why not */
    double watts;     /* to be assumed; 0: none */
    double seconds;   /* of idling, and of each row's runs at least */
} bench_meter;

void bench_meter_init(bench_meter *m, const cli *c);
void bench_meter_done(bench_meter *m);
/* Fill rows[i].energy; does nothing without counters. */
TERN_CHECK tern_code bench_meter_rows(bench_meter *m, bench_rig *g, bench_row *rows, size_t n,
                                      tern_err *err);
/* What is known about a row's energy at this many tokens a second; NULL: nothing was asked. */
json_t *bench_energy_json(const bench_meter *m, const bench_row *row, double rate);
/* The same as lines. */
void bench_energy_text(const bench_meter *m, const bench_row *row, double rate, tern_str *out);
/* `tern bench --arith-energy` */
TERN_CHECK tern_code bench_arith(cli *c, tern_err *err);

/* ---- bench_server.c ------------------------------------------------------------------------ */

/* `tern bench --server` */
TERN_CHECK tern_code bench_server(cli *c, tern_err *err);

/* ---- bench_baseline.c ---------------------------------------------------------------------- */

typedef struct bench_baseline {
    const char *path; /* NULL: nothing is compared */
    json_t *root;     /* owned */
    json_t *rows;     /* in root: this machine's */
    int n_new, n_compared, n_slow;
    double worst; /* least ratio of what is to what is expected */
} bench_baseline;

/* Codes: TERN_E_FORMAT, TERN_E_IO. */
TERN_CHECK tern_code bench_baseline_init(bench_baseline *b, const char *path, const json_t *machine,
                                         tern_err *err);
void bench_baseline_done(bench_baseline *b);
/* Compare or record; a slower row is told as a warning. */
void bench_baseline_check(bench_baseline *b, cli *c, const bench_row *r, const bench_walls *w);
/* Save what is new. TERN_E_THRESHOLD when rows were slower, TERN_E_IO. */
TERN_CHECK tern_code bench_baseline_end(bench_baseline *b, cli *c, tern_err *err);

/* ---- bench_print.c ------------------------------------------------------------------------- */

/* What every row of one table tells. */
typedef struct bench_table {
    cli *c;
    const bench_plan *p;
    bench_meter meter;
    bench_baseline baseline;
    tern_model_info info;
    json_t *machine, *synthetic; /* owned; synthetic NULL: it is none */
    json_t *list;                /* owned; rows of JSON */
    uint64_t peak_rss;           /* bytes, of the current thread count; 0: not known */
    tern_str foot;               /* lines below the table */
    bool headed;
} bench_table;

/* The row, as the format asks. */
TERN_CHECK tern_code bench_print_row(bench_table *t, bench_row *r, bench_walls *w, tern_err *err);
/* Note what is to stand below the table about this thread count. */
void bench_add_foot(bench_table *t, int32_t n_thread, bench_walls *w);
TERN_CHECK tern_code bench_print_end(bench_table *t, tern_err *err);

#endif
