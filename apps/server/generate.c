#include "server/generate.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/num.h"
#include "base/str.h"
#include "server/compose.h"
#include "server/split.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define MAX_PROMPTS 256
/* Jobs of one request that wait or run at a time, so that a long list of prompts leaves room. */
#define MAX_JOBS 4

/* A token that no event has told of yet. */
typedef struct pending {
    int32_t id;
    float logprob;
    size_t n_top;
    tern_logprob top[TERN_MAX_TOP];
} pending;

/* One answer as it comes. Touched by the thread that tells events. */
typedef struct answer {
    struct generation *g; /* borrowed */
    int32_t index;
    splitter split;
    pending *pending; /* owned */
    size_t n_pending, cap_pending;
    generate_usage live; /* so far */
    uint64_t first_ns;   /* of the first token */
    int32_t stop;
} answer;

typedef struct prompt_job {
    composed prompt;
    struct generation *g; /* borrowed */
    int32_t index;
    size_t n_cached;
    uint64_t start_ns; /* it got a slot */
    tern_job *job;     /* owned; guarded by g->mu */
} prompt_job;

typedef struct generation {
    exchange *x;      /* a reference */
    const serving *s; /* borrowed from x */
    const generate_words *w;
    void (*on_event)(void *ctx, const generate_event *ev);
    void *ctx;
    tern_job_opts opts; /* what all jobs have in common; its lists are owned */
    constraint limit;
    prompt_job *jobs; /* owned */
    answer *answers;  /* owned; [n_job * n_answer] */
    size_t n_job;
    int32_t n_answer;
    bool progress, echo, logprobs;
    double ping_s;

    pthread_mutex_t tell; /* held while an event is told */
    uint64_t told_ns;     /* guarded by tell, and so are these */
    generate_usage usage;
    bool began, held;

    pthread_mutex_t mu;          /* never held over a callback */
    size_t n_submitted, n_ended; /* guarded by mu, and so are these */
    bool started, queued,
        stopped; /* generate_start has returned; on the keeper's list; no more jobs */
    fault fault;

    struct generation *next_live, *prev_live, *next_work; /* guarded by the keeper's mu */
} generation;

/* Looks after generations: ends them, submits what waited, and pings. */
typedef struct keeper {
    pthread_t thread;
    pthread_mutex_t mu;
    pthread_cond_t wake;
    generation *live, *work; /* guarded by mu; work: ended, or wants another job submitted */
    bool stop;               /* guarded by mu */
    grammar_cache *grammars; /* owned */
} keeper;

/* ---- events ---------------------------------------------------------------------------------------- */

/* g->tell is held. */
static void tell(generation *g, const generate_event *ev)
{
    g->told_ns = tern_clock_ns();
    g->on_event(g->ctx, ev);
}

#define TOKENS_AT_ONCE 32

/* Tell with the tokens that led here; many of them in several events, of which the first has the text. */
static void tell_text(answer *a, const generate_event *what)
{
    generate_event ev = *what;
    size_t done = 0;
    do {
        generate_token tokens[TOKENS_AT_ONCE];
        size_t n = a->n_pending - done < TOKENS_AT_ONCE ? a->n_pending - done : TOKENS_AT_ONCE;
        for (size_t i = 0; i < n; i++) {
            const pending *p = &a->pending[done + i];
            tokens[i] = (generate_token){
                .id = p->id, .logprob = p->logprob, .top = p->top, .n_top = p->n_top};
            tokens[i].text = tern_model_token_bytes(a->g->w->m, p->id, &tokens[i].n_text);
        }
        ev.tokens = tokens;
        ev.n_token = n;
        tell(a->g, &ev);
        done += n;
        ev.text = "";
        ev.n_text = 0;
    } while (done < a->n_pending);
    a->n_pending = 0;
}

