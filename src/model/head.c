#include "model/head.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/num.h"
#include "kernels/rows.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* Loops with a comparison become vectors only when nobody looks at exception flags, as here nobody does.
 * Values stay the same. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-trapping-math")
#endif

/* A head of this many bytes is read in about 0.2 ms by one core; below that the picking costs as much
 * as it saves (measured with 49152 rows: docs/HEAD.md). */
#define LEAST_BYTES ((size_t)4 << 20)

/* Rows whose norms are beyond this are not screened: products stay far from the ends of f32. */
#define MAX_NORM 1e15f

/* A column stored again takes a byte of each row. It is worth that if its inputs have so many times the mean
 * energy of those that are left: then what the bound shrinks by saves more of the finer planes. */
#define EXTRA_WORTH 12.0

/* So many rows are read before their pages are let go: some MiB. */
#define LET_GO_ROWS 1024

bool tern_head_pays(const tern_linear *l, bool any_size)
{
    tern_dtype_class cls = tern_dtype_get(l->src->dtype)->cls;
    return (cls == TERN_CLASS_FLOAT || cls == TERN_CLASS_BLOCK) && !l->bias &&
           (any_size || l->src->bytes >= LEAST_BYTES) &&
           l->cols + 2 * TERN_HEAD_EXTRA <= TERN_SCREEN_MAX_COLS;
}

size_t tern_head_plane_bytes(const tern_head *h)
{
    return h->l ? h->w4_bytes + (size_t)h->rows * 3 * sizeof(float) : 0;
}

size_t tern_head_memory(const tern_head *h)
{
    size_t row = tern_round_up((size_t)h->rows, 64) * sizeof(float);
    size_t fine = (size_t)h->n_fine * h->w1_bytes;
    return h->l ? h->w4_bytes + fine + TERN_HEAD_PER_ROW(h->n_fine) * row : 0;
}

/* ---- building -------------------------------------------------------------------------------- */

typedef struct build {
    tern_head *h;
    const tern_dir *dir; /* NULL: none */
    bool expand;         /* BLOCK class */
    float *work;         /* [n_lane][work_stride]: one row and its absolute form */
    uint8_t *codes; /* [n_lane][17][codes_stride]: 16 rows of 4-bit codes, one of 1-bit codes */
    double *sums;   /* [n_lane][cols]: for the mean */
    size_t work_stride, codes_stride;
    double mean_norm;
    _Atomic bool beyond; /* a row that is not screened; any lane may raise it */
} build;

/* Row r as its kernel sees it; *norm: with the parts of each value taken absolutely. */
static void row_of(const build *b, size_t r, float *w, float *work, double *norm)
{
    const tern_linear *l = b->h->l;
    int cols = b->h->cols;
    double sum = 0;
    if (!b->expand) {
        tern_dtype_get(l->src->dtype)->unpack_row(l->src, r, w);
        for (int i = 0; i < cols; i++)
            sum += (double)w[i] * (double)w[i];
    } else {
        bool has_min = tern_expand_has_min(l->src->dtype);
        tern_row_slot s = tern_row_slot_get(work, cols, 0);
        tern_expand_ref(l->src->dtype)(l->w + r * l->w_stride, cols, s.v, s.scale16, s.min16);
        for (int i = 0; i < cols; i++) {
            float product = s.scale16[i / 16] * (float)s.v[i], min = has_min ? s.min16[i / 16] : 0;
            w[i] = product + min;
            double size = fabs((double)product) + fabs((double)min);
            sum += size * size;
        }
    }
    *norm = sqrt(sum);
}

/* Rows [row0, row1) were read, and are not needed for a while. */
static void let_go(const build *b, int row0, int row1)
{
    tern_tensor part = *b->h->l->src;
    size_t row = part.bytes / part.ne[1];
    part.data += (size_t)row0 * row;
    part.offset += (size_t)row0 * row;
    part.bytes = (size_t)(row1 - row0) * row;
    if (b->dir && row1 > row0)
        tern_dir_tensor_drop(b->dir, &part);
}

