#include "tensor/fmt/search.h"

#include <math.h>

/* Groups whose largest magnitude is below have no scale. */
#define SMALLEST 1e-15f

/* a in the lanes where the comparison held, else b. */
static inline tern_f4 pick(tern_i4 held, tern_f4 a, tern_f4 b)
{
    return (tern_f4)((held & (tern_i4)a) | (~held & (tern_i4)b));
}

static inline bool any(tern_i4 held)
{
    return (held[0] | held[1] | held[2] | held[3]) != 0;
}

static inline tern_f4 size_of(tern_f4 v)
{
    return (tern_f4)((tern_i4)v & 0x7fffffff);
}

/* tern_nearest(v) - least, clamped to 0..span; span is a power of two less one. */
static inline tern_i4 code_of(tern_f4 v, int least, int span)
{
    tern_i4 q = ((tern_i4)(v + 0x1.8p23f) & 0x7fffff) - (0x400000 + least);
    q &= ~(q < 0);
    return (q | (q > span)) & span;
}

static inline tern_f4 floats(tern_i4 v)
{
    return __builtin_convertvector(v, tern_f4);
}

/* The code about zero: -half..half - 1. */
static inline tern_f4 signed_code(tern_f4 v, int half)
{
    return floats(code_of(v, -half, 2 * half - 1)) - (float)half;
}

static void spread(tern_f4 *lanes, const float *x, int n, size_t n_group)
{
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < TERN_QUAD_GROUPS; k++)
            lanes[i][k] = k < n_group ? x[k * (size_t)n + (size_t)i] : 0.0f;
}

void tern_quad_load(tern_quad *g, const float *x, int n, size_t n_group)
{
    g->n = n;
    spread(g->x, x, n, n_group);
}

void tern_quad_codes(const tern_quad *g, size_t n_group, uint8_t *codes)
{
    for (size_t k = 0; k < n_group; k++)
        for (int i = 0; i < g->n; i++)
            *codes++ = (uint8_t)g->code[i][k];
}

void tern_quad_weigh_square(tern_quad *g)
{
    for (int i = 0; i < g->n; i++)
        g->w[i] = g->x[i] * g->x[i];
}

void tern_quad_weigh_size(tern_quad *g)
{
    for (int i = 0; i < g->n; i++)
        g->w[i] = size_of(g->x[i]);
}

tern_f4 tern_quad_squares(const tern_quad *g)
{
    tern_f4 sum = {0};
    for (int i = 0; i < g->n; i++)
        sum += g->x[i] * g->x[i];
    return sum;
}

void tern_quad_weigh_spread(tern_quad *g)
{
    tern_f4 sum = tern_quad_squares(g) / (float)g->n;
    for (size_t k = 0; k < TERN_QUAD_GROUPS; k++)
        sum[k] = sqrtf(sum[k]);
    for (int i = 0; i < g->n; i++)
        g->w[i] = sum + size_of(g->x[i]);
}

void tern_quad_weigh(tern_quad *g, const float *importance, size_t n_group, tern_f4 variance)
{
    spread(g->w, importance, g->n, n_group);
    for (int i = 0; i < g->n; i++) {
        tern_f4 power = variance + g->x[i] * g->x[i];
        for (size_t k = 0; k < TERN_QUAD_GROUPS; k++)
            power[k] = sqrtf(power[k]);
        g->w[i] *= power;
    }
}

void tern_quad_weigh_flat(tern_quad *g, const float *importance, size_t n_group)
{
    spread(g->w, importance, g->n, n_group);
}

tern_f4 tern_quad_weight(const tern_quad *g)
{
    tern_f4 sum = {0};
    for (int i = 0; i < g->n; i++)
        sum += g->w[i];
    return sum;
}

float tern_sum_squares(const float *x, size_t n)
{
    float sum = 0.0f;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sum;
}

/* The first element of largest magnitude, with its sign. */
static tern_f4 peak_of(const tern_quad *g)
{
    tern_f4 peak = {0}, top = {0};
    for (int i = 0; i < g->n; i++) {
        tern_f4 size = size_of(g->x[i]);
        tern_i4 more = size > top;
        top = pick(more, size, top);
        peak = pick(more, g->x[i], peak);
    }
    return peak;
}

/* Sums over a group of w x q and w q^2, where q are candidate codes. The best scale for the codes is
 * xq / qq, and xq^2 / qq is how much of the weighted square it takes away. */
typedef struct fit {
    tern_f4 xq, qq;
} fit;

