/* Questions of a published set to a model. Where a set asks which of several texts is the likeliest one, all
 * of them are scored together: what they share runs through the model once. */
#include "eval.h"
#include "base/alloc.h"
#include "base/error.h"
#include "common/text_ids.h"

#include <string.h>

/* Texts that are scored by one call: so many that its last passes, which are not full, do not matter. */
#define BATCH 1024

/* ---- texts to ids -------------------------------------------------------------------------- */

#define ALL_SPECIAL (TERN_TOKENIZE_ADD_SPECIAL | TERN_TOKENIZE_PARSE_SPECIAL)

typedef struct batch {
    eval_run *e;
    size_t item0, n_item, n_text;
    tern_ids ids;
    size_t *begin;          /* owned; [cap + 1] */
    tern_score_text *texts; /* owned; [cap] */
    tern_score *scores;     /* owned; [cap] */
    size_t cap;
    tern_ids context, whole; /* scratch */
    tern_str text;
} batch;

static void batch_done(batch *b)
{
    tern_ids_done(&b->ids);
    tern_ids_done(&b->context);
    tern_ids_done(&b->whole);
    tern_str_done(&b->text);
    tern_free(b->begin);
    tern_free(b->texts);
    tern_free(b->scores);
}

static tern_code batch_init(batch *b, eval_run *e, tern_err *err)
{
    *b = (batch){.e = e, .item0 = e->first, .cap = BATCH + EVAL_MAX_CHOICE};
    tern_str_init(&b->text, 2 * CLI_MAX_INPUT);
    b->begin = tern_calloc(b->cap + 1, sizeof *b->begin);
    b->texts = tern_calloc(b->cap, sizeof *b->texts);
    b->scores = tern_calloc(b->cap, sizeof *b->scores);
    if (b->begin && b->texts && b->scores)
        return TERN_OK;
    batch_done(b);
    return tern_fail(err, TERN_E_NOMEM, "out of memory for the questions");
}

/* Append ids[0..n) of a and b, the last n_given + n_tok of them; no more than the context takes, whose last
 * token needs no room. */
static tern_code add_text(batch *b, const tern_ids *given, const int32_t *rest, size_t n_rest,
                          tern_err *err)
{
    eval_run *e = b->e;
    size_t n_given = given->n, most = e->n_ctx + 1;
    if (n_rest + 1 > most)
        return tern_fail(err, TERN_E_LIMIT,
                         "%s: line %zu: a text to be scored has %zu tokens, the context holds %zu",
                         cli_text(&e->c->opt, OPT_FILE), e->set.item[b->item0 + b->n_item].line,
                         n_rest, e->n_ctx);
    if (n_given + n_rest > most) {
        n_given = most - n_rest;
        e->n_cut++;
    }
    for (size_t i = given->n - n_given; i < given->n; i++)
        TERN_TRY(tern_ids_push(&b->ids, given->v[i], err));
    for (size_t i = 0; i < n_rest; i++)
        TERN_TRY(tern_ids_push(&b->ids, rest[i], err));
    b->texts[b->n_text].n_given = n_given;
    b->begin[++b->n_text] = b->ids.n;
    return TERN_OK;
}

/* A continuation without a context: behind BOS, or EOS where a model has no BOS. */
static tern_code add_alone(batch *b, tern_err *err)
{
    int32_t prefix = b->e->prefix;
    b->whole.n = b->context.n = 0;
    TERN_TRY(text_ids_add(&b->whole, b->e->m, tern_str_get(&b->text), b->text.len,
                          TERN_TOKENIZE_PARSE_SPECIAL, err));
    size_t skip = b->whole.n > 1 && (prefix < 0 || b->whole.v[0] == prefix);
    if (skip)
        prefix = b->whole.v[0];
    if (prefix < 0 || b->whole.n == skip)
        return tern_fail(err, TERN_E_UNSUPPORTED,
                         "%s: line %zu: a text of one token, and the model has none to begin with",
                         cli_text(&b->e->c->opt, OPT_FILE),
                         b->e->set.item[b->item0 + b->n_item].line);
    TERN_TRY(tern_ids_push(&b->context, prefix, err));
    return add_text(b, &b->context, b->whole.v + skip, b->whole.n - skip, err);
}

/* The harness's way: context and context with continuation are tokenised, and what the second has beyond
 * the first one's length is scored. Blanks at the context's end count as the continuation's. */
static tern_code add_pair(batch *b, const char *context, const char *text, tern_err *err)
{
    eval_run *e = b->e;
    tern_str *s = &b->text;
    tern_str_clear(s);
    tern_str_put(s, tern_str_get(&e->preamble), e->preamble.len);
    tern_str_puts(s, context);
    size_t n = s->len - eval_blank_tail(tern_str_get(s), s->len);
    bool alone = s->len == 0;
    tern_str_printf(s, " %s", text);
    if (s->failed)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for a question");
    if (alone)
        return add_alone(b, err);
    b->context.n = b->whole.n = 0;
    TERN_TRY(text_ids_add(&b->context, e->m, tern_str_get(s), n, ALL_SPECIAL, err));
    TERN_TRY(text_ids_add(&b->whole, e->m, tern_str_get(s), s->len, ALL_SPECIAL, err));
    if (b->context.n == 0)
        return add_alone(b, err);
    size_t from = b->context.n; /* what is left may be nothing where tokens grow over the border */
    if (from >= b->whole.n)
        from = b->whole.n - 1;
    return add_text(b, &b->context, b->whole.v + from, b->whole.n - from, err);
}