/* What the splitter found. */
static void on_split(void *ctx, generate_event_kind kind, const char *text, size_t n)
{
    answer *a = ctx;
    generate_event ev = {
        .kind = kind, .answer = a->index, .text = text, .n_text = n, .stop = -1, .usage = &a->live};
    char id[40], name[272];
    if (kind == GENERATE_CALL) {
        static const char letters[] =
            "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        uint8_t random[24] = {0};
        size_t n_letter = a->g->w->ids ? 9 : sizeof random, at = 0;
        (void)!getrandom(random, sizeof random, 0);
        if (!a->g->w->ids)
            at = (size_t)snprintf(id, sizeof id, "call_");
        for (size_t i = 0; i < n_letter; i++)
            id[at++] = letters[random[i] % (sizeof letters - 1)];
        id[at] = '\0';
        snprintf(name, sizeof name, "%.*s", (int)n, text);
        ev.text = "";
        ev.n_text = 0;
        ev.id = id;
        ev.name = name;
        ev.call = (int32_t)a->split.n_call;
    } else if (kind == GENERATE_ARGUMENTS) {
        ev.call = (int32_t)a->split.n_call - 1;
    }
    tell_text(a, &ev);
}

static void keep_token(answer *a, const tern_event *t)
{
    if (a->n_pending == a->cap_pending) {
        size_t cap = a->cap_pending ? 2 * a->cap_pending : 8;
        pending *v = tern_realloc(a->pending, a->cap_pending * sizeof *v, cap * sizeof *v);
        if (!v)
            return; /* its probability goes untold */
        a->pending = v;
        a->cap_pending = cap;
    }
    pending *p = &a->pending[a->n_pending++];
    *p = (pending){.id = t->id, .logprob = t->logprob};
    p->n_top = t->n_top < TERN_MAX_TOP ? t->n_top : TERN_MAX_TOP;
    for (size_t i = 0; i < p->n_top; i++)
        p->top[i] = t->top[i];
}

static void on_started(generation *g, prompt_job *j, const tern_job_event *ev)
{
    if (ev->kind == TERN_JOB_STARTED) {
        j->n_cached = ev->n_done;
        j->start_ns = tern_clock_ns();
    }
    if (g->began && !g->progress && j->index == 0)
        return;
    if (j->index == 0 || g->progress)
        tell(g, &(generate_event){.kind = GENERATE_PROMPT,
                                  .answer = j->index * g->n_answer,
                                  .n_done = ev->n_done,
                                  .n_prompt = ev->n_prompt,
                                  .n_cached = j->n_cached,
                                  .stop = -1});
    g->began = true;
}

static void on_echo(generation *g, prompt_job *j, const tern_event *t)
{
    generate_token token = {.id = t->id, .logprob = t->logprob, .top = t->top, .n_top = t->n_top};
    token.text = tern_model_token_bytes(g->w->m, t->id, &token.n_text);
    for (int32_t i = 0; i < g->n_answer; i++)
        tell(g, &(generate_event){.kind = GENERATE_TEXT,
                                  .answer = j->index * g->n_answer + i,
                                  .text = "",
                                  .from_prompt = true,
                                  .tokens = &token,
                                  .n_token = 1,
                                  .stop = -1});
}

static void count_token(generation *g, answer *a)
{
    const prompt_job *j = &g->jobs[a->index / g->n_answer];
    uint64_t now = tern_clock_ns();
    exchange_token(g->x);
    if (!a->first_ns) {
        a->first_ns = now;
        a->live.n_prompt = j->prompt.n;
        a->live.n_cached = j->n_cached;
        a->live.prompt_s = (double)(now - j->start_ns) * 1e-9;
    }
    a->live.generate_s = (double)(now - a->first_ns) * 1e-9;
    a->live.n_generated++;
    a->live.n_reasoning += a->split.state == SPLIT_THINK;
}

static void on_token(generation *g, answer *a, const tern_event *t)
{
    if (t->id >= 0)
        count_token(g, a);
    if (t->id >= 0 && g->logprobs && t->finish != TERN_FINISH_EOG)
        keep_token(a, t);
    if (t->finish == TERN_FINISH_STOP)
        a->stop = t->stop;
    split_feed(&a->split, t->text, t->n_text);
}

static void add_usage(generate_usage *all, const generate_usage *u)
{
    all->n_generated += u->n_generated;
    all->n_reasoning += u->n_reasoning;
    all->n_drafted += u->n_drafted;
    all->n_accepted += u->n_accepted;
    all->joules += u->joules;
    all->prompt_s = fmax(all->prompt_s, u->prompt_s);
    all->generate_s = fmax(all->generate_s, u->generate_s);
}

