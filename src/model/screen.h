/* Steps on a screened head (head.h): bounds for all rows, closer bounds or exact logits for some. The
 * exec is the caller's for the time, as in a step. */
#ifndef TERN_MODEL_SCREEN_H
#define TERN_MODEL_SCREEN_H

#include "model/exec.h"

/* Screen n <= max_logit_rows hidden rows (normed, e->x_stride apart, zeros behind them). out points into
 * e and to x, until the next call. False: some row's logits cannot be bounded. */
bool tern_screen_rows(tern_exec *e, const float *x, int n, tern_screen *out);

/* z[i] = the logit of ids[i], bit for bit as in the whole product. */
void tern_screen_exact(tern_exec *e, const float *x, const int32_t *ids, int n, float *z);

/* Keep those of ids whose logit may reach least + s->mean, in order, by the second plane, which there is;
 * returns how many. up[i]: the most that the logit of ids[i] can be, less s->mean. */
int tern_screen_refine(tern_exec *e, const tern_screen *s, float least, int32_t *ids, float *up,
                       int n);

/* All logits [n_vocab] of one hidden row, without screening. */
void tern_screen_logits(tern_exec *e, const float *x, float *logits);

#endif
