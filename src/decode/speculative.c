#include "decode/speculative.h"

/* Counts fade so that about the last this many tokens matter. */
#define MEMORY 32
/* What was known before a request began weighs as much as this many tokens. */
#define PRIOR_WEIGHT 4
/* A plan must promise this much more than none, so that errors of measurement do not cost anything. */
#define MARGIN 1.03

/* Chance of a token that is as good as certain, before anything is learnt. */
#define SURE 0.8

/* Longest agreement of each bucket, and the chance of a proposal there before anything is learnt. */
static const int longest[TERN_SPEC_BUCKETS] = {1, 2, 3, 4, 6, 9, 15, 31, TERN_NGRAM_LONGEST};
static const double prior[TERN_SPEC_BUCKETS] = {0.1, 0.2, 0.3, 0.4, 0.55, 0.7, 0.8, 0.9, 0.95};

static int bucket_of(int n_match)
{
    int b = 0;
    while (b < TERN_SPEC_BUCKETS - 1 && n_match > longest[b])
        b++;
    return b;
}

tern_code tern_spec_init(tern_spec *s, int n_max, bool always, tern_err *err)
{
    *s = (tern_spec){.n_max = n_max < TERN_MAX_DRAFT ? n_max : TERN_MAX_DRAFT, .always = always};
    return tern_ngram_init(&s->source, err);
}

void tern_spec_done(tern_spec *s)
{
    tern_ngram_done(&s->source);
}

void tern_spec_read(tern_spec *s, int32_t id)
{
    tern_ngram_push(&s->source, id);
}

void tern_spec_accept(tern_spec *s, int32_t id)
{
    int32_t proposed;
    if (tern_ngram_draft(&s->source, &proposed, 1) == 1) {
        int b = bucket_of(s->source.n_match);
        s->seen[b] += 1.0 - s->seen[b] / MEMORY;
        s->hit[b] += (proposed == id) - s->hit[b] / MEMORY;
    }
    tern_ngram_push(&s->source, id);
}

static double chance(const tern_spec *s, int n_match)
{
    int b = bucket_of(n_match);
    return (s->hit[b] + PRIOR_WEIGHT * prior[b]) / (s->seen[b] + PRIOR_WEIGHT);
}

void tern_spec_offer(tern_spec *s, int n_room)
{
    double all = 1.0;
    int n = n_room < s->n_max ? n_room : s->n_max;
    s->n_draft = 0;
    for (int i = 0; i < TERN_MAX_DRAFT; i++) {
        all *= i < n && s->source.found ? chance(s, s->source.n_match + i) : 0.0;
        s->gain[i] = all;
    }
    for (int i = 0; s->always && i < n && s->source.found; i++)
        s->n_draft++;
}

void tern_spec_offer_sure(tern_spec *s, int n, int n_room)
{
    double each = (s->sure_hit + PRIOR_WEIGHT * SURE) / (s->sure_seen + PRIOR_WEIGHT), all = 1.0;
    int most = n_room < s->n_max ? n_room : s->n_max;
    n = n < most ? n : most;
    s->n_draft = s->always && n > 0 ? n : 0;
    for (int i = 0; i < TERN_MAX_DRAFT; i++) {
        all *= i < n ? each : 0.0;
        s->gain[i] = all;
    }
}

void tern_spec_accept_sure(tern_spec *s, bool hit)
{
    s->sure_seen += 1.0 - s->sure_seen / MEMORY;
    s->sure_hit += hit - s->sure_hit / MEMORY;
}

/* The request whose next drafted row promises most; NULL: none promises anything. */
static tern_spec *richest(tern_spec *list)
{
    tern_spec *best = NULL;
    double gain = 0.0;
    for (tern_spec *s = list; s; s = s->next)
        if (s->n_draft < TERN_MAX_DRAFT && s->gain[s->n_draft] > gain) {
            gain = s->gain[s->n_draft];
            best = s;
        }
    return best;
}

/* Add the n richest rows, at most; returns the row number with the most tokens per time. */
static int extend(tern_spec *list, int n_row, int n, const tern_cost *cost)
{
    double tokens = n_row, rate = MARGIN * tokens / tern_cost_get(cost, n_row);
    int best = 0;
    for (int i = 1; i <= n; i++) {
        tern_spec *s = richest(list);
        if (!s)
            break;
        tokens += s->gain[s->n_draft++];
        double r = tokens / tern_cost_get(cost, n_row + i);
        if (r > rate) {
            rate = r;
            best = i;
        }
    }
    return best;
}

void tern_spec_plan(tern_spec *list, int n_row, const tern_cost *cost)
{
    bool always = false;
    for (tern_spec *s = list; s; s = s->next)
        always |= s->always;
    if (always || n_row < 1 || n_row >= TERN_COST_ROWS)
        return;
    /* Chances fall along a draft, so rows are taken in order; costs rise in steps, so all numbers of
     * rows are tried before the best is known. */
    int n = extend(list, n_row, TERN_COST_ROWS - n_row, cost);
    for (tern_spec *s = list; s; s = s->next)
        s->n_draft = 0;
    (void)extend(list, n_row, n, cost);
}
