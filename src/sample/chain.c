/* Order and defaults follow llama.cpp's chain: bias, penalties, top-k, typical, top-p, min-p,
 * temperature, draw; the temperature alone draws by Gumbel-max (stages.h). Sums are f64 and run in a fixed order, so the choice depends on the logits and
 * the key alone. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "sample/stages.h"

#include <math.h>
#include <string.h>

void tern_sample_params_init(tern_sample_params *p)
{
    *p = (tern_sample_params){.temp = 0.8f,
                              .top_k = 40,
                              .top_p = 0.95f,
                              .min_p = 0.05f,
                              .typical_p = 1.0f,
                              .repeat_penalty = 1.0f,
                              .repeat_last_n = 64};
}

static tern_code check_range(tern_err *err, const char *name, float v, float lo, float hi)
{
    if (v >= lo && v <= hi)
        return TERN_OK;
    return tern_fail(err, TERN_E_USAGE, "%s is %g, expected %g..%g", name, (double)v, (double)lo,
                     (double)hi);
}

static tern_code check_params(const tern_sample_params *p, int n_vocab, tern_err *err)
{
    TERN_TRY(check_range(err, "temp", p->temp, -1e6f, 1e6f));
    TERN_TRY(check_range(err, "top_p", p->top_p, 0.0f, 1e6f));
    TERN_TRY(check_range(err, "min_p", p->min_p, -1e6f, 1.0f));
    TERN_TRY(check_range(err, "typical_p", p->typical_p, 0.0f, 1e6f));
    TERN_TRY(check_range(err, "repeat_penalty", p->repeat_penalty, 1e-3f, 1e3f));
    TERN_TRY(check_range(err, "frequency_penalty", p->frequency_penalty, -100.0f, 100.0f));
    TERN_TRY(check_range(err, "presence_penalty", p->presence_penalty, -100.0f, 100.0f));
    if (p->repeat_last_n < -1 || p->repeat_last_n > 1 << 24)
        return tern_fail(err, TERN_E_USAGE, "repeat_last_n is %d, expected -1..%d",
                         p->repeat_last_n, 1 << 24);
    for (size_t i = 0; i < p->n_bias; i++)
        if (p->bias[i].id < 0 || p->bias[i].id >= n_vocab || isnan(p->bias[i].bias))
            return tern_fail(
                err, TERN_E_USAGE,
                "logit_bias: token id %d with bias %g, expected an id in 0..%d and a number",
                p->bias[i].id, (double)p->bias[i].bias, n_vocab - 1);
    return TERN_OK;
}

static bool has_penalties(const tern_sample_params *p)
{
    return p->repeat_last_n != 0 && (p->repeat_penalty != 1.0f || p->frequency_penalty != 0.0f ||
                                     p->presence_penalty != 0.0f);
}

/* Room for every id, of which most samplers use little. */
static bool lay_out(tern_sampler *s)
{
    size_t n = tern_round_up((size_t)s->n_vocab, 64);
    s->block_bytes = n * (sizeof *s->cand + sizeof *s->count + sizeof *s->list + sizeof *s->exact +
                          sizeof *s->up + sizeof *s->known);
    s->block = tern_lazy_alloc(s->block_bytes);
    if (!s->block)
        return false;
    s->cand = s->block;
    s->count = (uint32_t *)(void *)(s->cand + n);
    s->list = (int32_t *)(void *)(s->count + n);
    s->exact = (float *)(void *)(s->list + n);
    s->up = s->exact + n;
    s->known = (uint8_t *)(void *)(s->up + n);
    return true;
}

tern_code tern_sampler_new(const tern_sample_params *p, int n_vocab, tern_sampler **out,
                           tern_err *err)
{
    *out = NULL;
    TERN_TRY(check_params(p, n_vocab, err));
    tern_sampler *s = tern_calloc(1, sizeof *s);
    if (!s)
        return tern_fail(err, TERN_E_NOMEM, "sampler: out of memory");
    s->p = *p;
    s->n_vocab = n_vocab;
    if (!lay_out(s)) {
        tern_sampler_free(s);
        return tern_fail(err, TERN_E_NOMEM, "sampler: out of memory");
    }
    s->bias = tern_calloc(p->n_bias, sizeof *s->bias);
    s->cap_ring = p->repeat_last_n > 0 ? (size_t)p->repeat_last_n : 256;
    s->ring = has_penalties(p) ? tern_calloc(s->cap_ring, sizeof *s->ring) : NULL;
    if (!s->bias || (has_penalties(p) && !s->ring)) {
        tern_sampler_free(s);
        return tern_fail(err, TERN_E_NOMEM, "sampler: out of memory");
    }
    if (p->n_bias)
        memcpy(s->bias, p->bias, p->n_bias * sizeof *s->bias);
    s->p.bias = s->bias;
    *out = s;
    return TERN_OK;
}