static tern_code fill(batch *b, tern_err *err)
{
    const eval_run *e = b->e;
    b->n_item = b->n_text = b->ids.n = 0;
    while (b->item0 + b->n_item < e->set.n && b->n_text < BATCH) {
        const eval_item *item = &e->set.item[b->item0 + b->n_item];
        for (size_t i = 0; i < item->n_choice; i++) {
            const eval_choice *c = &item->choice[i];
            TERN_TRY(add_pair(b, c->context ? c->context : item->context, c->text, err));
        }
        b->n_item++;
    }
    for (size_t i = 0; i < b->n_text; i++) {
        b->texts[i].ids = b->ids.v + b->begin[i];
        b->texts[i].n_tok = b->begin[i + 1] - b->begin[i];
    }
    return TERN_OK;
}

/* ---- scores -------------------------------------------------------------------------------- */

static bool go_on(void *ctx, size_t done, size_t total)
{
    const batch *b = ctx;
    const eval_run *e = b->e;
    double share = total > 0 ? (double)done / (double)total : 1.0;
    double n = (double)(b->item0 - e->first) + share * (double)b->n_item;
    char more[64];
    (void)snprintf(more, sizeof more, "%.0f of %zu questions", n, e->set.n - e->first);
    cli_progress(e->c, e->task->name, n, (double)(e->set.n - e->first), more);
    return !cli_interrupt_pending();
}

/* Results of the items whose texts are all done. */
static void judge(const batch *b)
{
    const eval_run *e = b->e;
    const tern_score *s = b->scores;
    for (size_t i = b->item0; i < b->item0 + b->n_item; i++) {
        const eval_item *item = &e->set.item[i];
        eval_result *r = &e->result[i];
        r->done = true;
        for (size_t k = 0; k < item->n_choice; k++, s++) {
            r->log_prob[k] = s->log_prob;
            r->greedy[k] = s->greedy;
            r->done &= s->done;
        }
        if (r->done)
            eval_judge(e->task, item, r);
    }
}

static tern_code score(eval_run *e, tern_err *err)
{
    batch b;
    tern_score_opts o;
    tern_score_opts_init(&o);
    o.cache_k =
        (tern_cache_type)e->c->opt.value[OPT_CACHE_K].num; /* choices in the order of the type */
    o.cache_v = (tern_cache_type)e->c->opt.value[OPT_CACHE_V].num;
    o.progress = go_on;
    o.ctx = &b;
    TERN_TRY(batch_init(&b, e, err));
    tern_code rc = TERN_OK;
    while (rc == TERN_OK && b.item0 < e->set.n) {
        rc = fill(&b, err);
        if (rc != TERN_OK)
            break;
        rc = tern_model_score(e->m, b.texts, b.n_text, &o, b.scores, err);
        judge(&b);
        b.item0 += b.n_item;
    }
    e->interrupted = rc == TERN_E_CANCELLED;
    batch_done(&b);
    return e->interrupted ? TERN_OK : rc;
}

tern_code eval_prompt_ids(eval_run *e, const char *text, size_t max, tern_ids *ids, tern_err *err)
{
    tern_str s;
    tern_str_init(&s, 2 * CLI_MAX_INPUT);
    tern_str_put(&s, tern_str_get(&e->preamble), e->preamble.len);
    tern_str_puts(&s, text);
    tern_code rc = s.failed ? tern_fail(err, TERN_E_NOMEM, "out of memory for a question")
                            : text_ids_add(ids, e->m, tern_str_get(&s), s.len, ALL_SPECIAL, err);
    tern_str_done(&s);
    if (rc == TERN_OK && ids->n > max) {
        memmove(ids->v, ids->v + (ids->n - max), max * sizeof *ids->v);
        ids->n = max;
        e->n_cut++;
    }
    return rc;
}

/* ---- questions and examples ---------------------------------------------------------------- */

static tern_code read_set(const eval_run *e, const char *path, size_t max, eval_set *set,
                          tern_err *err)
{
    tern_str text;
    tern_str_init(&text, CLI_MAX_INPUT);
    tern_code rc = cli_read_file(path, &text, err);
    if (rc == TERN_OK)
        rc = eval_set_read(set, e->task, path, tern_str_get(&text), text.len, max, err);
    tern_str_done(&text);
    return rc;
}

