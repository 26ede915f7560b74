/* Lists of active elements, 16 or 64 elements a step. Whole vectors are stored: out has the room. */
#include <immintrin.h>
#include <stdint.h>

#if !defined(__AVX512F__) || !defined(__AVX512BW__)
#error "needs -mavx512f -mavx512bw"
#endif

#include "kernels/kernel.h"

/* Indices base.. of the bits of mask; returns how many. */
static inline int put16(int32_t *out, int base, __mmask16 mask)
{
    const __m512i count = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i index = _mm512_add_epi32(count, _mm512_set1_epi32(base));
    _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(mask, index));
    return __builtin_popcount(mask);
}

int tern_list_f32_avx512(const float *x, size_t stride, int n_tok, int i0, int i1, int32_t *out)
{
    int n = 0;
    for (int i = i0; i < i1; i += 16) {
        __mmask16 in = i1 - i < 16 ? (__mmask16)((1u << (i1 - i)) - 1) : 0xffff, active = 0;
        for (int t = 0; t < n_tok; t++)
            active |=
                _mm512_mask_cmp_ps_mask(in, _mm512_maskz_loadu_ps(in, x + (size_t)t * stride + i),
                                        _mm512_setzero_ps(), _CMP_NLE_UQ);
        n += put16(out + n, i, active);
    }
    return n;
}

int tern_list_i8_avx512(const int8_t *q, size_t stride, int n_tok, int i0, int i1, int32_t *out)
{
    int n = 0;
    for (int i = i0; i < i1; i += 64) {
        __mmask64 in = i1 - i < 64 ? ((__mmask64)1 << (i1 - i)) - 1 : ~(__mmask64)0;
        __m512i any = _mm512_setzero_si512();
        for (int t = 0; t < n_tok; t++)
            any = _mm512_or_si512(any, _mm512_maskz_loadu_epi8(in, q + (size_t)t * stride + i));
        __mmask64 active = _mm512_test_epi8_mask(any, any);
        for (int j = 0; j < 64 && i + j < i1; j += 16)
            n += put16(out + n, i + j, (__mmask16)(active >> j));
    }
    return n;
}
