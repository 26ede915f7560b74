/* POST /v1/decide: labels, yes or no, scores or fields for texts, with probabilities (docs/DECIDE.md).
 *
 * Answers are scored as `tern decide` does, by tern_model_score, not as jobs of the scheduler: a job reads one
 * prompt and writes, while scoring wants the probabilities of dozens of short ends of one prompt. As a
 * tree they share the prompt and ride through the model in few passes; as jobs each would take a slot. The
 * passes of both take turns at the model, brief ones while others wait for theirs.
 *
 * Requests wait in a queue of their own, not on the workers: one thread takes some items of each in turn, so a
 * long batch does not hold up a single question. What the prompts of a task have in common is kept between
 * requests, apart for each key. */
#include "decide/decide.h"
#include "base/alloc.h"
#include "base/error.h"
#include "server/decider.h"
#include "server/exchange.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum {
    MAX_QUEUE = 64,   /* requests */
    MAX_INPUT = 1024, /* of a request */
    TURN = 32,        /* items of one request at a time */
    MAX_KEPT = 8,     /* beginnings of prompts, */
    LEAST_KEPT = 16   /* each of so many tokens at least */
};
#define KEPT_BYTES ((uint64_t)64 << 20) /* of all of them, within what requests have */

/* One request. */
typedef struct decision {
    decider *owner;
    exchange *x;  /* a reference */
    json_t *body; /* owned; everything else borrows from it */
    decide_task task;
    decide_map map;
    bool has_map, log_probs;
    const json_t *inputs;
    decide_item *items;     /* owned; [n] */
    decide_result *r;       /* owned; [n] */
    decide_extract *fields; /* owned; [n]: of kind extract, instead */
    tern_grammar *grammar;  /* owned; of its schema */
    tern_session *session;  /* owned; where no beginning is kept */
    size_t n, n_done;
    size_t n_fresh; /* tokens of the beginning that were read for this request */
    atomic_bool gone;
    struct decision *next;
} decision;

/* The state behind a beginning. */
typedef struct kept {
    tern_session *s;           /* owned; NULL: free */
    uint64_t key, bytes, used; /* used: when, in turns */
} kept;

struct decider {
    decide_host host;
    tern_scheduler *s; /* borrowed; lends the memory of beginnings; NULL: nobody counts it */
    uint64_t token_bytes;
    tern_cache_type cache_k, cache_v;
    pthread_t thread;
    pthread_mutex_t mu;
    pthread_cond_t some;
    decision *head, *tail; /* guarded by mu */
    int n_queued;          /* guarded by mu */
    bool end;              /* guarded by mu */
    bool wanted;           /* guarded by mu: the memory of beginnings is */
    atomic_bool stop;
    decision *now; /* the thread's own from here on */
    kept kept[MAX_KEPT];
    uint64_t turn;
};

/* ---- requests ------------------------------------------------------------------------------ */

static void decision_free(decision *d)
{
    if (d->x) {
        exchange_on_gone(d->x, NULL, NULL);
        exchange_unref(d->x);
    }
    for (size_t i = 0; d->items && i < d->n; i++)
        decide_item_done(&d->items[i]);
    if (d->r)
        decide_results_done(d->r, d->n);
    for (size_t i = 0; d->fields && i < d->n; i++)
        decide_extract_done(&d->fields[i]);
    tern_free(d->items);
    tern_free(d->r);
    tern_free(d->fields);
    tern_grammar_free(d->grammar);
    tern_session_free(d->session);
    decide_map_done(&d->map);
    decide_task_done(&d->task);
    json_decref(d->body);
    tern_free(d);
}

static void is_gone(exchange *x, void *ctx)
{
    decision *d = ctx;
    (void)x;
    atomic_store(&d->gone, true);
}