void tern_sampler_free(tern_sampler *s)
{
    if (!s)
        return;
    tern_lazy_free(s->block, s->block_bytes);
    tern_free(s->bias);
    tern_free(s->ring);
    tern_free(s);
}

void tern_sampler_reset(tern_sampler *s)
{
    memset(s->count, 0, (size_t)s->n_vocab * sizeof *s->count);
    s->n_ring = s->at = 0;
}

void tern_sampler_accept(tern_sampler *s, int32_t id)
{
    if (!s->ring || id < 0 || id >= s->n_vocab)
        return;
    if (s->n_ring == s->cap_ring && s->p.repeat_last_n < 0) {
        int32_t *ring =
            tern_realloc(s->ring, s->cap_ring * sizeof *ring, 2 * s->cap_ring * sizeof *ring);
        if (ring) { /* else the window stays as long as it is */
            s->ring = ring;
            s->cap_ring *= 2;
            s->at = s->n_ring;
        }
    }
    if (s->n_ring == s->cap_ring)
        s->count[s->ring[s->at]]--;
    else
        s->n_ring++;
    s->ring[s->at] = id;
    s->at = (s->at + 1) % s->cap_ring;
    s->count[id]++;
}

/* ---- stages -------------------------------------------------------------------------------- */

/* Better first: larger logit, ties to the lower id. */
static bool before(const tern_candidate *a, const tern_candidate *b)
{
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static float bias_of(float logit, float bias)
{
    logit += bias;
    return isnan(logit) ? -INFINITY : logit; /* infinities of either sign met: the ban wins */
}

static float penalise(const tern_sampler *s, int32_t id, float logit)
{
    const tern_sample_params *p = &s->p;
    logit = logit <= 0.0f ? logit * p->repeat_penalty : logit / p->repeat_penalty;
    return logit - ((float)s->count[id] * p->frequency_penalty + p->presence_penalty);
}

float tern_sampler_adjust(const tern_sampler *s, int32_t id, float logit)
{
    if (isnan(logit))
        logit = -INFINITY;
    for (size_t i = 0; i < s->p.n_bias; i++)
        if (s->bias[i].id == id)
            logit = bias_of(logit, s->bias[i].bias);
    return s->ring && s->count[id] ? penalise(s, id, logit) : logit;
}

static void load(tern_sampler *s, const float *logits)
{
    s->n_cand = s->n_vocab;
    for (int i = 0; i < s->n_vocab; i++)
        s->cand[i] = (tern_candidate){.id = i, .logit = isnan(logits[i]) ? -INFINITY : logits[i]};
    for (size_t i = 0; i < s->p.n_bias; i++) {
        float *l = &s->cand[s->bias[i].id].logit;
        *l = bias_of(*l, s->bias[i].bias);
    }
    for (size_t i = 0; s->ring && i < s->n_ring; i++) {
        tern_candidate *c = &s->cand[s->ring[i]];
        if (c->dist != 0.0)
            continue; /* an id that is in the window several times is treated once */
        c->dist = 1.0;
        c->logit = penalise(s, c->id, c->logit);
    }
}

static bool is_allowed(const tern_sampler *s, int32_t id)
{
    return s->allowed[(uint32_t)id / 32] >> (uint32_t)id % 32 & 1;
}

/* Of all candidates those that exist. */
static void keep_allowed(tern_sampler *s)
{
    int n = 0;
    for (int i = 0; i < s->n_cand; i++) {
        s->cand[n] = s->cand[i];
        n += is_allowed(s, i);
    }
    s->n_cand = n;
}

/* The few that exist, one by one: as load and keep_allowed. */
static void load_few(tern_sampler *s, const float *logits)
{
    int n_word = (s->n_vocab + 31) / 32;
    s->n_cand = 0;
    for (int w = 0; w < n_word; w++)
        for (uint32_t b = s->allowed[w]; b; b &= b - 1) {
            int32_t id = w * 32 + __builtin_ctz(b);
            if (id < s->n_vocab)
                s->cand[s->n_cand++] =
                    (tern_candidate){.id = id, .logit = tern_sampler_adjust(s, id, logits[id])};
        }
}

void tern_sampler_allow(tern_sampler *s, const uint32_t *bits, int n)
{
    s->allowed = bits;
    s->n_allowed = n;
}

static int32_t best(const tern_sampler *s)
{
    const tern_candidate *b = &s->cand[0];
    for (int i = 1; i < s->n_cand; i++)
        if (before(&s->cand[i], b))
            b = &s->cand[i];
    return b->id;
}

static bool nearer(const tern_candidate *a, const tern_candidate *b)
{
    return a->dist < b->dist || (a->dist == b->dist && before(a, b));
}

typedef bool (*order)(const tern_candidate *, const tern_candidate *);

static void sift_down(tern_candidate *c, int n, int i, order first)
{
    tern_candidate moved = c[i];
    for (int child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && first(&c[child], &c[child + 1]))
            child++; /* the later one rises */
        if (!first(&moved, &c[child]))
            break;
        c[i] = c[child];
    }
    c[i] = moved;
}