static inline fit fit_at(const tern_quad *g, tern_f4 inverse, int half)
{
    fit f = {{0}, {0}};
    for (int i = 0; i < g->n; i++) {
        tern_f4 q = signed_code(inverse * g->x[i], half), w = g->w[i];
        f.xq += w * g->x[i] * q;
        f.qq += w * q * q;
    }
    return f;
}

static inline tern_f4 scale_of(const fit *f)
{
    return pick(f->qq > 0.0f, f->xq / f->qq, tern_splat(0.0f));
}

tern_f4 tern_quad_scale(tern_quad *g, int half)
{
    tern_f4 peak = peak_of(g), inverse = (float)-half / peak;
    tern_i4 empty = size_of(peak) < SMALLEST;
    fit f = fit_at(g, inverse, half);
    /* Not scale_of: a sum that is no number passes here. */
    tern_f4 scale = pick(f.qq != 0.0f, f.xq / f.qq, tern_splat(0.0f)), best = scale * f.xq;
    for (int t = -9; t <= 9; t++) {
        tern_f4 other = -((float)half + 0.1f * (float)t) / peak;
        if (t == 0)
            continue;
        f = fit_at(g, other, half);
        tern_i4 better = (f.qq > 0.0f) & (f.xq * f.xq > best * f.qq);
        if (!any(better))
            continue;
        scale = pick(better, f.xq / f.qq, scale);
        best = pick(better, scale * f.xq, best);
        inverse = pick(better, other, inverse);
    }
    for (int i = 0; i < g->n; i++)
        g->code[i] = ~empty & code_of(inverse * g->x[i], -half, 2 * half - 1);
    return pick(empty, tern_splat(0.0f), scale);
}

/* Lets one code of the group go to where the scale of all others would have it, in the lanes where
 * that brings the group nearer. True when a lane changed. */
static inline tern_i4 move_code(fit *f, tern_f4 x, tern_f4 w, tern_f4 *q, int half)
{
    fit rest = {f->xq - w * x * *q, f->qq - w * *q * *q};
    tern_f4 to = signed_code(x * rest.qq / rest.xq, half);
    tern_i4 better = (rest.xq > 0.0f) & (to != *q);
    rest.xq += w * x * to;
    rest.qq += w * to * to;
    better &= (rest.qq > 0.0f) & (rest.xq * rest.xq * f->qq > f->xq * f->xq * rest.qq);
    f->xq = pick(better, rest.xq, f->xq);
    f->qq = pick(better, rest.qq, f->qq);
    *q = pick(better, to, *q);
    return better;
}

tern_f4 tern_quad_descend(tern_quad *g, int half)
{
    enum { PASSES = 5 };
    tern_f4 q[TERN_QUAD_MAX], peak = peak_of(g), inverse = (float)-half / peak;
    tern_i4 empty = size_of(peak) < SMALLEST;
    fit f = fit_at(g, inverse, half);
    for (int i = 0; i < g->n; i++)
        q[i] = signed_code(inverse * g->x[i], half);
    for (int pass = 0; pass < PASSES; pass++) {
        tern_i4 changed = {0};
        for (int i = 0; i < g->n; i++)
            changed |= move_code(&f, g->x[i], g->w[i], &q[i], half);
        if (!any(changed))
            break;
    }
    for (int i = 0; i < g->n; i++)
        g->code[i] = ~empty & (__builtin_convertvector(q[i], tern_i4) + half);
    return pick(empty, tern_splat(0.0f), scale_of(&f));
}

/* Lines x ~ scale * q + low through a group. */
typedef struct line {
    tern_f4 scale, low;
} line;

static inline tern_f4 line_error(const tern_quad *g, const tern_f4 *q, const line *l, bool absolute)
{
    tern_f4 sum = {0};
    for (int i = 0; i < g->n; i++) {
        tern_f4 miss = l->scale * q[i] + l->low - g->x[i];
        sum += g->w[i] * (absolute ? size_of(miss) : miss * miss);
    }
    return sum;
}

/* The line of least weighted squares for the codes at this slope, which are left in q; it starts at
 * or below 0. *exists is false in the lanes whose codes are all the same. */
