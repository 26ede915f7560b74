/* Figures of two models' predictions, as llama-perplexity --kl-divergence defines them. */
#include "eval/divergence.h"
#include "base/alloc.h"
#include "base/error.h"

#include <math.h>
#include <stdlib.h>

/* What the base finds less likely than e^-16 is left out: the file does not tell how unlikely. */
#define LEAST (-16.0f)

tern_code eval_divergence_init(eval_divergence *d, size_t n_row, int32_t n_vocab, tern_err *err)
{
    *d = (eval_divergence){.cap = n_row};
    d->kl = tern_calloc(n_row, sizeof *d->kl);
    d->dp = tern_calloc(n_row, sizeof *d->dp);
    d->log_prob = tern_calloc((size_t)n_vocab, sizeof *d->log_prob);
    if (d->kl && d->dp && d->log_prob)
        return TERN_OK;
    eval_divergence_done(d);
    return tern_fail(err, TERN_E_NOMEM, "out of memory for the divergence of %zu tokens", n_row);
}

void eval_divergence_done(eval_divergence *d)
{
    tern_free(d->kl);
    tern_free(d->dp);
    tern_free(d->log_prob);
    *d = (eval_divergence){0};
}

static int32_t likeliest(const float *x, int32_t n)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

void eval_divergence_add(eval_divergence *d, const float *logits, int32_t n_vocab, int32_t id)
{
    const float *base = d->log_prob;
    int32_t top = likeliest(logits, n_vocab);
    double sum = 0.0, kl = 0.0;
    if (d->n == d->cap)
        return;
    for (int32_t i = 0; i < n_vocab; i++)
        sum += (double)expf(logits[i] - logits[top]);
    double whole = (double)logits[top] + log(sum);
    for (int32_t i = 0; i < n_vocab; i++)
        if (base[i] > LEAST)
            kl += (double)expf(base[i]) * ((double)base[i] - (double)logits[i] + whole);
    double nll = whole - (double)logits[id], nll_base = -(double)base[id];
    d->nll += nll;
    d->nll2 += nll * nll;
    d->base += nll_base;
    d->base2 += nll_base * nll_base;
    d->cross += nll * nll_base;
    d->n_same += top == likeliest(base, n_vocab);
    d->kl[d->n] = (float)kl;
    d->dp[d->n++] = (float)(exp(-nll) - exp(-nll_base));
}

/* ---- summing up ---------------------------------------------------------------------------- */

/* Mean and standard error from sums of values and of their squares. */
static eval_value mean_of(double sum, double squares, size_t n)
{
    double mean = sum / (double)n, variance = squares / (double)n - mean * mean;
    return (eval_value){mean, n > 1 && variance > 0 ? sqrt(variance / (double)(n - 1)) : 0.0};
}

static eval_value through_exp(eval_value x)
{
    return (eval_value){exp(x.value), exp(x.value) * x.error};
}

static int rising(const void *pa, const void *pb)
{
    float a = *(const float *)pa, b = *(const float *)pb;
    return (a > b) - (a < b);
}

/* Between neighbours in proportion. */
static double quantile(const float *sorted, size_t n, double share)
{
    double at = share * (double)(n - 1);
    size_t i = (size_t)at;
    double rest = at - (double)i;
    return (1.0 - rest) * (double)sorted[i] + rest * (double)sorted[i + 1 < n ? i + 1 : i];
}

void eval_divergence_sum_up(eval_divergence *d, eval_divergence_figures *out)
{
    double sum[5] = {0};
    size_t n = d->n;
    *out = (eval_divergence_figures){0};
    if (n == 0)
        return;
    for (size_t i = 0; i < n; i++) {
        double kl = (double)d->kl[i], dp = (double)d->dp[i];
        sum[0] += kl;
        sum[1] += kl * kl;
        sum[2] += dp;
        sum[3] += dp * dp;
        sum[4] += dp * dp * dp * dp;
    }
    eval_value log_ppl = mean_of(d->nll, d->nll2, n), log_base = mean_of(d->base, d->base2, n);
    double shared =
        n > 1 ? (d->cross / (double)n - log_ppl.value * log_base.value) / (double)(n - 1) : 0;
    double ratio2 = log_ppl.error * log_ppl.error + log_base.error * log_base.error - 2 * shared;
    out->ppl = through_exp(log_ppl);
    out->ppl_base = through_exp(log_base);
    out->log_ratio = (eval_value){log_ppl.value - log_base.value, ratio2 > 0 ? sqrt(ratio2) : 0.0};
    out->ratio = through_exp(out->log_ratio);
    if (log_ppl.error > 0 && log_base.error > 0)
        out->correlation = shared / (log_ppl.error * log_base.error);
    out->kl = mean_of(sum[0], sum[1], n);
    out->dp = mean_of(sum[2], sum[3], n);
    eval_value square = mean_of(sum[3], sum[4], n);
    out->dp_rms.value = sqrt(square.value);
    out->dp_rms.error = square.value > 0 ? 0.5 / out->dp_rms.value * square.error : 0.0;
    double same = (double)d->n_same / (double)n;
    out->same_top = (eval_value){same, n > 1 ? sqrt(same * (1.0 - same) / (double)(n - 1)) : 0.0};
    qsort(d->kl, n, sizeof *d->kl, rising);
    qsort(d->dp, n, sizeof *d->dp, rising);
    out->kl_median = quantile(d->kl, n, 0.5);
    out->kl_90 = quantile(d->kl, n, 0.9);
    out->kl_95 = quantile(d->kl, n, 0.95);
    out->kl_99 = quantile(d->kl, n, 0.99);
    out->kl_999 = quantile(d->kl, n, 0.999);
    out->kl_max = (double)d->kl[n - 1];
    out->dp_min = (double)d->dp[0];
    out->dp_median = quantile(d->dp, n, 0.5);
    out->dp_max = (double)d->dp[n - 1];
}
