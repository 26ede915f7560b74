#include "compress/gptq.h"
#include "base/alloc.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/num.h"
#include "kernels/kernel.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#define B GPTQ_BLOCK
/* Inputs are gathered so many at a time. */
#define BATCH 256
/* Rows of a matrix that are rounded together. */
#define CHUNK 64

struct gptq {
    size_t n;
    tern_pool *pool; /* borrowed */
    tern_kernels k;
    size_t n_row;
    /* [n][n], columns of the matrix last first. H in the lower triangle; then L in blocks below the
     * diagonal and M transposed in blocks above it. */
    float *h;
    float *diag; /* [n / B][B][B]: M's blocks on the diagonal, zeros above theirs */
    float *xt;   /* [n][BATCH]: inputs, transposed */
    size_t n_xt;
    float *lane; /* [n_lane][lane_floats] */
    size_t lane_floats;
};

tern_code gptq_new(size_t n, tern_pool *pool, gptq **out, tern_err *err)
{
    size_t n_lane = (size_t)tern_pool_size(pool);
    gptq *g = *out = tern_calloc(1, sizeof *g);
    unsigned cpu = 0;
    tern_code rc;
    if (!g)
        return tern_fail(err, TERN_E_NOMEM, "out of memory");
    g->n = n;
    g->pool = pool;
    g->lane_floats = (size_t)CHUNK * n * 2 + 4 * B * B;
    TERN_TRY_GOTO(tern_cpu_flags(&cpu, err));
    tern_kernels_select(cpu, &g->k);
    g->h = tern_calloc(n * n, sizeof *g->h);
    g->diag = tern_calloc(n * B, sizeof *g->diag);
    g->xt = tern_calloc(n * BATCH, sizeof *g->xt);
    g->lane = tern_calloc(n_lane * g->lane_floats, sizeof *g->lane);
    if (!g->h || !g->diag || !g->xt || !g->lane)
        rc = tern_fail(err, TERN_E_NOMEM, "out of memory for second moments of %zu columns", n);
fail:
    if (rc != TERN_OK) {
        gptq_free(g);
        *out = NULL;
    }
    return rc;
}

void gptq_free(gptq *g)
{
    if (!g)
        return;
    tern_free(g->h);
    tern_free(g->diag);
    tern_free(g->xt);
    tern_free(g->lane);
    tern_free(g);
}

void gptq_reset(gptq *g)
{
    memset(g->h, 0, g->n * g->n * sizeof *g->h);
    g->n_row = g->n_xt = 0;
}

size_t gptq_n_row(const gptq *g)
{
    return g->n_row;
}

static float *lane_of(const gptq *g, int lane)
{
    return g->lane + (size_t)lane * g->lane_floats;
}

/* c[i][j] = sum over k of a[i][k] b[j][k], by the kernel for floats, which takes no scratch. a's rows are aligned to 64 bytes, as those of kernels' inputs. */
static void product(const gptq *g, const float *a, size_t lda, size_t m, const float *b, size_t ldb,
                    size_t n, size_t cols, float *c, size_t ldc)
{
    const tern_mm mm = {.w = (const uint8_t *)b,
                        .w_stride = ldb * sizeof *b,
                        .dtype = TERN_DT_F32,
                        .rows = (int)n,
                        .cols = (int)cols,
                        .x = a,
                        .x_stride = lda,
                        .n_tok = (int)m,
                        .y = c,
                        .y_stride = ldc};
    if (m > 0 && n > 0 && cols > 0)
        g->k.mm_f32(&mm, 0, (int)n);
}

/* ---- H ------------------------------------------------------------------------------------- */

/* Rows of blocks [begin, end) up to the diagonal. */
static void add_range(void *arg, int lane, int begin, int end)
{
    gptq *g = arg;
    float *y = lane_of(g, lane);
    for (int i = begin; i < end; i++) {
        size_t row = (size_t)i * B, n = row + B;
        product(g, g->xt + row * BATCH, BATCH, B, g->xt, BATCH, n, BATCH, y, n);
        for (size_t r = 0; r < B; r++)
            for (size_t c = 0; c < n; c++)
                g->h[(row + r) * g->n + c] += y[r * n + c];
    }
}

static void flush(gptq *g)
{
    if (g->n_xt == 0)
        return;
    for (size_t i = 0; i < g->n && g->n_xt < BATCH; i++)
        memset(g->xt + i * BATCH + g->n_xt, 0, (BATCH - g->n_xt) * sizeof *g->xt);
    tern_pool_for(g->pool, (int)(g->n / B), 1, add_range, g);
    g->n_xt = 0;
}

void gptq_see(gptq *g, const float *x, size_t stride, size_t n_row)
{
    for (size_t t = 0; t < n_row; t++) {
        const float *row = x + t * stride;
        for (size_t i = 0; i < g->n; i++)
            g->xt[(g->n - 1 - i) * BATCH + g->n_xt] = row[i];
        if (++g->n_xt == BATCH)
            flush(g);
    }
    g->n_row += n_row;
}

