/* Figures of `tern eval`: a table, JSON, and what became of each question. */
#include "base/error.h"
#include "base/os/outfile.h"
#include "eval.h"

#include <stdlib.h>
#include <string.h>

static const char *interval_name(eval_mean mean)
{
    return mean == EVAL_SHARE ? "wilson" : "normal";
}

static void print_table(const eval_run *e)
{
    const eval_task *t = e->task;
    eval_figure f = eval_sum_up(t, 0, e->result, e->set.n);
    (void)printf("%s\n%s: %zu questions of %s, %zu examples each%s\n\n"
                 "| figure | value | standard error | 95 %% interval |\n|---|---:|---:|---:|\n",
                 t->title, cli_model_label(e->c), f.n, cli_text(&e->c->opt, OPT_FILE), e->n_shot,
                 e->interrupted ? " (interrupted)" : "");
    for (int k = 0; k < EVAL_MAX_METRIC && t->metric[k].name; k++) {
        f = eval_sum_up(t, k, e->result, e->set.n);
        (void)printf("| %s%s | %.4f | %.4f | %.4f to %.4f (%s) |\n", t->metric[k].name,
                     k == t->main_metric ? " *" : "", f.value, f.std_error, f.low, f.high,
                     t->metric[k].mean == EVAL_SHARE ? "Wilson" : "normal");
    }
}

static json_t *figures(const eval_run *e)
{
    const eval_task *t = e->task;
    json_t *o = json_object();
    for (int k = 0; k < EVAL_MAX_METRIC && t->metric[k].name; k++) {
        eval_figure f = eval_sum_up(t, k, e->result, e->set.n);
        (void)json_object_set_new(o, t->metric[k].name,
                                  json_pack("{s:f, s:f, s:f, s:f, s:s}", "value", f.value,
                                            "standard_error", f.std_error, "low", f.low, "high",
                                            f.high, "interval", interval_name(t->metric[k].mean)));
    }
    return o;
}

tern_code eval_report(const eval_run *e, tern_err *err)
{
    const cli_options *o = &e->c->opt;
    const char *shots = cli_text(o, OPT_SHOTS_FILE), *file = cli_text(o, OPT_FILE);
    eval_figure f = eval_sum_up(e->task, e->task->main_metric, e->result, e->set.n);
    if (!e->c->json) {
        print_table(e);
        return cli_flush(err);
    }
    return cli_print_json(
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:b, s:I, s:b, s:s, s:o}", "task", e->task->name,
                  "model", cli_model_label(e->c), "file", file, "items", (json_int_t)f.n, "shots",
                  (json_int_t)e->n_shot, "shots_from",
                  e->n_shot == 0 ? "none"
                  : shots        ? shots
                                 : file,
                  "interrupted", e->interrupted, "cut", (json_int_t)e->n_cut, "passed",
                  f.value >= cli_real(o, OPT_MIN), "main",
                  e->task->metric[e->task->main_metric].name, "figures", figures(e)),
        err);
}

/* ---- items --------------------------------------------------------------------------------- */

static json_t *written(const eval_item *item, const eval_result *r)
{
    return json_pack("{s:s, s:s, s:b, s:b}", "answer", item->answer, "text", r->text ? r->text : "",
                     "strict_match", r->value[0] > 0.5, "flexible_extract", r->value[1] > 0.5);
}

static json_t *scored(const eval_run *e, const eval_item *item, const eval_result *r)
{
    const eval_task *t = e->task;
    json_t *log_probs = json_array();
    for (size_t i = 0; i < item->n_choice; i++)
        (void)json_array_append_new(log_probs, json_real(r->log_prob[i]));
    json_t *o = json_pack("{s:o}", "log_probs", log_probs);
    if (t->kind == EVAL_CHOICE) {
        (void)json_object_set_new(o, "gold", json_integer((json_int_t)item->gold));
        (void)json_object_set_new(o, "choice", json_integer((json_int_t)r->choice));
        (void)json_object_set_new(o, "choice_norm", json_integer((json_int_t)r->choice_norm));
    } else {
        (void)json_object_set_new(o, "greedy", json_boolean(r->greedy[0]));
    }
    for (int k = 0; k < EVAL_MAX_METRIC && t->metric[k].name; k++)
        if (t->metric[k].mean != EVAL_PERPLEXITY)
            (void)json_object_set_new(o, t->metric[k].name, json_real(r->value[k]));
    return o;
}

tern_code eval_write_items(const eval_run *e, const char *path, tern_err *err)
{
    tern_outfile out;
    TERN_TRY(tern_outfile_open(&out, path, 0, err));
    for (size_t i = e->first; i < e->set.n; i++) {
        const eval_item *item = &e->set.item[i];
        const eval_result *r = &e->result[i];
        if (!r->done)
            continue;
        json_t *o = e->task->kind == EVAL_GENERATE ? written(item, r) : scored(e, item, r);
        (void)json_object_set_new(o, "line", json_integer((json_int_t)item->line));
        char *text = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
        json_decref(o);
        if (!text) {
            tern_outfile_abort(&out);
            return tern_fail(err, TERN_E_NOMEM, "out of memory for the item of line %zu",
                             item->line);
        }
        (void)fprintf(out.f, "%s\n", text);
        free(text);
    }
    return tern_outfile_commit(&out, err);
}
