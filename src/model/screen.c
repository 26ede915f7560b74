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

/* How far a 15-bit form is off, and how large it is: see the bound in head.h. */
typedef struct rounding {
    double off2[WAYS]; /* parts of |x - x'|^2 */
    int32_t size1;     /* |x'|_1 in steps: at most 16256 of each of 2^17 columns */
    int cols;
} rounding;

/* v within +-16256, ties to even. */
static inline float nearest(float v)
{
    return (v + 0x1.8p23f) - 0x1.8p23f;
}

/* Values x[0..n) become columns i.. of token t's form. */
static void put15(const tern_act15 *a, int t, int i, const float *x, int n, float inverse,
                  rounding *r)
{
    int8_t *hi = a->hi + (size_t)t * a->stride + (size_t)i;
    int8_t *lo = a->lo + (size_t)t * a->stride + (size_t)i;
    double scale = (double)a->scale[t];
    int32_t sum_hi = 0, sum = 0, size = 0;
    for (int j = 0; j < n; j++) {
        int q = (int)nearest(x[j] * inverse), h = (q + 64) >> 7; /* the low part is in -64..63 */
        hi[j] = (int8_t)h;
        lo[j] = (int8_t)(q - 128 * h);
        sum_hi += h;
        sum += q;
        size += q < 0 ? -q : q;
    }
    int j = 0;
    for (; j + WAYS <= n; j += WAYS)
        for (int k = 0; k < WAYS; k++) {
            double off = (double)x[j + k] - (double)nearest(x[j + k] * inverse) * scale;
            r->off2[k] += off * off;
        }
    for (; j < n; j++) {
        double off = (double)x[j] - (double)nearest(x[j] * inverse) * scale;
        r->off2[0] += off * off;
    }
    a->sum[2 * t] += sum_hi;
    a->sum[2 * t + 1] += sum - 128 * sum_hi;
    r->size1 += size;
    r->cols += n;
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

/* Token t's form of x, of whose columns extra follow twice again, as the planes have them, or are left out. */
static float put_input(const tern_head *h, const tern_act15 *a, int t, const float *x, bool again,
                       float quarter, float middle)
{
    rounding r = {0};
    float max = largest(x, (int)tern_round_up((size_t)h->cols, WAYS));
    float scale = max / 16256.0f, inverse = 16256.0f / max; /* 127 * 128: hi stays within 127 */
    a->scale[t] = scale;
    a->sum[2 * t] = a->sum[2 * t + 1] = 0;
    size_t row = (size_t)t * a->stride, tail = a->stride - (size_t)h->cols;
    memset(a->hi + row + h->cols, 0, tail);
    memset(a->lo + row + h->cols, 0, tail);
    put15(a, t, 0, x, h->cols, inverse, &r);
    for (int j = 0; j < h->n_extra; j++) {
        int i = h->extra[j];
        if (again) {
            const float two[2] = {x[i], x[i] / 16.0f};
            put15(a, t, h->cols + 2 * j, two, 2, inverse, &r);
            continue;
        }
        size_t at = row + (size_t)i;
        a->sum[2 * t] -= a->hi[at];
        a->sum[2 * t + 1] -= a->lo[at];
        a->hi[at] = a->lo[at] = 0;
    }
    double n = (double)r.cols, size = (double)scale * ((double)r.size1 + 128.0 * n);
    double rho = (double)middle * (sqrt(n * sum_of(r.off2)) + 8 * 0x1p-24 * size);
    a->scale[t] *= quarter;
    return (float)(rho * 2.0 * (double)quarter *
                   (1.0 + 0x1p-20)); /* the rows' scale is half a step */
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
    const float *radius = s->h->radius4, *scale = s->h->scale;
    float u[8], m[8];
    for (int j = 0; j < 8; j++)
        u[j] = m[j] = -FLT_MAX;
    for (; begin + 8 <= end; begin += 8)
        for (int j = 0; j < 8; j++) {
            float v = y[begin + j];
            m[j] = larger(v, m[j]);
            u[j] = larger(v + (radius[begin + j] * s->norm + scale[begin + j] * s->rho), u[j]);
        }
    for (; begin < end; begin++) {
        m[0] = larger(y[begin], m[0]);
        u[0] = larger(y[begin] + (radius[begin] * s->norm + scale[begin] * s->rho), u[0]);
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
    const tern_head *h;
    tern_act15 act;
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
    (void)lane;
    for (int t = begin; t < end; t++) {
        const float *v = k->seen + (size_t)t * k->stride;
        tern_screen *s = &k->s[t];
        double norm = norm_of(h, v);
        s->norm = 0;
        if (!(norm > 1e-4 && norm < 1e15))
            continue;
        s->norm = (float)(norm * (1.0 + 0x1p-20));
        s->mean = dot(h->mean, v, (int)tern_round_up((size_t)h->cols, WAYS));
        s->rho = put_input(h, &k->act, t, v, true, 1.0f, 7.5f);
    }
}

bool tern_screen_rows(tern_exec *e, const float *x, int n, tern_screen *out)
{
    const tern_head *h = &e->w->screen;
    input_task inputs = {.h = h, .act = e->act15, .s = out};
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
    (void)lane;
    for (int t = begin; t < end; t++)
        k->rho[t] =
            put_input(k->h, &k->act, t, k->seen + (size_t)t * k->stride, false, 0.25f, 1.5f);
}

void tern_screen_begin(tern_exec *e, const tern_screen *s, int n, tern_screening *k)
{
    const tern_head *h = &e->w->screen;
    tern_span was = tern_exec_span(e, TERN_SPAN_REFINE);
    *k = (tern_screening){.s = s, .n = n, .act = e->act15};
    prepare(e, s[0].x, n, &k->in);
    tern_exec_span(e, TERN_SPAN_REFINE);
    if (h->w2) {
        input_task task = {.h = h, .rho = k->rho};
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
    float rho = s->rho + k->rho[t];
    for (int i = 0; i < n; i++) {
        int id = ids[i];
        float y = s->y[id] + up[i];
        up[i] = y + (h->radius2[id] * s->norm + h->scale[id] * rho);
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
