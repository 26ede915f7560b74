/* The loops that all block formats of ternary codes share. */
#include "tensor/fmt/fmt.h"

#include <math.h>

void tern_code_values(const uint8_t *codes, size_t n, float scale, float *dst)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = scale * (float)((int)codes[i] - 1);
}

/* A shift by an amount that is not constant has no vectors of bytes, so it is a product in 16 bits. */
void tern_code_pairs(const uint8_t *restrict q, size_t n, unsigned shift, uint8_t *restrict codes)
{
    uint16_t up = (uint16_t)(256 >> shift);
    for (size_t i = 0; i < n; i++)
        codes[i] = (uint8_t)((uint16_t)(no_threes(q[i]) * up) >> 8 & 3);
}

void tern_code_row(const tern_code_block *f, const tern_tensor *t, size_t row, float *dst)
{
    uint8_t codes[TERN_CODE_BLOCK_MAX];
    const uint8_t *b = block_row(t, row, f->elems, f->bytes);
    for (size_t i = 0; i < t->ne[0]; i += f->elems, b += f->bytes) {
        f->decode(b, codes);
        tern_code_values(codes, f->elems, load_half(b + f->d_at), dst + i);
    }
}

void tern_code_codes(const tern_code_block *f, const tern_tensor *t, size_t row, uint8_t *codes,
                     float *scales)
{
    const uint8_t *b = block_row(t, row, f->elems, f->bytes);
    for (size_t i = 0; i < t->ne[0]; i += f->elems, b += f->bytes) {
        f->decode(b, codes + i);
        *scales++ = load_half(b + f->d_at);
    }
}

void tern_code_pack(const tern_code_block *f, const float *src, size_t n, uint8_t *dst)
{
    uint8_t codes[TERN_CODE_BLOCK_MAX];
    for (size_t i = 0; i < n; i += f->elems, dst += f->bytes) {
        const float *x = src + i;
        float d = 0.0f;
        for (size_t j = 0; j < f->elems; j++)
            d = fabsf(x[j]) > d ? fabsf(x[j]) : d;
        float id = quant_inverse(d);
        /* |x * id| is at most 1 and a rounding error, so rounding is two comparisons; they also
         * give NaN the code of zero. */
        for (size_t j = 0; j < f->elems; j++)
            codes[j] = (uint8_t)(1 + (x[j] * id >= 0.5f) - (x[j] * id <= -0.5f));
        if (isinf(id))
            memset(codes, f->lost, f->elems);
        f->encode(codes, dst);
        store_half(dst + f->d_at, d);
    }
}
