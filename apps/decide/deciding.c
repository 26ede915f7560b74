/* From items to probabilities: all answers of many items are scored by one call, which evaluates what they
 * share once. */
#include "base/alloc.h"
#include "base/error.h"
#include "decide/decide.h"

#include <math.h>
#include <string.h>

/* Ids of one call to the engine, 64 MB: thousands of items. */
#define MAX_IDS ((size_t)16 << 20)
/* What is less likely than this counts as this: a label whose every text is the beginning of another's may
 * have nothing left. */
#define LEAST (-1e5)

/* One set of answers to be scored. */
typedef struct question {
    const decide_labels *l;
    const char *input, *said; /* said: see decide_ask */
    decide_result *r;
    size_t item; /* for messages */
} question;

typedef struct batch {
    const decide_host *h;
    const decide_task *t;
    question *q; /* borrowed */
    size_t n, done;
    decide_asked *asked; /* owned; [n_asked] of q + done */
    size_t n_asked, n_text, n_id;
    tern_score_text *texts; /* owned; [n_text] */
    tern_score *scores;     /* owned; [n_text] */
} batch;

static void batch_clear(batch *b)
{
    for (size_t i = 0; i < b->n_asked; i++)
        decide_asked_done(&b->asked[i]);
    tern_free(b->asked);
    tern_free(b->texts);
    tern_free(b->scores);
    b->asked = NULL;
    b->texts = NULL;
    b->scores = NULL;
    b->n_asked = b->n_text = b->n_id = 0;
}

static size_t common(const tern_ids *a, const tern_ids *b)
{
    size_t n = 0, most = a->n < b->n ? a->n : b->n;
    while (n < most && a->v[n] == b->v[n])
        n++;
    return n;
}

/* ---- texts --------------------------------------------------------------------------------- */

static tern_code result_init(decide_result *r, size_t n, tern_err *err)
{
    *r = (decide_result){.n = n};
    r->log_prob = tern_calloc(n, sizeof *r->log_prob);
    r->p = tern_calloc(n, sizeof *r->p);
    return r->log_prob && r->p ? TERN_OK
                               : tern_fail(err, TERN_E_NOMEM, "out of memory for a decision");
}

static size_t base_tokens(const batch *b)
{
    size_t n = 0;
    if (b->h->base)
        (void)tern_session_tokens(b->h->base, &n);
    return n;
}

static tern_code ask_one(batch *b, tern_err *err)
{
    const question *q = &b->q[b->done + b->n_asked];
    decide_asked *a = &b->asked[b->n_asked];
    tern_err why;
    tern_code rc = decide_ask(b->h, b->t, q->l, q->input, q->said, a, &why);
    if (rc != TERN_OK)
        return tern_fail(err, rc, "item %zu: %.200s", b->h->first_item + q->item + 1, why.msg);
    rc = result_init(q->r, q->l->n, err);
    q->r->n_prompt = a->prompt.n;
    q->r->n_cached = base_tokens(b);
    if (b->n_asked > 0) {
        size_t shared = common(&a->prompt, &a[-1].prompt);
        q->r->n_cached = shared > q->r->n_cached ? shared : q->r->n_cached;
    }
    q->r->n_cached = q->r->n_cached < a->prompt.n ? q->r->n_cached : a->prompt.n;
    for (size_t i = 0; i < a->n_text; i++) {
        q->r->n_answer += a->text[i].n - a->n_given;
        b->n_id += a->text[i].n;
    }
    b->n_text += a->n_text;
    b->n_asked++;
    return rc;
}

/* Questions from b->done on, as many as one call takes. */
static tern_code ask(batch *b, tern_err *err)
{
    size_t left = b->n - b->done, k = 0;
    b->asked = tern_calloc(left, sizeof *b->asked);
    if (!b->asked)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for %zu items", left);
    while (b->n_asked < left && b->n_id < MAX_IDS)
        TERN_TRY(ask_one(b, err));
    b->texts = tern_calloc(b->n_text, sizeof *b->texts);
    b->scores = tern_calloc(b->n_text, sizeof *b->scores);
    if (!b->texts || !b->scores)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for %zu answers", b->n_text);
    for (size_t i = 0; i < b->n_asked; i++)
        for (size_t j = 0; j < b->asked[i].n_text; j++) {
            const decide_asked *a = &b->asked[i];
            b->texts[k++] = (tern_score_text){a->text[j].v, a->text[j].n, a->n_given};
        }
    return TERN_OK;
}

