/* Lists of active elements, four indices a step: a table turns four bits into the places of those
 * set. Whole vectors are stored: out has the room. */
#include <immintrin.h>
#include <stdint.h>

#if !defined(__AVX2__)
#error "needs -mavx2"
#endif

#include "kernels/kernel.h"

static const int8_t places[16][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}, {1, 0, 0, 0}, {0, 1, 0, 0},
                                     {2, 0, 0, 0}, {0, 2, 0, 0}, {1, 2, 0, 0}, {0, 1, 2, 0},
                                     {3, 0, 0, 0}, {0, 3, 0, 0}, {1, 3, 0, 0}, {0, 1, 3, 0},
                                     {2, 3, 0, 0}, {0, 2, 3, 0}, {1, 2, 3, 0}, {0, 1, 2, 3}};

/* Indices base.. of the bits of mask; returns how many. */
static inline int put4(int32_t *out, int base, unsigned mask)
{
    static const uint8_t count[16] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};
    __m128i at = _mm_cvtepi8_epi32(_mm_loadu_si32(places[mask]));
    _mm_storeu_si128((__m128i *)out, _mm_add_epi32(at, _mm_set1_epi32(base)));
    return count[mask];
}

int tern_list_f32_avx2(const float *x, size_t stride, int n_tok, int i0, int i1, int32_t *out)
{
    int n = 0, i = i0;
    for (; i1 - i >= 8; i += 8) {
        unsigned active = 0;
        for (int t = 0; t < n_tok; t++)
            active |= (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(
                _mm256_loadu_ps(x + (size_t)t * stride + i), _mm256_setzero_ps(), _CMP_NLE_UQ));
        n += put4(out + n, i, active & 15);
        n += put4(out + n, i + 4, active >> 4);
    }
    if (i < i1)
        n += tern_list_f32_ref(x, stride, n_tok, i, i1, out + n);
    return n;
}

int tern_list_i8_avx2(const int8_t *q, size_t stride, int n_tok, int i0, int i1, int32_t *out)
{
    int n = 0, i = i0;
    for (; i1 - i >= 32; i += 32) {
        __m256i any = _mm256_setzero_si256();
        for (int t = 0; t < n_tok; t++)
            any = _mm256_or_si256(
                any, _mm256_loadu_si256((const __m256i *)(q + (size_t)t * stride + i)));
        unsigned active =
            ~(unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(any, _mm256_setzero_si256()));
        for (int j = 0; j < 32; j += 4)
            n += put4(out + n, i + j, active >> j & 15);
    }
    if (i < i1)
        n += tern_list_i8_ref(q, stride, n_tok, i, i1, out + n);
    return n;
}
