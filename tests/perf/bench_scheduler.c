/* A scheduler under load: what 8 answers at a time give together beside one alone, and what a short request
 * waits while long prompts are read beside the idle machine.
 *
 *   bench_scheduler [--threads N] [--rounds N] [--long N] [--slots N] MODEL.gguf
 *
 * Short requests have 24 tokens and answers of 24; they come one after the other, at odd moments of the long
 * prompts. Latencies are to the last token; medians and 95th percentiles of all rounds. Ids are
 * pseudo-random: nothing is shared. */
#include "tern.h"

#include "base/clock.h"
#include "base/num.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SHORT 24

static struct {
    int threads, rounds, prompt, slots;
} opt = {0, 20, 2000, 8};

typedef struct client {
    pthread_mutex_t mu;
    pthread_cond_t over;
    tern_job *job;
    bool ended;
    double begin, first, end; /* ms */
} client;

static tern_model *model;
static tern_scheduler *scheduler;
static int32_t n_vocab;
static uint32_t seed = 1;

static void must(tern_code rc, const tern_err *err)
{
    if (rc == TERN_OK)
        return;
    (void)fprintf(stderr, "%s\n", err->msg);
    exit(1);
}

static double now(void)
{
    return (double)tern_clock_ns() * 1e-6;
}

static void on_event(void *ctx, const tern_job_event *ev)
{
    client *c = ctx;
    pthread_mutex_lock(&c->mu);
    if (ev->kind == TERN_JOB_TOKEN && c->first <= 0.0)
        c->first = now();
    if (ev->kind == TERN_JOB_END) {
        c->end = now();
        c->ended = true;
        if (ev->code != TERN_OK && ev->code != TERN_E_CANCELLED)
            must(ev->code, ev->err);
        pthread_cond_signal(&c->over);
    }
    pthread_mutex_unlock(&c->mu);
}

static void begin(client *c, int n_prompt, int n_answer)
{
    tern_job_opts o;
    tern_err err;
    int32_t *ids = calloc((size_t)n_prompt, sizeof *ids);
    for (int i = 0; ids && i < n_prompt; i++) {
        seed = seed * 1664525u + 1013904223u;
        ids[i] = (int32_t)((seed >> 8) % (uint32_t)n_vocab);
    }
    tern_job_opts_init(&o);
    o.gen.n_predict = n_answer;
    o.gen.ignore_eos = true;
    o.gen.temp = 0.0f;
    o.no_prefix = true;
    o.on_event = on_event;
    o.ctx = c;
    *c = (client){.begin = now()};
    pthread_mutex_init(&c->mu, NULL);
    pthread_cond_init(&c->over, NULL);
    must(ids ? tern_scheduler_submit(scheduler, ids, (size_t)n_prompt, &o, &c->job, &err)
             : TERN_E_NOMEM,
         &err);
    free(ids);
}

static void await(client *c)
{
    pthread_mutex_lock(&c->mu);
    while (!c->ended)
        pthread_cond_wait(&c->over, &c->mu);
    pthread_mutex_unlock(&c->mu);
    tern_job_free(c->job);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

typedef struct spread {
    double median, p95;
} spread;

static spread spread_of(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, compare);
    return (spread){v[n / 2], v[(n * 95 + 99) / 100 - 1]};
}

static void nap(double ms)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)(ms * 1e6)}, NULL);
}

/* Short requests, while `load` long prompts are read all the time. */
static spread latency(int load)
{
    double *v = calloc((size_t)opt.rounds, sizeof *v);
    client big[8];
    spread s = {0};
    int n = 0;
    for (int i = 0; i < load; i++)
        begin(&big[i], opt.prompt, 1);
    for (; v && n < opt.rounds; n++) {
        client c;
        nap(7.0 * (n % 11));
        for (int i = 0; i < load; i++) {
            pthread_mutex_lock(&big[i].mu);
            bool ended = big[i].ended;
            pthread_mutex_unlock(&big[i].mu);
            if (ended) {
                await(&big[i]);
                begin(&big[i], opt.prompt, 1);
            }
        }
        begin(&c, SHORT, SHORT);
        await(&c);
        v[n] = c.end - c.begin;
    }
    for (int i = 0; i < load; i++) {
        tern_job_cancel(big[i].job);
        await(&big[i]);
    }
    if (v)
        s = spread_of(v, n);
    free(v);
    return s;
}

/* Tokens per second of n answers at a time. */
static double together(int n, int n_tok)
{
    client c[64];
    double from = 0.0, to = 0.0;
    for (int i = 0; i < n; i++)
        begin(&c[i], SHORT, n_tok);
    for (int i = 0; i < n; i++) {
        await(&c[i]);
        from = c[i].first > from ? c[i].first : from;
        to = c[i].end > to ? c[i].end : to;
    }
    return n * (n_tok - 1) / (to - from) * 1e3;
}

static int number(const char *text)
{
    uint64_t v = 0;
    if (!tern_parse_u64(text, strlen(text), &v) || v > 1 << 20) {
        (void)fprintf(stderr, "not a number: %s\n", text);
        exit(2);
    }
    return (int)v;
}

int main(int argc, char **argv)
{
    const char *path = NULL;
    tern_err err;
    tern_model_opts mo;
    tern_scheduler_opts so;
    tern_model_info info = {.size = sizeof info};
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (more && !strcmp(argv[i], "--threads"))
            opt.threads = number(argv[++i]);
        else if (more && !strcmp(argv[i], "--rounds"))
            opt.rounds = number(argv[++i]);
        else if (more && !strcmp(argv[i], "--long"))
            opt.prompt = number(argv[++i]);
        else if (more && !strcmp(argv[i], "--slots"))
            opt.slots = number(argv[++i]);
        else
            path = argv[i];
    }
    if (!path || opt.rounds < 1 || opt.prompt < 1 || opt.slots < 2) {
        (void)fprintf(stderr, "usage: bench_scheduler [--threads N] [--rounds N] [--long N] "
                              "[--slots N] MODEL.gguf\n");
        return 2;
    }
    tern_model_opts_init(&mo);
    mo.n_thread = opt.threads;
    must(tern_model_open(path, &mo, &model, &err), &err);
    tern_model_info_get(model, &info);
    n_vocab = info.n_vocab;
    tern_scheduler_opts_init(&so);
    so.n_slot = opt.slots;
    must(tern_scheduler_new(model, &so, &scheduler, &err), &err);
    (void)together(1, 16); /* costs become known */
    double one = together(1, 64), many = together(8, 64);
    printf("decode tok/s: 1 answer %.1f, 8 answers %.1f (%.2f x)\n", one, many, many / one);
    spread idle = latency(0);
    printf("short request, idle: median %.0f ms, p95 %.0f ms\n", idle.median, idle.p95);
    for (int load = 1; load <= 2; load++) {
        spread busy = latency(load);
        printf("beside %d prompts of %d tokens: median %.0f ms, p95 %.0f ms (%.2f x)\n", load,
               opt.prompt, busy.median, busy.p95, busy.p95 / idle.p95);
    }
    tern_scheduler_free(scheduler);
    tern_model_close(model);
    return 0;
}
