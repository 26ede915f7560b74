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

size_t tern_n1_row_bytes(int cols)
{
    return ((size_t)cols + 63) / 64 * 8;
}

size_t tern_n1_bytes(int rows, int cols)
{
    return (size_t)rows * tern_n1_row_bytes(cols) + 64;
}

size_t tern_n1_input_stride(int cols)
{
    return (tern_n1_row_bytes(cols) + 63) / 64 * 64;
}

/* Eight codes of 0 or 1, a byte each, lowest first -> eight bits: the factor brings bit 8 i to bit 56 + i, and
 * what else it makes stays below or beyond. */
static uint8_t bits_of(const uint8_t *codes)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++) /* one load, where bytes are in this order */
        v |= (uint64_t)codes[i] << 8 * i;
    return (uint8_t)(v * 0x0102040810204080u >> 56);
}

void tern_n1_pack_row(const uint8_t *codes, int cols, uint8_t *row)
{
    int c = 0;
    memset(row, 0, tern_n1_row_bytes(cols));
    for (; c + 8 <= cols; c += 8)
        row[c / 8] = bits_of(codes + c);
    for (; c < cols; c++)
        row[c / 8] |= (uint8_t)(codes[c] << c % 8);
}
