/* One answer: prompt in, tokens out one at a time, each as whole UTF-8 text. A call has three parts:
 * each request says what it wants evaluated, passes of the model serve all of them, each request
 * chooses its token from its row. */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "engine/engine.h"
#include "sample/stop.h"

#include <math.h>
#include <string.h>

struct tern_request {
    tern_session *s; /* borrowed */
    int32_t
        *ids; /* owned; [n_id]: what the session has to hold before the next choice: the prompt, or
                     all so far where the state was given up */
    size_t n_id;
    size_t n_own; /* of the ids read by itself, in feeds that were given up for more than that */
    int32_t n_predict;
    tern_sampler *sampler; /* owned */
    tern_stop *stop;       /* owned; NULL: no stop strings */
    tern_matcher *matcher; /* owned; what may come; NULL: anything */
    int stopped_by;        /* index of the one that was completed */
    bool ignore_eos;
    bool started; /* the prompt is evaluated */
    bool reading; /* ids are not, or not all */
    tern_finish finish;
    int32_t next[TERN_MAX_OUT]; /* the token chosen last, not evaluated yet; what may follow it */
    uint64_t n_feed;            /* of the session, when this request fed it last */
    bool has_row;               /* and the token to choose next has its row */
    bool drafts;
    tern_spec spec;               /* if drafts */
    int32_t sure[TERN_MAX_DRAFT]; /* what the grammar leaves no choice about, after next[0] */
    int n_sure;
    bool judges_sure; /* the next choice tells how good they were */
    /* Of one call. */
    bool fed;      /* the session's feed is this request's */
    bool chooses;  /* its next row is there */
    double *spent; /* what the call's time counts as */
    double idle_s; /* waited for others after the end */
    tern_code rc;
    tern_err err;
    tern_detok detok;
    tern_str piece, text; /* of one token; what of it may be shown */
    bool logprobs, logprobs_final;
    int n_top;
    tern_logprobs probs; /* of the token chosen last, if logprobs */
    tern_logprobs *echo; /* owned; [n_prompt]: of the prompt's tokens; NULL: nobody asks */
    size_t n_echo;       /* of them are known */
    size_t echo_from;    /* the token of the feed's first row */
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
                         .repeat_last_n = p.repeat_last_n,
                         .spec = TERN_SPEC_NGRAM,
                         .spec_max = TERN_MAX_DRAFT};
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

static tern_code take_grammar(tern_request *r, const tern_gen_opts *o, tern_err *err)
{
    if (!o->grammar && o->n_trigger)
        return tern_fail(err, TERN_E_USAGE, "there are triggers, but there is no grammar");
    if (!o->grammar)
        return TERN_OK;
    if (tern_grammar_trie(o->grammar)->tok != r->s->m->tok)
        return tern_fail(err, TERN_E_USAGE, "the grammar was compiled for another model");
    return tern_matcher_new(o->grammar, o->trigger, o->n_trigger, !o->ignore_eos, &r->matcher, err);
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
    if ((unsigned)o->spec > TERN_SPEC_ALWAYS || o->spec_max < 0 || o->spec_max > TERN_MAX_DRAFT)
        return tern_fail(err, TERN_E_USAGE, "spec is %d with at most %d tokens, expected 0..%d",
                         (int)o->spec, o->spec_max, TERN_MAX_DRAFT);
    if (o->n_top < 0 || o->n_top > TERN_MAX_TOP)
        return tern_fail(err, TERN_E_USAGE, "n_top is %d, expected 0..%d", o->n_top, TERN_MAX_TOP);
    for (size_t i = 0; i < n_tok; i++)
        if (prompt[i] < 0 || prompt[i] >= s->m->w.h.n_vocab)
            return tern_fail(err, TERN_E_USAGE, "token %zu of the prompt is id %d, expected 0..%d",
                             i, prompt[i], s->m->w.h.n_vocab - 1);
    TERN_TRY(make_sampler(r, o, err));
    if (o->n_stop)
        TERN_TRY(tern_stop_new(o->stop, o->n_stop, &r->stop, err));
    TERN_TRY(take_grammar(r, o, err));
    r->drafts = o->spec != TERN_SPEC_OFF && o->spec_max > 0;
    if (r->drafts)
        TERN_TRY(tern_spec_init(&r->spec, o->spec_max, o->spec == TERN_SPEC_ALWAYS, err));
    r->ids = tern_calloc(n_tok, sizeof *r->ids);
    if (!r->ids)
        return tern_fail(err, TERN_E_NOMEM, "request: out of memory");
    memcpy(r->ids, prompt, n_tok * sizeof *prompt);
    r->n_id = r->stats.n_prompt = n_tok;
    r->reading = true;
    r->n_predict = o->n_predict;
    r->ignore_eos = o->ignore_eos;
    r->logprobs = o->logprobs;
    r->logprobs_final = o->logprobs_final;
    r->n_top = o->n_top;
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
    tern_matcher_free(r->matcher);
    tern_spec_done(&r->spec);
    tern_free(r->ids);
    tern_free(r->echo);
    tern_str_done(&r->piece);
    tern_str_done(&r->text);
    tern_free(r);
}

