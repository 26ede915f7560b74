#include "model/screen.h"
#include "base/num.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Rows of the head that a lane screens at a time. */
#define GRAIN (16 * TERN_HEAD_BLOCK)

/* ---- the input ------------------------------------------------------------------------------- */

static void prepare(tern_exec *e, const float *x, int n, tern_input *in)
{
    const tern_linear *l = &e->w->head;
    tern_prepare p = {
        .x = x, .x_stride = e->x_stride, .cols = l->cols, .n_tok = n, .forms = l->form};
    tern_exec_prepare(e, &p, in);
}

/* What the head's kernel multiplies by: the rows themselves or, for BLOCK, their int8 form, whose values
 * go to e->mid. */
static const float *seen_by_head(tern_exec *e, const tern_input *in, size_t *stride)
{
    const tern_act8 *a = &in->a8b;
    *stride = in->x_stride;
    if (e->w->head.form == TERN_FORM_F32)
        return in->x;
    *stride = a->stride;
    for (int t = 0; t < in->n_tok; t++) {
        const int8_t *q = a->q + (size_t)t * a->stride;
        const float *d = a->scale + (size_t)t * (a->stride / 32);
        for (size_t i = 0; i < a->stride; i++)
            e->mid[(size_t)t * a->stride + i] = (float)q[i] * d[i / 32];
    }
    return e->mid;
}

#define WAYS 8 /* independent sums, for compilers to keep in registers */

static double sum_of(const double *part)
{
    return ((part[0] + part[1]) + (part[2] + part[3])) +
           ((part[4] + part[5]) + (part[6] + part[7]));
}

/* The larger of each; what compilers make one instruction of. */
static inline float larger(float a, float b)
{
    return a > b ? a : b;
}

/* n is a multiple of WAYS: rows are padded with zeros. */
static double dot(const float *x, const float *y, int n)
{
    double part[WAYS] = {0};
    for (int i = 0; i < n; i += WAYS)
        for (int j = 0; j < WAYS; j++)
            part[j] += (double)x[i + j] * (double)y[i + j];
    return sum_of(part);
}

/* |x / D| of head.h; x is padded. */
static double norm_of(const tern_head *h, const float *x)
{
    double sum = dot(x, x, (int)tern_round_up((size_t)h->cols, WAYS));
    for (int j = 0; j < h->n_extra; j++) {
        double v = (double)x[h->extra[j]];
        sum -= v * v * (255.0 / 256.0);
    }
    return sqrt(sum);
}

static float largest(const float *x, int n)
{
    float part[WAYS] = {0}, max = 0;
    for (int i = 0; i < n; i += WAYS)
        for (int j = 0; j < WAYS; j++)
            part[j] = larger(fabsf(x[i + j]), part[j]);
    for (int j = 0; j < WAYS; j++)
        max = larger(part[j], max);
    return max;
}

/* ---- ACT12: the input in steps ------------------------------------------------------------------ */

/* The most that an input may be in steps, for high parts within +-127 whatever the low one takes from them: 256 *
 * (127 - 16 / 2) and 256 * (127 - 64 / 2). */
#define MOST4 30464.0f
#define MOST2 24320.0f
/* The most of 256 * |high part| + worth * |low part|. */
#define MOST_PARTS (256.0 * 127 + 64 * 128)

/* One token's form of the values x [a->stride], zeros behind the last. */
typedef struct form {
    const float *x;
    int cols;
    int8_t *hi, *lo;
    float inverse; /* steps per unit */
    double step;
    int32_t sum_hi, sum_lo;
    double off2[WAYS]; /* parts of |x - x'|^2 */
} form;

/* v within +-2^22, ties to even. */
static inline int nearest(float v)
{
    return (int)((v + 0x1.8p23f) - 0x1.8p23f);
}

