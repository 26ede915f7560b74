/* The order of things: ids with a bias or penalty are computed exactly and kept apart, for bounds say
 * nothing of them, and so are a few rows of the largest coarse products. That gives a logit that is at
 * least reached (the k-th best so far). Then come all rows whose upper bound reaches it, those with the
 * largest bounds first, for they mostly raise it so far that few others are left. No other row can be
 * among the k best, and ties are settled by the chain, which sees all that are equal.
 *
 * Several choices go through these steps together: what their rows of the planes and of the head are
 * read for in one region, and a part of a finer plane comes from memory once for all of them. */
#include "sample/screen.h"
#include "sample/stages.h"

#include <math.h>
#include <string.h>

/* Ids with biases and penalties that are still worth keeping apart. */
#define MAX_APART 1024
/* k of top-k up to which a heap of seeds is small. */
#define MAX_SEEDS 1024
/* Ids that a grammar allows are all computed when they are so few. */
#define FEW_ALLOWED 256
/* Exact rows beyond this part of the head cost as much as reading it whole, in order. */
#define MAX_PART 8
/* Rows looked through at a time: of a finer plane they fit in a core's cache, for one choice after the
 * other; a single one takes more, as what is asked for ahead ends with them. */
#define UNIT        (16 * TERN_HEAD_BLOCK)
#define UNIT_SINGLE (64 * TERN_HEAD_BLOCK)

/* One choice on its way. */
typedef struct pick {
    tern_sampler *s;
    const tern_screen *k;
    uint64_t pos;
    tern_chain_kind kind;
    bool failed; /* all logits are needed */
    bool whole;  /* every id that is allowed is a candidate */
    int n;       /* s->list[0..n): rows that may matter */
    int n_now;   /* of these the first are computed next */
    int n_apart; /* of these the first have a bias or penalty */
    int unit;    /* rows that were looked through at a time */
    int want;    /* rows worth computing before others are left out */
    float least; /* what a logit less k->mean must reach to matter */
    double top;  /* TERN_CHAIN_GUMBEL: what the sum of logit and noise must */
    tern_picked picked;
    int32_t id; /* chosen, unless failed */
} pick;

/* ---- rows that come first -------------------------------------------------------------------- */

/* Ids that are not allowed are as if they were candidates already. */
static void hide_others(tern_sampler *s)
{
    static const uint8_t hidden[16][4] = {{1, 1, 1, 1}, {0, 1, 1, 1}, {1, 0, 1, 1}, {0, 0, 1, 1},
                                          {1, 1, 0, 1}, {0, 1, 0, 1}, {1, 0, 0, 1}, {0, 0, 0, 1},
                                          {1, 1, 1, 0}, {0, 1, 1, 0}, {1, 0, 1, 0}, {0, 0, 1, 0},
                                          {1, 1, 0, 0}, {0, 1, 0, 0}, {1, 0, 0, 0}, {0, 0, 0, 0}};
    for (int i = 0; i < s->n_vocab; i += 4) /* there is room for a few more */
        memcpy(s->known + i, hidden[s->allowed[i / 32] >> i % 32 & 15], 4);
}

/* Ids whose logits are changed go to the front of the list. Marked at once, so that none comes twice. */
static void list_apart(pick *p)
{
    tern_sampler *s = p->s;
    size_t n_ring = s->ring ? s->n_ring : 0;
    if (s->p.n_bias + n_ring > MAX_APART) {
        p->failed = true;
        return;
    }
    for (size_t i = 0; i < s->p.n_bias + n_ring; i++) {
        int32_t id = i < s->p.n_bias ? s->bias[i].id : s->ring[i - s->p.n_bias];
        if (!s->known[id]) {
            s->known[id] = 1;
            s->list[p->n_apart++] = id;
        }
    }
    p->n = p->n_apart;
}

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