/* ---- scores -------------------------------------------------------------------------------- */

/* Texts that begin with another one are counted for themselves, not for that one: the likelihood of text i
 * alone, from those of all. What goes on from one that goes on from i is counted with that. */
static double alone(const decide_asked *a, const tern_score *s, size_t i)
{
    double lost = 0.0, whole = s[i].log_prob;
    for (size_t k = 0; k < a->n_text; k++)
        lost += a->parent[k] == i ? exp(s[k].log_prob - whole) : 0.0;
    return lost >= 1.0 ? LEAST : fmax(whole + log1p(-lost), LEAST);
}

static double normed(const decide_task *t, double x, size_t n_tok, const char *text)
{
    if (t->norm == DECIDE_TOKENS)
        return x / (double)n_tok;
    return t->norm == DECIDE_BYTES ? x / (double)strlen(text) : x;
}

static double add_logs(double a, double b)
{
    double most = fmax(a, b);
    return most + log(exp(a - most) + exp(b - most));
}

static void sum_up(const batch *b, const question *q, const decide_asked *a, const tern_score *s)
{
    size_t i = 0;
    q->r->done = true;
    for (size_t k = 0; k < a->n_text; k++)
        q->r->done &= s[k].done;
    for (size_t k = 0; q->r->done && k < q->l->n; k++)
        for (size_t v = 0; v < q->l->v[k].n_text; v++, i++) {
            double x = normed(b->t, alone(a, s, i), a->text[i].n - a->n_given, q->l->v[k].text[v]);
            q->r->log_prob[k] = v == 0 ? x : add_logs(q->r->log_prob[k], x);
        }
}

static bool go_on(void *ctx, size_t done, size_t total)
{
    const batch *b = ctx;
    double share = total ? (double)done / (double)total : 1.0;
    size_t n = b->done + (size_t)(share * (double)b->n_asked);
    return !b->h->progress || b->h->progress(b->h->ctx, n, b->n);
}

/* The base only where all prompts begin with it. */
static tern_session *usable_base(const batch *b)
{
    size_t n;
    const int32_t *ids;
    if (!b->h->base)
        return NULL;
    ids = tern_session_tokens(b->h->base, &n);
    for (size_t i = 0; i < b->n_text; i++)
        if (b->texts[i].n_given <= n || memcmp(b->texts[i].ids, ids, n * sizeof *ids) != 0)
            return NULL;
    return b->h->base;
}

static tern_code weigh_all(const decide_host *h, const decide_task *t, question *q, size_t n,
                           tern_err *err)
{
    batch b = {.h = h, .t = t, .q = q, .n = n};
    tern_score_opts o;
    tern_code rc = TERN_OK;
    tern_score_opts_init(&o);
    o.cache_k = h->cache_k;
    o.cache_v = h->cache_v;
    o.progress = go_on;
    o.ctx = &b;
    while (rc == TERN_OK && b.done < n) {
        rc = ask(&b, err);
        if (rc == TERN_OK) {
            o.base = usable_base(&b);
            rc = tern_model_score(h->m, b.texts, b.n_text, &o, b.scores, err);
            const tern_score *s = b.scores;
            for (size_t i = 0; i < b.n_asked; s += b.asked[i].n_text, i++)
                sum_up(&b, &q[b.done + i], &b.asked[i], s);
        }
        b.done += b.n_asked;
        batch_clear(&b);
    }
    batch_clear(&b);
    return rc;
}

/* ---- from log-probabilities to probabilities ----------------------------------------------- */

void decide_apply(const decide_map *m, const double *s, size_t n, double *p)
{
    double most = -HUGE_VAL, sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        p[i] = m ? s[i] / m->temperature + (m->bias ? m->bias[i] : 0.0) : s[i];
        most = fmax(most, p[i]);
    }
    for (size_t i = 0; i < n; i++) {
        p[i] = exp(p[i] - most);
        sum += p[i];
    }
    for (size_t i = 0; i < n; i++)
        p[i] /= sum;
}

void decide_map_done(decide_map *m)
{
    tern_free(m->bias);
    *m = (decide_map){.temperature = 1.0};
}

/* s -= log of the mean of probabilities p[0..n_p), each [n]. */
static void take_away(double *s, size_t n, const decide_result *r, size_t n_p)
{
    for (size_t k = 0; k < n; k++) {
        double mean = 0.0;
        for (size_t i = 0; i < n_p; i++)
            mean += r[i].p[k] / (double)n_p;
        s[k] -= fmax(log(mean), LEAST);
    }
}

