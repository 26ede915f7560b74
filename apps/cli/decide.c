/* Labels, yes or no, scores and fields for texts, with probabilities. All options become one JSON object, the
 * same that the server takes, so both mean the same. */
#include "decide.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"

#include <stdlib.h>
#include <string.h>

/* Items of one call to the engine: so many that its last passes, which are not full, do not matter. */
#define BATCH 1024

/* ---- the task ------------------------------------------------------------------------------ */

tern_code decide_read_json(const char *path, json_t **out, tern_err *err)
{
    tern_str text;
    json_error_t e;
    *out = NULL;
    tern_str_init(&text, CLI_MAX_INPUT);
    tern_code rc = cli_read_file(path, &text, err);
    if (rc == TERN_OK) {
        *out = json_loadb(tern_str_get(&text), text.len, JSON_REJECT_DUPLICATES, &e);
        if (!*out)
            rc = tern_fail(err, TERN_E_FORMAT, "%s: not JSON at line %d column %d: %.80s", path,
                           e.line, e.column, e.text);
    }
    tern_str_done(&text);
    return rc;
}

/* Lines of a file: JSON objects as such, others as texts. */
static tern_code read_lines(const char *path, size_t limit, json_t *out, tern_err *err)
{
    tern_str text;
    tern_str_init(&text, CLI_MAX_INPUT);
    tern_code rc = cli_read_file(path, &text, err);
    const char *at = tern_str_get(&text), *end = at + text.len;
    for (size_t line = 1; rc == TERN_OK && at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((stop ? stop : end) - at);
        if (n > 0 && at[n - 1] == '\r')
            n--;
        json_error_t e;
        json_t *v = NULL;
        if (n > 0)
            v = at[0] == '{' ? json_loadb(at, n, JSON_REJECT_DUPLICATES, &e) : json_stringn(at, n);
        if (n > 0 && !v)
            rc = tern_fail(err, TERN_E_FORMAT, "%s: line %zu: not %s", path, line,
                           at[0] == '{' ? "a JSON object" : "UTF-8 text");
        if (v && json_array_append_new(out, v) != 0)
            rc = tern_fail(err, TERN_E_NOMEM, "%s: out of memory", path);
        at = stop ? stop + 1 : end;
        if (limit > 0 && json_array_size(out) == limit)
            break;
    }
    tern_str_done(&text);
    return rc;
}

static tern_code set(json_t *o, const char *key, json_t *v, tern_err *err)
{
    if (v && json_object_set_new(o, key, v) == 0)
        return TERN_OK;
    return tern_fail(err, TERN_E_USAGE, "%s: no UTF-8 text", key);
}

static tern_code set_text(json_t *o, const char *key, const cli *c, cli_opt id, tern_err *err)
{
    const char *s = cli_text(&c->opt, id);
    return s && cli_given(&c->opt, id) ? set(o, key, json_string(s), err) : TERN_OK;
}

static tern_code set_labels(json_t *o, const char *list, tern_err *err)
{
    json_t *labels = json_array();
    bool ok = labels != NULL;
    for (const char *at = list; ok; at++) {
        size_t n = strcspn(at, ",");
        ok = json_array_append_new(labels, json_stringn(at, n)) == 0;
        at += n;
        if (*at == '\0')
            break;
    }
    if (!ok)
        json_decref(labels);
    return set(o, "labels", ok ? labels : NULL, err);
}

/* "1..5" */
static tern_code set_range(json_t *o, const char *text, tern_err *err)
{
    const char *dots = strstr(text, "..");
    int64_t first, last;
    char shown[48];
    if (!dots || !tern_parse_i64(text, (size_t)(dots - text), &first) ||
        !tern_parse_i64(dots + 2, strlen(dots + 2), &last))
        return tern_fail(err, TERN_E_USAGE, "--score '%s': expected a range, as 1..5",
                         tern_quote(shown, sizeof shown, text, strlen(text)));
    TERN_TRY(set(o, "kind", json_string("score"), err));
    return set(o, "range", json_pack("[I, I]", (json_int_t)first, (json_int_t)last), err);
}

static tern_code set_kind(json_t *o, const cli *c, tern_err *err)
{
    const cli_options *p = &c->opt;
    const char *labels = cli_text(p, OPT_DECIDE_LABELS), *range = cli_text(p, OPT_DECIDE_SCORE),
               *schema = cli_text(p, OPT_DECIDE_EXTRACT);
    bool yes_no = cli_flag(p, OPT_DECIDE_YES_NO);
    if ((labels != NULL) + (range != NULL) + (schema != NULL) + yes_no > 1)
        return tern_fail(err, TERN_E_USAGE,
                         "--labels, --yes-no, --score and --extract exclude each other");
    if (labels)
        return set_labels(o, labels, err);
    if (range)
        return set_range(o, range, err);
    if (yes_no)
        return set(o, "kind", json_string("yes_no"), err);
    if (schema) {
        json_t *v;
        TERN_TRY(set(o, "kind", json_string("extract"), err));
        TERN_TRY(decide_read_json(schema, &v, err));
        return set(o, "schema", v, err);
    }
    return TERN_OK;
}