static inline line line_at(const tern_quad *g, tern_f4 inverse, tern_f4 low, int top, tern_f4 sum_w,
                           tern_f4 sum_x, tern_f4 *q, tern_i4 *exists)
{
    tern_f4 sum_q = {0}, sum_qq = {0}, sum_xq = {0}, zero = {0};
    for (int i = 0; i < g->n; i++) {
        q[i] = floats(code_of(inverse * (g->x[i] - low), 0, top));
        tern_f4 wq = g->w[i] * q[i];
        sum_q += wq;
        sum_qq += wq * q[i];
        sum_xq += wq * g->x[i];
    }
    tern_f4 det = sum_w * sum_qq - sum_q * sum_q;
    line l = {(sum_w * sum_xq - sum_x * sum_q) / det, (sum_qq * sum_x - sum_q * sum_xq) / det};
    tern_i4 above = l.low > 0.0f;
    l.scale = pick(above, sum_xq / sum_qq, l.scale);
    l.low = pick(above, zero, l.low);
    *exists = det > 0.0f;
    return l;
}

tern_f4 tern_quad_line(tern_quad *g, const tern_line_plan *plan, tern_f4 *low)
{
    tern_f4 q[TERN_QUAD_MAX], zero = {0};
    tern_f4 least = g->x[0], most = g->x[0], sum_w = g->w[0], sum_x = g->w[0] * g->x[0];
    for (int i = 1; i < g->n; i++) {
        least = pick(g->x[i] < least, g->x[i], least);
        most = pick(g->x[i] > most, g->x[i], most);
        sum_w += g->w[i];
        sum_x += g->w[i] * g->x[i];
    }
    least = pick(least > 0.0f, zero, least);
    tern_i4 flat = most == least, exists;
    /* Codes are rounded from `from` upwards; it stays that of the best line's codes. */
    tern_f4 inverse = (float)plan->top / (most - least), from = least;
    line best = {1.0f / inverse, least};
    for (int i = 0; i < g->n; i++)
        q[i] = floats(code_of(inverse * (g->x[i] - least), 0, plan->top));
    tern_f4 error = line_error(g, q, &best, plan->absolute);
    for (int t = 0; t <= plan->last; t++) {
        /* Each line found moves the start of those after it. */
        tern_f4 slope = tern_splat(plan->first + plan->step * (float)t + (float)plan->top);
        tern_f4 other = slope / (most - best.low), start = best.low;
        line l = line_at(g, other, start, plan->top, sum_w, sum_x, q, &exists);
        tern_f4 miss = line_error(g, q, &l, plan->absolute);
        tern_i4 better = ~flat & exists & (miss < error);
        error = pick(better, miss, error);
        best.scale = pick(better, l.scale, best.scale);
        best.low = pick(better, l.low, best.low);
        inverse = pick(better, other, inverse);
        from = pick(better, start, from);
    }
    for (int i = 0; i < g->n; i++)
        g->code[i] = ~flat & code_of(inverse * (g->x[i] - from), 0, plan->top);
    *low = -best.low;
    return pick(flat, zero, best.scale);
}

/* Half way between neighbours of the table and up belongs to the upper one. NaN is the last. */
static inline tern_i4 table_code(tern_f4 v, const float *middle)
{
    tern_i4 code = {15, 15, 15, 15};
    for (int i = 0; i < 15; i++)
        code += v < middle[i];
    return code;
}

static inline tern_f4 table_value(tern_f4 v, const float *middle, const int *gap, int last)
{
    tern_i4 value = {last, last, last, last};
    for (int i = 0; i < 15; i++)
        value -= (v < middle[i]) & gap[i];
    return floats(value);
}

tern_f4 tern_quad_table(tern_quad *g, const int8_t values[16], int tries)
{
    float middle[15];
    int gap[15];
    for (int i = 0; i < 15; i++) {
        gap[i] = values[i + 1] - values[i];
        middle[i] = 0.5f * (float)(values[i] + values[i + 1]);
    }
    tern_f4 peak = peak_of(g), scale = {0}, best = {0};
    tern_i4 empty = size_of(peak) < SMALLEST;
    for (int t = -tries - 1; t <= tries; t++) {
        /* The first is another rounding of the candidate t = 0. */
        bool first = t < -tries;
        tern_f4 inverse = first ? 1.0f / (-peak / (float)values[0]) : (float)(t + values[0]) / peak;
        fit f = {{0}, {0}};
        for (int i = 0; i < g->n; i++) {
            tern_f4 q = table_value(inverse * g->x[i], middle, gap, values[15]), w = g->w[i];
            f.xq += w * q * g->x[i];
            f.qq += w * q * q;
        }
        tern_i4 better = f.qq > 0.0f;
        if (!first)
            better &= f.xq * f.xq > best * f.qq;
        scale = pick(better, f.xq / f.qq, scale);
        best = pick(better, scale * f.xq, best);
    }
    scale = pick(empty, tern_splat(0.0f), scale);
    tern_f4 inverse = pick(scale != 0.0f, 1.0f / scale, tern_splat(0.0f));
    for (int i = 0; i < g->n; i++)
        g->code[i] = table_code(inverse * g->x[i], middle);
    return scale;
}