static tern_code read_inputs(decision *d, const char **param, tern_err *err)
{
    d->inputs = json_object_get(d->body, "inputs");
    size_t n = json_array_size(d->inputs);
    *param = "inputs";
    if (!json_is_array(d->inputs) || n == 0 || n > MAX_INPUT)
        return tern_fail(err, TERN_E_USAGE, "'inputs': expected an array of 1 to %d", MAX_INPUT);
    d->items = tern_calloc(n, sizeof *d->items);
    d->r = tern_calloc(n, sizeof *d->r);
    d->fields = tern_calloc(n, sizeof *d->fields);
    if (!d->items || !d->r || !d->fields)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the inputs");
    for (; d->n < n; d->n++) {
        char what[48];
        (void)snprintf(what, sizeof what, "'inputs': item %zu", d->n + 1);
        TERN_TRY(decide_item_read(&d->items[d->n], &d->task, json_array_get(d->inputs, d->n), false,
                                  what, err));
    }
    return TERN_OK;
}

static tern_code read_calibration(decision *d, const serving *s, const char **param, tern_err *err)
{
    const json_t *name = json_object_get(d->body, "calibration"), *o = NULL;
    *param = "calibration";
    if (!name || json_is_null(name))
        return TERN_OK;
    if (json_is_string(name))
        o = json_object_get(s->calibrations, json_string_value(name));
    if (!o)
        return tern_fail(err, TERN_E_USAGE, "'calibration': no calibration of this name is served");
    if (d->task.kind == DECIDE_EXTRACT)
        return tern_fail(err, TERN_E_USAGE, "'calibration': not for kind extract");
    TERN_TRY(decide_map_read(&d->task, o, "'calibration'", &d->map, err));
    d->has_map = true;
    return TERN_OK;
}

static tern_code read_body(decision *d, const serving *s, const char **param, tern_err *err)
{
    static const char *const extra[] = {"model",     "inputs", "calibration",
                                        "log_probs", "user",   NULL};
    const json_t *log_probs;
    *param = NULL;
    TERN_TRY(exchange_json(d->x, &d->body, err));
    TERN_TRY(decide_task_read(&d->task, d->body, s->info.has_chat_template, extra, err));
    *param = "schema";
    if (d->task.kind == DECIDE_EXTRACT)
        TERN_TRY(decide_schema(s->model, &d->task, &d->grammar, err));
    log_probs = json_object_get(d->body, "log_probs");
    *param = "log_probs";
    if (log_probs && !json_is_boolean(log_probs) && !json_is_null(log_probs))
        return tern_fail(err, TERN_E_USAGE, "'log_probs': expected true or false");
    d->log_probs = json_is_true(log_probs);
    *param = "calibrate";
    TERN_TRY(read_inputs(d, param, err));
    if (d->task.calibrate == DECIDE_BATCH && d->n < 2)
        return tern_fail(err, TERN_E_USAGE, "'calibrate': batch needs several inputs");
    return read_calibration(d, s, param, err);
}

/* False: it was refused. */
static bool check_model(decision *d, const serving *s)
{
    const json_t *model = json_object_get(d->body, "model");
    if (!model || json_is_null(model))
        return true;
    if (json_is_string(model) && serving_is(s, json_string_value(model)))
        return true;
    if (json_is_string(model))
        exchange_refuse(d->x, 404, "model_not_found", "model", "no such model is served");
    else
        exchange_refuse(d->x, 400, NULL, "model", "'model': expected a string");
    return false;
}

static tern_code enqueue(decider *q, decision *d, tern_err *err)
{
    tern_code rc = TERN_OK;
    pthread_mutex_lock(&q->mu);
    if (q->n_queued >= MAX_QUEUE || q->end)
        rc = tern_fail(err, TERN_E_BUSY, "%d decisions wait already", q->n_queued);
    else {
        if (q->tail)
            q->tail->next = d;
        else
            q->head = d;
        q->tail = d;
        q->n_queued++;
        pthread_cond_signal(&q->some);
    }
    pthread_mutex_unlock(&q->mu);
    return rc;
}