static tern_code set_examples(json_t *o, const cli *c, tern_err *err)
{
    const char *path = cli_text(&c->opt, OPT_DECIDE_EXAMPLES);
    if (!path)
        return TERN_OK;
    json_t *examples = json_array();
    tern_code rc = examples ? read_lines(path, 0, examples, err)
                            : tern_fail(err, TERN_E_NOMEM, "%s: out of memory", path);
    if (rc != TERN_OK) {
        json_decref(examples);
        return rc;
    }
    return set(o, "examples", examples, err);
}

static tern_code set_options(json_t *o, const cli *c, tern_err *err)
{
    const cli_options *p = &c->opt;
    bool insist = cli_flag(p, OPT_CNV), plain = cli_flag(p, OPT_NO_CNV);
    if (insist && plain)
        return tern_fail(err, TERN_E_USAGE, "-cnv and -no-cnv exclude each other");
    if (insist || plain)
        TERN_TRY(set(o, "chat", json_boolean(insist), err));
    TERN_TRY(set_kind(o, c, err));
    TERN_TRY(set_text(o, "instruction", c, OPT_DECIDE_INSTRUCTION, err));
    TERN_TRY(set_text(o, "system", c, OPT_SYSTEM, err));
    TERN_TRY(set_text(o, "cue", c, OPT_DECIDE_CUE, err));
    TERN_TRY(set_text(o, "end", c, OPT_DECIDE_END, err));
    TERN_TRY(set_text(o, "normalize", c, OPT_DECIDE_NORM, err));
    TERN_TRY(set_text(o, "calibrate", c, OPT_DECIDE_CALIBRATE, err));
    if (cli_flag(p, OPT_DECIDE_NO_LIST))
        TERN_TRY(set(o, "list_labels", json_false(), err));
    if (cli_given(p, OPT_DECIDE_MIN_P))
        TERN_TRY(set(o, "min_p", json_real(cli_real(p, OPT_DECIDE_MIN_P)), err));
    return set_examples(o, c, err);
}

static tern_code read_task(decide_verb *d, tern_err *err)
{
    const char *path = cli_text(&d->c->opt, OPT_DECIDE_TASK);
    json_t *o = NULL;
    if (path)
        TERN_TRY(decide_read_json(path, &o, err));
    else
        o = json_object();
    if (!json_is_object(o)) {
        json_decref(o);
        return tern_fail(err, TERN_E_USAGE, "%s: a task is a JSON object", path ? path : "task");
    }
    tern_code rc = set_options(o, d->c, err);
    if (rc == TERN_OK)
        rc = decide_task_read(&d->task, o, d->info.has_chat_template, NULL, err);
    json_decref(o);
    return rc;
}

/* ---- items --------------------------------------------------------------------------------- */

/* Published sets have questions with the same choice twice, of which no decision can tell. */
static bool has_twins(const json_t *v)
{
    const json_t *l = json_object_get(v, "labels");
    l = l ? l : json_object_get(v, "choices");
    for (size_t i = 0; i < json_array_size(l) && i < DECIDE_MAX_LABEL; i++)
        for (size_t k = 0; k < i; k++)
            if (json_is_string(json_array_get(l, i)) &&
                json_equal(json_array_get(l, i), json_array_get(l, k)))
                return true;
    return false;
}

static void drop_twins(const decide_verb *d)
{
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(d->inputs);)
        if (has_twins(json_array_get(d->inputs, i))) {
            (void)json_array_remove(d->inputs, i);
            n++;
        } else
            i++;
    if (n > 0)
        cli_warn(d->c, "%zu items have the same label twice and are left out", n);
}

