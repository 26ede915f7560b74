/* Steps on a screened head (head.h): bounds for all rows, closer bounds or exact logits for some. The
 * exec is the caller's for the time, as in a step. */
#ifndef TERN_MODEL_SCREEN_H
#define TERN_MODEL_SCREEN_H

#include "model/exec.h"

/* Most rows screened at a time. */
#define TERN_SCREEN_ROWS 16

/* Screen n <= e->max_logit_rows hidden rows (normed, e->x_stride apart, zeros behind them). out points into
 * e and to x, until the next call. False: some row's logits cannot be bounded. */
bool tern_screen_rows(tern_exec *e, const float *x, int n, tern_screen *out);

/* An input of the finer planes. */
typedef struct tern_fine_input {
    int8_t *x; /* in the exec, as tern_screen1 has it */
    float scale;
    int32_t sum; /* of x */
    float rho;   /* head.h, of signs of half a step */
} tern_fine_input;

/* Rows screened by tern_screen_rows whose choices are made together; e is theirs for the time. */
typedef struct tern_screening {
    const tern_screen *s; /* [n], their x e->x_stride apart and their y not in e */
    int n;
    tern_input in; /* of the head's own kernel */
    tern_fine_input fine[TERN_SCREEN_ROWS];
} tern_screening;
void tern_screen_begin(tern_exec *e, const tern_screen *s, int n, tern_screening *k);

/* up[i] = the most that row t's logit of ids[i] can be, less its mean, and y[i] its middle, from the coarse plane
 * and the first n_fine others; y[i] is what it was with one less, unless n_fine is 0. ids rise. For a lane
 * of a region. */
void tern_screen_bound(const tern_exec *e, const tern_screening *k, int t, int n_fine,
                       const int32_t *ids, int n, float *y, float *up);

/* z[i] = the logit of ids[i], bit for bit as in the whole product. list [k->n]: for each row. */
typedef struct tern_wanted {
    const int32_t *ids;
    float *z;
    int n;
} tern_wanted;
void tern_screen_exact(tern_exec *e, const tern_screening *k, const tern_wanted *list);

/* All logits of n hidden rows as for tern_screen_rows, without screening, to e->logits. */
void tern_screen_logits(tern_exec *e, const float *x, int n);

#endif
