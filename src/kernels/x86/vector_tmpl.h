/* Norms, rotation, gates and stores on the lanes of one instruction set; see ref/vector_ref.c. Every
 * loop takes 16 elements and ends with the first n of a vector. */
#include <math.h>
#include <string.h>

/* Body for i in steps of 16, with n_lane = min(16, n - i). */
#define FOR_LANES(i, n_lane, n)                                                                    \
    for (int i = 0, n_lane; n_lane = (n)-i < 16 ? (n)-i : 16, n_lane > 0; i += 16)

void LANES_FN(rmsnorm)(const float *x, const float *w, float eps, int n, float *y)
{
    vf ss = vf_zero();
    FOR_LANES(i, m, n)
    {
        vf a = vf_load_n(x + i, m);
        ss = vf_add(ss, vf_mul(a, a));
    }
    vf r = vf_set1(1.0f / sqrtf(vf_fold(ss) / (float)n + eps));
    FOR_LANES(i, m, n)
    {
        vf a = vf_mul(vf_load_n(x + i, m), r);
        vf_store_n(y + i, w ? vf_mul(a, vf_load_n(w + i, m)) : a, m);
    }
}

static void rope_pairs(float *x, const float *cs, int n_rot)
{
    FOR_LANES(i, m, n_rot)
    {
        vf a = vf_load_n(x + i, m), c = vf_load_n(cs + i, m);
        vf b = vf_neg_even(vf_mul(vf_swap_pairs(a), vf_dup_odd(c)));
        vf_store_n(x + i, vf_add(vf_mul(a, vf_dup_even(c)), b), m);
    }
}

static void rope_halves(float *x, const float *cs, int half)
{
    int i = 0;
    for (; i + 16 <= half; i += 16) {
        vf a = vf_load(x + i), b = vf_load(x + half + i), c, s;
        vf_load_pairs(cs + 2 * i, &c, &s);
        vf_store(x + i, vf_sub(vf_mul(a, c), vf_mul(b, s)));
        vf_store(x + half + i, vf_add(vf_mul(a, s), vf_mul(b, c)));
    }
    for (; i < half; i++) {
        float a = x[i], b = x[half + i], c = cs[2 * i], s = cs[2 * i + 1];
        x[i] = a * c - b * s;
        x[half + i] = a * s + b * c;
    }
}

void LANES_FN(rope)(float *x, const float *cs, int n_rot, bool neox)
{
    if (neox)
        rope_halves(x, cs, n_rot / 2);
    else
        rope_pairs(x, cs, n_rot);
}

LANES_INLINE vf relu2(vf g)
{
    vf r = vf_max(vf_zero(), g);
    return vf_mul(r, r);
}

LANES_INLINE vf silu(vf g)
{
    return vf_div(g, vf_add(vf_set1(1.0f), vf_exp(vf_neg(g))));
}

LANES_INLINE vf gelu(vf g)
{
    vf z = vf_add(vf_mul(vf_mul(g, g), vf_set1(-0.07135481f)), vf_set1(-1.59576912f));
    return vf_div(g, vf_add(vf_set1(1.0f), vf_exp(vf_mul(g, z))));
}

#define GLU(name, act)                                                                             \
    void LANES_FN(name)(const float *g, const float *u, int n, float *y)                           \
    {                                                                                              \
        FOR_LANES(i, m, n)                                                                         \
        {                                                                                          \
            vf a = act(vf_load_n(g + i, m));                                                       \
            vf_store_n(y + i, u ? vf_mul(a, vf_load_n(u + i, m)) : a, m);                          \
        }                                                                                          \
    }

GLU(relu2_mul, relu2)
GLU(silu_mul, silu)
GLU(gelu_mul, gelu)

void LANES_FN(add)(float *y, const float *x, int n)
{
    FOR_LANES(i, m, n)
    vf_store_n(y + i, vf_add(vf_load_n(y + i, m), vf_load_n(x + i, m)), m);
}

void LANES_FN(scale_add)(float *y, float a, const float *x, float b, int n)
{
    const vf av = vf_set1(a), bv = vf_set1(b);
    FOR_LANES(i, m, n)
    vf_store_n(y + i, vf_add(vf_mul(vf_load_n(y + i, m), av), vf_mul(vf_load_n(x + i, m), bv)), m);
}

/* One stage inside a vector: the lanes with bit h are subtracted from their partners. */
LANES_INLINE vf butterfly(vf x, const int h)
{
    return vf_add(vf_neg_bit(x, h), vf_swap(x, h));
}

void LANES_FN(hadamard)(float *x, int n)
{
    int size = tern_hadamard_size(n);
    FOR_LANES(i, m, n)
    {
        vf a = vf_load_n(x + i, m);
        a = size > 1 ? butterfly(a, 1) : a;
        a = size > 2 ? butterfly(a, 2) : a;
        a = size > 4 ? butterfly(a, 4) : a;
        a = size > 8 ? butterfly(a, 8) : a;
        vf_store_n(x + i, a, m);
    }
    for (int h = 16; h < size; h *= 2)
        for (int i = 0; i < n; i += 2 * h)
            for (int j = i; j < i + h; j += 16) {
                vf a = vf_load(x + j), b = vf_load(x + j + h);
                vf_store(x + j, vf_add(a, b));
                vf_store(x + j + h, vf_sub(a, b));
            }
}

void LANES_FN(f16_load)(const void *x, int n, float *dst)
{
    FOR_LANES(i, m, n)
    vf_store_n(dst + i, vf_load_n_f16((const uint8_t *)x + 2 * i, m), m);
}

void LANES_FN(f16_store)(const float *x, int n, uint16_t *dst)
{
    FOR_LANES(i, m, n)
    vf_store_f16_n(dst + i, vf_load_n(x + i, m), m);
}

/* See step_of in ref/vector_ref.c. */
LANES_INLINE float step_of(vf top, float full, float *mul)
{
    uint32_t bits = vf_fold_max_bits(top);
    float m;
    memcpy(&m, &bits, sizeof m);
    *mul = full / m;
    if (isfinite(m) && isfinite(*mul))
        return m / full;
    *mul = 0.0f;
    return isfinite(m) ? 0.0f : m;
}

float LANES_FN(kv8_store)(const float *x, int n, int8_t *dst)
{
    vf top = vf_zero();
    float s;
    FOR_LANES(i, m, n)
    top = vf_max_abs_bits(top, vf_load_n(x + i, m));
    float step = step_of(top, 127.0f, &s);
    if (s == 0.0f)
        memset(dst, 0, (size_t)n);
    else
        FOR_LANES(i, m, n)
    vf_store_i8_n(dst + i, vf_mul(vf_load_n(x + i, m), vf_set1(s)), m);
    return step;
}

/* x[i..) * mul[i..), m of them */
LANES_INLINE vf product_n(const float *x, const float *mul, int i, int m)
{
    vf v = vf_load_n(x + i, m);
    return mul ? vf_mul(v, vf_load_n(mul + i, m)) : v;
}

float LANES_FN(i16_store)(const float *x, const float *mul, int n, int16_t *dst)
{
    vf top = vf_zero();
    float s;
    FOR_LANES(i, m, n)
    top = vf_max_abs_bits(top, product_n(x, mul, i, m));
    float step = step_of(top, 32767.0f, &s);
    if (s == 0.0f)
        memset(dst, 0, (size_t)n * sizeof *dst);
    else
        FOR_LANES(i, m, n)
    vf_store_i16_n(dst + i, vf_mul(product_n(x, mul, i, m), vf_set1(s)), m);
    return step;
}
