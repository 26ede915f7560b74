/* Norms, rotation, gates and stores: the specification. */
#include "kernels/ref/ref.h"

#include <math.h>

void tern_rmsnorm_ref(const float *x, const float *w, float eps, int n, float *y)
{
    float ss[TERN_LANES] = {0};
    for (int i = 0; i < n; i++)
        ss[i % TERN_LANES] += x[i] * x[i];
    float r = 1.0f / sqrtf(tern_fold_ref(ss) / (float)n + eps);
    for (int i = 0; i < n; i++)
        y[i] = w ? x[i] * r * w[i] : x[i] * r;
}

void tern_rope_ref(float *x, const float *cs, int n_rot, bool neox)
{
    int step = neox ? n_rot / 2 : 1;
    for (int i = 0; i < n_rot / 2; i++) {
        float *p = x + (neox ? i : 2 * i);
        float a = p[0], b = p[step], c = cs[2 * i], s = cs[2 * i + 1];
        p[0] = a * c - b * s;
        p[step] = a * s + b * c;
    }
}

/* The comparison keeps a NaN. */
void tern_relu2_mul_ref(const float *g, const float *u, int n, float *y)
{
    for (int i = 0; i < n; i++) {
        float r = g[i] < 0 ? 0 : g[i];
        y[i] = u ? r * r * u[i] : r * r;
    }
}

void tern_silu_mul_ref(const float *g, const float *u, int n, float *y)
{
    for (int i = 0; i < n; i++) {
        float a = g[i] / (1.0f + tern_exp_ref(-g[i]));
        y[i] = u ? a * u[i] : a;
    }
}

/* 0.5 g (1 + tanh z) = g / (1 + exp(-2z)), which does not cancel for negative g.
 * -2z = g * (-2 sqrt(2/pi) - 2 sqrt(2/pi) 0.044715 g^2). */
void tern_gelu_mul_ref(const float *g, const float *u, int n, float *y)
{
    for (int i = 0; i < n; i++) {
        float z = g[i] * (g[i] * g[i] * -0.07135481f + -1.59576912f);
        float a = g[i] / (1.0f + tern_exp_ref(z));
        y[i] = u ? a * u[i] : a;
    }
}

void tern_add_ref(float *y, const float *x, int n)
{
    for (int i = 0; i < n; i++)
        y[i] += x[i];
}

void tern_scale_add_ref(float *y, float a, const float *x, float b, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = y[i] * a + x[i] * b;
}

void tern_f16_load_ref(const void *x, int n, float *dst)
{
    for (int i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, (const uint8_t *)x + 2 * i, sizeof h);
        dst[i] = tern_f16_to_f32(h);
    }
}

void tern_f16_store_ref(const float *x, int n, uint16_t *dst)
{
    for (int i = 0; i < n; i++)
        dst[i] = tern_f32_to_f16(x[i]);
}

/* The larger of two magnitudes, taken on the bits, where a NaN is above everything. */
static uint32_t max_magnitude(uint32_t top, float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof(u));
    u &= 0x7fffffffu;
    return u > top ? u : top;
}

/* What a row of magnitudes up to top is multiplied by to fill +-full, and its step to come back. What is
 * not finite stays so (the step is not finite, the integers are 0); what is too small for full / m to
 * be finite is 0. */
static float step_of(uint32_t top, float full, float *mul)
{
    float m;
    memcpy(&m, &top, sizeof(m));
    *mul = full / m;
    if (isfinite(m) && isfinite(*mul))
        return m / full;
    *mul = 0.0f;
    return isfinite(m) ? 0.0f : m;
}

float tern_kv8_store_ref(const float *x, int n, int8_t *dst)
{
    uint32_t top = 0;
    float mul;
    for (int i = 0; i < n; i++)
        top = max_magnitude(top, x[i]);
    float step = step_of(top, 127.0f, &mul);
    for (int i = 0; i < n; i++)
        dst[i] = mul == 0.0f ? 0 : (int8_t)rintf(x[i] * mul);
    return step;
}

float tern_i16_store_ref(const float *x, const float *mul, int n, int16_t *dst)
{
    uint32_t top = 0;
    float s;
    for (int i = 0; i < n; i++)
        top = max_magnitude(top, mul ? x[i] * mul[i] : x[i]);
    float step = step_of(top, 32767.0f, &s);
    for (int i = 0; i < n; i++)
        dst[i] = s == 0.0f ? 0 : (int16_t)rintf((mul ? x[i] * mul[i] : x[i]) * s);
    return step;
}
