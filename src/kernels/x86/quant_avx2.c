/* Activation quantisers with 256-bit vectors. Activations are padded with zeros to whole vectors. */
#include "kernels/kernel.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#if !defined(__AVX2__)
#error "needs -mavx2"
#endif

/* The second operand of max and min is the result when one is not a number. */
static __m256 larger(const float *x, __m256 m)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return _mm256_max_ps(_mm256_andnot_ps(sign, _mm256_loadu_ps(x)), m);
}

static float largest(__m256 m)
{
    __m128 a = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
    a = _mm_max_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)));
}

static __m256i to_i32(const float *x, __m256 s)
{
    __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x), s);
    v = _mm256_max_ps(v, _mm256_set1_ps(-127));
    return _mm256_cvtps_epi32(_mm256_min_ps(v, _mm256_set1_ps(127)));
}

static int32_t total(__m256i v)
{
    __m128i a = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    a = _mm_add_epi32(a, _mm_shuffle_epi32(a, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(a, _mm_shuffle_epi32(a, 0xb1)));
}

/* 32 floats to int8 at q; sums[0] and sums[1] are the lanes of each half's sum. */
static void quant32(const float *x, __m256 s, int8_t *q, __m256i sums[2])
{
    __m256i v[4];
    for (int i = 0; i < 4; i++)
        v[i] = to_i32(x + 8 * i, s);
    sums[0] = _mm256_add_epi32(v[0], v[1]);
    sums[1] = _mm256_add_epi32(v[2], v[3]);
    /* Packing works on 128-bit halves: quads come out as 0 4 1 5 2 6 3 7 of v and are put right. */
    __m256i b = _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    b = _mm256_permutevar8x32_epi32(b, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *)q, b);
}

void tern_quant_a8t_avx2(const tern_quant *k, int tok0, int tok1)
{
    for (int t = tok0; t < tok1; t++) {
        const float *x = k->x + (size_t)t * k->x_stride;
        int8_t *q = k->act.q + (size_t)t * k->act.stride;
        size_t n = ((size_t)k->cols + 63) / 64 * 64;
        __m256 m0 = _mm256_set1_ps(1e-5f), m1 = m0, m2 = m0, m3 = m0;
        for (size_t i = 0; i < n; i += 32) {
            m0 = larger(x + i, m0);
            m1 = larger(x + i + 8, m1);
            m2 = larger(x + i + 16, m2);
            m3 = larger(x + i + 24, m3);
        }
        float s = 127.0f / largest(_mm256_max_ps(_mm256_max_ps(m0, m1), _mm256_max_ps(m2, m3)));
        __m256i sum = _mm256_setzero_si256(), part[2];
        for (size_t i = 0; i < n; i += 32) {
            quant32(x + i, _mm256_set1_ps(s), q + i, part);
            sum = _mm256_add_epi32(sum, _mm256_add_epi32(part[0], part[1]));
        }
        memset(q + n, 0, k->act.stride - n);
        k->act.scale[t] = s;
        k->act.sum[t] = total(sum);
    }
}

void tern_quant_a8b_avx2(const tern_quant *k, int tok0, int tok1)
{
    for (int t = tok0; t < tok1; t++) {
        const float *x = k->x + (size_t)t * k->x_stride;
        int8_t *q = k->act.q + (size_t)t * k->act.stride;
        float *d = k->act.scale + (size_t)t * (k->act.stride / 32);
        int32_t *bsum = k->act.sum + (size_t)t * (k->act.stride / 16);
        size_t n = ((size_t)k->cols + 63) / 64 * 64;
        for (size_t i = 0; i < n; i += 32) {
            __m256 m0 = larger(x + i, larger(x + i + 8, _mm256_setzero_ps()));
            __m256 m1 = larger(x + i + 16, larger(x + i + 24, _mm256_setzero_ps()));
            float m = largest(_mm256_max_ps(m0, m1)), inverse = 127.0f / m;
            __m256i sums[2];
            quant32(x + i, _mm256_set1_ps(isfinite(inverse) ? inverse : 0), q + i, sums);
            bsum[i / 16] = total(sums[0]);
            bsum[i / 16 + 1] = total(sums[1]);
            d[i / 32] = m / 127.0f;
        }
        memset(q + n, 0, k->act.stride - n);
        memset(d + n / 32, 0, (k->act.stride - n) / 32 * sizeof *d);
        memset(bsum + n / 16, 0, (k->act.stride - n) / 16 * sizeof *bsum);
    }
}