/* ---- what a prompt's tokens were worth ------------------------------------------------------- */

tern_code tern_request_echo(tern_request *r, tern_err *err)
{
    r->echo = tern_calloc(r->stats.n_prompt, sizeof *r->echo);
    if (!r->echo)
        return tern_fail(err, TERN_E_NOMEM, "request: out of memory for probabilities");
    r->echo[0].logprob = NAN;
    r->n_echo = 1;
    return TERN_OK;
}

const tern_logprobs *tern_request_echoes(const tern_request *r, size_t *n)
{
    *n = r->n_echo;
    return r->echo;
}

/* Logits behind one token of the ids say what the next one was worth. */
static void echo_row(void *ctx, int row, const float *logits)
{
    tern_request *r = ctx;
    size_t next = r->echo_from + (size_t)row + 1;
    if (next != r->n_echo || next >= r->stats.n_prompt)
        return;
    r->echo[next].n_top = r->n_top;
    tern_logprobs_of_logits(&r->echo[next], logits, r->s->m->w.h.n_vocab, r->ids[next]);
    r->n_echo++;
}

/* The prompt is read. */
static void start(tern_request *r)
{
    r->started = true;
    for (size_t i = 0; i < r->stats.n_prompt; i++) {
        tern_sampler_accept(r->sampler, r->ids[i]);
        if (r->drafts)
            tern_spec_read(&r->spec, r->ids[i]);
    }
}

/* ---- states that come and go ------------------------------------------------------------------ */

tern_code tern_request_park(tern_request *r, tern_err *err)
{
    tern_session *s = r->s;
    if (!r->reading && r->finish == TERN_FINISH_NONE) {
        r->has_row &= r->n_feed == s->n_feed;
        tern_session_settle(s);
        size_t n = (size_t)tern_session_n_tok(s), next = !r->has_row;
        int32_t *ids = tern_realloc(r->ids, r->n_id * sizeof *ids, (n + next) * sizeof *ids);
        if (!ids)
            return tern_fail(err, TERN_E_NOMEM, "request: out of memory for %zu ids", n);
        memcpy(ids, s->seq.ids, n * sizeof *ids);
        if (next)
            ids[n] = r->next[0];
        r->ids = ids;
        r->n_id = n + next;
        r->reading = true;
    }
    r->has_row = false;
    r->n_own = 0;
    return TERN_OK;
}

bool tern_request_lacks_memory(const tern_request *r)
{
    return r->finish == TERN_FINISH_NONE &&
           (r->rc == TERN_E_NOMEM || (r->fed && r->reading && r->s->feed.starved));
}

const int32_t *tern_request_ids(const tern_request *r, size_t *n)
{
    *n = r->reading ? r->n_id : 0;
    return r->ids;
}

tern_code tern_stem_init(tern_stem *t, const tern_session *s, tern_err *err)
{
    size_t row = s->kept_stride * sizeof *t->row;
    int at = s->n_out - 1 - s->n_ahead;
    *t = (tern_stem){.kept = s->kept[at]};
    TERN_TRY(tern_seq_share(&s->seq, tern_session_n_tok(s), false, &t->seq, err));
    t->row = tern_alloc(row);
    if (!t->row) {
        tern_stem_done(t);
        return tern_fail(err, TERN_E_NOMEM, "request: out of memory for its first row");
    }
    memcpy(t->row, tern_session_row(s, at), row);
    return TERN_OK;
}

void tern_stem_done(tern_stem *t)
{
    tern_seq_done(&t->seq);
    tern_free(t->row);
    *t = (tern_stem){0};
}

