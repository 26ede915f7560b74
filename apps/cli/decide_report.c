/* Figures of decisions on labelled items, and the calibration that is fitted to them. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/os/outfile.h"
#include "decide.h"

#include <stdlib.h>
#include <string.h>

static tern_code figures_of(const decide_verb *d, const double *const *p, decide_figures *out,
                            tern_err *err)
{
    size_t *n = tern_calloc(d->n, sizeof *n), *gold = tern_calloc(d->n, sizeof *gold);
    for (size_t i = 0; n && gold && i < d->n; i++) {
        n[i] = d->r[i].n;
        gold[i] = d->items[i].gold;
    }
    tern_code rc = n && gold ? decide_figures_make(p, n, gold, d->n, out, err)
                             : tern_fail(err, TERN_E_NOMEM, "out of memory for figures");
    tern_free(n);
    tern_free(gold);
    return rc;
}

/* Of the probabilities as they are. */
static tern_code figures_now(const decide_verb *d, decide_figures *out, tern_err *err)
{
    const double **p = tern_calloc(d->n, sizeof *p);
    if (!p)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for figures");
    for (size_t i = 0; i < d->n; i++)
        p[i] = d->r[i].p;
    tern_code rc = figures_of(d, p, out, err);
    tern_free(p);
    return rc;
}

static tern_code figures_held(const decide_verb *d, const decide_fit *f, decide_figures *out,
                              tern_err *err)
{
    const double **p = tern_calloc(d->n, sizeof *p);
    if (!p)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for figures");
    for (size_t i = 0; i < d->n; i++)
        p[i] = f->p + f->at[i];
    tern_code rc = figures_of(d, p, out, err);
    tern_free(p);
    return rc;
}

static tern_code fit(const decide_verb *d, decide_fit *out, tern_err *err)
{
    decide_labelled *x = tern_calloc(d->n, sizeof *x);
    *out = (decide_fit){0};
    if (!x)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for a fit");
    for (size_t i = 0; i < d->n; i++)
        x[i] = (decide_labelled){d->r[i].log_prob, d->r[i].n, d->items[i].gold};
    tern_code rc = decide_fit_make(x, d->n, d->task.labels.n > 0, out, err);
    tern_free(x);
    return rc;
}

static tern_code write_map(const decide_verb *d, const decide_fit *f, json_t *before, json_t *after,
                           tern_err *err)
{
    tern_outfile out;
    json_t *o = decide_map_json(&d->task, &f->map);
    bool ok = o && before && after &&
              json_object_set_new(o, "model", json_string(cli_model_label(d->c))) == 0 &&
              json_object_set(o, "before", before) == 0 && json_object_set(o, "after", after) == 0;
    char *text = ok ? json_dumps(o, JSON_INDENT(1) | JSON_PRESERVE_ORDER) : NULL;
    json_decref(o);
    if (!text)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for the calibration");
    tern_code rc = tern_outfile_open(&out, cli_text(&d->c->opt, OPT_OUT_FILE), 0, err);
    if (rc == TERN_OK) {
        (void)fprintf(out.f, "%s\n", text);
        rc = tern_outfile_commit(&out, err);
    }
    free(text);
    return rc;
}

static void print_row(const char *name, const decide_figures *f)
{
    const decide_figure *x[] = {&f->accuracy, &f->log_loss, &f->brier, &f->ece};
    (void)printf("| %s |", name);
    for (size_t i = 0; i < 4; i++)
        (void)printf(" %.4f [%.4f, %.4f] |", x[i]->value, x[i]->low, x[i]->high);
    (void)putchar('\n');
}

static tern_code print_figures(const decide_verb *d, const decide_figures *now,
                               const decide_figures *held, const decide_fit *f, tern_err *err)
{
    if (d->c->json)
        return cli_print_json(
            json_pack("{s:s, s:I, s:o, s:o, s:o, s:o}", "model", cli_model_label(d->c), "items",
                      (json_int_t)d->n, held ? "before" : "figures", decide_figures_json(now),
                      "after", held ? decide_figures_json(held) : json_null(), "temperature",
                      f ? json_real(f->map.temperature) : json_null(), "folds",
                      f ? json_integer(f->n_fold) : json_null()),
            err);
    (void)printf(
        "%s, %zu items\n\n| | accuracy | log loss | Brier | ECE |\n|---|---|---|---|---|\n",
        cli_model_label(d->c), d->n);
    print_row(held ? "before" : "as told", now);
    if (held)
        print_row("fitted, unseen folds", held);
    if (f) {
        (void)printf("\ntemperature %.4f", f->map.temperature);
        for (size_t k = 0; k < f->map.n; k++)
            (void)printf(", %s %+.4f", d->task.labels.v[k].name, f->map.bias[k]);
        (void)putchar('\n');
    }
    return cli_flush(err);
}

tern_code decide_report(decide_verb *d, tern_err *err)
{
    decide_figures now, held;
    decide_fit f;
    TERN_TRY(figures_now(d, &now, err));
    if (!cli_text(&d->c->opt, OPT_DECIDE_FIT))
        return print_figures(d, &now, NULL, NULL, err);
    tern_code rc = fit(d, &f, err);
    if (rc == TERN_OK)
        rc = figures_held(d, &f, &held, err);
    if (rc == TERN_OK) {
        json_t *before = decide_figures_json(&now), *after = decide_figures_json(&held);
        rc = write_map(d, &f, before, after, err);
        json_decref(before);
        json_decref(after);
    }
    if (rc == TERN_OK)
        rc = print_figures(d, &now, &held, &f, err);
    decide_fit_done(&f);
    return rc;
}