/* Sum of weighted squares of what the codes at this inverse miss. */
static float level_error(const float *x, const float *w, int n, float inverse, int top)
{
    float scale = 1.0f / inverse, sum = 0.0f;
    for (int i = 0; i < n; i++) {
        int q = tern_nearest(inverse * x[i]);
        float miss = x[i] - scale * (float)(q < top ? q : top);
        sum += w[i] * miss * miss;
    }
    return sum;
}

/* One pass of tern_quad_descend's kind over levels; false when no code moved. */
static bool move_levels(const float *x, const float *w, int n, int top, uint8_t *codes, float *xq,
                        float *qq)
{
    bool changed = false;
    for (int i = 0; i < n; i++) {
        float q = (float)codes[i], rest_xq = *xq - w[i] * x[i] * q, rest_qq = *qq - w[i] * q * q;
        if (!(rest_xq > 0.0f && rest_qq > 0.0f))
            continue;
        int to = tern_nearest(x[i] * rest_qq / rest_xq);
        to = to < top ? to : top;
        if (to == codes[i])
            continue;
        rest_xq += w[i] * x[i] * (float)to;
        rest_qq += w[i] * (float)to * (float)to;
        if (rest_xq * rest_xq * *qq > *xq * *xq * rest_qq) {
            codes[i] = (uint8_t)to;
            *xq = rest_xq;
            *qq = rest_qq;
            changed = true;
        }
    }
    return changed;
}

float tern_fit_levels(const float *x, const float *w, int n, int top, uint8_t *codes)
{
    enum { TRIES = 4, PASSES = 5 };
    float most = 0.0f, xq = 0.0f, qq = 0.0f;
    for (int i = 0; i < n; i++)
        most = most > x[i] ? most : x[i];
    if (most < SMALLEST) {
        memset(codes, 0, (size_t)n);
        return 0.0f;
    }
    float inverse = (float)top / most, error = level_error(x, w, n, inverse, top);
    for (int t = -TRIES; t <= TRIES; t++) {
        float other = (0.1f * (float)t + (float)top) / most;
        float miss = t == 0 ? error : level_error(x, w, n, other, top);
        if (miss < error) {
            error = miss;
            inverse = other;
        }
    }
    for (int i = 0; i < n; i++) {
        int q = tern_nearest(inverse * x[i]);
        q = q < top ? q : top;
        codes[i] = (uint8_t)q;
        xq += w[i] * x[i] * (float)q;
        qq += w[i] * (float)q * (float)q;
    }
    for (int pass = 0; pass < PASSES; pass++)
        if (!move_levels(x, w, n, top, codes, &xq, &qq))
            break;
    return qq > 0.0f ? xq / qq : 0.0f;
}

static void pack_row(const tern_block32 *f, const float *x, size_t n_block, const float *importance,
                     tern_f4 variance, uint8_t *dst)
{
    enum { ELEMS = 32 };
    tern_quad g;
    uint8_t codes[TERN_QUAD_GROUPS * ELEMS];
    for (size_t i = 0, got; i < n_block; i += got) {
        got = n_block - i < TERN_QUAD_GROUPS ? n_block - i : TERN_QUAD_GROUPS;
        tern_f4 low = {0};
        tern_quad_load(&g, x + i * ELEMS, ELEMS, got);
        if (f->own_variance)
            variance = tern_quad_squares(&g) * (2.0f / (float)ELEMS);
        if (importance)
            tern_quad_weigh(&g, importance + i * ELEMS, got, variance);
        else
            tern_quad_weigh_square(&g);
        tern_f4 scale = f->search(&g, &low);
        tern_quad_codes(&g, got, codes);
        for (size_t k = 0; k < got; k++, dst += f->bytes)
            f->store(dst, scale[k], low[k], codes + k * ELEMS);
    }
}

void tern_block32_pack(const tern_block32 *f, const float *src, size_t rows, size_t cols,
                       const float *importance, uint8_t *dst)
{
    size_t n_block = cols / 32;
    for (size_t row = 0; row < rows; row++, src += cols, dst += n_block * f->bytes) {
        float variance = importance ? tern_sum_squares(src, cols) / (float)cols : 0.0f;
        pack_row(f, src, n_block, importance, tern_splat(variance), dst);
    }
}
