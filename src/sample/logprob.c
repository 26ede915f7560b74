#include "sample/logprob.h"
#include "sample/stages.h"

#include <math.h>

/* Keep the n best in order; entries beyond those seen so far are not there yet. */
static void rank(tern_logprob *top, int *n, int most, int32_t id, float l)
{
    int at = *n;
    while (at > 0 && (l > top[at - 1].logprob || (l == top[at - 1].logprob && id < top[at - 1].id)))
        at--;
    if (at == most)
        return;
    *n += *n < most;
    for (int i = *n - 1; i > at; i--)
        top[i] = top[i - 1];
    top[at] = (tern_logprob){.id = id, .logprob = l};
}

/* What log softmax is computed from: the largest value, and the sum of exp(value - largest). */
typedef struct scale {
    float max;
    double sum;
} scale;

static float clean(float logit)
{
    return isnan(logit) ? -INFINITY : logit;
}

/* Also when both are infinite. */
static float above(float l, float max)
{
    return l == max ? 0.0f : l - max;
}

static float log_of(const scale *s, float l)
{
    return (float)((double)above(l, s->max) - log(s->sum));
}

static void finish(tern_logprobs *l, const scale *s, int n, float own)
{
    l->n_top = n;
    l->logprob = log_of(s, own);
    for (int i = 0; i < n; i++)
        l->top[i].logprob = log_of(s, l->top[i].logprob);
}

void tern_logprobs_of_logits(tern_logprobs *l, const float *logits, int n_vocab, int32_t id)
{
    scale s = {.max = -INFINITY};
    int n = 0;
    for (int i = 0; i < n_vocab; i++)
        s.max = logits[i] > s.max ? logits[i] : s.max;
    for (int i = 0; i < n_vocab; i++) {
        float v = clean(logits[i]);
        s.sum += (double)expf(above(v, s.max));
        if (n < l->n_top || (l->n_top && v > l->top[n - 1].logprob))
            rank(l->top, &n, l->n_top, i, v);
    }
    finish(l, &s, n, clean(logits[id]));
}

static void be_sure(tern_logprobs *l, int32_t id)
{
    l->logprob = 0.0f;
    l->n_top = l->n_top > 0;
    l->top[0] = (tern_logprob){.id = id};
}

void tern_logprobs_of_sampler(tern_logprobs *l, const tern_sampler *s, int32_t id)
{
    tern_chain_kind kind = tern_sampler_kind(s);
    /* The others have divided by it already. */
    float temp = kind == TERN_CHAIN_GUMBEL ? s->p.temp : 1.0f, own = -INFINITY;
    scale sum = {.max = -INFINITY};
    int n = 0;
    if (kind == TERN_CHAIN_GREEDY) {
        be_sure(l, id);
        return;
    }
    for (int i = 0; i < s->n_cand; i++)
        sum.max = s->cand[i].logit / temp > sum.max ? s->cand[i].logit / temp : sum.max;
    for (int i = 0; i < s->n_cand; i++) {
        float v = s->cand[i].logit / temp;
        sum.sum += (double)expf(above(v, sum.max));
        own = s->cand[i].id == id ? v : own;
        if (v > -INFINITY)
            rank(l->top, &n, l->n_top, s->cand[i].id, v);
    }
    finish(l, &sum, n, own);
}
