/* Reference kernels of the other ternary layouts: base 3, row-major and column-major, and of the lists
 * that say which rows or columns count; the contracts are in kernel.h. */
#include "kernels/kernel.h"

#include <string.h>

static float finish(const tern_mm *k, int t, int r, int32_t acc)
{
    return ((float)(acc - k->act.sum[t]) / k->act.scale[t]) * k->scale[r];
}

/* Trit n of a base-3 byte. */
static int trit_at(uint8_t p, int n)
{
    for (; n > 0; n--)
        p = (uint8_t)(3 * p);
    return 3 * p >> 8;
}

void tern_mm_t3r16_ref(const tern_mm *k, int row0, int row1)
{
    for (int t = 0; t < k->n_tok; t++) {
        const int8_t *q = k->act.q + (size_t)t * k->act.stride;
        for (int r = row0; r < row1; r++) {
            const uint8_t *stripe = k->w + (size_t)(r / 16) * k->w_stride;
            int32_t acc = 0;
            for (int c = 0; c < k->cols; c++)
                acc += trit_at(stripe[(size_t)(c / 20) * 64 + 4 * (r % 16) + c % 4], c % 20 / 4) *
                       q[c];
            k->y[(size_t)t * k->y_stride + r] = finish(k, t, r, acc);
        }
    }
}

/* Sum of code times activation of a row. */
typedef int32_t row_sum_fn(const uint8_t *row, int cols, const int8_t *q);

static int32_t t2r1_sum(const uint8_t *row, int cols, const int8_t *q)
{
    int32_t acc = 0;
    for (int c = 0; c < cols; c++)
        acc += (row[c / 256 * 64 + c % 64] >> (2 * (c % 256 / 64)) & 3) * q[c];
    return acc;
}

static int32_t t3r1_sum(const uint8_t *row, int cols, const int8_t *q)
{
    int32_t acc = 0;
    for (int c = 0; c < cols; c++)
        acc += trit_at(row[c / 320 * 64 + c % 64], c % 320 / 64) * q[c];
    return acc;
}

static void row_major(const tern_mm *k, int row0, int row1, row_sum_fn *sum)
{
    int n = k->list ? k->n_list : row1 - row0;
    for (int t = 0; t < k->n_tok; t++) {
        const int8_t *q = k->act.q + (size_t)t * k->act.stride;
        for (int i = 0; i < n; i++) {
            int r = k->list ? k->list[i] : row0 + i;
            int32_t acc = sum(k->w + (size_t)r * k->w_stride, k->cols, q);
            k->y[(size_t)t * k->y_stride + r] = finish(k, t, r, acc);
        }
    }
}

void tern_mm_t2r1_ref(const tern_mm *k, int row0, int row1)
{
    row_major(k, row0, row1, t2r1_sum);
}

void tern_mm_t3r1_ref(const tern_mm *k, int row0, int row1)
{
    row_major(k, row0, row1, t3r1_sum);
}

/* The column-major layouts: a byte has a row of each plane, four of two bits or five trits. */
enum { TWO_BITS = 4, TRITS = 5 };

/* Code of a row of a slice in the bytes of one column. */
static int slice_code(int planes, const uint8_t *col, int r)
{
    int h = r / 64 / planes, p = r / 64 % planes, i = r / 16 % 4, l = r / 4 % 4, j = r % 4;
    uint8_t byte = col[64 * h + 16 * l + 4 * i + j];
    return planes == TRITS ? trit_at(byte, p) : byte >> (2 * p) & 3;
}

static int32_t own_sum(int planes, const tern_mm *k, int t, const uint8_t *slice, int r)
{
    const tern_own_cols *o = k->own;
    int32_t acc = 0;
    for (int p = 0; p < o->n_part; p++) {
        size_t at = (size_t)t * o->stride + (size_t)p * TERN_T2C1_PART;
        for (int i = 0; i < o->n[t * o->n_part + p]; i++)
            acc +=
                slice_code(planes, slice + (size_t)o->list[at + (size_t)i] * TERN_T2C1_BYTES, r) *
                o->q[at + (size_t)i];
    }
    return acc;
}

static void mm_cols(int planes, const tern_mm *k, int row0, int row1)
{
    const int slice_rows = TERN_T2C1_BYTES * planes;
    int n = k->own ? 0 : k->list ? k->n_list : k->cols;
    for (int t = 0; t < k->n_tok; t++) {
        const int8_t *q = k->act.q + (size_t)t * k->act.stride;
        for (int r = row0; r < row1; r++) {
            const uint8_t *slice = k->w + (size_t)(r / slice_rows) * k->w_stride;
            int32_t acc = 0;
            for (int i = 0; i < n; i++) {
                int c = k->list ? k->list[i] : i;
                acc +=
                    slice_code(planes, slice + (size_t)c * TERN_T2C1_BYTES, r % slice_rows) * q[c];
            }
            if (k->own)
                acc = own_sum(planes, k, t, slice, r % slice_rows);
            if (k->acc)
                acc = k->acc[(size_t)t * k->acc_stride + r] += acc;
            if (k->y)
                k->y[(size_t)t * k->y_stride + r] = finish(k, t, r, acc);
        }
    }
}

void tern_mm_t2c1_ref(const tern_mm *k, int row0, int row1)
{
    mm_cols(TWO_BITS, k, row0, row1);
}

void tern_mm_t3c1_ref(const tern_mm *k, int row0, int row1)
{
    mm_cols(TRITS, k, row0, row1);
}

int tern_list_f32_ref(const float *x, size_t stride, int n_tok, int i0, int i1, int32_t *out)
{
    int n = 0;
    for (int i = i0; i < i1; i++) {
        bool active = false;
        for (int t = 0; t < n_tok; t++)
            active |= !(x[(size_t)t * stride + i] <= 0);
        if (active)
            out[n++] = i;
    }
    return n;
}

int tern_list_i8_ref(const int8_t *q, size_t stride, int n_tok, int i0, int i1, int32_t *out)
{
    int n = 0;
    for (int i = i0; i < i1; i++) {
        bool active = false;
        for (int t = 0; t < n_tok; t++)
            active |= q[(size_t)t * stride + i] != 0;
        if (active)
            out[n++] = i;
    }
    return n;
}