void server_decide(exchange *x)
{
    const serving *s = exchange_serving(x);
    const char *param = NULL;
    tern_err err;
    decision *d = tern_calloc(1, sizeof *d);
    if (!d) {
        (void)tern_fail(&err, TERN_E_NOMEM, "out of memory for a decision");
        exchange_fail(x, &err, NULL);
        return;
    }
    d->map.temperature = 1.0;
    d->x = x;
    d->owner = s->decider;
    exchange_ref(x);
    tern_code rc = read_body(d, s, &param, &err);
    if (rc == TERN_OK && !check_model(d, s)) {
        decision_free(d);
        return;
    }
    if (rc == TERN_OK) {
        param = NULL;
        exchange_on_gone(x, is_gone, d);
        rc = enqueue(s->decider, d, &err);
    }
    if (rc != TERN_OK) {
        exchange_fail(x, &err, param);
        decision_free(d);
    }
}

/* ---- beginnings that are kept -------------------------------------------------------------- */

/* On the scheduler's thread. */
static void is_wanted(void *ctx)
{
    decider *q = ctx;
    pthread_mutex_lock(&q->mu);
    q->wanted = true;
    pthread_cond_signal(&q->some);
    pthread_mutex_unlock(&q->mu);
}

static void drop(decider *q, kept *k)
{
    if (!k->s)
        return;
    tern_session_free(k->s);
    if (q->s)
        tern_scheduler_give_back(q->s, k->bytes);
    *k = (kept){0};
}

static void drop_all(decider *q)
{
    for (int i = 0; i < MAX_KEPT; i++)
        drop(q, &q->kept[i]);
}

static bool holds(const kept *k, uint64_t key, const tern_ids *ids)
{
    size_t n;
    if (!k->s || k->key != key)
        return false;
    const int32_t *have = tern_session_tokens(k->s, &n);
    return n == ids->n && memcmp(have, ids->v, n * sizeof *have) == 0;
}

/* A free place with so many bytes more, which are lent then: what was used longest ago goes. NULL: requests
 * have the memory. */
static kept *make_room(decider *q, uint64_t bytes)
{
    tern_err err;
    for (;;) {
        kept *empty = NULL, *oldest = NULL;
        uint64_t sum = bytes;
        for (int i = 0; i < MAX_KEPT; i++) {
            kept *k = &q->kept[i];
            sum += k->bytes;
            if (!k->s)
                empty = k;
            else if (!oldest || k->used < oldest->used)
                oldest = k;
        }
        tern_code rc = empty && sum <= KEPT_BYTES ? TERN_OK : TERN_E_BUSY;
        if (rc == TERN_OK && q->s)
            rc = tern_scheduler_lend(q->s, bytes, is_wanted, q, &err);
        if (rc == TERN_OK)
            return empty;
        if (!oldest || rc == TERN_E_LIMIT)
            return NULL;
        drop(q, oldest);
    }
}

static tern_code new_session(const decider *q, tern_session **out, tern_err *err)
{
    tern_session_opts o;
    tern_session_opts_init(&o);
    o.n_ctx = (int32_t)q->host.n_ctx;
    o.cache_k = q->cache_k;
    o.cache_v = q->cache_v;
    return tern_session_new(q->host.m, &o, out, err);
}

static tern_code read_beginning(decider *q, decision *d, const tern_ids *ids, tern_err *err)
{
    uint64_t bytes =
        (ids->n + 64) * q->token_bytes; /* whole pages, and one that is being written */
    if (ids->n < LEAST_KEPT || ids->n >= q->host.n_ctx || bytes > KEPT_BYTES)
        return TERN_OK;
    kept *k = make_room(q, bytes);
    if (!k)
        return TERN_OK;
    k->bytes = bytes;
    tern_code rc = new_session(q, &k->s, err);
    if (rc != TERN_OK && q->s)
        tern_scheduler_give_back(q->s, bytes);
    TERN_TRY(rc);
    k->key = exchange_owner(d->x);
    rc = tern_session_eval(k->s, ids->v, ids->n, err);
    if (rc != TERN_OK) {
        drop(q, k);
        return rc;
    }
    d->n_fresh = ids->n;
    k->used = q->turn;
    q->host.base = k->s;
    return TERN_OK;
}