static void choose(decide_result *r, const decide_map *map)
{
    decide_apply(map, r->log_prob, r->n, r->p);
    r->best = 0;
    for (size_t k = 1; k < r->n; k++)
        if (r->p[k] > r->p[r->best])
            r->best = k;
}

static void choose_all(decide_result *r, size_t n, const decide_map *map)
{
    for (size_t i = 0; i < n; i++)
        if (r[i].done)
            choose(&r[i], map);
}

/* ---- calibration without labels ------------------------------------------------------------ */

static const char *const free_of_content[] = {"N/A", "[MASK]", ""};

static size_t n_free(const decide_task *t)
{
    if (t->calibrate != DECIDE_CONTEXTUAL)
        return 0;
    return t->content_free ? json_array_size(t->content_free) : 3;
}

static const char *free_text(const decide_task *t, size_t i)
{
    return t->content_free ? json_string_value(json_array_get(t->content_free, i))
                           : free_of_content[i];
}

/* Questions: of each item, or of all if they share labels, first the texts without content. */
static size_t list_questions(const decide_task *t, const decide_item *items, size_t n_item,
                             decide_result *r, decide_result *free_r, question *q)
{
    size_t n = 0, per = n_free(t);
    for (size_t i = 0; i < n_item; i++) {
        const decide_labels *l = decide_labels_of(t, &items[i]);
        size_t set = t->labels.n ? 0 : i;
        for (size_t f = 0; f < per && (i == 0 || !t->labels.n); f++)
            q[n++] = (question){l, free_text(t, f), NULL, &free_r[set * per + f], i};
        q[n++] = (question){l, items[i].input, NULL, &r[i], i};
    }
    return n;
}

static tern_code check_batch(const decide_task *t, size_t n_item, tern_err *err)
{
    if (t->calibrate != DECIDE_BATCH)
        return TERN_OK;
    if (!t->labels.n)
        return tern_fail(err, TERN_E_USAGE,
                         "'calibrate': batch is for labels that all items share");
    return n_item > 1 ? TERN_OK
                      : tern_fail(err, TERN_E_USAGE, "'calibrate': batch needs several inputs");
}

static tern_code run(const decide_host *h, const decide_task *t, const decide_item *items,
                     size_t n_item, decide_result *r, decide_result *free_r, size_t n_free_r,
                     tern_err *err)
{
    question *q = tern_calloc(n_item + n_free_r, sizeof *q);
    if (!q)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for %zu items", n_item);
    size_t n = list_questions(t, items, n_item, r, free_r, q);
    tern_code rc = weigh_all(h, t, q, n, err);
    tern_free(q);
    if (rc != TERN_OK && rc != TERN_E_CANCELLED)
        return rc;
    size_t per = n_free(t);
    choose_all(free_r, n_free_r, NULL);
    for (size_t i = 0; per && i < n_item; i++) {
        const decide_result *f = &free_r[t->labels.n ? 0 : i * per];
        for (size_t k = 0; k < per; k++)
            r[i].done &= f[k].done;
        if (r[i].done)
            take_away(r[i].log_prob, r[i].n, f, per);
    }
    return rc;
}

/* The mean over all items is what is taken away from each. */
static tern_code take_batch(size_t n, decide_result *r, size_t n_item, tern_err *err)
{
    double *prior = tern_calloc(n, sizeof *prior);
    if (!prior)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for a calibration");
    choose_all(r, n_item, NULL);
    take_away(prior, n, r, n_item);
    for (size_t i = 0; i < n_item; i++)
        for (size_t k = 0; k < n; k++)
            r[i].log_prob[k] += prior[k];
    tern_free(prior);
    return TERN_OK;
}

tern_code decide_weigh_said(const decide_host *h, const decide_task *t, const decide_labels *l,
                            const char *input, const char *said, decide_result *r, tern_err *err)
{
    question q = {l, input, said, r, 0};
    *r = (decide_result){0};
    TERN_TRY(weigh_all(h, t, &q, 1, err));
    choose(r, NULL);
    return TERN_OK;
}

