/* How good probabilities are, and calibrations as files. */
#include "base/alloc.h"
#include "base/error.h"
#include "decide/decide.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* 97.5 % of a normal distribution lies below. */
#define Z          1.959963984540054
#define N_RESAMPLE 1000

/* Wilson 1927: the shares p for which the one seen is within Z of its own standard errors. */
static decide_figure share(double right, double n)
{
    double p = right / n, z2 = Z * Z, middle = (p + z2 / (2 * n)) / (1 + z2 / n);
    double half = Z / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n));
    return (decide_figure){p, fmax(0.0, middle - half), fmin(1.0, middle + half)};
}

static decide_figure mean(const double *x, size_t n)
{
    double sum = 0.0, squares = 0.0, error = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    double m = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (x[i] - m) * (x[i] - m);
    if (n > 1)
        error = sqrt(squares / (double)(n - 1) / (double)n);
    return (decide_figure){m, m - Z * error, m + Z * error};
}

typedef struct answer {
    double p; /* of what was chosen */
    int bin;
    bool right;
} answer;

static double calibration_error(const answer *a, const size_t *pick, size_t n)
{
    double confidence[DECIDE_N_BIN] = {0}, right[DECIDE_N_BIN] = {0}, sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        const answer *x = &a[pick ? pick[i] : i];
        confidence[x->bin] += x->p;
        right[x->bin] += x->right ? 1.0 : 0.0;
    }
    for (int b = 0; b < DECIDE_N_BIN; b++)
        sum += fabs(confidence[b] - right[b]);
    return sum / (double)n;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Percentiles over samples drawn with replacement, by a generator of its own (xorshift64*): the same ones
 * each time. */
static tern_code bootstrap(const answer *a, size_t n, decide_figure *out, tern_err *err)
{
    double *x = tern_calloc(N_RESAMPLE, sizeof *x);
    size_t *pick = tern_calloc(n, sizeof *pick);
    uint64_t seed = UINT64_C(0x9e3779b97f4a7c15);
    for (size_t r = 0; x && pick && r < N_RESAMPLE; r++) {
        for (size_t i = 0; i < n; i++) {
            seed ^= seed >> 12;
            seed ^= seed << 25;
            seed ^= seed >> 27;
            pick[i] = (size_t)((seed * UINT64_C(2685821657736338717) >> 11) % n);
        }
        x[r] = calibration_error(a, pick, n);
    }
    bool ok = x && pick;
    if (ok) {
        qsort(x, N_RESAMPLE, sizeof *x, compare);
        out->low = x[N_RESAMPLE / 40];
        out->high = x[N_RESAMPLE - 1 - N_RESAMPLE / 40];
    }
    tern_free(x);
    tern_free(pick);
    return ok ? TERN_OK : tern_fail(err, TERN_E_NOMEM, "out of memory for figures");
}

static answer judge(const double *p, size_t n, size_t gold, double *loss, double *brier)
{
    size_t best = 0;
    *brier = 0.0;
    for (size_t k = 0; k < n; k++) {
        double miss = p[k] - (k == gold ? 1.0 : 0.0);
        *brier += miss * miss;
        best = p[k] > p[best] ? k : best;
    }
    *loss = -log(fmax(p[gold], 1e-300));
    int bin = (int)(p[best] * DECIDE_N_BIN);
    return (answer){p[best], bin < DECIDE_N_BIN ? bin : DECIDE_N_BIN - 1, best == gold};
}

tern_code decide_figures_make(const double *const *p, const size_t *n, const size_t *gold,
                              size_t n_item, decide_figures *out, tern_err *err)
{
    answer *a = tern_calloc(n_item, sizeof *a);
    double *loss = tern_calloc(n_item, sizeof *loss), *brier = tern_calloc(n_item, sizeof *brier);
    double right = 0.0;
    tern_code rc = TERN_OK;
    *out = (decide_figures){.n = n_item};
    if (n_item == 0)
        rc = tern_fail(err, TERN_E_USAGE, "no labelled items");
    else if (!a || !loss || !brier)
        rc = tern_fail(err, TERN_E_NOMEM, "out of memory for figures");
    for (size_t i = 0; rc == TERN_OK && i < n_item; i++) {
        a[i] = judge(p[i], n[i], gold[i], &loss[i], &brier[i]);
        right += a[i].right ? 1.0 : 0.0;
        out->bin[a[i].bin].n++;
        out->bin[a[i].bin].confidence += a[i].p;
        out->bin[a[i].bin].accuracy += a[i].right ? 1.0 : 0.0;
    }
    if (rc == TERN_OK) {
        out->accuracy = share(right, (double)n_item);
        out->log_loss = mean(loss, n_item);
        out->brier = mean(brier, n_item);
        out->ece.value = calibration_error(a, NULL, n_item);
        rc = bootstrap(a, n_item, &out->ece, err);
    }
    tern_free(a);
    tern_free(loss);
    tern_free(brier);
    return rc;
}

