/* F32, F16, BF16: plain little-endian elements. */
#include "tensor/fmt/fmt.h"

static const uint8_t *elem_row(const tern_tensor *t, size_t row, size_t bytes)
{
    return t->data + row * t->ne[0] * bytes;
}

void tern_f32_unpack_row(const tern_tensor *t, size_t row, float *restrict dst)
{
    const uint8_t *src = elem_row(t, row, TERN_F32_BYTES);
    for (size_t i = 0, n = t->ne[0]; i < n; i++)
        dst[i] = tern_bits_f32(load32(src + 4 * i));
}

void tern_f16_unpack_row(const tern_tensor *t, size_t row, float *restrict dst)
{
    const uint8_t *src = elem_row(t, row, TERN_F16_BYTES);
    for (size_t i = 0, n = t->ne[0]; i < n; i++)
        dst[i] = load_half(src + 2 * i);
}

void tern_bf16_unpack_row(const tern_tensor *t, size_t row, float *restrict dst)
{
    const uint8_t *src = elem_row(t, row, TERN_BF16_BYTES);
    for (size_t i = 0, n = t->ne[0]; i < n; i++)
        dst[i] = tern_bhalf_f32(load16(src + 2 * i));
}

void tern_f32_pack(const float *src, size_t rows, size_t cols, const float *importance,
                   uint8_t *restrict dst)
{
    (void)importance;
    for (size_t i = 0, n = rows * cols; i < n; i++)
        store32(dst + 4 * i, tern_f32_bits(src[i]));
}

void tern_f16_pack(const float *src, size_t rows, size_t cols, const float *importance,
                   uint8_t *restrict dst)
{
    (void)importance;
    for (size_t i = 0, n = rows * cols; i < n; i++)
        store_half(dst + 2 * i, src[i]);
}

void tern_bf16_pack(const float *src, size_t rows, size_t cols, const float *importance,
                    uint8_t *restrict dst)
{
    (void)importance;
    for (size_t i = 0, n = rows * cols; i < n; i++)
        store16(dst + 2 * i, tern_f32_bhalf(src[i]));
}
