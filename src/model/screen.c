#include "model/screen.h"
#include "base/num.h"

#include <assert.h>
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
 * (127 - 16 / 2). */
#define MOST4 30464.0f
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

/* Token t's form of x, of whose columns extra follow twice again. x is copied to work. Returns the token's
 * part of the bound. */
static float put_input(const tern_head *h, const tern_act12 *a, int t, const float *x, float *work)
{
    size_t row = (size_t)t * a->stride;
    int cols = h->n_col;
    memcpy(work, x, (size_t)h->cols * sizeof *x);
    memset(work + h->cols, 0, (a->stride - (size_t)h->cols) * sizeof *x);
    for (int j = 0; j < h->n_extra; j++) {
        float v = work[h->extra[j]];
        work[h->cols + 2 * j] = v;
        work[h->cols + 2 * j + 1] = v / 16.0f;
    }
    float max = largest(work, (int)tern_round_up((size_t)cols, WAYS));
    bool none = !(max > 1e-30f); /* what is left of the input is nothing */
    float step = none ? 0.0f : max / MOST4;
    form f = {.x = work,
              .cols = cols,
              .hi = a->hi + row,
              .lo = a->lo + row,
              .inverse = none ? 0.0f : MOST4 / max,
              .step = (double)step};
    memset(f.hi, 0, a->stride);
    memset(f.lo, 0, a->stride);
    put_pairs(&f);
    a->sum[2 * t] = f.sum_hi;
    a->sum[2 * t + 1] = f.sum_lo;
    double root = sqrt((double)cols), off = sqrt(sum_of(f.off2));
    double rho = off + 12 * 0x1p-24 * 15 * root * MOST_PARTS * f.step;
    a->scale[t] = step;
    return (float)(rho * (1.0 + 0x1p-20));
}

/* x for the finer planes: in 8 bits, to in->x, without columns of extra. */
static void put_fine_input(const tern_head *h, tern_fine_input *in, const float *x, float *work)
{
    size_t stride = tern_n1_input_stride(h->cols), n = tern_round_up((size_t)h->cols, WAYS);
    memcpy(work, x, (size_t)h->cols * sizeof *x);
    memset(work + h->cols, 0, (n - (size_t)h->cols) * sizeof *x);
    memset(in->x, 0, 8 * stride);
    for (int j = 0; j < h->n_extra; j++)
        work[h->extra[j]] = 0;
    float max = largest(work, (int)n);
    bool none = !(max > 1e-30f);
    float inverse = none ? 0.0f : 127.0f / max;
    in->scale = none ? 0.0f : max / 127.0f;
    in->sum = 0;
    double step = (double)in->scale, off2[WAYS] = {0};
    for (size_t i = 0; i < n; i += WAYS)
        for (size_t j = 0; j < WAYS; j++) {
            int q = nearest(work[i + j] * inverse);
            double off = (double)work[i + j] - (double)q * step;
            in->x[j * stride + i / WAYS] = (int8_t)q;
            in->sum += q;
            off2[j] += off * off;
        }
    double cols = (double)h->cols;
    double rho = sqrt(cols) * sqrt(sum_of(off2)) + 12 * 0x1p-24 * cols * 127 * step;
    in->rho = (float)(rho * (1.0 + 0x1p-20));
}
_Static_assert(WAYS == 8, "columns go to eight parts");

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
    tern_fine_input *fine;
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
        s->rho = put_input(h, &k->act, t, v, tern_exec_scratch(k->e, lane));
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

static void fine_inputs(void *arg, int lane, int begin, int end)
{
    const input_task *k = arg;
    for (int t = begin; t < end; t++)
        put_fine_input(k->h, &k->fine[t], k->seen + (size_t)t * k->stride,
                       tern_exec_scratch(k->e, lane));
}

void tern_screen_begin(tern_exec *e, const tern_screen *s, int n, tern_screening *k)
{
    const tern_head *h = &e->w->screen;
    tern_span was = tern_exec_span(e, TERN_SPAN_REFINE);
    *k = (tern_screening){.s = s, .n = n};
    prepare(e, s[0].x, n, &k->in);
    tern_exec_span(e, TERN_SPAN_REFINE);
    if (h->n_fine > 0) {
        input_task task = {.e = e, .h = h, .fine = k->fine};
        assert(8 * tern_n1_input_stride(h->cols) <= e->act12.stride);
        for (int t = 0; t < n; t++) /* the coarse plane's form is not needed any more */
            k->fine[t].x = e->act12.hi + (size_t)t * e->act12.stride;
        task.seen = seen_by_head(e, &k->in, &task.stride);
        each_row(e, n, fine_inputs, &task);
    }
    tern_exec_span(e, was);
}

/* w was read at rows ids, which rise. */
static void let_go(const tern_head *h, const uint8_t *w, const int32_t *ids, int n)
{
    if (h->borrowed && n > 0)
        tern_infile_drop(w + (size_t)ids[0] * h->w1_stride,
                         (size_t)(ids[n - 1] + 1 - ids[0]) * h->w1_stride);
}

void tern_screen_bound(const tern_exec *e, const tern_screening *k, int t, int n_fine,
                       const int32_t *ids, int n, float *y, float *up)
{
    const tern_screen *s = &k->s[t];
    const tern_head *h = s->h;
    if (n_fine == 0) {
        for (int i = 0; i < n; i++) {
            y[i] = s->y[ids[i]];
            up[i] = y[i] + tern_screen_slack(s, ids[i]);
        }
        return;
    }
    const tern_fine_input *in = &k->fine[t];
    float half = 1.0f / (float)(1 << n_fine); /* the size of this plane's signs in scales */
    float rho = (1.0f - half) * in->rho;      /* and of all so far */
    const float *radius = h->radius1[n_fine - 1];
    tern_screen1 product = {.w = h->w1[n_fine - 1],
                            .w_stride = h->w1_stride,
                            .cols = h->cols,
                            .scale = h->scale,
                            .x = in->x,
                            .x_scale = half * in->scale,
                            .x_sum = in->sum,
                            .row = ids,
                            .y = up};
    e->k.screen1(&product, 0, n);
    let_go(h, product.w, ids, n);
    for (int i = 0; i < n; i++) {
        int id = ids[i];
        y[i] += up[i];
        up[i] = y[i] + (radius[id] * s->norm + (h->size4[id] * s->rho + h->scale[id] * rho));
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