tern_code tern_request_follow(tern_request *r, const tern_stem *t, tern_err *err)
{
    tern_session *s = r->s;
    tern_seq seq;
    TERN_TRY(tern_seq_snapshot(&t->seq, &seq, err));
    tern_session_adopt(s, &seq);
    memcpy(tern_session_row(s, 0), t->row, s->kept_stride * sizeof *t->row);
    s->kept[0] = t->kept;
    s->n_out = 1;
    r->n_feed = s->n_feed;
    r->has_row = true;
    r->reading = false;
    r->stats.n_cached = r->stats.n_prompt;
    start(r);
    return TERN_OK;
}

/* ---- what a request wants evaluated -------------------------------------------------------- */

/* Keep what the session shares with the ids, but evaluate at least the last one, or all of which the
 * probabilities are still to be told. */
static tern_code feed_ids(tern_request *r, tern_err *err)
{
    tern_session *s = r->s;
    size_t keep = 0, have = (size_t)tern_session_n_tok(s), most = r->n_id - 1;
    bool echoes = r->echo && r->n_echo < r->stats.n_prompt;
    if (echoes)
        most = r->n_echo - 1;
    while (keep < most && keep < have && s->seq.ids[keep] == r->ids[keep])
        keep++;
    tern_session_rewind(s, keep);
    if (!r->started)
        r->stats.n_cached = keep > r->n_own ? keep - r->n_own : 0;
    r->echo_from = keep;
    return tern_session_feed(s, r->ids + keep, r->n_id - keep, 1, echoes ? echo_row : NULL, r, err);
}

void tern_request_gained(tern_request *r)
{
    if (r->n_feed && r->n_feed == r->s->n_feed)
        r->n_own += r->s->feed.n_done;
    r->s->n_feed++;
}

/* Its feed is still there, half done: nobody used the session since. */
static bool reads_on(const tern_request *r)
{
    return r->reading && r->n_feed && r->n_feed == r->s->n_feed && !tern_feed_over(&r->s->feed);
}

/* How many tokens may be drafted beyond the one that is known: the answer and the context end. */
static int draft_room(const tern_request *r)
{
    const tern_session *s = r->s;
    int room = s->seq.n_ctx - tern_session_n_tok(s) - 1;
    if (r->n_predict >= 0 && (size_t)r->n_predict - r->stats.n_generated <= (size_t)room)
        room = (int)((size_t)r->n_predict - r->stats.n_generated) - 1;
    return room;
}

/* What the grammar leaves no choice about, else what the text so far suggests. */
static void offer_drafts(tern_request *r)
{
    if (r->matcher)
        r->n_sure = tern_matcher_forced(r->matcher, r->s->m->tok, r->sure, TERN_MAX_DRAFT);
    r->judges_sure = r->n_sure > 0;
    if (r->n_sure)
        tern_spec_offer_sure(&r->spec, r->n_sure, draft_room(r));
    else
        tern_spec_offer(&r->spec, draft_room(r));
}

/* Tokens to follow next[0] in the pass, as many as were planned. */
static int put_drafts(tern_request *r)
{
    int n = r->spec.n_draft;
    if (!r->n_sure)
        return tern_ngram_draft(&r->spec.source, r->next + 1, n);
    n = n < r->n_sure ? n : r->n_sure;
    memcpy(r->next + 1, r->sure, (size_t)n * sizeof *r->sure);
    return n;
}

/* Begin a call. Sets fed if a pass is needed; the feed itself is made by feed() after the plan. */
static void prepare(tern_request *r)
{
    tern_session *s = r->s;
    tern_str_clear(&r->piece);
    tern_str_clear(&r->text);
    r->rc = r->finish == TERN_FINISH_FAILED ? r->err.code : TERN_OK;
    r->fed = false;
    r->spent = r->finish != TERN_FINISH_NONE ? &r->idle_s
               : r->started                  ? &r->stats.generate_s
                                             : &r->stats.prompt_s;
    r->has_row &= r->n_feed == s->n_feed;
    if (r->finish != TERN_FINISH_NONE || (r->n_predict == 0 && r->started && !r->reading))
        return;
    if (atomic_load_explicit(&s->cancel, memory_order_relaxed))
        r->rc = tern_fail(&r->err, TERN_E_CANCELLED, "cancelled");
    else if (!r->has_row)
        r->has_row = !r->reading && tern_session_catch_up(s, r->next[0]);
    r->fed = r->rc == TERN_OK && !r->has_row;
    r->n_sure = 0;
    if (r->fed && !r->reading && r->drafts)
        offer_drafts(r);
}