static void on_answer(generation *g, prompt_job *j, answer *a, const tern_job_event *ev)
{
    tern_finish finish = ev->token.finish;
    split_feed(&a->split, ev->token.text, ev->token.n_text);
    split_end(&a->split);
    if (a->n_pending && finish != TERN_FINISH_STOP)
        tell_text(a, &(generate_event){.kind = GENERATE_TEXT,
                                       .answer = a->index,
                                       .text = "",
                                       .stop = -1,
                                       .usage = &a->live});
    generate_usage u = {.n_prompt = j->prompt.n, .n_cached = j->n_cached};
    if (ev->stats) {
        const tern_request_stats *st = ev->stats;
        u.n_generated = st->n_generated;
        u.n_reasoning = a->live.n_reasoning;
        u.prompt_s = st->prompt_s;
        u.generate_s = st->generate_s;
        u.n_drafted = st->n_drafted;
        u.n_accepted = st->n_accepted;
        u.joules = ev->joules;
    }
    add_usage(&g->usage, &u);
    if (finish == TERN_FINISH_CANCELLED || finish == TERN_FINISH_FAILED)
        return; /* the job's end says why */
    generate_finish how = GENERATE_STOP;
    if (finish == TERN_FINISH_LENGTH)
        how = GENERATE_LENGTH;
    else if (a->split.n_call)
        how = GENERATE_CALLS;
    tell(g, &(generate_event){.kind = GENERATE_ANSWER,
                              .answer = a->index,
                              .finish = how,
                              .stop = finish == TERN_FINISH_STOP ? a->stop : -1,
                              .usage = &u});
}

/* ---- the client's pace -------------------------------------------------------------------------------- */

static void hold_jobs(generation *g, bool hold)
{
    pthread_mutex_lock(&g->mu);
    for (size_t i = 0; i < g->n_job; i++)
        if (g->jobs[i].job)
            tern_job_hold(g->jobs[i].job, hold);
    pthread_mutex_unlock(&g->mu);
}

static void on_room(exchange *x, void *ctx)
{
    (void)x;
    hold_jobs(ctx, false);
}

/* g->mu is held. */
static void stop_jobs(generation *g)
{
    g->stopped = true;
    for (size_t i = 0; i < g->n_job; i++)
        if (g->jobs[i].job)
            tern_job_cancel(g->jobs[i].job);
}

static void on_gone(exchange *x, void *ctx)
{
    generation *g = ctx;
    (void)x;
    pthread_mutex_lock(&g->mu);
    stop_jobs(g);
    pthread_mutex_unlock(&g->mu);
}

/* The reader may have caught up between a look and the hold: then nobody would let go. */
static void mind_backlog(generation *g)
{
    if (exchange_stream_backlog(g->x) <= EXCHANGE_BACKLOG)
        return;
    hold_jobs(g, true);
    if (exchange_stream_backlog(g->x) <= EXCHANGE_BACKLOG / 4)
        hold_jobs(g, false);
}

/* ---- jobs -------------------------------------------------------------------------------------------- */

/* For the keeper: g has ended, or another job may be submitted. g->mu is held. */
static void queue_work(generation *g)
{
    keeper *k = g->w->keeper;
    if (g->queued || !g->started)
        return;
    g->queued = true;
    pthread_mutex_lock(&k->mu);
    g->next_work = k->work;
    k->work = g;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->mu);
}

/* g->mu is held. */
static bool has_ended(const generation *g)
{
    return g->n_ended == g->n_submitted && (g->stopped || g->n_submitted == g->n_job);
}

static void note_fault(generation *g, tern_code code, const tern_err *err)
{
    if (g->fault.err.code != TERN_OK)
        return;
    if (err)
        g->fault.err = *err;
    g->fault.err.code = code;
    /* Nobody cancels for clients that are there but a server that stops. */
    if (code == TERN_E_CANCELLED && !exchange_is_gone(g->x))
        (void)fault_set(&g->fault, TERN_E_BUSY, NULL, "the server stops");
}

/* In one go: once the keeper knows that this was the last one, g may be gone. */
static void on_job_end(generation *g, const tern_job_event *ev)
{
    pthread_mutex_lock(&g->mu);
    g->n_ended++;
    if (ev->code != TERN_OK) {
        note_fault(g, ev->code, ev->err);
        stop_jobs(g);
    }
    if (has_ended(g) || g->n_submitted < g->n_job)
        queue_work(g);
    pthread_mutex_unlock(&g->mu);
}