tern_code decide_weigh(const decide_host *h, const decide_task *t, const decide_item *items,
                       size_t n_item, decide_result *r, tern_err *err)
{
    size_t n_free_r = n_free(t) * (t->labels.n ? 1 : n_item);
    memset(r, 0, n_item * sizeof *r);
    decide_result *free_r = tern_calloc(n_free_r + 1, sizeof *free_r);
    if (!free_r)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for %zu items", n_item);
    tern_code rc = run(h, t, items, n_item, r, free_r, n_free_r, err);
    decide_results_done(free_r, n_free_r);
    tern_free(free_r);
    return rc;
}

tern_code decide_conclude(const decide_task *t, size_t n_item, const decide_map *map,
                          decide_result *r, tern_err *err)
{
    TERN_TRY(check_batch(t, n_item, err));
    if (t->calibrate == DECIDE_BATCH)
        TERN_TRY(take_batch(t->labels.n, r, n_item, err));
    choose_all(r, n_item, map);
    return TERN_OK;
}

tern_code decide_run(const decide_host *h, const decide_task *t, const decide_item *items,
                     size_t n_item, const decide_map *map, decide_result *r, tern_err *err)
{
    memset(r, 0, n_item * sizeof *r);
    TERN_TRY(check_batch(t, n_item, err));
    tern_code rc = decide_weigh(h, t, items, n_item, r, err);
    if (rc == TERN_OK)
        return decide_conclude(t, n_item, map, r, err);
    /* What is done before a cancellation stands, but for a mean over all that there is not. */
    for (size_t i = 0; t->calibrate == DECIDE_BATCH && i < n_item; i++)
        r[i].done = false;
    choose_all(r, n_item, map);
    return rc;
}

void decide_results_done(decide_result *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        tern_free(r[i].log_prob);
        tern_free(r[i].p);
        r[i] = (decide_result){0};
    }
}

decide_usage decide_usage_of(const decide_result *r, size_t n)
{
    decide_usage u = {0};
    for (size_t i = 0; i < n; i++) {
        u.n_prompt += r[i].n_prompt;
        u.n_cached += r[i].n_cached;
        u.n_answer += r[i].n_answer;
    }
    return u;
}

/* ---- what is told -------------------------------------------------------------------------- */

bool decide_is_withheld(const decide_task *t, const decide_result *r)
{
    return r->p[r->best] < t->min_p;
}

void decide_expect(const decide_labels *l, const decide_result *r, double *mean, double *deviation)
{
    double sum = 0.0, squares = 0.0;
    for (size_t k = 0; k < l->n; k++)
        sum += r->p[k] * l->v[k].value;
    for (size_t k = 0; k < l->n; k++)
        squares += r->p[k] * (l->v[k].value - sum) * (l->v[k].value - sum);
    *mean = sum;
    *deviation = sqrt(squares);
}

json_t *decide_answer_json(const decide_task *t, const decide_labels *l, const decide_result *r)
{
    if (decide_is_withheld(t, r))
        return json_null();
    if (t->kind == DECIDE_YES_NO)
        return json_boolean(r->best == 0);
    if (t->kind == DECIDE_SCORE)
        return json_integer((json_int_t)l->v[r->best].value);
    return json_string(l->v[r->best].name);
}

json_t *decide_result_json(const decide_task *t, const decide_labels *l, const decide_result *r,
                           bool log_probs)
{
    json_t *p = json_object(), *s = log_probs ? json_object() : NULL;
    bool ok = p != NULL && (s != NULL) == log_probs;
    for (size_t k = 0; ok && k < l->n; k++)
        ok = json_object_set_new(p, l->v[k].name, json_real(r->p[k])) == 0 &&
             (!s || json_object_set_new(s, l->v[k].name, json_real(r->log_prob[k])) == 0);
    json_t *o = ok ? json_pack("{s:o, s:f, s:o}", "answer", decide_answer_json(t, l, r), "p",
                               r->p[r->best], "probabilities", p)
                   : NULL;
    if (!o) {
        json_decref(p);
        json_decref(s);
        return NULL;
    }
    if (s && json_object_set_new(o, "log_probs", s) != 0)
        ok = false;
    if (t->kind == DECIDE_SCORE) {
        double mean, deviation;
        decide_expect(l, r, &mean, &deviation);
        ok = ok && json_object_set_new(o, "expected", json_real(mean)) == 0 &&
             json_object_set_new(o, "deviation", json_real(deviation)) == 0;
    }
    if (!ok) {
        json_decref(o);
        return NULL;
    }
    return o;
}
