/* Time to the first token of a long prompt: read anew, from memory, and from disk by the next program.
 *   bench_prefix MODEL FOLDER [TOKENS] */
#include "base/clock.h"
#include "base/num.h"
#include "tern.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct wait {
    pthread_mutex_t mu;
    pthread_cond_t wake;
    uint64_t begin, first;
    size_t n_cached;
    bool over;
} wait;

static void hear(void *ctx, const tern_job_event *ev)
{
    wait *w = ctx;
    pthread_mutex_lock(&w->mu);
    if (ev->kind == TERN_JOB_STARTED)
        w->n_cached = ev->n_done;
    if (ev->kind == TERN_JOB_TOKEN && !w->first)
        w->first = tern_clock_ns();
    w->over |= ev->kind == TERN_JOB_END;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->mu);
}

static void ask(tern_scheduler *s, const int32_t *prompt, size_t n, const char *what)
{
    wait w = {.mu = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};
    tern_job_opts o;
    tern_job *j;
    tern_err err;
    tern_job_opts_init(&o);
    o.gen.n_predict = 2;
    o.gen.temp = 0.0f;
    o.gen.ignore_eos = true;
    o.n_keep = n - 1;
    o.on_event = hear;
    o.ctx = &w;
    w.begin = tern_clock_ns();
    if (tern_scheduler_submit(s, prompt, n, &o, &j, &err) != TERN_OK) {
        (void)fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    pthread_mutex_lock(&w.mu);
    while (!w.over)
        pthread_cond_wait(&w.wake, &w.mu);
    pthread_mutex_unlock(&w.mu);
    tern_job_free(j);
    (void)printf("%-22s %5zu tokens cached, first token after %8.1f ms\n", what, w.n_cached,
                 (double)(w.first - w.begin) * 1e-6);
}

static tern_scheduler *start(tern_model *m, const char *folder)
{
    tern_scheduler_opts o;
    tern_scheduler *s;
    tern_err err;
    tern_scheduler_opts_init(&o);
    o.n_slot = 2;
    o.n_ctx = 2048;
    o.cache_dir = folder;
    if (tern_scheduler_new(m, &o, &s, &err) != TERN_OK) {
        (void)fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    return s;
}

int main(int argc, char **argv)
{
    static int32_t prompt[2000];
    uint64_t n = 1000;
    tern_model *m;
    tern_err err;
    if (argc < 3 || (argc > 3 && (!tern_parse_u64(argv[3], strlen(argv[3]), &n) || n > 2000)))
        return 2;
    if (tern_model_open(argv[1], NULL, &m, &err) != TERN_OK) {
        (void)fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    for (size_t i = 0; i < n; i++)
        prompt[i] = (int32_t)(100 + i * 37 % 1000);
    tern_scheduler *s = start(m, argv[2]);
    ask(s, prompt, n, "read anew");
    ask(s, prompt, n, "from memory");
    tern_scheduler_free(s);
    uint64_t begin = tern_clock_ns();
    s = start(m, argv[2]);
    (void)printf("%-22s %.1f ms\n", "opening again", (double)(tern_clock_ns() - begin) * 1e-6);
    ask(s, prompt, n, "from disk");
    tern_scheduler_free(s);
    tern_model_close(m);
    return 0;
}