/* Every 16th row is enough for a mean; any vector serves, this one leaves little. */
static void mean_lane(void *arg, int lane, int n_lane)
{
    build *b = arg;
    int begin, end;
    double *sum = b->sums + (size_t)lane * (size_t)b->h->cols, norm;
    float *w = b->work + (size_t)lane * b->work_stride;
    float *work = w + tern_round_up((size_t)b->h->cols, 64);
    tern_pool_split(b->h->rows, 16, lane, n_lane, &begin, &end);
    for (int r = begin; r < end; r += 16) {
        row_of(b, (size_t)r, w, work, &norm);
        if (!(norm < (double)MAX_NORM))
            continue; /* the pass over all rows will see it */
        for (int i = 0; i < b->h->cols; i++)
            sum[i] += (double)w[i];
        if (r / 16 % (LET_GO_ROWS / 16) == 0)
            let_go(b, r > LET_GO_ROWS ? r - LET_GO_ROWS : 0, r);
    }
    let_go(b, begin, end);
}

static void take_mean(build *b, int n_lane)
{
    tern_head *h = b->h;
    double n = (double)((h->rows + 15) / 16), norm = 0;
    for (int i = 0; i < h->cols; i++) {
        double sum = 0;
        for (int lane = 0; lane < n_lane; lane++)
            sum += b->sums[(size_t)lane * (size_t)h->cols + (size_t)i];
        h->mean[i] = (float)(sum / n);
        norm += (double)h->mean[i] * (double)h->mean[i];
    }
    b->mean_norm = sqrt(norm);
}

static int most_extra(int cols)
{
    return cols / 32 < TERN_HEAD_EXTRA ? cols / 32 : TERN_HEAD_EXTRA;
}

/* Columns whose remainders are stored again, so that the largest inputs meet little error. */
static void choose_extra(tern_head *h, const float *energy)
{
    int want = most_extra(h->cols);
    double rest = 0;
    if (!energy)
        return;
    for (int i = 0; i < h->cols; i++)
        rest += (double)energy[i];
    for (; h->n_extra < want; h->n_extra++) {
        int best = -1;
        for (int i = 0; i < h->cols; i++) {
            bool had = false;
            for (int j = 0; j < h->n_extra; j++)
                had |= h->extra[j] == i;
            if (!had && (best < 0 || energy[i] > energy[best]))
                best = i;
        }
        if (!((double)energy[best] > EXTRA_WORTH * rest / h->cols))
            break;
        rest -= (double)energy[best];
        h->extra[h->n_extra] = best;
    }
    h->n_col = h->cols + 2 * h->n_extra;
}

#define WAYS 8 /* independent sums, for compilers to keep in one register */

static float sum_of(const float *part)
{
    return ((part[0] + part[1]) + (part[2] + part[3])) +
           ((part[4] + part[5]) + (part[6] + part[7]));
}

/* Nearest code of 0..top at t = value / step + middle; NaN gives 0. */
static inline float nearest(float t, float top)
{
    t = t > 0.0f ? t : 0.0f;
    t = t < top ? t : top;
    return (float)(int)(t + 0.5f);
}

/* v [cols padded to 8]: the row without the mean -> 4-bit codes; v becomes the remainder. */
static void code4(float *v, int n, float step, uint8_t *codes)
{
    float inverse = step > 0.0f ? 1.0f / step : 0.0f;
    for (int i = 0; i < n; i++) {
        float c = nearest(v[i] * inverse + 7.5f, 15.0f);
        v[i] -= (c - 7.5f) * step;
        codes[i] = (uint8_t)(int)c;
    }
}

/* The same, of which signs are kept. */
static void code1(float *v, int n, float step, uint8_t *codes)
{
    for (int i = 0; i < n; i++) {
        codes[i] = v[i] > 0.0f;
        v[i] -= v[i] > 0.0f ? step : -step;
    }
}

static float norm_of(const float *v, int n)
{
    float part[WAYS] = {0};
    int i = 0;
    for (; i + WAYS <= n; i += WAYS)
        for (int j = 0; j < WAYS; j++)
            part[j] += v[i + j] * v[i + j];
    for (; i < n; i++)
        part[0] += v[i] * v[i];
    return sqrtf(sum_of(part)) * (1.0f + 0x1p-10f); /* cols / 8 additions of positive terms */
}

/* The coarse step for a row v. Of Gaussian values the error is least at 0.34 of their deviation a step, and at 0.42
 * once finer planes have followed, which do not mend what the coarse one clipped. Both are larger where more
 * values lie far out; these figures leave the fewest rows open of SmolLM2 and of Gaussian ones (docs/HEAD.md). */