static tern_code read_items(decide_verb *d, tern_err *err)
{
    const cli_options *o = &d->c->opt;
    const char *text = cli_text(o, OPT_PROMPT), *fit = cli_text(o, OPT_DECIDE_FIT),
               *evaluate = cli_text(o, OPT_DECIDE_EVALUATE), *path = cli_text(o, OPT_FILE);
    if ((fit != NULL) + (evaluate != NULL) + (path != NULL) + (text != NULL) > 1)
        return tern_fail(err, TERN_E_USAGE, "-p, -f, --fit and --evaluate exclude each other");
    bool labelled = fit || evaluate;
    path = fit ? fit : evaluate ? evaluate : path;
    d->single = text != NULL;
    d->inputs = json_array();
    if (!d->inputs)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the items");
    if (text) {
        TERN_TRY(cli_check_utf8("-p", text, strlen(text), err));
        if (json_array_append_new(d->inputs, json_string(text)) != 0)
            return tern_fail(err, TERN_E_NOMEM, "out of memory for the items");
    } else
        TERN_TRY(read_lines(path ? path : "-", (size_t)cli_int(o, OPT_LIMIT), d->inputs, err));
    if (labelled && d->task.labels.n == 0)
        drop_twins(d);
    path = text ? "-p" : path ? path : "standard input";
    size_t n = json_array_size(d->inputs);
    if (n == 0)
        return tern_fail(err, TERN_E_USAGE, "%s: no items", path);
    d->items = tern_calloc(n, sizeof *d->items);
    d->r = tern_calloc(n, sizeof *d->r);
    if (!d->items || !d->r)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for %zu items", n);
    for (; d->n < n; d->n++) {
        char what[96];
        (void)snprintf(what, sizeof what, "%.64s: item %zu", path, d->n + 1);
        TERN_TRY(decide_item_read(&d->items[d->n], &d->task, json_array_get(d->inputs, d->n),
                                  labelled, what, err));
    }
    return TERN_OK;
}

static tern_code read_calibration(decide_verb *d, tern_err *err)
{
    const char *path = cli_text(&d->c->opt, OPT_DECIDE_CALIBRATION);
    json_t *o;
    if (!path)
        return TERN_OK;
    TERN_TRY(decide_read_json(path, &o, err));
    tern_code rc = decide_map_read(&d->task, o, path, &d->map, err);
    json_decref(o);
    d->has_map = rc == TERN_OK;
    return rc;
}

/* ---- deciding ------------------------------------------------------------------------------ */

static bool go_on(void *ctx, size_t done, size_t total)
{
    decide_verb *d = ctx;
    (void)total;
    cli_progress(d->c, "deciding", (double)(d->n_done + done), (double)d->n, "");
    return !cli_interrupt_pending();
}

/* Fewer items than this are one call, which shares what they have in common by itself. */
static tern_code make_base(decide_verb *d, tern_err *err)
{
    tern_ids ids = {0};
    if (d->n <= BATCH)
        return TERN_OK;
    tern_code rc = decide_prefix(&d->host, &d->task, &ids, err);
    if (rc == TERN_OK && ids.n > 1)
        rc = cli_session_new(d->c, d->m, (int32_t)cli_int(&d->c->opt, OPT_CTX), &d->host.base, err);
    if (rc == TERN_OK && d->host.base)
        rc = tern_session_eval(d->host.base, ids.v, ids.n, err);
    tern_ids_done(&ids);
    return rc;
}

static tern_code decide_all(decide_verb *d, tern_err *err)
{
    size_t most = d->task.calibrate == DECIDE_BATCH ? d->n : BATCH;
    TERN_TRY(make_base(d, err));
    while (d->n_done < d->n) {
        size_t n = d->n - d->n_done < most ? d->n - d->n_done : most;
        d->host.first_item = d->n_done;
        tern_code rc = decide_run(&d->host, &d->task, d->items + d->n_done, n,
                                  d->has_map ? &d->map : NULL, d->r + d->n_done, err);
        if (rc == TERN_E_CANCELLED) {
            d->interrupted = true;
            return TERN_OK;
        }
        TERN_TRY(rc);
        d->n_done += n;
    }
    return TERN_OK;
}

/* ---- what is printed ----------------------------------------------------------------------- */

