/* Floats to -1, 0, +1 times a scale. Every rule finds a scale s for a group of weights; the trits are then
 * those that are nearest, t = clamp(round(w / s), -1, 1). */
#ifndef COMPRESS_TERNARY_H
#define COMPRESS_TERNARY_H

#include <stdbool.h>
#include <stddef.h>

typedef enum ternary_method {
    TERNARY_ABSMEAN, /* s = mean |w|, as BitNet b1.58 trains (arXiv 2402.17764, section 2) */
    TERNARY_ABSMAX,  /* s = max |w|, as the ternary types of llama.cpp round what they are given */
    TERNARY_OPTIMAL, /* the s of least squared error: the minimum that Ternary Weight Networks (arXiv
                        1605.04711, section 2) approximate, found by sorting */
    TERNARY_GPTQ     /* that s, and each column's error made good by the next ones (gptq.h) */
} ternary_method;

/* A magnitude and how much an error in it weighs. */
typedef struct ternary_item {
    float w, h;
} ternary_item;

/* The scale of n weights, to be stored as a half if half is set. h [n]: how much errors weigh, of OPTIMAL and
 * GPTQ; NULL: all the same. room [n] is only for those two. 0 when all are 0 or one is no number. */
float ternary_scale(ternary_method m, const float *w, const float *h, size_t n, bool half,
                    ternary_item *room);

/* t * s; 0 where s is 0 or w no number. */
float ternary_round(float w, float s);

#endif