static float step_of(const float *v, int n)
{
    float second[WAYS] = {0}, fourth[WAYS] = {0};
    for (int i = 0; i + WAYS <= n; i += WAYS) /* the last few do not matter */
        for (int j = 0; j < WAYS; j++) {
            float square = v[i + j] * v[i + j];
            second[j] += square;
            fourth[j] += square * square;
        }
    float square = sum_of(second) / (float)n;
    float kurtosis = sum_of(fourth) / (float)n / (square * square);
    float steps = 0.36f + 0.12f * (kurtosis - 3.0f);
    steps = steps > 0.34f ? steps : 0.34f; /* NaN too: of nothing but zeros */
    return norm_of(v, n) / sqrtf((float)n) * (steps < 0.6f ? steps : 0.6f);
}

/* Remainders of the columns of extra after two more codes each; they do not take part in finer planes,
 * whose codes have no zero. */
static void take_extra(const tern_head *h, const float *v, float step, uint8_t *codes, float *kept)
{
    for (int j = 0; j < h->n_extra; j++) {
        kept[j] = v[h->extra[j]];
        code4(&kept[j], 1, step, &codes[h->cols + 2 * j]);
        code4(&kept[j], 1, step / 16.0f, &codes[h->cols + 2 * j + 1]);
    }
}

/* |coarse row|, of steps of two. */
static float size_of(const uint8_t *codes, int n, float scale)
{
    int64_t sum = 0;
    for (int i = 0; i < n; i++) {
        int v = 2 * codes[i] - 15;
        sum += v * v;
    }
    return scale * sqrtf((float)sum) * (1.0f + 0x1p-20f);
}

/* |D v| for the remainders v, of which extra ones are in kept. */
static float radius_of(const tern_head *h, float *v, const float *kept)
{
    for (int j = 0; j < h->n_extra; j++)
        v[h->extra[j]] = kept[j] * 16.0f;
    return norm_of(v, h->cols);
}

/* one: room for a row of codes. */
static void build_row(build *b, int r, float *v, float *work, uint8_t *codes, uint8_t *one)
{
    tern_head *h = b->h;
    int n = h->cols;
    double norm;
    float kept[TERN_HEAD_EXTRA], max = 0;
    row_of(b, (size_t)r, v, work, &norm);
    if (!(norm < (double)MAX_NORM)) {
        atomic_store_explicit(&b->beyond, true, memory_order_relaxed); /* joined by the pool */
        return;
    }
    for (int i = 0; i < n; i++) {
        v[i] -= h->mean[i];
        max = fabsf(v[i]) > max ? fabsf(v[i]) : max;
    }
    float step = step_of(v, n);
    if (step > max / 7.5f)
        step = max / 7.5f;
    /* |coarse row| <= 7.5 step sqrt(n_col). Sixteen times, for |x| <= 16 |x / D|. */
    double size = norm + b->mean_norm + 7.5 * (double)step * sqrt((double)h->n_col);
    float slack = (float)(size * 0x1p-16 + norm * ((double)n / 16.0 + 10.0) * 0x1.02p-20) + 1e-30f;
    code4(v, n, step, codes);
    take_extra(h, v, step, codes, kept);
    h->scale[r] = step / 2;
    h->size4[r] = size_of(codes, h->n_col, h->scale[r]);
    h->radius4[r] = (radius_of(h, v, kept) + slack) * (1.0f + 0x1p-20f);
    for (int i = 0; i < h->n_fine; i++) {
        code1(v, n, step / (float)(4 << i), one);
        tern_n1_pack_row(one, n, h->w1[i] + (size_t)r * h->w1_stride);
        h->radius1[i][r] = (radius_of(h, v, kept) + slack) * (1.0f + 0x1p-20f);
    }
}

static void build_lane(void *arg, int lane, int n_lane)
{
    build *b = arg;
    tern_head *h = b->h;
    int begin, end;
    float *v = b->work + (size_t)lane * b->work_stride;
    float *work = v + tern_round_up((size_t)h->cols, 64);
    uint8_t *codes = b->codes + (size_t)lane * 17 * b->codes_stride;
    tern_pool_split(h->rows, 16, lane, n_lane, &begin, &end);
    for (int row0 = begin; row0 < end; row0 += 16) {
        memset(codes, 0, 16 * b->codes_stride);
        for (int i = 0; i < 16 && row0 + i < h->rows; i++)
            build_row(b, row0 + i, v, work, codes + (size_t)i * b->codes_stride,
                      codes + 16 * b->codes_stride);
        tern_n4_pack_stripe(codes, b->codes_stride, h->n_col,
                            h->w4 + (size_t)(row0 / 16) * h->w4_stride);
        if (row0 / 16 % (LET_GO_ROWS / 16) == 0)
            let_go(b, row0 > LET_GO_ROWS ? row0 - LET_GO_ROWS : 0, row0);
    }
    let_go(b, begin, end);
}