/* On the scheduler's thread. */
static void on_job_event(void *ctx, const tern_job_event *ev)
{
    prompt_job *j = ctx;
    generation *g = j->g;
    if (ev->kind == TERN_JOB_END) { /* nothing of g may be touched behind this */
        on_job_end(g, ev);
        return;
    }
    answer *a = &g->answers[j->index * g->n_answer + (ev->answer < g->n_answer ? ev->answer : 0)];
    pthread_mutex_lock(&g->tell);
    switch (ev->kind) {
    case TERN_JOB_STARTED:
    case TERN_JOB_PROMPT:
        on_started(g, j, ev);
        break;
    case TERN_JOB_ECHO:
        on_echo(g, j, &ev->token);
        break;
    case TERN_JOB_TOKEN:
        on_token(g, a, &ev->token);
        break;
    default:
        on_answer(g, j, a, ev);
        break;
    }
    pthread_mutex_unlock(&g->tell);
    mind_backlog(g);
}

/* The next prompt's job. */
static tern_code submit_next(generation *g, tern_err *err)
{
    pthread_mutex_lock(&g->mu);
    size_t i = g->n_submitted++;
    prompt_job *j = &g->jobs[i];
    tern_job_opts o = g->opts;
    o.n_keep = j->prompt.n_keep;
    o.on_event = on_job_event;
    o.ctx = j;
    /* Held over the call, so that the job's own events find the handle; they come on another thread. */
    tern_code rc =
        tern_scheduler_submit(g->s->scheduler, j->prompt.ids, j->prompt.n, &o, &j->job, err);
    if (rc != TERN_OK)
        g->n_submitted--;
    pthread_mutex_unlock(&g->mu);
    return rc;
}

/* ---- the keeper -------------------------------------------------------------------------------------- */

static void generation_free(generation *g)
{
    if (!g)
        return;
    for (size_t i = 0; g->jobs && i < g->n_job; i++) {
        if (g->jobs[i].job)
            tern_job_free(g->jobs[i].job);
        composed_done(&g->jobs[i].prompt);
    }
    for (size_t i = 0; g->answers && i < g->n_job * (size_t)g->n_answer; i++) {
        split_done(&g->answers[i].split);
        tern_free(g->answers[i].pending);
    }
    grammar_lease_end(g->w->keeper->grammars, g->limit.lease);
    tern_free((void *)(uintptr_t)g->opts.gen.bias);
    tern_free((void *)(uintptr_t)g->opts.gen.stop);
    tern_free(g->jobs);
    tern_free(g->answers);
    pthread_mutex_destroy(&g->tell);
    pthread_mutex_destroy(&g->mu);
    tern_free(g);
}

static void unlink_live(keeper *k, generation *g)
{
    pthread_mutex_lock(&k->mu);
    *(g->prev_live ? &g->prev_live->next_live : &k->live) = g->next_live;
    if (g->next_live)
        g->next_live->prev_live = g->prev_live;
    pthread_cond_broadcast(&k->wake);
    pthread_mutex_unlock(&k->mu);
}

static void end_generation(keeper *k, generation *g)
{
    exchange *x = g->x;
    exchange_on_gone(x, NULL, NULL);
    exchange_on_room(x, NULL, NULL);
    for (size_t i = 0; i < g->n_job; i++)
        g->usage.n_cached += g->jobs[i].n_cached;
    exchange_log(x, COUNT_PROMPT, g->usage.n_prompt);
    exchange_log(x, COUNT_CACHED, g->usage.n_cached);
    bool failed = g->fault.err.code != TERN_OK;
    for (size_t i = 0; i < g->n_job * (size_t)g->n_answer; i++)
        if (g->answers[i].split.failed && !failed) {
            failed = true;
            (void)fault_set(&g->fault, TERN_E_NOMEM, NULL, "out of memory for an answer");
        }
    pthread_mutex_lock(&g->tell);
    tell(g, &(generate_event){.kind = GENERATE_END,
                              .stop = -1,
                              .usage = &g->usage,
                              .fault = failed ? &g->fault : NULL});
    pthread_mutex_unlock(&g->tell);
    unlink_live(k, g);
    generation_free(g);
    exchange_unref(x);
}

