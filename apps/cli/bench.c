/* Speed of reading a prompt and of generating, per thread count: the median of several runs after a
 * warm-up, with the fastest and slowest. */
#include "base/clock.h"
#include "base/error.h"
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_REPEAT 1000

typedef struct plan {
    size_t n_prompt, n_gen, n_depth;
    int n_repeat;
} plan;

typedef struct result {
    int32_t n_thread;
    const char *test; /* "prompt" or "generate" */
    size_t n_tok, n_depth;
    int n_sample;
    double sample[MAX_REPEAT]; /* tokens per second, sorted */
    uint64_t token_bytes;      /* read per generated token; 0 for a prompt */
} result;

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const result *r)
{
    int n = r->n_sample;
    return n % 2 ? r->sample[n / 2] : (r->sample[n / 2 - 1] + r->sample[n / 2]) / 2;
}

/* Any ids do; equal ones would be kinder to the caches than text is. */
static tern_code make_ids(size_t n, int32_t n_vocab, cli_ids *ids, tern_err *err)
{
    uint32_t x = 12345;
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        TERN_TRY(cli_ids_push(ids, (int32_t)((x >> 8) % (uint32_t)n_vocab), err));
    }
    return TERN_OK;
}

static tern_code time_prompt(tern_session *s, const int32_t *ids, size_t n, double *rate,
                             tern_err *err)
{
    uint64_t begin = tern_clock_ns();
    TERN_TRY(tern_session_eval(s, ids, n, err));
    *rate = (double)n / ((double)(tern_clock_ns() - begin) * 1e-9);
    return TERN_OK;
}

static tern_code time_generate(tern_session *s, const int32_t *ids, size_t n, double *rate,
                               tern_err *err)
{
    uint64_t begin = tern_clock_ns();
    for (size_t i = 0; i < n; i++)
        TERN_TRY(tern_session_eval(s, &ids[i], 1, err));
    *rate = (double)n / ((double)(tern_clock_ns() - begin) * 1e-9);
    return TERN_OK;
}

static tern_code measure(cli *c, tern_session *s, const plan *p, const cli_ids *ids, result *r,
                         tern_err *err)
{
    bool prompt = strcmp(r->test, "prompt") == 0;
    const int32_t *first = ids->v + p->n_depth;
    for (int i = -1; i < p->n_repeat; i++) { /* -1: the warm-up, not counted */
        double rate = 0.0;
        cli_progress(c, r->test, i + 1, p->n_repeat + 1, "");
        tern_session_rewind(s, p->n_depth);
        TERN_TRY(prompt ? time_prompt(s, first, r->n_tok, &rate, err)
                        : time_generate(s, first, r->n_tok, &rate, err));
        if (i >= 0)
            r->sample[r->n_sample++] = rate;
    }
    cli_progress_end(c);
    qsort(r->sample, (size_t)r->n_sample, sizeof r->sample[0], compare);
    return TERN_OK;
}

/* ---- output -------------------------------------------------------------------------------- */

static void print_head(const cli *c, const char *format, const tern_model_info *info)
{
    if (strcmp(format, "csv") == 0)
        (void)puts("model,test,threads,tokens,depth,median_tok_s,min_tok_s,max_tok_s,"
                   "bytes_per_token,gb_per_s");
    if (strcmp(format, "md") == 0)
        (void)printf("%s: %s, %.1f M parameters, %.2f MiB read per generated token\n\n"
                     "| test | threads | depth | tok/s (median) | min..max | GB/s |\n"
                     "|---|---:|---:|---:|---:|---:|\n",
                     cli_model_label(c), info->arch, (double)info->n_param * 1e-6,
                     (double)info->read_bytes / 1048576.0);
}

static void print_row(const cli *c, const char *format, const result *r)
{
    double mid = median(r), low = r->sample[0], high = r->sample[r->n_sample - 1];
    double rate = (double)r->token_bytes * mid * 1e-9;
    char gb[24] = "";
    if (r->token_bytes)
        (void)snprintf(gb, sizeof gb, "%.2f", rate);
    if (strcmp(format, "csv") == 0)
        (void)printf("\"%s\",%s,%d,%zu,%zu,%.3f,%.3f,%.3f,%llu,%s\n", cli_model_label(c), r->test,
                     r->n_thread, r->n_tok, r->n_depth, mid, low, high,
                     (unsigned long long)r->token_bytes, gb);
    else
        (void)printf("| %s %zu | %d | %zu | %.2f | %.2f..%.2f | %s |\n", r->test, r->n_tok,
                     r->n_thread, r->n_depth, mid, low, high, gb);
    (void)fflush(stdout);
}