void tern_head_fine(tern_head *h, int n_fine)
{
    size_t rows = tern_round_up((size_t)h->rows, 64);
    h->n_fine = n_fine;
    h->w1_stride = tern_n1_row_bytes(h->cols);
    h->w1_bytes = tern_n1_bytes(h->rows, h->cols);
    if (!h->scale)
        return;
    h->size4 = h->scale + rows;
    h->radius4 = h->size4 + rows;
    for (int i = 0; i < n_fine; i++)
        h->radius1[i] = h->radius4 + (size_t)(1 + i) * rows;
}

static tern_code allocate(build *b, int n_fine, int n_lane, tern_err *err)
{
    tern_head *h = b->h;
    size_t cols = tern_round_up((size_t)h->cols, 64), rows = tern_round_up((size_t)h->rows, 64);
    bool all = true;
    b->work_stride = cols + tern_row_slot_bytes(h->cols) / sizeof(float) + 64;
    b->codes_stride = cols + 2 * TERN_HEAD_EXTRA;
    b->work = tern_calloc((size_t)n_lane * b->work_stride, sizeof *b->work);
    b->codes = tern_calloc((size_t)n_lane * 17, b->codes_stride);
    b->sums = tern_calloc((size_t)n_lane * (size_t)h->cols, sizeof *b->sums);
    h->extra = tern_calloc(TERN_HEAD_EXTRA, sizeof *h->extra);
    h->mean = tern_calloc(cols, sizeof *h->mean);
    h->scale = tern_calloc(TERN_HEAD_PER_ROW(n_fine) * rows, sizeof *h->scale);
    tern_head_fine(h, n_fine);
    for (int i = 0; i < n_fine; i++)
        all &= (h->w1[i] = tern_pages_alloc(h->w1_bytes)) != NULL;
    if (all && b->work && b->codes && b->sums && h->extra && h->mean && h->scale)
        return TERN_OK;
    return tern_fail(err, TERN_E_NOMEM, "tensor '%s': out of memory for its screening planes",
                     h->l->src->name);
}

tern_code tern_head_init(tern_head *h, const tern_linear *l, const float *energy, int n_fine,
                         const tern_dir *dir, tern_pool *pool, tern_err *err)
{
    int n_lane = tern_pool_size(pool);
    build b = {
        .h = h, .dir = dir, .expand = tern_dtype_get(l->src->dtype)->cls == TERN_CLASS_BLOCK};
    *h = (tern_head){.l = l, .dir = dir, .rows = l->rows, .cols = l->cols, .n_col = l->cols};
    tern_code rc = allocate(&b, n_fine, n_lane, err);
    if (rc == TERN_OK) {
        choose_extra(h, energy);
        h->w4_stride = tern_n4_stripe_bytes(h->n_col);
        h->w4_bytes = tern_n4_bytes(h->rows, h->n_col);
        h->w4 = tern_pages_alloc(h->w4_bytes);
        if (!h->w4)
            rc = tern_fail(err, TERN_E_NOMEM, "tensor '%s': out of memory for its screening planes",
                           l->src->name);
    }
    if (rc == TERN_OK) {
        tern_pool_run(pool, mean_lane, &b);
        take_mean(&b, n_lane);
        tern_pool_run(pool, build_lane, &b);
    }
    tern_free(b.work);
    tern_free(b.codes);
    tern_free(b.sums);
    if (rc != TERN_OK || b.beyond)
        tern_head_done(h);
    return rc;
}

void tern_head_plan(tern_head *h, const tern_linear *l, bool extra, int n_fine)
{
    *h = (tern_head){.l = l, .rows = l->rows, .cols = l->cols};
    h->n_col = l->cols + (extra ? 2 * most_extra(l->cols) : 0);
    h->w4_bytes = tern_n4_bytes(h->rows, h->n_col);
    tern_head_fine(h, n_fine);
}

void tern_head_keep(tern_head *h, int n_fine)
{
    for (; h->n_fine > n_fine; h->n_fine--) {
        uint8_t **w = &h->w1[h->n_fine - 1];
        if (*w && !h->borrowed)
            tern_pages_free(*w, h->w1_bytes);
        *w = NULL;
    }
}

void tern_head_done(tern_head *h)
{
    tern_head_keep(h, 0);
    if (h->w4 && !h->borrowed)
        tern_pages_free(h->w4, h->w4_bytes);
    tern_free(h->extra);
    tern_free(h->mean);
    tern_free(h->scale);
    *h = (tern_head){0};
}
