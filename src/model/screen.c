#include "model/screen.h"
#include "base/num.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Rows shared out over the lanes at a time: fewer are not worth waking them for. */
#define MIN_POOL_ROWS 16

/* ---- the input ------------------------------------------------------------------------------- */

/* What the head's kernel multiplies by: the row itself or, for BLOCK, its int8 form. That form's values
 * go to e->mid. */
static const float *seen_by_head(tern_exec *e, const float *x, int n, size_t *stride)
{
    const tern_linear *l = e->w->screen.l;
    tern_prepare p = {
        .x = x, .x_stride = e->x_stride, .cols = l->cols, .n_tok = n, .forms = l->form};
    tern_input in;
    *stride = e->x_stride;
    if (l->form == TERN_FORM_F32)
        return x;
    tern_exec_prepare(e, &p, &in);
    *stride = in.a8b.stride;
    for (int t = 0; t < n; t++) {
        const int8_t *q = in.a8b.q + (size_t)t * in.a8b.stride;
        const float *d = in.a8b.scale + (size_t)t * (in.a8b.stride / 32);
        for (size_t i = 0; i < in.a8b.stride; i++)
            e->mid[(size_t)t * in.a8b.stride + i] = (float)q[i] * d[i / 32];
    }
    return e->mid;
}

/* |x / D| of head.h. */
static double norm_of(const tern_head *h, const float *x)
{
    double sum = 0;
    for (int i = 0; i < h->cols; i++)
        sum += (double)x[i] * (double)x[i];
    for (int j = 0; j < h->n_extra; j++) {
        double v = (double)x[h->extra[j]];
        sum -= v * v * (255.0 / 256.0);
    }
    return sqrt(sum);
}

/* How far a 15-bit form is off, and how large it is: see the bound in head.h. */
typedef struct rounding {
    double off2, size1; /* |x - x'|^2, |x'|_1 */
    int cols;
} rounding;

static void put15(const tern_act15 *a, int t, int i, float x, float inverse, rounding *r)
{
    float scaled = rintf(x * inverse);
    int q = (int)scaled, hi = (q + 64) >> 7; /* an arithmetic shift: the low part is in -64..63 */
    double off = (double)x - (double)scaled * (double)a->scale[t];
    a->hi[(size_t)t * a->stride + (size_t)i] = (int8_t)hi;
    a->lo[(size_t)t * a->stride + (size_t)i] = (int8_t)(q - 128 * hi);
    a->sum[2 * t] += hi;
    a->sum[2 * t + 1] += q - 128 * hi;
    r->off2 += off * off;
    r->size1 += fabs((double)scaled);
    r->cols++;
}