/* Give the session what is wanted: the rest of the prompt, or the token chosen last and its drafts. */
static void feed(tern_request *r)
{
    tern_session *s = r->s;
    if (reads_on(r))
        return;
    s->whole_head = r->logprobs || !tern_sampler_screens(r->sampler);
    if (r->reading) {
        r->rc = feed_ids(r, &r->err);
        s->feed.waits = s->brief;
    } else {
        int n = 1;
        if (r->drafts)
            n += put_drafts(r);
        if (r->matcher) /* what may not come will not be chosen */
            n = 1 + tern_matcher_agrees(r->matcher, r->next + 1, n - 1);
        r->rc = tern_session_feed(s, r->next, (size_t)n, n, NULL, NULL, &r->err);
        if (r->rc == TERN_E_NOMEM && n > 1)
            r->rc = tern_session_feed(s, r->next, 1, 1, NULL, NULL, &r->err);
    }
    r->n_feed = s->n_feed;
    r->fed = r->rc == TERN_OK;
}

/* ---- passes ---------------------------------------------------------------------------------- */

/* Drafts of all requests that generate, in view of all their rows. Those of prompts come on top and leave
 * answers half of their speed (decode/cost.c), drafts included: a drafted row beside them costs what it
 * costs without, or less. */
static void plan(tern_request *const *r, size_t n, const tern_cost *cost)
{
    tern_spec *list = NULL;
    int n_row = 0;
    for (size_t i = 0; i < n; i++) {
        if (!r[i]->fed || r[i]->reading)
            continue;
        n_row++;
        if (r[i]->drafts) {
            r[i]->spec.next = list;
            list = &r[i]->spec;
        }
    }
    tern_spec_plan(list, n_row, cost);
}

static tern_feed *list_feeds(tern_request *const *r, size_t n)
{
    tern_feed *list = NULL, **end = &list;
    for (size_t i = 0; i < n; i++)
        if (r[i]->fed) {
            *end = &r[i]->s->feed;
            end = &r[i]->s->feed.next;
        }
    *end = NULL;
    return list;
}

/* Memory did not suffice for a draft's rows: without them the answer may still go on. */
static bool drop_draft(tern_request *r)
{
    tern_session *s = r->s;
    if (!r->fed || r->reading || s->feed.rc != TERN_E_NOMEM || s->feed.n_tok == 1)
        return false;
    r->spec.n_draft = 0;
    feed(r);
    return r->fed;
}

/* Until every answer has its next row; prompts get as far as that takes them, or to the end if whole.
 */
static void run(tern_request *const *r, size_t n, bool whole)
{
    tern_model *m = r[0]->s->m;
    bool more = true;
    plan(r, n, &m->cost);
    for (size_t i = 0; i < n; i++)
        if (r[i]->fed)
            feed(r[i]);
    while (more) {
        tern_feed *list = list_feeds(r, n);
        tern_pass(&m->e, m->rows, list, &m->cost);
        more = false;
        for (size_t i = 0; i < n; i++)
            more |= drop_draft(r[i]);
        for (tern_feed *f = list; f; f = f->next)
            more |= !tern_feed_over(f) && !f->starved &&
                    (whole || (f->n_done == 0 && tern_feed_is_short(f)));
    }
}

/* The request's rows are evaluated, or could not be. */
static void take_feed(tern_request *r)
{
    tern_session *s = r->s;
    if (!r->fed)
        return;
    if (s->feed.rc != TERN_OK) {
        r->rc = s->feed.rc;
        r->err = s->feed.err;
    } else if (!r->reading) {
        r->has_row = true;
        s->n_ahead = s->feed.n_out - 1;
        r->stats.n_pass++;
        r->stats.n_drafted += (size_t)s->n_ahead;
    } else if (tern_feed_over(&s->feed)) {
        r->reading = false;
        r->has_row = true;
        if (!r->started)
            start(r);
    }
}

/* ---- what comes out -------------------------------------------------------------------------- */

