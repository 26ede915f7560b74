#include "tensors.h"
#include "base/alloc.h"

#include <math.h>
#include <string.h>

/* One lane's sums and room. */
typedef struct lane_sums {
    verify_stats s;
    float *values;  /* owned; [ne0] */
    float *scales;  /* owned; [n_scale] */
    uint8_t *codes; /* owned; [ne0] */
} lane_sums;

typedef struct task {
    const tern_tensor *t;
    const tern_dtype_info *dt;
    size_t n_scale;
    lane_sums *lanes;          /* owned; [n_lane] */
    bool five[256], four[256]; /* bytes that stand for five or four trits */
} task;

static void add_scale(verify_stats *s, float x)
{
    if (!isfinite(x)) {
        s->n_wild++;
        return;
    }
    s->n_negative += x < 0;
    s->min = (double)x < s->min ? (double)x : s->min;
    s->max = (double)x > s->max ? (double)x : s->max;
}

static void add_values(verify_stats *s, const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double x = fabs((double)v[i]);
        s->n_zero += x == 0;
        if (!isfinite(x)) {
            s->n_wild++;
            continue;
        }
        s->min = x < s->min ? x : s->min;
        s->max = x > s->max ? x : s->max;
    }
}

/* ---- bytes ----------------------------------------------------------------------------------- */

/* The formats whose bytes mean five trits: blocks of n5 such bytes, n4 with four, and a scale. */
static bool trit_block(tern_dtype dt, size_t *n5, size_t *n4, size_t *bytes)
{
    *n5 = dt == TERN_DT_TQ1_0 ? 48 : 24;
    *n4 = dt == TERN_DT_TQ1_0 ? 4 : 2;
    *bytes = *n5 + *n4 + 2;
    return dt == TERN_DT_TQ1_0 || dt == TERN_DT_PTQ1_0;
}

static uint64_t bad_trits(const task *k, size_t row)
{
    size_t n5, n4, block, n_bytes = k->t->bytes / k->t->ne[1];
    uint64_t n = 0;
    if (!trit_block(k->t->dtype, &n5, &n4, &block))
        return 0;
    const uint8_t *q = k->t->data + row * n_bytes;
    for (size_t at = 0; at + block <= n_bytes; at += block)
        for (size_t i = 0; i < n5 + n4; i++)
            n += i < n5 ? !k->five[q[at + i]] : !k->four[q[at + i]];
    return n;
}

static bool is_i2_s(tern_dtype dt)
{
    return dt == TERN_DT_I2_S || dt == TERN_DT_I2_S_ARM || dt == TERN_DT_I2_S_ROWS4;
}

