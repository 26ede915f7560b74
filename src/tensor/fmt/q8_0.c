/* Q8_0: 32 signed bytes under one scale.
 *
 *   | d f16 | qs[32] i8 |    d * qs[j] */
#include "tensor/fmt/fmt.h"

#include <math.h>

typedef struct block_q8_0 {
    uint8_t d[2];
    int8_t qs[32];
} block_q8_0;
static_assert(sizeof(block_q8_0) == TERN_Q8_0_BYTES, "Q8_0 block");

void tern_q8_0_unpack_row(const tern_tensor *t, size_t row, float *restrict dst)
{
    const block_q8_0 *b = (const void *)block_row(t, row, TERN_Q8_0_ELEMS, sizeof *b);
    for (size_t i = 0; i < t->ne[0]; i += TERN_Q8_0_ELEMS, b++) {
        float d = load_half(b->d);
        for (size_t j = 0; j < TERN_Q8_0_ELEMS; j++)
            dst[i + j] = d * (float)b->qs[j];
    }
}

/* Half away from zero, into [-127, 127]; NaN and infinities give 0 as in quant_trunc. The fraction is
 * exact at this size. */
static inline int8_t round_i8(float v)
{
    v = isfinite(v) ? v : 0.0f;
    v = v >= 127.0f ? 127.0f : v <= -127.0f ? -127.0f : v;
    int whole = (int)v;
    float rest = v - (float)whole;
    return (int8_t)(whole + (rest >= 0.5f) - (rest <= -0.5f));
}

/* The division uses the scale before it is rounded to f16. */
void tern_q8_0_pack(const float *src, size_t rows, size_t cols, const float *importance,
                    uint8_t *dst)
{
    (void)importance;
    block_q8_0 *b = (void *)dst;
    for (size_t i = 0, n = rows * cols; i < n; i += TERN_Q8_0_ELEMS, b++) {
        const float *x = src + i;
        float peak = 0.0f;
        for (size_t j = 0; j < TERN_Q8_0_ELEMS; j++)
            peak = fabsf(x[j]) > peak ? fabsf(x[j]) : peak;
        float d = peak / 127.0f, id = quant_inverse(d);
        store_half(b->d, d);
        for (size_t j = 0; j < TERN_Q8_0_ELEMS; j++)
            b->qs[j] = round_i8(x[j] * id);
    }
}
