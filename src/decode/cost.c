#include "decode/cost.h"

/* Fewer samples than this are chance. */
#define ENOUGH 2
/* A number of rows that was not tried for so many passes is worth a new trial: a machine that was busy
 * then may be idle now. */
#define STALE 256

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