static json_t *describe(const cli *c, const result *r)
{
    json_t *samples = json_array();
    for (int i = 0; i < r->n_sample; i++)
        (void)json_array_append_new(samples, json_real(r->sample[i]));
    json_t *o =
        json_pack("{s:s, s:s, s:i, s:I, s:I, s:f, s:f, s:f, s:o}", "model", cli_model_label(c),
                  "test", r->test, "threads", r->n_thread, "tokens", (json_int_t)r->n_tok, "depth",
                  (json_int_t)r->n_depth, "median_tok_s", median(r), "min_tok_s", r->sample[0],
                  "max_tok_s", r->sample[r->n_sample - 1], "samples_tok_s", samples);
    if (o && r->token_bytes) {
        (void)json_object_set_new(o, "bytes_per_token", json_integer((json_int_t)r->token_bytes));
        (void)json_object_set_new(o, "gb_per_s",
                                  json_real((double)r->token_bytes * median(r) * 1e-9));
    }
    return o;
}

/* ---- the sweep ----------------------------------------------------------------------------- */

static tern_code bench_test(cli *c, tern_session *s, const plan *p, const cli_ids *ids, result *r,
                            const char *format, json_t *list, tern_err *err)
{
    if (r->n_tok == 0)
        return TERN_OK;
    TERN_TRY(measure(c, s, p, ids, r, err));
    if (strcmp(format, "json") == 0)
        (void)json_array_append_new(list, describe(c, r));
    else
        print_row(c, format, r);
    return TERN_OK;
}

static tern_code bench_threads(cli *c, const plan *p, int32_t n_thread, bool first,
                               const char *format, json_t *list, tern_err *err)
{
    tern_model_info info = {.size = sizeof info};
    size_t n_max = p->n_depth + (p->n_prompt > p->n_gen ? p->n_prompt : p->n_gen);
    tern_model *m = NULL;
    tern_session *s = NULL;
    cli_ids ids = {0};
    tern_code rc;
    TERN_TRY_GOTO(cli_model_open(c, n_thread, &m, err));
    tern_model_info_get(m, &info);
    TERN_TRY_GOTO(make_ids(n_max, info.n_vocab, &ids, err));
    TERN_TRY_GOTO(cli_session_new(c, m, (int32_t)n_max, &s, err));
    if (p->n_depth)
        TERN_TRY_GOTO(tern_session_eval(s, ids.v, p->n_depth, err));
    if (first)
        print_head(c, format, &info);
    result prompt = {
        .n_thread = info.n_thread, .test = "prompt", .n_tok = p->n_prompt, .n_depth = p->n_depth};
    result generate = {.n_thread = info.n_thread,
                       .test = "generate",
                       .n_tok = p->n_gen,
                       .n_depth = p->n_depth,
                       .token_bytes = info.read_bytes};
    TERN_TRY_GOTO(bench_test(c, s, p, &ids, &prompt, format, list, err));
    TERN_TRY_GOTO(bench_test(c, s, p, &ids, &generate, format, list, err));
fail:
    cli_ids_done(&ids);
    tern_session_free(s);
    tern_model_close(m);
    return rc;
}

/* Figures of a busy machine are no figures. */
static void check_load(cli *c)
{
    double load = 0.0;
    long n_cpu = sysconf(_SC_NPROCESSORS_ONLN);
    if (getloadavg(&load, 1) == 1 && load > 0.5 * (double)n_cpu)
        cli_warn(c, "the machine is busy (load %.1f on %ld CPUs): these figures are too low", load,
                 n_cpu);
}

tern_code cli_bench(cli *c, tern_err *err)
{
    const cli_options *o = &c->opt;
    const char *format = c->json ? "json" : cli_text(o, OPT_FORMAT);
    const plan p = {.n_prompt = (size_t)cli_int(o, OPT_BENCH_PROMPT),
                    .n_gen = (size_t)cli_int(o, OPT_BENCH_GEN),
                    .n_depth = (size_t)cli_int(o, OPT_BENCH_DEPTH),
                    .n_repeat = (int)cli_int(o, OPT_BENCH_REPEAT)};
    cli_ids threads = {0};
    json_t *list = json_array();
    tern_code rc;
    if (p.n_prompt + p.n_gen == 0) {
        rc = tern_fail(err, TERN_E_USAGE, "-p 0 and -n 0 leave nothing to measure");
        goto fail;
    }
    TERN_TRY_GOTO(
        cli_ids_parse("--threads", cli_text(o, OPT_BENCH_THREADS), 0, 1024, &threads, err));
    check_load(c);
    for (size_t i = 0; i < threads.n; i++)
        TERN_TRY_GOTO(bench_threads(c, &p, threads.v[i], i == 0, format, list, err));
    if (strcmp(format, "json") == 0) {
        rc = cli_print_json(list, err);
        list = NULL;
    } else {
        rc = cli_flush(err);
    }
fail:
    cli_ids_done(&threads);
    json_decref(list);
    return rc;
}
