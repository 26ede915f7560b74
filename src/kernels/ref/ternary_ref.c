/* Reference kernels of ternary matrices and of the int8 activations they read; the contracts are in
 * kernel.h. */
#include "kernels/kernel.h"

#include <math.h>
#include <string.h>

/* Column k of row r of a stripe. */
static int code_at(const uint8_t *stripe, int r, int k)
{
    return stripe[(size_t)(k / 16) * 64 + 4 * r + k % 4] >> (2 * (k % 16 / 4)) & 3;
}

/* Exact: |acc| <= 3 * 128 * cols < 2^31 for cols <= 2^22. */
void tern_mm_t2r16_ref(const tern_mm *k, int row0, int row1)
{
    for (int t = 0; t < k->n_tok; t++) {
        const int8_t *q = k->act.q + (size_t)t * k->act.stride;
        float *y = k->y + (size_t)t * k->y_stride;
        for (int r = row0; r < row1; r++) {
            const uint8_t *stripe = k->w + (size_t)(r / 16) * k->w_stride;
            int32_t acc = -k->act.sum[t];
            for (int c = 0; c < k->cols; c++)
                acc += code_at(stripe, r % 16, c) * q[c];
            y[r] = ((float)acc / k->act.scale[t]) * k->scale[r];
        }
    }
}

void tern_mm_t2g_ref(const tern_mm *k, int row0, int row1)
{
    int n_group = (k->cols + k->group - 1) / k->group;
    for (int t = 0; t < k->n_tok; t++) {
        const int8_t *q = k->act.q + (size_t)t * k->act.stride;
        const float *d = k->act.scale + (size_t)t * (k->act.stride / 32);
        const int32_t *bsum = k->act.sum + (size_t)t * (k->act.stride / 16);
        float *y = k->y + (size_t)t * k->y_stride;
        for (int r = row0; r < row1; r++) {
            const uint8_t *stripe = k->w + (size_t)(r / 16) * k->w_stride;
            const float *gscale = k->gscale + (size_t)(r / 16) * (size_t)n_group * 16 + r % 16;
            float sum = 0;
            for (int g = 0; g < n_group; g++) {
                float part = 0;
                for (int c = g * k->group; c < (g + 1) * k->group && c < k->cols; c += 32) {
                    int32_t a = -(bsum[c / 16] + bsum[c / 16 + 1]);
                    for (int i = c; i < c + 32; i++) /* q past cols is 0 */
                        a += code_at(stripe, r % 16, i) * q[i];
                    part += (float)a * d[c / 32];
                }
                sum += part * gscale[(size_t)g * 16];
            }
            y[r] = sum;
        }
    }
}

/* Written so that NaN fails the first comparison. */
static int8_t to_i8(float v)
{
    v = rintf(v);
    v = v > -127 ? v : -127;
    return (int8_t)(v < 127 ? v : 127);
}

void tern_quant_a8t_ref(const tern_quant *k, int tok0, int tok1)
{
    for (int t = tok0; t < tok1; t++) {
        const float *x = k->x + (size_t)t * k->x_stride;
        int8_t *q = k->act.q + (size_t)t * k->act.stride;
        float m = 1e-5f;
        for (int i = 0; i < k->cols; i++)
            if (fabsf(x[i]) > m)
                m = fabsf(x[i]);
        float s = 127.0f / m;
        int32_t sum = 0;
        for (int i = 0; i < k->cols; i++) {
            q[i] = to_i8(x[i] * s);
            sum += q[i];
        }
        memset(q + k->cols, 0, k->act.stride - (size_t)k->cols);
        k->act.scale[t] = s;
        k->act.sum[t] = sum;
    }
}

static void quant_block(const float *x, int n, int8_t *q, float *d, int32_t *bsum16)
{
    float m = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > m)
            m = fabsf(x[i]);
    float inverse = 127.0f / m;
    if (!isfinite(inverse))
        inverse = 0;
    bsum16[0] = bsum16[1] = 0;
    for (int i = 0; i < 32; i++) {
        q[i] = i < n ? to_i8(x[i] * inverse) : 0;
        bsum16[i / 16] += q[i];
    }
    *d = m / 127.0f;
}

void tern_quant_a8b_ref(const tern_quant *k, int tok0, int tok1)
{
    for (int t = tok0; t < tok1; t++) {
        const float *x = k->x + (size_t)t * k->x_stride;
        int8_t *q = k->act.q + (size_t)t * k->act.stride;
        float *d = k->act.scale + (size_t)t * (k->act.stride / 32);
        int32_t *bsum = k->act.sum + (size_t)t * (k->act.stride / 16);
        for (int i = 0; i < (int)k->act.stride; i += 32) {
            int n = k->cols - i;
            quant_block(x + i, n < 0 ? 0 : n > 32 ? 32 : n, q + i, &d[i / 32], &bsum[i / 16]);
        }
    }
}
