/* Temperature and biases by maximum likelihood: softmax(a s + b), where a is the inverse of the
 * temperature. Mean negative log-likelihood with ridges on b and a is convex in both together, so Newton
 * steps with halving find the one minimum; all in double precision and in a fixed order. The ridge of b is
 * chosen by cross-validation, and figures are told from fits that never saw the example (both nested). */
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "decide/decide.h"

#include <math.h>
#include <string.h>

enum { N_FOLD = 5, MAX_STEP = 60, MAX_BIAS = 64 };
/* a is kept near 1 so weakly that only a handful of examples feels it. */
#define RIDGE_A 1e-4
/* A model that knows nothing still may not turn its own order around. */
#define LEAST_A 1e-3

static const double ridges[] = {HUGE_VAL, 1.0, 0.1, 0.01, 0.001};
#define N_RIDGE (sizeof ridges / sizeof ridges[0])

typedef struct fitter {
    const decide_labelled *x;
    size_t n, n_bias; /* 0: temperature alone */
    size_t most;      /* labels of an example */
    double *v, *next; /* owned; [1 + n_bias]: a, then b */
    double *g, *h;    /* owned; gradient [1 + n_bias], Hessian [1 + n_bias] squared */
    double *p;        /* owned; [most] */
} fitter;

/* Which examples take part: those of a fold (in), or all others. */
typedef struct part {
    size_t fold, n_fold; /* n_fold 0: all */
    bool in;
    size_t inner,
        n_inner; /* further left out: inner of n_inner, counted within the part; 0: none */
    bool inner_in;
} part;

static bool takes(const part *s, size_t i)
{
    if (s->n_fold == 0)
        return true;
    if ((i % s->n_fold == s->fold) != s->in)
        return false;
    return s->n_inner == 0 || (i / s->n_fold % s->n_inner == s->inner) == s->inner_in;
}

static void predict(const fitter *f, const decide_labelled *x, const double *v, double *p)
{
    double most = -HUGE_VAL, sum = 0.0;
    for (size_t k = 0; k < x->n; k++) {
        p[k] = v[0] * x->s[k] + (f->n_bias ? v[1 + k] : 0.0);
        most = fmax(most, p[k]);
    }
    for (size_t k = 0; k < x->n; k++)
        sum += p[k] = exp(p[k] - most);
    for (size_t k = 0; k < x->n; k++)
        p[k] /= sum;
}

/* -log of a probability, bounded where it underflows. */
static double loss_of(double p)
{
    return -log(fmax(p, 1e-300));
}

static double penalty(const fitter *f, const double *v, double ridge)
{
    double sum = RIDGE_A * (v[0] - 1.0) * (v[0] - 1.0);
    for (size_t k = 0; k < f->n_bias; k++)
        sum += ridge * v[1 + k] * v[1 + k];
    return 0.5 * sum;
}

/* Mean loss over a part; *n: its examples. */
static double mean_loss(const fitter *f, const part *s, const double *v, size_t *n)
{
    double sum = 0.0;
    *n = 0;
    for (size_t i = 0; i < f->n; i++) {
        if (!takes(s, i))
            continue;
        predict(f, &f->x[i], v, f->p);
        sum += loss_of(f->p[f->x[i].gold]);
        ++*n;
    }
    return *n ? sum / (double)*n : 0.0;
}

/* Add one example's share to gradient and Hessian (its lower triangle). */
static void accumulate(const fitter *f, const decide_labelled *x)
{
    size_t d = 1 + f->n_bias;
    double mean = 0.0, square = 0.0;
    predict(f, x, f->v, f->p);
    for (size_t k = 0; k < x->n; k++) {
        mean += f->p[k] * x->s[k];
        square += f->p[k] * x->s[k] * x->s[k];
    }
    f->g[0] += mean - x->s[x->gold];
    f->h[0] += square - mean * mean;
    for (size_t k = 0; k < f->n_bias; k++) {
        double *row = f->h + (1 + k) * d;
        f->g[1 + k] += f->p[k] - (k == x->gold ? 1.0 : 0.0);
        row[0] += f->p[k] * (x->s[k] - mean);
        for (size_t j = 0; j <= k; j++)
            row[1 + j] += f->p[k] * ((j == k ? 1.0 : 0.0) - f->p[j]);
    }
}