/* Column c becomes 256 * hi + low, which is q. */
static inline void put_column(form *f, int c, int q, int low, double *off2)
{
    int high = (q - low) / 256;
    double off = (double)f->x[c] - (double)q * f->step;
    f->hi[c] = (int8_t)high;
    f->sum_hi += high;
    *off2 += off * off;
}

/* Columns that have no low part, as others that would share it do not exist. */
static void put_high(form *f, int c)
{
    for (; c < f->cols; c++)
        put_column(f, c, 256 * nearest(f->x[c] * f->inverse / 256.0f), 0, &f->off2[0]);
}

/* Each two columns that share a byte of N4R16. The second one is rounded to a multiple of 16 steps: so many 16ths
 * are, modulo 16, the low part's lower half. The first one is rounded to what has this lower half, whose upper half
 * the low part takes. */
static void put_pairs(form *f)
{
    int c = 0;
    for (; c + 8 <= f->cols; c += 8)
        for (int j = 0; j < 4; j++) {
            int n1 = nearest(f->x[c + 4 + j] * f->inverse / 16.0f), half = n1 & 15;
            int q = 16 * nearest((f->x[c + j] * f->inverse - (float)half) / 16.0f) + half;
            int low = (int8_t)q;
            f->lo[c / 2 + j] = (int8_t)low;
            f->sum_lo += 17 * low;
            put_column(f, c + j, q, low, &f->off2[j]);
            put_column(f, c + 4 + j, 16 * n1, 16 * low, &f->off2[4 + j]);
        }
    put_high(f, c);
}

/* Each four columns that share a byte of N2R1, in the same way: 64 steps and two bits at a time. */
static void put_fours(form *f)
{
    int c = 0;
    for (; c + 256 <= f->cols; c += 256)
        for (int k = c; k < c + 64; k++) {
            int q[4], low = 0;
            for (int p = 3; p >= 0; p--) { /* low: of the columns so far, modulo 256 >> 2 p */
                int worth = 1 << 2 * p, known = low * worth;
                float v = f->x[k + 64 * p] * f->inverse;
                q[p] = 64 * nearest((v - (float)known) / 64.0f) + known;
                low = q[p] / worth & ((256 >> 2 * p) - 1);
            }
            low = (int8_t)q[0];
            f->lo[c / 4 + k - c] = (int8_t)low;
            f->sum_lo += 85 * low;
            for (int p = 0; p < 4; p++)
                put_column(f, k + 64 * p, q[p], low * (1 << 2 * p), &f->off2[p]);
        }
    put_high(f, c);
}

/* Token t's form of x, of whose columns extra follow twice again, as the first plane has them, or are left out, as of
 * the second. x is copied to work. Returns the token's part of the bound. */
static float put_input(const tern_head *h, const tern_act12 *a, int t, const float *x, bool two,
                       float *work)
{
    size_t row = (size_t)t * a->stride;
    int cols = two ? h->cols : h->n_col;
    memcpy(work, x, (size_t)h->cols * sizeof *x);
    memset(work + h->cols, 0, (a->stride - (size_t)h->cols) * sizeof *x);
    for (int j = 0; j < h->n_extra; j++) {
        float *v = &work[h->extra[j]];
        if (!two) {
            work[h->cols + 2 * j] = *v;
            work[h->cols + 2 * j + 1] = *v / 16.0f;
        } else {
            *v = 0;
        }
    }
    float most = two ? MOST2 : MOST4, max = largest(work, (int)tern_round_up((size_t)cols, WAYS));
    bool none = !(max > 1e-30f); /* what is left of the input is nothing */
    float step = none ? 0.0f : max / most;
    form f = {.x = work,
              .cols = cols,
              .hi = a->hi + row,
              .lo = a->lo + row,
              .inverse = none ? 0.0f : most / max,
              .step = (double)step};
    memset(f.hi, 0, a->stride);
    memset(f.lo, 0, a->stride);
    if (two)
        put_fours(&f);
    else
        put_pairs(&f);
    a->sum[2 * t] = f.sum_hi;
    a->sum[2 * t + 1] = f.sum_lo;
    double root = sqrt((double)cols), off = sqrt(sum_of(f.off2));
    double rho = off + 8 * 0x1p-24 * 15 * root * MOST_PARTS * f.step;
    a->scale[t] = step;
    if (two) { /* whose steps are a quarter of the first plane's; the rows' scale is half of one */
        rho = 2 * 0.25 * 1.5 * (root * off + 8 * 0x1p-24 * root * root * MOST_PARTS * f.step);
        a->scale[t] *= 0.25f;
    }
    return (float)(rho * (1.0 + 0x1p-20));
}

