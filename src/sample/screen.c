/* The order of things: ids with a bias or penalty are computed exactly and kept apart, for bounds say
 * nothing of them. Then a few rows of the largest coarse products, which give a logit that is at least
 * reached (the k-th best so far). Then every row whose upper bound reaches it. No other row can be
 * among the k best, and ties are settled by the chain, which sees all that are equal. */
#include "sample/screen.h"
#include "sample/stages.h"

#include <math.h>
#include <string.h>

/* Ids with biases and penalties that are still worth keeping apart. */
#define MAX_APART 1024
/* k of top-k up to which a heap of seeds is small. */
#define MAX_SEEDS 1024
/* Exact rows beyond this part of the head cost as much as reading it whole, in order. */
#define MAX_PART 8

typedef struct pick {
    tern_sampler *s;
    tern_exec *e;
    const tern_screen *k;
    uint64_t pos;
    tern_picked *picked;
} pick;

/* list[0..n) becomes candidates with exact logits. False when one is not finite. */
static bool take(pick *p, int n)
{
    tern_sampler *s = p->s;
    if (n == 0)
        return true;
    p->picked->n_exact += n;
    tern_screen_exact(p->e, p->k->x, s->list, n, s->exact);
    for (int i = 0; i < n; i++) {
        int32_t id = s->list[i];
        if (!isfinite(s->exact[i]))
            return false;
        s->known[id] = 1;
        s->cand[s->n_cand++] =
            (tern_candidate){.id = id, .logit = tern_sampler_adjust(s, id, s->exact[i])};
    }
    return true;
}

/* Ids whose logits are changed. Marked at once, so that none comes twice. */
static bool take_apart(pick *p)
{
    tern_sampler *s = p->s;
    int n = 0;
    if (s->p.n_bias + (s->ring ? s->n_ring : 0) > MAX_APART)
        return false;
    for (size_t i = 0; i < s->p.n_bias; i++)
        if (!s->known[s->bias[i].id]) {
            s->known[s->bias[i].id] = 1;
            s->list[n++] = s->bias[i].id;
        }
    for (size_t i = 0; s->ring && i < s->n_ring; i++)
        if (!s->known[s->ring[i]]) {
            s->known[s->ring[i]] = 1;
            s->list[n++] = s->ring[i];
        }
    if (take(p, n))
        return true;
    for (int i = 0; i < n; i++) /* those that did not become candidates */
        s->known[s->list[i]] = 0;
    return false;
}

/* ---- seeds ----------------------------------------------------------------------------------- */

/* heap[0..n): ids, the smallest coarse product on top. The one at `at` rises to its place. */
static void rise(const float *y, int32_t *heap, int at)
{
    int32_t moved = heap[at];
    for (int up; at > 0 && y[moved] < y[heap[up = (at - 1) / 2]]; at = up)
        heap[at] = heap[up];
    heap[at] = moved;
}

/* id in place of the one on top. */
static void replace_top(const float *y, int32_t *heap, int n, int32_t id)
{
    int at = 0;
    for (int child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && y[heap[child + 1]] < y[heap[child]])
            child++;
        if (y[heap[child]] >= y[id])
            break;
        heap[at] = heap[child];
    }
    heap[at] = id;
}

/* The up to `want` ids of the largest coarse products go to list. */
static int seeds(const pick *p, int want)
{
    const tern_screen *k = p->k;
    int32_t *heap = p->s->list;
    int n = 0, n_id = p->s->n_vocab;
    for (int i0 = 0; i0 < n_id; i0 += TERN_HEAD_BLOCK) {
        int i1 = n_id - i0 < TERN_HEAD_BLOCK ? n_id : i0 + TERN_HEAD_BLOCK;
        if (n == want && k->top[i0 / TERN_HEAD_BLOCK] <= k->y[heap[0]])
            continue;
        for (int i = i0; i < i1; i++) {
            if (p->s->known[i])
                continue;
            if (n < want) {
                heap[n] = i;
                rise(k->y, heap, n++);
            } else if (k->y[i] > k->y[heap[0]]) {
                replace_top(k->y, heap, n, i);
            }
        }
    }
    return n;
}

/* ---- candidates ------------------------------------------------------------------------------ */

/* A logit in terms of coarse products, rounded down. */
static float below(const tern_screen *k, double logit)
{
    double d = logit - k->mean;
    float f = (float)d;
    return (double)f > d ? nextafterf(f, -HUGE_VALF) : f;
}

/* list: unknown ids that may reach `least`. */
static int may_reach(const pick *p, float least)
{
    const tern_screen *k = p->k;
    int n = 0, n_id = p->s->n_vocab;
    for (int i0 = 0; i0 < n_id; i0 += TERN_HEAD_BLOCK) {
        int i1 = n_id - i0 < TERN_HEAD_BLOCK ? n_id : i0 + TERN_HEAD_BLOCK;
        if (k->up[i0 / TERN_HEAD_BLOCK] < least)
            continue;
        for (int i = i0; i < i1; i++)
            if (!(k->y[i] + tern_screen_slack(k, i) < least) && !p->s->known[i])
                p->s->list[n++] = i;
    }
    return n;
}

