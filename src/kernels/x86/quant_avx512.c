/* Activation quantisers with 512-bit vectors. Activations are padded with zeros to whole vectors. */
#include "kernels/kernel.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512DQ__)
#error "needs -mavx512f -mavx512bw -mavx512dq -mavx512vl"
#endif

/* The second operand of max and min is the result when one is not a number. */
static __m512 larger(const float *x, __m512 m)
{
    return _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(x)), m);
}

static __m512i to_i8(const float *x, __m512 s)
{
    __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x), s);
    v = _mm512_max_ps(v, _mm512_set1_ps(-127));
    return _mm512_cvtps_epi32(_mm512_min_ps(v, _mm512_set1_ps(127)));
}

void tern_quant_a8t_avx512(const tern_quant *k, int tok0, int tok1)
{
    for (int t = tok0; t < tok1; t++) {
        const float *x = k->x + (size_t)t * k->x_stride;
        int8_t *q = k->act.q + (size_t)t * k->act.stride;
        size_t n = ((size_t)k->cols + 63) / 64 * 64;
        __m512 m0 = _mm512_set1_ps(1e-5f), m1 = m0, m2 = m0, m3 = m0;
        for (size_t i = 0; i < n; i += 64) {
            m0 = larger(x + i, m0);
            m1 = larger(x + i + 16, m1);
            m2 = larger(x + i + 32, m2);
            m3 = larger(x + i + 48, m3);
        }
        float s = 127.0f /
                  _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(m0, m1), _mm512_max_ps(m2, m3)));
        __m512 vs = _mm512_set1_ps(s);
        __m512i sum = _mm512_setzero_si512();
        for (size_t i = 0; i < n; i += 16) {
            __m512i v = to_i8(x + i, vs);
            sum = _mm512_add_epi32(sum, v);
            _mm_storeu_si128((__m128i *)(q + i), _mm512_cvtepi32_epi8(v));
        }
        memset(q + n, 0, k->act.stride - n);
        k->act.scale[t] = s;
        k->act.sum[t] = _mm512_reduce_add_epi32(sum);
    }
}

void tern_quant_a8b_avx512(const tern_quant *k, int tok0, int tok1)
{
    for (int t = tok0; t < tok1; t++) {
        const float *x = k->x + (size_t)t * k->x_stride;
        int8_t *q = k->act.q + (size_t)t * k->act.stride;
        float *d = k->act.scale + (size_t)t * (k->act.stride / 32);
        int32_t *bsum = k->act.sum + (size_t)t * (k->act.stride / 16);
        size_t n = ((size_t)k->cols + 63) / 64 * 64;
        for (size_t i = 0; i < n; i += 32) {
            float m = _mm512_reduce_max_ps(larger(x + i, larger(x + i + 16, _mm512_setzero_ps())));
            float inverse = 127.0f / m;
            __m512 s = _mm512_set1_ps(isfinite(inverse) ? inverse : 0);
            __m512i lo = to_i8(x + i, s), hi = to_i8(x + i + 16, s);
            _mm_storeu_si128((__m128i *)(q + i), _mm512_cvtepi32_epi8(lo));
            _mm_storeu_si128((__m128i *)(q + i + 16), _mm512_cvtepi32_epi8(hi));
            bsum[i / 16] = _mm512_reduce_add_epi32(lo);
            bsum[i / 16 + 1] = _mm512_reduce_add_epi32(hi);
            d[i / 32] = m / 127.0f;
        }
        memset(q + n, 0, k->act.stride - n);
        memset(d + n / 32, 0, (k->act.stride - n) / 32 * sizeof *d);
        memset(bsum + n / 16, 0, (k->act.stride - n) / 16 * sizeof *bsum);
    }
}
