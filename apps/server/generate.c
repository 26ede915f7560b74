#include "server/generation.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/num.h"

#include <math.h>
#include <string.h>
#include <sys/random.h>

#define MAX_PROMPTS 256

/* ---- what all jobs have in common ------------------------------------------------------------------------ */

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

/* ---- prompts ------------------------------------------------------------------------------------------ */

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
    TERN_TRY(compose_constraint(g->w, g->w->grammars, r, thinking, &g->limit, f));
    if (g->limit.prefilled)
        TERN_TRY(composed_append(g->w, g->w->frame.trigger, true, first, &f->err));
    g->opts.gen.grammar = g->limit.grammar;
    g->opts.gen.trigger = &g->limit.trigger;
    g->opts.gen.n_trigger = g->limit.trigger != NULL;
    for (size_t i = 0; i < g->n_job * (size_t)g->n_answer; i++)
        answer_begin(&g->answers[i], r->messages && !r->keep_reasoning, thinking, &g->limit);
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

/* ---- one generation ------------------------------------------------------------------------------------- */

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

void generation_free(generation *g)
{
    if (!g)
        return;
    for (size_t i = 0; g->jobs && i < g->n_job; i++) {
        if (g->jobs[i].job)
            tern_job_free(g->jobs[i].job);
        composed_done(&g->jobs[i].prompt);
    }
    for (size_t i = 0; g->answers && i < g->n_job * (size_t)g->n_answer; i++)
        answer_done(&g->answers[i]);
    grammar_lease_end(g->w->grammars, g->limit.lease);
    tern_free((void *)(uintptr_t)g->opts.gen.bias);
    tern_free((void *)(uintptr_t)g->opts.gen.stop);
    tern_free(g->jobs);
    tern_free(g->answers);
    pthread_mutex_destroy(&g->tell);
    pthread_mutex_destroy(&g->mu);
    tern_free(g);
}

/* ---- what endpoints call ------------------------------------------------------------------------------ */

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
    rc = generation_begin(g, f);
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