static tern_code find_beginning(decider *q, decision *d, tern_err *err)
{
    tern_ids ids = {0};
    q->host.base = NULL;
    tern_code rc = decide_prefix(&q->host, &d->task, &ids, err);
    for (int i = 0; rc == TERN_OK && i < MAX_KEPT; i++)
        if (holds(&q->kept[i], exchange_owner(d->x), &ids)) {
            q->kept[i].used = q->turn;
            q->host.base = q->kept[i].s;
        }
    if (rc == TERN_OK && !q->host.base)
        rc = read_beginning(q, d, &ids, err);
    tern_ids_done(&ids);
    return rc;
}

/* ---- turns --------------------------------------------------------------------------------- */

static bool go_on(void *ctx, size_t done, size_t total)
{
    const decider *q = ctx;
    (void)done;
    (void)total;
    return !atomic_load(&q->now->gone) && !atomic_load(&q->stop);
}

static json_t *result_json(const decision *d, size_t i)
{
    json_t *o = d->task.kind == DECIDE_EXTRACT
                    ? decide_extract_json(&d->task, &d->fields[i])
                    : decide_result_json(&d->task, decide_labels_of(&d->task, &d->items[i]),
                                         &d->r[i], d->log_probs);
    json_t *id = json_object_get(json_array_get(d->inputs, i), "id");
    if (!o)
        return NULL;
    if (json_object_set_new(o, "index", json_integer((json_int_t)i)) == 0 &&
        (!id || json_object_set(o, "id", id) == 0))
        return o;
    json_decref(o);
    return NULL;
}

static void reply(decision *d)
{
    json_t *results = json_array();
    bool ok = results != NULL;
    decide_usage u = decide_usage_of(d->r, d->n);
    for (size_t i = 0; i < d->n; i++) {
        u.n_prompt += d->fields[i].n_prompt;
        u.n_cached += d->fields[i].n_cached;
        u.n_answer += d->fields[i].n_answer;
    }
    u.n_cached -= d->n_fresh < u.n_cached ? d->n_fresh : u.n_cached;
    for (size_t i = 0; ok && i < d->n; i++)
        ok = json_array_append_new(results, result_json(d, i)) == 0;
    exchange_log(d->x, COUNT_PROMPT, u.n_prompt + u.n_answer);
    exchange_log(d->x, COUNT_CACHED, u.n_cached);
    if (!ok) {
        json_decref(results);
        exchange_reply_json(d->x, 200, NULL);
        return;
    }
    exchange_reply_json(d->x, 200,
                        json_pack("{s:s, s:s, s:s, s:o, s:{s:I, s:I, s:I, s:I}}", "id",
                                  exchange_id(d->x), "object", "decisions", "model",
                                  exchange_serving(d->x)->name, "results", results, "usage",
                                  "prompt_tokens", (json_int_t)u.n_prompt, "cached_tokens",
                                  (json_int_t)u.n_cached, "answer_tokens", (json_int_t)u.n_answer,
                                  "total_tokens", (json_int_t)(u.n_prompt + u.n_answer)));
}

/* One item's fields, in the session that has the beginning, which has no more of it afterwards. */
static tern_code extract_one(decider *q, decision *d, tern_err *err)
{
    size_t n_base = 0;
    tern_session *s = q->host.base;
    if (s)
        (void)tern_session_tokens(s, &n_base);
    else if (!d->session)
        TERN_TRY(new_session(q, &d->session, err));
    s = s ? s : d->session;
    q->host.base = NULL; /* what is scored behind an answer begins with the whole prompt */
    tern_err why;
    tern_code rc = decide_extract_run(&q->host, &d->task, d->grammar, s, d->items[d->n_done].input,
                                      &d->fields[d->n_done], &why);
    tern_session_rewind(s, n_base);
    return rc == TERN_OK ? rc : tern_fail(err, rc, "item %zu: %.200s", d->n_done + 1, why.msg);
}

