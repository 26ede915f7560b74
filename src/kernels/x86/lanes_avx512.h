/* The 16 lanes of the LANES sums as one 512-bit register. lanes_avx2.h has the same functions on two
 * 256-bit ones; the templates *_tmpl.h are written on them. Suffix _n: the first n lanes (0..16) exist in
 * memory, the others are 0 and are neither read nor written. */
#ifndef TERN_LANES_AVX512_H
#define TERN_LANES_AVX512_H

#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512DQ__) ||                   \
    !defined(__AVX512VL__) || !defined(__F16C__)
#error "build this file with -mavx512f -mavx512bw -mavx512dq -mavx512vl -mf16c"
#endif

#include <immintrin.h>

#include "kernels/kernel.h"

#define LANES_FN(name)    LANES_JOIN(tern_, LANES_JOIN(name, _avx512))
#define LANES_JOIN(a, b)  LANES_JOIN_(a, b)
#define LANES_JOIN_(a, b) a##b
#define LANES_INLINE      static inline __attribute__((always_inline))
#define LANES_UNROLL      _Pragma("GCC unroll 8")
/* 4 rows x 4 tokens of sums, with 32 registers */
#define LANES_TILE_TOKS        4
#define LANES_TILE_ROWS(n_tok) 4
#define LANES_AV_VECTORS       8 /* sums of one attention output kept in registers */

typedef __m512 vf;  /* 16 floats */
typedef __m512i vi; /* 16 int32 or 64 int8 */

/* The registers a vector consists of: block by block code works on these, to need few at a time. */
#define N_PART 1
typedef __m512 pf;
typedef __m512i pi;

LANES_INLINE pf *vf_part(vf *x, int h)
{
    (void)h;
    return x;
}

LANES_INLINE __mmask16 lanes_mask(int n)
{
    return (__mmask16)((1u << n) - 1);
}

LANES_INLINE vf vf_zero(void)
{
    return _mm512_setzero_ps();
}

LANES_INLINE vf vf_set1(float x)
{
    return _mm512_set1_ps(x);
}

LANES_INLINE vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

LANES_INLINE vf vf_load_n(const float *p, int n)
{
    return _mm512_maskz_loadu_ps(lanes_mask(n), p);
}

LANES_INLINE void vf_store(float *p, vf x)
{
    _mm512_storeu_ps(p, x);
}

LANES_INLINE void vf_store_n(float *p, vf x, int n)
{
    _mm512_mask_storeu_ps(p, lanes_mask(n), x);
}

LANES_INLINE vf vf_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}

LANES_INLINE vf vf_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}

LANES_INLINE vf vf_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}

LANES_INLINE vf vf_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}

/* a > b ? a : b, and a < b ? a : b */
LANES_INLINE vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}

LANES_INLINE vf vf_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}

/* lane < n ? x : y */
LANES_INLINE vf vf_first_n(vf x, vf y, int n)
{
    return _mm512_mask_blend_ps(lanes_mask(n), y, x);
}

/* 0 where x < c, else y */
LANES_INLINE vf vf_zero_below(vf y, vf x, vf c)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, c, _CMP_NLT_UQ), y);
}

/* (bits(t) + 127) << 23 */
LANES_INLINE vf vf_pow2(vf t)
{
    __m512i u = _mm512_add_epi32(_mm512_castps_si512(t), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(u, 23));
}

LANES_INLINE vf vf_neg(vf x)
{
    return _mm512_xor_ps(x, _mm512_set1_ps(-0.0f));
}

LANES_INLINE vf vf_load_f32(const void *p)
{
    return vf_load(p);
}

LANES_INLINE vf vf_load_n_f32(const void *p, int n)
{
    return vf_load_n(p, n);
}

/* ---- other widths ------------------------------------------------------------------------- */

LANES_INLINE vf vf_load_f16(const void *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

LANES_INLINE vf vf_load_n_f16(const void *p, int n)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes_mask(n), p));
}

LANES_INLINE vf bf16_to_vf(__m256i h)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

LANES_INLINE vf vf_load_bf16(const void *p)
{
    return bf16_to_vf(_mm256_loadu_si256((const __m256i *)p));
}

LANES_INLINE vf vf_load_n_bf16(const void *p, int n)
{
    return bf16_to_vf(_mm256_maskz_loadu_epi16(lanes_mask(n), p));
}

