/* The 2-bit stripe layout of kernel.h: sizes, packing and its inverse. Four codes of one column quad
 * move at once: a byte holds at most 3, so shifts by up to 6 stay inside their byte. */
#include "kernels/kernel.h"

#include <string.h>

static size_t pad(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

size_t tern_t2_stripe_bytes(int cols)
{
    return pad((size_t)cols, 64) * 4;
}

size_t tern_t2_bytes(int rows, int cols)
{
    return pad((size_t)rows, 16) / 16 * tern_t2_stripe_bytes(cols) + 64;
}

void tern_t2_pack_stripe(const uint8_t *codes, size_t codes_stride, int cols, uint8_t *stripe)
{
    size_t n_vec = pad((size_t)cols, 64) / 16;
    for (size_t r = 0; r < 16; r++) {
        const uint8_t *c = codes + r * codes_stride;
        for (size_t b = 0; b < n_vec; b++) {
            uint32_t p[4];
            memcpy(p, c + 16 * b, sizeof p);
            uint32_t v = p[0] | p[1] << 2 | p[2] << 4 | p[3] << 6;
            memcpy(stripe + 64 * b + 4 * r, &v, sizeof v);
        }
    }
}

void tern_t2_unpack_stripe(const uint8_t *stripe, int cols, uint8_t *codes, size_t codes_stride)
{
    const uint32_t mask = 0x03030303;
    size_t n_vec = pad((size_t)cols, 64) / 16;
    for (size_t r = 0; r < 16; r++) {
        uint8_t *c = codes + r * codes_stride;
        for (size_t b = 0; b < n_vec; b++) {
            uint32_t v;
            memcpy(&v, stripe + 64 * b + 4 * r, sizeof v);
            uint32_t p[4] = {v & mask, v >> 2 & mask, v >> 4 & mask, v >> 6 & mask};
            memcpy(c + 16 * b, p, sizeof p);
        }
    }
}