static void go_on(keeper *k, generation *g)
{
    tern_err err;
    tern_code rc = TERN_OK;
    pthread_mutex_lock(&g->mu);
    bool more = !g->stopped && g->n_submitted < g->n_job && g->n_submitted - g->n_ended < MAX_JOBS;
    bool ended = has_ended(g);
    g->queued = false;
    pthread_mutex_unlock(&g->mu);
    if (more)
        rc = submit_next(g, &err);
    if (rc == TERN_E_BUSY) { /* others fill the queue: again in a while */
        struct timespec t = {.tv_nsec = 20000000};
        (void)nanosleep(&t, NULL);
        rc = TERN_OK;
        pthread_mutex_lock(&g->mu);
        if (g->n_ended == g->n_submitted)
            queue_work(g);
        pthread_mutex_unlock(&g->mu);
    }
    if (rc != TERN_OK) {
        pthread_mutex_lock(&g->mu);
        note_fault(g, rc, &err);
        stop_jobs(g);
        ended = has_ended(g);
        pthread_mutex_unlock(&g->mu);
    }
    if (ended)
        end_generation(k, g);
}

/* One that is silent for too long; NULL: there is none. k->mu is held. Only the keeper frees what is live,
 * so it may look at it later. */
static generation *find_silent(keeper *k)
{
    uint64_t now = tern_clock_ns();
    for (generation *g = k->live; g; g = g->next_live) {
        if (g->ping_s <= 0 || pthread_mutex_trylock(&g->tell) != 0)
            continue;
        bool silent = now > g->told_ns && (double)(now - g->told_ns) * 1e-9 >= g->ping_s;
        pthread_mutex_unlock(&g->tell);
        if (silent)
            return g;
    }
    return NULL;
}

static void ping(generation *g)
{
    pthread_mutex_lock(&g->tell);
    tell(g, &(generate_event){.kind = GENERATE_PING, .stop = -1});
    pthread_mutex_unlock(&g->tell);
}

static void *keeper_main(void *ctx)
{
    keeper *k = ctx;
    pthread_mutex_lock(&k->mu);
    while (!k->stop || k->live) {
        generation *g = k->work;
        if (g) {
            k->work = g->next_work;
            pthread_mutex_unlock(&k->mu);
            go_on(k, g);
            pthread_mutex_lock(&k->mu);
            continue;
        }
        g = find_silent(k);
        if (g) {
            pthread_mutex_unlock(&k->mu);
            ping(g);
            pthread_mutex_lock(&k->mu);
            continue;
        }
        struct timespec at;
        (void)clock_gettime(CLOCK_MONOTONIC, &at);
        at.tv_nsec += 250000000;
        at.tv_sec += at.tv_nsec / 1000000000;
        at.tv_nsec %= 1000000000;
        if (k->live)
            pthread_cond_timedwait(&k->wake, &k->mu, &at);
        else
            pthread_cond_wait(&k->wake, &k->mu);
    }
    pthread_mutex_unlock(&k->mu);
    return NULL;
}

