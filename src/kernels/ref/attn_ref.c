/* Attention of one query head over one tile of positions: the specification. */
#include "kernels/ref/ref.h"

#include <math.h>

void tern_qk_f32_ref(const tern_attn_tile *t, const float *q, float scale, float *score)
{
    const float *kv = t->kv;
    for (int j = 0; j < t->n_pos; j++) {
        const float *k = kv + (size_t)j * t->stride;
        float acc[TERN_LANES] = {0};
        for (int d = 0; d < t->d_head; d++)
            acc[d % TERN_LANES] += q[d] * k[d];
        score[j] = tern_fold_ref(acc) * scale;
    }
}

void tern_qk_f16_ref(const tern_attn_tile *t, const float *q, float scale, float *score)
{
    const uint16_t *kv = t->kv;
    for (int j = 0; j < t->n_pos; j++) {
        const uint16_t *k = kv + (size_t)j * t->stride;
        float acc[TERN_LANES] = {0};
        for (int d = 0; d < t->d_head; d++)
            acc[d % TERN_LANES] += q[d] * tern_f16_to_f32(k[d]);
        score[j] = tern_fold_ref(acc) * scale;
    }
}

void tern_av_f32_ref(const tern_attn_tile *t, const float *p, float *acc)
{
    const float *kv = t->kv;
    for (int j = 0; j < t->n_pos; j++)
        for (int d = 0; d < t->d_head; d++)
            acc[d] += p[j] * kv[(size_t)j * t->stride + (size_t)d];
}

void tern_av_f16_ref(const tern_attn_tile *t, const float *p, float *acc)
{
    const uint16_t *kv = t->kv;
    for (int j = 0; j < t->n_pos; j++)
        for (int d = 0; d < t->d_head; d++)
            acc[d] += p[j] * tern_f16_to_f32(kv[(size_t)j * t->stride + (size_t)d]);
}

/* While nothing but -inf has been seen there is nothing to scale by: probabilities are 0. A NaN score is
 * passed over by the maximum and makes its own probability, and with it the sum, NaN. */
float tern_softmax_ref(float *score, int n, float *m, float *l)
{
    float top = *m;
    for (int j = 0; j < n; j++)
        top = score[j] > top ? score[j] : top;
    top += 0.0f; /* one zero, whichever was found first */
    float c = 1.0f, sum[TERN_LANES] = {0};
    float base = top == -INFINITY ? 0.0f : top;
    if (*m != top)
        c = tern_exp_ref(*m - top);
    for (int j = 0; j < n; j++) {
        score[j] = tern_exp_ref(score[j] - base);
        sum[j % TERN_LANES] += score[j];
    }
    *l = *l * c + tern_fold_ref(sum);
    *m = top;
    return c;
}