static tern_code put_examples(eval_run *e, const eval_set *from, const char *path, tern_err *err)
{
    char line[160];
    if (from->n < e->n_shot || (from == &e->set && from->n == e->n_shot))
        return tern_fail(err, TERN_E_USAGE, "%s: %zu questions are too few for %zu examples%s",
                         path, from->n, e->n_shot, from == &e->set ? " and something to ask" : "");
    for (size_t i = 0; i < e->n_shot; i++)
        eval_put_example(from, &from->item[i], &e->preamble);
    if (e->preamble.failed)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the examples");
    (void)snprintf(line, sizeof line, "%zu examples from the beginning of %.80s%s", e->n_shot, path,
                   from == &e->set ? ", which are not asked" : "");
    if (!e->c->quiet)
        cli_dim(e->c, line);
    return TERN_OK;
}

static tern_code read_questions(eval_run *e, tern_err *err)
{
    const cli_options *o = &e->c->opt;
    const char *path = cli_text(o, OPT_FILE), *other = cli_text(o, OPT_SHOTS_FILE);
    int64_t shots = cli_int(o, OPT_SHOTS);
    size_t limit = (size_t)cli_int(o, OPT_LIMIT);
    if (!path)
        return tern_fail(err, TERN_E_USAGE, "eval needs -f FILE, the questions of %s",
                         e->task->name);
    if (shots > e->task->max_shots)
        return tern_fail(err, TERN_E_USAGE, "%s: its questions have examples of their own",
                         e->task->name);
    e->n_shot = (size_t)(shots < 0 ? e->task->shots : shots);
    e->first = other ? 0 : e->n_shot;
    TERN_TRY(read_set(e, path, limit ? limit + e->first : 0, &e->set, err));
    if (e->n_shot > 0 && other)
        TERN_TRY(read_set(e, other, e->n_shot, &e->shot_set, err));
    if (e->n_shot > 0)
        TERN_TRY(put_examples(e, other ? &e->shot_set : &e->set, other ? other : path, err));
    e->result = tern_calloc(e->set.n, sizeof *e->result);
    return e->result ? TERN_OK
                     : tern_fail(err, TERN_E_NOMEM, "out of memory for %zu results", e->set.n);
}

/* ---- the verb ------------------------------------------------------------------------------ */

static tern_code find_task(eval_run *e, tern_err *err)
{
    const char *name = e->c->opt.topic;
    char names[160] = "", shown[48];
    size_t n = 0;
    e->task = name ? eval_task_find(name) : NULL;
    if (e->task)
        return TERN_OK;
    for (size_t i = 0; eval_task_get(i) && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "",
                              eval_task_get(i)->name);
    if (!name)
        return tern_fail(err, TERN_E_USAGE, "which task? expected %s", names);
    return tern_fail(err, TERN_E_USAGE, "no task '%s': expected %s",
                     tern_quote(shown, sizeof shown, name, strlen(name)), names);
}

static tern_code open_model(eval_run *e, tern_err *err)
{
    tern_model_info info = {.size = sizeof info};
    int64_t n_ctx = cli_int(&e->c->opt, OPT_CTX);
    TERN_TRY(cli_model_open(e->c, (int32_t)cli_int(&e->c->opt, OPT_THREADS), &e->m, err));
    tern_model_info_get(e->m, &info);
    e->n_ctx = (size_t)(n_ctx > 0 ? n_ctx : info.n_ctx_train);
    e->prefix = info.bos >= 0 ? info.bos : info.eos;
    return TERN_OK;
}

static tern_code check_minimum(const eval_run *e, tern_err *err)
{
    double min = cli_real(&e->c->opt, OPT_MIN);
    int k = e->task->main_metric;
    eval_figure f = eval_sum_up(e->task, k, e->result, e->set.n);
    if (f.value >= min)
        return TERN_OK;
    return tern_fail(err, TERN_E_THRESHOLD, "%s of %s is %.4f, below %g", e->task->metric[k].name,
                     e->task->name, f.value, min);
}

tern_code cli_eval(cli *c, tern_err *err)
{
    eval_run e = {.c = c};
    const char *items = cli_text(&c->opt, OPT_ITEMS);
    tern_code rc;
    tern_str_init(&e.preamble, CLI_MAX_INPUT);
    TERN_TRY_GOTO(find_task(&e, err));
    TERN_TRY_GOTO(read_questions(&e, err));
    TERN_TRY_GOTO(open_model(&e, err));
    cli_interrupt_init();
    rc = e.task->kind == EVAL_GENERATE ? eval_generate(&e, err) : score(&e, err);
    cli_progress_end(c);
    if (rc != TERN_OK)
        goto fail;
    if (e.n_cut > 0)
        cli_warn(c, "%zu texts were longer than the context of %zu and lost their beginnings",
                 e.n_cut, e.n_ctx);
    if (items)
        TERN_TRY_GOTO(eval_write_items(&e, items, err));
    TERN_TRY_GOTO(eval_report(&e, err));
    c->answered = true;
    rc = e.interrupted ? tern_fail(err, TERN_E_CANCELLED, "interrupted") : check_minimum(&e, err);
fail:
    for (size_t i = 0; e.result && i < e.set.n; i++)
        tern_free(e.result[i].text);
    tern_free(e.result);
    tern_str_done(&e.preamble);
    eval_set_done(&e.set);
    eval_set_done(&e.shot_set);
    tern_model_close(e.m);
    return rc;
}
