#include "decode/cost.h"

#include <stdbool.h>

/* Fewer samples than this are chance. */
#define ENOUGH 2
/* A number of rows that was not tried for so many passes is worth a new trial: a machine that was busy
 * then may be idle now. */
#define STALE 256
/* A pass may take this much longer for the rows of prompts in it, as a share of what it takes without.
 * Arithmetic bounds prompts, so that reading them in small parts costs them little; half the speed is left to
 * answers, and less than half would show. */
#define STRETCH 1.0
/* Nanoseconds of a pass over prompts alone: who comes meanwhile waits for half of it on average. Below
 * it the weights' way through memory begins to show. */
#define BRIEF 80e6
/* Rows of prompts before anything is measured, and at least: fewer would cost as much. */
#define FIRST_ROWS 32
#define LEAST_ROWS 4
#define MOST_ROWS  (1 << 20)

static double median(const double *v, int n)
{
    double s[TERN_COST_SAMPLES];
    for (int i = 0; i < n; i++) {
        int j = i;
        for (; j > 0 && s[j - 1] > v[i]; j--)
            s[j] = s[j - 1];
        s[j] = v[i];
    }
    return n % 2 ? s[n / 2] : (s[n / 2 - 1] + s[n / 2]) / 2;
}

void tern_cost_add(tern_cost *c, int n_row, double ns)
{
    if (n_row < 1 || n_row > TERN_COST_ROWS)
        return;
    uint32_t *n = &c->rows[n_row].n;
    c->rows[n_row].sample[*n % TERN_COST_SAMPLES] = ns;
    ++*n;
    c->rows[n_row].median =
        median(c->rows[n_row].sample, *n < TERN_COST_SAMPLES ? (int)*n : TERN_COST_SAMPLES);
    c->rows[n_row].last = c->n_pass++;
}

/* Relative to one row, before anything is measured: weights are read once for a few rows, so that
 * these cost their arithmetic alone. */
static double expected(int n_row)
{
    static const double few[] = {0, 1.0, 1.1, 1.25, 1.5};
    return n_row <= 4 ? few[n_row] : 1.5 + 0.25 * (n_row - 4);
}

static int is_known(const tern_cost *c, int n_row)
{
    return c->rows[n_row].n >= ENOUGH && (n_row == 1 || c->n_pass - c->rows[n_row].last <= STALE);
}

double tern_cost_get(const tern_cost *c, int n_row)
{
    int known = n_row;
    while (known > 1 && !is_known(c, known))
        known--;
    if (!is_known(c, known))
        for (known = n_row + 1; known <= TERN_COST_ROWS && !is_known(c, known);)
            known++;
    if (known > TERN_COST_ROWS)
        return expected(n_row);
    return c->rows[known].median * expected(n_row) / expected(known);
}

static void put(tern_cost_ring *r, double v)
{
    r->sample[r->n++ % TERN_COST_SAMPLES] = v;
    r->median = median(r->sample, r->n < TERN_COST_SAMPLES ? (int)r->n : TERN_COST_SAMPLES);
}

/* Nanoseconds of a pass of answers; 0: nothing is known. */
static double answers(const tern_cost *c, int n_row)
{
    bool known = false;
    for (int i = 1; i <= TERN_COST_ROWS; i++)
        known |= c->rows[i].n >= ENOUGH;
    if (!known || n_row <= 0)
        return 0.0;
    if (n_row <= TERN_COST_ROWS)
        return tern_cost_get(c, n_row);
    return tern_cost_get(c, TERN_COST_ROWS) * expected(n_row) / expected(TERN_COST_ROWS);
}

void tern_cost_add_prompt(tern_cost *c, int n_answer, int n_prompt, double ns)
{
    double base = answers(c, n_answer);
    if (n_answer == 0)
        put(&c->alone, ns / n_prompt);
    else if (base > 0.0)
        put(&c->beside, ns > base ? (ns - base) / n_prompt : 0.0);
}

int tern_cost_prompt_rows(const tern_cost *c, int n_answer)
{
    const tern_cost_ring *r = n_answer && c->beside.n >= ENOUGH ? &c->beside : &c->alone;
    double time = n_answer ? STRETCH * answers(c, n_answer) : BRIEF;
    if (c->fixed_rows)
        return c->fixed_rows;
    if (r->n < ENOUGH || time <= 0.0)
        return FIRST_ROWS;
    double n = time / (r->median > 1.0 ? r->median : 1.0);
    return n < LEAST_ROWS ? LEAST_ROWS : n > MOST_ROWS ? MOST_ROWS : (int)n;
}
