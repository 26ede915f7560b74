/* Fields of a schema from texts, one after another: the session keeps what their prompts have in common. */
#include "base/error.h"
#include "decide.h"

#include <stdlib.h>
#include <string.h>

typedef struct run {
    decide_verb *d;
    tern_grammar *g; /* owned */
    tern_session *s; /* owned */
    json_t *all;     /* owned; with --json */
    decide_usage use;
    size_t n_withheld;
} run;

static tern_code print(const run *r, size_t i, const decide_extract *x, tern_err *err)
{
    const decide_verb *d = r->d;
    bool jsonl = cli_flag(&d->c->opt, OPT_DECIDE_JSONL);
    const json_t *id = json_object_get(json_array_get(d->inputs, i), "id");
    json_t *o = decide_extract_json(&d->task, x);
    bool ok = o && json_object_set_new(o, "index", json_integer((json_int_t)i)) == 0 &&
              (!id || json_object_set(o, "id", (json_t *)(uintptr_t)id) == 0);
    if (ok && r->all)
        return json_array_append_new(r->all, o) == 0
                   ? TERN_OK
                   : tern_fail(err, TERN_E_NOMEM, "out of memory for the answer");
    char *text = ok ? json_dumps(jsonl ? o : json_object_get(o, "answer"),
                                 JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9))
                    : NULL;
    json_decref(o);
    if (!text)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the answer");
    if (jsonl)
        (void)puts(text);
    else
        (void)printf("%s\t%.4f\n", text, x->value ? x->p : 0.0);
    free(text);
    return cli_flush(err);
}

static tern_code take(run *r, size_t i, tern_err *err)
{
    decide_verb *d = r->d;
    decide_extract x;
    tern_err why;
    tern_code rc = decide_extract_run(&d->host, &d->task, r->g, r->s, d->items[i].input, &x, &why);
    if (rc != TERN_OK)
        return tern_fail(err, rc, "item %zu: %.200s", i + 1, why.msg);
    r->use.n_prompt += x.n_prompt;
    r->use.n_cached += x.n_cached;
    r->use.n_answer += x.n_answer;
    r->n_withheld += !x.value || x.p < d->task.min_p;
    cli_progress_end(d->c);
    rc = print(r, i, &x, err);
    decide_extract_done(&x);
    return rc;
}

static tern_code print_all(run *r, tern_err *err)
{
    json_t *all = r->all;
    r->all = NULL;
    if (!all)
        return TERN_OK;
    return cli_print_json(
        json_pack("{s:s, s:o, s:b, s:{s:I, s:I, s:I}}", "model", cli_model_label(r->d->c),
                  "results", all, "interrupted", r->d->interrupted, "usage", "prompt_tokens",
                  (json_int_t)r->use.n_prompt, "cached_tokens", (json_int_t)r->use.n_cached,
                  "answer_tokens", (json_int_t)r->use.n_answer),
        err);
}

tern_code decide_fields(decide_verb *d, tern_err *err)
{
    run r = {.d = d, .all = d->c->json ? json_array() : NULL};
    tern_code rc;
    TERN_TRY_GOTO(decide_schema(d->m, &d->task, &r.g, err));
    TERN_TRY_GOTO(cli_session_new(d->c, d->m, (int32_t)cli_int(&d->c->opt, OPT_CTX), &r.s, err));
    for (; rc == TERN_OK && d->n_done < d->n; d->n_done += rc == TERN_OK)
        rc = take(&r, d->n_done, err);
    d->interrupted = rc == TERN_E_CANCELLED;
    if (rc == TERN_OK || d->interrupted) {
        tern_code printed = print_all(&r, err);
        d->c->answered = true;
        rc = printed != TERN_OK ? printed : rc;
    }
    if (rc == TERN_OK && r.n_withheld && cli_flag(&d->c->opt, OPT_DECIDE_DEMAND))
        rc = tern_fail(err, TERN_E_THRESHOLD, "%zu of %zu answers are less likely than %g",
                       r.n_withheld, d->n, d->task.min_p);
fail:
    cli_progress_end(d->c);
    json_decref(r.all);
    tern_session_free(r.s);
    tern_grammar_free(r.g);
    return rc;
}