static tern_code keeper_new(const tern_model *m, keeper **out, tern_err *err)
{
    keeper *k = tern_calloc(1, sizeof *k);
    pthread_condattr_t attr;
    *out = NULL;
    if (!k)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    tern_code rc = grammar_cache_new(m, &k->grammars, err);
    pthread_mutex_init(&k->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&k->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (rc == TERN_OK && pthread_create(&k->thread, NULL, keeper_main, k) != 0)
        rc = tern_fail(err, TERN_E_NOMEM, "no thread for requests");
    if (rc != TERN_OK) {
        pthread_cond_destroy(&k->wake);
        pthread_mutex_destroy(&k->mu);
        grammar_cache_free(k->grammars);
        tern_free(k);
        return rc;
    }
    *out = k;
    return TERN_OK;
}

static void keeper_free(keeper *k)
{
    pthread_mutex_lock(&k->mu);
    k->stop = true;
    pthread_cond_broadcast(&k->wake);
    pthread_mutex_unlock(&k->mu);
    pthread_join(k->thread, NULL);
    pthread_cond_destroy(&k->wake);
    pthread_mutex_destroy(&k->mu);
    grammar_cache_free(k->grammars);
    tern_free(k);
}

/* ---- words ------------------------------------------------------------------------------------------- */

static void make_fingerprint(generate_words *w)
{
    tern_model_info i = {.size = sizeof i};
    char text[256];
    tern_model_info_get(w->m, &i);
    int n =
        snprintf(text, sizeof text, "%s %.80s %.80s %d %d %d %" PRIu64 " %" PRIu64, tern_version(),
                 i.arch, i.name, i.n_vocab, i.n_layer, i.d_model, i.n_param, i.file_bytes);
    uint64_t h = tern_hash64(text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1, 1);
    snprintf(w->fingerprint, sizeof w->fingerprint, "fp_%012" PRIx64, h & 0xffffffffffffu);
}

tern_code generate_words_new(const tern_model *m, generate_words **out, tern_err *err)
{
    generate_words *w = tern_calloc(1, sizeof *w);
    *out = NULL;
    if (!w)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    w->m = m;
    pthread_mutex_init(&w->seen_mu, NULL);
    make_fingerprint(w);
    tern_code rc = words_learn(w, err);
    if (rc == TERN_OK)
        rc = keeper_new(m, &w->keeper, err);
    if (rc != TERN_OK) {
        generate_words_free(w);
        return rc;
    }
    *out = w;
    return TERN_OK;
}

void generate_words_free(generate_words *w)
{
    if (!w)
        return;
    if (w->keeper)
        keeper_free(w->keeper);
    words_forget(w);
    pthread_mutex_destroy(&w->seen_mu);
    tern_free(w);
}

const char *generate_fingerprint(const generate_words *w)
{
    return w->fingerprint;
}

bool generate_can_think(const generate_words *w)
{
    tern_model_info info = {.size = sizeof info};
    tern_model_info_get(w->m, &info);
    const char *t = info.chat_template;
    return t &&
           (strstr(t, w->think) || strstr(t, "enable_thinking") || strstr(t, "reasoning_content"));
}

/* ---- start ------------------------------------------------------------------------------------------- */

static tern_code make_bias(const generate_request *r, const serving *s, tern_gen_opts *o, fault *f)
{
    const json_t *given = r->p->logit_bias;
    size_t n = json_is_array(given) ? json_array_size(given) : json_object_size(given), k = 0;
    if (n == 0)
        return TERN_OK;
    tern_token_bias *v = tern_calloc(n, sizeof *v);
    if (!v)
        return fault_set(f, TERN_E_NOMEM, NULL, "out of memory for a request");
    const char *key;
    json_t *one;
    size_t i;
    if (json_is_object(given))
        json_object_foreach((json_t *)(uintptr_t)given, key, one)
        {
            uint64_t id = 0;
            (void)tern_parse_u64(key, strlen(key), &id);
            v[k++] = (tern_token_bias){(int32_t)id, (float)json_number_value(one)};
        }
    else
        json_array_foreach(given, i, one) v[k++] =
            (tern_token_bias){(int32_t)json_integer_value(json_array_get(one, 0)),
                              (float)json_number_value(json_array_get(one, 1))};
    o->bias = v;
    o->n_bias = n;
    for (k = 0; k < n; k++) {
        if (v[k].id >= s->info.n_vocab)
            return fault_set(f, TERN_E_USAGE, "logit_bias",
                             "logit_bias: expected token ids from 0 to %d", s->info.n_vocab - 1);
        if (v[k].bias <= -100) /* as documented: these are never chosen */
            v[k].bias = -INFINITY;
    }
    return TERN_OK;
}

static tern_code make_stops(const generate_request *r, tern_gen_opts *o, fault *f)
{
    const json_t *given = r->p->stop;
    size_t n = json_is_array(given) ? json_array_size(given) : given != NULL;
    if (n == 0)
        return TERN_OK;
    const char **v = tern_calloc(n, sizeof *v);
    if (!v)
        return fault_set(f, TERN_E_NOMEM, NULL, "out of memory for a request");
    for (size_t i = 0; i < n; i++)
        v[i] = json_string_value(json_is_array(given) ? json_array_get(given, i) : given);
    o->stop = v;
    o->n_stop = n;
    return TERN_OK;
}

static tern_code make_opts(generation *g, const generate_request *r, fault *f)
{
    const params *p = r->p;
    tern_job_opts *o = &g->opts;
    tern_gen_opts *s = &o->gen;
    tern_job_opts_init(o);
    s->n_predict = p->max_tokens < -1 ? -1 : (int32_t)p->max_tokens;
    s->temp = (float)p->temperature;
    s->top_k = (int32_t)p->top_k;
    s->top_p = (float)p->top_p;
    s->min_p = (float)p->min_p;
    s->typical_p = (float)p->typical_p;
    s->repeat_penalty = (float)p->repeat_penalty;
    s->repeat_last_n = (int32_t)p->repeat_last_n;
    s->frequency_penalty = (float)p->frequency_penalty;
    s->presence_penalty = (float)p->presence_penalty;
    s->seed = (uint64_t)p->seed;
    if (!p->has_seed)
        (void)!getrandom(&s->seed, sizeof s->seed, 0);
    s->spec = g->s->spec;
    s->spec_max = g->s->spec_max;
    s->ignore_eos = p->ignore_eos;
    s->show_special = g->w->show_control && r->messages;
    s->logprobs = r->logprobs;
    s->logprobs_final = p->logprobs_final;
    s->n_top = r->n_top;
    o->n = g->n_answer;
    o->deadline_s = p->timeout;
    o->owner = exchange_owner(g->x);
    o->no_prefix = !p->cache_prompt;
    o->echo_logprobs = r->echo && r->logprobs;
    TERN_TRY(make_bias(r, g->s, s, f));
    return make_stops(r, s, f);
}

/* The prompts' ids, and what the answers may be. */
static tern_code compose_all(generation *g, const generate_request *r, fault *f)
{
    if (!r->messages) {
        const char *name = r->prompt_name ? r->prompt_name : "prompt";
        for (size_t i = 0; i < g->n_job; i++)
            TERN_TRY(compose_prompt(g->w, &r->prompts[i], name, &g->jobs[i].prompt, f));
    } else {
        if (r->tools)
            TERN_TRY(compose_check_tools(r, f));
        TERN_TRY(compose_messages(g->w, r, &g->jobs[0].prompt, f));
    }
    composed *first = &g->jobs[0].prompt;
    bool thinking = first->thinking && !r->keep_reasoning;
    TERN_TRY(compose_constraint(g->w, g->w->keeper->grammars, r, thinking, &g->limit, f));
    if (g->limit.prefilled)
        TERN_TRY(composed_append(g->w, g->w->frame.trigger, true, first, &f->err));
    g->opts.gen.grammar = g->limit.grammar;
    g->opts.gen.trigger = &g->limit.trigger;
    g->opts.gen.n_trigger = g->limit.trigger != NULL;
    for (size_t i = 0; i < g->n_job * (size_t)g->n_answer; i++) {
        splitter *s = &g->answers[i].split;
        split_init(s, g->w, r->messages && !r->keep_reasoning, thinking, g->limit.calls,
                   g->limit.only_calls);
        s->emit = on_split;
        s->ctx = &g->answers[i];
        if (g->limit.prefilled)
            split_feed(s, g->w->frame.trigger, strlen(g->w->frame.trigger));
    }
    return TERN_OK;
}

static tern_code check_length(const generation *g, const generate_request *r, fault *f)
{
    tern_scheduler_stats st = {.size = sizeof st};
    tern_scheduler_stats_get(g->s->scheduler, &st);
    for (size_t i = 0; i < g->n_job; i++) {
        if (g->jobs[i].prompt.n < (size_t)st.n_ctx)
            continue;
        const char *name = r->messages      ? r->messages_name ? r->messages_name : "messages"
                           : r->prompt_name ? r->prompt_name
                                            : "prompt";
        fault_set(
            f, TERN_E_LIMIT, name,
            "this model's maximum context length is %d tokens, but the %s resulted in %zu tokens",
            st.n_ctx, name, g->jobs[i].prompt.n);
        f->code = "context_length_exceeded";
        return TERN_E_LIMIT;
    }
    return TERN_OK;
}

static tern_code generation_new(const generate_request *r, generation **out, fault *f)
{
    generation *g = tern_calloc(1, sizeof *g);
    *out = g;
    if (!g)
        return fault_set(f, TERN_E_NOMEM, NULL, "out of memory for a request");
    g->x = r->x;
    g->s = exchange_serving(r->x);
    g->w = g->s->words;
    g->on_event = r->on_event;
    g->ctx = r->ctx;
    g->n_job = r->messages ? 1 : r->n_prompt;
    g->n_answer = r->n_answer > 0 ? r->n_answer : (int32_t)r->p->n;
    g->progress = r->progress;
    g->echo = r->echo;
    g->logprobs = r->logprobs;
    g->ping_s = r->p->ping_interval;
    g->told_ns = tern_clock_ns();
    pthread_mutex_init(&g->tell, NULL);
    pthread_mutex_init(&g->mu, NULL);
    g->jobs = tern_calloc(g->n_job, sizeof *g->jobs);
    g->answers = tern_calloc(g->n_job * (size_t)g->n_answer, sizeof *g->answers);
    if (!g->jobs || !g->answers)
        return fault_set(f, TERN_E_NOMEM, NULL, "out of memory for a request");
    for (size_t i = 0; i < g->n_job; i++) {
        g->jobs[i].g = g;
        g->jobs[i].index = (int32_t)i;
    }
    for (size_t i = 0; i < g->n_job * (size_t)g->n_answer; i++)
        g->answers[i] = (answer){.g = g, .index = (int32_t)i, .stop = -1};
    return TERN_OK;
}

static void link_live(generation *g)
{
    keeper *k = g->w->keeper;
    pthread_mutex_lock(&k->mu);
    g->next_live = k->live;
    if (k->live)
        k->live->prev_live = g;
    k->live = g;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->mu);
}