/* Heap sort with the last in order on top. */
static void sort(tern_candidate *c, int n, order first)
{
    for (int i = n / 2 - 1; i >= 0; i--)
        sift_down(c, n, i, first);
    for (int end = n - 1; end > 0; end--) {
        tern_candidate last = c[0];
        c[0] = c[end];
        c[end] = last;
        sift_down(c, end, 0, first);
    }
}

void tern_candidates_sort(tern_candidate *c, int n)
{
    sort(c, n, before);
}

/* Keep the k best, sorted. The first k form a heap with the worst on top; better ones replace it. */
static void top_k(tern_sampler *s, int k)
{
    tern_candidate *c = s->cand;
    if (k > s->n_cand)
        k = s->n_cand;
    for (int i = k / 2 - 1; i >= 0; i--)
        sift_down(c, k, i, before);
    for (int i = k; i < s->n_cand; i++)
        if (before(&c[i], &c[0])) {
            c[0] = c[i];
            sift_down(c, k, 0, before);
        }
    sort(c, k, before);
    s->n_cand = k;
}

/* p = probability over the candidates; they are sorted, so the first has the largest logit. */
static void softmax(tern_sampler *s)
{
    double max = (double)s->cand[0].logit, sum = 0.0;
    for (int i = 0; i < s->n_cand; i++) {
        double l = (double)s->cand[i].logit;
        s->cand[i].p = l == max ? 1.0 : exp(l - max); /* also when both are infinite */
        sum += s->cand[i].p;
    }
    for (int i = 0; i < s->n_cand; i++)
        s->cand[i].p /= sum;
}

/* Locally typical sampling (Meister et al. 2022, arXiv 2202.00666): the tokens whose surprise is
 * nearest to the entropy, until their mass reaches p. */
static void typical(tern_sampler *s, double p)
{
    tern_candidate *c = s->cand;
    double entropy = 0.0, mass = 0.0;
    int n = 0;
    softmax(s);
    for (int i = 0; i < s->n_cand; i++)
        if (c[i].p > 0.0)
            entropy -= c[i].p * log(c[i].p);
    for (int i = 0; i < s->n_cand; i++)
        c[i].dist = c[i].p > 0.0 ? fabs(-log(c[i].p) - entropy) : HUGE_VAL;
    sort(c, s->n_cand, nearer);
    while (n < s->n_cand && (n == 0 || mass < p))
        mass += c[n++].p;
    s->n_cand = n;
    sort(c, n, before);
}

/* Nucleus sampling (Holtzman et al. 2019, arXiv 1904.09751). */
static void top_p(tern_sampler *s, double p)
{
    double mass = 0.0;
    int n = 0;
    softmax(s);
    while (n < s->n_cand && (n == 0 || mass < p))
        mass += s->cand[n++].p;
    s->n_cand = n;
}

/* Candidates at least p times as likely as the best (Nguyen et al. 2024, arXiv 2407.01082). */
static void min_p(tern_sampler *s, float p)
{
    float least = s->cand[0].logit + logf(p);
    int n = 1;
    while (n < s->n_cand && s->cand[n].logit >= least)
        n++;
    s->n_cand = n;
}

