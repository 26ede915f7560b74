#include "model/tune.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/num.h"
#include "model/linear.h"

#include <string.h>

/* Weights that are timed: more than caches hold, unless the model has fewer. */
#define MAX_WEIGHTS ((size_t)256 << 20)
#define MIN_WEIGHTS ((size_t)1 << 20)
#define REPEAT      5
/* A layout must be so much faster to be taken: batches unpack 1.6 bits with more work. */
#define WORTH 0.95

/* What a list costs beside the product: finding what is on it, and one region of the pool more. */
#define LIST_NS 2000.0

/* Tokens of a batch, and its weights, which stay in a cache. */
#define BATCH_TOKS    64
#define BATCH_WEIGHTS ((size_t)4 << 20)

/* One tall matrix of made-up weights in one layout, and a list over its rows or columns. */
typedef struct probe {
    tern_mm mm;
    tern_mm_fn fn;
    int grain;
    bool each;           /* token after token, with the same list */
    const int32_t *list; /* of rows, rising; NULL: all */
    int n_list;
    uint8_t *scratch; /* [n_lane][scratch_stride] */
    size_t scratch_stride;
} probe;

static int first_at_least(const int32_t *list, int n, int row)
{
    int lo = 0, hi = n;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if (list[mid] < row)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void probe_range(void *arg, int lane, int begin, int end)
{
    const probe *p = arg;
    tern_mm mm = p->mm;
    mm.scratch = p->scratch + (size_t)lane * p->scratch_stride;
    if (p->list) {
        int i = first_at_least(p->list, p->n_list, begin);
        mm.list = p->list + i;
        mm.n_list = first_at_least(p->list, p->n_list, end) - i;
    }
    if (p->each)
        mm.n_tok = 1;
    for (int i = 0; i < (p->each ? p->mm.n_tok : 1); i++, mm.act.q += mm.act.stride)
        p->fn(&mm, begin, end);
}

static double time_once(tern_pool *pool, probe *p)
{
    uint64_t begin = tern_clock_ns();
    tern_pool_for(pool, p->mm.rows, p->grain, probe_range, p);
    return (double)(tern_clock_ns() - begin) * 1e-9;
}

/* Times of two ways, taken in turn; of each the fastest, for other programs only ever add. */
static void time_both(tern_pool *pool, probe *a, probe *b, double *time_a, double *time_b)
{
    *time_a = *time_b = 1e9;
    for (int i = 0; i < REPEAT; i++) {
        double t = time_once(pool, a);
        *time_a = t < *time_a ? t : *time_a;
        t = time_once(pool, b);
        *time_b = t < *time_b ? t : *time_b;
    }
}

typedef struct tuner {
    tern_pool *pool;
    tern_kernels k;
    size_t n_weight;
    uint8_t *w; /* n_weight / 4 bytes and room for padding */
    size_t w_bytes;
    float *scale, *y;
    int max_rows;
    int8_t *q; /* [BATCH_TOKS][widest] */
    float act_scale[BATCH_TOKS];
    int32_t sum[BATCH_TOKS];
    int32_t *own_n; /* [BATCH_TOKS][parts], of tern_own_cols */
    int32_t *list;  /* [max_rows or d_ff] and padding */
    uint8_t *scratch;
    size_t scratch_stride;
} tuner;

/* Lanes touch what they will read. The bytes are valid codes in every layout. */
static void touch_range(void *arg, int lane, int begin, int end)
{
    const tuner *t = arg;
    (void)lane;
    memset(t->w + (size_t)begin * 4096, 0x55, (size_t)(end - begin) * 4096);
}

static probe probe_of(tuner *t, tern_op op, int cols)
{
    const tern_layout *layout = tern_layout_of(op);
    tern_linear l = {.op = op};
    int unit = layout->unit, grain = unit > layout->grain ? unit : layout->grain;
    size_t unit_bytes = layout->unit_bytes(cols);
    size_t rows = t->n_weight / 4 / unit_bytes * (size_t)unit;
    probe p = {.fn = tern_linear_fn(&l, &t->k),
               .grain = grain,
               .scratch = t->scratch,
               .scratch_stride = t->scratch_stride};
    if (rows > (size_t)t->max_rows)
        rows = (size_t)t->max_rows;
    p.mm = (tern_mm){.w = t->w,
                     .w_stride = unit_bytes,
                     .rows = (int)(rows / (size_t)grain) * grain,
                     .cols = cols,
                     .scale = t->scale,
                     .act = {.q = t->q,
                             .stride = tern_round_up((size_t)cols, 64),
                             .scale = t->act_scale,
                             .sum = t->sum},
                     .n_tok = 1,
                     .y = t->y};
    return p;
}

static double per_weight(double rows, double cols, double seconds)
{
    return rows > 0 ? seconds * 1e9 / (rows * cols) : 0.0;
}

/* Part of the rows, for more tokens take longer. */
static void tune_together(const tuner *t, int n_stream, const probe *two, const probe *three,
                          tern_tune_shape *to)
{
    probe t2 = *two, t3 = *three;
    double time2, time3;
    if (n_stream < 2)
        return;
    t2.mm.n_tok = t3.mm.n_tok = n_stream;
    t2.mm.rows = (int)tern_round_up((size_t)t2.mm.rows / 4, (size_t)t2.grain);
    t3.mm.rows = (int)tern_round_up((size_t)t3.mm.rows / 4, (size_t)t3.grain);
    time_both(t->pool, &t2, &t3, &time2, &time3);
    to->together_2 = per_weight(t2.mm.rows, t2.mm.cols, time2);
    to->together_3 = per_weight(t3.mm.rows, t3.mm.cols, time3);
}

static void tune_shape(tuner *t, tern_tune *out, int cols)
{
    for (int i = 0; i < out->n_shape; i++)
        if (out->shape[i].cols == cols)
            return;
    probe t2 = probe_of(t, TERN_OP_MM_T2R16, cols), t3 = probe_of(t, TERN_OP_MM_T3R16, cols);
    double time2, time3;
    time_both(t->pool, &t2, &t3, &time2, &time3);
    tern_tune_shape *to = &out->shape[out->n_shape++];
    *to = (tern_tune_shape){.listed = TERN_LISTED_NONE,
                            .cols = cols,
                            .t2 = per_weight(t2.mm.rows, cols, time2),
                            .t3 = per_weight(t3.mm.rows, cols, time3)};
    tune_together(t, out->n_stream, &t2, &t3, to);
}

/* Every other one of [begin, end), without a pattern that prefetchers could learn. */
static int half_of_range(int32_t *list, int begin, int end)
{
    uint32_t x = 1;
    int n_list = 0;
    for (int i = begin; i < end; i++) {
        x = x * 1664525u + 1013904223u;
        if (x >> 31)
            list[n_list++] = i;
    }
    return n_list;
}

/* The same of n, and what kernels look ahead at. */
static int half_of(int32_t *list, int n)
{
    int n_list = half_of_range(list, 0, n);
    for (int i = 0; i < TERN_LIST_PAD; i++)
        list[n_list + i] = n_list ? list[n_list - 1] : 0;
    return n_list;
}

/* Cost of one of n when all are taken, against that of one out of a list. */
static float limit_of(tuner *t, probe *all, int n, probe *listed, int n_listed)
{
    double time_all, time_listed;
    time_both(t->pool, all, listed, &time_all, &time_listed);
    double limit = n_listed > 0 && time_listed > 0 ? time_all / n / (time_listed / n_listed) : 1.0;
    return limit > 1.0 ? 1.0f : limit < 0.1 ? 0.1f : (float)limit;
}

static void tune_rows(tuner *t, tern_tune *out, int cols)
{
    probe t2 = probe_of(t, TERN_OP_MM_T2R1, cols), t3 = probe_of(t, TERN_OP_MM_T3R1, cols);
    t3.mm.rows = t2.mm.rows; /* one list for both */
    int n = half_of(t->list, t2.mm.rows);
    probe some2 = t2, some3 = t3;
    some2.list = some3.list = t->list;
    some2.n_list = some3.n_list = n;
    double time2, time3;
    time_both(t->pool, &some2, &some3, &time2, &time3);
    tern_tune_shape *to = &out->shape[out->n_shape++];
    *to = (tern_tune_shape){.listed = TERN_LISTED_ROWS,
                            .cols = cols,
                            .t2 = per_weight(n, cols, time2),
                            .t3 = per_weight(n, cols, time3)};
    tune_together(t, out->n_stream, &t2, &t3, to);
    bool base3 = tern_tune_base3(out, TERN_LISTED_ROWS, cols);
    out->up_limit = limit_of(t, base3 ? &t3 : &t2, t2.mm.rows, base3 ? &some3 : &some2, n);
}

static void tune_cols(tuner *t, tern_tune *out, int cols)
{
    probe t2 = probe_of(t, TERN_OP_MM_T2C1, cols), t3 = probe_of(t, TERN_OP_MM_T3C1, cols);
    if (t2.mm.rows == 0 || t3.mm.rows == 0)
        return;
    int n = half_of(t->list, cols);
    probe some2 = t2, some3 = t3;
    some2.mm.list = some3.mm.list = t->list;
    some2.mm.n_list = some3.mm.n_list = n;
    double time2, time3;
    time_both(t->pool, &some2, &some3, &time2, &time3);
    tern_tune_shape *to = &out->shape[out->n_shape++];
    *to = (tern_tune_shape){.listed = TERN_LISTED_COLS,
                            .cols = cols,
                            .t2 = per_weight(n, t2.mm.rows, time2),
                            .t3 = per_weight(n, t3.mm.rows, time3)};
    tune_together(t, out->n_stream, &t2, &t3, to);
    bool base3 = tern_tune_base3(out, TERN_LISTED_COLS, cols);
    out->down_limit = limit_of(t, base3 ? &t3 : &t2, cols, base3 ? &some3 : &some2, n);
}

/* The same for batches: one product of all, or each token's own half. */
static void tune_batches(tuner *t, tern_tune *out, const tern_hparams *h)
{
    size_t rows = BATCH_WEIGHTS / (size_t)h->d_model / TERN_OWN_ROWS * TERN_OWN_ROWS;
    bool base3 = tern_tune_base3(out, TERN_LISTED_ROWS, h->d_model);
    probe up = probe_of(t, base3 ? TERN_OP_MM_T3R1 : TERN_OP_MM_T2R1, h->d_model);
    up.grain = TERN_OWN_ROWS;
    up.mm.n_tok = BATCH_TOKS;
    up.mm.rows = (size_t)up.mm.rows > rows && rows > 0 ? (int)rows : up.mm.rows;
    probe some = up;
    some.each = true;
    some.list = t->list;
    some.n_list = half_of(t->list, up.mm.rows);
    out->own_up_limit = limit_of(t, &up, up.mm.rows, &some, some.n_list);

    base3 = tern_tune_base3(out, TERN_LISTED_COLS, h->d_ff);
    tern_op op = base3 ? TERN_OP_MM_T3C1 : TERN_OP_MM_T2C1;
    const tern_layout *layout = tern_layout_of(op);
    probe down = probe_of(t, op, h->d_ff);
    if (down.mm.rows == 0)
        return;
    down.grain = layout->grain;
    down.mm.n_tok = BATCH_TOKS;
    down.mm.rows = down.mm.rows > layout->unit ? layout->unit : down.mm.rows;
    int n_part = (h->d_ff + TERN_T2C1_PART - 1) / TERN_T2C1_PART, n_listed = 0;
    for (int p = 0; p < n_part; p++) {
        int32_t *list = t->list + p * TERN_T2C1_PART;
        int begin = p * TERN_T2C1_PART, end = begin + TERN_T2C1_PART;
        int n = half_of_range(list, begin, end < h->d_ff ? end : h->d_ff) / 4 * 4;
        for (int i = 0; i < BATCH_TOKS; i++)
            t->own_n[i * n_part + p] = n;
        n_listed += n;
    }
    tern_own_cols cols = {.n = t->own_n, .list = t->list, .q = t->q, .n_part = n_part};
    some = down;
    some.mm.own = &cols;
    out->own_down_limit = limit_of(t, &down, h->d_ff, &some, n_listed);
}

static size_t ternary_weights(const tern_hparams *h)
{
    size_t d = (size_t)h->d_model, heads = (size_t)(h->n_head + h->n_kv_head) * (size_t)h->d_head;
    return (size_t)h->n_layer * (2 * d * heads + 3 * d * (size_t)h->d_ff);
}

static bool allocate(tuner *t, int widest, int d_ff)
{
    size_t stride = tern_round_up((size_t)widest, 256);
    size_t blocks = ((size_t)d_ff + TERN_T2C1_PART - 1) / TERN_T2C1_PART;
    t->w_bytes = tern_round_up(t->n_weight / 4 + 4096, 4096);
    t->max_rows = 1 << 18;
    size_t n_list = (size_t)(d_ff > t->max_rows ? d_ff : t->max_rows) + TERN_LIST_PAD;
    t->w = tern_pages_alloc(t->w_bytes);
    t->scale = tern_calloc((size_t)t->max_rows, sizeof *t->scale);
    t->y = tern_calloc((size_t)t->max_rows, sizeof *t->y);
    t->q = tern_calloc(BATCH_TOKS * stride, 1);
    t->own_n = tern_calloc(BATCH_TOKS * blocks, sizeof *t->own_n);
    t->list = tern_calloc(n_list, sizeof *t->list);
    t->scratch_stride = tern_round_up(tern_mm_scratch_bytes(widest, BATCH_TOKS), 64);
    t->scratch = tern_calloc((size_t)tern_pool_size(t->pool), t->scratch_stride);
    return t->w && t->scale && t->y && t->q && t->own_n && t->list && t->scratch;
}

static void release(tuner *t)
{
    tern_pages_free(t->w, t->w_bytes);
    tern_free(t->scale);
    tern_free(t->y);
    tern_free(t->q);
    tern_free(t->own_n);
    tern_free(t->list);
    tern_free(t->scratch);
}

tern_code tern_tune_measure(const tern_hparams *h, tern_pool *pool, unsigned cpu, int n_stream,
                            tern_tune *out, tern_err *err)
{
    int d_q = h->n_head * h->d_head, widest = h->d_ff;
    tuner t = {.pool = pool, .n_weight = ternary_weights(h)};
    *out = TERN_TUNE_NONE;
    out->n_stream = n_stream < 1 ? 1 : n_stream < BATCH_TOKS ? n_stream : BATCH_TOKS;
    for (int i = 0; i < BATCH_TOKS; i++)
        t.act_scale[i] = 1.0f;
    widest = h->d_model > widest ? h->d_model : widest;
    widest = d_q > widest ? d_q : widest;
    t.n_weight = t.n_weight > MAX_WEIGHTS ? MAX_WEIGHTS : t.n_weight;
    t.n_weight = t.n_weight < MIN_WEIGHTS ? MIN_WEIGHTS : t.n_weight;
    tern_kernels_select(cpu, &t.k);
    if (!allocate(&t, widest, h->d_ff)) {
        release(&t);
        return tern_fail(err, TERN_E_NOMEM, "calibration: out of memory");
    }
    tern_pool_for(pool, (int)(t.w_bytes / 4096), 16, touch_range, &t);
    tune_shape(&t, out, h->d_model);
    tune_shape(&t, out, d_q);
    tune_shape(&t, out, h->d_ff);
    if (h->act == TERN_ACT_RELU2) {
        tune_rows(&t, out, h->d_model);
        tune_cols(&t, out, h->d_ff);
        tune_batches(&t, out, h);
    }
    release(&t);
    return TERN_OK;
}

static const tern_tune_shape *shape_of(const tern_tune *t, tern_listed listed, int cols)
{
    for (int i = 0; i < t->n_shape; i++)
        if (t->shape[i].listed == listed && t->shape[i].cols == cols)
            return &t->shape[i];
    return NULL;
}

bool tern_tune_base3(const tern_tune *t, tern_listed listed, int cols)
{
    const tern_tune_shape *s = shape_of(t, listed, cols);
    if (!s || !(s->t3 > 0.0))
        return false;
    if (s->together_3 > 0.0)
        return s->t3 * s->together_3 < WORTH * WORTH * s->t2 * s->together_2;
    return s->t3 < WORTH * s->t2;
}

/* Time of a matrix for one stream in ns, times that for several together if they were timed. */
static double cost(const tern_tune_shape *s, bool base3, double weights, double share, double more)
{
    double one = share * weights * (base3 ? s->t3 : s->t2) + more;
    double together = weights * (base3 ? s->together_3 : s->together_2) + more;
    return s->together_2 > 0.0 ? one * together : one;
}

bool tern_tune_skips(const tern_tune *t, tern_listed listed, int rows, int cols, bool base3,
                     bool plain_base3)
{
    /* What counts of rows of up and columns of down: 30 and 55, 17 and 31 % of tern-stories and tern-chat. */
    static const double share[] = {
        [TERN_LISTED_NONE] = 1.0, [TERN_LISTED_ROWS] = 0.5, [TERN_LISTED_COLS] = 0.3};
    const tern_tune_shape *s = shape_of(t, listed, cols),
                          *plain = shape_of(t, TERN_LISTED_NONE, cols);
    if (!s || !plain)
        return true;
    size_t unit = listed != TERN_LISTED_COLS ? 1 : base3 ? TERN_T3C1_ROWS : TERN_T2C1_ROWS;
    double weights = (double)tern_round_up((size_t)rows, unit) * cols;
    return cost(s, base3, weights, share[listed], LIST_NS) <
           cost(plain, plain_base3, (double)rows * cols, 1.0, 0.0);
}