/* Solve h x = g by Cholesky, x into g; h is destroyed. False: not positive definite. */
static bool solve(double *h, double *g, size_t d)
{
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = h[i * d + j];
            for (size_t k = 0; k < j; k++)
                sum -= h[i * d + k] * h[j * d + k];
            if (i == j && !(sum > 0.0))
                return false;
            h[i * d + j] = i == j ? sqrt(sum) : sum / h[j * d + j];
        }
    for (size_t i = 0; i < d; i++) {
        for (size_t k = 0; k < i; k++)
            g[i] -= h[i * d + k] * g[k];
        g[i] /= h[i * d + i];
    }
    for (size_t i = d; i-- > 0;) {
        for (size_t k = i + 1; k < d; k++)
            g[i] -= h[k * d + i] * g[k];
        g[i] /= h[i * d + i];
    }
    return true;
}

/* One Newton direction into f->g; false: there is none, or no use in going on. */
static bool direction(const fitter *f, const part *s, double ridge, double *slope)
{
    size_t d = 1 + f->n_bias, n = 0;
    double gradient = 0.0;
    memset(f->g, 0, d * sizeof *f->g);
    memset(f->h, 0, d * d * sizeof *f->h);
    for (size_t i = 0; i < f->n; i++)
        if (takes(s, i)) {
            accumulate(f, &f->x[i]);
            n++;
        }
    if (n == 0)
        return false;
    for (size_t i = 0; i < d; i++) {
        double r = i == 0 ? RIDGE_A : ridge;
        f->g[i] = f->g[i] / (double)n + r * (f->v[i] - (i == 0 ? 1.0 : 0.0));
        for (size_t j = 0; j <= i; j++)
            f->h[i * d + j] = f->h[i * d + j] / (double)n + (i == j ? r : 0.0);
        gradient = fmax(gradient, fabs(f->g[i]));
        f->next[i] = f->g[i];
    }
    if (gradient < 1e-11 || !solve(f->h, f->g, d))
        return false;
    *slope = 0.0;
    for (size_t i = 0; i < d; i++)
        *slope += f->next[i] * f->g[i];
    return true;
}

/* The minimum over a part into f->v. */
static void minimise(const fitter *f, const part *s, double ridge)
{
    size_t d = 1 + f->n_bias, n;
    double slope;
    memset(f->v, 0, d * sizeof *f->v);
    f->v[0] = 1.0;
    double now = mean_loss(f, s, f->v, &n) + penalty(f, f->v, ridge);
    for (int step = 0; step < MAX_STEP && direction(f, s, ridge, &slope); step++) {
        double length = 1.0, then = HUGE_VAL;
        for (int half = 0; half < 40; half++, length *= 0.5) {
            for (size_t i = 0; i < d; i++)
                f->next[i] = f->v[i] - length * f->g[i];
            f->next[0] = fmax(f->next[0], LEAST_A);
            then = mean_loss(f, s, f->next, &n) + penalty(f, f->next, ridge);
            if (then <= now - 1e-4 * length * slope)
                break;
        }
        if (!(then < now))
            return;
        memcpy(f->v, f->next, d * sizeof *f->v);
        now = then;
    }
}

static void fit_part(fitter *f, const part *s, double ridge, size_t n_bias)
{
    f->n_bias = isinf(ridge) ? 0 : n_bias;
    minimise(f, s, isinf(ridge) ? 0.0 : ridge);
}

/* The ridge whose fits predict what they have not seen best, within a part. */
static double choose_ridge(fitter *f, const part *within, size_t n_bias)
{
    double best = HUGE_VAL, least = HUGE_VAL;
    for (size_t r = 0; r < (n_bias ? N_RIDGE : 1); r++) {
        double sum = 0.0;
        size_t n_all = 0, n;
        for (size_t k = 0; k < N_FOLD; k++) {
            /* Folds of all examples, or folds within what the outer one leaves. */
            part fit = *within, held = *within;
            if (within->n_fold == 0) {
                fit = (part){.fold = k, .n_fold = N_FOLD, .in = false};
                held = (part){.fold = k, .n_fold = N_FOLD, .in = true};
            } else {
                fit.inner = held.inner = k;
                fit.n_inner = held.n_inner = N_FOLD;
                fit.inner_in = false;
                held.inner_in = true;
            }
            fit_part(f, &fit, ridges[r], n_bias);
            sum += mean_loss(f, &held, f->v, &n) * (double)n;
            n_all += n;
        }
        if (n_all && sum / (double)n_all < least) {
            least = sum / (double)n_all;
            best = ridges[r];
        }
    }
    return best;
}

