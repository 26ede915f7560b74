/* The screened output head: a coarse copy of a large head is read in its stead, with a bound of how far
 * each logit can be off, so that only rows that may matter are computed, exactly as the whole product
 * would. Nothing is approximated: who picks from a screened row picks what he would from all logits
 * (sample/screen.c). Exact rows are read where the file is mapped; the copy is the only part of a head
 * that is read for every token.
 *
 * The bound. Let w be a row as its kernel sees it (a BLOCK row expanded), x what it is multiplied by (the
 * hidden row; for BLOCK its int8 form A8B times its scales), m one vector taken off all rows, v the
 * coarse row (step * (code - 7.5) each column; columns of `extra`, whose inputs are large, have two more
 * codes each, one more of steps and one of sixteenths, so that their remainder is a sixteenth too),
 * D the diagonal matrix of 16 in columns of extra and 1 elsewhere,
 * x' the form of x in steps (ACT12, kernels/kernel.h), y what the coarse kernel returns and z what the head's own kernel would.
 * With u = 2^-24:
 *     z - m.x - y = (z - w.x) + (w - m - v).x + v.(x - x') + (v.x' - y)
 *   |z - w.x|         <= k u |w|_a |x|    roundings of products and of the k - 2 additions that one term
 *                                         goes through; |w|_a: norm of the row with the parts a BLOCK value
 *                                         is made of taken absolutely
 *   |(w - m - v).x|   <= |D (w - m - v)| |x / D|   Cauchy-Schwarz. The first is computed in f32 from
 *                                         differences that are rounded themselves, as is x of A8B: 16 u
 *                                         (|w|_a + |m| + |v|) |x| more
 *   |v.(x - x')|      <= |v| |x - x'|
 *   |v.x' - y|        <= 12 u step * 7.5 columns * parts   five roundings of sums that are exact integers up to
 *                                         then, and those of adding the finer products and the bound to y; parts is
 *                                         the most that 256 |hi| + worth |lo| of x' can be. No code is 7.5, so that
 *                                         |v| >= step / 2 sqrt(columns): at most 12 u 15 sqrt(columns) parts |v|
 * so with |x| <= 16 |x / D| it is |z - m.x - y| <= radius * norm + size * rho: radius and size = |v| per row,
 * norm = |x / D| and rho per token, all rounded up. Finer planes repeat this with what remains, of which they
 * hold the signs: so |v| = quarter (then an eighth) of a step * sqrt(columns), and x' is the input in 8 bits: scale (half
 * a step) per row times another rho, of as many planes as were read.
 * Rows and inputs for which a product could overflow or vanish are not screened. */
#ifndef TERN_MODEL_HEAD_H
#define TERN_MODEL_HEAD_H

#include "file/dir.h"
#include "model/linear.h"

/* Rows that share one entry of the maxima. */
#define TERN_HEAD_BLOCK 64
/* Rows that a lane reads at a time to compute them exactly. */
#define TERN_HEAD_READ 4
/* Most columns with three codes. */
#define TERN_HEAD_EXTRA TERN_SCREEN_MAX_EXTRA

/* Planes beside the coarse one. */
#define TERN_HEAD_FINE TERN_SCREEN_MAX_FINE

typedef struct tern_head {
    const tern_linear *l; /* borrowed; NULL: nothing is screened */
    const tern_dir *dir;  /* borrowed; where single rows of l are read; NULL: only in memory */
    int rows, cols, n_col, n_extra;
    int32_t *extra;                   /* owned; the columns whose inputs are the largest */
    float *mean;                      /* owned; [cols padded to 64] */
    uint8_t *w4, *w1[TERN_HEAD_FINE]; /* owned unless borrowed */
    int n_fine;                       /* of w1 */
    bool borrowed; /* from the map of a packed file (model/packed.h); then pages of w1 are let go as
                         they have been read */
    size_t w4_bytes, w1_bytes, w4_stride, w1_stride; /* of w1: of one */
    float *scale;                   /* owned, with the next ones; [rows padded to 64] */
    float *size4;                   /* |coarse row| */
    float *radius4;                 /* after the coarse plane alone */
    float *radius1[TERN_HEAD_FINE]; /* and after so many more */
} tern_head;

/* What is read of the head for every token; a row of a plane or of the head only if it must be. */
size_t tern_head_plane_bytes(const tern_head *h);
size_t tern_head_memory(const tern_head *h);

/* Can this head be screened, and if not any_size, is it worth it? Not a ternary one, which is small
 * already, nor one that the caches hold anyway. */
bool tern_head_pays(const tern_linear *l, bool any_size);

/* Arrays of a float for each row: scale, size4, radius4, radius1. */
#define TERN_HEAD_PER_ROW(n_fine) (3 + (size_t)(n_fine))

/* Make the planes of l on the pool. energy [cols]: mean squares of inputs, for the choice of `extra`;
 * NULL: none. n_fine: finer planes, at most TERN_HEAD_FINE. dir: where l's rows are mapped, whose pages are let go as they
 * have been read, and single rows copied later; may be NULL. h stays empty (h->l NULL) when some row is beyond bounds.
 * Codes: TERN_E_NOMEM. */
TERN_CHECK tern_code tern_head_init(tern_head *h, const tern_linear *l, const float *energy,
                                    int n_fine, const tern_dir *dir, const tern_kernels *k,
                                    tern_pool *pool, tern_err *err);
/* For whoever makes or reads planes: n_fine of h, and what follows from it, rows and columns; where scale is there,
 * also the arrays behind it. */
void tern_head_fine(tern_head *h, int n_fine);
/* The sizes that h would have at most; no planes. extra: with columns stored again. */
void tern_head_plan(tern_head *h, const tern_linear *l, bool extra, int n_fine);
/* Give up all but the first n_fine of the finer planes. */
void tern_head_keep(tern_head *h, int n_fine);
void tern_head_done(tern_head *h);

/* One input of the head, screened. y [rows]: the coarse products. up, top [ceil(rows / 64)]: for each
 * 64 rows the largest upper bound and the largest product. A logit lies within
 * mean + y[i] -+ tern_screen_slack(i). */
typedef struct tern_screen {
    const tern_head *h;
    const float *x; /* [cols padded to 64], the hidden row itself */
    const float *y, *up, *top;
    float norm, rho;
    double mean;
} tern_screen;

static inline int tern_head_n_block(const tern_head *h)
{
    return (h->rows + TERN_HEAD_BLOCK - 1) / TERN_HEAD_BLOCK;
}

static inline float tern_screen_slack(const tern_screen *s, int i)
{
    return s->h->radius4[i] * s->norm + s->h->size4[i] * s->rho;
}

#endif
