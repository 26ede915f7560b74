/* Reference kernels of the screening planes; the contracts are in kernel.h. */
#include "kernels/kernel.h"

static float product(const tern_act12 *a, int t, int32_t hi, int32_t lo, float scale)
{
    return ((float)hi * 256.0f + (float)lo) * a->scale[t] * scale;
}

void tern_screen4_ref(const tern_screen4 *k, int row0, int row1)
{
    for (int t = 0; t < k->n_tok; t++) {
        const int8_t *x_hi = k->act.hi + (size_t)t * k->act.stride;
        const int8_t *x_lo = k->act.lo + (size_t)t * k->act.stride;
        for (int r = row0; r < row1; r++) {
            const uint8_t *w = k->w + (size_t)(r / 16) * k->w_stride + (size_t)(4 * (r % 16));
            int32_t hi = 0, lo = 0;
            for (int c = 0; c < k->cols; c++) {
                int code = w[c / 8 * 64 + c % 4] >> (c % 8 / 4 * 4) & 15;
                hi += (2 * code - 15) * x_hi[c];
                lo += (2 * code - 15) * x_lo[c / 8 * 4 + c % 4] * (1 << c % 8 / 4 * 4);
            }
            k->y[(size_t)t * k->y_stride + (size_t)r] = product(&k->act, t, hi, lo, k->scale[r]);
        }
    }
}

void tern_screen1_ref(const tern_screen1 *k, int i0, int i1)
{
    for (int i = i0; i < i1; i++) {
        const uint8_t *w = k->w + (size_t)k->row[i] * k->w_stride;
        size_t stride = tern_n1_input_stride(k->cols);
        int32_t sum = 0;
        for (int c = 0; c < k->cols; c++)
            sum +=
                (2 * (w[c / 8] >> c % 8 & 1) - 1) * k->x[(size_t)(c % 8) * stride + (size_t)c / 8];
        k->y[i] = (float)sum * k->x_scale * k->scale[k->row[i]];
    }
}