/* One step of splitmix64 from z, with n steps skipped. */
static uint64_t mix(uint64_t z, uint64_t n)
{
    z += 0x9e3779b97f4a7c15u * (n + 1);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Uniform in [0, 1) from the key alone. */
static double uniform(uint64_t seed, uint64_t pos)
{
    return (double)(mix(mix(seed, pos), pos) >> 11) * 0x1p-53;
}

static int32_t draw(tern_sampler *s, uint64_t pos)
{
    double u = uniform(s->p.seed, pos), at = 0.0;
    for (int i = 0; i < s->n_cand; i++)
        s->cand[i].logit /= s->p.temp;
    softmax(s);
    for (int i = 0; i < s->n_cand; i++) {
        at += s->cand[i].p;
        if (u < at)
            return s->cand[i].id;
    }
    return s->cand[0].id; /* rounding left u above the sum, or nothing is finite */
}

/* ---- the temperature alone ------------------------------------------------------------------ */

uint64_t tern_noise_key(uint64_t seed, uint64_t pos)
{
    return mix(mix(seed, pos), pos);
}

double tern_noise_u(uint64_t key, int32_t id)
{
    return ((double)(mix(key, (uint64_t)(uint32_t)id) >> 12) + 0.5) * 0x1p-52; /* never 0 nor 1 */
}

double tern_noise_of(double u)
{
    return -log(-log(u));
}

double tern_noise_least_u(double bar)
{
    return bar > -3.0 ? exp(-exp(-bar)) - 1e-11 : 0.0; /* exp(-exp(3)) is 2e-9 */
}

/* Blocks are looked through for those few whose noise can lift even their largest logit to the top, so
 * that hardly any logarithm is taken. */
static int32_t gumbel(tern_sampler *s, uint64_t pos)
{
    enum { BLOCK = 64 };
    uint64_t key = tern_noise_key(s->p.seed, pos);
    double temp = (double)s->p.temp, top = -HUGE_VAL;
    int32_t id = -1;
    for (int i0 = 0; i0 < s->n_cand; i0 += BLOCK) {
        int i1 = s->n_cand - i0 < BLOCK ? s->n_cand : i0 + BLOCK;
        float max = -INFINITY;
        for (int i = i0; i < i1; i++)
            max = s->cand[i].logit > max ? s->cand[i].logit : max;
        double least = tern_noise_least_u(top - (double)max / temp);
        for (int i = i0; i < i1; i++) {
            const tern_candidate *c = &s->cand[i];
            double u = tern_noise_u(key, c->id), sum;
            if (u < least)
                continue;
            sum = (double)c->logit / temp + tern_noise_of(u);
            if (sum > top || (sum == top && c->id < id)) {
                top = sum;
                id = c->id;
            }
        }
    }
    return id < 0 ? best(s) : id; /* nothing is finite */
}

tern_chain_kind tern_sampler_kind(const tern_sampler *s)
{
    const tern_sample_params *p = &s->p;
    if (p->temp <= 0.0f)
        return TERN_CHAIN_GREEDY;
    if (p->top_k > 0)
        return TERN_CHAIN_TOP_K;
    if (p->typical_p < 1.0f || p->top_p < 1.0f)
        return TERN_CHAIN_ALL;
    return p->min_p > 0.0f ? TERN_CHAIN_MIN_P : TERN_CHAIN_GUMBEL;
}

int32_t tern_sampler_choose(tern_sampler *s, uint64_t pos)
{
    const tern_sample_params *p = &s->p;
    switch (tern_sampler_kind(s)) {
    case TERN_CHAIN_GREEDY:
        return best(s);
    case TERN_CHAIN_GUMBEL:
        return gumbel(s, pos);
    default:
        break;
    }
    top_k(s, p->top_k > 0 ? p->top_k : s->n_cand);
    if (p->typical_p < 1.0f)
        typical(s, (double)p->typical_p);
    if (p->top_p < 1.0f)
        top_p(s, (double)p->top_p);
    if (p->min_p > 0.0f)
        min_p(s, p->min_p);
    return draw(s, pos);
}

int32_t tern_sampler_pick(tern_sampler *s, const float *logits, uint64_t pos)
{
    if (s->allowed && (size_t)s->n_allowed * (s->p.n_bias + 1) < (size_t)s->n_vocab / 4) {
        load_few(s, logits);
        return tern_sampler_choose(s, pos);
    }
    load(s, logits);
    if (s->allowed)
        keep_allowed(s);
    return tern_sampler_choose(s, pos);
}
