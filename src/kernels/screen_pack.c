#include "kernels/kernel.h"

#include <string.h>

size_t tern_n4_stripe_bytes(int cols)
{
    return ((size_t)cols + 7) / 8 * 64;
}

size_t tern_n4_bytes(int rows, int cols)
{
    return ((size_t)rows + 15) / 16 * tern_n4_stripe_bytes(cols) + 64;
}

void tern_n4_pack_stripe(const uint8_t *codes, size_t codes_stride, int cols, uint8_t *stripe)
{
    memset(stripe, 0, tern_n4_stripe_bytes(cols));
    for (int r = 0; r < 16; r++) {
        const uint8_t *c = codes + (size_t)r * codes_stride;
        uint8_t *out = stripe + 4 * r;
        int i = 0;
        for (; i + 8 <= cols;
             i += 8, out += 64) { /* eight codes at once: two words of four bytes */
            uint32_t low, high;
            memcpy(&low, c + i, 4);
            memcpy(&high, c + i + 4, 4);
            low |= high << 4;
            memcpy(out, &low, 4);
        }
        for (; i < cols; i++)
            out[i % 4] |= (uint8_t)(c[i] << (i % 8 / 4 * 4));
    }
}

size_t tern_n2_row_bytes(int cols)
{
    return ((size_t)cols + 255) / 256 * 64;
}

size_t tern_n2_bytes(int rows, int cols)
{
    return (size_t)rows * tern_n2_row_bytes(cols) + 64;
}

void tern_n2_pack_row(const uint8_t *codes, int cols, uint8_t *row)
{
    memset(row, 0, tern_n2_row_bytes(cols));
    for (int c = 0; c < cols; c += 64) {
        uint8_t *out = row + c / 256 * 64;
        int n = cols - c < 64 ? cols - c : 64, place = c % 256 / 64 * 2;
        for (int i = 0; i < n; i++)
            out[i] |= (uint8_t)(codes[c + i] << place);
    }
}