/* ---- factors ------------------------------------------------------------------------------- */

/* The block on the diagonal at b becomes its Cholesky factor, whose inverse goes to inv. */
static bool factor_block(float *h, size_t ld, float *inv)
{
    double l[B][B], m[B][B];
    for (size_t i = 0; i < B; i++)
        for (size_t j = 0; j <= i; j++) {
            double s = (double)h[i * ld + j];
            for (size_t k = 0; k < j; k++)
                s -= l[i][k] * l[j][k];
            if (i == j && !(s > 0.0))
                return false;
            l[i][j] = i == j ? sqrt(s) : s / l[j][j];
        }
    memset(m, 0, sizeof m);
    for (size_t j = 0; j < B; j++)
        for (size_t i = j; i < B; i++) {
            double s = i == j ? 1.0 : 0.0;
            for (size_t k = j; k < i; k++)
                s -= l[i][k] * m[k][j];
            m[i][j] = s / l[i][i];
        }
    for (size_t i = 0; i < B; i++)
        for (size_t j = 0; j < B; j++)
            inv[i * B + j] = (float)m[i][j];
    return true;
}

typedef struct factor_task {
    gptq *g;
    size_t b; /* the block whose column of blocks is done */
} factor_task;

/* Below the diagonal: L[i][b] = H[i][b] times the transposed inverse of L[b][b]. */
static void column_range(void *arg, int lane, int begin, int end)
{
    const factor_task *t = arg;
    gptq *g = t->g;
    float *a = lane_of(g, lane), *y = a + B * B;
    for (int i = begin; i < end; i++) {
        float *to = g->h + (t->b + 1 + (size_t)i) * B * g->n + t->b * B;
        for (size_t r = 0; r < B; r++)
            memcpy(a + r * B, to + r * g->n, B * sizeof *a);
        product(g, a, B, B, g->diag + t->b * B * B, B, B, B, y, B);
        for (size_t r = 0; r < B; r++)
            memcpy(to + r * g->n, y + r * B, B * sizeof *y);
    }
}

/* What is left of H: H[i][j] -= L[i][b] L[j][b]^T for b < j <= i. */
static void rest_range(void *arg, int lane, int begin, int end)
{
    const factor_task *t = arg;
    gptq *g = t->g;
    float *y = lane_of(g, lane);
    const float *l = g->h + (t->b + 1) * B * g->n + t->b * B;
    for (int i = begin; i < end; i++) {
        size_t row = (size_t)i * B, n = row + B;
        float *to = g->h + ((t->b + 1) * B + row) * g->n + (t->b + 1) * B;
        product(g, l + row * g->n, g->n, B, l, g->n, n, B, y, n);
        for (size_t r = 0; r < B; r++)
            for (size_t c = 0; c < n; c++)
                to[r * g->n + c] -= y[r * n + c];
    }
}

/* Block c of row b of M, for c < b: -M[b][b] times the sum over c <= k < b of L[b][k] M[k][c]. */
static void inverse_range(void *arg, int lane, int begin, int end)
{
    const factor_task *t = arg;
    gptq *g = t->g;
    float *mt = lane_of(g, lane), *sum = mt + B * B, *y = sum + B * B;
    const float *l = g->h + t->b * B * g->n;
    for (int i = begin; i < end; i++) {
        size_t c = (size_t)i;
        float *to = g->h + c * B * g->n + t->b * B;
        for (size_t r = 0; r < B; r++)
            for (size_t k = 0; k < B; k++)
                mt[r * B + k] = g->diag[c * B * B + k * B + r];
        product(g, mt, B, B, l + c * B, g->n, B, B, sum, B);
        product(g, g->h + c * B * g->n + (c + 1) * B, g->n, B, l + (c + 1) * B, g->n, B,
                (t->b - c - 1) * B, y, B);
        for (size_t k = 0; k < B * B && c + 1 < t->b; k++)
            sum[k] += y[k];
        product(g, sum, B, B, g->diag + t->b * B * B, B, B, B, y, B);
        for (size_t r = 0; r < B; r++)
            for (size_t k = 0; k < B; k++)
                to[r * g->n + k] = -y[r * B + k];
    }
}

tern_code gptq_factor(gptq *g, double damp, tern_err *err)
{
    double sum = 0.0;
    flush(g);
    for (size_t i = 0; i < g->n; i++)
        sum += (double)g->h[i * g->n + i];
    if (g->n_row == 0 || !isfinite(sum))
        return tern_fail(err, TERN_E_FORMAT, "second moments of %zu inputs are not finite",
                         g->n_row);
    double more = sum > 0.0 ? damp * sum / (double)g->n : 1.0;
    for (size_t i = 0; i < g->n; i++)
        g->h[i * (g->n + 1)] = (float)((double)g->h[i * (g->n + 1)] + more);
    size_t n_block = g->n / B;
    for (size_t b = 0; b < n_block; b++) {
        factor_task task = {g, b};
        if (!factor_block(g->h + b * B * (g->n + 1), g->n, g->diag + b * B * B))
            return tern_fail(err, TERN_E_FORMAT,
                             "second moments of %zu inputs cannot be factored: more damping or "
                             "more text is needed",
                             g->n_row);
        tern_pool_for(g->pool, (int)(n_block - b - 1), 1, column_range, &task);
        tern_pool_for(g->pool, (int)(n_block - b - 1), 1, rest_range, &task);
    }
    for (size_t b = 1; b < n_block; b++) {
        factor_task task = {g, b};
        tern_pool_for(g->pool, (int)b, 1, inverse_range, &task);
    }
    return TERN_OK;
}

