/* What a pass costs by its number of rows, measured while answers are generated. Medians of the last
 * few passes, so that one that was interrupted counts for nothing. */
#ifndef TERN_DECODE_COST_H
#define TERN_DECODE_COST_H

#include <stdint.h>

#define TERN_COST_ROWS    32 /* larger passes are not recorded */
#define TERN_COST_SAMPLES 9

/* The latest of one kind, and what is usual among them. */
typedef struct tern_cost_ring {
    double sample[TERN_COST_SAMPLES];
    double median;
    uint32_t n; /* samples ever */
} tern_cost_ring;

typedef struct tern_cost {
    uint32_t n_pass; /* recorded so far */
    struct {
        double sample[TERN_COST_SAMPLES]; /* a ring */
        double median;
        uint32_t n, last; /* samples ever; n_pass of the latest */
    } rows[TERN_COST_ROWS + 1];
    tern_cost_ring alone;  /* ns per row of passes that read prompts */
    tern_cost_ring beside; /* what a prompt's row adds to a pass of answers */
    int fixed_rows;        /* of prompts in a pass, for tests; 0: as costs say */
} tern_cost;

void tern_cost_add(tern_cost *c, int n_row, double ns);
/* What a pass of 1..TERN_COST_ROWS rows takes, in a unit that is the same for all. Where there are no
 * fresh samples, what is known of the kernels extends those that there are. */
double tern_cost_get(const tern_cost *c, int n_row);

/* A pass of n_prompt rows of prompts beside n_answer rows of answers, which may be none. */
void tern_cost_add_prompt(tern_cost *c, int n_answer, int n_prompt, double ns);
/* How many rows of prompts a pass should take that n_answer answers wait for: as many as make it take twice
 * as long as without. Without answers: as many as it takes in a time that a new request can wait. */
int tern_cost_prompt_rows(const tern_cost *c, int n_answer);

#endif