static tern_code fitter_init(fitter *f, const decide_labelled *x, size_t n, size_t n_bias,
                             tern_err *err)
{
    size_t d = 1 + n_bias;
    *f = (fitter){.x = x, .n = n};
    for (size_t i = 0; i < n; i++)
        f->most = x[i].n > f->most ? x[i].n : f->most;
    f->v = tern_calloc(d, sizeof *f->v);
    f->next = tern_calloc(d, sizeof *f->next);
    f->g = tern_calloc(d, sizeof *f->g);
    f->h = tern_calloc(d * d, sizeof *f->h);
    f->p = tern_calloc(f->most + 1, sizeof *f->p);
    return f->v && f->next && f->g && f->h && f->p
               ? TERN_OK
               : tern_fail(err, TERN_E_NOMEM, "out of memory for a fit");
}

static void fitter_done(fitter *f)
{
    tern_free(f->v);
    tern_free(f->next);
    tern_free(f->g);
    tern_free(f->h);
    tern_free(f->p);
}

static tern_code keep_map(const fitter *f, size_t n_bias, decide_map *m, tern_err *err)
{
    m->temperature = 1.0 / f->v[0];
    m->n = n_bias;
    if (n_bias == 0)
        return TERN_OK;
    m->bias = tern_calloc(n_bias, sizeof *m->bias);
    if (!m->bias)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for a fit");
    for (size_t k = 0; k < f->n_bias; k++)
        m->bias[k] = f->v[1 + k];
    return TERN_OK;
}

static tern_code predict_held(fitter *f, size_t n_bias, decide_fit *out, tern_err *err)
{
    size_t total = 0;
    out->at = tern_calloc(f->n, sizeof *out->at);
    for (size_t i = 0; out->at && i < f->n; i++) {
        out->at[i] = total;
        total += f->x[i].n;
    }
    out->p = tern_calloc(total, sizeof *out->p);
    if (!out->at || !out->p)
        return tern_fail(err, TERN_E_NOMEM, "out of memory for a fit");
    for (size_t k = 0; k < N_FOLD; k++) {
        const part fit = {.fold = k, .n_fold = N_FOLD, .in = false};
        double ridge = choose_ridge(f, &fit, n_bias);
        fit_part(f, &fit, ridge, n_bias);
        for (size_t i = k; i < f->n; i += N_FOLD)
            predict(f, &f->x[i], f->v, out->p + out->at[i]);
    }
    return TERN_OK;
}

tern_code decide_fit_make(const decide_labelled *x, size_t n, bool bias, decide_fit *out,
                          tern_err *err)
{
    const part all = {0};
    fitter f = {0};
    tern_code rc;
    *out = (decide_fit){.n_fold = N_FOLD, .map.temperature = 1.0};
    if (n < 2 * N_FOLD)
        return tern_fail(err, TERN_E_USAGE, "%zu labelled examples are too few: at least %d", n,
                         2 * N_FOLD);
    size_t n_bias = bias && x[0].n <= MAX_BIAS ? x[0].n : 0;
    for (size_t i = 0; i < n; i++)
        n_bias = x[i].n == n_bias ? n_bias : 0;
    TERN_TRY_GOTO(fitter_init(&f, x, n, n_bias, err));
    TERN_TRY_GOTO(predict_held(&f, n_bias, out, err));
    out->ridge = choose_ridge(&f, &all, n_bias);
    fit_part(&f, &all, out->ridge, n_bias);
    rc = keep_map(&f, n_bias, &out->map, err);
fail:
    fitter_done(&f);
    if (rc != TERN_OK)
        decide_fit_done(out);
    return rc;
}

void decide_fit_done(decide_fit *f)
{
    decide_map_done(&f->map);
    tern_free(f->p);
    tern_free(f->at);
    *f = (decide_fit){0};
}
