/* One answer: prompt in, tokens out one at a time, each as whole UTF-8 text. */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "engine/engine.h"
#include "sample/stop.h"

#include <math.h>
#include <string.h>

struct tern_request {
    tern_session *s; /* borrowed */
    int32_t *prompt; /* owned */
    size_t n_prompt;
    int32_t n_predict;
    tern_sampler *sampler; /* owned */
    tern_stop *stop;       /* owned; NULL: no stop strings */
    bool ignore_eos, started;
    int32_t last_id; /* chosen but not yet evaluated; -1: none */
    tern_detok detok;
    tern_str piece, text; /* of one token; what of it may be shown */
    tern_request_stats stats;
};

void tern_gen_opts_init(tern_gen_opts *o)
{
    tern_sample_params p;
    tern_sample_params_init(&p);
    *o = (tern_gen_opts){.size = sizeof *o,
                         .n_predict = -1,
                         .temp = p.temp,
                         .top_k = p.top_k,
                         .top_p = p.top_p,
                         .min_p = p.min_p,
                         .typical_p = p.typical_p,
                         .repeat_penalty = p.repeat_penalty,
                         .repeat_last_n = p.repeat_last_n};
}

/* The caller's biases, and a ban on every end-of-generation token when they are to be ignored. */
static tern_code make_sampler(tern_request *r, const tern_gen_opts *o, tern_err *err)
{
    const tern_tokenizer *tok = r->s->m->tok;
    int n_vocab = tern_tokenizer_info_get(tok)->n_vocab;
    size_t n = 0, n_eog = 0;
    for (int32_t id = 0; o->ignore_eos && id < n_vocab; id++)
        n_eog += tern_token_is_eog(tok, id);
    tern_logit_bias *bias = tern_calloc(o->n_bias + n_eog, sizeof *bias);
    if (!bias)
        return tern_fail(err, TERN_E_NOMEM, "request: out of memory");
    for (; n < o->n_bias; n++)
        bias[n] = (tern_logit_bias){.id = o->bias[n].id, .bias = o->bias[n].bias};
    for (int32_t id = 0; o->ignore_eos && id < n_vocab; id++)
        if (tern_token_is_eog(tok, id))
            bias[n++] = (tern_logit_bias){.id = id, .bias = -INFINITY};
    tern_sample_params p = {
        .temp = o->temp,
        .top_k = o->top_k,
        .top_p = o->top_p,
        .min_p = o->min_p,
        .typical_p = o->typical_p,
        .repeat_penalty = o->repeat_penalty,
        .repeat_last_n = o->repeat_last_n,
        .frequency_penalty = o->frequency_penalty,
        .presence_penalty = o->presence_penalty,
        .seed = o->seed,
        .bias = bias,
        .n_bias = n,
    };
    tern_code rc = tern_sampler_new(&p, n_vocab, &r->sampler, err);
    tern_free(bias);
    return rc;
}

static tern_code init(tern_request *r, const int32_t *prompt, size_t n_tok, const tern_gen_opts *o,
                      tern_err *err)
{
    const tern_session *s = r->s;
    if (n_tok == 0)
        return tern_fail(err, TERN_E_USAGE, "the prompt is empty: give text with -p or -f");
    if (n_tok >= (size_t)s->seq.n_ctx)
        return tern_fail(err, TERN_E_LIMIT,
                         "the prompt is too long: %zu tokens, the context holds %d "
                         "(shorten it or raise -c)",
                         n_tok, s->seq.n_ctx);
    if (o->n_predict < -1)
        return tern_fail(err, TERN_E_USAGE, "n_predict is %d, expected -1 or more", o->n_predict);
    for (size_t i = 0; i < n_tok; i++)
        if (prompt[i] < 0 || prompt[i] >= s->m->w.h.n_vocab)
            return tern_fail(err, TERN_E_USAGE, "token %zu of the prompt is id %d, expected 0..%d",
                             i, prompt[i], s->m->w.h.n_vocab - 1);
    TERN_TRY(make_sampler(r, o, err));
    if (o->n_stop)
        TERN_TRY(tern_stop_new(o->stop, o->n_stop, &r->stop, err));
    r->prompt = tern_calloc(n_tok, sizeof *r->prompt);
    if (!r->prompt)
        return tern_fail(err, TERN_E_NOMEM, "request: out of memory");
    memcpy(r->prompt, prompt, n_tok * sizeof *prompt);
    r->n_prompt = n_tok;
    r->n_predict = o->n_predict;
    r->ignore_eos = o->ignore_eos;
    tern_detok_init(&r->detok, s->m->tok, o->show_special, false);
    return TERN_OK;
}