/* ---- bounds of all rows ---------------------------------------------------------------------- */

typedef struct screen_task {
    const tern_exec *e;
    const tern_screen *s;
    tern_screen4 k;
    float *max; /* [n_tok][2][n_block]: up, top */
    int n_block;
} screen_task;

static void block_maxima(const tern_screen *s, const float *y, int begin, int end, float *up,
                         float *top)
{
    const float *radius = s->h->radius4, *size = s->h->size4;
    float u[8], m[8];
    for (int j = 0; j < 8; j++)
        u[j] = m[j] = -FLT_MAX;
    for (; begin + 8 <= end; begin += 8)
        for (int j = 0; j < 8; j++) {
            float v = y[begin + j];
            m[j] = larger(v, m[j]);
            u[j] = larger(v + (radius[begin + j] * s->norm + size[begin + j] * s->rho), u[j]);
        }
    for (; begin < end; begin++) {
        m[0] = larger(y[begin], m[0]);
        u[0] = larger(y[begin] + (radius[begin] * s->norm + size[begin] * s->rho), u[0]);
    }
    *up = *top = -FLT_MAX;
    for (int j = 0; j < 8; j++) {
        *up = larger(u[j], *up);
        *top = larger(m[j], *top);
    }
}

static void screen_range(void *arg, int lane, int begin, int end)
{
    const screen_task *t = arg;
    (void)lane;
    for (int row0 = begin; row0 < end; row0 += GRAIN) {
        int row1 = end - row0 < GRAIN ? end : row0 + GRAIN;
        t->e->k.screen4(&t->k, row0, row1);
        for (int i = 0; i < t->k.n_tok; i++)
            for (int r = row0; r < row1; r += TERN_HEAD_BLOCK) {
                float *max = t->max + (size_t)i * 2 * (size_t)t->n_block + r / TERN_HEAD_BLOCK;
                block_maxima(&t->s[i], t->k.y + (size_t)i * t->k.y_stride, r,
                             row1 - r < TERN_HEAD_BLOCK ? row1 : r + TERN_HEAD_BLOCK, max,
                             max + t->n_block);
            }
    }
}

/* Several rows are shared out over the lanes; one is not worth waking them for. */
static void each_row(tern_exec *e, int n, tern_pool_range_fn fn, void *task)
{
    if (n == 1)
        fn(task, 0, 0, 1);
    else
        tern_pool_for(e->pool, n, 1, fn, task);
}

typedef struct input_task {
    const tern_exec *e;
    const tern_head *h;
    tern_act12 act;
    const float *seen;
    size_t stride;
    tern_screen *s;
    float *rho; /* of the second plane */
} input_task;

/* What the first plane needs to know of each row; norm 0: out of bounds. */
static void first_inputs(void *arg, int lane, int begin, int end)
{
    const input_task *k = arg;
    const tern_head *h = k->h;
    for (int t = begin; t < end; t++) {
        const float *v = k->seen + (size_t)t * k->stride;
        tern_screen *s = &k->s[t];
        double norm = norm_of(h, v);
        s->norm = 0;
        if (!(norm > 1e-4 && norm < 1e15))
            continue;
        s->norm = (float)(norm * (1.0 + 0x1p-20));
        s->mean = dot(h->mean, v, (int)tern_round_up((size_t)h->cols, WAYS));
        s->rho = put_input(h, &k->act, t, v, false, tern_exec_scratch(k->e, lane));
    }
}