LANES_INLINE vf vf_load_i8(const void *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}

LANES_INLINE vf vf_load_n_i32(const int32_t *p, int n)
{
    return _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(lanes_mask(n), p));
}

LANES_INLINE void vf_store_f16_n(uint16_t *p, vf x, int n)
{
    __m256i h = _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm256_mask_storeu_epi16(p, lanes_mask(n), h);
}

/* rint to even; the values are within -128..127 */
LANES_INLINE void vf_store_i8_n(int8_t *p, vf x, int n)
{
    _mm512_mask_cvtepi32_storeu_epi8(p, lanes_mask(n), _mm512_cvtps_epi32(x));
}

/* rint to even; the values are within -32768..32767 */
LANES_INLINE void vf_store_i16_n(int16_t *p, vf x, int n)
{
    __m256i h = _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(x));
    if (n == 16)
        _mm256_storeu_si256((__m256i *)p, h);
    else
        _mm256_mask_storeu_epi16(p, lanes_mask(n), h);
}

/* ---- across lanes ------------------------------------------------------------------------- */

LANES_INLINE __m128 fold_to_4(vf x)
{
    __m256 a = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    return _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
}

LANES_INLINE float vf_first(vf x)
{
    return _mm512_cvtss_f32(x);
}

LANES_INLINE float vf_fold_max(vf x)
{
    return _mm512_reduce_max_ps(x); /* no NaN among them, and zeros are made one afterwards */
}

/* The larger of each lane's bits without the sign: a NaN is above everything. */
LANES_INLINE vf vf_max_abs_bits(vf a, vf x)
{
    __m512i u = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
    return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(a), u));
}

LANES_INLINE uint32_t vf_fold_max_bits(vf x)
{
    return (uint32_t)_mm512_reduce_max_epi32(_mm512_castps_si512(x));
}

/* x0 x0 x2 x2 .., x1 x1 x3 x3 .., x1 x0 x3 x2 .., and x with even lanes negated */
LANES_INLINE vf vf_dup_even(vf x)
{
    return _mm512_moveldup_ps(x);
}

LANES_INLINE vf vf_dup_odd(vf x)
{
    return _mm512_movehdup_ps(x);
}

LANES_INLINE vf vf_swap_pairs(vf x)
{
    return _mm512_permute_ps(x, 0xb1);
}

LANES_INLINE vf vf_neg_even(vf x)
{
    return _mm512_xor_ps(x, _mm512_castsi512_ps(_mm512_set1_epi64(0x80000000)));
}

/* Lane i and lane i ^ h change places; h is 1, 2, 4 or 8. */
LANES_INLINE vf vf_swap(vf x, const int h)
{
    return h == 1   ? _mm512_permute_ps(x, 0xb1)
           : h == 2 ? _mm512_permute_ps(x, 0x4e)
           : h == 4 ? _mm512_shuffle_f32x4(x, x, 0xb1)
                    : _mm512_shuffle_f32x4(x, x, 0x4e);
}

/* Lanes i with i & h negated. */
LANES_INLINE vf vf_neg_bit(vf x, const int h)
{
    const __mmask16 m = h == 1 ? 0xaaaa : h == 2 ? 0xcccc : h == 4 ? 0xf0f0 : 0xff00;
    return _mm512_mask_xor_ps(x, m, x, _mm512_set1_ps(-0.0f));
}

/* 32 interleaved floats -> the even ones and the odd ones */
LANES_INLINE void vf_load_pairs(const float *p, vf *even, vf *odd)
{
    __m512 a = _mm512_loadu_ps(p), b = _mm512_loadu_ps(p + 16);
    const __m512i i = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    *even = _mm512_permutex2var_ps(a, i, b);
    *odd = _mm512_permutex2var_ps(a, _mm512_add_epi32(i, _mm512_set1_epi32(1)), b);
}

/* ---- int8 blocks: 64 bytes are two blocks of 32, a lane is a quad of bytes ----------------- */

LANES_INLINE const pi *vi_part(const vi *x, int h)
{
    (void)h;
    return x;
}

LANES_INLINE vi vi_load(const void *p)
{
    return _mm512_load_si512(p);
}

LANES_INLINE pi pi_load(const void *p)
{
    return _mm512_load_si512(p);
}

LANES_INLINE pf pf_from_i32(pi x)
{
    return _mm512_cvtepi32_ps(x);
}

