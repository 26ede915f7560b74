/* What a pass costs by its number of rows, measured while answers are generated. Medians of the last
 * few passes, so that one that was interrupted counts for nothing. */
#ifndef TERN_DECODE_COST_H
#define TERN_DECODE_COST_H

#include <stdint.h>

#define TERN_COST_ROWS    32 /* larger passes are not recorded */
#define TERN_COST_SAMPLES 9

typedef struct tern_cost {
    uint32_t n_pass; /* recorded so far */
    struct {
        double sample[TERN_COST_SAMPLES]; /* a ring */
        double median;
        uint32_t n, last; /* samples ever; n_pass of the latest */
    } rows[TERN_COST_ROWS + 1];
} tern_cost;

void tern_cost_add(tern_cost *c, int n_row, double ns);
/* What a pass of 1..TERN_COST_ROWS rows takes, in a unit that is the same for all. Where there are no
 * fresh samples, what is known of the kernels extends those that there are. */
double tern_cost_get(const tern_cost *c, int n_row);

#endif