/* Some items; true when the request is over. */
static bool take_turn(decider *q, decision *d)
{
    tern_err err;
    size_t left = d->n - d->n_done, n = left < TURN ? left : TURN;
    q->now = d;
    q->turn++;
    q->host.first_item = d->n_done;
    tern_code rc = atomic_load(&d->gone) ? tern_fail(&err, TERN_E_CANCELLED, "the client is gone")
                                         : find_beginning(q, d, &err);
    if (d->task.kind == DECIDE_EXTRACT)
        n = 1;
    if (rc == TERN_OK)
        rc = d->task.kind == DECIDE_EXTRACT ? extract_one(q, d, &err)
                                            : decide_weigh(&q->host, &d->task, d->items + d->n_done,
                                                           n, d->r + d->n_done, &err);
    if (rc == TERN_OK)
        d->n_done += n;
    if (rc == TERN_OK && d->n_done < d->n)
        return false;
    if (rc == TERN_OK && d->task.kind != DECIDE_EXTRACT)
        rc = decide_conclude(&d->task, d->n, d->has_map ? &d->map : NULL, d->r, &err);
    if (rc == TERN_OK)
        reply(d);
    else
        exchange_fail(d->x, &err, NULL);
    return true;
}

/* *more: there will be others. */
static decision *next(decider *q, bool *more)
{
    pthread_mutex_lock(&q->mu);
    while (!q->head && !q->end && !q->wanted)
        pthread_cond_wait(&q->some, &q->mu);
    if (q->wanted) {
        q->wanted = false;
        pthread_mutex_unlock(&q->mu); /* the scheduler's thread may want it */
        drop_all(q);
        pthread_mutex_lock(&q->mu);
    }
    decision *d = q->head;
    *more = d || !q->end;
    if (d) {
        q->head = d->next;
        q->tail = q->head ? q->tail : NULL;
        d->next = NULL;
        q->n_queued--;
    }
    pthread_mutex_unlock(&q->mu);
    return d;
}

/* Behind the others; there is room, for it just left. */
static void wait_again(decider *q, decision *d)
{
    pthread_mutex_lock(&q->mu);
    if (q->tail)
        q->tail->next = d;
    else
        q->head = d;
    q->tail = d;
    q->n_queued++;
    pthread_mutex_unlock(&q->mu);
}

static void *run(void *ctx)
{
    decider *q = ctx;
    decision *d;
    for (bool more = true; more;)
        if ((d = next(q, &more)) == NULL)
            continue;
        else if (take_turn(q, d))
            decision_free(d);
        else
            wait_again(q, d);
    return NULL;
}

tern_code decider_new(tern_model *m, tern_scheduler *s, const tern_scheduler_opts *opts,
                      decider **out, tern_err *err)
{
    tern_model_info info = {.size = sizeof info};
    tern_scheduler_stats st = {.size = sizeof st};
    decider *q = tern_calloc(1, sizeof *q);
    *out = NULL;
    if (!q)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for decisions");
    tern_model_info_get(m, &info);
    if (s)
        tern_scheduler_stats_get(s, &st);
    q->s = s;
    q->cache_k = opts->cache_k;
    q->cache_v = opts->cache_v;
    q->token_bytes = info.kv_f16_bytes * 2; /* an f32 cache at most */
    q->host = (decide_host){.m = m,
                            .n_ctx = (size_t)(st.n_ctx > 0 ? st.n_ctx : info.n_ctx_train),
                            .cache_k = opts->cache_k,
                            .cache_v = opts->cache_v,
                            .progress = go_on,
                            .ctx = q};
    (void)pthread_mutex_init(&q->mu, NULL);
    (void)pthread_cond_init(&q->some, NULL);
    if (pthread_create(&q->thread, NULL, run, q) != 0) {
        tern_free(q);
        return tern_fail(err, TERN_E_NOMEM, "no thread for decisions");
    }
    *out = q;
    return TERN_OK;
}

void decider_free(decider *q)
{
    if (!q)
        return;
    atomic_store(&q->stop, true);
    pthread_mutex_lock(&q->mu);
    q->end = true;
    pthread_cond_signal(&q->some);
    pthread_mutex_unlock(&q->mu);
    (void)pthread_join(q->thread, NULL);
    drop_all(q);
    pthread_cond_destroy(&q->some);
    pthread_mutex_destroy(&q->mu);
    tern_free(q);
}
