/* What the files of this folder share of a sampler. */
#ifndef TERN_SAMPLE_STAGES_H
#define TERN_SAMPLE_STAGES_H

#include "sample/chain.h"

typedef struct tern_candidate {
    int32_t id;
    float logit;
    double p;    /* probability, once a stage has computed it */
    double dist; /* typical sampling: distance of the surprise from the entropy */
} tern_candidate;

struct tern_sampler {
    tern_sample_params p;
    tern_logit_bias *bias; /* owned copy */
    int n_vocab;
    const uint32_t
        *allowed; /* borrowed; a bit for each id that there is, n_allowed of them; NULL: all */
    int n_allowed;
    void *block; /* owned: cand, count, list, exact, up and known */
    size_t block_bytes;
    tern_candidate *cand; /* [n_vocab] */
    int n_cand;
    /* Of picking from a screened row (screen.c); all [n_vocab]. */
    int32_t *list;
    float *exact, *up;
    uint8_t *known; /* ids that are candidates already; all 0 between picks */
    /* Context for the penalties: the last n_window ids in a ring, and how often each id is in it. */
    int32_t *ring; /* owned; grows when the window is the whole context */
    size_t n_ring, cap_ring, at;
    uint32_t *count; /* [n_vocab] */
};

/* What the chain comes down to, which says which logits it needs to know. */
typedef enum tern_chain_kind {
    TERN_CHAIN_GREEDY, /* the largest */
    TERN_CHAIN_TOP_K,  /* the top_k largest, whatever follows */
    TERN_CHAIN_MIN_P,  /* those near the largest */
    TERN_CHAIN_GUMBEL, /* the temperature alone */
    TERN_CHAIN_ALL     /* all: their sum decides */
} tern_chain_kind;
tern_chain_kind tern_sampler_kind(const tern_sampler *s);

/* A logit with the biases and penalties of its id. */
float tern_sampler_adjust(const tern_sampler *s, int32_t id, float logit);

/* Choose among cand[0..n_cand), adjusted and in any order. */
int32_t tern_sampler_choose(tern_sampler *s, uint64_t pos);

/* Better first: larger logit, ties to the lower id; sorts so. */
void tern_candidates_sort(tern_candidate *c, int n);

/* Noise of one id, Gumbel-distributed: -log(-log u), u uniform from the key (seed, pos, id) alone. The
 * largest logit / temp + noise is a draw from the softmax (Gumbel 1954; Maddison et al. 2014, arXiv
 * 1411.0030), and needs no sum over the vocabulary. */
uint64_t tern_noise_key(uint64_t seed, uint64_t pos);
double tern_noise_u(uint64_t key, int32_t id);
double tern_noise_of(double u);
/* What u must at least be for noise of `bar`, a little less to be safe. */
double tern_noise_least_u(double bar);

#endif