/* Pass text through the stop strings; true when one was completed. */
static bool show(tern_request *r)
{
    if (!r->stop) {
        tern_str_put(&r->text, tern_str_get(&r->piece), r->piece.len);
        return false;
    }
    r->stopped_by = tern_stop_feed(r->stop, tern_str_get(&r->piece), r->piece.len, &r->text);
    return r->stopped_by >= 0;
}

static void finish(tern_request *r, tern_finish why)
{
    r->finish = why;
    tern_session_settle(r->s);
    if (why == TERN_FINISH_STOP)
        return;
    tern_str_clear(&r->piece);
    tern_detok_finish(&r->detok, &r->piece);
    (void)show(r);
    if (r->stop)
        tern_stop_finish(r->stop, &r->text);
}

/* What the last choice read of the head. */
static void count_head(tern_request *r)
{
    const tern_head_use *use = &r->s->head_use;
    const tern_weights *w = &r->s->m->w;
    size_t n = (size_t)use->picked.n_exact;
    if (!use->screened)
        return;
    r->stats.n_screened++;
    r->stats.n_head_whole += use->whole;
    r->stats.n_head_row += n;
    r->stats.max_head_row = n > r->stats.max_head_row ? n : r->stats.max_head_row;
    r->stats.head_bytes += n * w->head.w_stride + (use->whole ? w->head.read_bytes : 0) +
                           tern_picked_fine_bytes(&use->picked, &w->screen);
}

/* The next token is chosen. */
static void take_token(tern_request *r, int32_t id)
{
    tern_session *s = r->s;
    count_head(r);
    r->has_row = false;
    r->next[0] = id;
    r->stats.n_generated++;
    if (s->n_ahead && s->seq.ids[tern_session_n_tok(s)] == id)
        r->stats.n_accepted++;
    if (tern_token_is_eog(s->m->tok, id) && !r->ignore_eos) {
        finish(r, TERN_FINISH_EOG);
        return;
    }
    tern_sampler_accept(r->sampler, id);
    if (r->judges_sure)
        tern_spec_accept_sure(&r->spec, id == r->sure[0]);
    r->judges_sure = false;
    if (r->drafts)
        tern_spec_accept(&r->spec, id);
    tern_detok_push(&r->detok, id, &r->piece);
    if (r->matcher && (r->rc = tern_matcher_accept(r->matcher, id, &r->err)) != TERN_OK)
        r->finish = TERN_FINISH_FAILED; /* the token is taken, so there is no going on */
    else if (show(r))
        finish(r, TERN_FINISH_STOP);
    else if (r->matcher && tern_matcher_is_over(r->matcher)) /* no need to hear so from the model */
        finish(r, TERN_FINISH_EOG);
    else if (r->stats.n_generated == (size_t)r->n_predict || tern_session_n_tok(s) >= s->seq.n_ctx)
        finish(r, TERN_FINISH_LENGTH);
}

/* Only what the grammar allows is there to choose from. */
static void allow(tern_request *r)
{
    tern_allowed a;
    if (!r->matcher)
        return;
    r->rc = tern_matcher_allowed(r->matcher, &a, &r->err);
    r->chooses = r->rc == TERN_OK && !a.over;
    if (r->rc == TERN_OK && a.over)
        finish(r, TERN_FINISH_EOG);
    tern_sampler_allow(r->sampler, a.bits, a.n);
}

/* The passes are over: is there a token to choose? */
static void settle(tern_request *r)
{
    r->chooses = false;
    if (r->finish != TERN_FINISH_NONE)
        return;
    take_feed(r);
    if (r->rc == TERN_E_CANCELLED) {
        finish(r, TERN_FINISH_CANCELLED);
        r->rc = TERN_OK;
    } else if (r->rc == TERN_OK && r->started && !r->reading) {
        const tern_session *s = r->s;
        if (r->n_predict == 0)
            finish(r, TERN_FINISH_LENGTH);
        else if (s->n_out <= s->n_ahead)
            r->rc = tern_fail(&r->err, TERN_E_INTERNAL, "request: no row to choose from");
        else
            r->chooses = true;
    }
    if (r->chooses)
        allow(r);
}

static void tell_probs(const tern_logprobs *l, tern_event *ev)
{
    ev->logprob = l->logprob;
    ev->top = l->top;
    ev->n_top = (size_t)l->n_top;
}