tern_code tern_request_new(tern_session *s, const int32_t *prompt, size_t n_tok,
                           const tern_gen_opts *opts, tern_request **out, tern_err *err)
{
    tern_gen_opts o;
    *out = NULL;
    tern_gen_opts_init(&o);
    if (opts)
        memcpy(&o, opts, opts->size < sizeof o ? opts->size : sizeof o);
    tern_request *r = tern_calloc(1, sizeof *r);
    if (!r)
        return tern_fail(err, TERN_E_NOMEM, "request: out of memory");
    r->s = s;
    r->last_id = -1;
    tern_str_init(&r->piece, 1 << 20);
    tern_str_init(&r->text, 1 << 20);
    tern_code rc = init(r, prompt, n_tok, &o, err);
    if (rc != TERN_OK) {
        tern_request_free(r);
        return rc;
    }
    atomic_store_explicit(&s->cancel, false, memory_order_relaxed);
    *out = r;
    return TERN_OK;
}

void tern_request_free(tern_request *r)
{
    if (!r)
        return;
    tern_sampler_free(r->sampler);
    tern_stop_free(r->stop);
    tern_free(r->prompt);
    tern_str_done(&r->piece);
    tern_str_done(&r->text);
    tern_free(r);
}

/* Keep what the session shares with the prompt, but evaluate at least its last token. */
static tern_code eval_prompt(tern_request *r, tern_err *err)
{
    tern_session *s = r->s;
    size_t keep = 0;
    while (keep < r->n_prompt - 1 && keep < (size_t)s->seq.n_tok &&
           s->seq.ids[keep] == r->prompt[keep])
        keep++;
    tern_session_rewind(s, keep);
    r->stats.n_prompt = r->n_prompt;
    r->stats.n_cached = keep;
    TERN_TRY(tern_session_step(s, r->prompt + keep, r->n_prompt - keep, 1, err));
    for (size_t i = 0; i < r->n_prompt; i++)
        tern_sampler_accept(r->sampler, r->prompt[i]);
    return TERN_OK;
}

/* Bring the session to where the next token can be chosen. */
static tern_code advance(tern_request *r, tern_err *err)
{
    uint64_t begin = tern_clock_ns();
    tern_code rc;
    double *spent = r->started ? &r->stats.generate_s : &r->stats.prompt_s;
    if (!r->started)
        rc = eval_prompt(r, err);
    else
        rc = tern_session_step(r->s, &r->last_id, 1, 1, err);
    *spent += (double)(tern_clock_ns() - begin) * 1e-9;
    if (rc == TERN_OK)
        r->started = true;
    return rc;
}

/* Pass text through the stop strings; true when one was completed. */
static bool show(tern_request *r)
{
    if (!r->stop) {
        tern_str_put(&r->text, tern_str_get(&r->piece), r->piece.len);
        return false;
    }
    return tern_stop_feed(r->stop, tern_str_get(&r->piece), r->piece.len, &r->text) >= 0;
}

static void finish(tern_request *r, tern_event *ev, tern_finish why)
{
    ev->finish = why;
    if (why == TERN_FINISH_STOP)
        return;
    tern_str_clear(&r->piece);
    tern_detok_finish(&r->detok, &r->piece);
    (void)show(r);
    if (r->stop)
        tern_stop_finish(r->stop, &r->text);
}

tern_code tern_request_next(tern_request *r, tern_event *ev, tern_err *err)
{
    tern_session *s = r->s;
    const tern_model *m = s->m;
    *ev = (tern_event){.id = -1};
    tern_str_clear(&r->piece);
    tern_str_clear(&r->text);
    if (r->n_predict == 0 && r->started) {
        finish(r, ev, TERN_FINISH_LENGTH);
        return TERN_OK;
    }
    int32_t id = -1;
    tern_code rc = advance(r, err);
    if (rc == TERN_OK && r->n_predict != 0)
        rc = tern_session_pick(s, r->sampler, 0, (uint64_t)s->seq.n_tok, &id, err);
    if (rc == TERN_E_CANCELLED) {
        finish(r, ev, TERN_FINISH_CANCELLED);
    } else if (rc != TERN_OK) {
        return rc;
    } else if (r->n_predict == 0) {
        finish(r, ev, TERN_FINISH_LENGTH);
    } else {
        ev->id = r->last_id = id;
        r->stats.n_generated++;
        if (tern_token_is_eog(m->tok, id) && !r->ignore_eos) {
            finish(r, ev, TERN_FINISH_EOG);
        } else {
            tern_sampler_accept(r->sampler, id);
            tern_detok_push(&r->detok, id, &r->piece);
            if (show(r))
                finish(r, ev, TERN_FINISH_STOP);
            else if (r->stats.n_generated == (size_t)r->n_predict || s->seq.n_tok >= s->seq.n_ctx)
                finish(r, ev, TERN_FINISH_LENGTH);
        }
    }
    if (r->piece.failed || r->text.failed)
        return tern_fail(err, TERN_E_NOMEM, "request: out of memory for the text");
    ev->text = tern_str_get(&r->text);
    ev->n_text = r->text.len;
    return TERN_OK;
}

void tern_request_stats_get(const tern_request *r, tern_request_stats *st)
{
    *st = r->stats;
}
