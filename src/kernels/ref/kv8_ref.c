/* Attention over int8 pages: the specification, and the one place that writes a page. */
#include "kernels/ref/ref.h"

#define POS TERN_KV8_POS

static size_t k_at(int j, int d)
{
    return (size_t)(d / 2 * 2 * POS + 2 * j + d % 2);
}

static size_t v_at(int j, int d, int d_head)
{
    int d0 = d / 64 * 64, w = (d_head + 15) / 16 * 16 - d0;
    return (size_t)(POS * d0 + j / 2 * 2 * (w < 64 ? w : 64) + 2 * (d - d0) + j % 2);
}

void tern_kv8_put_k(int8_t *page, int j, const int8_t *row, int d_head)
{
    for (int d = 0; d < d_head; d += 2) /* d_head is even */
        memcpy(page + k_at(j, d), row + d, 2);
}

void tern_kv8_put_v(int8_t *page, int j, const int8_t *row, int d_head)
{
    for (int d0 = 0; d0 < d_head; d0 += 64) {
        int8_t *to = page + v_at(j, d0, d_head);
        for (int d = 0; d < 64 && d0 + d < d_head; d++)
            to[2 * d] = row[d0 + d];
    }
}

void tern_hadamard_ref(float *x, int n)
{
    for (int h = 1; h < tern_hadamard_size(n); h *= 2)
        for (int i = 0; i < n; i++)
            if (i % (2 * h) < h) {
                float a = x[i], b = x[i + h];
                x[i] = a + b;
                x[i + h] = a - b;
            }
}

void tern_qk_i8_ref(const tern_kv8 *k)
{
    for (int i = 0; i < k->n_q; i++) {
        const int16_t *x = k->x + (size_t)i * k->x_stride;
        float *y = k->y + (size_t)i * k->y_stride;
        for (int j = 0; j < k->n_pos; j++) {
            int32_t sum = 0;
            for (int d = 0; d < k->d_head; d++)
                sum += x[d] * k->page[j / POS][k_at(j % POS, d)];
            y[j] = (float)sum * k->scale[j] * k->x_scale[i];
        }
    }
}

void tern_av_i8_ref(const tern_kv8 *k)
{
    for (int i = 0; i < k->n_q; i++) {
        const int16_t *x = k->x + (size_t)i * k->x_stride;
        float *y = k->y + (size_t)i * k->y_stride;
        for (int d = 0; d < k->d_head; d++) {
            int32_t sum = 0;
            for (int j = 0; j < k->n_pos; j++)
                sum += x[j] * k->page[j / POS][v_at(j % POS, d, k->d_head)];
            y[d] = y[d] * k->c[i] + (float)sum * k->x_scale[i];
        }
    }
}
