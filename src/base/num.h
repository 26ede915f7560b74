/* Checked arithmetic and number parsing for values that come from outside. Every helper returns
 * false on overflow or malformed text and then leaves *out alone. No sign, no spaces, no locale. */
#ifndef TERN_BASE_NUM_H
#define TERN_BASE_NUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool tern_add_size(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static inline bool tern_mul_size(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

/* Round n up to a multiple of align; align is a power of two. */
static inline bool tern_align_size(size_t n, size_t align, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(n, align - 1, &r))
        return false;
    *out = r & ~(align - 1);
    return true;
}

/* Rounding for our own sizes, known to be small. */
static inline size_t tern_round_up(size_t n, size_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

/* Whole string s[0..n) as a decimal number, else false. u64 takes digits only; i64 one leading '-';
 * f64 digits with optional '-', fraction and exponent (correctly rounded for up to 15 significant
 * digits and |exponent| <= 22, within one unit in the last place otherwise). */
bool tern_parse_u64(const char *s, size_t n, uint64_t *out);
bool tern_parse_i64(const char *s, size_t n, int64_t *out);
bool tern_parse_f64(const char *s, size_t n, double *out);

/* x to six decimals: 0.1f becomes 0.1, not what f32 makes of it. For |x| < 1e9. */
double tern_f32_decimal(float x);

#endif
