/* Searches for the scales of quantised groups, four groups at a time.
 *
 * The bytes that the field's reference quantiser writes follow from the order of its float sums, each
 * over the elements of one group in turn. So the elements of a group are never summed in parallel;
 * four groups lie side by side in the lanes of a vector instead and run through the same steps, where
 * a lane that would branch picks. Rounding is the reference's too, see tern_nearest. Nothing here
 * depends on the machine. */
#ifndef TERN_TENSOR_FMT_SEARCH_H
#define TERN_TENSOR_FMT_SEARCH_H

#include "tensor/fmt/fmt.h"

typedef float tern_f4 __attribute__((vector_size(16)));
typedef int32_t tern_i4 __attribute__((vector_size(16)));

enum { TERN_QUAD_GROUPS = 4, TERN_QUAD_MAX = 32 };

/* Element i of group k is x[i][k]. A search fills code; code of a group without a scale is 0. */
typedef struct tern_quad {
    int n; /* elements a group, up to TERN_QUAD_MAX */
    tern_f4 x[TERN_QUAD_MAX];
    tern_f4 w[TERN_QUAD_MAX]; /* what an error in the element weighs */
    tern_i4 code[TERN_QUAD_MAX];
} tern_quad;

/* How tern_quad_line looks for its line: slopes (top + first + t * step) codes per range of the
 * group, t = 0..last, beside the one that spans the range exactly. */
typedef struct tern_line_plan {
    int top; /* largest code */
    int last;
    float first, step;
    bool absolute; /* errors count by magnitude, not squared */
} tern_line_plan;

/* n_group (1..4) groups of n elements in a row; those missing are zeros of no weight. */
void tern_quad_load(tern_quad *g, const float *x, int n, size_t n_group);
/* w = x^2; |x|; |x| + the root mean square of the group. */
void tern_quad_weigh_square(tern_quad *g);
void tern_quad_weigh_size(tern_quad *g);
void tern_quad_weigh_spread(tern_quad *g);
/* w = importance * sqrt(variance + x^2), or importance alone. importance holds the groups' elements
 * as tern_quad_load's x does. */
void tern_quad_weigh(tern_quad *g, const float *importance, size_t n_group, tern_f4 variance);
void tern_quad_weigh_flat(tern_quad *g, const float *importance, size_t n_group);
/* Sums over the elements of a group, in order: of the weights, and of x^2. */
tern_f4 tern_quad_weight(const tern_quad *g);
tern_f4 tern_quad_squares(const tern_quad *g);
/* Codes of the first n_group groups in a row. */
void tern_quad_codes(const tern_quad *g, size_t n_group, uint8_t *codes);

/* x ~ scale * (code - half), codes in 0..2 half - 1: the least weighted squares among 19 roundings
 * that put the element of largest magnitude near -half. */
tern_f4 tern_quad_scale(tern_quad *g, int half);
/* The same from the first rounding alone, then one code at a time as long as that helps. */
tern_f4 tern_quad_descend(tern_quad *g, int half);
/* x ~ scale * code - *low, low >= 0, codes in 0..plan->top. */
tern_f4 tern_quad_line(tern_quad *g, const tern_line_plan *plan, tern_f4 *low);
/* x ~ scale * values[code]; values ascend. Among 2 * tries + 1 roundings whose largest element
 * comes near values[0]. */
tern_f4 tern_quad_table(tern_quad *g, const int8_t values[16], int tries);
/* x[i] ~ scale * codes[i] for values that are not negative, weighted squares, codes in 0..top. */
float tern_fit_levels(const float *x, const float *w, int n, int top, uint8_t *codes);

/* Sum of squares, in order. */
float tern_sum_squares(const float *x, size_t n);

/* A format of 32-element blocks, each with its own scale and perhaps minimum. */
typedef struct tern_block32 {
    size_t bytes;
    bool own_variance; /* the block's, doubled, stands in for the row's */
    tern_f4 (*search)(tern_quad *g, tern_f4 *low);
    void (*store)(uint8_t *block, float scale, float low, const uint8_t codes[32]);
} tern_block32;

/* Packs with the search; without importance elements weigh their square. */
void tern_block32_pack(const tern_block32 *f, const float *src, size_t rows, size_t cols,
                       const float *importance, uint8_t *dst);

static inline tern_f4 tern_splat(float v)
{
    return (tern_f4){v, v, v, v};
}

/* Half to even by the adder: exact below 2^22, and above (or for what is no number) the low bits of
 * the sum, which the reference quantiser takes as they come. */
static inline int tern_nearest(float v)
{
    return (int)(tern_f32_bits(v + 0x1.8p23f) & 0x7fffff) - 0x400000;
}

static inline int tern_clamp(int v, int least, int most)
{
    return v < least ? least : v > most ? most : v;
}

#endif
