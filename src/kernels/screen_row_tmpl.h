/* Coding of rows for screening planes (SCREEN_ROW in kernel.h). The file that includes this names the function,
 * SCREEN_ROW_FN, and is built for an instruction set; elementwise float operations and sums in WAYS parts give the
 * same bits with any. */
#include "kernels/kernel.h"

#include <math.h>
#include <string.h>

#define WAYS 8 /* independent sums, for compilers to keep in registers */

static float sum_of(const float *part)
{
    return ((part[0] + part[1]) + (part[2] + part[3])) +
           ((part[4] + part[5]) + (part[6] + part[7]));
}

/* The row without the mean; its largest value of either sign. */
static float take_mean(float *restrict v, const float *restrict mean, int n)
{
    float part[WAYS] = {0}, max = 0;
    int i = 0;
    for (int k = 0; k < n; k++)
        v[k] -= mean[k];
    for (; i + WAYS <= n; i += WAYS)
        for (int j = 0; j < WAYS; j++)
            part[j] = fabsf(v[i + j]) > part[j] ? fabsf(v[i + j]) : part[j];
    for (; i < n; i++)
        part[0] = fabsf(v[i]) > part[0] ? fabsf(v[i]) : part[0];
    for (int j = 0; j < WAYS; j++)
        max = part[j] > max ? part[j] : max;
    return max;
}

/* No less than |v|. */
static float norm_of(const float *v, int n)
{
    float part[WAYS] = {0};
    int i = 0;
    for (; i + WAYS <= n; i += WAYS)
        for (int j = 0; j < WAYS; j++)
            part[j] += v[i + j] * v[i + j];
    for (; i < n; i++)
        part[0] += v[i] * v[i];
    return sqrtf(sum_of(part)) * (1.0f + 0x1p-10f); /* n / 8 additions of positive terms */
}

/* The coarse step for a row v. Of Gaussian values the error is least at 0.34 of their deviation a step, and at 0.42
 * once finer planes have followed, which do not mend what the coarse one clipped. Both are larger where more
 * values lie far out; these figures leave the fewest rows open of SmolLM2 and of Gaussian ones (docs/HEAD.md). */
static float step_of(const float *v, int n, float max)
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
    float step = norm_of(v, n) / sqrtf((float)n) * (steps < 0.6f ? steps : 0.6f);
    return step > max / 7.5f ? max / 7.5f : step;
}

/* Nearest code of 0..15 at t = value / step + 7.5; NaN gives 0. */
static inline float nearest(float t)
{
    t = t > 0.0f ? t : 0.0f;
    t = t < 15.0f ? t : 15.0f;
    return (float)(int)(t + 0.5f);
}

typedef float f32x8 __attribute__((vector_size(32)));
typedef int32_t i32x8 __attribute__((vector_size(32)));

/* Codes of 0..15; v becomes the remainder. By hand, for compilers turn the bounds into jumps, and narrow numbers one by
 * one unless that is a loop of its own. */
static void code4(float *v, int n, float step, uint8_t *codes)
{
    enum { BLOCK = 64 };
    float inverse = step > 0.0f ? 1.0f / step : 0.0f;
    const i32x8 top = (i32x8)((f32x8){0} + 15.0f);
    int32_t wide[BLOCK];
    int i = 0;
    for (; i + BLOCK <= n; i += BLOCK) {
        for (int j = 0; j < BLOCK; j += 8) {
            f32x8 x, t;
            memcpy(&x, v + i + j, sizeof x);
            t = x * inverse + 7.5f;
            t = (f32x8)((i32x8)t & (t > 0.0f));
            t = (f32x8)(((i32x8)t & (t < 15.0f)) | (top & ~(t < 15.0f)));
            i32x8 c = __builtin_convertvector(t + 0.5f, i32x8);
            x -= (__builtin_convertvector(c, f32x8) - 7.5f) * step;
            memcpy(v + i + j, &x, sizeof x);
            memcpy(wide + j, &c, sizeof c);
        }
        for (int j = 0; j < BLOCK; j++)
            codes[i + j] = (uint8_t)wide[j];
    }
    for (; i < n; i++) {
        float c = nearest(v[i] * inverse + 7.5f);
        v[i] -= (c - 7.5f) * step;
        codes[i] = (uint8_t)(int)c;
    }
}

/* The same, of which signs are kept. */
static void code1(float *restrict v, int n, float step, uint8_t *restrict codes)
{
    for (int i = 0; i < n; i++) {
        codes[i] = v[i] > 0.0f;
        v[i] -= v[i] > 0.0f ? step : -step;
    }
}

/* |coarse row|, of steps of two. */
static float size_of(const uint8_t *codes, int n, float scale)
{
    int32_t sum = 0; /* TERN_SCREEN_MAX_COLS * 15^2 fit */
    for (int i = 0; i < n; i++) {
        int v = 2 * codes[i] - 15;
        sum += v * v;
    }
    return scale * sqrtf((float)sum) * (1.0f + 0x1p-20f);
}

/* |D v| for the remainders v, of which extra ones are in kept. */
static float radius_of(const tern_screen_row *k, const float *kept)
{
    for (int j = 0; j < k->n_extra; j++)
        k->v[k->extra[j]] = kept[j] * 16.0f;
    return norm_of(k->v, k->n);
}

void SCREEN_ROW_FN(tern_screen_row *k)
{
    int n = k->n;
    float kept[TERN_SCREEN_MAX_EXTRA], max = take_mean(k->v, k->mean, n);
    k->step = step_of(k->v, n, max);
    code4(k->v, n, k->step, k->codes);
    /* Columns of extra have two more codes each; they do not take part in finer planes, whose codes have no zero. */
    for (int j = 0; j < k->n_extra; j++) {
        kept[j] = k->v[k->extra[j]];
        code4(&kept[j], 1, k->step, &k->codes[n + 2 * j]);
        code4(&kept[j], 1, k->step / 16.0f, &k->codes[n + 2 * j + 1]);
    }
    k->size = size_of(k->codes, n + 2 * k->n_extra, k->step / 2);
    k->radius[0] = radius_of(k, kept);
    for (int i = 0; i < k->n_fine; i++) {
        code1(k->v, n, k->step / (float)(4 << i), k->signs);
        tern_n1_pack_row(k->signs, n, k->fine[i]);
        k->radius[1 + i] = radius_of(k, kept);
    }
}