/* list: unknown ids that their noise may lift to a sum of `top`. */
static int may_be_lifted(const pick *p, double top)
{
    const tern_screen *k = p->k;
    const tern_sampler *s = p->s;
    uint64_t key = tern_noise_key(s->p.seed, p->pos);
    double temp = (double)s->p.temp;
    int n = 0, n_id = s->n_vocab;
    top -= fabs(top) * 1e-12 + 1e-9; /* f64 roundings of the sums compared */
    for (int i0 = 0; i0 < n_id; i0 += TERN_HEAD_BLOCK) {
        int i1 = n_id - i0 < TERN_HEAD_BLOCK ? n_id : i0 + TERN_HEAD_BLOCK;
        double up = ((double)k->up[i0 / TERN_HEAD_BLOCK] + k->mean) / temp;
        double least = tern_noise_least_u(top - up);
        for (int i = i0; i < i1; i++) {
            double u = tern_noise_u(key, i);
            if (u < least || s->known[i])
                continue;
            up = ((double)(k->y[i] + tern_screen_slack(k, i)) + k->mean) / temp;
            if (!(up + tern_noise_of(u) < top))
                s->list[n++] = i;
        }
    }
    return n;
}

/* The largest sum of logit and noise among the candidates. */
static double best_sum(const pick *p)
{
    const tern_sampler *s = p->s;
    uint64_t key = tern_noise_key(s->p.seed, p->pos);
    double top = -HUGE_VAL;
    for (int i = 0; i < s->n_cand; i++) {
        double sum = (double)s->cand[i].logit / (double)s->p.temp +
                     tern_noise_of(tern_noise_u(key, s->cand[i].id));
        top = sum > top ? sum : top;
    }
    return top;
}

/* What a logit must reach to matter, given the candidates so far; -inf when nothing can be said. */
static float least_logit(const pick *p, tern_chain_kind kind)
{
    tern_sampler *s = p->s;
    if (s->n_cand == 0)
        return -HUGE_VALF;
    tern_candidates_sort(s->cand, s->n_cand);
    switch (kind) {
    case TERN_CHAIN_GREEDY:
        return s->cand[0].logit;
    case TERN_CHAIN_TOP_K:
        return s->n_cand < s->p.top_k ? -HUGE_VALF : s->cand[s->p.top_k - 1].logit;
    default: /* min-p, as the chain computes it; a larger first logit only raises it */
        return s->cand[0].logit + logf(s->p.min_p);
    }
}

/* Bring the m largest of up[0..n), with their ids, to the front; m < n. */
static void bring_forward(tern_sampler *s, int m, int n)
{
    float *heap = s->exact; /* the m largest so far, the smallest on top */
    int at = 0;
    for (int i = 0; i < m; i++)
        heap[i] = -HUGE_VALF;
    for (int i = 0; i < n; i++) {
        int k = 0;
        if (s->up[i] <= heap[0])
            continue;
        for (int child; (child = 2 * k + 1) < m; k = child) {
            if (child + 1 < m && heap[child + 1] < heap[child])
                child++;
            if (heap[child] >= s->up[i])
                break;
            heap[k] = heap[child];
        }
        heap[k] = s->up[i];
    }
    float least = heap[0];
    for (int i = 0; i < n && at < m; i++)
        if (s->up[i] >= least) {
            int32_t id = s->list[i];
            float up = s->up[i];
            s->list[i] = s->list[at];
            s->up[i] = s->up[at];
            s->list[at] = id;
            s->up[at++] = up;
        }
}

/* The second plane on list[0..n): those with the largest bounds are much better seeds than the first
 * plane's. Returns what is left to compute; -1: a logit is not finite. */
static int narrow(pick *p, tern_chain_kind kind, float least, int want, int n)
{
    tern_sampler *s = p->s;
    int kept = 0;
    p->picked->n_refined += n;
    n = tern_screen_refine(p->e, p->k, least, s->list, s->up, n);
    if (n <= want)
        return n;
    bring_forward(s, want, n);
    if (!take(p, want))
        return -1;
    least = below(p->k, (double)least_logit(p, kind));
    for (int i = want; i < n; i++)
        if (!(s->up[i] < least))
            s->list[kept++] = s->list[i];
    return kept;
}

bool tern_sampler_screens(const tern_sampler *s)
{
    tern_chain_kind kind = tern_sampler_kind(s);
    return kind != TERN_CHAIN_ALL && (kind != TERN_CHAIN_TOP_K || s->p.top_k <= MAX_SEEDS);
}

/* All that may matter become candidates. */
static bool find(pick *p, tern_chain_kind kind)
{
    tern_sampler *s = p->s;
    int n, want = 32;
    if (!tern_sampler_screens(s))
        return false;
    if (kind == TERN_CHAIN_TOP_K)
        want = s->p.top_k + s->p.top_k / 4 + 8;
    if (!take_apart(p) || !take(p, seeds(p, want)))
        return false;
    if (kind == TERN_CHAIN_GUMBEL) {
        double top = best_sum(p);
        n = isfinite(top) ? may_be_lifted(p, top) : -1;
    } else {
        float least = least_logit(p, kind);
        if (!isfinite(least))
            return false;
        least = below(p->k, (double)least);
        n = may_reach(p, least);
        if (p->k->h->w2)
            n = narrow(p, kind, least, want, n);
    }
    return n >= 0 && n <= p->k->h->rows / MAX_PART && take(p, n);
}

bool tern_sampler_pick_screened(tern_sampler *s, tern_exec *e, const tern_screen *k, uint64_t pos,
                                int32_t *id, tern_picked *picked)
{
    pick p = {.s = s, .e = e, .k = k, .pos = pos, .picked = picked};
    tern_chain_kind kind = tern_sampler_kind(s);
    *picked = (tern_picked){0};
    s->n_cand = 0;
    bool found = k->h->rows >= s->n_vocab && find(&p, kind);
    for (int i = 0; i < s->n_cand; i++)
        s->known[s->cand[i].id] = 0;
    if (found)
        *id = tern_sampler_choose(s, pos);
    return found;
}
