/* The base-3, row-major and column-major layouts of kernel.h: sizes, packing and its inverse. */
#include "kernels/kernel.h"

#include <string.h>

static size_t blocks(size_t n, size_t of)
{
    return (n + of - 1) / of;
}

/* ---- T3R16 -------------------------------------------------------------------------------- */

size_t tern_t3_stripe_bytes(int cols)
{
    return blocks((size_t)cols, 20) * 64;
}

size_t tern_t3_bytes(int rows, int cols)
{
    return blocks((size_t)rows, 16) * tern_t3_stripe_bytes(cols) + 64;
}

/* Byte of each of the 243 numbers that five trits make. */
#define FRACTION(v) ((v) == 0 ? 1 : ((v)*256 + 242) / 243)
#define F3(v)       FRACTION(v), FRACTION((v) + 1), FRACTION((v) + 2)
#define F9(v)       F3(v), F3((v) + 3), F3((v) + 6)
#define F27(v)      F9(v), F9((v) + 9), F9((v) + 18)
#define F81(v)      F27(v), F27((v) + 27), F27((v) + 54)
static const uint8_t fraction[243] = {F81(0), F81(81), F81(162)};

/* Four columns at once: numbers up to 242 stay in their bytes. */
static void pack_20(const uint8_t *codes, uint8_t *to)
{
    uint32_t c[5], v;
    memcpy(c, codes, sizeof c);
    v = (((c[0] * 3 + c[1]) * 3 + c[2]) * 3 + c[3]) * 3 + c[4];
    v = fraction[v & 255] | (uint32_t)fraction[v >> 8 & 255] << 8 |
        (uint32_t)fraction[v >> 16 & 255] << 16 | (uint32_t)fraction[v >> 24] << 24;
    memcpy(to, &v, sizeof v);
}

void tern_t3_pack_stripe(const uint8_t *codes, size_t codes_stride, int cols, uint8_t *stripe)
{
    size_t n = (size_t)cols / 20, rest = (size_t)cols % 20;
    for (size_t r = 0; r < 16; r++) {
        const uint8_t *c = codes + r * codes_stride;
        for (size_t b = 0; b < n; b++)
            pack_20(c + 20 * b, stripe + 64 * b + 4 * r);
        if (rest) {
            uint8_t last[20];
            memset(last, 1, sizeof last);
            memcpy(last, c + 20 * n, rest);
            pack_20(last, stripe + 64 * n + 4 * r);
        }
    }
}

void tern_t3_unpack_stripe(const uint8_t *stripe, int cols, uint8_t *codes, size_t codes_stride)
{
    for (int b = 0; b * 20 < cols; b++)
        for (int r = 0; r < 16; r++) {
            uint8_t *c = codes + (size_t)r * codes_stride + (size_t)b * 20;
            int left = cols - b * 20;
            for (int j = 0; j < 4; j++) {
                uint8_t p = stripe[(size_t)b * 64 + (size_t)(4 * r + j)];
                for (int n = 0; n < 5; n++, p = (uint8_t)(3 * p))
                    if (4 * n + j < left)
                        c[4 * n + j] = (uint8_t)(3 * p >> 8);
            }
        }
}

/* ---- T2R1 --------------------------------------------------------------------------------- */

size_t tern_t2r1_row_bytes(int cols)
{
    return blocks((size_t)cols, 256) * 64;
}

size_t tern_t2r1_bytes(int rows, int cols)
{
    return (size_t)rows * tern_t2r1_row_bytes(cols) + 64;
}

void tern_t2r1_pack_row(const uint8_t *codes, int cols, uint8_t *row)
{
    memset(row, 0x55, tern_t2r1_row_bytes(cols)); /* four codes 1 */
    for (int c = 0; c < cols; c++) {
        uint8_t *b = &row[c / 256 * 64 + c % 64];
        int shift = 2 * (c % 256 / 64);
        *b = (uint8_t)((*b & ~(3 << shift)) | codes[c] << shift);
    }
}

void tern_t2r1_unpack_row(const uint8_t *row, int cols, uint8_t *codes)
{
    for (int c = 0; c < cols; c++)
        codes[c] = row[c / 256 * 64 + c % 64] >> (2 * (c % 256 / 64)) & 3;
}

/* ---- T2C1 --------------------------------------------------------------------------------- */

size_t tern_t2c1_slice_bytes(int cols)
{
    return blocks((size_t)cols, 4) * 4 * 64;
}

size_t tern_t2c1_bytes(int rows, int cols)
{
    return blocks((size_t)rows, 256) * tern_t2c1_slice_bytes(cols) + 64;
}

/* Where row r of a slice is within a column's 64 bytes. */
static size_t byte_of(int r)
{
    return (size_t)(16 * (r / 4 % 4) + 4 * (r / 16 % 4) + r % 4);
}

void tern_t2c1_pack_slice(const uint8_t *codes, size_t codes_stride, int n_row, int cols,
                          uint8_t *slice)
{
    memset(slice, 0x55, tern_t2c1_slice_bytes(cols));
    for (int r = 0; r < n_row; r++) {
        const uint8_t *c = codes + (size_t)r * codes_stride;
        uint8_t *to = slice + byte_of(r);
        int shift = 2 * (r / 64);
        for (int i = 0; i < cols; i++, to += 64)
            *to = (uint8_t)((*to & ~(3 << shift)) | c[i] << shift);
    }
}

void tern_t2c1_unpack_slice(const uint8_t *slice, int n_row, int cols, uint8_t *codes,
                            size_t codes_stride)
{
    for (int r = 0; r < n_row; r++)
        for (int i = 0; i < cols; i++)
            codes[(size_t)r * codes_stride + (size_t)i] =
                slice[(size_t)i * 64 + byte_of(r)] >> (2 * (r / 64)) & 3;
}
