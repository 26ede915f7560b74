/* The 16-bit float conversions as inline code, for loops over rows; tensor.h has them as functions.
 * Widening, which embedding rows go through, has no table and no branch, so that its loops vectorise.
 * Half subnormals never pass through a float subnormal: the results hold when a thread flushes those
 * to zero. */
#ifndef TERN_TENSOR_HALF_H
#define TERN_TENSOR_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t tern_f32_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float tern_bits_f32(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* a where the condition holds, else b; written so that compilers see no branch in it. */
static inline uint32_t tern_pick(int condition, uint32_t a, uint32_t b)
{
    uint32_t mask = 0u - (uint32_t)condition;
    return (a & mask) | (b & ~mask);
}

static inline float tern_half_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t mag = (uint32_t)(h & 0x7fff) << 13;
    /* Exponent biases are 15 and 127; all ones (31) becomes all ones (255). */
    uint32_t wide = mag + tern_pick(mag >= 31u << 23, 224u << 23, 112u << 23);
    /* A subnormal is m * 2^-24, and 2^-24 is the last place of 0.5. */
    float sub = tern_bits_f32((h & 0x3ff) | 0x3f000000) - 0.5f;
    return tern_bits_f32(tern_pick(mag < 1u << 23, tern_f32_bits(sub), wide) | sign);
}

static inline uint16_t tern_f32_half(float f)
{
    uint32_t u = tern_f32_bits(f), sign = u >> 16 & 0x8000, mag = u & 0x7fffffff;
    uint32_t normal = (mag - (112u << 23) + 0xfff + (mag >> 13 & 1)) >> 13;
    /* Below 2^-14 the adder does the rounding: the sum's last place is 2^-24. */
    uint32_t sub = tern_f32_bits(tern_bits_f32(mag) + 0.5f) - 0x3f000000;
    uint32_t r = mag < 0x38800000 ? sub : normal;
    r = mag >= 0x477ff000 ? 0x7c00 : r; /* 65520 and up round to infinity */
    r = mag > 0x7f800000 ? 0x7e00 | (mag >> 13 & 0x3ff) : r;
    return (uint16_t)(r | sign);
}

static inline float tern_bhalf_f32(uint16_t h)
{
    return tern_bits_f32((uint32_t)h << 16);
}

static inline uint16_t tern_f32_bhalf(float f)
{
    uint32_t u = tern_f32_bits(f);
    uint32_t quiet = u >> 16 | 0x40;
    uint32_t near = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    return (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? quiet : near);
}

#endif