/* The first jobs. From the first one on events come, what fails is told by them, and g is the keeper's to
 * free. */
static tern_code submit_first(generation *g, fault *f)
{
    tern_code rc = submit_next(g, &f->err);
    if (rc != TERN_OK) {
        f->err.code = rc;
        return rc;
    }
    exchange_ref(g->x);
    link_live(g);
    exchange_on_room(g->x, on_room, g);
    exchange_on_gone(g->x, on_gone, g);
    while (rc == TERN_OK && g->n_submitted < g->n_job && g->n_submitted < MAX_JOBS)
        rc = submit_next(g, &f->err);
    pthread_mutex_lock(&g->mu);
    g->started = true;
    if (has_ended(g) || rc != TERN_OK || g->n_submitted < g->n_job)
        queue_work(g);
    pthread_mutex_unlock(&g->mu);
    return TERN_OK;
}

static tern_code check_request(const generate_request *r, fault *f)
{
    *f = (fault){0};
    if (!r->messages && (r->n_prompt == 0 || r->n_prompt > MAX_PROMPTS)) {
        const char *name = r->prompt_name ? r->prompt_name : "prompt";
        return fault_set(f, TERN_E_USAGE, name, "%s: expected 1 to %d prompts", name, MAX_PROMPTS);
    }
    return TERN_OK;
}

