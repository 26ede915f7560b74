/* Ternary matrices as Hugging Face folders hold them; the scale lies outside of the data (tern_tensor).
 *
 *   HF_PACKED    two-bit codes of four rows a quarter of the matrix apart (transformers,
 *                integrations/bitnet.py): byte r ne0 + c  | 7..6: row r + 3 q | 5..4: r + 2 q |
 *                3..2: r + q | 1..0: row r |  with q = ne1 / 4; code 3 is never written
 *   F32_MASTER   what training kept, ternarised when it is read as training does:
 *   F16_MASTER   s = 1 / mean |x|, code = clamp(round half to even(x s), -1, 1) + 1, value (code - 1) / s
 *   BF16_MASTER  (arXiv 2402.17764, "absmean") */
#include "tensor/fmt/fmt.h"

#include <math.h>

enum { SPAN = 256 };

void tern_hf_packed_unpack_codes(const tern_tensor *t, size_t row, uint8_t *codes, float *scales)
{
    size_t quarter = t->ne[1] / 4, n = t->ne[0];
    tern_code_pairs(t->data + row % quarter * n, n, 2 * (unsigned)(row / quarter), codes);
    *scales = t->scale;
}

void tern_hf_packed_unpack_row(const tern_tensor *t, size_t row, float *dst)
{
    uint8_t codes[SPAN];
    size_t quarter = t->ne[1] / 4;
    const uint8_t *q = t->data + row % quarter * t->ne[0];
    for (size_t i = 0, n; i < t->ne[0]; i += n) {
        n = t->ne[0] - i < SPAN ? t->ne[0] - i : SPAN;
        tern_code_pairs(q + i, n, 2 * (unsigned)(row / quarter), codes);
        tern_code_values(codes, n, t->scale, dst + i);
    }
}

typedef void (*row_fn)(const tern_tensor *t, size_t row, float *dst);

/* The row in pieces, as views that begin where the piece does. */
static void master_codes(const tern_tensor *t, size_t row, size_t bytes, row_fn unpack,
                         uint8_t *codes)
{
    float x[SPAN];
    tern_tensor piece = *t;
    for (size_t i = 0; i < t->ne[0]; i += piece.ne[0]) {
        piece.ne[0] = t->ne[0] - i < SPAN ? t->ne[0] - i : SPAN;
        piece.data = t->data + (row * t->ne[0] + i) * bytes;
        unpack(&piece, 0, x);
        for (size_t j = 0; j < piece.ne[0]; j++) {
            float v = x[j] * t->scale;
            /* Rounded to even, halves go to 0; NaN becomes 0 as well. */
            codes[i + j] = (uint8_t)(1 + (v > 0.5f) - (v < -0.5f));
        }
    }
}

static void master_row(const tern_tensor *t, size_t row, row_fn unpack, float *dst)
{
    float scale = 1.0f / t->scale;
    unpack(t, row, dst);
    for (size_t i = 0; i < t->ne[0]; i++) {
        float v = dst[i] * t->scale;
        dst[i] = scale * (float)((v > 0.5f) - (v < -0.5f));
    }
}

#define MASTER(name, bytes)                                                                        \
    void tern_##name##_master_unpack_codes(const tern_tensor *t, size_t row, uint8_t *codes,       \
                                           float *scales)                                          \
    {                                                                                              \
        master_codes(t, row, bytes, tern_##name##_unpack_row, codes);                              \
        *scales = 1.0f / t->scale;                                                                 \
    }                                                                                              \
    void tern_##name##_master_unpack_row(const tern_tensor *t, size_t row, float *dst)             \
    {                                                                                              \
        master_row(t, row, tern_##name##_unpack_row, dst);                                         \
    }
MASTER(f32, TERN_F32_BYTES)
MASTER(f16, TERN_F16_BYTES)
MASTER(bf16, TERN_BF16_BYTES)

bool tern_master_ternarise(tern_tensor *t)
{
    static const struct {
        tern_dtype of, master;
        row_fn unpack;
    } kinds[] = {
        {TERN_DT_F32, TERN_DT_F32_MASTER, tern_f32_unpack_row},
        {TERN_DT_F16, TERN_DT_F16_MASTER, tern_f16_unpack_row},
        {TERN_DT_BF16, TERN_DT_BF16_MASTER, tern_bf16_unpack_row},
    };
    float x[SPAN];
    double sum = 0.0;
    size_t kind = 0, n = t->ne[0] * tern_tensor_rows(t);
    while (kind < 3 && kinds[kind].of != t->dtype)
        kind++;
    if (kind == 3)
        return false;
    tern_tensor piece = *t;
    piece.ne[1] = piece.ne[2] = piece.ne[3] = 1;
    for (size_t i = 0; i < n; i += piece.ne[0]) {
        double part[4] = {0};
        piece.ne[0] = n - i < SPAN ? n - i : SPAN;
        kinds[kind].unpack(&piece, 0, x);
        for (size_t j = 0; j < piece.ne[0]; j++)
            part[j % 4] += (double)fabsf(x[j]);
        sum += (part[0] + part[1]) + (part[2] + part[3]);
        piece.data += piece.ne[0] * (t->bytes / n);
    }
    float mean = (float)(sum / (double)n);
    if (!isfinite(mean))
        return false;
    t->scale = 1.0f / (mean > 1e-5f ? mean : 1e-5f);
    t->dtype = kinds[kind].master;
    return true;
}