/* The up to p->want ids of the largest coarse products follow. */
static void list_seeds(pick *p)
{
    const tern_screen *k = p->k;
    int32_t *heap = p->s->list + p->n;
    int n = 0, n_id = p->s->n_vocab, want = p->want < n_id - p->n ? p->want : n_id - p->n;
    for (int i0 = 0; i0 < n_id && want > 0; i0 += TERN_HEAD_BLOCK) {
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
    p->n += n;
}

static void list_first(pick *p)
{
    tern_sampler *s = p->s;
    p->want = p->kind == TERN_CHAIN_TOP_K    ? s->p.top_k + s->p.top_k / 4 + 8
              : p->kind == TERN_CHAIN_GREEDY ? 8
                                             : 32;
    if (s->allowed && s->n_allowed <= FEW_ALLOWED)
        p->want = s->n_allowed;
    p->failed |= !tern_sampler_screens(s) || p->k->h->rows < s->n_vocab;
    if (!p->failed && s->allowed)
        hide_others(s);
    if (!p->failed)
        list_apart(p);
    if (!p->failed)
        list_seeds(p);
    p->n_now = p->n;
}

/* The rows are computed: they become candidates, whose logits must all be finite. */
static void take(pick *p)
{
    tern_sampler *s = p->s;
    if (!p->failed)
        p->picked.n_exact += p->n_now;
    for (int i = 0; i < p->n_now && !p->failed; i++) {
        int32_t id = s->list[i];
        p->failed = !isfinite(s->exact[i]);
        s->known[id] = 1;
        s->cand[s->n_cand++] = (tern_candidate){
            .id = id,
            .logit = i < p->n_apart ? tern_sampler_adjust(s, id, s->exact[i]) : s->exact[i]};
    }
    p->n_apart = 0;
}

/* ---- what must be reached -------------------------------------------------------------------- */

/* A logit in terms of coarse products, rounded down. */
static float below(const tern_screen *k, double logit)
{
    double d = logit - k->mean;
    float f = (float)d;
    return (double)f > d ? nextafterf(f, -HUGE_VALF) : f;
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
static float least_logit(tern_sampler *s, tern_chain_kind kind)
{
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

/* Raise the bar to what the candidates say. */
static void raise_bar(pick *p)
{
    p->whole = p->s->allowed && p->s->n_cand == p->s->n_allowed;
    if (p->whole) { /* nothing else is left */
        p->least = HUGE_VALF;
        return;
    }
    if (p->kind == TERN_CHAIN_GUMBEL) {
        double top = best_sum(p);
        p->top = top - (fabs(top) * 1e-12 + 1e-9); /* f64 roundings of the sums compared */
        p->failed |= !isfinite(top);
        return;
    }
    float least = least_logit(p->s, p->kind);
    p->failed |= !isfinite(least);
    p->least = below(p->k, (double)least);
}

/* ---- all rows that may matter ---------------------------------------------------------------- */

/* Lists are written without a branch on what the system cannot foresee. */

/* ids: unknown ones of [i0, i1) whose first bound reaches the bar. */
static int may_reach(const pick *p, int i0, int i1, int32_t *ids)
{
    const tern_screen *k = p->k;
    const uint8_t *known = p->s->known;
    float least = p->least;
    int n = 0;
    for (; i0 < i1; i0 += TERN_HEAD_BLOCK) {
        int end = i1 - i0 < TERN_HEAD_BLOCK ? i1 : i0 + TERN_HEAD_BLOCK;
        if (k->up[i0 / TERN_HEAD_BLOCK] < least)
            continue;
        for (int i = i0; i < end; i++) {
            ids[n] = i;
            n += !(k->y[i] + tern_screen_slack(k, i) < least) & !known[i];
        }
    }
    return n;
}

/* The same: those that their noise may lift to p->top. */
static int may_be_lifted(const pick *p, int i0, int i1, int32_t *ids)
{
    const tern_screen *k = p->k;
    const tern_sampler *s = p->s;
    uint64_t key = tern_noise_key(s->p.seed, p->pos);
    double temp = (double)s->p.temp;
    int n = 0;
    for (; i0 < i1; i0 += TERN_HEAD_BLOCK) {
        int end = i1 - i0 < TERN_HEAD_BLOCK ? i1 : i0 + TERN_HEAD_BLOCK;
        double up = ((double)k->up[i0 / TERN_HEAD_BLOCK] + k->mean) / temp;
        double least = tern_noise_least_u(p->top - up);
        for (int i = i0; i < end; i++) {
            double u = tern_noise_u(key, i);
            if (u < least || s->known[i])
                continue;
            up = ((double)(k->y[i] + tern_screen_slack(k, i)) + k->mean) / temp;
            if (!(up + tern_noise_of(u) < p->top))
                ids[n++] = i;
        }
    }
    return n;
}

/* Keep those of ids that still may matter, now that up says more, with their y and up. */
static int still_matter(const pick *p, int32_t *ids, float *y, float *up, int n)
{
    const tern_sampler *s = p->s;
    int kept = 0;
    if (p->kind == TERN_CHAIN_GUMBEL) {
        uint64_t key = tern_noise_key(s->p.seed, p->pos);
        for (int i = 0; i < n; i++) {
            double sum = ((double)up[i] + p->k->mean) / (double)s->p.temp +
                         tern_noise_of(tern_noise_u(key, ids[i]));
            ids[kept] = ids[i];
            y[kept] = y[i];
            kept += !(sum < p->top);
        }
        return kept;
    }
    for (int i = 0; i < n; i++) {
        ids[kept] = ids[i];
        y[kept] = y[i];
        up[kept] = up[i];
        kept += !(up[i] < p->least);
    }
    return kept;
}

typedef struct search {
    const tern_exec *e;
    const tern_screening *k;
    pick *p;
    int rows; /* of a unit */
} search;

/* Part i of p->s->list and ->up becomes what matters of these rows, and behind it a number below 0 that tells how
 * many rows each finer plane was read for; when all of them matter there is no room, nor need. */
static void search_unit(const search *r, int t, int unit)
{
    const pick *p = &r->p[t];
    int i0 = unit * r->rows, n_id = p->s->n_vocab;
    int i1 = n_id - i0 < r->rows ? n_id : i0 + r->rows;
    if (p->failed || p->whole || i0 >= n_id)
        return;
    int32_t *ids = p->s->list + i0;
    float *up = p->s->up + i0, *y = p->s->exact + i0; /* exact logits come later */
    bool gumbel = p->kind == TERN_CHAIN_GUMBEL;
    int n_fine = p->k->h->n_fine, read = 0;
    int n = gumbel ? may_be_lifted(p, i0, i1, ids) : may_reach(p, i0, i1, ids);
    tern_screen_bound(r->e, r->k, t, 0, ids, n, y, up);
    for (int i = 1; i <= n_fine; i++) {
        read = read * (p->unit + 1) + n;
        tern_screen_bound(r->e, r->k, t, i, ids, n, y, up);
        n = still_matter(p, ids, y, up, n);
    }
    if (n < i1 - i0)
        ids[n] = -1 - read;
}

/* All choices look at a part of the rows before the next part comes. */
static void search_range(void *arg, int lane, int begin, int end)
{
    const search *r = arg;
    (void)lane;
    for (; begin < end; begin++)
        search_unit(r, begin % r->k->n, begin / r->k->n);
}

/* Close the gaps between the parts. */
static void join_list(pick *p)
{
    tern_sampler *s = p->s;
    int n = 0, n_id = s->n_vocab;
    for (int i0 = 0; i0 < n_id && !p->failed && !p->whole; i0 += p->unit) {
        int i1 = n_id - i0 < p->unit ? n_id : i0 + p->unit, i = i0;
        for (; i < i1 && s->list[i] >= 0; i++, n++) {
            s->list[n] = s->list[i];
            s->up[n] = s->up[i];
        }
        for (int f = p->k->h->n_fine - 1, read = i < i1 ? -1 - s->list[i] : 0; f >= 0; f--) {
            p->picked.n_fine[f] += i < i1 ? read % (p->unit + 1) : i1 - i0;
            read /= p->unit + 1;
        }
    }
    p->n = p->failed || p->whole ? 0 : n;
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

/* ---- the steps ------------------------------------------------------------------------------- */

typedef void (*step_fn)(pick *p);

typedef struct steps {
    pick *p;
    step_fn fn;
} steps;

static void step_range(void *arg, int lane, int begin, int end)
{
    const steps *s = arg;
    (void)lane;
    for (; begin < end; begin++)
        s->fn(&s->p[begin]);
}

static void each(tern_exec *e, pick *p, int n, step_fn fn)
{
    steps s = {p, fn};
    if (n == 1)
        fn(p);
    else
        tern_pool_for(e->pool, n, 1, step_range, &s);
}

static void compute(tern_exec *e, const tern_screening *k, const pick *p)
{
    tern_wanted list[TERN_SCREEN_ROWS];
    for (int i = 0; i < k->n; i++)
        list[i] = (tern_wanted){
            .ids = p[i].s->list, .z = p[i].s->exact, .n = p[i].failed ? 0 : p[i].n_now};
    tern_screen_exact(e, k, list);
}

static void take_first(pick *p)
{
    take(p);
    if (!p->failed)
        raise_bar(p);
}

/* Every row that may matter is listed. The bounds order them by what logit they may have; what noise may
 * lift is as good as ordered. */
static void order(pick *p)
{
    join_list(p);
    if (p->kind == TERN_CHAIN_GUMBEL)
        p->want = p->n;
    if (p->n > p->want)
        bring_forward(p->s, p->want, p->n);
    p->n_now = p->n < p->want ? p->n : p->want;
    p->failed |= p->n_now > p->k->h->rows / MAX_PART;
}

/* What is left then. */
static void take_more(pick *p)
{
    tern_sampler *s = p->s;
    int kept = 0;
    take(p);
    if (p->n > p->n_now && !p->failed)
        raise_bar(p);
    for (int i = p->n_now; i < p->n; i++) {
        s->list[kept] = s->list[i];
        kept += !(s->up[i] < p->least);
    }
    p->n = p->n_now = kept;
    p->failed |= kept > p->k->h->rows / MAX_PART;
}

static void take_last(pick *p)
{
    tern_sampler *s = p->s;
    take(p);
    for (int i = 0; i < s->n_cand; i++)
        s->known[s->cand[i].id] = 0;
    for (size_t i = 0; i < s->p.n_bias; i++)
        s->known[s->bias[i].id] = 0;
    for (size_t i = 0; s->ring && i < s->n_ring; i++)
        s->known[s->ring[i]] = 0;
    if (s->allowed)
        memset(s->known, 0, (size_t)s->n_vocab);
    if (!p->failed)
        p->id = tern_sampler_choose(s, p->pos);
}

static void search_all(tern_exec *e, const tern_screening *k, pick *p)
{
    search r = {e, k, p, k->n == 1 ? UNIT_SINGLE : UNIT};
    int n_id = 0;
    tern_span was = tern_exec_span(e, TERN_SPAN_REFINE);
    for (int i = 0; i < k->n; i++) {
        p[i].unit = r.rows;
        n_id = !p[i].failed && p[i].s->n_vocab > n_id ? p[i].s->n_vocab : n_id;
    }
    tern_pool_for(e->pool, (n_id + r.rows - 1) / r.rows * k->n, k->n, search_range, &r);
    each(e, p, k->n, order);
    for (int i = 0; i < k->n; i++)
        e->read_bytes += tern_picked_fine_bytes(&p[i].picked, k->s->h);
    tern_exec_span(e, was);
}

void tern_sampler_pick_screened(tern_exec *e, const tern_screen *k, tern_pick *out, int n)
{
    pick p[TERN_SCREEN_ROWS];
    tern_screening in;
    for (int i = 0; i < n; i++) {
        tern_sampler *s = out[i].s;
        p[i] = (pick){.s = s, .k = &k[i], .pos = out[i].pos, .kind = tern_sampler_kind(s)};
        s->n_cand = 0;
    }
    tern_screen_begin(e, k, n, &in);
    each(e, p, n, list_first);
    compute(e, &in, p);
    each(e, p, n, take_first);
    search_all(e, &in, p);
    compute(e, &in, p);
    each(e, p, n, take_more);
    compute(e, &in, p);
    each(e, p, n, take_last);
    for (int i = 0; i < n; i++) {
        out[i].done = !p[i].failed;
        out[i].id = p[i].id;
        out[i].picked = p[i].picked;
    }
}

bool tern_sampler_screens(const tern_sampler *s)
{
    tern_chain_kind kind = tern_sampler_kind(s);
    return kind != TERN_CHAIN_ALL && (kind != TERN_CHAIN_TOP_K || s->p.top_k <= MAX_SEEDS);
}