static json_t *item_json(const decide_verb *d, size_t i)
{
    const json_t *id = json_object_get(json_array_get(d->inputs, i), "id");
    json_t *o = decide_result_json(&d->task, decide_labels_of(&d->task, &d->items[i]), &d->r[i],
                                   cli_flag(&d->c->opt, OPT_DECIDE_LOG_PROBS));
    bool ok = o && json_object_set_new(o, "index", json_integer((json_int_t)i)) == 0;
    if (ok && id)
        ok = json_object_set(o, "id", (json_t *)(uintptr_t)id) == 0;
    if (!ok) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static void print_line(const decide_verb *d, size_t i)
{
    const decide_labels *l = decide_labels_of(&d->task, &d->items[i]);
    const decide_result *r = &d->r[i];
    bool withheld = decide_is_withheld(&d->task, r);
    (void)printf("%s\t%.4f", withheld ? "null" : l->v[r->best].name, r->p[r->best]);
    if (d->task.kind == DECIDE_SCORE) {
        double mean, deviation;
        decide_expect(l, r, &mean, &deviation);
        (void)printf("\t%.3f", mean);
    }
    (void)putchar('\n');
}

static tern_code print_lines(const decide_verb *d, bool json, tern_err *err)
{
    for (size_t i = 0; i < d->n; i++) {
        if (!d->r[i].done)
            continue;
        if (!json) {
            print_line(d, i);
            continue;
        }
        json_t *o = item_json(d, i);
        char *text = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
        json_decref(o);
        if (!text)
            return tern_fail(err, TERN_E_NOMEM, "out of memory for the answer");
        (void)puts(text);
        free(text);
    }
    return cli_flush(err);
}

static tern_code print_all(const decide_verb *d, tern_err *err)
{
    decide_usage u = decide_usage_of(d->r, d->n);
    json_t *results = json_array();
    for (size_t i = 0; i < d->n; i++)
        if (d->r[i].done)
            (void)json_array_append_new(results, item_json(d, i));
    return cli_print_json(json_pack("{s:s, s:o, s:b, s:{s:I, s:I, s:I}}", "model",
                                    cli_model_label(d->c), "results", results, "interrupted",
                                    d->interrupted, "usage", "prompt_tokens",
                                    (json_int_t)u.n_prompt, "cached_tokens", (json_int_t)u.n_cached,
                                    "answer_tokens", (json_int_t)u.n_answer),
                          err);
}

static tern_code print_results(decide_verb *d, tern_err *err)
{
    if (d->c->json)
        return print_all(d, err);
    return print_lines(d, cli_flag(&d->c->opt, OPT_DECIDE_JSONL), err);
}

static tern_code check_demand(const decide_verb *d, tern_err *err)
{
    size_t n = 0;
    if (!cli_flag(&d->c->opt, OPT_DECIDE_DEMAND))
        return TERN_OK;
    for (size_t i = 0; i < d->n; i++)
        n += d->r[i].done && decide_is_withheld(&d->task, &d->r[i]);
    return n == 0 ? TERN_OK
                  : tern_fail(err, TERN_E_THRESHOLD, "%zu of %zu answers are less likely than %g",
                              n, d->n, d->task.min_p);
}

/* ---- the verb ------------------------------------------------------------------------------ */

static tern_code open_model(decide_verb *d, tern_err *err)
{
    const cli_options *o = &d->c->opt;
    int64_t n_ctx = cli_int(o, OPT_CTX);
    TERN_TRY(cli_model_open(d->c, (int32_t)cli_int(o, OPT_THREADS), &d->m, err));
    d->info.size = sizeof d->info;
    tern_model_info_get(d->m, &d->info);
    d->host = (decide_host){.m = d->m,
                            .n_ctx = (size_t)(n_ctx > 0 ? n_ctx : d->info.n_ctx_train),
                            .cache_k = (tern_cache_type)o->value[OPT_CACHE_K].num,
                            .cache_v = (tern_cache_type)o->value[OPT_CACHE_V].num,
                            .progress = go_on,
                            .ctx = d};
    return TERN_OK;
}

static void verb_done(decide_verb *d)
{
    for (size_t i = 0; i < d->n; i++)
        decide_item_done(&d->items[i]);
    if (d->r)
        decide_results_done(d->r, d->n);
    tern_free(d->items);
    tern_free(d->r);
    json_decref(d->inputs);
    decide_map_done(&d->map);
    decide_task_done(&d->task);
    tern_session_free(d->host.base);
    tern_model_close(d->m);
}

tern_code cli_decide(cli *c, tern_err *err)
{
    decide_verb d = {.c = c};
    const cli_options *o = &c->opt;
    bool reports = cli_text(o, OPT_DECIDE_FIT) || cli_text(o, OPT_DECIDE_EVALUATE);
    tern_code rc;
    if ((cli_text(o, OPT_DECIDE_FIT) != NULL) != (cli_text(o, OPT_OUT_FILE) != NULL))
        return tern_fail(err, TERN_E_USAGE, "--fit and -o CAL.json need each other");
    TERN_TRY_GOTO(open_model(&d, err));
    TERN_TRY_GOTO(read_task(&d, err));
    if (d.task.kind == DECIDE_EXTRACT && (reports || cli_text(o, OPT_DECIDE_CALIBRATION)))
        TERN_TRY_GOTO(tern_fail(err, TERN_E_USAGE, "kind extract has no calibration"));
    TERN_TRY_GOTO(read_items(&d, err));
    TERN_TRY_GOTO(read_calibration(&d, err));
    cli_interrupt_init();
    if (d.task.kind == DECIDE_EXTRACT) {
        rc = decide_fields(&d, err);
        goto fail;
    }
    rc = decide_all(&d, err);
    cli_progress_end(c);
    if (rc == TERN_OK)
        rc = reports && !d.interrupted ? decide_report(&d, err) : print_results(&d, err);
    c->answered = rc == TERN_OK;
    if (rc == TERN_OK)
        rc =
            d.interrupted ? tern_fail(err, TERN_E_CANCELLED, "interrupted") : check_demand(&d, err);
fail:
    verb_done(&d);
    return rc;
}
