#include "server/generation.h"

#include "base/alloc.h"
#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- what is told: g->tell is held from here on --------------------------------------------------------- */

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
    char id[GENERATE_ID], name[272];
    if (kind == GENERATE_CALL) {
        /* Templates that write ids want nine letters and digits. */
        bool native = a->g->w->ids;
        generate_id(id, native ? "" : "call_", native ? 9 : GENERATE_ID_LETTERS);
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

/* ---- what is heard ------------------------------------------------------------------------------------ */

static void hear_start(generation *g, prompt_job *j, const tern_job_event *ev)
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

static void hear_echo(generation *g, prompt_job *j, const tern_event *t)
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

static void hear_token(generation *g, answer *a, const tern_event *t)
{
    if (t->id >= 0)
        count_token(g, a);
    /* A token that ends the model's turn has no text; one behind which a grammar leaves nothing has. */
    if (t->id >= 0 && g->logprobs && (t->finish != TERN_FINISH_EOG || t->n_text > 0))
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

static void hear_end(generation *g, prompt_job *j, answer *a, const tern_job_event *ev)
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

/* ---- the answers ------------------------------------------------------------------------------------- */

void answer_begin(answer *a, bool marks, bool thinking, const constraint *limit)
{
    const generate_words *w = a->g->w;
    split_init(&a->split, w, marks, thinking, limit->calls, limit->only_calls);
    a->split.emit = on_split;
    a->split.ctx = a;
    if (limit->prefilled)
        split_feed(&a->split, w->frame.trigger, strlen(w->frame.trigger));
}

void answer_done(answer *a)
{
    split_done(&a->split);
    tern_free(a->pending);
}

void generation_hear(generation *g, prompt_job *j, const tern_job_event *ev)
{
    answer *a = &g->answers[j->index * g->n_answer + (ev->answer < g->n_answer ? ev->answer : 0)];
    pthread_mutex_lock(&g->tell);
    switch (ev->kind) {
    case TERN_JOB_STARTED:
    case TERN_JOB_PROMPT:
        hear_start(g, j, ev);
        break;
    case TERN_JOB_ECHO:
        hear_echo(g, j, &ev->token);
        break;
    case TERN_JOB_TOKEN:
        hear_token(g, a, &ev->token);
        break;
    default:
        hear_end(g, j, a, ev);
        break;
    }
    pthread_mutex_unlock(&g->tell);
}

void generation_tell(generation *g, const generate_event *ev)
{
    pthread_mutex_lock(&g->tell);
    tell(g, ev);
    pthread_mutex_unlock(&g->tell);
}
