/* Probabilities of tokens: of logits as the model made them, or of what a sampler drew from. */
#ifndef TERN_SAMPLE_LOGPROB_H
#define TERN_SAMPLE_LOGPROB_H

#include "sample/chain.h"

typedef struct tern_logprobs {
    bool final; /* what the sampler drew from, else the model's logits */
    int n_top;  /* wanted, 0..TERN_MAX_TOP, and, once they are filled in, there */
    float logprob;
    tern_logprob top[TERN_MAX_TOP]; /* likeliest first, of equally likely ones the lower id */
} tern_logprobs;

/* Of id and the likeliest tokens after logits [n_vocab], of which a NaN counts as -INFINITY. Where
 * nothing is finite, the largest are equally likely. Fewer than n_top only where the vocabulary is smaller. */
void tern_logprobs_of_logits(tern_logprobs *l, const float *logits, int n_vocab, int32_t id);
/* The same of what s drew from in its last tern_sampler_pick, temperature applied; tokens that a filter left
 * out are as likely as nothing, -INFINITY, and of those none is in top. A greedy sampler is sure. */
void tern_logprobs_of_sampler(tern_logprobs *l, const tern_sampler *s, int32_t id);

#endif