/* Tokens for all that have a row, some at a time as there may be any number of them. */
static void choose(tern_request *const *r, size_t n, tern_event *ev)
{
    tern_choice c[TERN_SCREEN_ROWS];
    for (size_t i = 0; i < n;) {
        size_t first = i;
        int n_choice = 0;
        for (; i < n && n_choice < TERN_SCREEN_ROWS; i++) {
            tern_session *s = r[i]->s;
            if (!r[i]->chooses)
                continue;
            r[i]->probs.final = r[i]->logprobs_final;
            r[i]->probs.n_top = r[i]->n_top;
            c[n_choice++] = (tern_choice){.s = s,
                                          .sampler = r[i]->sampler,
                                          .out_row = s->n_out - 1 - s->n_ahead,
                                          .pos = (uint64_t)tern_session_n_tok(s),
                                          .probs = r[i]->logprobs ? &r[i]->probs : NULL};
        }
        tern_sessions_choose(c, n_choice);
        n_choice = 0;
        for (; first < i; first++)
            if (r[first]->chooses) {
                take_token(r[first], ev[first].id = c[n_choice++].id);
                if (r[first]->logprobs)
                    tell_probs(&r[first]->probs, &ev[first]);
            }
    }
}

/* End a call. */
static void conclude(tern_request *r, tern_event *ev)
{
    ev->finish = r->finish;
    ev->stop = r->finish == TERN_FINISH_STOP ? r->stopped_by : -1;
    if (r->rc == TERN_OK && (r->piece.failed || r->text.failed)) {
        r->rc = tern_fail(&r->err, TERN_E_NOMEM, "request: out of memory for the text");
        r->finish = TERN_FINISH_FAILED; /* a piece of it is lost, so there is no going on */
    }
    ev->text = tern_str_get(&r->text);
    ev->n_text = r->text.len;
}

/* One event each; wall time goes to everyone who waited. */
static void step(tern_request *const *r, size_t n, bool whole, tern_event *ev)
{
    uint64_t begin = tern_clock_ns();
    tern_model *m = r[0]->s->m;
    bool waits = false;
    for (size_t i = 0; i < n; i++) {
        prepare(r[i]);
        waits |= r[i]->fed;
    }
    if (waits) { /* else all rows are there: wait for nobody */
        tern_turn_take(&m->turn);
        run(r, n, whole);
    }
    for (size_t i = 0; i < n; i++) {
        ev[i] = (tern_event){.id = -1};
        settle(r[i]);
    }
    choose(r, n, ev);
    if (waits)
        tern_turn_give(&m->turn);
    for (size_t i = 0; i < n; i++)
        conclude(r[i], &ev[i]);
    double spent = (double)(tern_clock_ns() - begin) * 1e-9;
    for (size_t i = 0; i < n; i++)
        *r[i]->spent += spent;
}

tern_code tern_request_next(tern_request *r, tern_event *ev, tern_err *err)
{
    step(&r, 1, true, ev);
    if (r->rc != TERN_OK && err)
        *err = r->err;
    return r->rc;
}

static tern_code check_list(tern_request *const *r, size_t n, tern_err *err)
{
    tern_code rc = TERN_OK;
    size_t i = 0;
    for (; i < n && r[i]->s->m == r[0]->s->m && !r[i]->s->in_call; i++)
        r[i]->s->in_call = true;
    if (i < n && r[i]->s->m != r[0]->s->m)
        rc = tern_fail(err, TERN_E_USAGE, "requests 0 and %zu are of different models", i);
    else if (i < n)
        rc = tern_fail(err, TERN_E_USAGE, "request %zu shares its session with another", i);
    while (i > 0)
        r[--i]->s->in_call = false;
    return rc;
}

tern_code tern_requests_next(tern_request *const *r, size_t n, tern_event *ev, tern_err *err)
{
    if (n == 0)
        return TERN_OK;
    TERN_TRY(check_list(r, n, err));
    step(r, n, false, ev);
    for (size_t i = 0; i < n; i++)
        if (r[i]->rc != TERN_OK)
            ev[i] = (tern_event){.text = "", .id = -1, .stop = -1, .finish = TERN_FINISH_FAILED};
    return TERN_OK;
}

const tern_err *tern_request_error(const tern_request *r)
{
    return &r->err;
}

void tern_request_stats_get(const tern_request *r, tern_request_stats *st)
{
    *st = r->stats;
}
