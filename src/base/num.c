#include "base/num.h"

#include <math.h>

bool tern_parse_u64(const char *s, size_t n, uint64_t *out)
{
    uint64_t v = 0;
    if (n == 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned d = (unsigned)(unsigned char)s[i] - '0';
        if (d > 9 || __builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, d, &v))
            return false;
    }
    *out = v;
    return true;
}

bool tern_parse_i64(const char *s, size_t n, int64_t *out)
{
    uint64_t v;
    bool neg = n > 0 && s[0] == '-';
    if (!tern_parse_u64(s + neg, n - neg, &v) || v > (uint64_t)INT64_MAX + neg)
        return false;
    *out = neg ? (int64_t)(~v + 1) : (int64_t)v;
    return true;
}

bool tern_parse_f64(const char *s, size_t n, double *out)
{
    size_t i = 0;
    bool neg = n > 0 && s[0] == '-';
    uint64_t mant = 0;
    int64_t exp10 = 0;
    int n_digit = 0;
    i += neg;
    for (bool frac = false; i < n; i++) {
        if (s[i] == '.' && !frac) {
            frac = true;
            continue;
        }
        unsigned d = (unsigned)(unsigned char)s[i] - '0';
        if (d > 9)
            break;
        n_digit++;
        if (mant < UINT64_MAX / 10 - 1) {
            mant = mant * 10 + d;
            exp10 -= frac;
        } else {
            exp10 += !frac; /* digits beyond 64 bits only move the point */
        }
    }
    if (n_digit == 0)
        return false;
    if (i < n) {
        int64_t e;
        if ((s[i] != 'e' && s[i] != 'E') || ++i >= n)
            return false;
        if (s[i] == '+' && ++i < n && s[i] == '-')
            return false;
        if (!tern_parse_i64(s + i, n - i, &e) || e > 9999 || e < -9999)
            return false;
        exp10 += e;
    }
    /* Powers of ten to 22 are exact doubles, so short numbers are rounded once. */
    long double v = (long double)mant;
    if (mant != 0)
        v *= powl(10.0L, (long double)exp10);
    if (!isfinite((double)v))
        return false;
    *out = neg ? -(double)v : (double)v;
    return true;
}

double tern_f32_decimal(float x)
{
    return round((double)x * 1e6) / 1e6;
}