/* Token t's form of x, of whose columns extra follow twice again, as the planes have them, or are left out. */
static float put_input(const tern_head *h, const tern_act15 *a, int t, const float *x, bool again,
                       float quarter, float middle)
{
    float max = 0;
    rounding r = {0};
    for (int i = 0; i < h->cols; i++)
        max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
    float scale = max / 16256.0f, inverse = 16256.0f / max; /* 127 * 128: hi stays within 127 */
    a->scale[t] = scale;
    a->sum[2 * t] = a->sum[2 * t + 1] = 0;
    memset(a->hi + (size_t)t * a->stride, 0, a->stride);
    memset(a->lo + (size_t)t * a->stride, 0, a->stride);
    for (int i = 0; i < h->cols; i++)
        put15(a, t, i, x[i], inverse, &r);
    for (int j = 0; j < h->n_extra; j++) {
        int i = h->extra[j];
        if (again) {
            put15(a, t, h->cols + 2 * j, x[i], inverse, &r);
            put15(a, t, h->cols + 2 * j + 1, x[i] / 16.0f, inverse, &r);
            continue;
        }
        size_t at = (size_t)t * a->stride + (size_t)i;
        a->sum[2 * t] -= a->hi[at];
        a->sum[2 * t + 1] -= a->lo[at];
        a->hi[at] = a->lo[at] = 0;
    }
    double n = (double)r.cols, size = (double)scale * (r.size1 + 128.0 * n);
    double rho = (double)middle * (sqrt(n * r.off2) + 8 * 0x1p-24 * size);
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

/* The larger of each; what compilers make one instruction of. */
static inline float larger(float a, float b)
{
    return a > b ? a : b;
}

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

static void screen_lane(void *arg, int lane, int n_lane)
{
    const screen_task *t = arg;
    int begin, end, n = t->k.rows;
    tern_pool_split(n, TERN_HEAD_BLOCK, lane, n_lane, &begin, &end);
    for (int row0 = begin; row0 < end; row0 += 16 * TERN_HEAD_BLOCK) {
        int row1 = end - row0 < 16 * TERN_HEAD_BLOCK ? end : row0 + 16 * TERN_HEAD_BLOCK;
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

bool tern_screen_rows(tern_exec *e, const float *x, int n, tern_screen *out)
{
    const tern_head *h = &e->w->screen;
    size_t stride;
    const float *seen = seen_by_head(e, x, n, &stride);
    tern_exec_span(e, TERN_SPAN_PLANE);
    tern_act15 act = e->act15;
    act.stride = tern_round_up((size_t)h->n_col, 256);
    for (int t = 0; t < n; t++) {
        const float *v = seen + (size_t)t * stride;
        double norm = norm_of(h, v), mean = 0;
        if (!(norm > 1e-4 && norm < 1e15))
            return false;
        for (int i = 0; i < h->cols; i++)
            mean += (double)h->mean[i] * (double)v[i];
        out[t] = (tern_screen){.h = h,
                               .x = x + (size_t)t * e->x_stride,
                               .y = e->logits + (size_t)t * e->vocab_stride,
                               .up = e->head_max + (size_t)t * 2 * (size_t)tern_head_n_block(h),
                               .norm = (float)(norm * (1.0 + 0x1p-20)),
                               .mean = mean};
        out[t].top = out[t].up + tern_head_n_block(h);
        out[t].rho = put_input(h, &act, t, v, true, 1.0f, 7.5f);
    }
    screen_task task = {.e = e,
                        .s = out,
                        .k = {.w = h->w4,
                              .w_stride = h->w4_stride,
                              .rows = h->rows,
                              .cols = h->n_col,
                              .scale = h->scale,
                              .act = act,
                              .n_tok = n,
                              .y = e->logits,
                              .y_stride = e->vocab_stride},
                        .max = e->head_max,
                        .n_block = tern_head_n_block(h)};
    tern_pool_run(e->pool, screen_lane, &task);
    e->read_bytes += tern_head_plane_bytes(h);
    return true;
}

/* ---- some rows ------------------------------------------------------------------------------- */

typedef struct rows_task {
    const tern_exec *e;
    const int32_t *ids;
    int n;
    float *z;
    const tern_input *in;  /* exact */
    const tern_screen2 *k; /* refine */
} rows_task;

static void exact_lane(void *arg, int lane, int n_lane)
{
    const rows_task *t = arg;
    const tern_linear *head = t->e->w->screen.l;
    tern_linear row = *head; /* seen as a matrix of one row */
    int begin, end;
    row.rows = 1;
    tern_pool_split(t->n, 1, lane, n_lane, &begin, &end);
    for (int i = begin; i < end; i++) {
        row.w = head->w + (size_t)t->ids[i] * head->w_stride;
        if (i + 1 < end) { /* rows lie far apart: ask for the next one while this is read */
            const uint8_t *next = head->w + (size_t)t->ids[i + 1] * head->w_stride;
            for (size_t at = 0; at < head->w_stride; at += 64)
                __builtin_prefetch(next + at, 0, 2);
        }
        tern_linear_rows(&row, &t->e->k, t->in, &t->z[i], 1, tern_exec_scratch(t->e, lane), 0, 1);
    }
}

static void run_rows(tern_exec *e, tern_pool_fn fn, rows_task *task)
{
    if (task->n < MIN_POOL_ROWS)
        fn(task, 0, 1);
    else
        tern_pool_run(e->pool, fn, task);
}

void tern_screen_exact(tern_exec *e, const float *x, const int32_t *ids, int n, float *z)
{
    const tern_linear *l = e->w->screen.l;
    tern_prepare p = {
        .x = x, .x_stride = e->x_stride, .cols = l->cols, .n_tok = 1, .forms = l->form};
    tern_input in;
    tern_span was = tern_exec_span(e, TERN_SPAN_PREPARE);
    tern_exec_prepare(e, &p, &in);
    tern_exec_span(e, TERN_SPAN_EXACT);
    rows_task task = {.e = e, .ids = ids, .n = n, .z = z, .in = &in};
    run_rows(e, exact_lane, &task);
    e->read_bytes += (size_t)n * l->w_stride;
    tern_exec_span(e, was);
}

static void refine_lane(void *arg, int lane, int n_lane)
{
    const rows_task *t = arg;
    int begin, end;
    tern_pool_split(t->n, 64, lane, n_lane, &begin, &end);
    if (begin < end)
        t->e->k.screen2(t->k, begin, end);
}

int tern_screen_refine(tern_exec *e, const tern_screen *s, float least, int32_t *ids, float *up,
                       int n)
{
    const tern_head *h = s->h;
    size_t stride;
    int kept = 0;
    if (n == 0)
        return 0;
    tern_act15 act = e->act15;
    tern_span was = tern_exec_span(e, TERN_SPAN_REFINE);
    act.stride = tern_round_up((size_t)h->cols, 256);
    const float *seen = seen_by_head(e, s->x, 1, &stride);
    tern_exec_span(e, TERN_SPAN_REFINE);
    float rho = put_input(h, &act, 0, seen, false, 0.25f, 1.5f);
    tern_screen2 k = {.w = h->w2,
                      .w_stride = h->w2_stride,
                      .cols = h->cols,
                      .scale = h->scale,
                      .act = act,
                      .row = ids,
                      .y = e->logits};
    rows_task task = {.e = e, .n = n, .k = &k};
    run_rows(e, refine_lane, &task);
    e->read_bytes += (size_t)n * h->w2_stride;
    for (int i = 0; i < n; i++) {
        int id = ids[i];
        float y = s->y[id] + e->logits[i];
        float most = y + (h->radius2[id] * s->norm + h->scale[id] * (s->rho + rho));
        if (most < least)
            continue;
        up[kept] = most;
        ids[kept++] = id;
    }
    tern_exec_span(e, was);
    return kept;
}

void tern_screen_logits(tern_exec *e, const float *x, float *logits)
{
    const tern_linear *l = &e->w->head;
    tern_prepare p = {
        .x = x, .x_stride = e->x_stride, .cols = l->cols, .n_tok = 1, .forms = l->form};
    tern_input in;
    tern_exec_prepare(e, &p, &in);
    tern_job job = {l, &in, logits, (size_t)l->rows};
    tern_exec_run(e, TERN_SPAN_HEAD, &job, 1, NULL);
}
