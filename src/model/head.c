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
    const tern_kernels *k;
    const tern_dir *dir;   /* NULL: none */
    tern_expand_fn expand; /* of the BLOCK class, else NULL */
    float *work;           /* [n_lane][work_stride]: one row and its expanded form */
    int32_t *keep;         /* [cols padded to 64]: see tern_screen_row */
    uint8_t *codes;        /* [n_lane][16][codes_stride]: rows of 4-bit codes */
    double *sums;          /* [n_lane][cols]: for the mean */
    size_t work_stride, codes_stride;
    double mean_norm;
    _Atomic bool beyond; /* a row that is not screened; any lane may raise it */
} build;

/* Row r as its kernel sees it. Returns, of a format with minima, the norm of the row with the parts of each value taken
 * absolutely, else 0. */
static float row_of(const build *b, size_t r, float *w, float *work)
{
    const tern_linear *l = b->h->l;
    tern_dtype dt = l->src->dtype;
    int cols = b->h->cols;
    double sum = 0;
    if (!b->expand) {
        if (dt == TERN_DT_F16)
            b->k->f16_load(l->w + r * l->w_stride, cols, w);
        else
            tern_dtype_get(dt)->unpack_row(l->src, r, w);
        return 0;
    }
    tern_row_slot s = tern_row_slot_get(work, cols, 0);
    b->expand(l->w + r * l->w_stride, cols, s.v, s.scale16, s.min16);
    for (int i = 0; i < cols; i += 16)
        for (int j = 0; j < 16; j++)
            w[i + j] = s.scale16[i / 16] * (float)s.v[i + j];
    if (!tern_expand_has_min(dt))
        return 0;
    for (int i = 0; i < cols; i++) {
        double size = fabs((double)w[i]) + fabs((double)s.min16[i / 16]);
        sum += size * size;
        w[i] += s.min16[i / 16];
    }
    return (float)(sqrt(sum) * (1.0 + 0x1p-20));
}

static double squares_of(const float *v, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)v[i] * (double)v[i];
    return sum;
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
    double *sum = b->sums + (size_t)lane * (size_t)b->h->cols;
    float *w = b->work + (size_t)lane * b->work_stride;
    float *work = w + tern_round_up((size_t)b->h->cols, 64);
    tern_pool_split(b->h->rows, 16, lane, n_lane, &begin, &end);
    for (int r = begin; r < end; r += 16) {
        (void)row_of(b, (size_t)r, w, work);
        if (!(squares_of(w, b->h->cols) < (double)MAX_NORM * (double)MAX_NORM))
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

static void mark_kept(build *b)
{
    for (int i = 0; i < b->h->cols; i++)
        b->keep[i] = -1;
    for (int j = 0; j < b->h->n_extra; j++)
        b->keep[b->h->extra[j]] = 0;
}

static void build_row(build *b, int r, float *v, float *work, uint8_t *codes)
{
    tern_head *h = b->h;
    int n = h->cols;
    tern_screen_row row = {.v = v,
                           .mean = h->mean,
                           .keep = b->keep,
                           .n = n,
                           .n_extra = h->n_extra,
                           .n_fine = h->n_fine,
                           .extra = h->extra,
                           .codes = codes};
    for (int i = 0; i < h->n_fine; i++)
        row.fine[i] = h->w1[i] + (size_t)r * h->w1_stride;
    float parts = row_of(b, (size_t)r, v, work);
    b->k->screen_row(&row);
    float larger = parts > row.norm ? parts : row.norm; /* where parts is a NaN, so is the other */
    if (!(larger < MAX_NORM)) {
        atomic_store_explicit(&b->beyond, true, memory_order_relaxed); /* joined by the pool */
        return;
    }
    double norm = (double)larger;
    /* |coarse row| <= 7.5 step sqrt(n_col). Sixteen times, for |x| <= 16 |x / D|. */
    double size = norm + b->mean_norm + 7.5 * (double)row.step * sqrt((double)h->n_col);
    float slack = (float)(size * 0x1p-16 + norm * ((double)n / 16.0 + 10.0) * 0x1.02p-20) + 1e-30f;
    h->scale[r] = row.step / 2;
    h->size4[r] = row.size;
    h->radius4[r] = (row.radius[0] + slack) * (1.0f + 0x1p-20f);
    for (int i = 0; i < h->n_fine; i++)
        h->radius1[i][r] = (row.radius[1 + i] + slack) * (1.0f + 0x1p-20f);
}

static void build_lane(void *arg, int lane, int n_lane)
{
    build *b = arg;
    tern_head *h = b->h;
    int begin, end;
    float *v = b->work + (size_t)lane * b->work_stride;
    float *work = v + tern_round_up((size_t)h->cols, 64);
    uint8_t *codes = b->codes + (size_t)lane * 16 * b->codes_stride;
    tern_pool_split(h->rows, 16, lane, n_lane, &begin, &end);
    for (int row0 = begin; row0 < end; row0 += 16) {
        memset(codes, 0, 16 * b->codes_stride);
        for (int i = 0; i < 16 && row0 + i < h->rows; i++)
            build_row(b, row0 + i, v, work, codes + (size_t)i * b->codes_stride);
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
    b->keep = tern_calloc(cols, sizeof *b->keep);
    b->codes = tern_calloc((size_t)n_lane * 16, b->codes_stride);
    b->sums = tern_calloc((size_t)n_lane * (size_t)h->cols, sizeof *b->sums);
    h->extra = tern_calloc(TERN_HEAD_EXTRA, sizeof *h->extra);
    h->mean = tern_calloc(cols, sizeof *h->mean);
    h->scale = tern_calloc(TERN_HEAD_PER_ROW(n_fine) * rows, sizeof *h->scale);
    tern_head_fine(h, n_fine);
    for (int i = 0; i < n_fine; i++)
        all &= (h->w1[i] = tern_pages_alloc(h->w1_bytes)) != NULL;
    if (all && b->work && b->keep && b->codes && b->sums && h->extra && h->mean && h->scale)
        return TERN_OK;
    return tern_fail(err, TERN_E_NOMEM, "tensor '%s': out of memory for its screening planes",
                     h->l->src->name);
}

tern_code tern_head_init(tern_head *h, const tern_linear *l, const float *energy, int n_fine,
                         const tern_dir *dir, const tern_kernels *k, tern_pool *pool, tern_err *err)
{
    int n_lane = tern_pool_size(pool);
    build b = {.h = h,
               .k = k,
               .dir = dir,
               .expand = tern_dtype_get(l->src->dtype)->cls == TERN_CLASS_BLOCK
                             ? tern_expand_of(k, l->src->dtype)
                             : NULL};
    *h = (tern_head){.l = l, .dir = dir, .rows = l->rows, .cols = l->cols, .n_col = l->cols};
    tern_code rc = allocate(&b, n_fine, n_lane, err);
    if (rc == TERN_OK) {
        choose_extra(h, energy);
        mark_kept(&b);
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
    tern_free(b.keep);
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