/* ---- rounding ------------------------------------------------------------------------------ */

typedef struct round_task {
    const gptq *g;
    const gptq_rule *rule;
    float *w;
    size_t rows;
    float *weight;      /* [n], columns last first: 1 / M_jj^2, what an error costs */
    ternary_item *room; /* [n_lane][n] */
    float *scale;       /* [n_lane][CHUNK] */
    double *loss;       /* [n_lane] */
} round_task;

/* The scales of the group whose last column (of those kept last first) is p. */
static void open_group(const round_task *t, int lane, const float *x, size_t rows, size_t p)
{
    size_t n = t->g->n, group = t->rule->group < n ? t->rule->group : n;
    size_t first = p + 1 > group ? p + 1 - group : 0, done = n - 1 - p;
    if (t->rule->scale > 0.0f || done % group != 0)
        return;
    for (size_t r = 0; r < rows; r++)
        t->scale[(size_t)lane * CHUNK + r] =
            ternary_scale(TERNARY_GPTQ, x + r * n + first, t->weight + first, p + 1 - first,
                          t->rule->half, t->room + (size_t)lane * n);
}

/* Columns [b, b + B) of `rows` rows, from the last to the first; their errors go to e. */
static void round_block(const round_task *t, int lane, float *x, size_t rows, size_t b, float *e)
{
    const gptq *g = t->g;
    const float *m = g->diag + b * B;
    double loss = 0.0;
    for (size_t r = 0; r < rows; r++) {
        float *row = x + r * g->n + b;
        float s = t->rule->scale > 0.0f ? t->rule->scale : t->scale[(size_t)lane * CHUNK + r];
        for (size_t j = B; j-- > 0;) {
            float q = ternary_round(row[j], s), err = (row[j] - q) / m[j * B + j];
            for (size_t k = 0; k < j; k++)
                row[k] -= err * m[j * B + k];
            row[j] = q;
            e[r * B + j] = err;
            loss += (double)err * (double)err;
        }
    }
    t->loss[lane] += loss;
}

static void round_range(void *arg, int lane, int begin, int end)
{
    const round_task *t = arg;
    const gptq *g = t->g;
    size_t n = g->n;
    float *x = lane_of(g, lane), *y = x + CHUNK * n, *e = y + CHUNK * n;
    for (int i = begin; i < end; i++) {
        size_t row0 = (size_t)i * CHUNK, rows = t->rows - row0 < CHUNK ? t->rows - row0 : CHUNK;
        float *w = t->w + row0 * n;
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < n; c++)
                x[r * n + c] = w[r * n + n - 1 - c];
        for (size_t b = n; b > 0;) {
            b -= B;
            open_group(t, lane, x, rows, b + B - 1);
            round_block(t, lane, x, rows, b, e);
            product(g, e, B, rows, g->h + b, n, b, B, y, n);
            for (size_t r = 0; r < rows; r++)
                for (size_t c = 0; c < b; c++)
                    x[r * n + c] -= y[r * n + c];
        }
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < n; c++)
                w[r * n + c] = x[r * n + n - 1 - c];
    }
}

tern_code gptq_round(const gptq *g, float *w, size_t rows, const gptq_rule *rule, double *loss,
                     tern_err *err)
{
    size_t n_lane = (size_t)tern_pool_size(g->pool);
    round_task t = {.g = g, .rule = rule, .w = w, .rows = rows};
    tern_code rc = TERN_OK;
    t.weight = tern_calloc(g->n, sizeof *t.weight);
    t.room = tern_calloc(n_lane * g->n, sizeof *t.room);
    t.scale = tern_calloc(n_lane * CHUNK, sizeof *t.scale);
    t.loss = tern_calloc(n_lane, sizeof *t.loss);
    *loss = 0.0;
    if (!t.weight || !t.room || !t.scale || !t.loss) {
        rc = tern_fail(err, TERN_E_NOMEM, "out of memory for rounding");
        goto fail;
    }
    for (size_t i = 0; i < g->n; i++) {
        float m = g->diag[i / B * B * B + i % B * (B + 1)];
        t.weight[i] = 1.0f / (m * m);
    }
    tern_pool_for(g->pool, (int)((rows + CHUNK - 1) / CHUNK), 1, round_range, &t);
    for (size_t i = 0; i < n_lane; i++)
        *loss += t.loss[i];
fail:
    tern_free(t.weight);
    tern_free(t.room);
    tern_free(t.scale);
    tern_free(t.loss);
    return rc;
}