bool tern_screen_rows(tern_exec *e, const float *x, int n, tern_screen *out)
{
    const tern_head *h = &e->w->screen;
    input_task inputs = {.e = e, .h = h, .act = e->act12, .s = out};
    tern_input in;
    prepare(e, x, n, &in);
    inputs.seen = seen_by_head(e, &in, &inputs.stride);
    tern_exec_span(e, TERN_SPAN_PLANE);
    inputs.act.stride = tern_round_up((size_t)h->n_col, 256);
    for (int t = 0; t < n; t++) {
        float *max = e->head_max + (size_t)t * 2 * (size_t)tern_head_n_block(h);
        out[t] = (tern_screen){.h = h,
                               .x = x + (size_t)t * e->x_stride,
                               .y = e->logits + (size_t)t * e->vocab_stride,
                               .up = max,
                               .top = max + tern_head_n_block(h)};
    }
    each_row(e, n, first_inputs, &inputs);
    for (int t = 0; t < n; t++)
        if (out[t].norm == 0)
            return false;
    screen_task task = {.e = e,
                        .s = out,
                        .k = {.w = h->w4,
                              .w_stride = h->w4_stride,
                              .rows = h->rows,
                              .cols = h->n_col,
                              .scale = h->scale,
                              .act = inputs.act,
                              .n_tok = n,
                              .y = e->logits,
                              .y_stride = e->vocab_stride},
                        .max = e->head_max,
                        .n_block = tern_head_n_block(h)};
    tern_pool_for(e->pool, h->rows, GRAIN, screen_range, &task);
    e->read_bytes += tern_head_plane_bytes(h);
    return true;
}

/* ---- some rows ------------------------------------------------------------------------------- */

static void second_inputs(void *arg, int lane, int begin, int end)
{
    const input_task *k = arg;
    for (int t = begin; t < end; t++)
        k->rho[t] = put_input(k->h, &k->act, t, k->seen + (size_t)t * k->stride, true,
                              tern_exec_scratch(k->e, lane));
}

void tern_screen_begin(tern_exec *e, const tern_screen *s, int n, tern_screening *k)
{
    const tern_head *h = &e->w->screen;
    tern_span was = tern_exec_span(e, TERN_SPAN_REFINE);
    *k = (tern_screening){.s = s, .n = n, .act = e->act12};
    prepare(e, s[0].x, n, &k->in);
    tern_exec_span(e, TERN_SPAN_REFINE);
    if (h->w2) {
        input_task task = {.e = e, .h = h, .rho = k->rho};
        k->act.stride = tern_round_up((size_t)h->cols, 256);
        task.act = k->act;
        task.seen = seen_by_head(e, &k->in, &task.stride);
        each_row(e, n, second_inputs, &task);
    }
    tern_exec_span(e, was);
}

void tern_screen_bound(const tern_exec *e, const tern_screening *k, int t, const int32_t *ids,
                       int n, float *up)
{
    const tern_screen *s = &k->s[t];
    const tern_head *h = s->h;
    if (!h->w2) {
        for (int i = 0; i < n; i++)
            up[i] = s->y[ids[i]] + tern_screen_slack(s, ids[i]);
        return;
    }
    tern_screen2 product = {.w = h->w2,
                            .w_stride = h->w2_stride,
                            .cols = h->cols,
                            .scale = h->scale,
                            .act = k->act,
                            .row = ids,
                            .y = up};
    product.act.hi += (size_t)t * k->act.stride;
    product.act.lo += (size_t)t * k->act.stride;
    product.act.scale += t;
    product.act.sum += 2 * t;
    e->k.screen2(&product, 0, n);
    if (h->borrowed && n > 0) /* ids rise */
        tern_infile_drop(h->w2 + (size_t)ids[0] * h->w2_stride,
                         (size_t)(ids[n - 1] + 1 - ids[0]) * h->w2_stride);
    for (int i = 0; i < n; i++) {
        int id = ids[i];
        float y = s->y[id] + up[i];
        up[i] = y + (h->radius2[id] * s->norm + (h->size4[id] * s->rho + h->scale[id] * k->rho[t]));
    }
}

