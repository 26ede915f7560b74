/* A model that is nothing but its output head, for tests of screening and of picking. */
#ifndef TERN_TESTS_HEAD_H
#define TERN_TESTS_HEAD_H

#include "model/screen.h"
#include "support/support.h"

typedef struct head_model {
    tern_tensor tensor;
    tern_weights w;
    tern_pool *pool;
    tern_exec e;
    uint8_t *bytes; /* owned */
    float *x;       /* owned; [16][e.x_stride], to be filled by the test, zeros behind the rows */
    float *logits;  /* owned; [e.vocab_stride] */
    float *kept;    /* owned; [16][kept_stride] */
    size_t kept_stride;
} head_model;

/* How to fill a head. */
typedef enum head_fill {
    HEAD_GAUSS,  /* rows of sums of uniforms around a common vector */
    HEAD_SPIKES, /* some columns and rows a thousand times larger */
    HEAD_SMALL,  /* all around 1e-6 */
    HEAD_EQUAL,  /* groups of equal rows: ties */
    HEAD_FILL_COUNT
} head_fill;

/* Ends the test when something fails. The head is not screened yet. */
void head_model_init(head_model *m, tern_dtype dt, int rows, int cols, head_fill fill,
                     uint32_t seed);
/* The same with values [rows][cols] of the caller's, in F32. */
void head_model_init_f32(head_model *m, const float *values, int rows, int cols);
/* Screen it; x[0..n_x) serve as samples of inputs when n_x > 0. */
void head_model_screen(head_model *m, int n_x, int n_fine);
void head_model_done(head_model *m);
/* A random input row: 0 plain, 1 with few large columns, 2 near row `toward` of the head. */
void head_model_input(head_model *m, int t, int kind, int toward, uint32_t *seed);
/* logits of x[t], read from the whole head. */
const float *head_model_logits(head_model *m, int t);
/* Screen x[t0..t0 + n) and keep what e would lose, as sessions do: k[i] is ready to choose from.
 * False: they cannot be screened. */
bool head_model_keep(head_model *m, int t0, int n, tern_screen *k);
/* In -1..1, from sums of uniforms. */
float head_gauss(uint32_t *seed);

#endif
