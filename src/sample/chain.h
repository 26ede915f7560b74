/* Logits to one id: penalties, then the sampler chain, in llama.cpp's order and with its defaults.
 * The generator is counter-based, keyed by (seed, position): the same request gives the same ids
 * whatever ran beside it. */
#ifndef TERN_SAMPLE_CHAIN_H
#define TERN_SAMPLE_CHAIN_H

#include "tern.h"

typedef struct tern_logit_bias {
    int32_t id;
    float bias; /* added to the logit; -INFINITY bans */
} tern_logit_bias;

/* llama.cpp's defaults are what tern_sample_params_init writes. */
typedef struct tern_sample_params {
    float temp;              /* 0.8; <= 0 is greedy, ties to the lowest id */
    int top_k;               /* 40; <= 0: off */
    float top_p;             /* 0.95; >= 1: off */
    float min_p;             /* 0.05; <= 0: off */
    float typical_p;         /* 1; >= 1: off */
    float repeat_penalty;    /* 1: off */
    int repeat_last_n;       /* 64; 0: off, -1: the whole context */
    float frequency_penalty; /* 0 */
    float presence_penalty;  /* 0 */
    uint64_t seed;
    const tern_logit_bias *bias; /* borrowed */
    size_t n_bias;
} tern_sample_params;

typedef struct tern_sampler tern_sampler;

void tern_sample_params_init(tern_sample_params *p);
/* Out-of-range parameters are TERN_E_USAGE naming the parameter and its range. Copies params. */
TERN_CHECK tern_code tern_sampler_new(const tern_sample_params *p, int n_vocab, tern_sampler **out,
                                      tern_err *err);
void tern_sampler_free(tern_sampler *s);
/* Record an id as context (prompt or generated) for the penalties. */
void tern_sampler_accept(tern_sampler *s, int32_t id);
/* Forget the context ids but not the parameters. */
void tern_sampler_reset(tern_sampler *s);
/* Only ids whose bits are set exist from now on, n of them, at least one: penalties, filters and the draw see
 * no others. bits NULL: all do. Borrowed. */
void tern_sampler_allow(tern_sampler *s, const uint32_t *bits, int n);
/* Whether bounds of logits can be enough for a choice (sample/screen.h); else all are needed. */
bool tern_sampler_screens(const tern_sampler *s);
/* Choose the id for sequence position pos from logits[0..n_vocab) (left unchanged). NaN logits
 * count as -inf; if nothing is finite the lowest id of the largest is chosen. Does not accept it.
 * Allocates nothing. */
int32_t tern_sampler_pick(tern_sampler *s, const float *logits, uint64_t pos);

#endif
