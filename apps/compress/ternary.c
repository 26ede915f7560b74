#include "compress/ternary.h"
#include "tensor/tensor.h"

#include <math.h>
#include <stdlib.h>

float ternary_round(float w, float s)
{
    float a = fabsf(w);
    return s > 0.0f && a > 0.5f * s ? copysignf(s, w) : 0.0f;
}

static int falling(const void *a, const void *b)
{
    const ternary_item *x = a, *y = b;
    return (x->w < y->w) - (x->w > y->w);
}

/* Whichever weights are not 0, they are the largest ones, and their scale is their mean m (weighted); that
 * leaves sum h w^2 - m^2 sum h. So all that is to be found is how many. */
static double best_mean(ternary_item *v, size_t n)
{
    double sum = 0.0, weight = 0.0, best = 0.0, scale = 0.0;
    qsort(v, n, sizeof *v, falling);
    for (size_t i = 0; i < n; i++) {
        sum += (double)v[i].h * (double)v[i].w;
        weight += (double)v[i].h;
        if (weight > 0.0 && sum * sum > best * weight) {
            best = sum * sum / weight;
            scale = sum / weight;
        }
    }
    return scale;
}

float ternary_scale(ternary_method m, const float *w, const float *h, size_t n, bool half,
                    ternary_item *room)
{
    double sum = 0.0, max = 0.0;
    for (size_t i = 0; i < n; i++) {
        double a = fabs((double)w[i]);
        sum += a;
        max = a > max ? a : max;
        if (m >= TERNARY_OPTIMAL)
            room[i] = (ternary_item){(float)a, h ? h[i] : 1.0f};
    }
    if (!isfinite(sum))
        return 0.0f;
    double s = m == TERNARY_ABSMEAN  ? sum / (double)n
               : m == TERNARY_ABSMAX ? max
                                     : best_mean(room, n);
    float f = (float)s;
    return half ? tern_f16_to_f32(tern_f32_to_f16(f)) : f;
}
