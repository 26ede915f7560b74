/* Matrices in file order, the specification: y[t][r] = row r . token t in the LANES shape. */
#include "kernels/ref/ref.h"
#include "kernels/rows.h"

#include <string.h>

static float block_dot(const tern_row_slot *s, const tern_mm *k, int t)
{
    const int8_t *q = k->act.q + (size_t)t * k->act.stride;
    const float *d = k->act.scale + (size_t)t * (k->act.stride / 32);
    float acc[TERN_LANES] = {0};
    for (int c = 0; c < k->cols; c += 4) {
        int32_t i = 0;
        for (int j = 0; j < 4; j++)
            i += s->v[c + j] * q[c + j];
        acc[c / 4 % TERN_LANES] += (float)i * (s->scale16[c / 16] * d[c / 32]);
    }
    return tern_fold_ref(acc);
}

static float min_dot(const tern_row_slot *s, const tern_mm *k, int t)
{
    const float *d = k->act.scale + (size_t)t * (k->act.stride / 32);
    const int32_t *bsum16 = k->act.sum + (size_t)t * (k->act.stride / 16);
    float mac[TERN_LANES] = {0};
    for (int g = 0; g < k->cols / 16; g++)
        mac[g % TERN_LANES] += s->min16[g] * (d[g / 2] * (float)bsum16[g]);
    return tern_fold_ref(mac);
}

/* W_ROWS, BLOCK class with A8B activations. Exact integers: |i| <= 4 * 128 * 127. */
void tern_mm_block_ref(const tern_mm *k, int row0, int row1)
{
    tern_expand_fn expand = tern_expand_ref(k->dtype);
    bool has_min = tern_expand_has_min(k->dtype);
    tern_row_slot s = tern_row_slot_get(k->scratch, k->cols, 0);
    for (int r = row0; r < row1; r++) {
        expand(k->w + (size_t)r * k->w_stride, k->cols, s.v, s.scale16, s.min16);
        for (int t = 0; t < k->n_tok; t++) {
            float y = block_dot(&s, k, t);
            if (has_min)
                y += min_dot(&s, k, t);
            k->y[(size_t)t * k->y_stride + (size_t)r] = y;
        }
    }
}

static float f32_at(const uint8_t *p)
{
    float f;
    memcpy(&f, p, sizeof(f));
    return f;
}

static float f16_at(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof(h));
    return tern_f16_to_f32(h);
}

static float bf16_at(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof(h));
    return tern_bf16_to_f32(h);
}

static void mm_float(const tern_mm *k, int row0, int row1, size_t size,
                     float (*at)(const uint8_t *))
{
    for (int r = row0; r < row1; r++) {
        const uint8_t *w = k->w + (size_t)r * k->w_stride;
        for (int t = 0; t < k->n_tok; t++) {
            const float *x = k->x + (size_t)t * k->x_stride;
            float acc[TERN_LANES] = {0};
            for (int c = 0; c < k->cols; c++)
                acc[c % TERN_LANES] += at(w + (size_t)c * size) * x[c];
            k->y[(size_t)t * k->y_stride + (size_t)r] = tern_fold_ref(acc);
        }
    }
}

void tern_mm_f32_ref(const tern_mm *k, int row0, int row1)
{
    mm_float(k, row0, row1, 4, f32_at);
}

void tern_mm_f16_ref(const tern_mm *k, int row0, int row1)
{
    mm_float(k, row0, row1, 2, f16_at);
}

void tern_mm_bf16_ref(const tern_mm *k, int row0, int row1)
{
    mm_float(k, row0, row1, 2, bf16_at);
}