/* Codes 3 of a row's share of the bytes; unpacking would make zeros of them. */
static uint64_t i2_s_threes(const task *k, size_t row)
{
    size_t all = k->t->ne[0] * k->t->ne[1] / 4, rows = k->t->ne[1];
    size_t step = all / rows, begin = row * step, end = row + 1 == rows ? all : begin + step;
    uint64_t n = 0;
    for (size_t i = begin; i < end; i++) {
        unsigned q = k->t->data[i], both = q & q >> 1 & 0x55;
        n += (both & 1) + (both >> 2 & 1) + (both >> 4 & 1) + (both >> 6 & 1);
    }
    return n;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void add_codes(const task *k, lane_sums *l, size_t row)
{
    size_t cols = k->t->ne[0];
    uint64_t threes = 0;
    memset(l->scales, 0, k->n_scale * sizeof *l->scales);
    k->dt->unpack_codes(k->t, row, l->codes, l->scales);
    for (size_t i = 0; i < cols; i++) {
        l->s.n_zero += l->codes[i] == 1;
        threes += l->codes[i] == 3;
    }
    /* Of a tensor's one scale once. */
    for (size_t i = 0; i < (k->dt->code_group < 0 && row > 0 ? 0 : k->n_scale); i++)
        add_scale(&l->s, l->scales[i]);
    /* These formats have four levels, of which ternary models use three. */
    if (k->t->dtype == TERN_DT_Q2_0 || k->t->dtype == TERN_DT_PQ2_0)
        l->s.n_two += threes;
    else
        l->s.n_code += threes;
    l->s.n_code += bad_trits(k, row) + (is_i2_s(k->t->dtype) ? i2_s_threes(k, row) : 0);
}

static void look_range(void *arg, int lane, int begin, int end)
{
    const task *k = arg;
    lane_sums *l = &k->lanes[lane];
    for (size_t row = (size_t)begin; row < (size_t)end; row++) {
        if (k->dt->cls == TERN_CLASS_TERNARY) {
            add_codes(k, l, row);
        } else {
            k->dt->unpack_row(k->t, row, l->values);
            add_values(&l->s, l->values, k->t->ne[0]);
        }
    }
}

static bool make_lanes(task *k, int n_lane)
{
    k->lanes = tern_calloc((size_t)n_lane, sizeof *k->lanes);
    for (int i = 0; k->lanes && i < n_lane; i++) {
        lane_sums *l = &k->lanes[i];
        l->s.min = HUGE_VAL;
        l->values = tern_calloc(k->t->ne[0] + 64, sizeof *l->values);
        l->codes = tern_calloc(k->t->ne[0] + 64, 1);
        l->scales = tern_calloc(k->n_scale, sizeof *l->scales);
        if (!l->values || !l->codes || !l->scales)
            return false;
    }
    return k->lanes != NULL;
}

static void free_lanes(task *k, int n_lane)
{
    for (int i = 0; k->lanes && i < n_lane; i++) {
        tern_free(k->lanes[i].values);
        tern_free(k->lanes[i].codes);
        tern_free(k->lanes[i].scales);
    }
    tern_free(k->lanes);
}

static void add(verify_stats *a, const verify_stats *b)
{
    a->n_zero += b->n_zero;
    a->n_wild += b->n_wild;
    a->n_code += b->n_code;
    a->n_two += b->n_two;
    a->n_negative += b->n_negative;
    a->min = b->min < a->min ? b->min : a->min;
    a->max = b->max > a->max ? b->max : a->max;
}

bool verify_tensor(const tern_tensor *t, tern_pool *pool, verify_stats *out)
{
    const tern_dtype_info *dt = tern_dtype_get(t->dtype);
    size_t rows = t->ne[1] * t->ne[2] * t->ne[3];
    task k = {.t = t, .dt = dt, .n_scale = 1};
    int n_lane = tern_pool_size(pool);
    *out = (verify_stats){.n = (uint64_t)t->ne[0] * rows, .min = HUGE_VAL};
    out->ternary = dt->cls == TERN_CLASS_TERNARY;
    if (!dt->unpack_row || rows > INT32_MAX)
        return true;
    if (out->ternary && dt->code_group > 0)
        k.n_scale = t->ne[0] / (size_t)dt->code_group;
    for (unsigned v = 0; v < 243; v++) {
        k.five[(v * 256 + 242) / 243] = true;
        k.four[(v * 256 + 242) / 243] |= v % 3 == 0;
    }
    bool ok = make_lanes(&k, n_lane);
    if (ok)
        tern_pool_for(pool, (int)rows, 16, look_range, &k);
    for (int i = 0; ok && i < n_lane; i++)
        add(out, &k.lanes[i].s);
    free_lanes(&k, n_lane);
    if (out->min > out->max)
        out->min = out->max;
    return ok;
}

uint64_t verify_unused(const tern_dir *d)
{
    uint64_t used = 0, first = UINT64_MAX;
    if (d->n_map != 1 || d->n_tensor == 0)
        return 0;
    for (size_t i = 0; i < d->n_tensor; i++) {
        used += d->tensors[i].bytes;
        first = d->tensors[i].offset < first ? d->tensors[i].offset : first;
    }
    uint64_t size = d->maps[0].size;
    return first < size && size - first > used ? size - first - used : 0;
}