tern_code generate_start(const generate_request *r, fault *f)
{
    generation *g = NULL;
    tern_code rc;
    TERN_TRY(check_request(r, f));
    TERN_TRY_GOTO(generation_new(r, &g, f));
    TERN_TRY_GOTO(make_opts(g, r, f));
    TERN_TRY_GOTO(compose_all(g, r, f));
    TERN_TRY_GOTO(check_length(g, r, f));
    for (size_t i = 0; i < g->n_job; i++)
        g->usage.n_prompt += g->jobs[i].prompt.n;
    rc = submit_first(g, f);
fail:
    if (rc != TERN_OK) {
        if (f->err.code == TERN_OK)
            f->err.code = rc;
        generation_free(g);
    }
    return rc;
}

tern_code generate_count(const generate_request *r, int32_t **ids, size_t *n, fault *f)
{
    composed c;
    const generate_words *w = exchange_serving(r->x)->words;
    TERN_TRY(check_request(r, f));
    if (r->messages && r->tools)
        TERN_TRY(compose_check_tools(r, f));
    if (r->messages)
        TERN_TRY(compose_messages(w, r, &c, f));
    else
        TERN_TRY(compose_prompt(w, r->prompts, r->prompt_name ? r->prompt_name : "prompt", &c, f));
    *n = c.n;
    if (ids)
        *ids = c.ids;
    else
        composed_done(&c);
    return TERN_OK;
}

tern_code generate_text(const generate_request *r, bool begins, char **text, size_t *n, fault *f)
{
    TERN_TRY(check_request(r, f));
    if (r->tools)
        TERN_TRY(compose_check_tools(r, f));
    return compose_text(exchange_serving(r->x)->words, r, begins, text, n, f);
}