typedef struct exact_task {
    const tern_exec *e;
    const tern_screening *k;
    const tern_wanted *list;
} exact_task;

static int n_unit(const tern_wanted *w)
{
    return (w->n + TERN_HEAD_READ - 1) / TERN_HEAD_READ;
}

/* Rows are copied from the file where there is one: through the map each would bring its neighbours
 * into memory. */
static void exact_unit(const exact_task *task, int lane, int t, int unit)
{
    const tern_exec *e = task->e;
    const tern_linear *head = &e->w->head;
    const tern_head *h = &e->w->screen;
    const tern_wanted *w = &task->list[t];
    const int32_t *ids = w->ids + unit * TERN_HEAD_READ;
    int n = w->n - unit * TERN_HEAD_READ, n_read = 0;
    float *z = w->z + unit * TERN_HEAD_READ;
    uint8_t *rows = e->head_rows + (size_t)lane * e->head_rows_stride;
    tern_linear part = *head; /* seen as a matrix of a few rows */
    tern_input in = task->k->in;
    in.x += (size_t)t * in.x_stride;
    in.a8b.q += (size_t)t * in.a8b.stride;
    in.a8b.scale += (size_t)t * (in.a8b.stride / 32);
    in.a8b.sum += (size_t)t * (in.a8b.stride / 16);
    in.n_tok = 1;
    n = n < TERN_HEAD_READ ? n : TERN_HEAD_READ;
    while (h->dir && n_read < n &&
           tern_dir_tensor_read(h->dir, head->src, (size_t)ids[n_read] * head->w_stride,
                                rows + (size_t)n_read * head->w_stride, head->w_stride))
        n_read++;
    part.w = rows;
    part.rows = n_read;
    tern_linear_rows(&part, &e->k, &in, z, (size_t)n, tern_exec_scratch(e, lane), 0, n_read);
    part.rows = 1;
    for (int i = n_read; i < n; i++) {
        part.w = head->w + (size_t)ids[i] * head->w_stride;
        if (i + 1 < n) /* rows lie far apart: ask for the next one while this is read */
            for (size_t at = 0; at < head->w_stride; at += 64)
                __builtin_prefetch(head->w + (size_t)ids[i + 1] * head->w_stride + at, 0, 2);
        tern_linear_rows(&part, &e->k, &in, z + i, 1, tern_exec_scratch(e, lane), 0, 1);
    }
}

static void exact_range(void *arg, int lane, int begin, int end)
{
    const exact_task *task = arg;
    int t = 0, at = begin;
    for (; begin < end; begin++, at++) {
        for (; at >= n_unit(&task->list[t]); t++)
            at -= n_unit(&task->list[t]);
        exact_unit(task, lane, t, at);
    }
}

void tern_screen_exact(tern_exec *e, const tern_screening *k, const tern_wanted *list)
{
    exact_task task = {.e = e, .k = k, .list = list};
    tern_span was = tern_exec_span(e, TERN_SPAN_EXACT);
    int n = 0;
    for (int t = 0; t < k->n; t++) {
        n += n_unit(&list[t]);
        e->read_bytes += (size_t)list[t].n * e->w->head.w_stride;
    }
    each_row(e, n, exact_range, &task);
    tern_exec_span(e, was);
}

void tern_screen_logits(tern_exec *e, const float *x, int n)
{
    tern_input in;
    prepare(e, x, n, &in);
    tern_exec_head(e, &in);
    e->head_mapped = true;
}