static json_t *figure_json(const decide_figure *f)
{
    return json_pack("{s:f, s:[f, f]}", "value", f->value, "interval", f->low, f->high);
}

json_t *decide_figures_json(const decide_figures *f)
{
    json_t *bins = json_array();
    for (int b = 0; b < DECIDE_N_BIN; b++)
        if (f->bin[b].n)
            (void)json_array_append_new(
                bins, json_pack("{s:I, s:f, s:f}", "items", (json_int_t)f->bin[b].n, "confidence",
                                f->bin[b].confidence / (double)f->bin[b].n, "accuracy",
                                f->bin[b].accuracy / (double)f->bin[b].n));
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}", "items", (json_int_t)f->n, "accuracy",
                     figure_json(&f->accuracy), "log_loss", figure_json(&f->log_loss), "brier",
                     figure_json(&f->brier), "ece", figure_json(&f->ece), "bins", bins);
}

/* ---- files --------------------------------------------------------------------------------- */

#define FORMAT "tern decision calibration"

static const char *const norms[] = {"sum", "tokens", "bytes"};
static const char *const before[] = {"none", "contextual", "batch"};

json_t *decide_map_json(const decide_task *t, const decide_map *m)
{
    json_t *bias = json_object();
    for (size_t k = 0; k < m->n; k++)
        (void)json_object_set_new(bias, t->labels.v[k].name, json_real(m->bias[k]));
    return json_pack("{s:s, s:i, s:s, s:s, s:f, s:o}", "format", FORMAT, "version", 1, "normalize",
                     norms[t->norm], "calibrate", before[t->calibrate], "temperature",
                     m->temperature, "bias", bias);
}

static tern_code read_bias(const decide_task *t, const json_t *bias, const char *name,
                           decide_map *m, tern_err *err)
{
    if (json_object_size(bias) == 0)
        return TERN_OK;
    if (json_object_size(bias) != t->labels.n)
        return tern_fail(err, TERN_E_USAGE, "%s: made for %zu labels, there are %zu", name,
                         json_object_size(bias), t->labels.n);
    m->n = t->labels.n;
    m->bias = tern_calloc(m->n, sizeof *m->bias);
    if (!m->bias)
        return tern_fail(err, TERN_E_NOMEM, "%s: out of memory", name);
    for (size_t k = 0; k < m->n; k++) {
        const json_t *v = json_object_get(bias, t->labels.v[k].name);
        if (!json_is_number(v))
            return tern_fail(err, TERN_E_USAGE, "%s: has no bias of label %zu", name, k + 1);
        m->bias[k] = json_number_value(v);
    }
    return TERN_OK;
}

static bool is_text(const json_t *o, const char *key, const char *want)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s && strcmp(s, want) == 0;
}

tern_code decide_map_read(const decide_task *t, const json_t *o, const char *name, decide_map *m,
                          tern_err *err)
{
    const json_t *temperature = json_object_get(o, "temperature");
    *m = (decide_map){.temperature = 1.0};
    if (!is_text(o, "format", FORMAT) || json_integer_value(json_object_get(o, "version")) != 1)
        return tern_fail(err, TERN_E_FORMAT, "%s: no calibration of decisions", name);
    m->temperature = json_number_value(temperature);
    if (!json_is_number(temperature) || !(m->temperature > 1e-6) || !isfinite(m->temperature))
        return tern_fail(err, TERN_E_FORMAT, "%s: 'temperature': expected a number above 0", name);
    if (!is_text(o, "normalize", norms[t->norm]) || !is_text(o, "calibrate", before[t->calibrate]))
        return tern_fail(err, TERN_E_USAGE,
                         "%s: made with normalize %s, calibrate %s; this is %s, %s", name,
                         json_string_value(json_object_get(o, "normalize"))
                             ? json_string_value(json_object_get(o, "normalize"))
                             : "?",
                         json_string_value(json_object_get(o, "calibrate"))
                             ? json_string_value(json_object_get(o, "calibrate"))
                             : "?",
                         norms[t->norm], before[t->calibrate]);
    tern_code rc = read_bias(t, json_object_get(o, "bias"), name, m, err);
    if (rc != TERN_OK)
        decide_map_done(m);
    return rc;
}