LANES_INLINE pf pf_add(pf a, pf b)
{
    return _mm512_add_ps(a, b);
}

LANES_INLINE pf pf_mul(pf a, pf b)
{
    return _mm512_mul_ps(a, b);
}

/* The scales of 16 columns that begin at p, each to its four lanes. */
LANES_INLINE pf pf_quad_scale(const float *p)
{
    const __m512i i = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    return _mm512_permutexvar_ps(i, _mm512_castps128_ps512(_mm_loadu_ps(p)));
}

/* The scales of 32 columns that begin at p, each to its eight lanes; single: only the first exists. */
LANES_INLINE pf pf_oct_scale(const float *p, const int single)
{
    if (single)
        return _mm512_maskz_mov_ps(0x00ff, _mm512_set1_ps(p[0]));
    return _mm512_insertf32x8(_mm512_set1_ps(p[0]), _mm256_set1_ps(p[1]), 1);
}

LANES_INLINE vi vi_zero(void)
{
    return _mm512_setzero_si512();
}

LANES_INLINE vi vi_set1_i8(int8_t x)
{
    return _mm512_set1_epi8(x);
}

/* Of each int32. */
LANES_INLINE vi vi_neg(vi x)
{
    return _mm512_sub_epi32(_mm512_setzero_si512(), x);
}

/* Two times 16 bytes -> 64 nibbles: a's low ones, a's high ones, b's low ones, b's high ones */
LANES_INLINE vi vi_nibbles(const uint8_t *a, const uint8_t *b)
{
    const __m512i twice = _mm512_setr_epi64(0, 1, 0, 1, 2, 3, 2, 3);
    const __m512i shift = _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0, 0, 4, 4, 4, 4);
    __m256i ab =
        _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)a)),
                                _mm_loadu_si128((const __m128i *)b), 1);
    __m512i x = _mm512_permutexvar_epi64(twice, _mm512_castsi256_si512(ab));
    return _mm512_and_si512(_mm512_srlv_epi32(x, shift), _mm512_set1_epi8(15));
}

/* The 64 int8 of two Q8_0 blocks at p */
LANES_INLINE pi pi_load_q8(const uint8_t *p, int h)
{
    (void)h;
    __m256i a = _mm256_loadu_si256((const __m256i *)(p + 2));
    __m256i b = _mm256_loadu_si256((const __m256i *)(p + 36));
    return _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
}

/* 64 low (high = 0) or high nibbles of ql; above them bits 0..1 (4..5) of qh's 32 bytes for the first
 * half and bits 2..3 (6..7) for the second */
LANES_INLINE vi vi_six_bits(const uint8_t *ql, const uint8_t *qh, const int high)
{
    const __m512i shift =
        _mm512_inserti64x4(_mm512_set1_epi16(high ? 0 : 4), _mm256_set1_epi16(2), 1);
    __m512i l = _mm512_loadu_si512(ql);
    __m512i h = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)qh));
    l = high ? _mm512_srli_epi16(l, 4) : l;
    h = high ? _mm512_srlv_epi16(h, shift) : _mm512_sllv_epi16(h, shift);
    l = _mm512_and_si512(l, _mm512_set1_epi8(0x0f));
    return _mm512_or_si512(l, _mm512_and_si512(h, _mm512_set1_epi8(0x30)));
}

LANES_INLINE vf vf_from_i32(vi x)
{
    return _mm512_cvtepi32_ps(x);
}

LANES_INLINE vf vf_oct_scale(const float *p)
{
    return pf_oct_scale(p, 0);
}

/* Lanes 4v .. 4v + 3 of s, each to four. */
LANES_INLINE vf vf_quad(vf s, const int v)
{
    const __m512i i = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    return _mm512_permutexvar_ps(_mm512_add_epi32(i, _mm512_set1_epi32(4 * v)), s);
}

/* The first two floats, each to eight lanes. */
LANES_INLINE vf vf_oct(__m128 p)
{
    const __m512i i = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    return _mm512_permutexvar_ps(i, _mm512_castps128_ps512(p));
}

/* n / 2 scales of 32 columns (n even, 0..16), each to its two half-blocks. */
LANES_INLINE vf vf_dup_scale_n(const float *p, int n)
{
    const __m512i i = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return _mm512_permutexvar_ps(i, vf_load_n(p, n / 2));
}

#include "kernels/x86/lanes_fold.h"

#endif
